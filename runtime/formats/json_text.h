/* JSON as text: strings of any bytes, and values in files. */
#ifndef DG_RUNTIME_FORMATS_JSON_TEXT_H
#define DG_RUNTIME_FORMATS_JSON_TEXT_H

#include "ops/base/base.h"

#include <jansson.h>
#include <stdio.h>

/* Paths and names may be any bytes: a text that is no UTF-8 is escaped (runtime/base/name.h). The caller owns the
 * value; NULL: out of memory. */
json_t *dg_json_text(const char *text);

/* Writes the value, a line for each member and a line end behind it, with `digits` digits of real numbers.
 * DG_ERR_MEMORY: also if the value is NULL, since memory was out when it was made. Errors of the stream are left to the
 * caller. */
enum dg_status dg_json_write(const json_t *value, int digits, FILE *stream, struct dg_error *err);

#endif

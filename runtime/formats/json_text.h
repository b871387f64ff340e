/* Strings of JSON. */
#ifndef DG_RUNTIME_FORMATS_JSON_TEXT_H
#define DG_RUNTIME_FORMATS_JSON_TEXT_H

#include <jansson.h>

/* Paths and names may be any bytes: a text that is no UTF-8 is escaped (runtime/base/name.h). The caller owns the value; NULL: out of
 * memory. */
json_t *dg_json_text(const char *text);

#endif

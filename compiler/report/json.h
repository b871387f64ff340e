/* A tree of YAML as JSON. */
#ifndef DG_COMPILER_REPORT_JSON_H
#define DG_COMPILER_REPORT_JSON_H

#include "compiler/base/text.h"
#include "compiler/language/yaml.h"

/* Appends the tree, each mapping and list on one line where it fits. Plain scalars that read as numbers, true or false are that,
 * all others are strings. */
void dg_print_json(struct dg_text *text, const struct dg_yaml *node);

#endif

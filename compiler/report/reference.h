/* What the language has, printed from the tables of keys and ops: `dinoc --schema`, `--keys` and `--ops`. */
#ifndef DG_COMPILER_REPORT_REFERENCE_H
#define DG_COMPILER_REPORT_REFERENCE_H

#include "compiler/base/text.h"

/* schema.c: the JSON schema of descriptions (graphs/schema.json). */
void dg_print_schema(struct dg_text *text);

/* tables.c: all keys of recipes and probes, and all ops that a description may use, as tables in Markdown. */
void dg_print_keys(struct dg_text *text);
void dg_print_ops(struct dg_text *text);

#endif

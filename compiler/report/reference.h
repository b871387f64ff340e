/* What the language has, printed from the tables of keys and ops: `dinoc --schema`, `--keys`, `--ops` and `--explain KEY`. */
#ifndef DG_COMPILER_REPORT_REFERENCE_H
#define DG_COMPILER_REPORT_REFERENCE_H

#include "compiler/base/text.h"
#include "ops/base/base.h"

/* schema.c: the JSON schema of descriptions (graphs/schema.json). */
void dg_print_schema(struct dg_text *text);

/* tables.c: all keys of recipes and probes, and all ops that a description may use, as tables in Markdown. */
void dg_print_keys(struct dg_text *text);
void dg_print_ops(struct dg_text *text);

/* tables.c: what a key of recipes and probes says, its values and default; also of a part, "lr.peak" or "crops.global.views.0.blur". False: there
 * is no such key, and nothing is added. */
bool dg_explain_key(struct dg_text *text, const char *name);
/* A key of recipes that is spelled nearly so, or ends so; NULL: there is none. */
const char *dg_nearest_key(const char *name);

#endif

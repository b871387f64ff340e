/* What dinoc says of a description and of its plan. */
#ifndef DG_COMPILER_REPORT_REPORT_H
#define DG_COMPILER_REPORT_REPORT_H

#include "compiler/base/text.h"
#include "compiler/language/program.h"
#include "compiler/plan/layout.h"

/* print.c: a definition as the language writes it, all modules it may use first, in one self-contained file. */
void dg_print_program(struct dg_text *text, const struct dg_program *program, const struct dg_definition *definition);

/* explain.c: shape, parameters, bytes and origin of every node whose path is `node` or begins with "node."; in all entries.
 * False: there is none; `text` then has the nearest name, or is empty. */
bool dg_explain(struct dg_text *text, const struct dg_entry *entry, int num_entries, const char *node);

/* report.c: what each region of each entry takes. */
void dg_report(struct dg_text *text, const struct dg_entry *entry, const struct dg_layout *layout, int num_entries);
/* Which ops of the training step forbid what, by name and line; `shared`: between processes those of the backbone do not. */
struct dg_train_step;
void dg_report_coupling(struct dg_text *text, const struct dg_train_step *step, bool shared);

#endif

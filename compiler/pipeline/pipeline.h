/* The passes in their order, and the one place that runs them: for every entry of a plan, and in the tests. */
#ifndef DG_COMPILER_PIPELINE_PIPELINE_H
#define DG_COMPILER_PIPELINE_PIPELINE_H

#include "compiler/base/text.h"
#include "compiler/passes/pass.h"

extern const struct dg_pass dg_application_passes[]; /* on one application of a network, before it is differentiated */
extern const struct dg_pass dg_loss_passes[];        /* on logits and loss of a group of crops, likewise */
extern const struct dg_pass dg_target_passes[]; /* on the teacher's logits and targets, once all losses are there */
extern const struct dg_pass dg_entry_passes[];  /* on the complete graph of an entry */

/* How passes are run; the same for all of one compile. */
struct dg_pipeline {
    bool plain, bf16;      /* which of them: enum dg_pass_when */
    enum dg_math math;     /* of the plan */
    const char *skip;      /* names with commas between them; NULL: none */
    const char *dump;      /* names with commas, and ":NODE" behind them; NULL: none */
    struct dg_text *dumps; /* where dumps are added */
};

/* Are all names in `skip` and `dump` those of passes? DG_ERR_USAGE with a message if not. */
enum dg_status dg_pipeline_check(const struct dg_pipeline *pipeline, struct dg_error *err);

/* Runs a table of passes on context->graph. Around each it checks what the pass requires and keeps, and verifies the graph.
 * False: errors are in context->diag; those of the checks name the pass. */
bool dg_run_passes(const struct dg_pass *pass, const struct dg_pipeline *pipeline, struct dg_pass_context *context);

/* What --passes prints: a line a pass. */
void dg_list_passes(struct dg_text *text);

#endif

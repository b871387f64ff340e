/* Watches a run for the two ways self-distillation collapses (paper, section 5.3 and figure 7): all images get the
 * same, uniform output (sharpening too weak), or the same one prototype (centring too weak). */
#ifndef DG_RUNTIME_TRAIN_COLLAPSE_H
#define DG_RUNTIME_TRAIN_COLLAPSE_H

#include "runtime/train/run_log.h"

struct dg_collapse_watch {
    double log_out_dim;                   /* ln of the number of prototypes */
    int64_t near, uniform, peaked, stuck; /* steps in a row */
};

/* To be called after each step. Returns a message when a sign has lasted for 100 steps, once until it goes away and
 * comes back; otherwise NULL. The text is static. */
const char *dg_collapse_step(struct dg_collapse_watch *watch, const struct dg_step_report *report);

#endif

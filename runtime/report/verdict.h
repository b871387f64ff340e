/* One sentence on how a run goes, and what to do next. */
#ifndef DG_RUNTIME_REPORT_VERDICT_H
#define DG_RUNTIME_REPORT_VERDICT_H

#include "runtime/report/run.h"

enum dg_mood {
    DG_MOOD_OPEN, /* nothing can be said yet */
    DG_MOOD_GOOD,
    DG_MOOD_WATCH, /* worth a look */
    DG_MOOD_BAD,   /* collapsed, diverged or failed */
};

struct dg_verdict {
    enum dg_mood mood;
    char head[200];  /* "The teacher's output is nearly uniform." */
    char text[1200]; /* why, and what to do */
    char state[200]; /* "Stopped at step 84 of 420." */
};

/* Judges by the log (paper, section 5.3 and figure 7: collapse shows in the teacher's entropy), the results, and how the run ended. */
struct dg_verdict dg_verdict_make(const struct dg_report_run *run);

/* The teacher's entropy at the end of the log as a share of ln(out_dim), a mean over at most a hundred steps; NaN: not known. */
double dg_entropy_share(const struct dg_report_run *run);

#endif

/* What a page is about. */
#ifndef DG_RUNTIME_REPORT_SUBJECT_H
#define DG_RUNTIME_REPORT_SUBJECT_H

#include "runtime/base/log.h"
#include "runtime/report/run.h"

enum { DG_MAX_REPORT_RUNS = 8 };

struct dg_page {
    const struct dg_report_run *run;
    int runs;                   /* 1 to DG_MAX_REPORT_RUNS; in their order the colours of the lines */
    const char *const *picture; /* files to show besides those of the runs: PNG, JPEG */
    int pictures;
    const struct dg_log *log; /* what is left out; NULL: none */
};

#endif

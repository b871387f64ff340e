/* A chart of numbers over steps, as inline SVG that takes its colours from the page. */
#ifndef DG_RUNTIME_REPORT_CHART_H
#define DG_RUNTIME_REPORT_CHART_H

#include "ops/base/base.h"

#include <stdio.h>

enum { DG_MAX_LINES = 8 }; /* of a chart; each has its colour */

struct dg_chart_line {
    const char *name;
    const double *step, *value; /* value NaN: there is none */
    int64_t count;
};

/* The strings may be anything. */
struct dg_chart {
    const char *title, *how; /* how to read it; "": nothing is said */
    bool log;                /* a logarithmic axis; numbers that are not above 0 are left out */
    bool smooth;             /* the numbers are noisy: a thin line of them, and a thick one of their means */
    bool dots;               /* few numbers: with a dot at each */
    double level;            /* a dashed line across, which the axis includes; NaN: none */
    const char *level_name;
    struct dg_chart_line line[DG_MAX_LINES];
    int lines;
};

/* False, and nothing is written, if no line has a number. */
bool dg_chart_write(FILE *out, const struct dg_chart *chart);

/* The mean of the numbers around each, as far on both sides as `reach` (fewer at the ends), into `mean`; NaN are left out. */
void dg_running_mean(const double *value, int64_t count, int64_t reach, double *mean);

/* How many numbers on each side a chart of `count` numbers takes for its means. */
int64_t dg_chart_reach(int64_t count);

#endif

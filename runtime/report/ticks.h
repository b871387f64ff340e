/* Where the lines of a chart's grid stand, and what is written at them. */
#ifndef DG_RUNTIME_REPORT_TICKS_H
#define DG_RUNTIME_REPORT_TICKS_H

#include "ops/base/base.h"

enum { DG_MAX_TICKS = 12 };

struct dg_ticks {
    int count;
    double at[DG_MAX_TICKS];
    char text[DG_MAX_TICKS][24];
};

/* Round numbers from `low` to `high`, which are finite and not equal: 1, 2 or 5 times a power of ten apart, about `want` of them
 * (3 to 8), written with as many digits as tell them apart. */
struct dg_ticks dg_ticks_linear(double low, double high, int want);

/* The same on a logarithmic axis, with 0 < low < high: powers of ten, their doubles and halves where few powers are in it, linear
 * ones where none of these are. */
struct dg_ticks dg_ticks_log(double low, double high, int want);

#endif

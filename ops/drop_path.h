/* Which rows drop path keeps: for the ops that apply it. */
#ifndef DG_OPS_DROP_PATH_H
#define DG_OPS_DROP_PATH_H

#include "ops/op.h"

struct dg_drop_path {
    int64_t rows;
    float keep; /* 1 - rate; 1: all rows are kept */
    uint64_t stream;
    int view0, batch;
    int64_t kept; /* in scratch */
};
/* Of the leading dimension of input 0. */
struct dg_drop_path dg_drop_path_open(struct dg_prepare *p, double rate);
/* One byte a row, in the call's scratch: is it kept? */
const uint8_t *dg_drop_path_draw(const struct dg_drop_path *d, const struct dg_run *r);

#endif

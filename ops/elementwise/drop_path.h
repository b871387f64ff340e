/* Which images survive drop path: for the ops that apply it. */
#ifndef DG_OPS_ELEMENTWISE_DROP_PATH_H
#define DG_OPS_ELEMENTWISE_DROP_PATH_H

#include "ops/op.h"

enum { DG_DROP_PATH_RATE }; /* the attribute of drop_path, and of ops that contain it */
extern const struct dg_attr_spec dg_drop_path_attrs[];

struct dg_drop_path {
    int64_t images;
    float keep; /* the probability to survive, 1 - rate */
    uint64_t stream;
    int view0, batch;
};
struct dg_drop_path dg_drop_path_make(const struct dg_prepare *p, int64_t images, double rate);
/* Does that image survive in this step? */
bool dg_drop_path_survives(const struct dg_drop_path *d, const struct dg_step_info *step, int64_t image);
/* from[images]: i where image i survives in this step, else -1. */
void dg_drop_path_draw(const struct dg_drop_path *d, const struct dg_step_info *step, int64_t *from);

#endif

/* What the ops that drop share: which draws are an image's, and which images survive drop path. */
#ifndef DG_OPS_ELEMENTWISE_DROP_PATH_H
#define DG_OPS_ELEMENTWISE_DROP_PATH_H

#include "ops/op.h"

enum { DG_DROP_PATH_RATE }; /* the attribute of drop_path and dropout, and of ops that contain drop_path */
extern const struct dg_attr_spec dg_drop_path_attrs[];

/* drop_path and dropout do nothing at rate 0, and in eval mode; they take tensors of images of any shape. */
bool dg_drop_is_identity(const struct dg_op_call *call);
enum dg_status dg_drop_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err);

struct dg_drop_path {
    int64_t images;
    float keep; /* the probability to survive, 1 - rate */
    uint64_t stream;
    int view0, batch;
};
struct dg_drop_path dg_drop_path_make(const struct dg_prepare *p, int64_t images, double rate);

/* Names an image's draws in a step (ops/base/rng.h): stream, view as `sub`, and the row of the whole batch, so that a mask depends
 * neither on threads nor on how rows are grouped into applications and slices. */
struct dg_drop_draw {
    uint64_t stream, row;
    uint32_t view;
};
struct dg_drop_draw dg_drop_draw_of(const struct dg_drop_path *d, const struct dg_step_info *step, int64_t image);

/* Does that image survive in this step? */
bool dg_drop_path_survives(const struct dg_drop_path *d, const struct dg_step_info *step, int64_t image);
/* from[images]: i where image i survives in this step, else -1. */
void dg_drop_path_draw(const struct dg_drop_path *d, const struct dg_step_info *step, int64_t *from);

#endif

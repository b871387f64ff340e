/* From a plan's knobs to the views of an image. */
#ifndef DG_RUNTIME_DATA_VIEWS_H
#define DG_RUNTIME_DATA_VIEWS_H

#include "runtime/exec/knobs.h"
#include "runtime/image/augment.h"

/* Sets the views of the train entry, globals first: sizes from its inputs, the rest from the knobs crops.global.*,
 * crops.global.views.N.* (which take precedence) and crops.local.*. DG_ERR_USAGE names a knob out of range. */
enum dg_status dg_views_init(const struct dg_plan *plan, const struct dg_knobs *knobs,
                             struct dg_view_spec view[DG_MAX_VIEWS], int *count, struct dg_error *err);

/* Sets the one view of a probe's training (dinorun linear): a random crop, resized to height x width (bilinear, as
 * torchvision's default is) and flipped; knobs crops.scale, crops.ratio, crops.flip. Errors likewise. */
enum dg_status dg_views_probe(const struct dg_knobs *knobs, int height, int width, struct dg_view_spec *view,
                              struct dg_error *err);

/* Mean and standard deviation of the input: the knobs crops.mean and crops.std, or ImageNet's. */
void dg_views_pixels(const struct dg_knobs *knobs, double mean[3], double std[3]);

#endif

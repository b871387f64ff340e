/* What the network is shown, for people to look at. */
#ifndef DG_RUNTIME_DRAW_CROPS_SHEET_H
#define DG_RUNTIME_DRAW_CROPS_SHEET_H

#include "runtime/data/dataset.h"
#include "runtime/image/augment.h"

/* Writes a PNG with a row for each of `images` pictures: the picture itself, reduced, then all its views as the network gets
 * them (normalised and back), in natural size; small views are stacked. Pictures and draws are those of the first rows of
 * epoch 0 in training with this seed; unreadable pictures are passed over. Fewer rows when the dataset has fewer pictures.
 * DG_ERR_USAGE (a bad view), DG_ERR_INPUT (nothing readable, a sheet too large), DG_ERR_IO, DG_ERR_MEMORY. */
enum dg_status dg_crops_sheet(const struct dg_dataset *dataset, const struct dg_view_spec *views, int view_count,
                              int images, uint64_t seed, const char *path, struct dg_error *err);

#endif

/* PNG sheet of the views of some images. */
#ifndef DG_RUNTIME_DRAW_CROPS_SHEET_H
#define DG_RUNTIME_DRAW_CROPS_SHEET_H

#include "runtime/data/dataset.h"
#include "runtime/image/augment.h"

/* Writes a PNG with a row for each of `images` images: the image itself, reduced, then all its views as the network
 * gets them (normalised and back), in natural size; small views are stacked. Images and draws are those of the first
 * rows of epoch 0 in training with this seed; unreadable images are left out, and named to `log` (may be NULL). There are fewer rows if the data set has
 * fewer images. DG_ERR_USAGE (a bad view), DG_ERR_INPUT (no image can be read, the sheet is too large), DG_ERR_IO,
 * DG_ERR_MEMORY. */
enum dg_status dg_crops_sheet(const struct dg_dataset *dataset, const struct dg_view_spec *views, int view_count,
                              int images, uint64_t seed, const char *path, const struct dg_log *log,
                              struct dg_error *err);

#endif

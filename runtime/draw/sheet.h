/* Images pasted on white paper; and sheets of images of one size in rows and columns, to look at side by side. */
#ifndef DG_RUNTIME_DRAW_SHEET_H
#define DG_RUNTIME_DRAW_SHEET_H

#include "runtime/image/image.h"

/* White paper of width x height pixels; free with dg_image_free. DG_ERR_INPUT (too large), DG_ERR_MEMORY. */
enum dg_status dg_paper_open(struct dg_image *paper, int64_t width, int64_t height, struct dg_error *err);
/* Copies pixels [height, width, 3] to the paper, with the upper left corner at (left, top) and each pixel `factor` x
 * `factor` large. They must fit. */
void dg_paper_put(struct dg_image *paper, const uint8_t *pixels, int width, int height, int factor, int left, int top);

/* Zero-initialise; free with dg_sheet_free. */
struct dg_sheet {
    int rows, cols;
    int width, height;           /* of the images */
    int cell_width, cell_height; /* as drawn: small images are enlarged by an integer factor, large ones reduced */
    struct dg_image canvas, reduced;
    struct dg_scratch work;
};

/* An empty sheet for rows x cols images of width x height pixels. DG_ERR_INPUT (a sheet too large), DG_ERR_MEMORY. */
enum dg_status dg_sheet_open(struct dg_sheet *sheet, int rows, int cols, int width, int height, struct dg_error *err);
/* pixels: [height, width, 3]. */
enum dg_status dg_sheet_put(struct dg_sheet *sheet, int row, int col, const uint8_t *pixels, struct dg_error *err);
enum dg_status dg_sheet_write(const struct dg_sheet *sheet, const char *path, struct dg_error *err);
void dg_sheet_free(struct dg_sheet *sheet);

#endif

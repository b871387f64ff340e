/* Label images: PNG whose pixels are numbers of objects, as indices of a palette (DAVIS, PASCAL VOC) or as gray. */
#ifndef DG_RUNTIME_IMAGE_LABEL_IMAGE_H
#define DG_RUNTIME_IMAGE_LABEL_IMAGE_H

#include "ops/base/base.h"

/* Zero-initialise; free with dg_label_image_free. */
struct dg_label_image {
    int width, height;
    uint8_t *label; /* [height, width] */
    uint8_t palette[256][3];
    bool has_palette; /* false: the palette is dg_label_image_davis_palette's */
};

/* Reads the PNG at `path`; an earlier content is freed. DG_ERR_IO, DG_ERR_INPUT (no PNG, damaged, or of true colour or
 * other depths of gray, which are no labels), DG_ERR_MEMORY; `labels` is then empty. */
enum dg_status dg_label_image_read(const char *path, struct dg_label_image *labels, struct dg_error *err);
void dg_label_image_free(struct dg_label_image *labels);

/* The palette of DAVIS' annotations: black, then PASCAL VOC's colours with 191 for 192, and gray from 22 on. */
void dg_label_image_davis_palette(uint8_t palette[256][3]);

/* The largest label: of objects that are numbered from 1, how many there are. */
int dg_label_image_largest(const struct dg_label_image *labels);

/* Resizes to out [to_height, to_width] by the nearest pixel, as Pillow's resize with NEAREST: the place in the source
 * is added up in steps of width / to_width from half a step on, whose rounding decides at ties. */
void dg_label_image_resize(const uint8_t *label, int width, int height, int to_width, int to_height, uint8_t *out);

#endif

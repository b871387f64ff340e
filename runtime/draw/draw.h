/* Draws values of patches. All results are RGB, [rows * size, cols * size, 3]: the pixels that the patches cover; a
 * patch's value fills its square (nearest neighbour). */
#ifndef DG_RUNTIME_DRAW_DRAW_H
#define DG_RUNTIME_DRAW_DRAW_H

#include "runtime/draw/patches.h"

/* Copies the part of the input's image [height, width, 3] that the patches cover. */
void dg_draw_seen(const uint8_t *image, const struct dg_patches *patches, uint8_t *pixels);

/* Draws a map [rows, cols] in matplotlib's colours viridis, from its smallest number (dark blue) to its largest
 * (yellow); all dark blue if they are equal. The numbers must be finite. */
void dg_draw_heat(const float *map, const struct dg_patches *patches, uint8_t *pixels);

/* The same with colours that other maps have in common: from `least` (dark blue) to `most` (yellow). */
void dg_draw_heat_between(const float *map, float least, float most, const struct dg_patches *patches, uint8_t *pixels);

/* Draws colours [rows, cols, 3], 8 bits, one for each patch. */
void dg_draw_colours(const uint8_t *colour, const struct dg_patches *patches, uint8_t *pixels);

/* Draws regions over the image `seen` (of dg_draw_seen): half-transparent in the region's colour, with its outline.
 * owner [rows, cols]: the number of each patch's region, or -1. */
void dg_draw_regions(const uint8_t *seen, const int *owner, const struct dg_patches *patches, uint8_t *pixels);

#endif

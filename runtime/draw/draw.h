/* Numbers of patches as pictures. All pictures are RGB, [rows * size, cols * size, 3]: the pixels that the patches see; a
 * patch's value fills its square (nearest neighbour). */
#ifndef DG_RUNTIME_DRAW_DRAW_H
#define DG_RUNTIME_DRAW_DRAW_H

#include "runtime/draw/patches.h"

/* The part of the input's picture [height, width, 3] that the patches see. */
void dg_draw_seen(const uint8_t *picture, const struct dg_patches *patches, uint8_t *pixels);

/* A map [rows, cols] in matplotlib's colours viridis, from its least (dark blue) to its largest number (yellow); all dark blue
 * if they are equal. The numbers are finite. */
void dg_draw_heat(const float *map, const struct dg_patches *patches, uint8_t *pixels);

/* Colours [rows, cols, 3], 8 bits, of the patches. */
void dg_draw_colours(const uint8_t *colour, const struct dg_patches *patches, uint8_t *pixels);

/* Regions over the picture `seen` (dg_draw_seen): half-transparent in the region's colour, with its outline. owner [rows, cols]:
 * the number of the region a patch is in, or -1. */
void dg_draw_regions(const uint8_t *seen, const int *owner, const struct dg_patches *patches, uint8_t *pixels);

#endif

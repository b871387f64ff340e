/* What the class token of a Vision Transformer's last block looks at: maps, masks, and how well a mask fits an object
 * (the paper, section 4.2.2; visualize_attention.py of the official code). A map has one number a patch, [rows, cols];
 * a mask one byte, 1 or 0. */
#ifndef DG_RUNTIME_EVAL_ATTENTION_MAPS_H
#define DG_RUNTIME_EVAL_ATTENTION_MAPS_H

#include "runtime/draw/patches.h"
#include "runtime/image/image.h"

/* The share of the attention that a head's mask holds, unless told otherwise: the paper's section 4.2.2. Its appendix has 0.8. */
#define DG_ATTENTION_KEEP 0.6

/* The class token's rows of one image of the entry "attention", probs [heads, tokens, tokens], without its attention
 * to the tokens before number `first`, itself and registers; the rest is not scaled up. maps:
 * [heads, tokens - first]. DG_ERR_NUMERIC: a number is not finite. */
enum dg_status dg_attention_maps(const float *probs, int64_t heads, int64_t tokens, int64_t first, float *maps,
                                 struct dg_error *err);

/* The mean of the heads: maps [heads, count] -> mean [count]. */
void dg_attention_mean(const float *maps, int64_t heads, int64_t count, float *mean);

/* mask [count]: 1 for the strongest patches of map [count] that together hold the share `keep` of its sum, 0 < keep <=
 * 1. The published rule: with the shares in ascending order, those from where their running sum exceeds 1 - keep. Of
 * equal shares the later patch comes last. Arithmetic is PyTorch's (shares and sums are rounded to f32).
 * DG_ERR_MEMORY. */
enum dg_status dg_attention_mask(const float *map, int64_t count, double keep, uint8_t *mask, struct dg_error *err);

/* Labels of the pixels of a ground-truth mask: ground, objects numbered from 1, and void, which is neither. */
enum { DG_MASK_GROUND = 0, DG_MASK_MAX_OBJECTS = 254, DG_MASK_VOID = 255 };

/* Reads a mask from its image into mask [height, width], and sets *objects to the number of objects. In a gray image
 * there is at most one, where it is 128 or brighter. A coloured image is read as PASCAL VOC's and DAVIS' label
 * images are: black is ground, VOC's (224, 224, 192) is void, and each other colour is an object; they are numbered
 * in the order of their first pixels. DG_ERR_INPUT: there are more colours than DG_MASK_MAX_OBJECTS, so it is no
 * label image. */
enum dg_status dg_mask_read(const struct dg_image *image, uint8_t *mask, int *objects, struct dg_error *err);

/* Intersection over union of one object of a mask [height, width] and a mask of patches, in pixels of the former, to
 * which the patches are stretched (nearest neighbour). All that is not the object counts as ground, as in the
 * authors' lines (facebookresearch/dino, issue 54), and so do pixels that the patches do not cover. 0 where neither
 * mask has a pixel. */
double dg_jaccard(const uint8_t *mask, int height, int width, int object, const uint8_t *patch_mask,
                  const struct dg_patches *patches);

/* The same of all objects together; void does not count. */
double dg_jaccard_together(const uint8_t *mask, int height, int width, const uint8_t *patch_mask,
                           const struct dg_patches *patches);

#endif

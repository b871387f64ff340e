/* What the class token of a Vision Transformer's last block looks at: maps, masks, and how well a mask fits an object
 * (the paper, section 4.2.2; visualize_attention.py of the official code). A map has one number a patch, [rows, cols]; a
 * mask one byte, 1 or 0. */
#ifndef DG_RUNTIME_EVAL_ATTENTION_MAPS_H
#define DG_RUNTIME_EVAL_ATTENTION_MAPS_H

#include "runtime/draw/patches.h"
#include "runtime/image/image.h"

/* The rows of the class token, its attention to itself left out and nothing scaled up for that, from one image of the entry
 * "attention", probs [heads, tokens, tokens]. maps: [heads, tokens - 1]. DG_ERR_NUMERIC when a number is not finite. */
enum dg_status dg_attention_maps(const float *probs, int64_t heads, int64_t tokens, float *maps, struct dg_error *err);

/* The mean of the heads: maps [heads, count] -> mean [count]. */
void dg_attention_mean(const float *maps, int64_t heads, int64_t count, float *mean);

/* The patches that hold the share `keep` of the map's sum, the strongest first. The published rule: with the shares in ascending
 * order, those from where their running sum exceeds 1 - keep. Of equal ones the later patch goes first. Arithmetic as PyTorch's (shares and sums rounded to f32).
 * 0 < keep <= 1. DG_ERR_MEMORY. */
enum dg_status dg_attention_mask(const float *map, int64_t count, double keep, uint8_t *mask, struct dg_error *err);

/* An object's mask at the size it was drawn in, from a picture of it. A picture in shades of gray is the object where it is 128
 * or brighter. A coloured one is read as PASCAL VOC's and DAVIS' label pictures are: black is ground, VOC's (224, 224, 192) is
 * left out, any other colour is object. */
enum dg_truth { DG_TRUTH_GROUND = 0, DG_TRUTH_OBJECT = 1, DG_TRUTH_VOID = 2 };
/* truth: [height, width] of `image`, of enum dg_truth. Returns the pixels of the object. */
int64_t dg_truth_read(const struct dg_image *image, uint8_t *truth);

/* Intersection over union of the object and a mask of patches, in pixels of the truth [height, width], to which the patches are
 * stretched (nearest neighbour). Pixels that the patches do not cover are ground. 0 where neither has any. */
double dg_jaccard(const uint8_t *truth, int height, int width, const uint8_t *mask, const struct dg_patches *patches);

#endif

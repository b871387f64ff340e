/* Label propagation between frames of a video (label_propagation of the official eval_video_segmentation.py): a patch
 * of a frame takes the labels of the patches of other frames that are most like it, of those near its own place.
 *
 * Of a target patch and every source patch no more than `radius` rows and columns away, in any source frame, the
 * affinity is exp(cosine / temperature). The `top` largest count, with all that equal the last of them; the patch's
 * labels are the mean of theirs, weighted by affinity.
 *
 * The affinities of a block of target patches at a time live in a thread's scratch, and no matrix of all pairs is made:
 * for radius 12 a target meets 25 x 25 sources a frame, of more than 6000 at 480 x 832 pixels and patches of 8. */
#ifndef DG_RUNTIME_VIDEO_PROPAGATE_H
#define DG_RUNTIME_VIDEO_PROPAGATE_H

#include "ops/base/base.h"

struct dg_propagation {
    int rows, cols; /* of patches in a frame */
    int64_t dim;    /* of a patch's features */
    int radius;     /* 0: every patch is near */
    int top;        /* 1 to DG_PROPAGATION_MAX_TOP */
    double temperature;
    int channels; /* of labels: objects and the ground */
    int threads;
};

enum { DG_PROPAGATION_MAX_TOP = 256 };

struct dg_propagation_source {
    const float *features; /* [rows, cols, dim], of length 1: dg_features_normalize */
    const float *labels;   /* [channels, rows, cols] */
};

/* Sets labels [channels, rows, cols] of the frame `target` [rows, cols, dim], of length 1, from `sources` [count].
 * DG_ERR_USAGE (a value out of range, or fewer sources than `top`), DG_ERR_MEMORY, DG_ERR_INTERNAL. */
enum dg_status dg_propagate(const struct dg_propagation *propagation, const float *target,
                            const struct dg_propagation_source *sources, int count, float *labels,
                            struct dg_error *err);

/* Bytes of scratch that it takes. */
int64_t dg_propagation_bytes(const struct dg_propagation *propagation, int count);

#endif

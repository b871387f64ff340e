/* How well masks of a video's objects fit the annotated ones, as the toolkit of DAVIS measures it
 * (davis2017-evaluation, the semi-supervised task; Perazzi et al. 2016): the region's similarity J, which is the
 * Jaccard index, and the boundary's F, of precision and recall of boundary pixels within 0.8 % of the frame's diagonal.
 * The first frame, which is given, and the last one do not count. */
#ifndef DG_RUNTIME_VIDEO_SCORE_H
#define DG_RUNTIME_VIDEO_SCORE_H

#include "ops/base/base.h"

/* Of the frames of an object; or the mean of such over objects. */
struct dg_video_measure {
    double mean;
    double recall; /* share of the frames above 0.5 */
    double decay;  /* mean of the first quarter of the frames less that of the last quarter */
};

struct dg_video_score {
    struct dg_video_measure j, f;
};

/* The Jaccard index of object `object` in two label images [height, width]; 1 where neither has it. */
double dg_video_region(const uint8_t *annotated, const uint8_t *mask, int height, int width, int object);

/* F of its boundary in them. *value: 0 to 1. DG_ERR_MEMORY. */
enum dg_status dg_video_boundary(const uint8_t *annotated, const uint8_t *mask, int height, int width, int object,
                                 double *value, struct dg_error *err);

/* Of value [count], count > 0. */
struct dg_video_measure dg_video_measure(const double *value, int count);

/* Label images of the frames of a video that count. */
struct dg_video_masks {
    int height, width, frames;
    uint8_t *const *annotated, *const *mask; /* [frames], each [height, width] */
};

/* Scores objects 1 to `objects`: score [objects]. DG_ERR_USAGE: no frames; DG_ERR_MEMORY. */
enum dg_status dg_video_score(const struct dg_video_masks *masks, int objects, int threads,
                              struct dg_video_score *score, struct dg_error *err);

/* The mean over objects; J&F is the mean of its j.mean and f.mean. */
struct dg_video_score dg_video_score_mean(const struct dg_video_score *score, int count);

#endif

/* Scores of a data set's videos, by their annotations. */
#ifndef DG_RUNTIME_VIDEO_COMPARE_H
#define DG_RUNTIME_VIDEO_COMPARE_H

#include "runtime/video/davis.h"
#include "runtime/video/score.h"

/* Zero-initialise; free with dg_video_scores_free. */
struct dg_video_scores {
    struct dg_video_score *object; /* [count] of all videos */
    char **name;                   /* [count] "VIDEO_1" for the first object of a video, as in the toolkit */
    int count;
};

void dg_video_scores_free(struct dg_video_scores *scores);

/* Whether a video can be scored: it has the annotations of its second frame and on, not of the first alone. */
bool dg_video_has_truth(const struct dg_davis *davis, const struct dg_video *video);

/* Scores mask[frames], each [height, width]; the first and the last may be NULL. Adds its objects to `scores`.
 * DG_ERR_INPUT: an annotation is missing or has another size; a mask has a larger label than there are objects in the
 * first annotation; there are fewer than three frames. */
enum dg_status dg_video_compare(const struct dg_davis *davis, const struct dg_video *video, uint8_t *const *mask,
                                int height, int width, int threads, struct dg_video_scores *scores,
                                struct dg_error *err);

/* Reads the masks FOLDER/VIDEO/FRAME.png but for those of the first and the last frame into mask[frames], to be freed,
 * and sets their size. DG_ERR_INPUT: they differ in it. */
enum dg_status dg_video_read_masks(const char *folder, const struct dg_video *video, uint8_t **mask, int *height,
                                   int *width, struct dg_error *err);

#endif

/* How well attention finds objects: the Jaccard index of its masks and ground-truth masks (the paper, section 4.2.2).
 * The published figure takes each object of an image by itself: the best head for it, then the mean over the image's
 * objects, then over images (the authors' lines in facebookresearch/dino, issue 54). */
#ifndef DG_RUNTIME_EVAL_SEGMENT_SCORE_H
#define DG_RUNTIME_EVAL_SEGMENT_SCORE_H

#include "runtime/data/dataset.h"
#include "runtime/eval/attention_maps.h"
#include "runtime/eval/evaluator.h"

/* Zero-initialise; free with dg_segment_free. Scores are from 0 to 1, means over the images counted. */
struct dg_segment_score {
    int64_t images;   /* counted */
    int64_t objects;  /* in them */
    int64_t unmasked; /* left out: they have no mask */
    int64_t empty;    /* left out: their mask shows no object */
    int64_t unread;   /* left out: they or their masks cannot be read */
    int heads;
    double best;     /* of each object's best head: the published figure */
    double *head;    /* [heads], each for all objects */
    double mean;     /* of the mask of the heads' mean attention */
    double all;      /* of a mask that covers everything: an object's share of the image */
    double together; /* the objects of an image as one mask, and the best head for it: no published figure */
};

struct dg_segment_options {
    const struct dg_patches *patches;            /* of the entry "attention" */
    const char *masks;                           /* folder */
    double keep;                                 /* dg_attention_mask's */
    struct dg_image_rules rules;                 /* the evaluator's; masks are read as they are stored */
    struct dg_bad_limit max_bad;                 /* the evaluator's; of masks, too */
    void (*progress)(int64_t done, int64_t all); /* after each batch; may be NULL */
};

/* Scores the images that have a mask. The mask of DATA/a/b.jpg is MASKS/a/b.png, read by dg_mask_read, of the image's
 * size. `evaluator` is that of the entry "attention". DG_ERR_INPUT: no image has a mask with an object; more masks than
 * max_bad cannot be read or have another size than their image; else as dg_evaluate_whole. */
enum dg_status dg_segment_score(struct dg_evaluator *evaluator, const struct dg_dataset *dataset,
                                const struct dg_segment_options *options, struct dg_segment_score *score,
                                struct dg_error *err);
void dg_segment_free(struct dg_segment_score *score);

/* How many images have a mask. DG_ERR_INPUT: none has; DG_ERR_USAGE: images are in an archive. */
enum dg_status dg_segment_count(const struct dg_dataset *dataset, const char *masks, int64_t *count,
                                struct dg_error *err);
/* Bytes that dg_segment_score takes for so many images, beside the evaluator. */
int64_t dg_segment_bytes(int64_t images, int64_t heads);

#endif

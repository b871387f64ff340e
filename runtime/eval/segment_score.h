/* How well attention finds objects: the Jaccard index of its masks and the true ones (the paper, section 4.2.2). */
#ifndef DG_RUNTIME_EVAL_SEGMENT_SCORE_H
#define DG_RUNTIME_EVAL_SEGMENT_SCORE_H

#include "runtime/data/dataset.h"
#include "runtime/eval/attention_maps.h"
#include "runtime/eval/evaluator.h"

/* Zero-initialise; free with dg_segment_free. Scores are 0..1, means over the images counted. */
struct dg_segment_score {
    int64_t images;   /* counted */
    int64_t unmasked; /* left out: there is no mask for them */
    int64_t empty;    /* left out: their mask shows no object */
    int heads;
    double best;  /* of the head that fits best, image by image: the published figure */
    double *head; /* [heads], each for all images */
    double mean;  /* of the mask of the heads' mean attention */
    double all;   /* of a mask that is everything: the objects' share of the picture */
};

/* The picture DATA/a/b.jpg has the mask `masks`/a/b.png, read by dg_truth_read, of the picture's shape in any size. The evaluator
 * is that of the entry "attention", `patches` are its patches; `keep` is dg_attention_mask's. `progress` (may be NULL) is
 * called now and then. DG_ERR_INPUT when no picture has a mask with an object; else as dg_evaluate_whole. */
enum dg_status dg_segment_score(struct dg_evaluator *evaluator, const struct dg_patches *patches,
                                const struct dg_dataset *dataset, const char *masks, double keep,
                                void (*progress)(int64_t done, int64_t all), struct dg_segment_score *score,
                                struct dg_error *err);
void dg_segment_free(struct dg_segment_score *score);

#endif

/* Runs an evaluation entry of a plan, with weights, over images. */
#ifndef DG_RUNTIME_EVAL_EVALUATOR_H
#define DG_RUNTIME_EVAL_EVALUATOR_H

#include "runtime/data/dataset.h"
#include "runtime/data/eval_source.h"
#include "runtime/exec/knobs.h"
#include "runtime/exec/session.h"
#include "runtime/image/fit.h"
#include "runtime/state/weights.h"

/* How an image becomes a row of the input `images` [batch, height, width, 3]: short side resized to 256/224 of the
 * input's (or as the knob entries.features.resize says), bicubic, centre crop, as DINO evaluates. */
struct dg_eval_crop dg_evaluate_crop(const struct dg_knobs *knobs, const struct dg_plan_tensor *images);

struct dg_evaluator;

struct dg_evaluator_options {
    enum dg_entry_role role; /* DG_ENTRY_FEATURES, DG_ENTRY_ATTENTION or DG_ENTRY_TOKENS */
    const char *weights;     /* a checkpoint, or a file of a bare backbone */
    struct dg_weights_options choice;
    int threads;                 /* 0: all; also of the loader */
    struct dg_bad_limit max_bad; /* unreadable images to leave out before giving up */
    bool accept_changes;         /* accept weights of another network (dg_facts_compare) */
    struct dg_image_rules rules; /* of dg_evaluate_whole; a data set has its own */
    struct dg_fit_size resized;  /* to which that resizes images: see dg_read_whole */
    bool ignore_memory;
    int64_t memory;       /* what the session may take; 0: what is free */
    bool own_images;      /* none are read by it: there are calls of dg_evaluate_batch alone */
    struct dg_lent *lent; /* memory to use, of a session that does not step meanwhile; NULL: none */
    /* Parameters and packed weights that evaluators of the same weights have in common; see dg_session_options. */
    struct dg_shared_weights *shared;
    struct dg_comm *comm;     /* the processes that share a data set; outlives the evaluator. NULL: there is one */
    const struct dg_log *log; /* NULL: none; else receives which weights were taken, and traces */
};

/* Opens the entry, loads its weights and packs them. `knobs` receives the mean and standard deviation of the pixels
 * that the weights were trained with, where they say it. Errors are those of dg_session_open, dg_facts_compare and
 * dg_weights_load. On failure *evaluator is NULL. */
enum dg_status dg_evaluator_open(const struct dg_plan *plan, struct dg_knobs *knobs,
                                 const struct dg_evaluator_options *options, struct dg_evaluator **evaluator,
                                 struct dg_error *err);
void dg_evaluator_close(struct dg_evaluator *evaluator); /* NULL is fine */

const struct dg_knobs *dg_evaluator_knobs(const struct dg_evaluator *evaluator);
const struct dg_session *dg_evaluator_session(const struct dg_evaluator *evaluator);
int64_t dg_evaluator_dim(const struct dg_evaluator *evaluator);                         /* numbers an image */
const struct dg_plan_tensor *dg_evaluator_images(const struct dg_evaluator *evaluator); /* the input's record */

/* Receives the outputs [rows, dim] of `rows` images, in order, and may fail. They are images done - rows to done - 1 of
 * `all`; unreadable ones are passed over. */
typedef enum dg_status dg_evaluated(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                                    struct dg_error *err);

/* Runs all images of the data set in order, prepared by dg_evaluate_crop. Images that cannot be read are named to the
 * log, all of them, and leave the data set (dg_dataset_left_out): it then has an image for each row that `sink` got.
 * DG_ERR_INPUT: they are more than max_bad. From the moment that this is known the images that follow are only read. */
enum dg_status dg_evaluate(struct dg_evaluator *evaluator, struct dg_dataset *dataset, dg_evaluated *sink,
                           void *context, struct dg_error *err);

/* Of several processes each runs every P-th batch, which are the same batches as of one process, and has the same
 * data set and weights. Both functions are collective, and all processes come to the same end. With dg_evaluate
 * every process then receives all rows, in order; with this one only those of its own batches. */
enum dg_status dg_evaluate_own(struct dg_evaluator *evaluator, struct dg_dataset *dataset, dg_evaluated *sink,
                               void *context, struct dg_error *err);

/* Runs one batch [batch, height, width, 3] in the caller's memory, 64-byte aligned. *output [batch, dim] is the
 * evaluator's and valid until the next call; its numbers may be none. */
enum dg_status dg_evaluate_batch(struct dg_evaluator *evaluator, const float *images, const float **output,
                                 struct dg_error *err);

/* DG_ERR_NUMERIC: the output of the one image `name` that dg_evaluate_batch has run is not finite; the text has the
 * first operation that made it so. */
enum dg_status dg_evaluate_check(struct dg_evaluator *evaluator, const char *name, struct dg_error *err);

/* Runs the images at path[count], each resized to the input's size without a crop, bilinear, as the published attention
 * maps are made (visualize_attention.py of the official code). Unreadable images as above. */
enum dg_status dg_evaluate_whole(struct dg_evaluator *evaluator, const char *const *path, int64_t count,
                                 dg_evaluated *sink, void *context, struct dg_error *err);
/* Reads an image in that way, without normalisation: pixels [height, width, 3]. A size `resized` other than zero is
 * what the image is resized to, and its upper left part is what is wanted. */
enum dg_status dg_read_whole(const char *path, struct dg_image_rules rules, struct dg_fit_size resized, int width,
                             int height, uint8_t *pixels, struct dg_error *err);

#endif

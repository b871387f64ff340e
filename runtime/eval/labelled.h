/* The features of labelled images, as k-NN takes them. */
#ifndef DG_RUNTIME_EVAL_LABELLED_H
#define DG_RUNTIME_EVAL_LABELLED_H

#include "runtime/eval/evaluator.h"

struct dg_labelled { /* zero-initialise */
    struct dg_dataset *images;
    int *label;      /* [count], as the training images number their classes */
    float *features; /* [count, dim], the caller's */
    int64_t count, dim, filled;
    int classes; /* of the training images */
};

/* Opens the images, whose classes are those of `train`: a part of them; NULL: they are the training images. */
enum dg_status dg_labelled_open(struct dg_labelled *labelled, const struct dg_data *data,
                                const struct dg_labelled *train, const struct dg_log *log, struct dg_error *err);
/* Computes `features`. Unreadable images leave the list (dg_evaluate). */
enum dg_status dg_labelled_compute(struct dg_labelled *labelled, const struct dg_labelled *train,
                                   struct dg_evaluator *evaluator, struct dg_error *err);
void dg_labelled_close(struct dg_labelled *labelled);

#endif

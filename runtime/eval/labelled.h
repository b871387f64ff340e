/* The features of labelled images, as k-NN takes them. */
#ifndef DG_RUNTIME_EVAL_LABELLED_H
#define DG_RUNTIME_EVAL_LABELLED_H

#include "runtime/eval/evaluator.h"

struct dg_labelled { /* zero-initialise */
    struct dg_dataset *images;
    int *label;      /* [count], as the training images number their classes; of a part [rows] */
    float *features; /* [count, dim], the caller's */
    int64_t count, dim;
    int64_t filled; /* rows of `features` */
    int classes;    /* of the training images */
    /* Of several processes, each computes the features of a part of the images: [filled, dim] of the rows `row`
     * [filled], the caller's, of the whole list. NULL: all of them. `rows`: of the list with unreadable images,
     * which label and row count. */
    int32_t *row;
    int64_t rows;
    void (*progress)(int64_t done, int64_t all); /* NULL: none */
};

/* Sets *label to the classes of `images` [dg_dataset_count], as `train` numbers them. *label is NULL or an earlier
 * call's, and the caller's to free, also after a failure. Errors and messages are dg_dataset_match_classes'. */
enum dg_status dg_labels_read(const struct dg_dataset *images, const struct dg_dataset *train, const struct dg_log *log,
                              int **label, struct dg_error *err);

/* Opens the images, whose classes are those of `train`: a part of them; NULL: they are the training images. */
enum dg_status dg_labelled_open(struct dg_labelled *labelled, const struct dg_data *data,
                                const struct dg_labelled *train, const struct dg_log *log, struct dg_error *err);
/* Computes `features`. Unreadable images leave the list (dg_evaluate, dg_evaluate_own). */
enum dg_status dg_labelled_compute(struct dg_labelled *labelled, const struct dg_labelled *train,
                                   struct dg_evaluator *evaluator, struct dg_error *err);
void dg_labelled_close(struct dg_labelled *labelled); /* but for what is the caller's */

#endif

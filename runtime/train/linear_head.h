/* The classifier of a linear probe: the plan's entry train, which takes features and labels and gives logits and
 * loss. */
#ifndef DG_RUNTIME_TRAIN_LINEAR_HEAD_H
#define DG_RUNTIME_TRAIN_LINEAR_HEAD_H

#include "runtime/exec/session.h"

/* Of all images scored: cross-entropy in nats (mean), and how often the label was first, or among the first five, in
 * percent. */
struct dg_linear_score {
    double loss, top1, top5;
};

struct dg_linear_head {
    int64_t batch, dim, classes;
    struct dg_session *session;
    float *input;          /* [batch, dim] */
    int64_t *labels;       /* [batch]; -1: the row does not count */
    const float *logits;   /* [batch, classes] */
    const double *loss;    /* mean over the rows that count, in nats */
    const double *summary; /* the gradient's norm; 1 if it is finite */
};

/* Sets batch, dim and classes. DG_ERR_USAGE: the plan is no probe's. */
enum dg_status dg_linear_head_read_plan(struct dg_linear_head *head, const struct dg_plan *plan, struct dg_error *err);
/* Sets what lies in the session, which is that entry's and stays the caller's. */
void dg_linear_head_bind(struct dg_linear_head *head, struct dg_session *session);

/* Copies features [rows, dim] into the first rows of the input. The other rows become 0 and do not count; labels of the
 * first rows are the caller's to set. */
void dg_linear_head_put(struct dg_linear_head *head, const float *features, int64_t rows);

/* Scores features [count, dim] with labels [count]. */
enum dg_status dg_linear_head_score(struct dg_linear_head *head, const float *features, const int *label, int64_t count,
                                    struct dg_linear_score *score, struct dg_error *err);

/* Takes linear.weight and linear.bias from a safetensors file. DG_ERR_INPUT: a broken file, or one without them. */
enum dg_status dg_linear_head_load(struct dg_linear_head *head, const struct dg_plan *plan, const char *path,
                                   struct dg_error *err);

#endif

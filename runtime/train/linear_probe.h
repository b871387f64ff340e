/* The linear probe: trains a linear layer on features of a frozen backbone and measures its accuracy (eval_linear.py
 * of the official code). The plan is one of graphs/linear.yaml, with entries `features` and `train`.
 *
 * Several processes take turns at the batches, whose features the frozen backbone makes without knowing the layer,
 * and each then takes every step of the layer: no gradients are exchanged, and all is what one process computes, bit
 * for bit.
 *
 * Validation features are computed once; training features anew each epoch, from fresh crops. All images count in
 * every epoch: its last batch may be smaller. */
#ifndef DG_RUNTIME_TRAIN_LINEAR_PROBE_H
#define DG_RUNTIME_TRAIN_LINEAR_PROBE_H

#include "runtime/data/dataset.h"
#include "runtime/exec/knobs.h"
#include "runtime/state/weights.h"
#include "runtime/train/linear_head.h"

/* What is about to happen, known when everything is open. */
struct dg_linear_start {
    struct dg_session_memory features, head; /* of the two sessions; totals do not include the two below */
    int64_t loader_bytes, features_bytes;    /* images in flight; validation features */
    int64_t train_images, val_images;        /* train_images 0: evaluation alone */
    double most_frequent;                    /* of the validation images' classes: its share in percent */
    int64_t dim, classes, batch, steps_per_epoch, epochs, first_epoch;
    uint64_t seed;
    int threads;
};

struct dg_linear_report {
    int64_t epoch;   /* from 0 */
    double lr, loss; /* of training: mean over its images */
    struct dg_linear_score val;
    double best; /* top-1 of the best epoch so far */
    int64_t best_epoch;
    double images_per_s;
};

/* Calls to the program as things go on; any may be NULL. */
struct dg_linear_events {
    void *context;
    void (*start)(void *context, const struct dg_linear_start *start);
    /* `epoch` is -1 while validation features are computed. */
    void (*progress)(void *context, int64_t epoch, int64_t images, int64_t all_images);
    void (*epoch)(void *context, const struct dg_linear_report *report);
};

struct dg_linear_options {
    const char *weights; /* of the backbone: a checkpoint, or a bare backbone's file */
    struct dg_weights_options choice;
    struct dg_data train, val; /* with classes; dg_linear_evaluate looks at val alone */
    const char *out;           /* the run's folder, made if it is not there */
    bool resume, new_data;     /* new_data: resume, although images or backbone are others than before */
    bool accept_changes;       /* go on, although recipe, network, classes or weights are others */
    uint64_t seed;             /* of initial values, order and crops */
    bool seed_given;           /* otherwise a resumed run keeps its own */
    int threads;               /* 0: all; also of the loader */
    /* Unreadable images before giving up: training images to replace, validation images to leave out. */
    struct dg_bad_limit max_bad, max_bad_val;
    bool ignore_memory;
    /* The processes that share backbone and images; NULL: there is one. Rank 0 writes all files. */
    struct dg_comm *comm;
    const char *const *command; /* for OUT/run.json: the words of the command line, ended by NULL; NULL: not known */
    const struct dg_log *log;   /* NULL: none; weights taken, unreadable images, what a resume changes */
    struct dg_linear_events events;
};

/* Trains for as many epochs as the knob `epochs` says. After each: a line in OUT/log.jsonl; OUT/linear.safetensors
 * (linear.weight [classes, F], linear.bias [classes], momentum and position, complete or not there), and
 * OUT/best.safetensors, the same after the epoch of the highest top-1. A resumed run ends as the uninterrupted one
 * does, bit for bit.
 *
 * DG_ERR_INPUT: another number of classes than the plan's (the message has the right command), classes of val that
 * train has not. DG_ERR_USAGE: a plan without a probe, a folder that holds a run. DG_ERR_NUMERIC: a step that is not
 * finite. */
enum dg_status dg_linear_train(const struct dg_plan *plan, struct dg_knobs *knobs,
                               const struct dg_linear_options *options, struct dg_error *err);

/* The score of a head from the safetensors file `head` (linear.weight, linear.bias) on val, whose classes, sorted by
 * name, are the head's. DG_ERR_INPUT: the head says that it was trained with other classes, on another network or other
 * weights of it (dg_facts_compare). */
enum dg_status dg_linear_evaluate(const struct dg_plan *plan, struct dg_knobs *knobs,
                                  const struct dg_linear_options *options, const char *head,
                                  struct dg_linear_score *score, struct dg_error *err);

#endif

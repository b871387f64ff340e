/* A training run: reads batches, computes and commits steps, writes log and checkpoints (paper, algorithm 1). */
#ifndef DG_RUNTIME_TRAIN_TRAIN_H
#define DG_RUNTIME_TRAIN_TRAIN_H

#include "runtime/comm/comm.h"
#include "runtime/data/dataset.h"
#include "runtime/exec/knobs.h"
#include "runtime/exec/session.h"
#include "runtime/state/weights.h"
#include "runtime/train/quality.h"
#include "runtime/train/run_log.h"

/* What a run is about to do, known when everything is open. */
struct dg_train_start {
    struct dg_session_memory memory; /* total includes loader_bytes */
    int64_t loader_bytes;
    int64_t images, steps_per_epoch, epochs, first_step, end_step;
    double log_out_dim; /* nats: the entropy of a uniform output */
    uint64_t seed;
    int threads, loader_threads;
    int64_t slices; /* of each batch, that this process computes */
    /* Bytes that measuring takes of the memory, and beside it; 0: nothing is measured. */
    int64_t measure_lent, measure_own;
};

/* Calls to the program as the run goes on; any may be NULL. */
struct dg_train_events {
    void *context;
    void (*start)(void *context, const struct dg_train_start *start);
    void (*step)(void *context, const struct dg_step_report *report, double seconds, double waited_for_data);
    void (*saved)(void *context, int64_t step); /* OUT/checkpoint.safetensors is of that step now */
    void (*measured)(void *context, const struct dg_quality_report *report);
    bool (*stop)(void *context); /* true: finish the step, save, return */
};

struct dg_train_options {
    struct dg_data data; /* images, of which all count, without classes; no paths: */
    const char *replay;  /* recorded crops */
    const char *out;     /* the run's folder, made if it is not there */
    /* What is measured while training, which changes nothing of the run. */
    struct dg_data knn_train, knn_val; /* labelled images for k-NN; no paths: none */
    struct dg_data segment_data;       /* images to find objects in; no paths: none */
    const char *segment_masks;         /* the folder of their masks */
    double segment_threshold;          /* the share of the attention that masks hold */
    struct dg_quality_interval measure_every;
    struct dg_bad_limit measure_max_bad; /* unreadable ones of these images to leave out before giving up */
    const char *const *watch;            /* [watched] images to draw at each checkpoint (runtime/train/watch.h) */
    int watched;
    const char *init;                 /* weights to start from; NULL: initialisers */
    struct dg_weights_options choice; /* of what is in it */
    bool resume, new_data;            /* new_data: resume, although these are not the images that the run began with */
    bool accept_changes;              /* resume or init, although recipe or network are others */
    /* Stop when this many are done, counted from the run's beginning; 0: only write the checkpoint of the initial
     * state; negative: at the end of the schedules. */
    int64_t steps;
    uint64_t seed;
    bool seed_given;             /* otherwise a resumed run keeps its own */
    int threads;                 /* 0: all */
    int loader_threads;          /* 0: as many as threads */
    struct dg_bad_limit max_bad; /* unreadable images to replace before giving up */
    bool ignore_memory, ignore_disk;
    bool tensorboard;           /* write OUT/tensorboard/, too; a run that has it goes on with it */
    const char *const *command; /* for RUN/run.json: the words of the command line, ended by NULL; NULL: not known */
    struct dg_comm *comm;       /* the processes that share each batch; NULL: there is one. Rank 0 writes all files */
    struct dg_comm_sums sums;   /* how their gradients are asked to be added up, for the checkpoint */
    const struct dg_log *log;   /* NULL: none; unreadable images, collapse, what a resume changes, ... */
    struct dg_train_events events;
};

/* Trains until the end of the schedules, `steps`, or events.stop; then the newest state is in
 * OUT/checkpoint.safetensors. `knobs` has the run's values (the knob `epochs` is its length); a run that resumes
 * goes on with its own, which replace those that the user has not set. An error in the middle of a run first saves
 * the state after the last step that was committed: a step that fails changes nothing. */
enum dg_status dg_train(const struct dg_plan *plan, struct dg_knobs *knobs, const struct dg_train_options *options,
                        struct dg_error *err);

#endif

/* What the processes of one run agree on at the start: that they run the same thing, and which CPUs each has. */
#ifndef DG_RUNTIME_TRAIN_RANK_START_H
#define DG_RUNTIME_TRAIN_RANK_START_H

#include "runtime/comm/comm.h"
#include "runtime/data/data.h"
#include "runtime/exec/knobs.h"

/* What must be the same in all processes. */
struct dg_rank_facts {
    uint64_t plan, data; /* checksum of the plan; hash of the list of images, or of recorded crops */
    int64_t images;      /* in the list */
    struct dg_image_rules rules;
    const struct dg_knobs *knobs;
    const char *images_from;  /* for messages: the folder */
    uint64_t weights;         /* hash of those that are evaluated; 0: none are */
    const char *weights_from; /* the file */
};

/* Collective: settings [bytes] are items of text as "--steps 4", each ended by a zero. DG_ERR_USAGE: a process has
 * another than rank 0 for a name, or has one where the other has none; the text names rank, machine, and both. The
 * same error on all. */
enum dg_status dg_ranks_check_settings(struct dg_comm *comm, const char *settings, int64_t bytes, struct dg_error *err);

/* DG_ERR_USAGE: a process has other facts than rank 0, or other kernels, or sees a part of its machine's CPUs only; the
 * text names rank, machine, and both values. The same error on all. */
enum dg_status dg_ranks_check(struct dg_comm *comm, const struct dg_rank_facts *facts, struct dg_error *err);

/* Where *threads is 0, threads for this process: those that it may use, or its part of them where the processes of a
 * machine may all use the same. All processes call it, also those that were asked for a number. */
enum dg_status dg_ranks_threads(struct dg_comm *comm, int *threads, struct dg_error *err);

#endif

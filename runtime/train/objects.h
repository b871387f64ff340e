/* How well the attention of a run's network finds objects while it trains: the Jaccard index of its newest checkpoint,
 * as `dinorun segment-score` computes it of that file, in the memory of the training session. */
#ifndef DG_RUNTIME_TRAIN_OBJECTS_H
#define DG_RUNTIME_TRAIN_OBJECTS_H

#include "runtime/eval/segment_score.h"

struct dg_objects_setup {
    const struct dg_plan *plan;
    struct dg_knobs *knobs;
    struct dg_data data; /* images in a folder, not in an archive */
    const char *masks;   /* the folder of their masks */
    double keep;         /* the share of the attention that masks hold */
    struct dg_bad_limit max_bad;
    const struct dg_log *unread; /* which of them cannot be read */
    const struct dg_log *log;
};

struct dg_objects;

/* Opens the images and finds their masks. The paths must outlive it. DG_ERR_USAGE: the plan has no attention. */
enum dg_status dg_objects_open(const struct dg_objects_setup *setup, struct dg_objects **objects, struct dg_error *err);
void dg_objects_close(struct dg_objects *objects); /* NULL is fine */

/* Lets it work in the memory of the training session. Sets the bytes that it takes there, and beside it. */
enum dg_status dg_objects_prepare(struct dg_objects *objects, const struct dg_session *training, int64_t *lent,
                                  int64_t *own, struct dg_error *err);
/* Scores the checkpoint `path`. `score` is to be freed by dg_segment_free. */
enum dg_status dg_objects_measure(const struct dg_objects *objects, const char *path, struct dg_segment_score *score,
                                  struct dg_error *err);

#endif

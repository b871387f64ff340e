/* Draws what a run's network sees in a few images, each time that a checkpoint is saved: the attention of the last
 * block's heads, and principal components of the patches. Files: RUN/watch/attention-NAME-{step:08}.png and
 * RUN/watch/pca-{step:08}.png. */
#ifndef DG_RUNTIME_TRAIN_WATCH_H
#define DG_RUNTIME_TRAIN_WATCH_H

#include "runtime/eval/evaluator.h"

struct dg_watch {
    const struct dg_plan *plan;
    struct dg_knobs *knobs;
    const char *const *image; /* [count] */
    int count;                /* 0: nothing is drawn */
    struct dg_image_rules rules;
    const char *run; /* the folder */
};

/* Before the run begins: the network can be drawn and the images can be read. DG_ERR_USAGE, DG_ERR_INPUT. */
enum dg_status dg_watch_check(const struct dg_watch *watch, struct dg_error *err);
/* Draws the checkpoint `path` of `step` steps, in the memory of the training session, which does not step meanwhile. */
enum dg_status dg_watch_draw(const struct dg_watch *watch, const struct dg_session *training, const char *path,
                             int64_t step, struct dg_error *err);

#endif

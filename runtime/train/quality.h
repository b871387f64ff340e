/* What a run's network is worth while it trains: k-NN of its newest checkpoint, as `dinorun knn` computes it of that
 * file, and how well its attention finds objects (runtime/train/objects.h). It works in the memory of the training
 * session, which does not step meanwhile, and changes nothing of the run. */
#ifndef DG_RUNTIME_TRAIN_QUALITY_H
#define DG_RUNTIME_TRAIN_QUALITY_H

#include "runtime/eval/evaluator.h"
#include "runtime/eval/knn.h"
#include "runtime/eval/segment_score.h"
#include "runtime/train/run_log.h"

enum { DG_QUALITY_K = 4 }; /* of 10, 20, 100 and 200 those that there are images for, else as many as there are */

/* How often: at the end of the run, and each so many of these. */
struct dg_quality_interval {
    double value;
    enum dg_every { DG_EVERY_EPOCHS, DG_EVERY_STEPS, DG_EVERY_MINUTES } unit;
};

/* "2 epochs", "500 steps", "30 minutes"; a number alone counts epochs. */
bool dg_quality_read_interval(const char *text, struct dg_quality_interval *interval);
const char *dg_quality_interval_text(struct dg_quality_interval interval, char *text, size_t size);

struct dg_quality_setup {
    const struct dg_plan *plan;
    struct dg_knobs *knobs;
    struct dg_data train, val; /* with classes; no paths: no k-NN */
    struct dg_data objects;    /* images to find objects in; no paths: none */
    const char *masks;         /* the folder of their masks */
    double keep;               /* the share of the attention that masks hold */
    struct dg_quality_interval every;
    struct dg_bad_limit max_bad; /* the evaluator's, of each list of images */
    int64_t steps_per_epoch, end_step;
    const struct dg_log *log;
};

struct dg_quality_report {
    int64_t step, images;       /* steps of the checkpoint; images that were classified */
    int k[DG_QUALITY_K], num_k; /* num_k 0: no k-NN */
    struct dg_knn_result result[DG_QUALITY_K];
    double most_frequent;            /* what the most frequent class alone would get, in percent */
    struct dg_segment_score objects; /* without its `head`; images 0: not scored */
    double seconds;
};

struct dg_quality;

/* Opens the images. The paths must outlive it. */
enum dg_status dg_quality_open(const struct dg_quality_setup *setup, struct dg_quality **quality, struct dg_error *err);
void dg_quality_close(struct dg_quality *quality); /* NULL is fine */

/* Lets it work in the memory of the training session. Sets the bytes that it takes there, and beside it.
 * DG_ERR_MEMORY: they are not there. */
enum dg_status dg_quality_prepare(struct dg_quality *quality, const struct dg_session *training, int64_t *lent,
                                  int64_t *own, struct dg_error *err);
/* Whether to measure when `step` steps are done. NULL: never. */
bool dg_quality_due(const struct dg_quality *quality, int64_t step);
/* Measures the checkpoint `path` of `step` steps. */
enum dg_status dg_quality_measure(struct dg_quality *quality, const char *path, int64_t step,
                                  struct dg_quality_report *report, struct dg_error *err);
/* Writes it to log.jsonl, as a line of the last step that the weights have seen, and to FOLDER/results.csv. */
enum dg_status dg_quality_write(const struct dg_quality *quality, const struct dg_quality_report *report,
                                struct dg_run_log *lines, const char *folder, struct dg_error *err);

#endif

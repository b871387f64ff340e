/* RUN/results.csv: a line for each number that an evaluation of the run has measured (tools/README.md). */
#ifndef DG_RUNTIME_TRAIN_RESULTS_H
#define DG_RUNTIME_TRAIN_RESULTS_H

#include "runtime/data/dataset.h"
#include "runtime/eval/knn.h"
#include "runtime/eval/segment_score.h"

/* "knn20.top1", in percent unless the measure is a loss, which is in nats. */
struct dg_result {
    char measure[32];
    double value;
    double most_frequent; /* accuracies: what the most frequent class alone would get, in percent; else NaN */
};

/* What was measured, of what, on what. */
struct dg_results {
    const char *by;                    /* the command: "train", "knn", "linear", "segment-score" */
    int64_t step;                      /* of the weights; negative: not known */
    const char *network;               /* "teacher", "student" */
    const char *weights;               /* the file; the last part of its path is written */
    const struct dg_data *train, *val; /* images; train may be NULL */
    int64_t images;                    /* that were measured */
    const struct dg_result *result;
    int count;
};

/* Sets result [2 * num_k] to the accuracies of k-NN: for each k knnK.top1 and knnK.top5, of which the first has
 * most_frequent. */
void dg_results_set_knn(struct dg_result *result, const int *k, int num_k, const struct dg_knn_result *knn,
                        double most_frequent);

enum { DG_JACCARD_RESULTS = 4 };
/* Sets result to a score of masks that hold the share `keep` of the attention: jaccard.best, jaccard.mean, jaccard.everything and
 * jaccard.all of the usual share, DG_ATTENTION_KEEP; jaccard80.best and so on of another, in percent. */
void dg_results_set_jaccard(struct dg_result result[DG_JACCARD_RESULTS], const struct dg_segment_score *score,
                            double keep);

/* Appends the lines to FOLDER/results.csv, all or none of them as far as the file system can, with a header if the
 * file is new. DG_ERR_IO. */
enum dg_status dg_results_add(const char *folder, const struct dg_results *results, struct dg_error *err);

/* Takes away what training itself has measured after `step`: a run that goes on there measures it again. */
enum dg_status dg_results_cut(const char *folder, int64_t step, struct dg_error *err);

#endif

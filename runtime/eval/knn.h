/* DINO's weighted k-NN classifier (knn_classifier of the official eval_knn.py): of a test feature's k most similar
 * train features each votes for its class with the weight exp(similarity / temperature), and classes are ranked by
 * their votes. Similarity is the dot product of L2-normalised features.
 *
 * Where the published code leaves the order to topk and sort, here the lower index comes first, among train features
 * of equal similarity as among classes of equal votes. A class without a vote is never a hit: the published code
 * ranks 1000 classes, among which those without a vote fall behind. The result does not depend on the number of
 * threads. Votes are summed in f64, and the largest similarity is subtracted before exp: that scales all votes of a
 * test feature alike, so the ranks stay, and no temperature overflows.
 *
 * Several processes may each have a part of the train features: each finds the best of its part for all test
 * features, and rank 0 takes the best of all, in the order of similarity and row, which has no ties. So the answer
 * is that of one process.
 *
 * Memory: 12.5 KiB times dim, about 1 MiB a thread, and up to 32 MiB, of several processes 64 (64 times the largest
 * k, 8 bytes each, if that is more). */
#ifndef DG_RUNTIME_EVAL_KNN_H
#define DG_RUNTIME_EVAL_KNN_H

#include "runtime/comm/comm.h"

struct dg_knn_result {
    double top1, top5; /* percent; top5: among the first five of the classes that have a vote */
};

struct dg_knn_set {
    const float *features; /* [count, dim], normalised */
    const int *label;      /* [count], each in [0, classes); of a part: [all] */
    int64_t count;
    const int32_t *row; /* of a part of the set: each feature's row in the whole one, ascending. NULL: it is whole */
    int64_t all;        /* rows of the whole set */
};

struct dg_knn_question {
    struct dg_knn_set train, test;
    int64_t dim;
    int classes;  /* also those that no feature has */
    const int *k; /* [num_k], in any order */
    int num_k;
    double temperature;
    int threads;
    struct dg_comm *comm; /* the processes that have the parts of train, and all of test; NULL: there is one */
};

/* Sets result[i] for k[i], and predicted[test.count, num_k], unless NULL, to the classes that came first. Of several
 * processes, which all call it, rank 0 receives them.
 *
 * DG_ERR_USAGE: empty sets, a label out of range, a k below 1 or above train.count (as in the published code: an
 * accuracy called 200-NN is never one of fewer). DG_ERR_NUMERIC: features that are not finite or not normalised (a
 * component beyond +-1). DG_ERR_MEMORY. */
enum dg_status dg_knn(const struct dg_knn_question *question, struct dg_knn_result *result, int *predicted,
                      struct dg_error *err);

#endif

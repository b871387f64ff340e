/* The most similar rows of a set to each row of another: exact search by dot products of L2-normalised features.
 *
 * Of rows of equal similarity the one of lower index comes first. The result does not depend on the number of
 * threads. Memory: 12.5 KiB times dim, and about 1 MiB a thread. */
#ifndef DG_RUNTIME_EVAL_NEAREST_H
#define DG_RUNTIME_EVAL_NEAREST_H

#include "ops/base/base.h"

struct dg_neighbor {
    float similarity;
    int32_t index;
};

enum { DG_NEAREST_BLOCK = 64 }; /* queries of a block, which one thread searches */

struct dg_nearest {           /* zero-initialise; the first members are the caller's */
    const float *set, *query; /* [set_count, dim], [query_count, dim] */
    int64_t set_count, query_count, dim;
    const int32_t *row; /* [set_count], ascending: an index for each row of `set`. NULL: its number */
    int k, threads;
    float *padded; /* the last blocks */
};

/* DG_ERR_MEMORY. */
enum dg_status dg_nearest_open(struct dg_nearest *nearest, struct dg_error *err);
void dg_nearest_close(struct dg_nearest *nearest);

/* Sets best[end - first, k] to the nearest of the queries first .. end - 1, each query's in no order; where the set has
 * fewer than k the others have similarity -INFINITY and index INT32_MAX. `first` is a multiple of DG_NEAREST_BLOCK. */
enum dg_status dg_nearest_search(const struct dg_nearest *nearest, int64_t first, int64_t end, struct dg_neighbor *best,
                                 struct dg_error *err);

/* Sorts them, the nearest first. */
void dg_neighbors_sort(struct dg_neighbor *neighbor, int64_t count);

/* Divides each row of features[n, dim] by max(its L2 norm, 1e-12). */
void dg_features_normalize(float *features, int64_t n, int64_t dim, int threads);

#endif

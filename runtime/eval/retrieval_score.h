/* How well a ranking finds what belongs to a query: average precision, as the evaluations of revisited Oxford and Paris
 * and of Copydays have it (compute_map of the official code's utils.py, and its eval_copy_detection.py). */
#ifndef DG_RUNTIME_EVAL_RETRIEVAL_SCORE_H
#define DG_RUNTIME_EVAL_RETRIEVAL_SCORE_H

#include "runtime/eval/nearest.h"

/* The area under precision over recall by trapezoids, of the positives at the ranks rank[count], which count from 0 and
 * ascend, of `positives` there are in all. */
double dg_average_precision(const int64_t *rank, int64_t count, int64_t positives);

struct dg_index_list {
    const int32_t *index;
    int64_t count;
};

/* What counts for a query: images of `junk` are passed over, as if they were not in the ranking. */
struct dg_relevance {
    struct dg_index_list positive[2], junk[2];
};

enum { DG_RETRIEVAL_CUTS = 3 };
extern const int dg_retrieval_cut[DG_RETRIEVAL_CUTS]; /* 1, 5, 10 */

/* Zero-initialise; sums until dg_retrieval_mean makes means of them. From 0 to 1. */
struct dg_retrieval_score {
    double map, precision[DG_RETRIEVAL_CUTS]; /* mean average precision; mean precision among the first 1, 5 and 10, or
                                               * among those up to the last positive, if these are fewer */
    int64_t queries, empty;                   /* empty: without positives, which do not count */
};

/* Adds a query, whose ranking [count] has each image once, the nearest first; indices are below count. `seen` [count]
 * and `rank` [count] are scratch. */
void dg_retrieval_add(struct dg_retrieval_score *score, const struct dg_neighbor *ranking, int64_t count,
                      const struct dg_relevance *relevance, uint8_t *seen, int64_t *rank);
void dg_retrieval_mean(struct dg_retrieval_score *score);

#endif

/* Image retrieval: the images of a database in the order of their similarity to a query, and the scores of revisited
 * Oxford and Paris (Radenovic et al., CVPR 2018), as the official eval_image_retrieval.py has them. */
#ifndef DG_RUNTIME_EVAL_RETRIEVAL_H
#define DG_RUNTIME_EVAL_RETRIEVAL_H

#include "runtime/data/dataset.h"
#include "runtime/eval/image_features.h"
#include "runtime/eval/retrieval_score.h"
#include "runtime/formats/ground_truth.h"

struct dg_ranking {              /* zero-initialise */
    struct dg_neighbor *nearest; /* [queries, k], of each query the nearest first; owned */
    int64_t queries;
    int k; /* at most the images of the database */
};

/* Ranks the database for each query; `k` 0: all of it. Features of both are divided by their norms. DG_ERR_USAGE (the
 * database is too large), DG_ERR_MEMORY. */
enum dg_status dg_ranking_compute(struct dg_image_features *queries, struct dg_image_features *database, int64_t k,
                                  int threads, struct dg_ranking *ranking, struct dg_error *err);
void dg_ranking_free(struct dg_ranking *ranking);

/* Where the images of a ground truth are in data sets. */
struct dg_truth_places {    /* zero-initialise */
    int64_t *image, *query; /* [truth's images], [truth's queries]; owned */
};

/* Finds them by their names without folder and ending. DG_ERR_INPUT: some are not there; the text has how many, and the
 * first. */
enum dg_status dg_truth_find(const struct dg_ground_truth *truth, const struct dg_dataset *database,
                             const struct dg_dataset *queries, struct dg_truth_places *places, struct dg_error *err);
void dg_truth_places_free(struct dg_truth_places *places);

/* What counts as found, and what is passed over: easy (hard and junk), easy and hard (junk), hard (easy and junk). The
 * official script prints the last two. */
enum dg_retrieval_level { DG_RETRIEVAL_EASY, DG_RETRIEVAL_MEDIUM, DG_RETRIEVAL_HARD, DG_RETRIEVAL_LEVELS };
extern const char *const dg_retrieval_level_name[DG_RETRIEVAL_LEVELS];

/* Scores a ranking of the truth's images for its queries, of all images. */
enum dg_status dg_truth_score(const struct dg_ground_truth *truth, const struct dg_ranking *ranking,
                              struct dg_retrieval_score score[DG_RETRIEVAL_LEVELS], struct dg_error *err);

#endif

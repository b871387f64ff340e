#include "runtime/eval/retrieval.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- ranking ---- */

enum dg_status dg_ranking_compute(struct dg_image_features *queries, struct dg_image_features *database, int64_t k,
                                  int threads, struct dg_ranking *ranking, struct dg_error *err)
{
    if (database->count < 1 || queries->count < 1 || database->count >= INT32_MAX)
        return dg_fail(err, DG_ERR_USAGE, "%" PRId64 " images cannot be ranked for %" PRId64 " queries",
                       database->count, queries->count);
    ranking->queries = queries->count;
    ranking->k = (int)(k ? dg_min_i64(k, database->count) : database->count);
    dg_features_normalize(queries->features, queries->count, queries->dim, threads);
    dg_features_normalize(database->features, database->count, database->dim, threads);
    int64_t places;
    if (dg_mul_i64(ranking->queries, ranking->k, &places) && places <= INT64_MAX / 16)
        ranking->nearest = malloc((size_t)places * sizeof *ranking->nearest);
    if (!ranking->nearest) return dg_fail(err, DG_ERR_MEMORY, "no memory for the ranking");
    struct dg_nearest nearest = {.set = database->features,
                                 .query = queries->features,
                                 .set_count = database->count,
                                 .query_count = queries->count,
                                 .dim = database->dim,
                                 .k = ranking->k,
                                 .threads = threads};
    enum dg_status status = dg_nearest_open(&nearest, err);
    if (status == DG_OK) status = dg_nearest_search(&nearest, 0, ranking->queries, ranking->nearest, err);
    dg_nearest_close(&nearest);
    for (int64_t q = 0; q < ranking->queries && status == DG_OK; q++)
        dg_neighbors_sort(ranking->nearest + q * ranking->k, ranking->k);
    return status;
}

void dg_ranking_free(struct dg_ranking *ranking)
{
    free(ranking->nearest);
    *ranking = (struct dg_ranking){0};
}

/* ---- the images of a ground truth ---- */

struct name {
    const char *text; /* without folder */
    size_t size;      /* without ending */
    int64_t image;
};

static struct name name_of(const char *path, int64_t image)
{
    const char *slash = strrchr(path, '/'), *text = slash ? slash + 1 : path, *dot = strrchr(text, '.');
    return (struct name){text, dot ? (size_t)(dot - text) : strlen(text), image};
}

static int compare_names(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    size_t size = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->text, y->text, size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* The names of a data set's images, in order; NULL: no memory. */
static struct name *list_names(const struct dg_dataset *dataset)
{
    int64_t count = dg_dataset_count(dataset);
    struct name *name = malloc((size_t)count * sizeof *name);
    for (int64_t i = 0; name && i < count; i++) name[i] = name_of(dg_dataset_relative(dataset, i), i);
    if (name) qsort(name, (size_t)count, sizeof *name, compare_names);
    return name;
}

static enum dg_status find_all(const char *const *wanted, int64_t count, const struct dg_dataset *dataset,
                               int64_t **place, struct dg_error *err)
{
    struct name *name = list_names(dataset);
    int64_t missing = 0;
    const char *first = NULL;
    *place = malloc((size_t)count * sizeof **place);
    bool memory = name && *place;
    for (int64_t i = 0; memory && i < count; i++) {
        const struct name key = {wanted[i], strlen(wanted[i]), 0};
        const struct name *found = bsearch(&key, name, (size_t)dg_dataset_count(dataset), sizeof *name, compare_names);
        (*place)[i] = found ? found->image : -1;
        if (!found && !missing++) first = wanted[i];
    }
    free(name);
    if (!memory) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (!missing) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT,
                   "%" PRId64 " of the %" PRId64 " images that the ground truth names are not there; the first: %s.jpg",
                   missing, count, first);
}

enum dg_status dg_truth_find(const struct dg_ground_truth *truth, const struct dg_dataset *database,
                             const struct dg_dataset *queries, struct dg_truth_places *places, struct dg_error *err)
{
    enum dg_status status = find_all(truth->image, truth->images, database, &places->image, err);
    if (status != DG_OK) {
        dg_error_prefix(err, "database");
        return status;
    }
    status = find_all(truth->query, truth->queries, queries, &places->query, err);
    if (status != DG_OK) dg_error_prefix(err, "queries");
    return status;
}

void dg_truth_places_free(struct dg_truth_places *places)
{
    free(places->image);
    free(places->query);
    *places = (struct dg_truth_places){0};
}

/* ---- scores ---- */

const char *const dg_retrieval_level_name[DG_RETRIEVAL_LEVELS] = {"easy", "medium", "hard"};

static struct dg_index_list list_of(const struct dg_ground_truth_query *query, enum dg_ground_truth_list which)
{
    return (struct dg_index_list){query->index[which], query->count[which]};
}

static struct dg_relevance relevance_of(const struct dg_ground_truth_query *query, enum dg_retrieval_level level)
{
    const struct dg_index_list easy = list_of(query, DG_TRUTH_EASY), hard = list_of(query, DG_TRUTH_HARD),
                               junk = list_of(query, DG_TRUTH_JUNK), none = {NULL, 0};
    switch (level) {
    case DG_RETRIEVAL_EASY: return (struct dg_relevance){{easy, none}, {junk, hard}};
    case DG_RETRIEVAL_MEDIUM: return (struct dg_relevance){{easy, hard}, {junk, none}};
    case DG_RETRIEVAL_HARD:
    case DG_RETRIEVAL_LEVELS: break;
    }
    return (struct dg_relevance){{hard, none}, {junk, easy}};
}

enum dg_status dg_truth_score(const struct dg_ground_truth *truth, const struct dg_ranking *ranking,
                              struct dg_retrieval_score score[DG_RETRIEVAL_LEVELS], struct dg_error *err)
{
    if (ranking->k != truth->images || ranking->queries != truth->queries)
        return dg_fail(err, DG_ERR_USAGE, "a ranking of %d images cannot be scored by a truth of %" PRId64, ranking->k,
                       truth->images);
    uint8_t *seen = malloc((size_t)truth->images);
    int64_t *rank = malloc((size_t)truth->images * sizeof *rank);
    enum dg_status status = seen && rank ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int l = 0; l < DG_RETRIEVAL_LEVELS && status == DG_OK; l++) {
        score[l] = (struct dg_retrieval_score){0};
        for (int64_t q = 0; q < truth->queries; q++) {
            const struct dg_relevance relevance = relevance_of(&truth->of[q], (enum dg_retrieval_level)l);
            dg_retrieval_add(&score[l], ranking->nearest + q * ranking->k, truth->images, &relevance, seen, rank);
        }
        dg_retrieval_mean(&score[l]);
    }
    free(seen);
    free(rank);
    return status;
}

/* Test rows are searched a chunk at a time, then each row of the chunk is voted on. */
#include "runtime/eval/knn.h"

#include "runtime/comm/agree.h"
#include "runtime/comm/gather.h"
#include "runtime/eval/nearest.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 32 << 20 };

struct task {
    struct dg_knn_question of;
    struct dg_nearest nearest;
    int max_k;
    int *predicted;           /* [num_test, num_k], or NULL */
    int64_t chunk;            /* test rows, a multiple of DG_NEAREST_BLOCK */
    struct dg_neighbor *best; /* [chunk, max_k] of this process's train rows */
    struct dg_neighbor *all;  /* [ranks, rows of a gather, max_k] */
    int64_t *hits;            /* [num_k, 2]: top-1, top-5 */
};

/* ---- voting ---- */

/* What a thread works with. */
struct ballot {
    struct dg_neighbor *best; /* [ranks, max_k] */
    double *weight;           /* [max_k] */
    double *vote;             /* [classes] */
    int64_t *hits;            /* [num_k, 2] */
};

static bool open_ballot(const struct task *t, struct ballot *b)
{
    b->best = malloc(sizeof *b->best * (size_t)dg_comm_ranks(t->of.comm) * (size_t)t->max_k);
    b->weight = malloc(sizeof *b->weight * (size_t)t->max_k);
    b->vote = malloc(sizeof *b->vote * (size_t)t->of.classes);
    b->hits = calloc((size_t)t->of.num_k * 2, sizeof *b->hits);
    return b->best && b->weight && b->vote && b->hits;
}

static void close_ballot(struct ballot *b)
{
    free(b->best);
    free(b->weight);
    free(b->vote);
    free(b->hits);
}

static void vote(const struct task *t, struct ballot *b, int64_t test)
{
    int label = t->of.test.label[test];
    const struct dg_neighbor *best = b->best;
    dg_neighbors_sort(b->best, (int64_t)dg_comm_ranks(t->of.comm) * t->max_k);
    for (int i = 0; i < t->max_k; i++)
        b->weight[i] = exp(((double)best[i].similarity - (double)best[0].similarity) / t->of.temperature);
    for (int which = 0; which < t->of.num_k; which++) {
        int k = t->of.k[which], before = 0, first = 0;
        memset(b->vote, 0, (size_t)t->of.classes * sizeof *b->vote);
        for (int i = 0; i < k; i++) b->vote[t->of.train.label[best[i].index]] += b->weight[i];
        for (int c = 0; c < t->of.classes; c++) {
            before += b->vote[c] > b->vote[label] || (b->vote[c] == b->vote[label] && c < label);
            if (b->vote[c] > b->vote[first]) first = c;
        }
        bool voted = b->vote[label] > 0;
        b->hits[2 * which] += voted && before == 0;
        b->hits[2 * which + 1] += voted && before < 5;
        if (t->predicted) t->predicted[test * t->of.num_k + which] = first;
    }
}

/* Votes on test rows first .. first + count - 1, of which `best` [ranks, count, max_k] has the best of each process. */
static enum dg_status vote_on(const struct task *t, const struct dg_neighbor *best, int64_t first, int64_t count,
                              struct dg_error *err)
{
    int memory = 0, ranks = dg_comm_ranks(t->of.comm);
#pragma omp parallel num_threads(t->of.threads) reduction(| : memory)
    {
        struct ballot b = {0};
        memory = !open_ballot(t, &b);
#pragma omp for schedule(dynamic, 16)
        for (int64_t row = 0; row < count; row++) {
            if (memory) continue;
            for (int64_t r = 0; r < ranks; r++)
                memcpy(b.best + r * t->max_k, best + (r * count + row) * t->max_k, sizeof *best * (size_t)t->max_k);
            vote(t, &b, first + row);
        }
        for (int i = 0; b.hits && i < 2 * t->of.num_k; i++)
#pragma omp atomic
            t->hits[i] += b.hits[i];
        close_ballot(&b);
    }
    return memory ? dg_fail(err, DG_ERR_MEMORY, "out of memory for the k-NN vote") : DG_OK;
}

/* ---- the whole ---- */

/* Test rows whose best are gathered at once. */
static int64_t gathered(const struct task *t)
{
    int64_t row = (int64_t)sizeof *t->best * t->max_k * dg_comm_ranks(t->of.comm);
    return dg_max_i64(1, dg_min_i64(t->chunk, CHUNK_BYTES / row));
}

/* The best of all processes come to all; rank 0 votes. */
static enum dg_status vote_on_chunk(const struct task *t, int64_t first, int64_t end, struct dg_error *err)
{
    struct dg_comm *comm = t->of.comm;
    if (!comm) return vote_on(t, t->best, first, end - first, err);
    enum dg_status status = DG_OK; /* of this process */
    for (int64_t at = first, rows; at < end; at += rows) {
        rows = dg_min_i64(gathered(t), end - at);
        DG_TRY(dg_comm_gather_long(comm, t->best + (at - first) * t->max_k, rows * t->max_k * (int64_t)sizeof *t->best,
                                   t->all, err));
        if (status == DG_OK && dg_comm_rank(comm) == 0) status = vote_on(t, t->all, at, rows, err);
    }
    return status;
}

static enum dg_status allocate(struct task *t, struct dg_error *err)
{
    int64_t row = (int64_t)sizeof *t->best * t->max_k;
    t->chunk = dg_round_up(dg_min_i64(t->of.test.count, dg_max_i64(1, CHUNK_BYTES / row)), DG_NEAREST_BLOCK);
    t->nearest = (struct dg_nearest){.set = t->of.train.features,
                                     .query = t->of.test.features,
                                     .set_count = t->of.train.count,
                                     .query_count = t->of.test.count,
                                     .dim = t->of.dim,
                                     .row = t->of.train.row,
                                     .k = t->max_k,
                                     .threads = t->of.threads};
    DG_TRY(dg_nearest_open(&t->nearest, err));
    t->hits = calloc((size_t)t->of.num_k * 2, sizeof *t->hits);
    t->best = malloc((size_t)(t->chunk * row));
    if (t->of.comm) t->all = malloc((size_t)(gathered(t) * row * dg_comm_ranks(t->of.comm)));
    if (t->hits && t->best && (t->all || !t->of.comm)) return DG_OK;
    return dg_fail(err, DG_ERR_MEMORY, "out of memory for the k-NN search");
}

/* Adds to t->hits. `status` is what this process has come to so far. */
static enum dg_status run(const struct task *t, enum dg_status status, struct dg_error *err)
{
    for (int64_t first = 0, end; first < t->of.test.count; first = end) {
        end = dg_min_i64(first + t->chunk, t->of.test.count);
        if (status == DG_OK) status = dg_nearest_search(&t->nearest, first, end, t->best, err);
        DG_TRY(dg_comm_agree(t->of.comm, status, err));
        status = vote_on_chunk(t, first, end, err);
    }
    return dg_comm_agree(t->of.comm, status, err);
}

static int64_t rows_of(const struct dg_knn_set *set) { return set->row ? set->all : set->count; }

static enum dg_status check_set(const char *name, const struct dg_knn_set *set, int64_t dim, int classes,
                                struct dg_error *err)
{
    for (int64_t i = 0; i < rows_of(set); i++)
        if (set->label[i] < 0 || set->label[i] >= classes)
            return dg_fail(err, DG_ERR_USAGE, "k-NN: %s label %" PRId64 " is %d, with %d classes", name, i,
                           set->label[i], classes);
    for (int64_t i = 0; i < set->count; i++) {
        int bad = 0; /* NaN is not <= either */
        for (int64_t c = 0; c < dim; c++) bad |= !(fabsf(set->features[i * dim + c]) <= 1.001f);
        if (bad)
            return dg_fail(err, DG_ERR_NUMERIC, "k-NN: %s feature %" PRId64 " is not finite or not normalised", name,
                           i);
    }
    return DG_OK;
}

static enum dg_status check(const struct dg_knn_question *q, struct dg_error *err)
{
    int64_t train = rows_of(&q->train);
    if (train < 1 || q->test.count < 1 || q->dim < 1)
        return dg_fail(err, DG_ERR_USAGE,
                       "k-NN needs features: there are %" PRId64 " to train and %" PRId64 " to test, of %" PRId64
                       " components",
                       train, q->test.count, q->dim);
    if (train >= INT32_MAX) return dg_fail(err, DG_ERR_USAGE, "k-NN: %" PRId64 " train features are too many", train);
    if (q->classes < 1 || q->num_k < 1 || q->threads < 1)
        return dg_fail(err, DG_ERR_USAGE, "k-NN with %d classes, %d values of k and %d threads", q->classes, q->num_k,
                       q->threads);
    if (!(q->temperature > 0) || !isfinite(q->temperature))
        return dg_fail(err, DG_ERR_USAGE, "k-NN: the temperature %g is not positive", q->temperature);
    for (int i = 0; i < q->num_k; i++)
        if (q->k[i] < 1 || q->k[i] > train)
            return dg_fail(err, DG_ERR_USAGE, "k-NN: k = %d is not between 1 and the number of train images, %" PRId64,
                           q->k[i], train);
    DG_TRY(check_set("train", &q->train, q->dim, q->classes, err));
    return check_set("test", &q->test, q->dim, q->classes, err);
}

enum dg_status dg_knn(const struct dg_knn_question *question, struct dg_knn_result *result, int *predicted,
                      struct dg_error *err)
{
    struct task t = {.of = *question, .predicted = predicted};
    int num_k = question->num_k;
    DG_TRY(dg_comm_agree(question->comm, check(question, err), err));
    for (int i = 0; i < num_k; i++)
        if (question->k[i] > t.max_k) t.max_k = question->k[i];
    enum dg_status status = allocate(&t, err);
    status = run(&t, status, err);
    double count = (double)question->test.count;
    for (int i = 0; status == DG_OK && i < num_k; i++)
        result[i] =
            (struct dg_knn_result){100.0 * (double)t.hits[2 * i] / count, 100.0 * (double)t.hits[2 * i + 1] / count};
    dg_nearest_close(&t.nearest);
    free(t.hits);
    free(t.best);
    free(t.all);
    return status;
}

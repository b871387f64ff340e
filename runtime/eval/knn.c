/* Test rows are searched a chunk at a time: each thread takes blocks of them, multiplies a block with all blocks of
 * train rows in order, and has the best k of every test row so far in a heap. Then each row of the chunk is voted
 * on.
 *
 * Equal train rows must have equal similarities, or rounding would decide their order. Therefore every product has
 * the same shape (the last blocks are padded with zeros) and is computed by one thread: all elements are sums in the
 * same order. The sizes are multiples of the tiles of oneDNN's gemm, whose kernels for remainders sum in another
 * order. */
#include "runtime/eval/knn.h"

#include "ops/dnnl/dnnl.h"
#include "runtime/comm/agree.h"
#include "runtime/comm/gather.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { TEST_BLOCK = 64, TRAIN_BLOCK = 3072, COMPARED = 32, CHUNK_BYTES = 32 << 20 };

struct neighbor {
    float similarity;
    int32_t index;
};

struct task {
    struct dg_knn_question of;
    const float *last_train, *last_test; /* the padded last blocks */
    int max_k;
    int *predicted;        /* [num_test, num_k], or NULL */
    int64_t chunk;         /* test rows, a multiple of TEST_BLOCK */
    struct neighbor *best; /* [chunk, max_k] of this process's train rows */
    struct neighbor *all;  /* [ranks, rows of a gather, max_k] */
    int64_t *hits;         /* [num_k, 2]: top-1, top-5 */
};

void dg_knn_normalize(float *features, int64_t n, int64_t dim, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < n; row++) {
        float *x = features + row * dim;
        double square = 0;
        for (int64_t c = 0; c < dim; c++) square += (double)x[c] * (double)x[c];
        float norm = fmaxf((float)sqrt(square), 1e-12f);
        for (int64_t c = 0; c < dim; c++) x[c] /= norm;
    }
}

static inline bool worse(struct neighbor a, struct neighbor b)
{
    return a.similarity < b.similarity || (a.similarity == b.similarity && a.index > b.index);
}

static int compare_neighbors(const void *a, const void *b)
{
    const struct neighbor x = *(const struct neighbor *)a, y = *(const struct neighbor *)b;
    return worse(x, y) - worse(y, x); /* equal are only places that a process with few rows has left empty */
}

static void replace_worst(struct neighbor *heap, int size, struct neighbor entry)
{
    int at = 0;
    for (int child = 1; child < size; child = 2 * at + 1) {
        if (child + 1 < size && worse(heap[child + 1], heap[child])) child++;
        if (!worse(heap[child], entry)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = entry;
}

/* Train rows come in order, so one that only equals the worst of a full heap ranks behind it. Few rows are better: one
 * vectorised comparison of many skips the others. */
static void keep_best(const struct task *t, struct neighbor *heap, const float *similarity, int64_t first,
                      int64_t count)
{
    const int32_t *row = t->of.train.row;
    for (int64_t c = 0; c < count; c += COMPARED) {
        float worst = heap[0].similarity;
        int any = 0;
        for (int i = 0; i < COMPARED; i++) any |= similarity[c + i] > worst;
        if (!any) continue;
        for (int64_t i = c; i < dg_min_i64(c + COMPARED, count); i++)
            if (similarity[i] > heap[0].similarity)
                replace_worst(heap, t->max_k,
                              (struct neighbor){similarity[i], row ? row[first + i] : (int32_t)(first + i)});
    }
}

/* ---- searching ---- */

/* The best of a block of test rows; similarity is scratch [TEST_BLOCK, TRAIN_BLOCK]. */
static enum dg_status search_block(const struct task *t, int64_t first_test, float *similarity, struct neighbor *best)
{
    int64_t tests = dg_min_i64(TEST_BLOCK, t->of.test.count - first_test);
    const float *test = tests == TEST_BLOCK ? t->of.test.features + first_test * t->of.dim : t->last_test;
    for (int64_t i = 0; i < tests * t->max_k; i++) best[i] = (struct neighbor){-INFINITY, INT32_MAX};
    for (int64_t first = 0; first < t->of.train.count; first += TRAIN_BLOCK) {
        int64_t count = dg_min_i64(TRAIN_BLOCK, t->of.train.count - first);
        const float *train = count == TRAIN_BLOCK ? t->of.train.features + first * t->of.dim : t->last_train;
        DG_TRY(dg_sgemm(false, true, TEST_BLOCK, TRAIN_BLOCK, t->of.dim, test, t->of.dim, train, t->of.dim, 0,
                        similarity, TRAIN_BLOCK, NULL));
        for (int64_t row = 0; row < tests; row++)
            keep_best(t, best + row * t->max_k, similarity + row * TRAIN_BLOCK, first, count);
    }
    return DG_OK;
}

/* Fills t->best with the best of test rows first .. end - 1. */
static enum dg_status search(const struct task *t, int64_t first, int64_t end, struct dg_error *err)
{
    int memory = 0, internal = 0;
#pragma omp parallel num_threads(t->of.threads) reduction(| : memory, internal)
    {
        omp_set_num_threads(1); /* for this thread's gemm, even if it is the only thread; ends with the region */
        float *similarity = aligned_alloc(64, sizeof *similarity * TEST_BLOCK * TRAIN_BLOCK);
        memory = !similarity;
#pragma omp for schedule(dynamic)
        for (int64_t test = first; test < end; test += TEST_BLOCK)
            if (!memory) internal |= search_block(t, test, similarity, t->best + (test - first) * t->max_k) != DG_OK;
        free(similarity);
    }
    if (memory) return dg_fail(err, DG_ERR_MEMORY, "out of memory for the k-NN search");
    if (internal) return dg_fail(err, DG_ERR_INTERNAL, "oneDNN sgemm failed in the k-NN search");
    return DG_OK;
}

/* ---- voting ---- */

/* What a thread works with. */
struct ballot {
    struct neighbor *best; /* [ranks, max_k] */
    double *weight;        /* [max_k] */
    double *vote;          /* [classes] */
    int64_t *hits;         /* [num_k, 2] */
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
    const struct neighbor *best = b->best;
    qsort(b->best, (size_t)(dg_comm_ranks(t->of.comm) * t->max_k), sizeof *best, compare_neighbors);
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
static enum dg_status vote_on(const struct task *t, const struct neighbor *best, int64_t first, int64_t count,
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

static enum dg_status allocate(struct task *t, float **padded, struct dg_error *err)
{
    int64_t row = (int64_t)sizeof *t->best * t->max_k, dim = t->of.dim;
    t->chunk = dg_round_up(dg_min_i64(t->of.test.count, dg_max_i64(1, CHUNK_BYTES / row)), TEST_BLOCK);
    *padded = calloc((size_t)dim * (TRAIN_BLOCK + TEST_BLOCK), sizeof **padded);
    t->hits = calloc((size_t)t->of.num_k * 2, sizeof *t->hits);
    t->best = malloc((size_t)(t->chunk * row));
    if (t->of.comm) t->all = malloc((size_t)(gathered(t) * row * dg_comm_ranks(t->of.comm)));
    if (*padded && t->hits && t->best && (t->all || !t->of.comm)) return DG_OK;
    return dg_fail(err, DG_ERR_MEMORY, "out of memory for the k-NN search");
}

/* Adds to t->hits. `status` is what this process has come to so far. */
static enum dg_status run(const struct task *t, enum dg_status status, struct dg_error *err)
{
    for (int64_t first = 0, end; first < t->of.test.count; first = end) {
        end = dg_min_i64(first + t->chunk, t->of.test.count);
        if (status == DG_OK) status = search(t, first, end, err);
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

/* Copies the rows behind the last whole block of `size` rows to `padded` [size, dim], which is zero. */
static void pad(const struct dg_knn_set *set, int64_t dim, int64_t size, float *padded)
{
    int64_t left = set->count % size;
    if (left) memcpy(padded, set->features + (set->count - left) * dim, (size_t)(left * dim) * sizeof *padded);
}

enum dg_status dg_knn(const struct dg_knn_question *question, struct dg_knn_result *result, int *predicted,
                      struct dg_error *err)
{
    struct task t = {.of = *question, .predicted = predicted};
    int num_k = question->num_k;
    DG_TRY(dg_comm_agree(question->comm, check(question, err), err));
    for (int i = 0; i < num_k; i++)
        if (question->k[i] > t.max_k) t.max_k = question->k[i];
    float *padded = NULL;
    enum dg_status status = allocate(&t, &padded, err);
    if (status == DG_OK) {
        float *padded_test = padded + question->dim * TRAIN_BLOCK;
        pad(&question->train, question->dim, TRAIN_BLOCK, padded);
        pad(&question->test, question->dim, TEST_BLOCK, padded_test);
        t.last_train = padded;
        t.last_test = padded_test;
    }
    status = run(&t, status, err);
    double count = (double)question->test.count;
    for (int i = 0; status == DG_OK && i < num_k; i++)
        result[i] =
            (struct dg_knn_result){100.0 * (double)t.hits[2 * i] / count, 100.0 * (double)t.hits[2 * i + 1] / count};
    free(padded);
    free(t.hits);
    free(t.best);
    free(t.all);
    return status;
}

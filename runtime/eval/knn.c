/* Each thread takes blocks of test rows, multiplies a block with all blocks of train rows in order, and has the best k
 * of every test row so far in a heap.
 *
 * Equal train rows must have equal similarities, or rounding would decide their order. Therefore every product has the
 * same shape (the last blocks are padded with zeros) and is computed by one thread: all elements are sums in the same
 * order. The sizes are multiples of the tiles of oneDNN's gemm, whose kernels for remainders sum in another order. */
#include "runtime/eval/knn.h"

#include "ops/dnnl/dnnl.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { TEST_BLOCK = 64, TRAIN_BLOCK = 3072, CHUNK = 32 };

struct neighbor {
    float similarity;
    int32_t index;
};

struct task {
    struct dg_knn_question of;
    const float *last_train, *last_test; /* the padded last blocks */
    int max_k;
    int *predicted; /* [num_test, num_k], or NULL */
};

/* What a thread works with. */
struct scratch {
    float *similarity;     /* [TEST_BLOCK, TRAIN_BLOCK] */
    struct neighbor *best; /* [TEST_BLOCK, max_k], each row a heap with the worst in front */
    double *weight;        /* [max_k] */
    double *vote;          /* [classes] */
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
    return worse(*(const struct neighbor *)a, *(const struct neighbor *)b) ? 1 : -1; /* indices differ */
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
static void keep_best(struct neighbor *heap, int size, const float *similarity, int64_t first, int64_t count)
{
    for (int64_t c = 0; c < count; c += CHUNK) {
        float worst = heap[0].similarity;
        int any = 0;
        for (int i = 0; i < CHUNK; i++) any |= similarity[c + i] > worst;
        if (!any) continue;
        for (int64_t i = c; i < dg_min_i64(c + CHUNK, count); i++)
            if (similarity[i] > heap[0].similarity)
                replace_worst(heap, size, (struct neighbor){similarity[i], (int32_t)(first + i)});
    }
}

static void vote(const struct task *t, struct scratch *s, struct neighbor *best, int64_t test)
{
    int label = t->of.test.label[test];
    qsort(best, (size_t)t->max_k, sizeof *best, compare_neighbors);
    for (int i = 0; i < t->max_k; i++)
        s->weight[i] = exp(((double)best[i].similarity - (double)best[0].similarity) / t->of.temperature);
    for (int which = 0; which < t->of.num_k; which++) {
        int k = t->of.k[which], before = 0, first = 0;
        memset(s->vote, 0, (size_t)t->of.classes * sizeof *s->vote);
        for (int i = 0; i < k; i++) s->vote[t->of.train.label[best[i].index]] += s->weight[i];
        for (int c = 0; c < t->of.classes; c++) {
            before += s->vote[c] > s->vote[label] || (s->vote[c] == s->vote[label] && c < label);
            if (s->vote[c] > s->vote[first]) first = c;
        }
        bool voted = s->vote[label] > 0;
        s->hits[2 * which] += voted && before == 0;
        s->hits[2 * which + 1] += voted && before < 5;
        if (t->predicted) t->predicted[test * t->of.num_k + which] = first;
    }
}

static enum dg_status do_block(const struct task *t, struct scratch *s, int64_t first_test)
{
    int64_t tests = dg_min_i64(TEST_BLOCK, t->of.test.count - first_test);
    const float *test = tests == TEST_BLOCK ? t->of.test.features + first_test * t->of.dim : t->last_test;
    for (int64_t i = 0; i < TEST_BLOCK * t->max_k; i++) s->best[i] = (struct neighbor){-INFINITY, INT32_MAX};
    for (int64_t first = 0; first < t->of.train.count; first += TRAIN_BLOCK) {
        int64_t count = dg_min_i64(TRAIN_BLOCK, t->of.train.count - first);
        const float *train = count == TRAIN_BLOCK ? t->of.train.features + first * t->of.dim : t->last_train;
        DG_TRY(dg_sgemm(false, true, TEST_BLOCK, TRAIN_BLOCK, t->of.dim, test, t->of.dim, train, t->of.dim, 0,
                        s->similarity, TRAIN_BLOCK, NULL));
        for (int64_t row = 0; row < tests; row++)
            keep_best(s->best + row * t->max_k, t->max_k, s->similarity + row * TRAIN_BLOCK, first, count);
    }
    for (int64_t row = 0; row < tests; row++) vote(t, s, s->best + row * t->max_k, first_test + row);
    return DG_OK;
}

static bool scratch_open(const struct task *t, struct scratch *s)
{
    s->similarity = aligned_alloc(64, sizeof *s->similarity * TEST_BLOCK * TRAIN_BLOCK);
    s->best = malloc(sizeof *s->best * TEST_BLOCK * (size_t)t->max_k);
    s->weight = malloc(sizeof *s->weight * (size_t)t->max_k);
    s->vote = malloc(sizeof *s->vote * (size_t)t->of.classes);
    s->hits = calloc((size_t)t->of.num_k * 2, sizeof *s->hits);
    return s->similarity && s->best && s->weight && s->vote && s->hits;
}

static void scratch_close(struct scratch *s)
{
    free(s->similarity);
    free(s->best);
    free(s->weight);
    free(s->vote);
    free(s->hits);
}

/* Adds to hits[num_k, 2]. */
static enum dg_status run(const struct task *t, int64_t *hits, struct dg_error *err)
{
    int memory = 0, internal = 0;
#pragma omp parallel num_threads(t->of.threads) reduction(| : memory, internal)
    {
        omp_set_num_threads(1); /* for this thread's gemm, even if it is the only thread; ends with the region */
        struct scratch s = {0};
        memory = !scratch_open(t, &s);
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < t->of.test.count; first += TEST_BLOCK)
            if (!memory) internal |= do_block(t, &s, first) != DG_OK;
        for (int i = 0; s.hits && i < 2 * t->of.num_k; i++)
#pragma omp atomic
            hits[i] += s.hits[i];
        scratch_close(&s);
    }
    if (memory) return dg_fail(err, DG_ERR_MEMORY, "out of memory for the k-NN search");
    if (internal) return dg_fail(err, DG_ERR_INTERNAL, "oneDNN sgemm failed in the k-NN search");
    return DG_OK;
}

static enum dg_status check_set(const char *name, const struct dg_knn_set *set, int64_t dim, int classes,
                                struct dg_error *err)
{
    for (int64_t i = 0; i < set->count; i++) {
        if (set->label[i] < 0 || set->label[i] >= classes)
            return dg_fail(err, DG_ERR_USAGE, "k-NN: %s label %" PRId64 " is %d, with %d classes", name, i,
                           set->label[i], classes);
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
    if (q->train.count < 1 || q->test.count < 1 || q->dim < 1)
        return dg_fail(err, DG_ERR_USAGE,
                       "k-NN needs features: there are %" PRId64 " to train and %" PRId64 " to test, of %" PRId64
                       " components",
                       q->train.count, q->test.count, q->dim);
    if (q->train.count >= INT32_MAX)
        return dg_fail(err, DG_ERR_USAGE, "k-NN: %" PRId64 " train features are too many", q->train.count);
    if (q->classes < 1 || q->num_k < 1 || q->threads < 1)
        return dg_fail(err, DG_ERR_USAGE, "k-NN with %d classes, %d values of k and %d threads", q->classes, q->num_k,
                       q->threads);
    if (!(q->temperature > 0) || !isfinite(q->temperature))
        return dg_fail(err, DG_ERR_USAGE, "k-NN: the temperature %g is not positive", q->temperature);
    for (int i = 0; i < q->num_k; i++)
        if (q->k[i] < 1 || q->k[i] > q->train.count)
            return dg_fail(err, DG_ERR_USAGE, "k-NN: k = %d is not between 1 and the number of train images, %" PRId64,
                           q->k[i], q->train.count);
    DG_TRY(check_set("train", &q->train, q->dim, q->classes, err));
    return check_set("test", &q->test, q->dim, q->classes, err);
}

/* Copies the rows behind the last whole block of `size` rows to `padded` [size, dim], which is zero. */
static void pad(const struct dg_knn_set *set, int64_t dim, int64_t size, float *padded)
{
    int64_t left = set->count % size;
    memcpy(padded, set->features + (set->count - left) * dim, (size_t)(left * dim) * sizeof *padded);
}

enum dg_status dg_knn(const struct dg_knn_question *question, struct dg_knn_result *result, int *predicted,
                      struct dg_error *err)
{
    struct task t = {.of = *question, .predicted = predicted};
    int num_k = question->num_k;
    DG_TRY(check(question, err));
    for (int i = 0; i < num_k; i++)
        if (question->k[i] > t.max_k) t.max_k = question->k[i];

    float *padded = calloc((size_t)question->dim * (TRAIN_BLOCK + TEST_BLOCK), sizeof *padded);
    int64_t *hits = calloc((size_t)num_k * 2, sizeof *hits);
    enum dg_status status = DG_ERR_MEMORY;
    if (padded && hits) {
        float *padded_test = padded + question->dim * TRAIN_BLOCK;
        pad(&question->train, question->dim, TRAIN_BLOCK, padded);
        pad(&question->test, question->dim, TEST_BLOCK, padded_test);
        t.last_train = padded;
        t.last_test = padded_test;
        status = run(&t, hits, err);
    } else {
        dg_fail(err, status, "out of memory for the k-NN search");
    }
    double count = (double)question->test.count;
    for (int i = 0; status == DG_OK && i < num_k; i++)
        result[i] =
            (struct dg_knn_result){100.0 * (double)hits[2 * i] / count, 100.0 * (double)hits[2 * i + 1] / count};
    free(padded);
    free(hits);
    return status;
}

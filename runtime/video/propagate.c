#include "runtime/video/propagate.h"

#include "ops/dnnl/dnnl.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16 }; /* target patches of a row */

/* A range of rows or columns. */
struct span {
    int first, end;
};

static struct span near(int first, int last, int radius, int size)
{
    struct span span = {0, size};
    if (!radius) return span;
    if (first - radius > 0) span.first = first - radius;
    if (last + radius + 1 < size) span.end = last + radius + 1;
    return span;
}

/* The largest similarities so far, in descending order, and where they are. */
struct best {
    float similarity[DG_PROPAGATION_MAX_TOP];
    int count;
};

struct task {
    const struct dg_propagation *of;
    const float *target;
    const struct dg_propagation_source *source;
    int sources;
    float *labels;
};

/* What a thread works with: the similarities of a block of target patches, [BLOCK, sources, rows, columns] of those
 * that are near any of them. */
struct block {
    float *similarity;
    int64_t line; /* a target's */
    int row, first, count;
    struct span rows, cols;
};

static int64_t block_numbers(const struct dg_propagation *p, int sources)
{
    int rows = p->radius ? dg_min_i64(p->rows, 2 * (int64_t)p->radius + 1) : p->rows;
    int cols = p->radius ? dg_min_i64(p->cols, 2 * (int64_t)p->radius + BLOCK) : p->cols;
    return (int64_t)BLOCK * sources * rows * cols;
}

int64_t dg_propagation_bytes(const struct dg_propagation *p, int count)
{
    return block_numbers(p, count) * (int64_t)sizeof(float) * p->threads;
}

static enum dg_status compare(const struct task *t, struct block *b)
{
    const struct dg_propagation *p = t->of;
    int64_t cols = b->cols.end - b->cols.first;
    const float *target = t->target + ((int64_t)b->row * p->cols + b->first) * p->dim;
    float *to = b->similarity;
    for (int s = 0; s < t->sources; s++)
        for (int row = b->rows.first; row < b->rows.end; row++, to += cols) {
            const float *source = t->source[s].features + ((int64_t)row * p->cols + b->cols.first) * p->dim;
            DG_TRY(dg_sgemm(false, true, b->count, cols, p->dim, target, p->dim, source, p->dim, 0, to, b->line, NULL));
        }
    return DG_OK;
}

static void keep(struct best *best, int top, float similarity)
{
    int at = best->count < top ? best->count++ : top - 1;
    for (; at > 0 && best->similarity[at - 1] < similarity; at--) best->similarity[at] = best->similarity[at - 1];
    best->similarity[at] = similarity;
}

/* f32, as the published code has it: equal affinities are equal here. */
static float affinity(const struct dg_propagation *p, float similarity)
{
    return expf(similarity / (float)p->temperature);
}

/* A row of the source patches near a target patch. */
struct walk {
    const float *similarity; /* [count] */
    int source, count;
    int64_t place; /* of the first, in a frame */
};

/* The next row for the target patch `at` of the block; *n counts them. False: there is none. */
static bool step(const struct task *t, const struct block *b, int at, struct walk *w, int *n)
{
    int rows = b->rows.end - b->rows.first, cols = b->cols.end - b->cols.first;
    if (*n == t->sources * rows) return false;
    int col = b->first + at;
    struct span span = near(col, col, t->of->radius, t->of->cols);
    int row = b->rows.first + *n % rows;
    w->source = *n / rows;
    w->count = span.end - span.first;
    w->place = (int64_t)row * t->of->cols + span.first;
    w->similarity = b->similarity + at * b->line + (int64_t)*n * cols + (span.first - b->cols.first);
    ++*n;
    return true;
}

/* The smallest of the `top` largest affinities. */
static float threshold(const struct task *t, const struct block *b, int at)
{
    struct best best = {.count = 0};
    struct walk w;
    float worst = -INFINITY;
    for (int n = 0; step(t, b, at, &w, &n);)
        for (int i = 0; i < w.count; i++) {
            if (w.similarity[i] <= worst && best.count == t->of->top) continue;
            keep(&best, t->of->top, w.similarity[i]);
            worst = best.similarity[best.count - 1];
        }
    return affinity(t->of, worst);
}

/* What is below it by more than rounding need not be looked at closely. */
static float lower_bound(const struct dg_propagation *p, float least)
{
    float similarity = logf(least) * (float)p->temperature;
    return similarity - 1e-5f * fmaxf(fabsf(similarity), (float)p->temperature);
}

static void take_labels(const struct task *t, const struct block *b, int at, double *sum)
{
    const struct dg_propagation *p = t->of;
    int64_t patches = (int64_t)p->rows * p->cols, place = (int64_t)b->row * p->cols + b->first + at;
    float least = threshold(t, b, at), bound = lower_bound(p, least);
    double all = 0;
    struct walk w;
    memset(sum, 0, sizeof *sum * (size_t)p->channels);
    for (int n = 0; step(t, b, at, &w, &n);)
        for (int i = 0; i < w.count; i++) {
            if (w.similarity[i] < bound) continue;
            float weight = affinity(p, w.similarity[i]);
            if (weight < least) continue;
            all += (double)weight;
            const float *label = t->source[w.source].labels + w.place + i;
            for (int c = 0; c < p->channels; c++) sum[c] += (double)weight * (double)label[c * patches];
        }
    for (int c = 0; c < p->channels; c++) t->labels[c * patches + place] = (float)(sum[c] / all);
}

static enum dg_status run_block(const struct task *t, struct block *b, int64_t number, double *sum)
{
    const struct dg_propagation *p = t->of;
    int blocks = (p->cols + BLOCK - 1) / BLOCK;
    b->row = (int)(number / blocks);
    b->first = (int)(number % blocks) * BLOCK;
    b->count = (int)dg_min_i64(BLOCK, p->cols - b->first);
    b->rows = near(b->row, b->row, p->radius, p->rows);
    b->cols = near(b->first, b->first + b->count - 1, p->radius, p->cols);
    b->line = (int64_t)t->sources * (b->rows.end - b->rows.first) * (b->cols.end - b->cols.first);
    DG_TRY(compare(t, b));
    for (int at = 0; at < b->count; at++) take_labels(t, b, at, sum);
    return DG_OK;
}

static enum dg_status check(const struct dg_propagation *p, int count, struct dg_error *err)
{
    int64_t near_rows = p->radius ? dg_min_i64(p->rows, p->radius + 1) : p->rows,
            near_cols = p->radius ? dg_min_i64(p->cols, p->radius + 1) : p->cols;
    if (p->rows < 1 || p->cols < 1 || p->dim < 1 || p->channels < 1 || p->radius < 0 || count < 1 ||
        !(p->temperature > 0))
        return dg_fail(err, DG_ERR_USAGE, "label propagation: a size is out of range");
    if (p->top < 1 || p->top > DG_PROPAGATION_MAX_TOP || p->top > near_rows * near_cols * count)
        return dg_fail(err, DG_ERR_USAGE,
                       "label propagation: of %lld patches that are near one in a corner, the %d most alike",
                       (long long)(near_rows * near_cols * count), p->top);
    return DG_OK;
}

enum dg_status dg_propagate(const struct dg_propagation *p, const float *target,
                            const struct dg_propagation_source *sources, int count, float *labels, struct dg_error *err)
{
    DG_TRY(check(p, count, err));
    const struct task task = {p, target, sources, count, labels};
    int64_t blocks = (int64_t)p->rows * ((p->cols + BLOCK - 1) / BLOCK), numbers = block_numbers(p, count);
    int memory = 0, internal = 0;
#pragma omp parallel num_threads(p->threads) reduction(| : memory, internal)
    {
        omp_set_num_threads(1); /* for this thread's gemm, even if it is the only thread; ends with the region */
        struct block b = {.similarity = aligned_alloc(64, (size_t)dg_round_up(numbers * (int64_t)sizeof(float), 64))};
        double *sum = malloc(sizeof *sum * (size_t)p->channels);
        memory = !b.similarity || !sum;
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < blocks; n++)
            if (!memory) internal |= run_block(&task, &b, n, sum) != DG_OK;
        free(b.similarity);
        free(sum);
    }
    if (memory) return dg_fail(err, DG_ERR_MEMORY, "out of memory for label propagation");
    return internal ? dg_fail(err, DG_ERR_INTERNAL, "oneDNN sgemm failed in label propagation") : DG_OK;
}

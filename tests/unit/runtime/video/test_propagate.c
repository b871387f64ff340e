/* Label propagation against a plain implementation, which makes the matrix of all pairs: sizes, radii, numbers of
 * sources and channels, ties; the same bits with any number of threads. */
#include "ops/base/rng.h"
#include "runtime/eval/nearest.h"
#include "runtime/video/propagate.h"
#include "tests/support/check.h"

#include <math.h>

enum { MAX_SOURCES = 8 };

struct scene {
    struct dg_propagation p;
    int sources;
    float *target, *features[MAX_SOURCES], *labels[MAX_SOURCES];
    struct dg_propagation_source source[MAX_SOURCES];
};

static float *numbers(int64_t count, uint64_t stream, bool positive)
{
    float *x = malloc((size_t)count * sizeof *x);
    struct dg_rng rng = dg_rng_make(0, DG_RNG_TEST, stream, 0);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) {
        float unit = (float)(dg_rng_u32(&rng) >> 8) / (float)(1 << 24);
        x[i] = positive ? unit : 2 * unit - 1;
    }
    return x;
}

static struct scene make_scene(struct dg_propagation p, int sources)
{
    struct scene s = {.p = p, .sources = sources};
    int64_t patches = (int64_t)p.rows * p.cols;
    s.target = numbers(patches * p.dim, 1, false);
    dg_features_normalize(s.target, patches, p.dim, 1);
    for (int i = 0; i < sources; i++) {
        s.features[i] = numbers(patches * p.dim, 2 + (uint64_t)i, false);
        dg_features_normalize(s.features[i], patches, p.dim, 1);
        s.labels[i] = numbers(patches * p.channels, 100 + (uint64_t)i, true);
        s.source[i] = (struct dg_propagation_source){s.features[i], s.labels[i]};
    }
    return s;
}

static void free_scene(struct scene *s)
{
    free(s->target);
    for (int i = 0; i < s->sources; i++) {
        free(s->features[i]);
        free(s->labels[i]);
    }
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

static double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* In f64, of all pairs. *gap: by how much the last of the best and the first that is left out differ. */
static void plain(const struct scene *s, int64_t at, double *label, double *gap)
{
    const struct dg_propagation *p = &s->p;
    int64_t patches = (int64_t)p->rows * p->cols, all = patches * s->sources;
    double *affinity = calloc((size_t)all, sizeof *affinity), *sorted = calloc((size_t)all + 1, sizeof *sorted),
           sum = 0;
    assert_true(affinity && sorted);
    for (int64_t i = 0; i < all; i++) {
        int64_t q = i % patches;
        int64_t dy = llabs(q / p->cols - at / p->cols), dx = llabs(q % p->cols - at % p->cols);
        if (p->radius && (dy > p->radius || dx > p->radius)) continue;
        affinity[i] = exp(dot(s->target + at * p->dim, s->features[i / patches] + q * p->dim, p->dim) / p->temperature);
    }
    memcpy(sorted, affinity, (size_t)all * sizeof *sorted);
    qsort(sorted, (size_t)all, sizeof *sorted, descending);
    *gap = (sorted[p->top - 1] - sorted[p->top]) / sorted[p->top - 1];
    memset(label, 0, (size_t)p->channels * sizeof *label);
    for (int64_t i = 0; i < all; i++) {
        if (affinity[i] < sorted[p->top - 1]) continue;
        sum += affinity[i];
        for (int c = 0; c < p->channels; c++)
            label[c] += affinity[i] * (double)s->labels[i / patches][c * patches + i % patches];
    }
    for (int c = 0; c < p->channels; c++) label[c] /= sum;
    free(affinity);
    free(sorted);
}

/* An f32 product of `dim` terms, divided by the temperature, moves an affinity by so much of itself. */
static double tolerance(const struct dg_propagation *p)
{
    return 2 * (double)p->dim * 0x1p-24 / p->temperature + 0x1p-20;
}

static void check_scene(struct dg_propagation p, int sources)
{
    struct scene s = make_scene(p, sources);
    int64_t patches = (int64_t)p.rows * p.cols, close = 0;
    float *labels = malloc((size_t)(patches * p.channels) * sizeof *labels);
    double *want = malloc((size_t)p.channels * sizeof *want), gap;
    assert_true(labels && want);
    assert_ok(dg_propagate(&p, s.target, s.source, sources, labels, try_err));
    for (int64_t at = 0; at < patches; at++) {
        plain(&s, at, want, &gap);
        close += gap < 4 * tolerance(&p); /* which is the last of the best may then be decided by rounding */
        for (int c = 0; c < p.channels && gap >= 4 * tolerance(&p); c++)
            if (fabs((double)labels[c * patches + at] - want[c]) > tolerance(&p))
                fail_msg("patch %d, channel %d: %g, not %g", (int)at, c, (double)labels[c * patches + at], want[c]);
    }
    assert_true(close * 10 <= patches);
    /* With another number of threads. */
    float *again = malloc((size_t)(patches * p.channels) * sizeof *again);
    assert_non_null(again);
    p.threads = 3 - p.threads;
    assert_ok(dg_propagate(&p, s.target, s.source, sources, again, try_err));
    assert_memory_equal(labels, again, (size_t)(patches * p.channels) * sizeof *again);
    free(labels);
    free(again);
    free(want);
    free_scene(&s);
}

static void test_against_plain(void **state)
{
    (void)state;
    const struct dg_propagation usual = {
        .rows = 9, .cols = 21, .dim = 32, .radius = 3, .top = 5, .temperature = 0.1, .channels = 3, .threads = 2};
    struct dg_propagation p = usual;
    check_scene(p, 1);
    check_scene(p, 8);
    p.radius = 0; /* everywhere */
    check_scene(p, 2);
    p.radius = 12; /* beyond the frame up and down */
    check_scene(p, 3);
    p.radius = 1;
    p.top = 4; /* as many as a corner has */
    check_scene(p, 1);
    p = usual;
    p.cols = 16;
    check_scene(p, 2);
    p.cols = 33;
    p.rows = 1;
    check_scene(p, 2);
    p = usual;
    p.dim = 51;
    p.channels = 1;
    p.temperature = 0.07;
    check_scene(p, 2);
}

/* Of equal frames all are as good, so all labels count: the mean of them. */
static void test_ties(void **state)
{
    (void)state;
    const struct dg_propagation p = {
        .rows = 4, .cols = 4, .dim = 4, .radius = 1, .top = 1, .temperature = 0.1, .channels = 1, .threads = 1};
    float features[16 * 4], one[16], two[16], labels[16];
    for (int i = 0; i < 16; i++) {
        for (int c = 0; c < 4; c++) features[4 * i + c] = c == i % 4; /* columns differ, rows do not */
        one[i] = 1;
        two[i] = 0;
    }
    const struct dg_propagation_source source[] = {{features, one}, {features, two}};
    assert_ok(dg_propagate(&p, features, source, 2, labels, try_err));
    for (int i = 0; i < 16; i++) assert_true(labels[i] == 0.5f);
}

static void test_refused(void **state)
{
    (void)state;
    struct dg_propagation p = {
        .rows = 4, .cols = 4, .dim = 4, .radius = 1, .top = 5, .temperature = 0.1, .channels = 1, .threads = 1};
    float x[64] = {0};
    const struct dg_propagation_source source = {x, x};
    struct dg_error err = {0};
    assert_int_equal(dg_propagate(&p, x, &source, 1, x, &err), DG_ERR_USAGE);
    assert_non_null(strstr(err.text, "of 4 patches that are near one in a corner, the 5 most alike"));
    p.temperature = 0;
    assert_int_equal(dg_propagate(&p, x, &source, 1, x, NULL), DG_ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_plain),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

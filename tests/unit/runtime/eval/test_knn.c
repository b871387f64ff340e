/* k-NN against the definition, in f64 and without blocks or heaps. Features are multiples of 1/8, so that similarities
 * are exact in f32 in any order of summation, and many are equal. */
#include "ops/base/rng.h"
#include "runtime/eval/knn.h"
#include "runtime/eval/nearest.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct set {
    float *features;
    int *label;
    int64_t n, dim;
};

static struct dg_rng random_stream(const char *name)
{
    return dg_rng_make(7, DG_RNG_TEST, dg_fnv1a(DG_FNV_BASIS, name, strlen(name)), 0);
}

/* Labels below `classes`, never `absent`. Half of what makes a feature is its class, so that there is something to
 * find. */
static struct set make_set(const char *name, int64_t n, int64_t dim, int classes, int absent)
{
    struct set set = {calloc((size_t)(n * dim), sizeof(float)), calloc((size_t)n, sizeof(int)), n, dim};
    assert_true(set.features && set.label);
    struct dg_rng rng = random_stream(name);
    for (int64_t i = 0; i < n; i++) {
        do set.label[i] = (int)dg_rng_int(&rng, 0, classes);
        while (set.label[i] == absent);
        for (int64_t c = 0; c < dim; c++) {
            uint32_t mean = dg_rng_at(7, DG_RNG_TEST, 0, (uint32_t)set.label[i], (uint64_t)c) % 5;
            set.features[i * dim + c] = (float)((int)mean - 2 + (int)dg_rng_int(&rng, -6, 7)) / 8;
        }
    }
    return set;
}

static void free_set(struct set *set)
{
    free(set->features);
    free(set->label);
}

struct pair {
    double similarity;
    int64_t index;
};

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *p = a, *q = b;
    if (p->similarity != q->similarity) return p->similarity > q->similarity ? -1 : 1;
    return p->index < q->index ? -1 : 1;
}

/* predicted[t * stride] is test feature t's. */
static struct dg_knn_result reference(struct set train, struct set test, int classes, int k, double temperature,
                                      int *predicted, int stride)
{
    struct pair *pair = malloc((size_t)train.n * sizeof *pair);
    double *vote = malloc((size_t)classes * sizeof *vote);
    assert_true(pair && vote);
    int64_t top1 = 0, top5 = 0;
    for (int64_t t = 0; t < test.n; t++) {
        for (int64_t i = 0; i < train.n; i++) {
            pair[i] = (struct pair){0, i};
            for (int64_t c = 0; c < train.dim; c++)
                pair[i].similarity +=
                    (double)test.features[t * test.dim + c] * (double)train.features[i * train.dim + c];
        }
        qsort(pair, (size_t)train.n, sizeof *pair, compare_pairs);
        memset(vote, 0, (size_t)classes * sizeof *vote);
        for (int i = 0; i < k; i++) vote[train.label[pair[i].index]] += exp(pair[i].similarity / temperature);
        for (int rank = 0; rank < 5 && rank < k && rank < classes; rank++) {
            int best = 0;
            for (int c = 1; c < classes; c++)
                if (vote[c] > vote[best]) best = c;
            bool hit = best == test.label[t] && vote[best] > 0;
            vote[best] = -1;
            if (rank == 0) predicted[t * stride] = best;
            top1 += hit && rank == 0;
            top5 += hit;
        }
    }
    free(pair);
    free(vote);
    return (struct dg_knn_result){100.0 * (double)top1 / (double)test.n, 100.0 * (double)top5 / (double)test.n};
}

static void knn(struct set train, struct set test, int classes, const int *k, int num_k, double temperature,
                int threads, struct dg_knn_result *result, int *predicted)
{
    struct dg_error err = {0};
    const struct dg_knn_question question = {{train.features, train.label, train.n},
                                             {test.features, test.label, test.n},
                                             train.dim,
                                             classes,
                                             k,
                                             num_k,
                                             temperature,
                                             threads};
    if (dg_knn(&question, result, predicted, &err) != DG_OK) fail_msg("%s", err.text);
}

static void check(struct set train, struct set test, int classes, const int *k, int num_k, double temperature)
{
    struct dg_knn_result expected[8], result[8];
    size_t guesses = sizeof(int) * (size_t)(test.n * num_k);
    int *expected_class = malloc(guesses), *class = malloc(guesses);
    for (int i = 0; i < num_k; i++)
        expected[i] = reference(train, test, classes, k[i], temperature, expected_class + i, num_k);
    for (int threads = 1; threads <= 3; threads++) {
        memset(result, 0, sizeof result);
        memset(class, -1, guesses);
        knn(train, test, classes, k, num_k, temperature, threads, result, class);
        assert_memory_equal(class, expected_class, guesses);
        for (int i = 0; i < num_k; i++)
            if (result[i].top1 != expected[i].top1 || result[i].top5 != expected[i].top5)
                fail_msg("k = %d, %d threads: %.3f %.3f, expected %.3f %.3f", k[i], threads, result[i].top1,
                         result[i].top5, expected[i].top1, expected[i].top5);
    }
    free(expected_class);
    free(class);
}

static void test_against_definition(void **state)
{
    (void)state;
    const int k[] = {10, 200, 1, 20, 3, 100, 5};
    const struct {
        int64_t train, test, dim;
        int classes, absent;
    } sizes[] = {
        {700, 150, 24, 20, -1},                         /* less than a block */
        {700, 150, 24, 20, 0},                          /* the class that ties would favour is absent */
        {700, 150, 24, 20, 13}, {6500, 64, 17, 50, -1}, /* several blocks, the last one short */
        {3072, 128, 8, 10, -1},                         /* whole blocks */
        {200, 1, 5, 7, -1},                             /* k is everything */
        {400, 70, 4, 1000, -1},                         /* more classes than votes; similarities mostly equal */
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct set train = make_set("train", sizes[i].train, sizes[i].dim, sizes[i].classes, sizes[i].absent);
        struct set test = make_set("test", sizes[i].test, sizes[i].dim, sizes[i].classes, -1);
        check(train, test, sizes[i].classes, k, 7, 0.25);
        free_set(&train);
        free_set(&test);
    }
}

static void test_top5_of_few_classes(void **state)
{
    (void)state;
    const int k[] = {1, 2, 4, 50};
    struct set train = make_set("train", 300, 12, 3, 1), test = make_set("test", 90, 12, 3, -1);
    check(train, test, 3, k, 4, 0.25);
    struct dg_knn_result result[4];
    knn(train, test, 3, k, 4, 0.25, 2, result, NULL);
    int64_t with_votes = 0; /* images of class 1 are in the test set only: nothing can vote for them */
    for (int64_t i = 0; i < test.n; i++) with_votes += test.label[i] != 1;
    assert_true(with_votes < test.n);
    assert_true(result[0].top5 == result[0].top1);                         /* the first class only */
    assert_true(result[1].top5 >= result[1].top1 && result[1].top5 < 100); /* the first two */
    assert_true(result[3].top5 == 100 * (double)with_votes / (double)test.n);
    free_set(&train);
    free_set(&test);
}

/* Train rows that are copies of each other, at every place in a block, with values whose sums do round: the first k
 * must be those with the lowest index. */
static void test_copies_come_in_order(void **state)
{
    (void)state;
    enum { TRAIN = 7001, TEST = 333 };
    for (int64_t dim = 1; dim <= 1000; dim = dim * 3 + 1) {
        struct set train = {calloc((size_t)(TRAIN * dim), sizeof(float)), calloc(TRAIN, sizeof(int)), TRAIN, dim};
        struct set test = {calloc((size_t)(TEST * dim), sizeof(float)), calloc(TEST, sizeof(int)), TEST, dim};
        struct dg_rng rng = random_stream("copies");
        for (int64_t i = 0; i < TRAIN * dim; i++)
            train.features[i] = i < dim ? dg_rng_uniform(&rng, -1, 1) : train.features[i - dim];
        for (int64_t i = 0; i < TEST * dim; i++) test.features[i] = dg_rng_uniform(&rng, -1, 1);
        dg_features_normalize(train.features, TRAIN, dim, 2);
        dg_features_normalize(test.features, TEST, dim, 2);
        const int k[] = {200, 20, 5000};
        for (int i = 0; i < 3; i++) {
            struct dg_knn_result result;
            for (int r = 0; r < TEST; r++) test.label[r] = 1;
            for (int threads = 1; threads <= 2; threads++) {
                /* one vote more for class 1: another neighbor in the place of one of the first makes it a tie or
                 * worse */
                for (int r = 0; r < TRAIN; r++) train.label[r] = r <= k[i] / 2;
                knn(train, test, 2, &k[i], 1, 0.07, threads, &result, NULL);
                assert_true(result.top1 == 100);
                /* a tie, which class 0 wins: another neighbor in the place of one of the first gives it to class 1 */
                for (int r = 0; r < TRAIN; r++) train.label[r] = r >= k[i] / 2;
                knn(train, test, 2, &k[i], 1, 0.07, threads, &result, NULL);
                assert_true(result.top1 == 0);
            }
        }
        free_set(&train);
        free_set(&test);
    }
}

/* Hardly any neighbor but the first has a vote at a low temperature, and exp(similarity / temperature) would
 * overflow. */
static void test_low_temperature(void **state)
{
    (void)state;
    struct set train = make_set("train", 500, 32, 10, -1), test = make_set("test", 100, 32, 10, -1);
    dg_features_normalize(train.features, train.n, train.dim, 2);
    dg_features_normalize(test.features, test.n, test.dim, 2);
    const int k[] = {1, 20};
    struct dg_knn_result result[2];
    knn(train, test, 10, k, 2, 1e-9, 2, result, NULL);
    assert_true(result[0].top1 == result[1].top1);
    free_set(&train);
    free_set(&test);
}

static void test_normalize(void **state)
{
    (void)state;
    float x[] = {3, 4, 0, 0, 1e-20f, 0, 1e20f, 1e20f};
    dg_features_normalize(x, 4, 2, 2);
    assert_true(x[0] == 0.6f && x[1] == 0.8f && x[2] == 0 && x[3] == 0);
    assert_true(fabsf(x[4] - 1e-8f) < 1e-14f);
    assert_true(fabs((double)x[6] - sqrt(0.5)) < 1e-7 && x[6] == x[7]);
}

static void test_refusals(void **state)
{
    (void)state;
    struct set train = make_set("train", 30, 6, 4, -1), test = make_set("test", 8, 6, 4, -1);
    struct dg_knn_result result;
    struct dg_error err = {0};
#define KNN(num_train, num_test, classes, k, temperature, threads)                                                     \
    (err = (struct dg_error){0}, dg_knn(&(struct dg_knn_question){{train.features, train.label, num_train},            \
                                                                  {test.features, test.label, num_test},               \
                                                                  6,                                                   \
                                                                  classes,                                             \
                                                                  (const int[]){k},                                    \
                                                                  1,                                                   \
                                                                  temperature,                                         \
                                                                  threads},                                            \
                                        &result, NULL, &err))
    assert_int_equal(KNN(30, 8, 4, 30, 0.07, 1), DG_OK);
    assert_int_equal(KNN(30, 8, 4, 31, 0.07, 1), DG_ERR_USAGE);
    assert_non_null(strstr(err.text, "k = 31"));
    assert_non_null(strstr(err.text, "30"));
    assert_int_equal(KNN(30, 8, 4, 0, 0.07, 1), DG_ERR_USAGE);
    assert_int_equal(KNN(0, 8, 4, 1, 0.07, 1), DG_ERR_USAGE);
    assert_int_equal(KNN(30, 0, 4, 1, 0.07, 1), DG_ERR_USAGE);
    assert_int_equal(KNN(30, 8, 0, 1, 0.07, 1), DG_ERR_USAGE);
    assert_int_equal(KNN(30, 8, 4, 1, 0, 1), DG_ERR_USAGE);
    assert_int_equal(KNN(30, 8, 4, 1, NAN, 1), DG_ERR_USAGE);
    assert_int_equal(KNN(30, 8, 4, 1, 0.07, 0), DG_ERR_USAGE);
    train.label[3] = 4;
    assert_int_equal(KNN(30, 8, 4, 1, 0.07, 1), DG_ERR_USAGE);
    train.label[3] = 0;
    test.label[7] = -1;
    assert_int_equal(KNN(30, 8, 4, 1, 0.07, 1), DG_ERR_USAGE);
    test.label[7] = 0;
    const float bad[] = {NAN, INFINITY, 2};
    for (int i = 0; i < 3; i++) {
        test.features[5 * 6 + 2] = bad[i];
        assert_int_equal(KNN(30, 8, 4, 1, 0.07, 1), DG_ERR_NUMERIC);
        assert_non_null(strstr(err.text, "test feature 5"));
    }
    free_set(&train);
    free_set(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_definition),
        cmocka_unit_test(test_top5_of_few_classes),
        cmocka_unit_test(test_copies_come_in_order),
        cmocka_unit_test(test_low_temperature),
        cmocka_unit_test(test_normalize),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

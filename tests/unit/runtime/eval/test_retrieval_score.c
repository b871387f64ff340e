/* Average precision and precision among the first, of rankings whose numbers are worked out by hand. */
#include "runtime/eval/retrieval_score.h"
#include "tests/support/check.h"

#include <math.h>

enum { N = 12 };

static struct dg_neighbor ranking[N];

static int setup(void **state)
{
    (void)state;
    static const int32_t order[N] = {4, 0, 7, 2, 9, 1, 3, 5, 6, 8, 10, 11};
    for (int i = 0; i < N; i++) ranking[i] = (struct dg_neighbor){1 - 0.01f * (float)i, order[i]};
    return 0;
}

static struct dg_retrieval_score score_of(const struct dg_relevance *relevance)
{
    struct dg_retrieval_score score = {0};
    uint8_t seen[N];
    int64_t rank[N];
    dg_retrieval_add(&score, ranking, N, relevance, seen, rank);
    dg_retrieval_mean(&score);
    return score;
}

static void assert_is(double have, double want) { assert_true(fabs(have - want) <= 1e-15); }

static void test_average_precision(void **state)
{
    (void)state;
    assert_is(dg_average_precision((const int64_t[]){0, 1, 2}, 3, 3), 1);
    assert_is(dg_average_precision((const int64_t[]){0}, 1, 2), 0.5); /* one of two is not found */
    assert_is(dg_average_precision((const int64_t[]){1, 3}, 2, 2), ((0 + 1 / 2.0) / 2 + (1 / 3.0 + 2 / 4.0) / 2) / 2);
    assert_is(dg_average_precision(NULL, 0, 5), 0);
}

static void test_junk(void **state)
{
    (void)state;
    static const int32_t easy[] = {7, 9}, hard[] = {3}, junk[] = {4, 2, 1};
    /* Without junk the ranking is 0, 7, 9, 3, 5, ...: positives at 1, 2 and 3. */
    struct dg_retrieval_score score = score_of(&(struct dg_relevance){{{easy, 2}, {hard, 1}}, {{junk, 3}}});
    assert_is(score.map, ((0 + 1 / 2.0) / 2 + (1 / 2.0 + 2 / 3.0) / 2 + (2 / 3.0 + 3 / 4.0) / 2) / 3);
    assert_is(score.precision[0], 0);
    assert_is(score.precision[1], 3 / 4.0); /* among those up to the last positive */
    assert_is(score.precision[2], 3 / 4.0);
    /* With the easy ones for junk it is 0, 3: the positive at 1. */
    score = score_of(&(struct dg_relevance){{{hard, 1}}, {{junk, 3}, {easy, 2}}});
    assert_is(score.map, 1 / 4.0);
    assert_is(score.precision[2], 1 / 2.0);
}

static void test_empty(void **state)
{
    (void)state;
    static const int32_t junk[] = {4};
    struct dg_retrieval_score score = score_of(&(struct dg_relevance){.junk = {{junk, 1}}});
    assert_int_equal(score.queries, 0);
    assert_int_equal(score.empty, 1);
    assert_is(score.map, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_average_precision), cmocka_unit_test(test_junk),
                                       cmocka_unit_test(test_empty)};
    return cmocka_run_group_tests(tests, setup, NULL);
}

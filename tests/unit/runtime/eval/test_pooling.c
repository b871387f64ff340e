/* What is made of tokens: each kind's shape and numbers, of a network with a register. */
#include "runtime/eval/pooling.h"
#include "tests/support/check.h"

#include <math.h>
#include <string.h>

enum { DIM = 3, ROWS = 2, COLS = 2, FIRST = 2, TOKENS = FIRST + ROWS * COLS };

static const struct dg_patches patches = {.rows = ROWS, .cols = COLS, .first = FIRST};
static const float tokens[TOKENS * DIM] = {1, 2, 3, 9, 9, 9, 1, -1, 2, 3, -2, 2, 5, -3, 2, 7, -4, 2};

static const struct {
    const char *name;
    int ndim;
    int64_t shape[DG_POOLING_MAX_DIMS];
} kinds[] = {
    {"cls", 1, {DIM}}, {"tokens", 2, {TOKENS, DIM}}, {"patches", 3, {ROWS, COLS, DIM}}, {"patch-mean", 1, {DIM}},
    {"gem", 1, {DIM}}, {"cls+gem", 1, {2 * DIM}},    {"cls+patch-mean", 1, {2 * DIM}}};

static void test_shapes(void **state)
{
    (void)state;
    for (int k = 0; k < (int)(sizeof kinds / sizeof *kinds); k++) {
        int64_t shape[DG_POOLING_MAX_DIMS];
        enum dg_token_pooling pooling = dg_pooling_find(kinds[k].name);
        assert_int_equal(pooling, k);
        assert_int_equal(dg_pooling_role(pooling), k ? DG_ENTRY_TOKENS : DG_ENTRY_FEATURES);
        assert_int_equal(dg_pooling_shape(pooling, &patches, DIM, shape), kinds[k].ndim);
        for (int d = 0; d < kinds[k].ndim; d++) assert_int_equal(shape[d], kinds[k].shape[d]);
    }
}

static void check(enum dg_token_pooling pooling, const float *expected, int count)
{
    float out[TOKENS * DIM];
    dg_pooling_apply(pooling, &patches, DIM, tokens, out);
    for (int i = 0; i < count; i++) assert_true(fabsf(out[i] - expected[i]) <= 1e-6f * fabsf(expected[i]));
}

static void test_numbers(void **state)
{
    (void)state;
    float gem = (float)pow((1 + 81 + 625 + 2401) / 4.0, 0.25);
    check(DG_POOLING_CLS, tokens, DIM);
    check(DG_POOLING_TOKENS, tokens, TOKENS * DIM);
    check(DG_POOLING_PATCHES, tokens + FIRST * DIM, ROWS * COLS * DIM);
    check(DG_POOLING_PATCH_MEAN, (const float[]){4, -2.5f, 2}, DIM);
    check(DG_POOLING_GEM, (const float[]){gem, 1e-6f, 2}, DIM); /* what is negative counts as 1e-6 */
    check(DG_POOLING_CLS_GEM, (const float[]){1, 2, 3, gem, 1e-6f, 2}, 2 * DIM);
    check(DG_POOLING_CLS_PATCH_MEAN, (const float[]){1, 2, 3, 4, -2.5f, 2}, 2 * DIM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

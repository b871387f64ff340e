/* Whitening: what it was learnt from has uncorrelated components of mean square one, but for those that hardly vary. */
#include "ops/base/rng.h"
#include "runtime/eval/whitening.h"
#include "tests/support/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 400, DIM = 6 };

/* Numbers around `mean`; column 1 follows column 0, and the last column is a millionth of the others. */
static float *make_rows(float mean)
{
    float *rows = malloc(sizeof *rows * ROWS * DIM);
    assert_non_null(rows);
    struct dg_rng rng = dg_rng_make(5, DG_RNG_TEST, 0, 0);
    for (int r = 0; r < ROWS; r++) {
        float *x = rows + r * DIM;
        for (int i = 0; i < DIM; i++) x[i] = mean + dg_rng_uniform(&rng, -1, 1) * (float)(i + 1);
        x[1] += 2 * x[0];
        x[DIM - 1] *= 1e-6f;
    }
    return rows;
}

/* Mean product of two columns. */
static double product(const float *rows, int a, int b)
{
    double sum = 0;
    for (int r = 0; r < ROWS; r++) sum += (double)rows[r * DIM + a] * (double)rows[r * DIM + b];
    return sum / ROWS;
}

/* Without a mean X'X / n is the covariance, so that whitened features have the identity for theirs. */
static void test_identity(void **state)
{
    (void)state;
    float *rows = make_rows(0);
    for (int i = 0; i < DIM; i++) { /* the mean of what it is learnt from is nothing */
        double sum = 0;
        for (int r = 0; r < ROWS; r++) sum += (double)rows[r * DIM + i];
        for (int r = 0; r < ROWS; r++) rows[r * DIM + i] -= (float)(sum / ROWS);
    }
    struct dg_whitening whitening = {0};
    assert_ok(dg_whitening_fit(rows, ROWS, DIM, 2, &whitening, try_err));
    assert_ok(dg_whitening_apply(&whitening, rows, ROWS, try_err));
    for (int a = 0; a < DIM; a++)
        for (int b = 0; b <= a; b++) {
            /* The last has 1e-12 of the largest variance, which is raised to 1e-5. */
            double want = a == b && a < DIM - 1, have = product(rows, a, b);
            if (!(fabs(have - want) <= 1e-5)) fail_msg("components %d and %d: %g", a, b, have);
        }
    dg_whitening_free(&whitening);
    free(rows);
}

/* Rows that are applied in several blocks come out as one by one. */
static void test_blocks(void **state)
{
    (void)state;
    float *rows = make_rows(3), *one = make_rows(3), *given = make_rows(3);
    struct dg_whitening whitening = {0};
    assert_ok(dg_whitening_fit(rows, ROWS, DIM, 1, &whitening, try_err));
    for (int i = 0; i < DIM; i++) assert_true(fabsf(whitening.mean[i] - (i == 1 ? 9 : i < DIM - 1 ? 3 : 0)) < 1);
    assert_ok(dg_whitening_apply(&whitening, rows, ROWS, try_err));
    for (int r = 0; r < ROWS; r++) assert_ok(dg_whitening_apply(&whitening, one + r * DIM, 1, try_err));
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < DIM; c++) {
            const float *transform = whitening.transform + c * DIM;
            double size = 0; /* of what is added, by either in DIM products and sums of its own order */
            for (int i = 0; i < DIM; i++) size += fabs((double)(given[r * DIM + i] - whitening.mean[i]) * transform[i]);
            double tolerance = 2 * DIM * 0x1p-24 * size;
            assert_true(fabs((double)rows[r * DIM + c] - (double)one[r * DIM + c]) <= tolerance);
            assert_true(tolerance <= 1e-4);
        }
    dg_whitening_free(&whitening);
    free(rows);
    free(one);
    free(given);
}

static void test_refused(void **state)
{
    (void)state;
    struct dg_whitening whitening = {0};
    float rows[2 * DIM] = {0};
    assert_int_equal(dg_whitening_fit(rows, 0, DIM, 1, &whitening, NULL), DG_ERR_USAGE);
    assert_int_equal(dg_whitening_fit(rows, 2, DIM, 1, &whitening, NULL), DG_ERR_NUMERIC);
    rows[3] = NAN;
    assert_int_equal(dg_whitening_fit(rows, 2, DIM, 1, &whitening, NULL), DG_ERR_NUMERIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_identity), cmocka_unit_test(test_blocks),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

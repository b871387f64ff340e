/* Eigenvectors and principal components against their definitions. */
#include "ops/base/rng.h"
#include "runtime/eval/pca.h"
#include "tests/support/images.h"

#include <math.h>

/* ---- eigenvectors ---- */

/* value descends, rows are orthonormal, and a row = value row, all within rounding of the largest value. */
static void check_eigen(const double *a, const double *vector, const double *value, int64_t n)
{
    double scale = 0;
    for (int64_t i = 0; i < n * n; i++) scale = fmax(scale, fabs(a[i]));
    double tolerance = 1e-14 * (double)n * scale;
    for (int64_t i = 0; i < n; i++) {
        const double *v = vector + i * n;
        int64_t largest = 0;
        if (i) assert_true(value[i] <= value[i - 1]);
        for (int64_t j = 0; j <= i; j++) {
            double product = 0;
            for (int64_t k = 0; k < n; k++) product += v[k] * vector[j * n + k];
            assert_true(fabs(product - (i == j)) <= 1e-14 * (double)n);
        }
        for (int64_t j = 0; j < n; j++) {
            double product = 0;
            for (int64_t k = 0; k < n; k++) product += (j > k ? a[j * n + k] : a[k * n + j]) * v[k];
            if (!(fabs(product - value[i] * v[j]) <= tolerance))
                fail_msg("n %d, vector %d: %g", (int)n, (int)i, fabs(product - value[i] * v[j]));
            if (fabs(v[j]) > fabs(v[largest])) largest = j;
        }
        assert_true(v[largest] > 0);
    }
}

static void solve(const double *a, int64_t n, double *vector, double *value)
{
    for (int64_t i = 0; i < n; i++) /* the upper triangle is not read */
        for (int64_t j = 0; j < n; j++) vector[i * n + j] = j <= i ? a[i * n + j] : NAN;
    assert_ok(dg_eigen_symmetric(vector, n, value, try_err));
    check_eigen(a, vector, value, n);
}

static void test_eigen_random(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 4, 7, 20, 97};
    static const double scales[] = {1, 1e-150, 1e150};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int c = 0; c < 3; c++) {
            int64_t n = sizes[s];
            double *a = malloc(sizeof(double) * (size_t)(2 * n * n + n)), *vector = a + n * n, *value = vector + n * n;
            assert_non_null(a);
            struct dg_rng rng = dg_rng_make(11, DG_RNG_TEST, (uint64_t)n, (uint32_t)c);
            for (int64_t i = 0; i < n; i++)
                for (int64_t j = 0; j <= i; j++)
                    a[i * n + j] = a[j * n + i] = scales[c] * (double)dg_rng_uniform(&rng, -1, 1);
            solve(a, n, vector, value);
            free(a);
        }
}

static void test_eigen_special(void **state)
{
    (void)state;
    enum { N = 12 };
    double a[N * N], vector[N * N], value[N];
    memset(a, 0, sizeof a); /* nothing */
    solve(a, N, vector, value);
    assert_true(value[0] == 0 && value[N - 1] == 0);
    for (int i = 0; i < N; i++) a[i * N + i] = 3; /* all directions alike */
    solve(a, N, vector, value);
    assert_true(value[0] == 3 && value[N - 1] == 3);
    for (int i = 0; i < N; i++) a[i * N + i] = i % 5 - 2; /* diagonal, out of order, with repeats */
    solve(a, N, vector, value);
    assert_true(value[0] == 2 && value[N - 1] == -2);
    for (int i = 0; i < N * N; i++) a[i] = 2; /* rank one */
    solve(a, N, vector, value);
    assert_true(fabs(value[0] - 2 * N) < 1e-12 && fabs(value[1]) < 1e-13);
    for (int k = 0; k < N; k++) assert_true(fabs(vector[k] - 1 / sqrt(N)) < 1e-13);
    for (int i = 0; i < N; i++) /* twenty-two orders of magnitude */
        for (int j = 0; j < N; j++) a[i * N + j] = pow(10, -(i + j));
    solve(a, N, vector, value);
    /* The path of N points, with the known spectrum 2 - 2 cos(pi k / N). */
    memset(a, 0, sizeof a);
    for (int i = 0; i < N; i++) a[i * N + i] = i == 0 || i == N - 1 ? 1 : 2;
    for (int i = 0; i + 1 < N; i++) a[i * N + i + 1] = a[(i + 1) * N + i] = -1;
    solve(a, N, vector, value);
    for (int k = 0; k < N; k++) assert_true(fabs(value[N - 1 - k] - (2 - 2 * cos(M_PI * k / N))) < 1e-13);
    struct dg_error err = {0};
    a[5 * N + 2] = NAN;
    assert_int_equal(dg_eigen_symmetric(a, N, value, &err), DG_ERR_NUMERIC);
}

/* ---- components ---- */

static double column_mean(const float *rows, int64_t count, int64_t dim, int64_t c)
{
    double sum = 0;
    for (int64_t r = 0; r < count; r++) sum += rows[r * dim + c];
    return sum / (double)count;
}

/* The variances are those of the projections, the directions orthonormal, and no better first one is found at random. */
static void check_fit(const float *rows, int64_t count, int64_t dim, const struct dg_pca *pca)
{
    double total = 0;
    for (int64_t c = 0; c < dim; c++) {
        double mean = column_mean(rows, count, dim, c);
        assert_true(fabs(mean - pca->mean[c]) <= 1e-12 * (1 + fabs(mean)));
        for (int64_t r = 0; r < count; r++)
            total += (rows[r * dim + c] - mean) * (rows[r * dim + c] - mean) / (double)count;
    }
    assert_true(fabs(total - pca->total) <= 1e-10 * total);
    double *at = malloc(sizeof(double) * (size_t)pca->components);
    assert_non_null(at);
    for (int c = 0; c < pca->components; c++) {
        double square = 0, sum = 0;
        for (int64_t r = 0; r < count; r++) {
            dg_pca_project(pca, rows + r * dim, at);
            square += at[c] * at[c] / (double)count;
            sum += at[c] / (double)count;
        }
        assert_true(fabs(sum) <= 1e-10 * sqrt(total));
        assert_true(fabs(square - pca->variance[c]) <= 1e-10 * total);
        for (int d = 0; d <= c; d++) {
            double product = 0;
            for (int64_t k = 0; k < dim; k++) product += pca->direction[c * dim + k] * pca->direction[d * dim + k];
            assert_true(fabs(product - (c == d)) <= 1e-12);
        }
    }
    free(at);
}

/* Rows of `rank` independent directions, the k-th of deviation 1 / (1 + k). */
static float *make_rows(int64_t count, int64_t dim, int rank)
{
    float *rows = calloc((size_t)(count * dim), sizeof *rows);
    assert_non_null(rows);
    struct dg_rng rng = dg_rng_make(5, DG_RNG_TEST, (uint64_t)count, (uint32_t)dim);
    for (int64_t r = 0; r < count; r++)
        for (int k = 0; k < rank; k++) {
            float at = dg_rng_uniform(&rng, -1, 1) / (float)(1 + k);
            for (int64_t c = 0; c < dim; c++) rows[r * dim + c] += at * (float)((c * (k + 3) + k) % 7 - 3);
        }
    for (int64_t i = 0; i < count * dim; i++) rows[i] += (float)(i % dim);
    return rows;
}

static void test_components(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{200, 5}, {1000, 33}, {7, 40}, {1, 4}, {65, 64}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        int64_t count = shapes[s][0], dim = shapes[s][1];
        float *rows = make_rows(count, dim, 4);
        struct dg_pca pca = {0}, again = {0};
        int components = (int)dg_min_i64(dim, 6);
        assert_ok(dg_pca_fit(rows, count, dim, components, 1, &pca, try_err));
        check_fit(rows, count, dim, &pca);
        assert_ok(dg_pca_fit(rows, count, dim, components, 3, &again, try_err));
        assert_memory_equal(pca.direction, again.direction, sizeof(double) * (size_t)(components * dim));
        assert_memory_equal(pca.variance, again.variance, sizeof(double) * (size_t)components);
        dg_pca_free(&pca);
        dg_pca_free(&again);
        free(rows);
    }
}

static void test_rank(void **state)
{
    (void)state;
    for (int rank = 1; rank <= 3; rank++) {
        float *rows = make_rows(300, 24, rank);
        struct dg_pca pca = {0};
        double sum = 0;
        assert_ok(dg_pca_fit(rows, 300, 24, 5, 2, &pca, try_err));
        check_fit(rows, 300, 24, &pca);
        for (int c = 0; c < rank; c++) sum += pca.variance[c];
        assert_true(fabs(sum - pca.total) <= 1e-9 * pca.total); /* but for f32 of the data */
        assert_true(pca.variance[rank] <= 1e-9 * pca.total && pca.variance[4] >= 0);
        dg_pca_free(&pca);
        free(rows);
    }
    /* A known direction: all along (3, 4) / 5, with variance 25. */
    const float line[] = {1, 2, 7, 10, 1, 2, 7, 10};
    struct dg_pca pca = {0};
    assert_ok(dg_pca_fit(line, 4, 2, 2, 1, &pca, try_err));
    assert_true(fabs(pca.direction[0] - 0.6) < 1e-14 && fabs(pca.direction[1] - 0.8) < 1e-14);
    assert_true(fabs(pca.variance[0] - 25) < 1e-12 && pca.variance[1] < 1e-12);
    dg_pca_free(&pca);
    /* No variance at all. */
    assert_ok(dg_pca_fit((const float[]){1, 2, 1, 2}, 2, 2, 2, 1, &pca, try_err));
    assert_true(pca.variance[0] == 0 && pca.total == 0);
    dg_pca_free(&pca);
}

static void test_wrong_use(void **state)
{
    (void)state;
    const float rows[] = {1, 2, NAN, 4};
    struct dg_pca pca = {0};
    struct dg_error err = {0};
    assert_int_equal(dg_pca_fit(rows, 2, 2, 3, 1, &pca, &err), DG_ERR_USAGE);
    assert_int_equal(dg_pca_fit(rows, 0, 2, 1, 1, &pca, NULL), DG_ERR_USAGE);
    err = (struct dg_error){0};
    assert_int_equal(dg_pca_fit(rows, 2, 2, 1, 1, &pca, &err), DG_ERR_NUMERIC);
    assert_non_null(strstr(err.text, "not finite"));
    assert_null(pca.mean);
    dg_pca_free(&pca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eigen_random), cmocka_unit_test(test_eigen_special), cmocka_unit_test(test_components),
        cmocka_unit_test(test_rank),         cmocka_unit_test(test_wrong_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

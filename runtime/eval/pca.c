#include "runtime/eval/pca.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- eigenvectors ---- */

static double dot(const double *x, const double *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static void add_scaled(double *x, double factor, const double *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] += factor * y[i];
}

/* a = q' t q with t tridiagonal: diagonal [n], beside [n] (beside[i] couples i and i + 1). The reflections are left in
 * the rows of `a`: row i, first i numbers, a vector v with I - scale[i] v v'; scale 0: none. */
static void reduce(double *a, int64_t n, double *diagonal, double *beside, double *scale, double *work)
{
    beside[n - 1] = 0;
    for (int64_t i = n - 1; i > 0; i--) { /* clears row i but for its last number before the diagonal */
        double *v = a + i * n;
        diagonal[i] = v[i];
        double largest = 0, rest = 0;
        for (int64_t j = 0; j < i; j++) largest = fmax(largest, fabs(v[j]));
        for (int64_t j = 0; j + 1 < i; j++) rest = fmax(rest, fabs(v[j]));
        scale[i] = 0;
        beside[i - 1] = v[i - 1];
        if (rest == 0) continue;
        for (int64_t j = 0; j < i; j++) v[j] /= largest; /* squares must neither vanish nor overflow */
        double norm = sqrt(dot(v, v, i)), corner = v[i - 1] > 0 ? -norm : norm;
        beside[i - 1] = corner * largest;
        v[i - 1] -= corner;
        scale[i] = 2 / dot(v, v, i);
        /* Updates the leading i x i part from both sides: minus v w' + w v'. */
        memset(work, 0, (size_t)i * sizeof *work);
        for (int64_t j = 0; j < i; j++) {
            const double *row = a + j * n;
            work[j] += dot(row, v, j) + row[j] * v[j];
            add_scaled(work, v[j], row, j);
        }
        for (int64_t j = 0; j < i; j++) work[j] *= scale[i];
        add_scaled(work, -0.5 * scale[i] * dot(work, v, i), v, i);
        for (int64_t j = 0; j < i; j++) {
            double *row = a + j * n;
            add_scaled(row, -v[j], work, j + 1);
            add_scaled(row, -work[j], v, j + 1);
        }
    }
    diagonal[0] = a[0];
}

/* Replaces the rows of `a` by those of q, the basis in which the matrix is tridiagonal. */
static void form_basis(double *a, int64_t n, const double *scale)
{
    for (int64_t i = 0; i < n; i++) { /* q of the leading i x i part is complete; adds row i */
        double *v = a + i * n;
        if (scale[i] != 0)
            for (int64_t j = 0; j < i; j++) add_scaled(a + j * n, -scale[i] * dot(a + j * n, v, i), v, i);
        for (int64_t j = 0; j < i; j++) v[j] = a[j * n + i] = 0;
        v[i] = 1;
    }
}

/* Diagonalises the tridiagonal matrix by rotations, and applies them to the rows of q. */
static bool diagonalise(double *diagonal, double *beside, double *q, int64_t n)
{
    enum { MAX_ITERATIONS = 60 }; /* iterations a value; three are usual */
    for (int64_t low = 0; low < n; low++) {
        for (int turn = 0;; turn++) {
            int64_t high = low;
            while (high + 1 < n && fabs(beside[high]) > DBL_EPSILON * (fabs(diagonal[high]) + fabs(diagonal[high + 1])))
                high++;
            if (high == low) break;
            if (turn == MAX_ITERATIONS) return false;
            /* Wilkinson's shift, then the bulge is chased up from `high`. */
            double g = (diagonal[low + 1] - diagonal[low]) / (2 * beside[low]);
            g = diagonal[high] - diagonal[low] + beside[low] / (g + copysign(hypot(g, 1), g));
            double sine = 1, cosine = 1, lost = 0;
            int64_t i = high - 1;
            for (; i >= low; i--) {
                double f = sine * beside[i], b = cosine * beside[i], r = hypot(f, g);
                beside[i + 1] = r;
                if (r == 0) { /* the matrix splits here: iterate on the parts */
                    diagonal[i + 1] -= lost;
                    beside[high] = 0;
                    break;
                }
                sine = f / r;
                cosine = g / r;
                g = diagonal[i + 1] - lost;
                r = (diagonal[i] - g) * sine + 2 * cosine * b;
                lost = sine * r;
                diagonal[i + 1] = g + lost;
                g = cosine * r - b;
                double *x = q + i * n, *y = x + n;
                for (int64_t k = 0; k < n; k++) {
                    double t = y[k];
                    y[k] = sine * x[k] + cosine * t;
                    x[k] = cosine * x[k] - sine * t;
                }
            }
            if (i >= low) continue;
            diagonal[low] -= lost;
            beside[low] = g;
            beside[high] = 0;
        }
    }
    return true;
}

/* Sorts by descending value, with few swaps of rows. */
static void sort_values(double *value, double *rows, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t best = i;
        for (int64_t j = i + 1; j < n; j++)
            if (value[j] > value[best]) best = j;
        if (best == i) continue;
        double swapped = value[i];
        value[i] = value[best];
        value[best] = swapped;
        for (int64_t k = 0; k < n; k++) {
            swapped = rows[i * n + k];
            rows[i * n + k] = rows[best * n + k];
            rows[best * n + k] = swapped;
        }
    }
}

static void fix_sign(double *row, int64_t n)
{
    int64_t largest = 0;
    for (int64_t i = 1; i < n; i++)
        if (fabs(row[i]) > fabs(row[largest])) largest = i;
    if (row[largest] >= 0) return;
    for (int64_t i = 0; i < n; i++) row[i] = -row[i];
}

enum dg_status dg_eigen_symmetric(double *a, int64_t n, double *value, struct dg_error *err)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++)
            if (!isfinite(a[i * n + j]))
                return dg_fail(err, DG_ERR_NUMERIC, "a matrix with numbers that are not finite has no eigenvectors");
    double *work = calloc(3 * (size_t)n, sizeof *work);
    if (!work) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    double *beside = work, *scale = work + n;
    reduce(a, n, value, beside, scale, work + 2 * n);
    form_basis(a, n, scale);
    bool ended = diagonalise(value, beside, a, n);
    free(work);
    if (!ended) return dg_fail(err, DG_ERR_NUMERIC, "the eigenvalues do not converge");
    sort_values(value, a, n);
    for (int64_t i = 0; i < n; i++) fix_sign(a + i * n, n);
    return DG_OK;
}

/* ---- components ---- */

enum { BLOCK = 64 }; /* rows whose differences from the mean stay in the cache */

/* Each row of the square is computed by one thread in the order of the data. */
enum dg_status dg_mean_products(const float *rows, int64_t count, int64_t dim, const double *mean, int threads,
                                double *square, struct dg_error *err)
{
    double *block = malloc(BLOCK * (size_t)dim * sizeof *block);
    if (!block) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    memset(square, 0, (size_t)(dim * dim) * sizeof *square);
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t n = dg_min_i64(BLOCK, count - first);
        for (int64_t r = 0; r < n; r++)
            for (int64_t i = 0; i < dim; i++)
                block[r * dim + i] = (double)rows[(first + r) * dim + i] - (mean ? mean[i] : 0);
#pragma omp parallel for schedule(dynamic, 8) num_threads(threads)
        for (int64_t i = 0; i < dim; i++)
            for (int64_t r = 0; r < n; r++) add_scaled(square + i * dim, block[r * dim + i], block + r * dim, i + 1);
    }
    for (int64_t i = 0; i < dim * dim; i++) square[i] /= (double)count;
    free(block);
    return DG_OK;
}

enum dg_status dg_pca_fit(const float *rows, int64_t count, int64_t dim, int components, int threads,
                          struct dg_pca *pca, struct dg_error *err)
{
    if (count < 1 || dim < 1 || components < 1 || components > dim)
        return dg_fail(err, DG_ERR_USAGE, "%d principal components of %lld rows of %lld numbers", components,
                       (long long)count, (long long)dim);
    *pca = (struct dg_pca){.dim = dim, .components = components};
    double *square = malloc((size_t)(dim * dim) * sizeof *square), *value = malloc((size_t)dim * sizeof *value);
    pca->mean = calloc((size_t)dim, sizeof *pca->mean);
    pca->direction = malloc((size_t)(components * dim) * sizeof *pca->direction);
    pca->variance = malloc((size_t)components * sizeof *pca->variance);
    enum dg_status status = DG_OK;
    if (!square || !value || !pca->mean || !pca->direction || !pca->variance)
        status =
            dg_fail(err, DG_ERR_MEMORY, "no memory for a covariance of %lld x %lld", (long long)dim, (long long)dim);
    if (status == DG_OK) {
        for (int64_t r = 0; r < count; r++)
            for (int64_t i = 0; i < dim; i++) pca->mean[i] += rows[r * dim + i];
        for (int64_t i = 0; i < dim; i++) pca->mean[i] /= (double)count;
        status = dg_mean_products(rows, count, dim, pca->mean, threads, square, err);
    }
    if (status == DG_OK) {
        for (int64_t i = 0; i < dim; i++) pca->total += square[i * dim + i];
        status = dg_eigen_symmetric(square, dim, value, err);
        if (status != DG_OK) dg_error_prefix(err, "principal components");
    }
    for (int c = 0; c < components && status == DG_OK; c++) {
        pca->variance[c] = fmax(value[c], 0); /* rounding may make it negative */
        memcpy(pca->direction + c * dim, square + c * dim, (size_t)dim * sizeof *square);
    }
    free(square);
    free(value);
    if (status != DG_OK) dg_pca_free(pca);
    return status;
}

void dg_pca_free(struct dg_pca *pca)
{
    free(pca->mean);
    free(pca->direction);
    free(pca->variance);
    *pca = (struct dg_pca){0};
}

void dg_pca_project(const struct dg_pca *pca, const float *row, double *out)
{
    for (int c = 0; c < pca->components; c++) {
        const double *direction = pca->direction + c * pca->dim;
        out[c] = 0;
        for (int64_t i = 0; i < pca->dim; i++) out[c] += direction[i] * (row[i] - pca->mean[i]);
    }
}

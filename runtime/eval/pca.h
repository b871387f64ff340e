/* Principal components, in f64. Results do not depend on the number of threads. */
#ifndef DG_RUNTIME_EVAL_PCA_H
#define DG_RUNTIME_EVAL_PCA_H

#include "ops/base/base.h"

/* All eigenvalues and eigenvectors of the symmetric matrix `a` [n, n], of which the lower triangle is read:
 * Householder's tridiagonal form, then the implicit QL iteration (Golub and Van Loan, Matrix Computations, 8.3). value
 * [n] descends; row i of `a` becomes the unit eigenvector of value[i], its component of largest size positive (of equal
 * ones the first). DG_ERR_NUMERIC when a number is not finite, or the iteration does not end. */
enum dg_status dg_eigen_symmetric(double *a, int64_t n, double *value, struct dg_error *err);

/* Sets the lower triangle of square [dim, dim] to the mean products of the rows' [count, dim] differences from `mean`
 * [dim]; NULL: from zero. DG_ERR_MEMORY. */
enum dg_status dg_mean_products(const float *rows, int64_t count, int64_t dim, const double *mean, int threads,
                                double *square, struct dg_error *err);

/* Zero-initialise; free with dg_pca_free. */
struct dg_pca {
    int64_t dim;
    int components;
    double *mean;      /* [dim] */
    double *direction; /* [components, dim], orthonormal, the largest variance first; signs as above */
    double *variance;  /* [components], of the rows along the directions: sums of squares over the number of rows */
    double total;      /* variance along all dim directions */
};

/* Fits `components` <= dim to rows [rows, dim]. Beyond the rank of the data variances are 0 and directions any that are
 * orthogonal to the others. DG_ERR_USAGE, DG_ERR_NUMERIC (not finite), DG_ERR_MEMORY (8 dim^2 bytes and little
 * more). */
enum dg_status dg_pca_fit(const float *rows, int64_t count, int64_t dim, int components, int threads,
                          struct dg_pca *pca, struct dg_error *err);
void dg_pca_free(struct dg_pca *pca);

/* The coordinates of a row [dim] along the directions: out [components]. */
void dg_pca_project(const struct dg_pca *pca, const float *row, double *out);

#endif

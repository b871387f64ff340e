#include "ops/kernels/dino_tile.h"

#include "ops/kernels/vmath.h"

#include <math.h>

static void target_sums(int64_t rows, int64_t cols, float *t, const float *center, float temp, float *mean,
                        double *sums)
{
    for (int64_t k = 0; k < cols; k++) mean[k] = 0;
    for (int64_t r = 0; r < rows; r++) {
        float *x = t + r * cols, part = 0, weighted = 0;
        double *sum = sums + 3 * r;
#pragma omp simd
        for (int64_t k = 0; k < cols; k++) {
            mean[k] += x[k];
            x[k] = (x[k] - center[k]) / temp;
        }
        float most = dg_largest(cols, x);
        if (most > sum[0]) {
            double scale = sum[1] != 0 ? exp(sum[0] - most) : 0;
            sum[2] = sum[1] != 0 ? scale * (sum[2] + (sum[0] - most) * sum[1]) : 0;
            sum[1] *= scale;
            sum[0] = most;
        }
        float from = (float)sum[0];
#pragma omp simd reduction(+ : part, weighted)
        for (int64_t k = 0; k < cols; k++) {
            float z = x[k] - from, e = dg_expf(z);
            part += e;
            weighted += e * z;
        }
        sum[1] += part;
        sum[2] += weighted;
    }
    for (int64_t k = 0; k < cols; k++) mean[k] /= (float)rows;
}

static void target_probs(int64_t rows, int64_t cols, float *t, const float *center, float temp, const float *stats)
{
    for (int64_t r = 0; r < rows; r++) {
        float *x = t + r * cols, most = stats[2 * r], scale = stats[2 * r + 1];
#pragma omp simd
        for (int64_t k = 0; k < cols; k++) x[k] = dg_expf((x[k] - center[k]) / temp - most) * scale;
    }
}

static void loss_sums(const struct dg_dino_tile *tile, const float *s, double *sums)
{
    int64_t cols = tile->cols, batch = tile->batch;
    float sharp = 1.0f / tile->temp;
    for (int64_t r = 0; r < tile->rows; r++) {
        const float *x = s + r * cols, *q0 = tile->q + r % batch * cols, *q1 = q0 + batch * cols;
        float part = 0, dot0 = 0, dot1 = 0, most = dg_largest(cols, x) * sharp;
        double *sum = sums + 4 * r;
        if (most > sum[0]) {
            if (sum[1] != 0) sum[1] *= exp(sum[0] - most);
            sum[0] = most;
        }
        float from = (float)sum[0];
#pragma omp simd reduction(+ : part, dot0, dot1)
        for (int64_t k = 0; k < cols; k++) {
            float z = x[k] * sharp;
            part += dg_expf(z - from);
            dot0 += q0[k] * z;
            dot1 += q1[k] * z;
        }
        sum[1] += part;
        sum[2] += dot0;
        sum[3] += dot1;
    }
}

static void loss_backward(const struct dg_dino_tile *tile, const float *lse, float scale, float *s)
{
    int64_t cols = tile->cols, batch = tile->batch;
    float sharp = 1.0f / tile->temp;
    for (int64_t r = 0; r < tile->rows; r++) {
        float *x = s + r * cols, log_sum = lse[r];
        int64_t view = tile->view0 + r / batch;
        const float *q0 = tile->q + r % batch * cols, *q1 = q0 + batch * cols;
        float use0 = view == 0 ? 0 : scale, use1 = view == 1 ? 0 : scale, both = use0 + use1;
#pragma omp simd
        for (int64_t k = 0; k < cols; k++) x[k] = both * dg_expf(x[k] * sharp - log_sum) - use0 * q0[k] - use1 * q1[k];
    }
}

DG_KERNELS(dino_tile) = {
    .target_sums = target_sums, .target_probs = target_probs, .loss_sums = loss_sums, .loss_backward = loss_backward};

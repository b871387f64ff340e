/* A tile [rows, cols] of logits in the DINO loss, for one thread: sums over all prototypes are carried from tile to tile. */
#include "ops/kernels/kernels.h"
#include "ops/kernels/vmath.h"

#include <math.h>

/* Teacher logits t: their mean over rows, mean [cols], and then of z = (t - center) / temp, which t becomes, per row in
 * sums [rows, 3]: the maximum so far, sum e^(z - max) and sum z e^(z - max), z from the maximum too. */
void DG_K(target_tile)(int64_t rows, int64_t cols, float *t, const float *center, float temp, float *mean, double *sums)
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

/* Teacher logits become probabilities, from stats [rows, 2]: the maximum of (t - center) / temp and one over the sum. */
void DG_K(target_tile_again)(int64_t rows, int64_t cols, float *t, const float *center, float temp, const float *stats)
{
    for (int64_t r = 0; r < rows; r++) {
        float *x = t + r * cols, most = stats[2 * r], scale = stats[2 * r + 1];
#pragma omp simd
        for (int64_t k = 0; k < cols; k++) x[k] = dg_expf((x[k] - center[k]) / temp - most) * scale;
    }
}

/* Student logits s against q [2 batch, cols], row r with rows r % batch of both views; sums [rows, 4]: the maximum of s/temp
 * so far, sum e^(s/temp - max), and sum q s/temp of both. */
void DG_K(loss_tile)(int64_t rows, int64_t cols, int64_t batch, const float *s, const float *q, float temp,
                     double *sums)
{
    float sharp = 1.0f / temp;
    for (int64_t r = 0; r < rows; r++) {
        const float *x = s + r * cols, *q0 = q + r % batch * cols, *q1 = q0 + batch * cols;
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

/* s = scale * sum over teacher views i != view of (softmax(s/temp) - q_i). */
void DG_K(loss_tile_backward)(int64_t rows, int64_t cols, int64_t batch, int64_t view0, const float *q, float temp,
                              const float *lse, float scale, float *s)
{
    float sharp = 1.0f / temp;
    for (int64_t r = 0; r < rows; r++) {
        float *x = s + r * cols, log_sum = lse[r];
        int64_t view = view0 + r / batch;
        const float *q0 = q + r % batch * cols, *q1 = q0 + batch * cols;
        float use0 = view == 0 ? 0 : scale, use1 = view == 1 ? 0 : scale, both = use0 + use1;
#pragma omp simd
        for (int64_t k = 0; k < cols; k++) x[k] = both * dg_expf(x[k] * sharp - log_sum) - use0 * q0[k] - use1 * q1[k];
    }
}

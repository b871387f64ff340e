#include "ops/kernels/dino.h"

#include "ops/kernels/vmath.h"

#include <math.h>

static void dino_target(int64_t rows, int64_t cols, const float *t, const float *center, float temp, float *q,
                        double *entropy)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *x = t + r * cols;
        float *y = q + r * cols;
#pragma omp simd
        for (int64_t k = 0; k < cols; k++) y[k] = (x[k] - center[k]) / temp;
        float most = dg_largest(cols, y);
        double sum = 0, weighted = 0;
        for (int64_t first = 0; first < cols; first += 1024) { /* f32 within a block, f64 across */
            int64_t end = first + 1024 < cols ? first + 1024 : cols;
            float part = 0, part_weighted = 0;
#pragma omp simd reduction(+ : part, part_weighted)
            for (int64_t k = first; k < end; k++) {
                float z = y[k] - most, e = dg_expf(z);
                part += e;
                part_weighted += e * z;
                y[k] = e;
            }
            sum += part;
            weighted += part_weighted;
        }
        float scale = (float)(1.0 / sum);
#pragma omp simd
        for (int64_t k = 0; k < cols; k++) y[k] *= scale;
        entropy[r] = log(sum) - weighted / sum;
    }
}

static void row_mean(int64_t rows, int64_t cols, const float *t, float *mean)
{
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < cols; first += 1024) {
        int64_t end = first + 1024 < cols ? first + 1024 : cols;
        for (int64_t k = first; k < end; k++) mean[k] = 0;
        for (int64_t r = 0; r < rows; r++) {
            const float *x = t + r * cols;
#pragma omp simd
            for (int64_t k = first; k < end; k++) mean[k] += x[k];
        }
        for (int64_t k = first; k < end; k++) mean[k] /= (float)rows;
    }
}

static void dino_loss(const struct dg_dino_pairs *p, float *lse, double *term)
{
    int64_t cols = p->cols, batch = p->batch;
    const float *q = p->q;
    float sharp = 1.0f / p->temp;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < p->rows; r++) {
        const float *x = p->s + r * cols;
        int64_t view = p->view0 + r / batch, image = r % batch;
        float most = dg_largest(cols, x);
        double sum = 0, dot[2] = {0, 0};
        const float *target[2] = {q + image * cols, q + (batch + image) * cols};
        for (int64_t first = 0; first < cols; first += 1024) {
            int64_t end = first + 1024 < cols ? first + 1024 : cols;
            float part = 0, part0 = 0, part1 = 0;
#pragma omp simd reduction(+ : part, part0, part1)
            for (int64_t k = first; k < end; k++) {
                float z = (x[k] - most) * sharp;
                part += dg_expf(z);
                part0 += target[0][k] * z;
                part1 += target[1][k] * z;
            }
            sum += part;
            dot[0] += part0;
            dot[1] += part1;
        }
        double log_sum = log(sum), total = 0;
        for (int i = 0; i < 2; i++)
            if (i != view) total += log_sum - dot[i]; /* rows of q sum to one */
        if (lse) lse[r] = (float)(log_sum + (double)most * sharp);
        term[r] = total;
    }
}

static void dino_loss_backward(const struct dg_dino_pairs *p, const float *lse, float scale, float *diff_s)
{
    int64_t cols = p->cols, batch = p->batch;
    const float *q = p->q;
    float sharp = 1.0f / p->temp;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < p->rows; r++) {
        const float *x = p->s + r * cols;
        float *dx = diff_s + r * cols, log_sum = lse[r];
        int64_t view = p->view0 + r / batch, image = r % batch;
        const float *q0 = q + image * cols, *q1 = q + (batch + image) * cols;
        float use0 = view == 0 ? 0 : scale, use1 = view == 1 ? 0 : scale, both = use0 + use1;
#pragma omp simd
        for (int64_t k = 0; k < cols; k++) dx[k] = both * dg_expf(x[k] * sharp - log_sum) - use0 * q0[k] - use1 * q1[k];
    }
}

DG_KERNELS(dino) = {
    .target = dino_target, .row_mean = row_mean, .loss = dino_loss, .loss_backward = dino_loss_backward};

#include "ops/kernels/optimizer.h"

#include <math.h>

enum {
    CHUNK = 4096,
    SHARED = 16384 /* fewer numbers take less time than a team of many threads takes to begin and end */
};

static double sum_squares(int64_t count, const float *x)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

static void adamw(const struct dg_adamw_args *args)
{
    const struct dg_adamw_args a = *args; /* a copy in each thread, so that no store can change it */
#pragma omp parallel for simd schedule(static) firstprivate(a) if (a.count >= SHARED)
    for (int64_t i = 0; i < a.count; i++) {
        float g = a.grad[i] * a.grad_scale;
        float m = a.exp_avg[i] * a.beta1 + a.one_minus_beta1 * g;
        float v = a.exp_avg_sq[i] * a.beta2 + a.one_minus_beta2 * g * g;
        float p = a.param[i] * a.decay - a.step_size * m / (sqrtf(v) / a.correction + a.eps);
        a.exp_avg[i] = m;
        a.exp_avg_sq[i] = v;
        a.param[i] = p;
        if (a.teacher) a.teacher[i] = a.teacher[i] * a.momentum + a.one_minus_momentum * p;
    }
}

static void sgd(const struct dg_sgd_args *args)
{
    const struct dg_sgd_args a = *args;
#pragma omp parallel for simd schedule(static) firstprivate(a) if (a.count >= SHARED)
    for (int64_t i = 0; i < a.count; i++) {
        float d = (a.grad[i] * a.grad_scale + a.decay * a.param[i]) * a.scale;
        float m = a.buffer[i] * a.sgd_momentum + d;
        float p = a.param[i] - a.lr * m;
        a.buffer[i] = m;
        a.param[i] = p;
        if (a.teacher) a.teacher[i] = a.teacher[i] * a.momentum + a.one_minus_momentum * p;
    }
}

static struct dg_lars_norms lars_norms(int64_t count, const float *param, const float *grad, float grad_scale,
                                       float decay, double *partial)
{
    int64_t chunks = (count + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(static) if (count >= SHARED)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int64_t end = (chunk + 1) * CHUNK < count ? (chunk + 1) * CHUNK : count;
        double p = 0, d = 0;
#pragma omp simd reduction(+ : p, d)
        for (int64_t i = chunk * CHUNK; i < end; i++) {
            float direction = grad[i] * grad_scale + decay * param[i];
            p += (double)param[i] * (double)param[i];
            d += (double)direction * (double)direction;
        }
        partial[2 * chunk] = p;
        partial[2 * chunk + 1] = d;
    }
    struct dg_lars_norms norms = {0};
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        norms.param_square += partial[2 * chunk];
        norms.direction_square += partial[2 * chunk + 1];
    }
    return norms;
}

static void ema(int64_t count, const float *param, float *teacher, float momentum, float one_minus_momentum)
{
#pragma omp parallel for simd schedule(static) if (count >= SHARED)
    for (int64_t i = 0; i < count; i++) teacher[i] = teacher[i] * momentum + one_minus_momentum * param[i];
}

DG_KERNELS(optimizer) = {.sum_squares = sum_squares, .adamw = adamw, .sgd = sgd, .lars_norms = lars_norms, .ema = ema};

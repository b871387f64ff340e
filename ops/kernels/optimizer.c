#include "ops/kernels/kernels.h"

#include <math.h>

enum { CHUNK = 4096 };

/* *square = sum of x[i]^2 in f64, by one thread. */
void DG_K(sum_squares)(int64_t count, const float *x, double *square)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    *square = sum;
}

/* AdamW in PyTorch's order of f32 operations, and the teacher's average of the result, in one sweep. All arrays
 * [count]; teacher may be NULL. grad_scale is the clip factor; decay 1 - lr wd; step_size lr / (1 - beta1^t);
 * correction sqrt(1 - beta2^t). */
void DG_K(adamw)(int64_t count, float *param, const float *grad, float *exp_avg, float *exp_avg_sq, float *teacher,
                 float grad_scale, float decay, float beta1, float one_minus_beta1, float beta2, float one_minus_beta2,
                 float step_size, float correction, float eps, float momentum, float one_minus_momentum)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float g = grad[i] * grad_scale;
        float m = exp_avg[i] * beta1 + one_minus_beta1 * g;
        float v = exp_avg_sq[i] * beta2 + one_minus_beta2 * g * g;
        float p = param[i] * decay - step_size * m / (sqrtf(v) / correction + eps);
        exp_avg[i] = m;
        exp_avg_sq[i] = v;
        param[i] = p;
        if (teacher) teacher[i] = teacher[i] * momentum + one_minus_momentum * p;
    }
}

/* teacher = teacher * momentum + (1 - momentum) * param. */
void DG_K(average)(int64_t count, const float *param, float *teacher, float momentum, float one_minus_momentum)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) teacher[i] = teacher[i] * momentum + one_minus_momentum * param[i];
}

/* SGD with momentum in PyTorch's order of f32 operations, and LARS, which is the same step on a scaled direction:
 * buffer = momentum buffer + scale (grad_scale grad + decay param), param -= lr buffer, then the teacher's average. All
 * arrays [count]; teacher may be NULL. grad_scale is the clip factor, scale is LARS's trust ratio (1: SGD). */
void DG_K(sgd)(int64_t count, float *param, const float *grad, float *buffer, float *teacher, float grad_scale,
               float decay, float scale, float sgd_momentum, float lr, float momentum, float one_minus_momentum)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float d = (grad[i] * grad_scale + decay * param[i]) * scale;
        float m = buffer[i] * sgd_momentum + d;
        float p = param[i] - lr * m;
        buffer[i] = m;
        param[i] = p;
        if (teacher) teacher[i] = teacher[i] * momentum + one_minus_momentum * p;
    }
}

/* *param_square = sum of param^2, *direction_square = sum of (grad_scale grad + decay param)^2: LARS's two norms, in f64
 * over chunks whose bounds do not depend on threads. partial [2 (count / 4096 + 1)]. */
void DG_K(lars_norms)(int64_t count, const float *param, const float *grad, float grad_scale, float decay,
                      double *partial, double *param_square, double *direction_square)
{
    int64_t chunks = (count + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(static)
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
    double p = 0, d = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        p += partial[2 * chunk];
        d += partial[2 * chunk + 1];
    }
    *param_square = p;
    *direction_square = d;
}

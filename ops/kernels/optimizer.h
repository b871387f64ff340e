/* Optimizer steps of one parameter tensor, in PyTorch's order of f32 operations, each with the teacher's average in one sweep.
 * Arrays are [count]. */
#ifndef DG_OPS_KERNELS_OPTIMIZER_H
#define DG_OPS_KERNELS_OPTIMIZER_H

#include "ops/kernels/family.h"

struct dg_adamw_args {
    int64_t count;
    float *param, *exp_avg, *exp_avg_sq; /* updated */
    const float *grad;
    float *teacher;          /* updated, or NULL: there is none */
    float grad_scale, decay; /* the factor of clipping; 1 - lr * weight_decay */
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float step_size, correction, eps;   /* lr / (1 - beta1^t); sqrt(1 - beta2^t) */
    float momentum, one_minus_momentum; /* the teacher's */
};

struct dg_sgd_args {
    int64_t count;
    float *param, *buffer; /* updated */
    const float *grad;
    float *teacher;                 /* updated, or NULL: there is none */
    float grad_scale, decay, scale; /* the factor of clipping; weight decay; LARS's trust ratio, 1 for SGD */
    float sgd_momentum, lr;
    float momentum, one_minus_momentum; /* the teacher's */
};

struct dg_lars_norms {
    double param_square, direction_square; /* the sums of param^2 and of (grad_scale * grad + decay * param)^2 */
};

struct dg_optimizer_kernels {
    /* The sum of x[i]^2 in f64, by the calling thread alone. */
    double (*sum_squares)(int64_t count, const float *x);

    /* AdamW, then teacher = momentum teacher + (1 - momentum) param. */
    void (*adamw)(const struct dg_adamw_args *args);

    /* SGD with momentum, and LARS, which is the same step along a scaled direction: buffer = sgd_momentum buffer +
     * scale (grad_scale grad + decay param); param -= lr buffer; then the teacher as above. */
    void (*sgd)(const struct dg_sgd_args *args);

    /* The two norms of LARS, squared, in f64 over chunks whose bounds do not depend on the number of threads. `partial` is
     * scratch [2 * (count / 4096 + 1)]. */
    struct dg_lars_norms (*lars_norms)(int64_t count, const float *param, const float *grad, float grad_scale,
                                       float decay, double *partial);

    /* teacher = momentum teacher + one_minus_momentum param. */
    void (*ema)(int64_t count, const float *param, float *teacher, float momentum, float one_minus_momentum);
};
DG_KERNEL_FAMILY(optimizer);

#endif

/* Products of a tensor and one that is broadcast to it. */
#ifndef DG_OPS_KERNELS_MUL_H
#define DG_OPS_KERNELS_MUL_H

#include "ops/kernels/family.h"

/* How b goes with a: number (i, j, k, l) of a [size[0], size[1], size[2], size[3]] meets number i * step[0] + j * step[1] +
 * k * step[2] + l * step[3] of b. Steps are 0 where b is broadcast; step[3] is 0 or 1. */
struct dg_broadcast {
    int64_t size[4], step[4];
};

struct dg_mul_args {
    struct dg_broadcast broadcast;
    int64_t count; /* numbers of a that are multiplied: the first ones */
    bool a_bf16, b_bf16, dst_bf16;
    const void *a, *b;
    void *dst; /* [count]; may be a if that has dst's type */
};

struct dg_mul_sums_args {
    struct dg_broadcast broadcast;
    int64_t count; /* numbers of a and c that count: the first ones */
    bool a_bf16, c_bf16;
    const void *a, *c;
    int64_t sums_count;
    const float *acc; /* [sums_count]; NULL: zeros. May be sums */
    float *sums;      /* [sums_count] */
    float *partial;   /* [threads, sums_count] */
    int threads;
};

struct dg_mul_kernels {
    /* dst = a * b. */
    void (*mul)(const struct dg_mul_args *args);

    /* sums = acc + the sums of a * c over all numbers of a that meet the same number of b: the gradient of b. */
    void (*sums)(const struct dg_mul_sums_args *args);
};
DG_KERNEL_FAMILY(mul);

#endif

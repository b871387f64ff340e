/* A run of a kernel on random operands, and its comparison with the same run at another CPU level. */
#ifndef DG_TESTS_KERNEL_TRIAL_H
#define DG_TESTS_KERNEL_TRIAL_H

#include "ops/base/rng.h"
#include "ops/base/tensor.h"
#include "ops/kernels/level.h"

/* How far two levels may differ: units of rounding to f32 (2^-24) and to bf16 (2^-8), of numbers as large as `magnitude`. A buffer
 * of bf16 may be one unit in the last place further off. */
struct trial_bound {
    bool bits; /* not at all */
    double f32, bf16, magnitude;
    enum { ABSOLUTE, OF_EACH, OF_LARGEST } scale; /* magnitude 1 is: 1, the number itself, the largest of the buffer */
};
extern const struct trial_bound trial_same_bits;

/* Units of rounding to f32 between two sums of n terms. */
double trial_sum_of(int64_t n);

enum { TRIAL_MAX_BUFFERS = 24 };

struct trial_buffer {
    void *data;
    int64_t bytes;
    struct dg_desc desc;
    bool compared;
    struct trial_bound bound;
};

/* What a case draws from and writes to. The same seed gives the same inputs at each level. All buffers are guarded (guarded.h). */
struct trial {
    struct dg_rng rng;
    enum dg_cpu_level level;
    int threads;
    struct trial_buffer buffer[TRIAL_MAX_BUFFERS];
    int count;
};

bool trial_flag(struct trial *t);
/* 1 to `most`; every other time at the edge of a vector or a tile. */
int64_t trial_size(struct trial *t, int64_t most);

/* `count` numbers in (lo, hi), bf16 or f32. */
void *trial_in(struct trial *t, bool bf16, int64_t count, float lo, float hi);
/* The same or, every other time, NULL: an operand that may be absent. */
void *trial_in_or_null(struct trial *t, bool bf16, int64_t count, float lo, float hi);
/* Numbers that the kernel updates, f32. */
void *trial_in_out(struct trial *t, int64_t count, float lo, float hi, struct trial_bound bound);
/* Room for numbers that the kernel writes; trial_out for bf16 or f32. */
void *trial_out_of(struct trial *t, enum dg_dtype type, int64_t count, struct trial_bound bound);
void *trial_out(struct trial *t, bool bf16, int64_t count, struct trial_bound bound);
/* The same or, every other time, NULL: a result that may be left out, f32. */
void *trial_out_or_null(struct trial *t, int64_t count, struct trial_bound bound);
/* Zeros, bf16 or f32, of which the kernel writes some: rows with gaps between them. */
void *trial_out_zeros(struct trial *t, bool bf16, int64_t count, struct trial_bound bound);
void *trial_scratch(struct trial *t, int64_t bytes);

/* Fails where the buffers of two runs of the same seed differ by more than their bounds. */
void trial_compare(const char *kernel, const struct trial *low, const struct trial *high, int seed);
/* Checks what is around the buffers, and frees them. */
void trial_close(struct trial *t, const char *kernel);

#endif

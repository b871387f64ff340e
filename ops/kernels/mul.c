#include "ops/kernels/mul.h"

#include "ops/kernels/put.h"

/* A run of numbers of a, from `first` to before `end`, along its last dimension. */
struct run {
    int64_t first, end;
    int64_t b; /* the number of b that the first of a meets */
};

/* The run that begins at number i of a. */
static DG_INLINE struct run run_at(const struct dg_broadcast *s, int64_t i, int64_t end)
{
    int64_t row = i / s->size[3], column = i % s->size[3], next = (row + 1) * s->size[3];
    int64_t k = row % s->size[2], j = row / s->size[2] % s->size[1], n = row / s->size[2] / s->size[1];
    return (struct run){i, next < end ? next : end,
                        n * s->step[0] + j * s->step[1] + k * s->step[2] + column * s->step[3]};
}

static DG_INLINE void mul_types(struct dg_range part, bool a_bf16, bool b_bf16, bool dst_bf16,
                                const struct dg_mul_args *args)
{
    const void *a = args->a, *b = args->b;
    void *dst = args->dst;
    for (int64_t at = part.first; at < part.end;) {
        struct run run = run_at(&args->broadcast, at, part.end);
        if (args->broadcast.step[3]) {
            const int64_t shift = run.b - run.first;
            DG_PUT_EACH(dst, dst_bf16, i, run.first, run.end, dg_get(a, a_bf16, i) * dg_get(b, b_bf16, i + shift));
        } else {
            const float factor = dg_get(b, b_bf16, run.b);
            DG_PUT_EACH(dst, dst_bf16, i, run.first, run.end, dg_get(a, a_bf16, i) * factor);
        }
        at = run.end;
    }
}

static void mul_mul(const struct dg_mul_args *args)
{
#pragma omp parallel
    {
        struct dg_range part = dg_my_range(args->count);
        switch (args->a_bf16 << 2 | args->b_bf16 << 1 | args->dst_bf16) {
        case 0: mul_types(part, 0, 0, 0, args); break;
        case 1: mul_types(part, 0, 0, 1, args); break;
        case 2: mul_types(part, 0, 1, 0, args); break;
        case 3: mul_types(part, 0, 1, 1, args); break;
        case 4: mul_types(part, 1, 0, 0, args); break;
        case 5: mul_types(part, 1, 0, 1, args); break;
        case 6: mul_types(part, 1, 1, 0, args); break;
        case 7: mul_types(part, 1, 1, 1, args); break;
        }
    }
}

static DG_INLINE void sums_types(struct dg_range part, bool a_bf16, bool c_bf16, const struct dg_mul_sums_args *args,
                                 float *sum)
{
    const void *a = args->a, *c = args->c;
    for (int64_t at = part.first; at < part.end;) {
        struct run run = run_at(&args->broadcast, at, part.end);
        if (args->broadcast.step[3]) {
            float *to = sum + run.b;
#pragma omp simd
            for (int64_t i = 0; i < run.end - run.first; i++)
                to[i] += dg_get(a, a_bf16, run.first + i) * dg_get(c, c_bf16, run.first + i);
        } else {
            float total = 0;
#pragma omp simd reduction(+ : total)
            for (int64_t i = run.first; i < run.end; i++) total += dg_get(a, a_bf16, i) * dg_get(c, c_bf16, i);
            sum[run.b] += total;
        }
        at = run.end;
    }
}

static void mul_sums(const struct dg_mul_sums_args *args)
{
#pragma omp parallel num_threads(args->threads)
    {
        struct dg_range part = dg_my_range(args->count);
        float *sum = args->partial + args->sums_count * omp_get_thread_num();
        for (int64_t i = 0; i < args->sums_count; i++) sum[i] = 0;
        switch (args->a_bf16 << 1 | args->c_bf16) {
        case 0: sums_types(part, 0, 0, args, sum); break;
        case 1: sums_types(part, 0, 1, args, sum); break;
        case 2: sums_types(part, 1, 0, args, sum); break;
        case 3: sums_types(part, 1, 1, args, sum); break;
        }
    }
    dg_add_partial(args->sums_count, args->acc, args->partial, args->sums_count, args->threads, args->sums);
}

DG_KERNELS(mul) = {.mul = mul_mul, .sums = mul_sums};

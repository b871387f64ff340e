#include "ops/kernels/add.h"

#include "ops/kernels/put.h"

static DG_INLINE float sum_of(bool relu, float a, float b) { return relu && !(a + b > 0) ? 0 : a + b; }

static DG_INLINE void add(struct dg_range part, bool a_bf16, const void *a, bool b_bf16, const void *b, bool relu,
                          bool dst_bf16, void *dst)
{
    DG_PUT_EACH(dst, dst_bf16, i, part.first, part.end, sum_of(relu, dg_get(a, a_bf16, i), dg_get(b, b_bf16, i)));
}

static DG_INLINE void add_part(struct dg_range part, bool a_bf16, bool b_bf16, const struct dg_add_args *args)
{
    const void *a = args->a, *b = args->b;
    void *dst = args->dst;
    switch (args->relu << 1 | args->dst_bf16) {
    case 0: add(part, a_bf16, a, b_bf16, b, 0, 0, dst); break;
    case 1: add(part, a_bf16, a, b_bf16, b, 0, 1, dst); break;
    case 2: add(part, a_bf16, a, b_bf16, b, 1, 0, dst); break;
    case 3: add(part, a_bf16, a, b_bf16, b, 1, 1, dst); break;
    }
}

static void add_arrays(const struct dg_add_args *args)
{
#pragma omp parallel
    {
        struct dg_range part = dg_my_range(args->count);
        switch (args->a_bf16 << 1 | args->b_bf16) {
        case 0: add_part(part, 0, 0, args); break;
        case 1: add_part(part, 0, 1, args); break;
        case 2: add_part(part, 1, 0, args); break;
        case 3: add_part(part, 1, 1, args); break;
        }
    }
}

DG_KERNELS(add) = {.add = add_arrays};

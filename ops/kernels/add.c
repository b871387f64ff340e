#include "ops/kernels/add.h"

#include "ops/kernels/put.h"

/* What becomes of a sum. */
enum finish { PLAIN, RELU, THROUGH_F32, THROUGH_BF16 };

static DG_INLINE float finished(enum finish finish, float sum, const void *through, int64_t i)
{
    switch (finish) {
    case RELU: return sum > 0 ? sum : 0;
    case THROUGH_F32: return dg_get(through, 0, i) > 0 ? sum : 0;
    case THROUGH_BF16: return dg_get(through, 1, i) > 0 ? sum : 0;
    case PLAIN: break;
    }
    return sum;
}

static DG_INLINE void add(struct dg_range part, bool a_bf16, bool b_bf16, enum finish finish, bool dst_bf16,
                          const struct dg_add_args *args)
{
    const void *a = args->a, *b = args->b, *through = args->through;
    void *dst = args->dst;
    DG_PUT_EACH(dst, dst_bf16, i, part.first, part.end,
                finished(finish, dg_get(a, a_bf16, i) + dg_get(b, b_bf16, i), through, i));
}

static DG_INLINE void add_types(struct dg_range part, bool a_bf16, bool b_bf16, enum finish finish,
                                const struct dg_add_args *args)
{
    if (args->dst_bf16)
        add(part, a_bf16, b_bf16, finish, 1, args);
    else
        add(part, a_bf16, b_bf16, finish, 0, args);
}

static DG_INLINE void add_part(struct dg_range part, bool a_bf16, bool b_bf16, const struct dg_add_args *args)
{
    if (args->through && args->through_bf16)
        add_types(part, a_bf16, b_bf16, THROUGH_BF16, args);
    else if (args->through)
        add_types(part, a_bf16, b_bf16, THROUGH_F32, args);
    else if (args->relu)
        add_types(part, a_bf16, b_bf16, RELU, args);
    else
        add_types(part, a_bf16, b_bf16, PLAIN, args);
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

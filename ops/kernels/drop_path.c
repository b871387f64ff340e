#include "ops/kernels/drop_path.h"

#include "ops/kernels/put.h"
#include "ops/kernels/vmath.h"

static DG_INLINE float added(const float *residual, int64_t i, float x) { return residual ? residual[i] + x : x; }

static DG_INLINE void image(int64_t size, bool survives, float keep, bool src_bf16, const void *src,
                            const float *residual, bool dst_bf16, void *dst)
{
    const float reciprocal = 1 / keep;
    DG_PUT_EACH(dst, dst_bf16, i, 0, size,
                added(residual, i, survives ? dg_quotient(dg_get(src, src_bf16, i), keep, reciprocal) : 0));
}

static DG_INLINE void all_images(bool src_bf16, bool dst_bf16, const struct dg_drop_path_args *a)
{
    int64_t size = a->size;
    float keep = a->keep;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < a->images; i++) {
        const void *x = a->from[i] < 0 ? NULL : dg_at(a->src, src_bf16, a->from[i] * size);
        void *y = dg_at_out(a->dst, dst_bf16, i * size);
        const float *residual = a->residual ? a->residual + i * size : NULL;
        if (x && residual)
            image(size, 1, keep, src_bf16, x, residual, dst_bf16, y);
        else if (x)
            image(size, 1, keep, src_bf16, x, NULL, dst_bf16, y);
        else if (residual)
            image(size, 0, keep, src_bf16, x, residual, dst_bf16, y);
        else
            image(size, 0, keep, src_bf16, x, NULL, dst_bf16, y);
    }
}

static void drop_path(const struct dg_drop_path_args *a)
{
#pragma omp parallel
    switch (a->src_bf16 << 1 | a->dst_bf16) {
    case 0: all_images(0, 0, a); break;
    case 1: all_images(0, 1, a); break;
    case 2: all_images(1, 0, a); break;
    case 3: all_images(1, 1, a); break;
    }
}

DG_KERNELS(drop_path) = {.drop_path = drop_path};

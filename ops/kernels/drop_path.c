#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

static DG_INLINE void row(int64_t count, int kept, float keep, int src_half, const void *src, const float *residual,
                          int dst_half, void *dst)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float x = kept ? dg_get(src, src_half, i) / keep : 0;
        dg_put(dst, dst_half, i, residual ? residual[i] + x : x);
    }
}

static DG_INLINE void images(int64_t count, const int64_t *from, int64_t size, float keep, int src_half,
                             const void *src, const float *residual, int dst_half, void *dst)
{
#pragma omp for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const void *x = from[i] < 0 ? NULL : dg_at(src, src_half, from[i] * size);
        void *y = dg_at_out(dst, dst_half, i * size);
        const float *more = residual ? residual + i * size : NULL;
        if (x && more)
            row(size, 1, keep, src_half, x, more, dst_half, y);
        else if (x)
            row(size, 1, keep, src_half, x, NULL, dst_half, y);
        else if (more)
            row(size, 0, keep, src_half, x, more, dst_half, y);
        else
            row(size, 0, keep, src_half, x, NULL, dst_half, y);
    }
}

/* dst[i] = residual[i] + src[from[i]] / keep for images of `size` numbers; from[i] -1: without src. No residual: NULL. dst may
 * be residual, or src of its type where from[i] is i or -1. */
void DG_K(drop_path)(int64_t count, const int64_t *from, int64_t size, float keep, int src_half, const void *src,
                     const float *residual, int dst_half, void *dst)
{
#pragma omp parallel
    switch (src_half << 1 | dst_half) {
    case 0: images(count, from, size, keep, 0, src, residual, 0, dst); break;
    case 1: images(count, from, size, keep, 0, src, residual, 1, dst); break;
    case 2: images(count, from, size, keep, 1, src, residual, 0, dst); break;
    case 3: images(count, from, size, keep, 1, src, residual, 1, dst); break;
    }
}

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

static DG_INLINE void rows(int64_t count, const uint8_t *kept, int64_t size, float keep, int src_half, const void *src,
                           const float *residual, int dst_half, void *dst)
{
#pragma omp for schedule(static)
    for (int64_t r = 0; r < count; r++) {
        const void *x = dg_at(src, src_half, r * size);
        void *y = dg_at_out(dst, dst_half, r * size);
        const float *more = residual ? residual + r * size : NULL;
        if (kept[r] && more)
            row(size, 1, keep, src_half, x, more, dst_half, y);
        else if (kept[r])
            row(size, 1, keep, src_half, x, NULL, dst_half, y);
        else if (more)
            row(size, 0, keep, src_half, x, more, dst_half, y);
        else
            row(size, 0, keep, src_half, x, NULL, dst_half, y);
    }
}

/* dst[r] = residual[r] + (kept[r] ? src[r] / keep : 0) for rows of `size` numbers; no residual: NULL. dst may be an input of
 * its type. */
void DG_K(drop_path)(int64_t count, const uint8_t *kept, int64_t size, float keep, int src_half, const void *src,
                     const float *residual, int dst_half, void *dst)
{
#pragma omp parallel
    switch (src_half << 1 | dst_half) {
    case 0: rows(count, kept, size, keep, 0, src, residual, 0, dst); break;
    case 1: rows(count, kept, size, keep, 0, src, residual, 1, dst); break;
    case 2: rows(count, kept, size, keep, 1, src, residual, 0, dst); break;
    case 3: rows(count, kept, size, keep, 1, src, residual, 1, dst); break;
    }
}

#include "ops/kernels/pool.h"

#include "ops/kernels/put.h"

static DG_INLINE void mean(int64_t images, int64_t pixels, int64_t channels, bool bf16, const void *src, float *dst)
{
#pragma omp for schedule(static)
    for (int64_t n = 0; n < images; n++) {
        float *y = dst + n * channels;
        for (int64_t c = 0; c < channels; c++) y[c] = 0;
        for (int64_t p = 0; p < pixels; p++) {
            const void *x = dg_at(src, bf16, (n * pixels + p) * channels);
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) y[c] += dg_get(x, bf16, c);
        }
        float count = (float)pixels;
        for (int64_t c = 0; c < channels; c++) y[c] /= count;
    }
}

static void global_mean(int64_t images, int64_t pixels, int64_t channels, bool bf16, const void *src, float *dst)
{
#pragma omp parallel
    if (bf16)
        mean(images, pixels, channels, 1, src, dst);
    else
        mean(images, pixels, channels, 0, src, dst);
}

static DG_INLINE void backward(int64_t images, int64_t pixels, int64_t channels, const float *diff_dst, bool bf16,
                               void *diff_src)
{
    float share = 1.0f / (float)pixels;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < images * pixels; row++) {
        const float *d = diff_dst + row / pixels * channels;
        void *dx = dg_at_out(diff_src, bf16, row * channels);
        DG_PUT_EACH(dx, bf16, c, 0, channels, d[c] * share);
    }
}

static void global_mean_backward(int64_t images, int64_t pixels, int64_t channels, const float *diff_dst, bool bf16,
                                 void *diff_src)
{
#pragma omp parallel
    if (bf16)
        backward(images, pixels, channels, diff_dst, 1, diff_src);
    else
        backward(images, pixels, channels, diff_dst, 0, diff_src);
}

DG_KERNELS(pool) = {.global_mean = global_mean, .global_mean_backward = global_mean_backward};

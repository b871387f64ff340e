#include "ops/kernels/kernels.h"

/* dst [images, channels] = mean over the pixels of src [images, pixels, channels]. */
void DG_K(global_mean)(int64_t images, int64_t pixels, int64_t channels, const float *src, float *dst)
{
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < images; n++) {
        float *y = dst + n * channels;
        for (int64_t c = 0; c < channels; c++) y[c] = 0;
        for (int64_t p = 0; p < pixels; p++) {
            const float *x = src + (n * pixels + p) * channels;
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) y[c] += x[c];
        }
        float count = (float)pixels;
        for (int64_t c = 0; c < channels; c++) y[c] /= count;
    }
}

/* diff_src [images, pixels, channels] = diff_dst [images, channels] / pixels, at every pixel. */
void DG_K(global_mean_backward)(int64_t images, int64_t pixels, int64_t channels, const float *diff_dst,
                                float *diff_src)
{
    float share = 1.0f / (float)pixels;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < images * pixels; row++) {
        const float *d = diff_dst + row / pixels * channels;
        float *dx = diff_src + row * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) dx[c] = d[c] * share;
    }
}

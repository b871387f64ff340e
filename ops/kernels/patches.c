#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

static DG_INLINE void copy(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t k, int64_t stride,
                           int src_half, const void *src, int dst_half, void *dst)
{
    int64_t grid_h = (height - k) / stride + 1, grid_w = (width - k) / stride + 1, columns = channels * k * k;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < images * grid_h; row++) {
        int64_t band = (row / grid_h * height + row % grid_h * stride) * width * channels;
        for (int64_t gx = 0; gx < grid_w; gx++) {
            int64_t patch = (row * grid_w + gx) * columns;
            for (int64_t ky = 0; ky < k; ky++) {
                int64_t line = band + (ky * width + gx * stride) * channels;
                for (int64_t c = 0; c < channels; c++)
                    for (int64_t kx = 0; kx < k; kx++)
                        dg_put(dst, dst_half, patch + (c * k + ky) * k + kx,
                               dg_get(src, src_half, line + kx * channels + c));
            }
        }
    }
}

/* src [images, height, width, channels] -> dst [images * rows * columns of the grid, channels * k * k]: patches of k x k
 * pixels `stride` pixels apart, as many as fit, row-major over the grid, each laid out (c, ky, kx) like a PyTorch
 * convolution weight. bf16 stays bf16. */
void DG_K(patches)(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t k, int64_t stride,
                   int src_half, const void *src, int dst_half, void *dst)
{
#define COPY(k, src_half, dst_half) copy(images, height, width, channels, k, stride, src_half, src, dst_half, dst)
#pragma omp parallel
    if (src_half && k == 1)
        COPY(1, 1, 1);
    else if (src_half)
        COPY(k, 1, 1);
    else if (dst_half)
        COPY(k, 0, 1);
    else if (k == 1)
        COPY(1, 0, 0);
    else
        COPY(k, 0, 0);
#undef COPY
}

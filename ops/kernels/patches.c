#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

static DG_INLINE void copy(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t k, int src_half,
                           const void *src, int dst_half, void *dst)
{
    int64_t grid_h = height / k, grid_w = width / k, columns = channels * k * k;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < images * grid_h; row++) {
        int64_t band = (row / grid_h * height + row % grid_h * k) * width * channels;
        for (int64_t gx = 0; gx < grid_w; gx++) {
            int64_t patch = (row * grid_w + gx) * columns;
            for (int64_t ky = 0; ky < k; ky++) {
                int64_t line = band + (ky * width + gx * k) * channels;
                for (int64_t c = 0; c < channels; c++)
                    for (int64_t kx = 0; kx < k; kx++)
                        dg_put(dst, dst_half, patch + (c * k + ky) * k + kx,
                               dg_get(src, src_half, line + kx * channels + c));
            }
        }
    }
}

/* src [images, height, width, channels] -> dst [images * (height/k) * (width/k), channels * k * k]: non-overlapping
 * patches, row-major over the grid, each laid out (c, ky, kx) like a PyTorch convolution weight. bf16 stays bf16. */
void DG_K(patches)(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t k, int src_half,
                   const void *src, int dst_half, void *dst)
{
#pragma omp parallel
    if (src_half)
        copy(images, height, width, channels, k, 1, src, 1, dst);
    else if (dst_half)
        copy(images, height, width, channels, k, 0, src, 1, dst);
    else
        copy(images, height, width, channels, k, 0, src, 0, dst);
}

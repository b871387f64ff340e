#include "ops/kernels/kernels.h"

/* src [images, height, width, channels] -> dst [images * (height/k) * (width/k), channels * k * k]: non-overlapping
 * patches, row-major over the grid, each laid out (c, ky, kx) like a PyTorch convolution weight. */
void DG_K(patches)(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t k, const float *src,
                   float *dst)
{
    int64_t grid_h = height / k, grid_w = width / k, columns = channels * k * k;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < images * grid_h; row++) {
        const float *band = src + (row / grid_h * height + row % grid_h * k) * width * channels;
        for (int64_t gx = 0; gx < grid_w; gx++) {
            float *patch = dst + (row * grid_w + gx) * columns;
            for (int64_t ky = 0; ky < k; ky++) {
                const float *line = band + (ky * width + gx * k) * channels;
                for (int64_t c = 0; c < channels; c++)
                    for (int64_t kx = 0; kx < k; kx++) patch[(c * k + ky) * k + kx] = line[kx * channels + c];
            }
        }
    }
}

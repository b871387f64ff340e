#include "ops/kernels/im2col.h"

#include "ops/kernels/bf16.h"
#include "ops/kernels/loops.h"

static DG_INLINE void copy(const struct dg_im2col_args *a, int64_t kernel, bool src_bf16, bool dst_bf16)
{
    int64_t height = a->height, width = a->width, channels = a->channels, stride = a->stride;
    int64_t grid_h = (height - kernel) / stride + 1, grid_w = (width - kernel) / stride + 1,
            columns = channels * kernel * kernel;
    const void *src = a->src;
    void *dst = a->dst;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < a->images * grid_h; row++) {
        int64_t band = (row / grid_h * height + row % grid_h * stride) * width * channels;
        for (int64_t gx = 0; gx < grid_w; gx++) {
            int64_t patch = (row * grid_w + gx) * columns;
            for (int64_t ky = 0; ky < kernel; ky++) {
                int64_t line = band + (ky * width + gx * stride) * channels;
                for (int64_t c = 0; c < channels; c++)
                    for (int64_t kx = 0; kx < kernel; kx++)
                        dg_put(dst, dst_bf16, patch + (c * kernel + ky) * kernel + kx,
                               dg_get(src, src_bf16, line + kx * channels + c));
            }
        }
    }
}

static void im2col(const struct dg_im2col_args *a)
{
#pragma omp parallel
    if (a->src_bf16 && a->kernel == 1)
        copy(a, 1, 1, 1);
    else if (a->src_bf16)
        copy(a, a->kernel, 1, 1);
    else if (a->dst_bf16)
        copy(a, a->kernel, 0, 1);
    else if (a->kernel == 1)
        copy(a, 1, 0, 0);
    else
        copy(a, a->kernel, 0, 0);
}

DG_KERNELS(im2col) = {.im2col = im2col};

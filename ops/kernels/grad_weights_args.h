/* What the kernel of gradients of weights takes (grad_weights.h). */
#ifndef DG_OPS_KERNELS_GRAD_WEIGHTS_ARGS_H
#define DG_OPS_KERNELS_GRAD_WEIGHTS_ARGS_H

#include <stdbool.h>
#include <stdint.h>

/* Windows of a convolution over NHWC images: of kernel x kernel pixels, `dilation` pixels apart; the first begins at -pad. */
struct dg_windows {
    int64_t height, width, channels, out_height, out_width, kernel, stride, pad, dilation;
};

struct dg_grad_weights_args {
    bool bf16; /* products are of bf16: what is f32 is rounded. Else src and diff_dst are f32. Sums are f32 */
    int64_t rows, in, out;
    const struct dg_windows
        *windows; /* NULL: src is a matrix. Else src is images, a row is what a window sees of them, and in
                                         * is channels * kernel^2 */
    bool src_bf16, diff_dst_bf16;       /* src and diff_dst are bf16, else f32 */
    const void *src, *diff_dst;         /* [rows, in] or images [.., height, width, channels]; [rows, out] */
    const float *acc_weight, *acc_bias; /* added; NULL: nothing is added. May be the outputs */
    float *diff_weight;                 /* [out, in], with windows [out, channels, kernel, kernel] */
    float *diff_bias;                   /* [out], the column sums of diff_dst; NULL: it is not wanted */
    void *scratch;                      /* of scratch() bytes */
    int threads;
};

#endif

/* 3x3 convolutions of stride 1 in f32 by Winograd's algorithm F(2x2, 3x3): Lavin and Gray, "Fast Algorithms for Convolutional
 * Neural Networks" (2015), section 4.1. An output of 2 x 2 pixels takes 16 products for each pair of channels instead of 36.
 * With the matrices
 *
 *   B' = 1  0 -1  0    G =  1   0   0    A' = 1  1  1  0
 *        0  1  1  0        1/2 1/2 1/2        0  1 -1 -1
 *        0 -1  1  0        1/2 -1/2 1/2
 *        0  1  0 -1         0   0   1
 *
 * a patch d of 4 x 4 pixels, two from the next one, becomes V = B' d B, and a window g of weights U = G g G'. The 16 elements of the
 * products' sum over the channels, M, are 16 matrix products, and y = A' M A. All constants are exact in f32. A sum of |M| over a
 * pixel of y has at most 64/9 times the magnitude of the window's own products, but C instead of 9 C summands, so that the
 * bound of the rounding error of a direct sum of 9 C products holds here too. */
#ifndef DG_OPS_KERNELS_WINOGRAD_H
#define DG_OPS_KERNELS_WINOGRAD_H

#include "ops/kernels/family.h"

/* Channels of src and dst are multiples of it. */
enum { DG_WINOGRAD_CHANNELS = 32 };

struct dg_winograd_pack_args {
    int64_t channels, out; /* of the convolution's src and dst */
    const float *weight;   /* at weight[c * channel_step + o * out_step] lies a window of 3 x 3 */
    int64_t channel_step, out_step;
    bool turned;   /* by 180 degrees, as the gradient of src has the windows */
    float *packed; /* [16 * channels * out] */
};

struct dg_winograd_args {
    int64_t images, height, width, channels, out;
    int64_t pad;         /* zeros around an image; dst has height + 2 pad - 2 by width + 2 pad - 2 pixels */
    const float *src;    /* [images, height, width, channels] */
    const float *packed; /* by pack() */
    const float *bias;   /* [out], or NULL */
    bool add, relu;      /* add to what dst holds; then no result is below 0 */
    float *dst;          /* [images, out_height, out_width, out] */
    void *scratch;       /* scratch() bytes */
    int threads;
};

struct dg_winograd_grad_args {
    int64_t images, height, width, channels, out, pad; /* of the convolution */
    const float *src;                                  /* [images, height, width, channels] */
    const float *diff_dst;                             /* [images, out_height, out_width, out] */
    const float *acc;                                  /* [out, channels, 3, 3], NULL or diff_weight */
    float *diff_weight;                                /* [out, channels, 3, 3] */
    void *scratch;                                     /* grad_scratch() bytes */
};

struct dg_winograd_kernels {
    /* The weights of a convolution, transformed. */
    void (*pack)(const struct dg_winograd_pack_args *args);
    /* How many bytes convolve() needs for so many channels of src. */
    int64_t (*scratch)(int64_t channels, int threads);
    /* dst = conv(src, weight) [+ bias] [+ dst], and the ReLU of it. A result does not depend on the number of threads or images. */
    void (*convolve)(const struct dg_winograd_args *args);
    /* How many bytes grad_weights() needs. */
    int64_t (*grad_scratch)(int64_t channels, int64_t out);
    /* diff_weight = the gradient of the weights [+ acc]: G' (the sum over patches of V times A diff_dst A') G. The result does not
     * depend on the number of threads. */
    void (*grad_weights)(const struct dg_winograd_grad_args *args);
};
DG_KERNEL_FAMILY(winograd);

#endif

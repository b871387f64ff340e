/* Attention of one token (the class token) to all, without keys and values: products between one vector a head and the tokens
 * of an image. */
#ifndef DG_OPS_KERNELS_CLASS_ATTENTION_H
#define DG_OPS_KERNELS_CLASS_ATTENTION_H

#include "ops/kernels/family.h"

/* Tokens are [images, tokens, cols], vectors [images, heads, cols], scores [images, heads, tokens]. */
struct dg_class_attention_shape {
    int64_t images, heads, tokens, cols;
};

struct dg_class_attention_grad_args {
    struct dg_class_attention_shape shape;
    const float *diff_scores, *vectors; /* the gradient of scores(), and its vectors */
    const float *weights, *diff_sums;   /* the weights of sums(), and its gradient */
    int64_t query;                      /* the token that attends */
    const float *diff_query;            /* [images, cols], added to that token's gradient */
    float *scratch;                     /* [threads, cols] */
    int threads;
    bool diff_src_bf16; /* diff_src is bf16, else f32 */
    void *diff_src;     /* tokens */
};

struct dg_class_attention_kernels {
    /* scores[i, h, t] = <vectors[i, h], src[i, t]>; src are tokens, bf16 or f32. */
    void (*scores)(const struct dg_class_attention_shape *shape, const float *vectors, bool src_bf16, const void *src,
                   float *scores);

    /* vectors[i, h] = the sum over t of weights[i, h, t] src[i, t]; weights are shaped as scores, src are tokens. */
    void (*sums)(const struct dg_class_attention_shape *shape, const float *weights, bool src_bf16, const void *src,
                 float *vectors);

    /* The gradient of both by src: diff_src[i, t] = the sum over h of diff_scores[i, h, t] vectors[i, h] +
     * weights[i, h, t] diff_sums[i, h], and diff_query[i] more where t is `query`. */
    void (*backward)(const struct dg_class_attention_grad_args *args);
};
DG_KERNEL_FAMILY(class_attention);

#endif

/* Attention of one image and head, by one thread in its own scratch. All arrays are bf16 or f32 alike, but for probabilities and
 * logarithms, which are f32. In bf16, sums and softmax are f32, and what the second product takes is rounded. */
#ifndef DG_OPS_KERNELS_ATTENTION_H
#define DG_OPS_KERNELS_ATTENTION_H

#include "ops/kernels/family.h"

struct dg_attention_scratch {
    int64_t forward, backward; /* bytes */
};

/* One head. Strides count numbers. The *_next say where the head lies that the thread computes next, which is prefetched: the
 * distance from this head's arrays to that one's, 0 if there is none. */
struct dg_attention_head {
    bool bf16;
    int64_t queries, tokens, width; /* in bf16 width, ld and ld_dst are even */
    const void *q, *k, *v;          /* [queries, width], [tokens, width], [tokens, width] */
    int64_t ld, next;         /* the row stride of q, k, v and their gradients, and the distance to the next head's */
    int64_t ld_dst, next_dst; /* those of dst and diff_dst */
    float scale;
};

struct dg_attention_grad_args {
    struct dg_attention_head head;
    const void *dst, *diff_dst; /* [queries, width] */
    const float *lse;           /* [queries], of forward() */
    void *diff_q, *diff_k, *diff_v;
    void *scratch;
};

struct dg_attention_kernels {
    /* The bytes of scratch that forward() and backward() need for a head. */
    struct dg_attention_scratch (*scratch)(int64_t tokens, int64_t width);

    /* dst [queries, width] = softmax(scale q k^T) v. probs [queries, tokens], the softmax, and lse [queries], ln sum
     * exp(scale q k^T), may be NULL. */
    void (*forward)(const struct dg_attention_head *head, void *dst, float *probs, float *lse, void *scratch);

    /* The gradients of q, k and v, shaped as those. Scores are computed again, from lse. */
    void (*backward)(const struct dg_attention_grad_args *args);
};
DG_KERNEL_FAMILY(attention);

#endif

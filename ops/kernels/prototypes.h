/* The products of the prototype layer in bf16, for one thread and a tile of prototypes: operands are rounded to bf16 and packed
 * (pack.h), sums are f32. The features are few enough to stay in cache: `rows` rows of `in` numbers. */
#ifndef DG_OPS_KERNELS_PROTOTYPES_H
#define DG_OPS_KERNELS_PROTOTYPES_H

#include "ops/kernels/family.h"

struct dg_prototype_scratch {
    int64_t features, thread; /* bytes of packed features, and of a thread's scratch */
};

struct dg_prototype_tile {
    int64_t rows, in, prototypes; /* of the features; in the tile */
    const void *features;         /* packed by pack_features() */
    void *scratch;                /* the thread's; logits() leaves the rounded weights there for grads() */
};

struct dg_prototypes_kernels {
    /* The bytes that the kernels below need for tiles of up to `prototypes`. */
    struct dg_prototype_scratch (*scratch)(int64_t rows, int64_t in, int64_t prototypes);

    /* Packs src [rows, in]. */
    void (*pack_features)(int64_t rows, int64_t in, const float *src, void *features);

    /* logits [rows, prototypes] = features w^T with w[p] = g[p] v[p] / length[p] and length[p] = ||v[p]||; g, length
     * [prototypes], v [prototypes, in]. Prefetches the `next` rows that follow these in v. */
    void (*logits)(const struct dg_prototype_tile *tile, const float *g, const float *v, int64_t next, float *length,
                   float *logits);

    /* From diff [rows, prototypes], the gradient of the logits that this scratch's last logits() made: diff_src [rows, in] +=
     * diff w, unless diff_src is NULL, and diff_w [prototypes, in] = diff^T features. */
    void (*grads)(const struct dg_prototype_tile *tile, const float *diff, float *diff_src, float *diff_w);
};
DG_KERNEL_FAMILY(prototypes);

#endif

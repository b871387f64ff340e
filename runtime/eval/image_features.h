/* Features of images of many sizes, in memory. */
#ifndef DG_RUNTIME_EVAL_IMAGE_FEATURES_H
#define DG_RUNTIME_EVAL_IMAGE_FEATURES_H

#include "runtime/eval/pooling.h"
#include "runtime/eval/sizes.h"

struct dg_image_features {         /* zero-initialise; the first members are the caller's */
    enum dg_token_pooling pooling; /* one that does not depend on the size; its dg_pooling_role is that of the sizes */
    void (*progress)(int64_t done, int64_t all); /* may be NULL */
    float *features;                             /* [count, dim]; owned */
    int64_t count, dim;
};

/* Computes them, in the order of the images, which are those of dg_sizes_evaluate, with its errors. DG_ERR_MEMORY
 * also: they do not fit into what is free. */
enum dg_status dg_image_features_compute(struct dg_image_features *features, struct dg_sizes *sizes,
                                         const struct dg_sized_images *images, struct dg_error *err);
void dg_image_features_free(struct dg_image_features *features);

#endif

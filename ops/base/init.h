/* Initial values (the official code's): a pure function of seed, tensor name and element. */
#ifndef DG_OPS_BASE_INIT_H
#define DG_OPS_BASE_INIT_H

#include "ops/base/tensor.h"

enum dg_init_kind {
    DG_INIT_CONSTANT = 1,
    DG_INIT_UNIFORM,
    DG_INIT_NORMAL,
    DG_INIT_TRUNC_NORMAL,
    DG_INIT_KAIMING_NORMAL, /* the compiler makes it DG_INIT_NORMAL, from the weight's shape; no plan has it */
};
struct dg_init {
    enum dg_init_kind kind;
    double value; /* constant | bound of U(-value, value) | std | std, cut at +-2 absolute */
};

/* Fills `data` (of `desc`; f32 for the random kinds, any type for constants). DG_ERR_UNSUPPORTED for a kind or type
 * that has no meaning. */
enum dg_status dg_init_fill(const struct dg_init *init, const char *name, uint64_t seed, const struct dg_desc *desc,
                            void *data);

#endif

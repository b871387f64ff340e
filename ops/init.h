/* Initial values (the official code's): a pure function of seed, tensor name and element. */
#ifndef DG_OPS_INIT_H
#define DG_OPS_INIT_H

#include "ops/op.h"

/* Fills `data` (of `desc`; f32 for the random kinds, any type for constants). DG_ERR_UNSUPPORTED for a kind or type
 * that has no meaning. */
enum dg_status dg_init_fill(const struct dg_init *init, const char *name, uint64_t seed, const struct dg_desc *desc,
                            void *data);

#endif

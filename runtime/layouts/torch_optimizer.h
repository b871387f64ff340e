/* The optimiser's state of a full checkpoint of the published code. */
#ifndef DG_RUNTIME_LAYOUTS_TORCH_OPTIMIZER_H
#define DG_RUNTIME_LAYOUTS_TORCH_OPTIMIZER_H

#include "runtime/layouts/weight_file.h"

/* Adds the state of the student's parameters as optim.{exp_avg,exp_avg_sq,momentum,step}.student.*. *added receives how many
 * tensors. If it is not the state of these parameters, nothing is added, and *why says so. */
enum dg_status dg_torch_optimizer_add(struct dg_weight_file *file, int *added, const char **why, struct dg_error *err);

#endif

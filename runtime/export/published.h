/* The published code's training: which recipes it can go on with, and how its checkpoints name the networks. */
#ifndef DG_RUNTIME_EXPORT_PUBLISHED_H
#define DG_RUNTIME_EXPORT_PUBLISHED_H

#include "runtime/formats/safetensors.h"

/* DG_ERR_UNSUPPORTED: the recipe of the checkpoint `file`, which was read from `path`, has a loss, teacher, optimiser or schedule
 * that the published code does not have; the text names the key and its value. */
enum dg_status dg_published_check(const struct dg_safetensors *file, const char *path, struct dg_error *err);

/* What stands before the names of the student's or the teacher's tensors: "module." or "". That code wraps the student for several
 * GPUs, and the teacher too if there are batch norms. */
const char *dg_published_prefix(const struct dg_safetensors *file, bool teacher);

#endif

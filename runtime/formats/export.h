/* Exports a checkpoint's networks for other programs. */
#ifndef DG_RUNTIME_FORMATS_EXPORT_H
#define DG_RUNTIME_FORMATS_EXPORT_H

#include "runtime/base/log.h"

/* Writes tensors of the checkpoint `in` to the safetensors file `out`, bit for bit. With `backbone` ("teacher" or
 * "student") that network's backbone under bare names (cls_token, blocks.0...); with NULL student.*, teacher.* and
 * center. Optimiser state and position are left out. Names and shapes are those of PyTorch's modules, so that
 * load_state_dict(strict=True) accepts them. `log` (may be NULL) receives what was written and left out (level info).
 * DG_ERR_INPUT: a broken or damaged file, one without the tensors asked for, or with numbers that are not finite. */
enum dg_status dg_export(const char *in, const char *out, const char *backbone, const struct dg_log *log,
                         struct dg_error *err);

#endif

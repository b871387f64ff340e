/* Weights for other programs: a checkpoint's networks without what only a run needs. */
#ifndef DG_RUNTIME_FORMATS_EXPORT_H
#define DG_RUNTIME_FORMATS_EXPORT_H

#include "runtime/base/log.h"

/* Writes the tensors of the checkpoint `in` to the safetensors file `out`, every bit as it was. With `backbone` ("teacher" or
 * "student"), that network's backbone under bare names (cls_token, blocks.0...); NULL: student.*, teacher.* and center. The
 * optimiser's state and the run's position stay behind. Names and shapes are those of PyTorch's modules, so that
 * load_state_dict(strict=True) takes them. `log` (may be NULL) receives what was written and left out (level info). DG_ERR_INPUT: a broken file, or one
 * without what was asked for. */
enum dg_status dg_export(const char *in, const char *out, const char *backbone, const struct dg_log *log,
                         struct dg_error *err);

#endif

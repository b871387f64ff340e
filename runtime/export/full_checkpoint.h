/* Exports a run as a full checkpoint of the published code, from which that code goes on. */
#ifndef DG_RUNTIME_EXPORT_FULL_CHECKPOINT_H
#define DG_RUNTIME_EXPORT_FULL_CHECKPOINT_H

#include "runtime/base/log.h"
#include "runtime/formats/safetensors.h"

/* Writes the checkpoint `file`, which was read from `in`, as main_dino.py does: the dicts student, teacher, optimizer, epoch, args and
 * dino_loss. The optimiser's parameters are numbered as that code numbers them: those with weight decay, then the others, each in the
 * order of the network's description, which is that of its modules. args is a plain dict of that code's options, as far as the
 * run has them. `log` (may be NULL) receives what was written (level info). DG_ERR_INPUT: no checkpoint of a run, or one within an
 * epoch, since that code begins with whole ones; DG_ERR_UNSUPPORTED: a recipe whose state that code has no place for. */
enum dg_status dg_export_full_checkpoint(const struct dg_safetensors *file, const char *in, const char *out,
                                         const struct dg_log *log, struct dg_error *err);

#endif

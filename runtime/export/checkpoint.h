/* Exports a checkpoint's networks as they are, tensor by tensor. */
#ifndef DG_RUNTIME_EXPORT_CHECKPOINT_H
#define DG_RUNTIME_EXPORT_CHECKPOINT_H

#include "runtime/base/log.h"

/* A safetensors file, or what torch.save writes; of the latter also with all that a run goes on with (full_checkpoint.h). */
enum dg_checkpoint_form { DG_CHECKPOINT_SAFETENSORS, DG_CHECKPOINT_TORCH, DG_CHECKPOINT_FULL };

/* Writes tensors of the checkpoint `in` to the file `out`, bit for bit. With `backbone` ("teacher" or "student") that network's
 * backbone under bare names (cls_token, blocks.0...); with NULL student.*, teacher.* and center, in the form of PyTorch as the
 * published code's checkpoints have them: the dicts student, teacher and dino_loss. Optimiser state and position are left out, but for
 * DG_CHECKPOINT_FULL, which is of no backbone.
 * Names and shapes are those of PyTorch's modules, so that load_state_dict(strict=True) accepts them. `log` (may be NULL)
 * receives what was written and left out (level info). DG_ERR_INPUT: a broken or damaged file, one without the tensors asked
 * for, or with numbers that are not finite. */
enum dg_status dg_export_checkpoint(const char *in, const char *out, enum dg_checkpoint_form form, const char *backbone,
                                    const struct dg_log *log, struct dg_error *err);

/* Whether a fact of a checkpoint goes along with a network of it: it says how the network computes, or how images were normalised in its
 * training. */
bool dg_export_takes_fact(const char *key);

#endif

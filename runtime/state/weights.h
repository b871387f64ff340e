/* Tensors of a session from files of weights (runtime/layouts), under the official names. */
#ifndef DG_RUNTIME_STATE_WEIGHTS_H
#define DG_RUNTIME_STATE_WEIGHTS_H

#include "runtime/exec/session.h"
#include "runtime/formats/safetensors.h"
#include "runtime/state/weights_options.h"

/* dg_weights_load and dg_weights_init compare file and plan before they change anything. DG_ERR_INPUT names the
 * differences, each with the nearest name on the other side: parameters that the file lacks, tensors of the network
 * that no entry of the plan has, other shapes. DG_ERR_NUMERIC: a tensor that was taken is not finite. f32, f16, bf16
 * and f64 tensors are accepted. The session's log receives what was taken, resized, left out and left as it was (level
 * info).
 *
 * No difference, but said: a position table (pos_embed) of another grid, which is resized (dg_position_resize);
 * LayerScale (ls1.gamma, ls2.gamma) that the plan lacks, which is multiplied into the layer before it; tensors beside
 * the backbone's own path, such as heads, decoders, mask tokens and optimiser state, by group.
 *
 * With `partial`, tensors of a group that is not known are no difference either. Differences of the backbone's own path
 * make it another network: dg_weights_load refuses them also then; dg_weights_init goes on with a warning, and other
 * parameters keep their initial values. */

/* Sets every parameter of an evaluation entry from `path`, but those that other sessions have set. To be followed by dg_session_pack. */
enum dg_status dg_weights_load(struct dg_session *session, const struct dg_plan *plan, const char *path,
                               const struct dg_weights_options *options, struct dg_error *err);

/* Sets the start of a training run from `path`, after dg_session_initialize. A bare backbone, or a teacher alone, sets
 * the student's backbone (and head.* beside it the student's head). A full file also sets the student's head, the
 * teacher and the centre if it has them. A teacher that the file lacks becomes a copy of the student. A network that the
 * file has only in part is a difference. `options->from` is not used. */
enum dg_status dg_weights_init(struct dg_session *session, const struct dg_plan *plan, const char *path,
                               const struct dg_weights_options *options, struct dg_error *err);

/* Hash of the parameters, from `basis` on: of two networks that are the same, the same. */
uint64_t dg_weights_hash(const struct dg_session *session, uint64_t basis);

/* Copies a tensor of the file into tensor `index` of the plan. DG_ERR_INPUT (another shape or type) names the tensor
 * and the file. */
enum dg_status dg_weights_copy(struct dg_session *session, const struct dg_plan *plan, uint32_t index,
                               const struct dg_safetensors_tensor *source, const char *path, struct dg_error *err);

#endif

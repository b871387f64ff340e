/* Tensors of a session from safetensors files, under the official names. */
#ifndef DG_RUNTIME_STATE_WEIGHTS_H
#define DG_RUNTIME_STATE_WEIGHTS_H

#include "runtime/exec/session.h"
#include "runtime/formats/safetensors.h"

/* dg_weights_load and dg_weights_init compare file and plan before they change anything. DG_ERR_INPUT names the
 * differences, each with the nearest name on the other side: parameters that the file lacks, tensors of the network
 * that no entry of the plan has, other shapes. With `partial` they take what fits, and other parameters keep their
 * initial values. f32, f16, bf16 and f64 tensors are accepted. The session's log receives what was taken, resized, left
 * out and left as it was (level info).
 *
 * A position table (pos_embed) of another square grid is no difference: it is resized (dg_position_resize). Tensors
 * outside of the backbone are not compared: heads, classifiers (fc, head), optimiser state, the network that was not
 * asked for. */

/* Sets every parameter of an evaluation entry from `path`: a checkpoint (`from`, "teacher" or "student", says whose
 * backbone), or a file of a bare backbone ("cls_token", also under "backbone." or "module.backbone."). To be followed
 * by dg_session_pack. */
enum dg_status dg_weights_load(struct dg_session *session, const struct dg_plan *plan, const char *path,
                               const char *from, bool partial, struct dg_error *err);

/* Sets the start of a training run from `path`, after dg_session_initialize. A bare backbone sets the student's
 * backbone (and head.* beside it the student's head). A full file also sets the student's head, the teacher and the
 * centre if it has them. A teacher that the file lacks becomes a copy of the student. A network that the file has only
 * in part is a difference. */
enum dg_status dg_weights_init(struct dg_session *session, const struct dg_plan *plan, const char *path, bool partial,
                               struct dg_error *err);

/* Copies a tensor of the file into tensor `index` of the plan. DG_ERR_INPUT (another shape or type) names the tensor
 * and the file. */
enum dg_status dg_weights_copy(struct dg_session *session, const struct dg_plan *plan, uint32_t index,
                               const struct dg_safetensors_tensor *source, const char *path, struct dg_error *err);

#endif

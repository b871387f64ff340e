/* Tensors of a session from and to safetensors files, under the official names. */
#ifndef DG_RUNTIME_STATE_WEIGHTS_H
#define DG_RUNTIME_STATE_WEIGHTS_H

#include "runtime/exec/session.h"
#include "runtime/formats/safetensors.h"

/* Both loads look at both sides before they change anything: parameters that the file does not have, tensors of the network that
 * no entry of the plan has, and shapes that differ are DG_ERR_INPUT, each named with the nearest name on the other side.
 * `partial` goes on with what fits; parameters that nothing fits keep their initial values. The session's log receives what was
 * taken, resized, left out and left as it was (level info). All f32, f16, bf16 and f64 tensors will do.
 *
 * Never a difference, but noted: a position table (pos_embed) of another square grid is resized by the rule that images of
 * another size meet (dg_position_resize). Not looked at: what belongs to no backbone, as heads, classifiers (fc, head),
 * optimiser state, or the network that was not asked for. */

/* Every parameter of an evaluation entry from `path`: a checkpoint of ours (`from`, "teacher" or "student", says whose
 * backbone), or a file of a bare backbone ("cls_token", also under "backbone." or "module.backbone."). Call dg_session_pack
 * afterwards. */
enum dg_status dg_weights_load(struct dg_session *session, const struct dg_plan *plan, const char *path,
                               const char *from, bool partial, struct dg_error *err);

/* The start of a training run from `path`, on top of dg_session_initialize. A bare backbone sets the student's backbone (and
 * head.* beside it its head); a full file sets also the student's head, the teacher and the centre where it has them. A teacher
 * that the file does not have becomes a copy of the student. A network that is there only in part is a difference. */
enum dg_status dg_weights_init(struct dg_session *session, const struct dg_plan *plan, const char *path, bool partial,
                               struct dg_error *err);

/* The tensor `name` of the file into tensor `index` of the plan, shapes and types checked. DG_ERR_INPUT names tensor and file. */
enum dg_status dg_weights_copy(struct dg_session *session, const struct dg_plan *plan, uint32_t index,
                               const struct dg_safetensors_tensor *source, const char *path, struct dg_error *err);

#endif

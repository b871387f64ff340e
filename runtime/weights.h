/* Tensors of a session from and to safetensors files, under the official names. */
#ifndef DG_RUNTIME_WEIGHTS_H
#define DG_RUNTIME_WEIGHTS_H

#include "runtime/safetensors.h"
#include "runtime/session.h"

/* Every parameter of an evaluation entry from `path`: a checkpoint of ours (`from`, "teacher" or "student", says whose
 * backbone), or a file of a bare backbone ("cls_token", also under "backbone." or "module.backbone."). All f32, f16, bf16 and
 * f64 tensors will do. DG_ERR_INPUT names the tensors that are missing or of another shape. `note` receives what was taken
 * and what was left in the file. Call dg_session_pack afterwards. */
enum dg_status dg_weights_load(struct dg_session *session, const struct dg_plan *plan, const char *path,
                               const char *from, char *note, size_t note_size, struct dg_error *err);

/* The start of a training run from `path`, on top of dg_session_initialize. A bare backbone sets the student's backbone; a
 * full file sets also the student's head, the teacher and the centre where it has them. A teacher that the file does not have
 * becomes a copy of the student. A network that is there only in part is DG_ERR_INPUT. */
enum dg_status dg_weights_init(struct dg_session *session, const struct dg_plan *plan, const char *path, char *note,
                               size_t note_size, struct dg_error *err);

/* The tensor `name` of the file into tensor `index` of the plan, shapes and types checked. DG_ERR_INPUT names tensor and file. */
enum dg_status dg_weights_copy(struct dg_session *session, const struct dg_plan *plan, uint32_t index,
                               const struct dg_safetensors_tensor *source, const char *path, struct dg_error *err);

#endif

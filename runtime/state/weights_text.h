/* What is said of weights that are taken, and of those that do not fit. */
#ifndef DG_RUNTIME_STATE_WEIGHTS_TEXT_H
#define DG_RUNTIME_STATE_WEIGHTS_TEXT_H

#include "runtime/state/weights_fit.h"

/* DG_ERR_INPUT, with the differences: the file is of another network, or has what the plan does not know. `may_begin`: a training run
 * may begin with what fits of another network, if the user says so with `partial`. */
enum dg_status dg_weights_check(const struct dg_weights_fit *fit, bool partial, bool may_begin, struct dg_error *err);
/* DG_ERR_INPUT: the file has nothing of the network that is wanted; `from` is "teacher" or "student". */
enum dg_status dg_weights_no_backbone(const struct dg_weights_fit *fit, const char *from, struct dg_error *err);

/* Tensors of the file that were not taken, and what they are: "12 others in the file were not needed: head (8), fc (4)". Returns
 * `text`. */
const char *dg_weights_not_needed(struct dg_weights_fit *fit, char *text, size_t size);
/* Lists what was not taken as it is in the file, a line each; "" if all was. Returns `text`. */
const char *dg_weights_taken_differently(const struct dg_weights_fit *fit, char *text, size_t size);

/* Says what was recognised, if the names are another library's. */
void dg_weights_say_what(const struct dg_session *session, const struct dg_weights_fit *fit);
/* Says that a run does not go on where the file's stood, if the file says where. */
void dg_weights_say_anew(const struct dg_session *session, const struct dg_weights_fit *fit);
/* Warns if the library's layer norms have another epsilon than the plan's. */
void dg_weights_compare_eps(const struct dg_session *session, const struct dg_weights_fit *fit);

#endif

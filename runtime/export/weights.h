/* The parameters of a session as tensors for files. */
#ifndef DG_RUNTIME_EXPORT_WEIGHTS_H
#define DG_RUNTIME_EXPORT_WEIGHTS_H

#include "runtime/export/source.h"
#include "runtime/formats/safetensors.h"

struct dg_export_weights {
    struct dg_safetensors_item *item; /* under the official names; data are the session's */
    int count;
    float *position; /* the table that was resized; NULL: none was */
};

/* Lists all parameters and running statistics of a session as they are. Free it, whatever the status. */
enum dg_status dg_export_weights_list(const struct dg_session *session, struct dg_export_weights *weights,
                                      struct dg_error *err);
/* The same, with a position table of another grid than the entry's images resized to theirs, since other libraries resize in other
 * ways; the log says so. */
enum dg_status dg_export_weights_init(const struct dg_export_source *source, struct dg_export_weights *weights,
                                      struct dg_error *err);
void dg_export_weights_free(struct dg_export_weights *weights);

#endif

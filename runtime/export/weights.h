/* The parameters of a session as tensors for files. */
#ifndef DG_RUNTIME_EXPORT_WEIGHTS_H
#define DG_RUNTIME_EXPORT_WEIGHTS_H

#include "runtime/export/source.h"
#include "runtime/formats/safetensors.h"
#include "runtime/layouts/layouts.h"

struct dg_export_weights {
    struct dg_safetensors_item *item; /* under the official names; data are the session's */
    int count;
    char (*name)[DG_LAYOUT_NAME]; /* those of `item` after dg_export_weights_rename; NULL */
    float *made[4];               /* data that are not the session's */
    int num_made;
};

/* Lists all parameters and running statistics of a session as they are. Free it, whatever the status. */
enum dg_status dg_export_weights_list(const struct dg_session *session, struct dg_export_weights *weights,
                                      struct dg_error *err);
/* The same, with a position table of another grid than the entry's images resized to theirs, since other libraries resize in other
 * ways; the log says so. */
enum dg_status dg_export_weights_init(const struct dg_export_source *source, struct dg_export_weights *weights,
                                      struct dg_error *err);
/* Gives tensors the layout's names, and puts parts of them apart as it has them; a position of the class token that it has not is
 * added to the class token. DG_ERR_UNSUPPORTED: a bias of keys is not zero, and the layout has none. */
enum dg_status dg_export_weights_rename(struct dg_export_weights *weights, const struct dg_name_layout *layout,
                                        struct dg_error *err);
/* Adds a tensor of zeros, of which there may be two. `name` stays the caller's. */
enum dg_status dg_export_weights_add_zeros(struct dg_export_weights *weights, const char *name, int ndim,
                                           const int64_t *dim, struct dg_error *err);
void dg_export_weights_free(struct dg_export_weights *weights);

#endif

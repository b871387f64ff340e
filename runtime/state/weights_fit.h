/* Which tensors of a file of weights a plan's entry takes, and how the two differ; weights.c takes them. */
#ifndef DG_RUNTIME_STATE_WEIGHTS_FIT_H
#define DG_RUNTIME_STATE_WEIGHTS_FIT_H

#include "runtime/exec/session.h"
#include "runtime/layouts/groups.h"
#include "runtime/layouts/weight_file.h"
#include "runtime/state/weights_options.h"

enum { DG_WEIGHTS_SHOWN = 3, DG_WEIGHTS_LINE = 400, DG_WEIGHTS_NONE = -1 };

/* The first few lines of one kind of difference, and how many there were. */
struct dg_weights_lines {
    char line[DG_WEIGHTS_SHOWN][DG_WEIGHTS_LINE];
    int64_t count;
};

struct dg_weights_taken {
    uint32_t tensor;        /* of the plan */
    int source;             /* of the file */
    int scale;              /* of the file: a factor for each row, LayerScale's gamma; DG_WEIGHTS_NONE */
    int64_t from[2], to[2]; /* grids of a position table to resize; 0: taken as it is */
};

/* Which tensors of a file an entry takes, and how the two differ. */
struct dg_weights_fit {
    const struct dg_plan *plan;
    const struct dg_plan_entry *entry;
    struct dg_weight_file *file;
    const char *path;
    const struct dg_weights_options *options;
    struct dg_weights_taken *taken;
    int64_t count, wanted, absent, zero, scaled;
    bool *used;          /* tensors of the file */
    bool no_qkv_bias;    /* the file has none at all */
    int64_t differences; /* of heads, of groups that are not known */
    int64_t on_path;     /* those of a backbone, which make it another network */
    struct dg_weights_lines missing, extra, shape, unknown, resized;
    struct dg_groups beside; /* no difference: heads, decoders, ... */
};

/* `fit` has plan, path and options; its rest is zero. `ours` is the prefix of the plan's names that a backbone in the file is expected
 * to have. To be closed, also after a failure. DG_ERR_IO, DG_ERR_INPUT, DG_ERR_MEMORY. */
enum dg_status dg_weights_fit_open(struct dg_weights_fit *fit, const struct dg_session *session, const char *ours,
                                   const struct dg_weights_options *options, struct dg_error *err);
void dg_weights_fit_close(struct dg_weights_fit *fit);

/* Compares the parameters under `ours` (a prefix of the plan's names) with the file's tensors under `theirs`. Returns how many are
 * taken. */
int64_t dg_weights_fit_network(struct dg_weights_fit *fit, const char *ours, const char *theirs);
/* Notes tensors under `theirs` that the plan has no place for. */
void dg_weights_fit_extra(struct dg_weights_fit *fit, const char *ours, const char *theirs);
/* Notes what the file has of other networks than `theirs`. */
void dg_weights_fit_others(struct dg_weights_fit *fit, const char *theirs);

/* Is there a tensor in the file whose name begins so? */
bool dg_weights_fit_has(const struct dg_weights_fit *fit, const char *prefix);
/* Name of a tensor of the plan; NULL if it is no parameter. */
const char *dg_weights_fit_param(const struct dg_weights_fit *fit, uint32_t tensor);

bool dg_weights_same_shape(const struct dg_plan_tensor *tensor, const struct dg_safetensors_tensor *source);
/* "NAME is [...], the plan has [...]". Returns `text`. */
const char *dg_weights_shapes(char *text, size_t size, const struct dg_plan_tensor *tensor,
                              const struct dg_safetensors_tensor *source);

#endif

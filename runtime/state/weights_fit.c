#include "runtime/state/weights_fit.h"

#include "ops/token/position.h"
#include "runtime/base/name.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 512 };

static const char *shape_text(char *text, size_t size, int ndim, const int64_t *dim)
{
    size_t length = (size_t)snprintf(text, size, "[");
    for (int d = 0; d < ndim && length < size; d++)
        length += (size_t)snprintf(text + length, size - length, "%s%" PRId64, d ? ", " : "", dim[d]);
    if (length < size) snprintf(text + length, size - length, "]");
    return text;
}

bool dg_weights_same_shape(const struct dg_plan_tensor *tensor, const struct dg_safetensors_tensor *source)
{
    bool same = source->ndim == tensor->ndim;
    for (int d = 0; same && d < source->ndim; d++) same = source->dim[d] == tensor->dim[d];
    return same;
}

const char *dg_weights_shapes(char *text, size_t size, const struct dg_plan_tensor *tensor,
                              const struct dg_safetensors_tensor *source)
{
    char found[128], want[128];
    snprintf(text, size, "%.120s is %s, the plan has %s", source->name,
             shape_text(found, sizeof found, source->ndim, source->dim),
             shape_text(want, sizeof want, tensor->ndim, tensor->dim));
    return text;
}

static void add_line(struct dg_weights_lines *lines, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_line(struct dg_weights_lines *lines, const char *format, ...)
{
    if (lines->count++ >= DG_WEIGHTS_SHOWN) return;
    va_list args;
    va_start(args, format);
    vsnprintf(lines->line[lines->count - 1], DG_WEIGHTS_LINE, format, args);
    va_end(args);
}

static bool ends(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && !strcmp(name + length - tail, suffix);
}

const char *dg_weights_fit_param(const struct dg_weights_fit *fit, uint32_t tensor)
{
    return fit->plan->tensor[tensor].region == DG_REGION_PARAM
               ? dg_plan_string(fit->plan, fit->plan->tensor[tensor].name)
               : NULL;
}

/* Names without the network's prefix, for "nearest". NULL for names that have a counterpart, or are of another
 * network. */
struct names {
    const struct dg_weights_fit *fit;
    const char *ours, *theirs;
};

static const char *file_name(const void *context, int index)
{
    const struct names *names = context;
    if (names->fit->used[index]) return NULL;
    return dg_name_after(dg_weight_file_at(names->fit->file, index)->name, names->theirs);
}

static int find(const struct dg_weights_fit *fit, const char *prefix, const char *rest)
{
    char name[MAX_NAME];
    if (snprintf(name, sizeof name, "%s%s", prefix, rest) >= (int)sizeof name) return DG_WEIGHTS_NONE;
    return dg_weight_file_find(fit->file, name);
}

static const char *plan_name(const void *context, int index)
{
    const struct names *names = context;
    const char *name = dg_weights_fit_param(names->fit, names->fit->entry->first_tensor + (uint32_t)index),
               *rest = name ? dg_name_after(name, names->ours) : NULL;
    return rest && find(names->fit, names->theirs, rest) == DG_WEIGHTS_NONE ? rest : NULL;
}

/* True if both are position tables, of different grids; sets the grids. The file's is a square, or what the user says. */
static bool other_grid(const struct dg_weights_fit *fit, const struct dg_safetensors_tensor *source,
                       struct dg_weights_taken *taken)
{
    const struct dg_plan_tensor *tensor = &fit->plan->tensor[taken->tensor];
    const int64_t *said = fit->options->positions;
    if (!ends(source->name, "pos_embed") || source->ndim != 3 || tensor->ndim != 3 || tensor->dtype != DG_F32 ||
        source->dim[0] != 1 || tensor->dim[0] != 1 || source->dim[2] != tensor->dim[2])
        return false;
    taken->from[0] = taken->from[1] = dg_position_grid(source->dim[1]);
    if (said[0] && said[0] * said[1] == source->dim[1] - 1) memcpy(taken->from, said, sizeof taken->from);
    bool known = dg_plan_position_grid(fit->plan, fit->entry, taken->tensor, taken->to);
    return known && taken->from[0] && memcmp(taken->from, taken->to, sizeof taken->to) != 0;
}

/* False, with a line of what is wrong: the grid that the user says is not that of the table, or it is asked for, since the
 * rows make a square as well as the plan's grid. */
static bool check_positions(struct dg_weights_fit *fit, const struct dg_safetensors_tensor *source,
                            const struct dg_weights_taken *taken)
{
    const int64_t *said = fit->options->positions, *plan = taken->to, rows = source->dim[1];
    if (!ends(source->name, "pos_embed") || source->ndim != 3 || !plan[0]) return true;
    if (said[0] && said[0] * said[1] != rows - 1) {
        add_line(&fit->shape,
                 "--positions %" PRId64 "x%" PRId64 ": %.120s has %" PRId64 " rows beside the class token's", said[0],
                 said[1], source->name, rows - 1);
        return false;
    }
    if (said[0] || plan[0] == plan[1] || plan[0] * plan[1] != rows - 1 || !dg_position_grid(rows)) return true;
    int64_t side = dg_position_grid(rows);
    add_line(&fit->shape,
             "%.120s may be of %" PRId64 "x%" PRId64 " or of %" PRId64 "x%" PRId64 ": say which with --positions",
             source->name, side, side, plan[0], plan[1]);
    return false;
}

/* True if some entry of the plan has the parameter. The entry for attention lacks some of the last block's. */
static bool known(const struct dg_weights_fit *fit, const char *rest)
{
    char in_backbone[MAX_NAME];
    snprintf(in_backbone, sizeof in_backbone, ".backbone.%s", rest);
    for (uint32_t t = 0; t < fit->plan->num_tensors; t++) {
        const char *name = dg_weights_fit_param(fit, t);
        if (name && (!strcmp(name, rest) || ends(name, in_backbone))) return true;
    }
    return false;
}

/* LayerScale: the file's factors of the rows of a layer, "blocks.0.attn.proj.weight", that end a residual branch. DG_WEIGHTS_NONE
 * if it has none, or the plan has an op for them. */
static int find_scale(const struct dg_weights_fit *fit, const char *theirs, const char *rest,
                      const struct dg_plan_tensor *tensor)
{
    static const char *const layer[][2] = {{".attn.proj.weight", ".ls1.gamma"},
                                           {".attn.proj.bias", ".ls1.gamma"},
                                           {".mlp.fc2.weight", ".ls2.gamma"},
                                           {".mlp.fc2.bias", ".ls2.gamma"}};
    char gamma[MAX_NAME];
    for (size_t l = 0; l < sizeof layer / sizeof *layer; l++) {
        if (!ends(rest, layer[l][0])) continue;
        snprintf(gamma, sizeof gamma, "%.*s%s", (int)(strlen(rest) - strlen(layer[l][0])), rest, layer[l][1]);
        int scale = find(fit, theirs, gamma);
        if (scale == DG_WEIGHTS_NONE || known(fit, gamma)) return DG_WEIGHTS_NONE;
        const struct dg_safetensors_tensor *source = dg_weight_file_at(fit->file, scale);
        return source->ndim == 1 && source->dim[0] == tensor->dim[0] && tensor->dtype == DG_F32 ? scale
                                                                                                : DG_WEIGHTS_NONE;
    }
    return DG_WEIGHTS_NONE;
}

static bool is_backbone(const char *ours) { return !*ours || ends(ours, ".backbone."); }

static void count_difference(struct dg_weights_fit *fit, const char *ours)
{
    ++*(is_backbone(ours) ? &fit->on_path : &fit->differences);
}

/* A counter of batches does not change what batch norm computes; files of before PyTorch 0.4.1 have none. Where no block has
 * a bias of query, key and value, it is zero. */
static bool may_lack(const struct dg_weights_fit *fit, const char *name)
{
    return ends(name, "num_batches_tracked") || (ends(name, ".attn.qkv.bias") && fit->no_qkv_bias);
}

static void name_missing(struct dg_weights_fit *fit, const char *ours, const char *theirs)
{
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
        const char *name = dg_weights_fit_param(fit, t), *rest = name ? dg_name_after(name, ours) : NULL;
        if (!rest || may_lack(fit, rest) || find(fit, theirs, rest) != DG_WEIGHTS_NONE) continue;
        const char *near =
            fit->missing.count < DG_WEIGHTS_SHOWN
                ? dg_nearest_name(rest, file_name, &(struct names){fit, ours, theirs}, dg_weight_file_count(fit->file))
                : NULL;
        count_difference(fit, ours);
        add_line(&fit->missing, "missing from the file: %.120s%s%s%.120s%s", name, near ? " (nearest there: " : "",
                 near ? theirs : "", near ? near : "", near ? ")" : "");
    }
}

int64_t dg_weights_fit_network(struct dg_weights_fit *fit, const char *ours, const char *theirs)
{
    int64_t before = fit->count;
    fit->no_qkv_bias = true;
    for (int i = 0; i < dg_weight_file_count(fit->file); i++)
        fit->no_qkv_bias &= !ends(dg_weight_file_at(fit->file, i)->name, ".attn.qkv.bias");
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
        const char *name = dg_weights_fit_param(fit, t), *rest = name ? dg_name_after(name, ours) : NULL;
        if (!rest) continue;
        const struct dg_plan_tensor *tensor = &fit->plan->tensor[t];
        struct dg_weights_taken taken = {.tensor = t, .source = find(fit, theirs, rest), .scale = DG_WEIGHTS_NONE};
        fit->wanted += taken.source != DG_WEIGHTS_NONE || !may_lack(fit, rest);
        fit->absent += taken.source == DG_WEIGHTS_NONE;
        fit->zero += taken.source == DG_WEIGHTS_NONE && may_lack(fit, rest) && ends(rest, ".bias");
        if (taken.source == DG_WEIGHTS_NONE) continue; /* named below, when all used tensors are known */
        const struct dg_safetensors_tensor *source = dg_weight_file_at(fit->file, taken.source);
        fit->used[taken.source] = true;
        char text[DG_WEIGHTS_LINE];
        bool resizes = other_grid(fit, source, &taken);
        if (!check_positions(fit, source, &taken)) {
            count_difference(fit, ours);
        } else if (dg_weights_same_shape(tensor, source) && !(resizes && fit->options->positions[0])) {
            memset(taken.from, 0, sizeof taken.from);
            taken.scale = find_scale(fit, theirs, rest, tensor);
            if (taken.scale != DG_WEIGHTS_NONE) fit->scaled += !fit->used[taken.scale], fit->used[taken.scale] = true;
            fit->taken[fit->count++] = taken;
        } else if (resizes) {
            bool square = taken.to[0] == taken.to[1] || fit->options->positions[0];
            add_line(&fit->resized,
                     "%.120s: positions of %" PRId64 "x%" PRId64 " resized to %" PRId64 "x%" PRId64 " (bicubic)%s",
                     source->name, taken.from[0], taken.from[1], taken.to[0], taken.to[1],
                     square ? "" : "; if they are of no square, say of what: --positions HxW");
            fit->taken[fit->count++] = taken;
        } else {
            count_difference(fit, ours);
            add_line(&fit->shape, "another shape: %s", dg_weights_shapes(text, sizeof text, tensor, source));
        }
    }
    name_missing(fit, ours, theirs);
    return fit->count - before;
}

/* --- tensors that the plan has no place for --- */

enum extra { BESIDE, ON_PATH, UNKNOWN };

static bool is_one_of(const char *name, size_t length, const char *const *list)
{
    for (; *list; list++)
        if (strlen(*list) == length && !strncmp(name, *list, length)) return true;
    return false;
}

/* Whether a tensor of the backbone's file is beside its path from the image to the features. */
static enum extra kind_of_extra(const struct dg_weights_fit *fit, const char *ours, const char *rest)
{
    static const char *const beside[] = {"head",
                                         "heads",
                                         "head_dist",
                                         "fc",
                                         "classifier",
                                         "linear",
                                         "last_layer",
                                         "projector",
                                         "projection",
                                         "projection_head",
                                         "prediction_head",
                                         "predictor",
                                         "prototypes",
                                         "queue",
                                         "queue_ptr",
                                         "decoder",
                                         "mask_token",
                                         "masked_embed",
                                         "pooler",
                                         "criterion",
                                         "loss",
                                         "center",
                                         "student",
                                         "teacher",
                                         "optim",
                                         NULL};
    static const char *const on_path[] = {"register_tokens", "reg_token",    "storage_tokens", "dist_token", "fc_norm",
                                          "norm_pre",        "rel_pos_bias", "rope_embed",     NULL};
    size_t length = strcspn(rest, ".");
    static const char *const noted[] = {"num_batches_tracked", "total_ops", "total_params", "position_ids",
                                        "n_averaged"};
    for (size_t n = 0; n < sizeof noted / sizeof *noted; n++)
        if (ends(rest, noted[n])) return BESIDE; /* what profilers and averaging note down */
    if (is_one_of(rest, length, beside) || dg_name_after(rest, "decoder_")) return BESIDE;
    if (is_one_of(rest, length, on_path)) return ON_PATH;
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
        const char *name = dg_weights_fit_param(fit, t), *own = name ? dg_name_after(name, ours) : NULL;
        if (own && strcspn(own, ".") == length && !strncmp(own, rest, length))
            return ON_PATH; /* a part of a part of it */
    }
    return UNKNOWN;
}

void dg_weights_fit_extra(struct dg_weights_fit *fit, const char *ours, const char *theirs)
{
    for (int i = 0; i < dg_weight_file_count(fit->file); i++) {
        const char *name = dg_weight_file_at(fit->file, i)->name, *rest = dg_name_after(name, theirs);
        if (!rest || fit->used[i] || known(fit, rest)) continue;
        enum extra kind = is_backbone(ours) ? kind_of_extra(fit, ours, rest) : UNKNOWN;
        if (kind == BESIDE) {
            dg_groups_add(&fit->beside, rest, 1);
            fit->used[i] = true;
            continue;
        }
        struct dg_weights_lines *lines = kind == ON_PATH ? &fit->extra : &fit->unknown;
        const char *near =
            lines->count < DG_WEIGHTS_SHOWN
                ? dg_nearest_name(rest, plan_name, &(struct names){fit, ours, theirs}, (int)fit->entry->num_tensors)
                : NULL;
        if (kind == ON_PATH)
            fit->on_path++;
        else
            fit->differences++;
        add_line(lines, "not in the plan: %.120s%s%s%.120s%s", name, near ? " (nearest there: " : "", near ? ours : "",
                 near ? near : "", near ? ")" : "");
    }
}

void dg_weights_fit_others(struct dg_weights_fit *fit, const char *theirs)
{
    for (int i = 0; i < dg_weight_file_count(fit->file) && *theirs; i++) {
        const char *name = dg_weight_file_at(fit->file, i)->name;
        if (!fit->used[i] && !dg_name_after(name, theirs)) dg_groups_add(&fit->beside, name, 2);
    }
}

bool dg_weights_fit_has(const struct dg_weights_fit *fit, const char *prefix)
{
    for (int i = 0; i < dg_weight_file_count(fit->file); i++)
        if (dg_name_after(dg_weight_file_at(fit->file, i)->name, prefix)) return true;
    return false;
}

/* --- the file --- */

/* The parameters of the entry under `ours`, without it: what a backbone in the file is expected to have. */
static enum dg_status list_expected(const struct dg_weights_fit *fit, const char *ours,
                                    struct dg_network_choice *choice, struct dg_error *err)
{
    const char **name = calloc(fit->entry->num_tensors + 1, sizeof *name);
    if (!name) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
        const char *full = dg_weights_fit_param(fit, t), *rest = full ? dg_name_after(full, ours) : NULL;
        if (rest) name[choice->names++] = rest;
    }
    choice->name = name;
    return DG_OK;
}

enum dg_status dg_weights_fit_open(struct dg_weights_fit *fit, const struct dg_session *session, const char *ours,
                                   const struct dg_weights_options *options, struct dg_error *err)
{
    struct dg_network_choice choice = {.key = options->key, .prefix = options->prefix};
    fit->entry = dg_session_entry(session);
    enum dg_status status = list_expected(fit, ours, &choice, err);
    if (status == DG_OK) status = dg_weight_file_open(fit->path, &choice, &fit->file, err);
    free((void *)(uintptr_t)choice.name);
    DG_TRY(status);
    dg_log(dg_session_log(session), DG_LOG_TRACE, DG_LOG_LOAD, "weights %s: %d tensors", fit->path,
           dg_weight_file_count(fit->file));
    fit->taken = calloc(fit->entry->num_tensors + 1, sizeof *fit->taken);
    fit->used = calloc((size_t)dg_weight_file_count(fit->file) + 1, sizeof *fit->used);
    return fit->taken && fit->used ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

void dg_weights_fit_close(struct dg_weights_fit *fit)
{
    dg_weight_file_close(fit->file);
    free(fit->taken);
    free(fit->used);
}

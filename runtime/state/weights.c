#include "runtime/state/weights.h"

#include "ops/token/position.h"
#include "runtime/base/name.h"
#include "runtime/exec/fault.h"
#include "runtime/layouts/groups.h"
#include "runtime/layouts/weight_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 512, SHOWN = 3, LINE = 400, MAX_DIFFERENCES = 4096, NONE = -1 };

static const char *shape_text(char *text, size_t size, int ndim, const int64_t *dim)
{
    size_t length = (size_t)snprintf(text, size, "[");
    for (int d = 0; d < ndim && length < size; d++)
        length += (size_t)snprintf(text + length, size - length, "%s%" PRId64, d ? ", " : "", dim[d]);
    if (length < size) snprintf(text + length, size - length, "]");
    return text;
}

static bool same_shape(const struct dg_plan_tensor *tensor, const struct dg_safetensors_tensor *source)
{
    bool same = source->ndim == tensor->ndim;
    for (int d = 0; same && d < source->ndim; d++) same = source->dim[d] == tensor->dim[d];
    return same;
}

/* "NAME is [...], the plan has [...]" */
static const char *shapes(char *text, size_t size, const struct dg_plan_tensor *tensor,
                          const struct dg_safetensors_tensor *source)
{
    char found[128], want[128];
    snprintf(text, size, "%.120s is %s, the plan has %s", source->name,
             shape_text(found, sizeof found, source->ndim, source->dim),
             shape_text(want, sizeof want, tensor->ndim, tensor->dim));
    return text;
}

enum dg_status dg_weights_copy(struct dg_session *session, const struct dg_plan *plan, uint32_t index,
                               const struct dg_safetensors_tensor *source, const char *path, struct dg_error *err)
{
    const struct dg_plan_tensor *tensor = &plan->tensor[index];
    if (!same_shape(tensor, source)) {
        char text[LINE];
        return dg_fail(err, DG_ERR_INPUT, "%s: %s; compile a description that fits the weights", path,
                       shapes(text, sizeof text, tensor, source));
    }
    void *data = dg_session_data(session, index);
    if (tensor->dtype == DG_I64 && source->dtype == DG_SAFETENSORS_I64) {
        memcpy(data, source->data, source->bytes);
        return DG_OK;
    }
    if (tensor->dtype != DG_F32 || dg_safetensors_read_f32(source, data) != DG_OK)
        return dg_fail(err, DG_ERR_INPUT, "%s: %s is of type %s, the plan wants %s", path, source->name,
                       dg_safetensors_dtype_name(source->dtype), dg_dtype_name((enum dg_dtype)tensor->dtype));
    return DG_OK;
}

/* --- both sides compared --- */

/* The first few lines of one kind of difference, and how many there were. */
struct lines {
    char line[SHOWN][LINE];
    int64_t count;
};

static void add_line(struct lines *lines, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_line(struct lines *lines, const char *format, ...)
{
    if (lines->count++ >= SHOWN) return;
    va_list args;
    va_start(args, format);
    vsnprintf(lines->line[lines->count - 1], LINE, format, args);
    va_end(args);
}

struct taken {
    uint32_t tensor;        /* of the plan */
    int source;             /* of the file */
    int scale;              /* of the file: a factor for each row, LayerScale's gamma; NONE */
    int64_t from[2], to[2]; /* grids of a position table to resize; 0: taken as it is */
};

/* Which tensors of a file an entry takes, and how the two differ. */
struct fit {
    const struct dg_plan *plan;
    const struct dg_plan_entry *entry;
    struct dg_weight_file *file;
    const char *path;
    const struct dg_weights_options *options;
    struct taken *taken;
    int64_t count, wanted, absent, zero, scaled;
    bool *used;          /* tensors of the file */
    bool no_qkv_bias;    /* the file has none at all */
    int64_t differences; /* of heads, of groups that are not known */
    int64_t on_path;     /* those of a backbone, which make it another network */
    struct lines missing, extra, shape, unknown, resized;
    struct dg_groups beside; /* no difference: heads, decoders, ... */
};

static bool ends(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && !strcmp(name + length - tail, suffix);
}

static const char *param_name(const struct fit *fit, uint32_t tensor)
{
    return fit->plan->tensor[tensor].region == DG_REGION_PARAM
               ? dg_plan_string(fit->plan, fit->plan->tensor[tensor].name)
               : NULL;
}

/* Names without the network's prefix, for "nearest". NULL for names that have a counterpart, or are of another
 * network. */
struct names {
    const struct fit *fit;
    const char *ours, *theirs;
};

static const char *file_name(const void *context, int index)
{
    const struct names *names = context;
    if (names->fit->used[index]) return NULL;
    return dg_name_after(dg_weight_file_at(names->fit->file, index)->name, names->theirs);
}

static int find(const struct fit *fit, const char *prefix, const char *rest)
{
    char name[MAX_NAME];
    if (snprintf(name, sizeof name, "%s%s", prefix, rest) >= (int)sizeof name) return NONE;
    return dg_weight_file_find(fit->file, name);
}

static const char *plan_name(const void *context, int index)
{
    const struct names *names = context;
    const char *name = param_name(names->fit, names->fit->entry->first_tensor + (uint32_t)index),
               *rest = name ? dg_name_after(name, names->ours) : NULL;
    return rest && find(names->fit, names->theirs, rest) == NONE ? rest : NULL;
}

/* True if both are position tables, of different grids; sets the grids. The file's is a square, or what the user says. */
static bool other_grid(const struct fit *fit, const struct dg_safetensors_tensor *source, struct taken *taken)
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
static bool check_positions(struct fit *fit, const struct dg_safetensors_tensor *source, const struct taken *taken)
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
static bool known(const struct fit *fit, const char *rest)
{
    char in_backbone[MAX_NAME];
    snprintf(in_backbone, sizeof in_backbone, ".backbone.%s", rest);
    for (uint32_t t = 0; t < fit->plan->num_tensors; t++) {
        const char *name = param_name(fit, t);
        if (name && (!strcmp(name, rest) || ends(name, in_backbone))) return true;
    }
    return false;
}

/* LayerScale: the file's factors of the rows of a layer, "blocks.0.attn.proj.weight", that end a residual branch. NONE
 * if it has none, or the plan has an op for them. */
static int find_scale(const struct fit *fit, const char *theirs, const char *rest, const struct dg_plan_tensor *tensor)
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
        if (scale == NONE || known(fit, gamma)) return NONE;
        const struct dg_safetensors_tensor *source = dg_weight_file_at(fit->file, scale);
        return source->ndim == 1 && source->dim[0] == tensor->dim[0] && tensor->dtype == DG_F32 ? scale : NONE;
    }
    return NONE;
}

static bool is_backbone(const char *ours) { return !*ours || ends(ours, ".backbone."); }

static void count_difference(struct fit *fit, const char *ours)
{
    ++*(is_backbone(ours) ? &fit->on_path : &fit->differences);
}

/* A counter of batches does not change what batch norm computes; files of before PyTorch 0.4.1 have none. Where no block has
 * a bias of query, key and value, it is zero. */
static bool may_lack(const struct fit *fit, const char *name)
{
    return ends(name, "num_batches_tracked") || (ends(name, ".attn.qkv.bias") && fit->no_qkv_bias);
}

static void name_missing(struct fit *fit, const char *ours, const char *theirs)
{
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
        const char *name = param_name(fit, t), *rest = name ? dg_name_after(name, ours) : NULL;
        if (!rest || may_lack(fit, rest) || find(fit, theirs, rest) != NONE) continue;
        const char *near =
            fit->missing.count < SHOWN
                ? dg_nearest_name(rest, file_name, &(struct names){fit, ours, theirs}, dg_weight_file_count(fit->file))
                : NULL;
        count_difference(fit, ours);
        add_line(&fit->missing, "missing from the file: %.120s%s%s%.120s%s", name, near ? " (nearest there: " : "",
                 near ? theirs : "", near ? near : "", near ? ")" : "");
    }
}

/* Compares the parameters under `ours` (a prefix of the plan's names) with the file's tensors under `theirs`. Returns
 * how many are taken. */
static int64_t fit_network(struct fit *fit, const char *ours, const char *theirs)
{
    int64_t before = fit->count;
    fit->no_qkv_bias = true;
    for (int i = 0; i < dg_weight_file_count(fit->file); i++)
        fit->no_qkv_bias &= !ends(dg_weight_file_at(fit->file, i)->name, ".attn.qkv.bias");
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
        const char *name = param_name(fit, t), *rest = name ? dg_name_after(name, ours) : NULL;
        if (!rest) continue;
        const struct dg_plan_tensor *tensor = &fit->plan->tensor[t];
        struct taken taken = {.tensor = t, .source = find(fit, theirs, rest), .scale = NONE};
        fit->wanted += taken.source != NONE || !may_lack(fit, rest);
        fit->absent += taken.source == NONE;
        fit->zero += taken.source == NONE && may_lack(fit, rest) && ends(rest, ".bias");
        if (taken.source == NONE) continue; /* named below, when all used tensors are known */
        const struct dg_safetensors_tensor *source = dg_weight_file_at(fit->file, taken.source);
        fit->used[taken.source] = true;
        char text[LINE];
        bool resizes = other_grid(fit, source, &taken);
        if (!check_positions(fit, source, &taken)) {
            count_difference(fit, ours);
        } else if (same_shape(tensor, source) && !(resizes && fit->options->positions[0])) {
            memset(taken.from, 0, sizeof taken.from);
            taken.scale = find_scale(fit, theirs, rest, tensor);
            if (taken.scale != NONE) fit->scaled += !fit->used[taken.scale], fit->used[taken.scale] = true;
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
            add_line(&fit->shape, "another shape: %s", shapes(text, sizeof text, tensor, source));
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
static enum extra kind_of_extra(const struct fit *fit, const char *ours, const char *rest)
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
        const char *name = param_name(fit, t), *own = name ? dg_name_after(name, ours) : NULL;
        if (own && strcspn(own, ".") == length && !strncmp(own, rest, length))
            return ON_PATH; /* a part of a part of it */
    }
    return UNKNOWN;
}

/* Notes tensors under `theirs` that the plan has no place for. */
static void find_extra(struct fit *fit, const char *ours, const char *theirs)
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
        struct lines *lines = kind == ON_PATH ? &fit->extra : &fit->unknown;
        const char *near = lines->count < SHOWN ? dg_nearest_name(rest, plan_name, &(struct names){fit, ours, theirs},
                                                                  (int)fit->entry->num_tensors)
                                                : NULL;
        if (kind == ON_PATH)
            fit->on_path++;
        else
            fit->differences++;
        add_line(lines, "not in the plan: %.120s%s%s%.120s%s", name, near ? " (nearest there: " : "", near ? ours : "",
                 near ? near : "", near ? ")" : "");
    }
}

static size_t put_lines(const struct lines *lines, const char *more, char *text, size_t size)
{
    size_t used = 0;
    for (int64_t l = 0; l < dg_min_i64(lines->count, SHOWN) && used < size; l++)
        used += (size_t)snprintf(text + used, size - used, "\n  %s", lines->line[l]);
    if (lines->count > SHOWN && used < size)
        used += (size_t)snprintf(text + used, size - used, "\n  and %" PRId64 " more %s", lines->count - SHOWN, more);
    return used < size ? used : size - 1;
}

static void put_differences(const struct fit *fit, char *text, size_t size)
{
    *text = 0;
    size_t used = put_lines(&fit->missing, "that are missing", text, size);
    used += put_lines(&fit->extra, "that the plan does not have", text + used, size - used);
    used += put_lines(&fit->unknown, "that the plan does not have", text + used, size - used);
    put_lines(&fit->shape, "of another shape", text + used, size - used);
}

/* The parameters of the entry under `ours`, without it: what a backbone in the file is expected to have. */
static enum dg_status list_expected(const struct fit *fit, const char *ours, struct dg_network_choice *choice,
                                    struct dg_error *err)
{
    const char **name = calloc(fit->entry->num_tensors + 1, sizeof *name);
    if (!name) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
        const char *full = param_name(fit, t), *rest = full ? dg_name_after(full, ours) : NULL;
        if (rest) name[choice->names++] = rest;
    }
    choice->name = name;
    return DG_OK;
}

static enum dg_status open_fit(struct fit *fit, const struct dg_session *session, const char *ours,
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

static void close_fit(struct fit *fit)
{
    dg_weight_file_close(fit->file);
    free(fit->taken);
    free(fit->used);
}

/* `may_begin`: a training run may begin with what fits of another network, if the user says so. */
static enum dg_status check_fit(const struct fit *fit, bool partial, bool may_begin, struct dg_error *err)
{
    char text[1200];
    bool foreign = dg_weight_file_is_foreign(fit->file);
    put_differences(fit, text, sizeof text);
    if (fit->on_path && !(partial && may_begin))
        return dg_fail(err, DG_ERR_INPUT,
                       "%s%s%.120s%s is of another network than the plan: %" PRId64 " of the plan's %" PRId64
                       " tensors fit; compile a description that fits the weights%s",
                       fit->path, foreign ? " (" : "", foreign ? dg_weight_file_what(fit->file) : "",
                       foreign ? ")" : "", fit->count, fit->wanted, text);
    if (partial || !fit->differences) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT,
                   "%s has what the plan does not know, or in another shape; compile a description that fits the "
                   "weights, or take the rest (%" PRId64 " of the plan's %" PRId64 " tensors) with --partial%s",
                   fit->path, fit->count, fit->wanted, text);
}

static enum dg_status read_f32(const struct fit *fit, int index, float **data, struct dg_error *err)
{
    struct dg_safetensors_tensor source;
    DG_TRY(dg_weight_file_read(fit->file, index, &source, err));
    *data = malloc((size_t)dg_safetensors_elements(&source) * sizeof **data + 1);
    if (!*data) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (dg_safetensors_read_f32(&source, *data) == DG_OK) return DG_OK;
    free(*data);
    return dg_fail(err, DG_ERR_INPUT, "%s: %s is of type %s, the plan wants f32", fit->path, source.name,
                   dg_safetensors_dtype_name(source.dtype));
}

static enum dg_status resize(struct dg_session *session, const struct fit *fit, const struct taken *taken,
                             struct dg_error *err)
{
    float *table;
    DG_TRY(read_f32(fit, taken->source, &table, err));
    dg_position_resize(table, taken->from, dg_session_data(session, taken->tensor), taken->to,
                       fit->plan->tensor[taken->tensor].dim[2]);
    free(table);
    return DG_OK;
}

/* Multiplies the rows of a parameter by LayerScale's factors. */
static enum dg_status multiply(struct dg_session *session, const struct fit *fit, const struct taken *taken,
                               struct dg_error *err)
{
    const struct dg_plan_tensor *tensor = &fit->plan->tensor[taken->tensor];
    float *gamma, *data = dg_session_data(session, taken->tensor);
    DG_TRY(read_f32(fit, taken->scale, &gamma, err));
    int64_t width = (int64_t)(tensor->bytes / sizeof *data) / dg_max_i64(tensor->dim[0], 1);
    for (int64_t row = 0; row < tensor->dim[0]; row++)
        for (int64_t i = 0; i < width; i++) data[row * width + i] *= gamma[row];
    free(gamma);
    return DG_OK;
}

/* Copies what was taken under the plan's prefix `ours`. */
static enum dg_status copy(struct dg_session *session, const struct fit *fit, const char *ours, struct dg_error *err)
{
    for (int64_t i = 0; i < fit->count; i++) {
        const struct taken *taken = &fit->taken[i];
        struct dg_safetensors_tensor source;
        if (!dg_name_after(param_name(fit, taken->tensor), ours)) continue;
        if (taken->from[0]) {
            DG_TRY(resize(session, fit, taken, err));
            continue;
        }
        DG_TRY(dg_weight_file_read(fit->file, taken->source, &source, err));
        DG_TRY(dg_weights_copy(session, fit->plan, taken->tensor, &source, fit->path, err));
        if (taken->scale != NONE) DG_TRY(multiply(session, fit, taken, err));
    }
    return DG_OK;
}

/* Notes what the file has of other networks. */
static void note_others(struct fit *fit, const char *theirs)
{
    for (int i = 0; i < dg_weight_file_count(fit->file) && *theirs; i++) {
        const char *name = dg_weight_file_at(fit->file, i)->name;
        if (!fit->used[i] && !dg_name_after(name, theirs)) dg_groups_add(&fit->beside, name, 2);
    }
}

static bool is_taken(const struct fit *fit, int index)
{
    for (int64_t t = 0; t < fit->count; t++)
        if (fit->taken[t].source == index || fit->taken[t].scale == index) return true;
    return false;
}

/* Tensors of the file that were not taken, and what they are: "12 others in the file were not needed: head (8), fc (4)". */
static const char *not_needed(struct fit *fit, char *text, size_t size)
{
    int64_t all = dg_weight_file_beside_count(fit->file);
    for (int i = 0; i < dg_weight_file_count(fit->file); i++) all += !is_taken(fit, i);
    const char *of = dg_groups_text(&fit->beside), *others = dg_weight_file_beside(fit->file);
    size_t used = (size_t)snprintf(text, size, "%" PRId64 " others in the file were not needed", all);
    if ((*of || *others) && used < size)
        snprintf(text + used, size - used, ": %s%s%s, none of which changes the features", of,
                 *of && *others ? ", " : "", others);
    return text;
}

/* Says that a run does not go on where the file's stood, if the file says where. */
static void say_anew(const struct dg_session *session, const struct fit *fit)
{
    const struct dg_tensor_file *tensors = dg_weight_file_tensors(fit->file);
    const struct dg_pickle_value *object = dg_tensor_file_object(tensors);
    const char *epoch = dg_tensor_file_metadata(tensors, "epoch");
    bool optimizer = object && dg_pickle_get(object, "optimizer");
    for (int i = 0; i < dg_tensor_file_count(tensors) && !optimizer; i++)
        optimizer = dg_name_after(dg_tensor_file_at(tensors, i)->name, "optim.") != NULL;
    if (!optimizer && !epoch) return;
    dg_log(dg_session_log(session), DG_LOG_INFO, DG_LOG_LOAD,
           "%s: the optimiser's state%s%s%s is not used: the run begins at its first step (dinorun import FILE "
           "-o OUT/checkpoint.safetensors, and train --resume, go on from it)",
           fit->path, epoch ? " (after epoch " : "", epoch ? epoch : "", epoch ? ")" : "");
}

/* Lists what was not taken as it is in the file, a line each; "" if all was. Returns `text`. */
static const char *taken_differently(const struct fit *fit, char *text, size_t size)
{
    *text = 0;
    size_t used = put_lines(&fit->resized, "tables resized", text, size);
    if (fit->scaled && used < size)
        used += (size_t)snprintf(
            text + used, size - used,
            "\n  LayerScale, which the plan has no op for, is multiplied into attn.proj and mlp.fc2 (%" PRId64
            " tensors): the same network",
            fit->scaled);
    if (fit->zero && used < size)
        used += (size_t)snprintf(text + used, size - used,
                                 "\n  query, key and value have no bias in the file: it is zero (%" PRId64 " tensors)",
                                 fit->zero);
    if (fit->count < fit->wanted && used < size)
        used += (size_t)snprintf(text + used, size - used,
                                 "\n  %" PRId64 " of %" PRId64 " parameters keep their initial values",
                                 fit->wanted - fit->count, fit->wanted);
    if (used < size) put_differences(fit, text + used, size - used);
    return text;
}

static bool has_any(const struct fit *fit, const char *prefix)
{
    for (int i = 0; i < dg_weight_file_count(fit->file); i++)
        if (dg_name_after(dg_weight_file_at(fit->file, i)->name, prefix)) return true;
    return false;
}

/* Says what was recognised, if the names are another library's. */
static void say_what(const struct dg_session *session, const struct fit *fit)
{
    if (dg_weight_file_is_foreign(fit->file))
        dg_log(dg_session_log(session), DG_LOG_INFO, DG_LOG_LOAD, "%s: %s", fit->path, dg_weight_file_what(fit->file));
}

/* Warns if the library's layer norms have another epsilon than the plan's. */
static void compare_eps(const struct dg_session *session, const struct fit *fit)
{
    double theirs = dg_weight_file_eps(fit->file), ours = dg_plan_layer_norm_eps(fit->plan, fit->entry);
    if (theirs <= 0 || ours <= 0 || (theirs > 0.99 * ours && theirs < 1.01 * ours)) return;
    dg_log(
        dg_session_log(session), DG_LOG_WARNING, DG_LOG_LOAD,
        "note: the layer norms of these weights have eps %g where they are from, the plan's have %g: features differ "
        "by some 1e-4 of their size; for theirs compile the plan with --set eps=%g (of a recipe: student.with.eps)",
        theirs, ours, theirs);
}

/* --- evaluation --- */

static enum dg_status no_backbone(const struct fit *fit, const char *from, struct dg_error *err)
{
    const char *other = strcmp(from, "teacher") ? "teacher" : "student";
    char prefix[32];
    struct dg_groups groups = {0};
    snprintf(prefix, sizeof prefix, "%s.backbone.", other);
    if (has_any(fit, prefix))
        return dg_fail(err, DG_ERR_INPUT, "%s holds the %s's backbone, not the %s's: --weights-from %s", fit->path,
                       other, from, other);
    if (!dg_weight_file_count(fit->file)) return dg_fail(err, DG_ERR_INPUT, "%s holds no tensors", fit->path);
    for (int i = 0; i < dg_weight_file_count(fit->file); i++)
        dg_groups_add(&groups, dg_weight_file_at(fit->file, i)->name, 1);
    bool unknown = !strncmp(dg_weight_file_what(fit->file), "weights", 7);
    return dg_fail(err, DG_ERR_INPUT,
                   "%s (%.200s) holds none of the plan's parameters%s; its first tensor is %.100s, its tensors are: %s",
                   fit->path, dg_weight_file_what(fit->file),
                   unknown ? ", nor the names of a library that is known" : "", dg_weight_file_at(fit->file, 0)->name,
                   dg_groups_text(&groups));
}

static enum dg_status check_finite(const struct dg_session *session, const struct fit *fit, struct dg_error *err)
{
    char text[512];
    if (!dg_fault_in_stored(session, fit->plan, text, sizeof text)) return DG_OK;
    return dg_fail(err, DG_ERR_NUMERIC, "%s: %s, and gives no features: are its weights sound?", fit->path, text);
}

static enum dg_status load(struct dg_session *session, struct fit *fit, const struct dg_weights_options *options,
                           struct dg_error *err)
{
    const char *from = options->from ? options->from : "teacher";
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s.backbone.", from);
    if (!has_any(fit, prefix)) *prefix = 0;
    int64_t count = fit_network(fit, "", prefix);
    if (!count && !fit->shape.count) return no_backbone(fit, from, err);
    find_extra(fit, "", prefix);
    note_others(fit, prefix);
    DG_TRY(check_fit(fit, options->partial, false, err));
    if (fit->absent) DG_TRY(dg_session_initialize(session, 0, err));
    DG_TRY(copy(session, fit, "", err));
    say_what(session, fit);
    char what[32] = "a backbone", differences[MAX_DIFFERENCES], others[MAX_DIFFERENCES];
    if (*prefix) snprintf(what, sizeof what, "the %s's backbone", from);
    dg_log(dg_session_log(session), DG_LOG_INFO, DG_LOG_LOAD, "%s: %" PRId64 " tensors, %s; %s%s", fit->path,
           fit->count, what, not_needed(fit, others, sizeof others),
           taken_differently(fit, differences, sizeof differences));
    compare_eps(session, fit);
    return check_finite(session, fit, err);
}

enum dg_status dg_weights_load(struct dg_session *session, const struct dg_plan *plan, const char *path,
                               const struct dg_weights_options *options, struct dg_error *err)
{
    struct fit fit = {.plan = plan, .path = path, .options = options};
    enum dg_status status = open_fit(&fit, session, "", options, err);
    if (status == DG_OK) status = load(session, &fit, options, err);
    close_fit(&fit);
    return status;
}

/* --- training --- */

/* Compares a network that the file may lack. Returns how many of its tensors are taken. */
static int64_t fit_optional(struct fit *fit, const char *ours, const char *theirs)
{
    if (!has_any(fit, theirs)) return 0;
    int64_t taken = fit_network(fit, ours, theirs);
    find_extra(fit, ours, theirs);
    return taken;
}

/* What was taken beside the student's backbone. */
struct also {
    int64_t head, predictor, teacher_backbone, teacher_head, center;
};

/* Is there a predictor, which few recipes have? */
static bool has_predictor(const struct fit *fit)
{
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
        const char *name = param_name(fit, t);
        if (name && dg_name_after(name, "student.predictor.")) return true;
    }
    return false;
}

/* Compares all networks of the file. False: it has no backbone. */
static bool fit_all(struct fit *fit, struct also *also)
{
    const char *prefix = has_any(fit, "student.backbone.")   ? "student.backbone."
                         : has_any(fit, "teacher.backbone.") ? "teacher.backbone."
                                                             : "";
    int64_t backbone = fit_network(fit, "student.backbone.", prefix);
    if (!backbone && !fit->shape.count) return false;
    find_extra(fit, "student.backbone.", prefix);
    /* True if head.* beside a bare backbone is a DINO head, which has a last layer. Otherwise head.weight and head.bias
     * are a classifier. */
    bool beside = !has_any(fit, "student.head.") && dg_weight_file_find(fit->file, "head.last_layer.weight_v") >= 0;
    also->head = fit_optional(fit, "student.head.", beside ? "head." : "student.head.");
    also->predictor = has_predictor(fit) ? fit_optional(fit, "student.predictor.", "student.predictor.") : 0;
    also->teacher_backbone = fit_optional(fit, "teacher.backbone.", "teacher.backbone.");
    also->teacher_head = fit_optional(fit, "teacher.head.", "teacher.head.");
    also->center = dg_weight_file_find(fit->file, "center") >= 0 ? fit_network(fit, "center", "center") : 0;
    return true;
}

static enum dg_status init(struct dg_session *session, struct fit *fit, bool partial, struct dg_error *err)
{
    struct also also;
    if (!fit_all(fit, &also)) return no_backbone(fit, "student", err);
    DG_TRY(check_fit(fit, partial, true, err));
    DG_TRY(copy(session, fit, "student.", err));
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++)
        dg_session_copy_initial(session, t); /* now that the student is set */
    DG_TRY(copy(session, fit, "teacher.", err));
    DG_TRY(copy(session, fit, "center", err));
    say_what(session, fit);
    char differences[MAX_DIFFERENCES], others[MAX_DIFFERENCES];
    dg_log(dg_session_log(session), DG_LOG_INFO, DG_LOG_LOAD,
           "%s: student's backbone%s%s%s%s%s; the rest is new (%" PRId64 " tensors taken; %s)%s", fit->path,
           also.head ? ", student's head" : "", also.predictor ? ", its predictor" : "",
           also.teacher_backbone ? ", teacher's backbone" : "", also.teacher_head ? ", teacher's head" : "",
           also.center ? ", centre" : "", fit->count, not_needed(fit, others, sizeof others),
           taken_differently(fit, differences, sizeof differences));
    say_anew(session, fit);
    if (fit->on_path)
        dg_log(
            dg_session_log(session), DG_LOG_WARNING, DG_LOG_LOAD,
            "the backbone is another network than that of %s: the run begins with its tensors as far as they fit, but "
            "not with its features",
            fit->path);
    compare_eps(session, fit);
    return check_finite(session, fit, err);
}

enum dg_status dg_weights_init(struct dg_session *session, const struct dg_plan *plan, const char *path,
                               const struct dg_weights_options *options, struct dg_error *err)
{
    struct fit fit = {.plan = plan, .path = path, .options = options};
    enum dg_status status = open_fit(&fit, session, "student.backbone.", options, err);
    if (status == DG_OK) status = init(session, &fit, options->partial, err);
    close_fit(&fit);
    return status;
}

uint64_t dg_weights_hash(const struct dg_session *session, uint64_t hash)
{
    const struct dg_plan *plan = dg_session_plan(session);
    const struct dg_plan_entry *entry = dg_session_entry(session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++)
        if (plan->tensor[t].region == DG_REGION_PARAM)
            hash = dg_fnv1a(hash, dg_session_data(session, t), plan->tensor[t].bytes);
    return hash;
}

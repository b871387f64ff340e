#include "runtime/state/weights.h"

#include "ops/token/position.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 512, SHOWN = 3, LINE = 400, MAX_DIFFERENCES = 4096 };

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
    uint32_t tensor; /* of the plan */
    const struct dg_safetensors_tensor *source;
    int64_t from, to; /* grids of a position table to resize; 0: taken as it is */
};

/* Which tensors of a file an entry takes, and how the two differ. */
struct fit {
    const struct dg_plan *plan;
    const struct dg_plan_entry *entry;
    const struct dg_safetensors *file;
    const char *path;
    struct taken *taken;
    int64_t count, wanted;
    bool *used; /* tensors of the file */
    struct lines missing, extra, shape, resized;
};

static const char *rest_of(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) ? NULL : name + length;
}

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

static bool is_used(const struct fit *fit, const struct dg_safetensors_tensor *tensor)
{
    return fit->used[tensor - dg_safetensors_at(fit->file, 0)];
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
    const struct dg_safetensors_tensor *tensor = dg_safetensors_at(names->fit->file, index);
    return is_used(names->fit, tensor) ? NULL : rest_of(tensor->name, names->theirs);
}

static const struct dg_safetensors_tensor *find(const struct fit *fit, const char *prefix, const char *rest)
{
    char name[MAX_NAME];
    if (snprintf(name, sizeof name, "%s%s", prefix, rest) >= (int)sizeof name) return NULL;
    return dg_safetensors_find(fit->file, name);
}

static const char *plan_name(const void *context, int index)
{
    const struct names *names = context;
    const char *name = param_name(names->fit, names->fit->entry->first_tensor + (uint32_t)index),
               *rest = name ? rest_of(name, names->ours) : NULL;
    return rest && !find(names->fit, names->theirs, rest) ? rest : NULL;
}

/* True if both are position tables, of different square grids; sets the grids. */
static bool other_grid(const struct dg_plan_tensor *tensor, const struct dg_safetensors_tensor *source,
                       struct taken *taken)
{
    if (!ends(source->name, "pos_embed") || source->ndim != 3 || tensor->ndim != 3 || tensor->dtype != DG_F32 ||
        source->dim[0] != 1 || tensor->dim[0] != 1 || source->dim[2] != tensor->dim[2])
        return false;
    taken->from = dg_position_grid(source->dim[1]);
    taken->to = dg_position_grid(tensor->dim[1]);
    return taken->from && taken->to;
}

/* Compares the parameters under `ours` (a prefix of the plan's names) with the file's tensors under `theirs`. Returns
 * how many are taken. */
static int64_t fit_network(struct fit *fit, const char *ours, const char *theirs)
{
    int64_t before = fit->count;
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
        const char *name = param_name(fit, t), *rest = name ? rest_of(name, ours) : NULL;
        if (!rest) continue;
        fit->wanted++;
        const struct dg_plan_tensor *tensor = &fit->plan->tensor[t];
        struct taken taken = {.tensor = t, .source = find(fit, theirs, rest)};
        if (!taken.source) continue; /* named below, when all used tensors are known */
        fit->used[taken.source - dg_safetensors_at(fit->file, 0)] = true;
        char text[LINE];
        if (same_shape(tensor, taken.source)) {
            fit->taken[fit->count++] = taken;
        } else if (other_grid(tensor, taken.source, &taken)) {
            add_line(&fit->resized,
                     "%.120s: positions of %" PRId64 "x%" PRId64 " resized to %" PRId64 "x%" PRId64 " (bicubic)",
                     taken.source->name, taken.from, taken.from, taken.to, taken.to);
            fit->taken[fit->count++] = taken;
        } else {
            add_line(&fit->shape, "another shape: %s", shapes(text, sizeof text, tensor, taken.source));
        }
    }
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
        const char *name = param_name(fit, t), *rest = name ? rest_of(name, ours) : NULL;
        if (!rest || find(fit, theirs, rest)) continue;
        const char *near =
            fit->missing.count < SHOWN
                ? dg_nearest_name(rest, file_name, &(struct names){fit, ours, theirs}, dg_safetensors_count(fit->file))
                : NULL;
        add_line(&fit->missing, "missing from the file: %.120s%s%s%.120s%s", name, near ? " (nearest there: " : "",
                 near ? theirs : "", near ? near : "", near ? ")" : "");
    }
    return fit->count - before;
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

/* True for tensors that may be beside a bare backbone: heads, classifiers, and whatever else a full file has. */
static bool beside_backbone(const char *name)
{
    static const char *const other[] = {"head.", "fc.", "linear.", "student.", "teacher.", "optim."};
    for (size_t o = 0; o < sizeof other / sizeof *other; o++)
        if (rest_of(name, other[o])) return true;
    return !strcmp(name, "center");
}

/* Notes tensors under `theirs` that the plan has no place for. */
static void find_extra(struct fit *fit, const char *ours, const char *theirs)
{
    for (int i = 0; i < dg_safetensors_count(fit->file); i++) {
        const struct dg_safetensors_tensor *tensor = dg_safetensors_at(fit->file, i);
        const char *rest = rest_of(tensor->name, theirs);
        if (!rest || fit->used[i] || (!*theirs && beside_backbone(rest)) || known(fit, rest)) continue;
        const char *near =
            fit->extra.count < SHOWN
                ? dg_nearest_name(rest, plan_name, &(struct names){fit, ours, theirs}, (int)fit->entry->num_tensors)
                : NULL;
        add_line(&fit->extra, "not in the plan: %.120s%s%s%.120s%s", tensor->name, near ? " (nearest there: " : "",
                 near ? ours : "", near ? near : "", near ? ")" : "");
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
    put_lines(&fit->shape, "of another shape", text + used, size - used);
}

static enum dg_status open_fit(struct fit *fit, const struct dg_session *session, const struct dg_plan *plan,
                               const struct dg_safetensors *file, const char *path, struct dg_error *err)
{
    dg_log(dg_session_log(session), DG_LOG_TRACE, DG_LOG_LOAD, "weights %s: %d tensors", path,
           dg_safetensors_count(file));
    fit->plan = plan;
    fit->entry = dg_session_entry(session);
    fit->file = file;
    fit->path = path;
    fit->taken = calloc(fit->entry->num_tensors + 1, sizeof *fit->taken);
    fit->used = calloc((size_t)dg_safetensors_count(file) + 1, sizeof *fit->used);
    return fit->taken && fit->used ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

static void close_fit(struct fit *fit)
{
    free(fit->taken);
    free(fit->used);
}

static enum dg_status check_fit(const struct fit *fit, bool partial, struct dg_error *err)
{
    if (partial || (!fit->missing.count && !fit->extra.count && !fit->shape.count)) return DG_OK;
    char text[1200];
    put_differences(fit, text, sizeof text);
    return dg_fail(err, DG_ERR_INPUT,
                   "%s fits only in part: %" PRId64 " of %" PRId64
                   " tensors; compile a description that fits the weights, or "
                   "take what fits with --partial%s",
                   fit->path, fit->count, fit->wanted, text);
}

static enum dg_status resize(struct dg_session *session, const struct fit *fit, const struct taken *taken,
                             struct dg_error *err)
{
    float *table = malloc((size_t)dg_safetensors_elements(taken->source) * sizeof *table);
    if (!table) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = DG_OK;
    if (dg_safetensors_read_f32(taken->source, table) == DG_OK)
        dg_position_resize(table, taken->from, dg_session_data(session, taken->tensor), taken->to,
                           taken->source->dim[2]);
    else
        status = dg_fail(err, DG_ERR_INPUT, "%s: %s is of type %s, the plan wants f32", fit->path, taken->source->name,
                         dg_safetensors_dtype_name(taken->source->dtype));
    free(table);
    return status;
}

/* Copies what was taken under the plan's prefix `ours`. */
static enum dg_status copy(struct dg_session *session, const struct fit *fit, const char *ours, struct dg_error *err)
{
    for (int64_t i = 0; i < fit->count; i++) {
        const struct taken *taken = &fit->taken[i];
        if (!rest_of(param_name(fit, taken->tensor), ours)) continue;
        if (taken->from)
            DG_TRY(resize(session, fit, taken, err));
        else
            DG_TRY(dg_weights_copy(session, fit->plan, taken->tensor, taken->source, fit->path, err));
    }
    return DG_OK;
}

/* Lists what was not taken as it is in the file, a line each; "" if all was. Returns `text`. */
static const char *taken_differently(const struct fit *fit, char *text, size_t size)
{
    *text = 0;
    size_t used = put_lines(&fit->resized, "tables resized", text, size);
    if (fit->count < fit->wanted && used < size)
        used += (size_t)snprintf(text + used, size - used,
                                 "\n  %" PRId64 " of %" PRId64 " parameters keep their initial values",
                                 fit->wanted - fit->count, fit->wanted);
    if (used < size) put_differences(fit, text + used, size - used);
    return text;
}

/* The prefix under which the file has most of the backbone's parameters; NULL if it has none. */
static const char *backbone_prefix(const struct fit *fit, const char *ours, const char *network, char *room,
                                   size_t size)
{
    static const char *const prefixes[] = {"%s.backbone.", "%.0s", "%.0sbackbone.", "%.0smodule.backbone."};
    char prefix[64];
    int64_t most = 0;
    for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++) {
        int64_t found = 0;
        snprintf(prefix, sizeof prefix, prefixes[p], network);
        for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++) {
            const char *name = param_name(fit, t), *rest = name ? rest_of(name, ours) : NULL;
            found += rest && find(fit, prefix, rest);
        }
        if (found <= most) continue;
        most = found;
        snprintf(room, size, "%s", prefix);
    }
    return most ? room : NULL;
}

static bool has_any(const struct fit *fit, const char *prefix)
{
    for (int i = 0; i < dg_safetensors_count(fit->file); i++)
        if (rest_of(dg_safetensors_at(fit->file, i)->name, prefix)) return true;
    return false;
}

/* --- evaluation --- */

static enum dg_status no_backbone(const struct fit *fit, const char *from, struct dg_error *err)
{
    const char *other = strcmp(from, "teacher") ? "teacher" : "student";
    char prefix[32];
    snprintf(prefix, sizeof prefix, "%s.backbone.", other);
    if (has_any(fit, prefix))
        return dg_fail(err, DG_ERR_INPUT, "%s holds the %s's backbone, not the %s's: --weights-from %s", fit->path,
                       other, from, other);
    if (!dg_safetensors_count(fit->file)) return dg_fail(err, DG_ERR_INPUT, "%s holds no tensors", fit->path);
    return dg_fail(err, DG_ERR_INPUT,
                   "%s holds none of the plan's parameters, neither bare nor under %s.backbone.; its "
                   "first tensor is %.100s",
                   fit->path, from, dg_safetensors_at(fit->file, 0)->name);
}

static enum dg_status load(struct dg_session *session, struct fit *fit, const char *from, bool partial,
                           struct dg_error *err)
{
    char room[64];
    const char *prefix = backbone_prefix(fit, "", from, room, sizeof room);
    if (!prefix) return no_backbone(fit, from, err);
    fit_network(fit, "", prefix);
    find_extra(fit, "", prefix);
    DG_TRY(check_fit(fit, partial, err));
    if (fit->count < fit->wanted) DG_TRY(dg_session_initialize(session, 0, err));
    DG_TRY(copy(session, fit, "", err));
    char what[32] = "a backbone";
    if (*prefix) snprintf(what, sizeof what, "the %s's backbone", from);
    char differences[MAX_DIFFERENCES];
    dg_log(dg_session_log(session), DG_LOG_INFO, DG_LOG_LOAD,
           "%s: %" PRId64 " tensors, %s; %" PRId64 " others in the file were not needed%s", fit->path, fit->count, what,
           (int64_t)dg_safetensors_count(fit->file) - fit->count,
           taken_differently(fit, differences, sizeof differences));
    return DG_OK;
}

enum dg_status dg_weights_load(struct dg_session *session, const struct dg_plan *plan, const char *path,
                               const char *from, bool partial, struct dg_error *err)
{
    struct dg_safetensors *file;
    DG_TRY(dg_safetensors_open(path, &file, err));
    struct fit fit = {0};
    enum dg_status status = open_fit(&fit, session, plan, file, path, err);
    if (status == DG_OK) status = load(session, &fit, from, partial, err);
    close_fit(&fit);
    dg_safetensors_close(file);
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

static enum dg_status init(struct dg_session *session, struct fit *fit, bool partial, struct dg_error *err)
{
    char room[64];
    const char *prefix = backbone_prefix(fit, "student.backbone.", "student", room, sizeof room);
    if (!prefix)
        return dg_fail(err, DG_ERR_INPUT,
                       "%s holds no backbone: neither student.backbone.* nor bare names such as cls_token", fit->path);
    fit_network(fit, "student.backbone.", prefix);
    find_extra(fit, "student.backbone.", prefix);
    /* True if head.* beside a bare backbone is a DINO head, which has a last layer. Otherwise head.weight and head.bias
     * are a classifier. */
    bool beside = !has_any(fit, "student.head.") && dg_safetensors_find(fit->file, "head.last_layer.weight_v");
    int64_t head = fit_optional(fit, "student.head.", beside ? "head." : "student.head.");
    int64_t teacher_backbone = fit_optional(fit, "teacher.backbone.", "teacher.backbone.");
    int64_t teacher_head = fit_optional(fit, "teacher.head.", "teacher.head.");
    int64_t center = dg_safetensors_find(fit->file, "center") ? fit_network(fit, "center", "center") : 0;
    DG_TRY(check_fit(fit, partial, err));
    DG_TRY(copy(session, fit, "student.", err));
    for (uint32_t t = fit->entry->first_tensor; t < fit->entry->first_tensor + fit->entry->num_tensors; t++)
        dg_session_copy_initial(session, t); /* now that the student is set */
    DG_TRY(copy(session, fit, "teacher.", err));
    DG_TRY(copy(session, fit, "center", err));
    char differences[MAX_DIFFERENCES];
    dg_log(dg_session_log(session), DG_LOG_INFO, DG_LOG_LOAD,
           "%s: student's backbone%s%s%s%s; the rest is new (%" PRId64 " tensors taken, %" PRId64 " not needed)%s",
           fit->path, head ? ", student's head" : "", teacher_backbone ? ", teacher's backbone" : "",
           teacher_head ? ", teacher's head" : "", center ? ", centre" : "", fit->count,
           (int64_t)dg_safetensors_count(fit->file) - fit->count,
           taken_differently(fit, differences, sizeof differences));
    return DG_OK;
}

enum dg_status dg_weights_init(struct dg_session *session, const struct dg_plan *plan, const char *path, bool partial,
                               struct dg_error *err)
{
    struct dg_safetensors *file;
    DG_TRY(dg_safetensors_open(path, &file, err));
    struct fit fit = {0};
    enum dg_status status = open_fit(&fit, session, plan, file, path, err);
    if (status == DG_OK) status = init(session, &fit, partial, err);
    close_fit(&fit);
    dg_safetensors_close(file);
    return status;
}

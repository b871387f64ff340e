#include "runtime/formats/torch_import.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 256, MAX_REPEAT = 16, MAX_STATE = 64 };

struct entry {
    char name[MAX_NAME];
    const struct dg_pickle_tensor *tensor; /* NULL: a step count of the optimiser that is a plain number */
    int64_t number;
};

struct import {
    struct dg_torch_file *file;
    const char *from;
    struct entry *entry;
    int count, room;
    int64_t bytes;          /* of all tensors */
    int *uses;              /* of each storage, by entries not yet written */
    int held;               /* storage of the entry being written, or -1 */
    unsigned char *scratch; /* elements of a tensor that does not lie in one piece */
    char epoch[32];
    const struct dg_log *log;
    struct dg_error *err;
};

static void say(const struct import *im, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct import *im, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dg_log(im->log, DG_LOG_INFO, DG_LOG_LOAD, "%s", text);
}

/* "a, b, c and 12 more" as it grows. */
struct names {
    char text[300];
    int64_t count;
};

static void list_name(struct names *names, const char *name)
{
    size_t length = strlen(names->text);
    if (names->count++ < 4)
        snprintf(names->text + length, sizeof names->text - length, "%s%.60s", length ? ", " : "", name);
}

static const char *names_text(struct names *names)
{
    size_t length = strlen(names->text);
    if (names->count > 4)
        snprintf(names->text + length, sizeof names->text - length, " and %" PRId64 " more", names->count - 4);
    return names->text;
}

/* ---- the list of tensors to write ---- */

static const struct dg_pickle_storage *storage_of(const struct import *im, const struct dg_pickle_tensor *tensor)
{
    return dg_pickle_storage_at(dg_torch_pickle(im->file), tensor->storage);
}

static int64_t tensor_bytes(const struct import *im, const struct dg_pickle_tensor *tensor)
{
    int64_t bytes = dg_safetensors_dtype_size(storage_of(im, tensor)->dtype);
    for (int d = 0; d < tensor->ndim; d++)
        if (!dg_mul_i64(bytes, tensor->dim[d], &bytes)) return INT64_MAX;
    return bytes;
}

/* Adds an entry with a name to the list; NULL: an error was set. */
static struct entry *new_entry(struct import *im, const char *prefix, const char *name)
{
    if (im->count == DG_IMPORT_MAX_TENSORS) {
        dg_fail(im->err, DG_ERR_INPUT, "more than %d tensors", DG_IMPORT_MAX_TENSORS);
        return NULL;
    }
    if (im->count == im->room) {
        int room = im->room ? im->room * 2 : 256;
        struct entry *larger = realloc(im->entry, (size_t)room * sizeof *larger);
        if (!larger) {
            dg_fail(im->err, DG_ERR_MEMORY, "out of memory");
            return NULL;
        }
        im->entry = larger;
        im->room = room;
    }
    struct entry *entry = &im->entry[im->count];
    *entry = (struct entry){0};
    if (snprintf(entry->name, MAX_NAME, "%s%s", prefix, name) >= MAX_NAME) {
        dg_fail(im->err, DG_ERR_INPUT, "the name %.100s... is too long", name);
        return NULL;
    }
    im->count++;
    return entry;
}

static enum dg_status add(struct import *im, const char *prefix, const char *name,
                          const struct dg_pickle_tensor *tensor)
{
    struct entry *entry = new_entry(im, prefix, name);
    if (!entry) return DG_ERR_INPUT;
    entry->tensor = tensor;
    /* A tensor may repeat its elements (expand). Memory and disk space are bounded by the file's size even so. */
    int64_t limit = (int64_t)dg_torch_size(im->file) * MAX_REPEAT;
    if (!dg_add_i64(im->bytes, tensor_bytes(im, tensor), &im->bytes) || im->bytes > limit)
        return dg_fail(im->err, DG_ERR_INPUT, "%s: the tensors up to here take more than %d times the file's length",
                       entry->name, MAX_REPEAT);
    return DG_OK;
}

static enum dg_status add_number(struct import *im, const char *prefix, const char *name, int64_t number)
{
    struct entry *entry = new_entry(im, prefix, name);
    if (!entry) return DG_ERR_INPUT;
    entry->number = number;
    return DG_OK;
}

/* ---- names ---- */

static const char *after(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) ? NULL : name + length;
}

static bool ends(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && !strcmp(name + length - tail, suffix);
}

static const char *strip(const char *name, const char *prefix)
{
    for (const char *rest; (rest = after(name, prefix));) name = rest;
    return name;
}

/* Translates the names of PyTorch 2's parametrisation of weight normalisation to the published ones. */
static const char *official(const char *name, char *room)
{
    static const char *const spelled[][2] = {{"last_layer.parametrizations.weight.original0", "last_layer.weight_g"},
                                             {"last_layer.parametrizations.weight.original1", "last_layer.weight_v"}};
    for (int s = 0; s < 2; s++)
        if (ends(name, spelled[s][0]) && strlen(name) < MAX_NAME) {
            snprintf(room, MAX_NAME, "%.*s%s", (int)(strlen(name) - strlen(spelled[s][0])), name, spelled[s][1]);
            return room;
        }
    return name;
}

/* ---- kinds of files ---- */

static bool is_dict(const struct dg_pickle_value *value) { return value && value->kind == DG_PICKLE_DICT; }

/* The text of a dict's key, "?" when it is none. */
static const char *key_at(const struct dg_pickle_value *dict, int64_t index)
{
    const char *text = dg_pickle_text(dict->list.item[index]);
    return text ? text : "?";
}

/* Reads student or teacher of a full checkpoint. Names that are neither below backbone. nor below head. are of the
 * first revision, where the backbone owned the head. */
static enum dg_status add_network(struct import *im, const struct dg_pickle_value *dict, const char *network)
{
    struct names skipped = {{0}, 0};
    int64_t backbone = 0, head = 0, old = 0;
    for (int64_t i = 0; i < dict->list.count; i += 2) {
        const struct dg_pickle_value *value = dict->list.item[i + 1];
        const char *key = key_at(dict, i);
        if (value->kind != DG_PICKLE_TENSOR) {
            list_name(&skipped, key);
            continue;
        }
        char prefix[64], room[MAX_NAME];
        const char *name = strip(official(key, room), "module."), *rest = after(name, "head.");
        bool in_head = rest != NULL;
        if (!rest) rest = after(name, "backbone.");
        if (!rest) {
            rest = name;
            old++;
        }
        snprintf(prefix, sizeof prefix, "%s.%s.", network, in_head ? "head" : "backbone");
        DG_TRY(add(im, prefix, rest, value->tensor));
        ++*(in_head ? &head : &backbone);
    }
    say(im, "%s: %" PRId64 " tensors of the backbone, %" PRId64 " of the head%s", network, backbone, head,
        old ? " (the names of the first revision, now with backbone.)" : "");
    if (skipped.count) say(im, "%s: left out, no tensors: %s", network, names_text(&skipped));
    return DG_OK;
}

/* Reads a network's own state dict. */
static enum dg_status add_flat(struct import *im, const struct dg_pickle_value *dict)
{
    bool resnet = false, vit = false;
    char room[MAX_NAME];
    for (int64_t i = 0; i < dict->list.count; i += 2) {
        const char *name = strip(strip(key_at(dict, i), "module."), "backbone.");
        resnet |= !strcmp(name, "layer1.0.conv1.weight");
        vit |= !strcmp(name, "patch_embed.proj.weight");
    }
    struct names skipped = {{0}, 0}, classifier = {{0}, 0};
    int first = im->count;
    for (int64_t i = 0; i < dict->list.count; i += 2) {
        const struct dg_pickle_value *value = dict->list.item[i + 1];
        const char *key = key_at(dict, i);
        if (value->kind != DG_PICKLE_TENSOR) {
            list_name(&skipped, key);
            continue;
        }
        const char *name = strip(strip(official(key, room), "module."), "backbone.");
        bool last = (resnet && (!strcmp(name, "fc.weight") || !strcmp(name, "fc.bias"))) ||
                    (vit && (!strcmp(name, "head.weight") || !strcmp(name, "head.bias")));
        if (last)
            list_name(&classifier, name);
        else
            DG_TRY(add(im, "", name, value->tensor));
    }
    bool linear = im->count > first && after(im->entry[first].name, "linear.");
    say(im, "%s: %d tensors",
        linear   ? "a linear probe"
        : vit    ? "a Vision Transformer's weights"
        : resnet ? "a ResNet's weights"
                 : "weights",
        im->count - first);
    if (classifier.count) say(im, "left out: %s, a classifier; the backbone ends before it", names_text(&classifier));
    if (skipped.count) say(im, "left out, no tensors: %s", names_text(&skipped));
    return DG_OK;
}

/* ---- the optimiser's state ---- */

struct parameters {
    const struct entry *decayed[DG_IMPORT_MAX_TENSORS], *others[DG_IMPORT_MAX_TENSORS];
    int decayed_count, others_count;
};

/* The student's parameters as the published code groups them: weight decay for what has two dimensions and no name in
 * .bias, each group in the order of the modules. Buffers are no parameters; a frozen weight_g is not the
 * optimiser's. */
static void group(const struct import *im, struct parameters *p, bool frozen_g)
{
    p->decayed_count = p->others_count = 0;
    for (int e = 0; e < im->count; e++) {
        const struct entry *entry = &im->entry[e];
        if (!after(entry->name, "student.") || ends(entry->name, ".running_mean") ||
            ends(entry->name, ".running_var") || ends(entry->name, ".num_batches_tracked") ||
            (frozen_g && ends(entry->name, "last_layer.weight_g")))
            continue;
        if (ends(entry->name, ".bias") || entry->tensor->ndim == 1)
            p->others[p->others_count++] = entry;
        else
            p->decayed[p->decayed_count++] = entry;
    }
}

/* The keys of a group's parameters in "state"; NULL when there is no such group. */
static const struct dg_pickle_value *group_keys(const struct dg_pickle_value *groups, int64_t index)
{
    if (!groups || groups->kind != DG_PICKLE_LIST || index >= groups->list.count) return NULL;
    const struct dg_pickle_value *keys = dg_pickle_get(groups->list.item[index], "params");
    return keys && keys->kind == DG_PICKLE_LIST ? keys : NULL;
}

/* The state under an integer key, or NULL. */
static const struct dg_pickle_value *state_of(const struct dg_pickle_value *state, const struct dg_pickle_value *key)
{
    for (int64_t i = 0; i < state->list.count; i += 2) {
        const struct dg_pickle_value *k = state->list.item[i];
        if (k->kind == DG_PICKLE_INT && key->kind == DG_PICKLE_INT && k->i == key->i) return state->list.item[i + 1];
    }
    return NULL;
}

static bool same_shape(const struct dg_pickle_tensor *a, const struct dg_pickle_tensor *b)
{
    return a->ndim == b->ndim && !memcmp(a->dim, b->dim, sizeof a->dim);
}

/* The only element of an f32 or i64 tensor, as a whole number: newer versions keep step counts so. */
static enum dg_status whole_number(struct import *im, const struct dg_pickle_tensor *tensor, int64_t *number)
{
    const void *bytes;
    enum dg_safetensors_dtype dtype = storage_of(im, tensor)->dtype;
    int64_t size = dg_safetensors_dtype_size(dtype);
    if (tensor_bytes(im, tensor) != size || storage_of(im, tensor)->elements > 64 ||
        (dtype != DG_SAFETENSORS_F32 && dtype != DG_SAFETENSORS_I64))
        return dg_fail(im->err, DG_ERR_INPUT, "a step count of the optimiser is not one number");
    DG_TRY(dg_torch_storage(im->file, tensor->storage, &bytes, im->err));
    const unsigned char *at = (const unsigned char *)bytes + tensor->offset * size;
    float real;
    memcpy(dtype == DG_SAFETENSORS_F32 ? (void *)&real : (void *)number, at, (size_t)size);
    dg_torch_release(im->file, tensor->storage);
    if (dtype == DG_SAFETENSORS_F32) {
        if (!(real >= 0 && real < 0x1p53f))
            return dg_fail(im->err, DG_ERR_INPUT, "a step count of the optimiser is %g", (double)real);
        *number = (int64_t)real;
    }
    return DG_OK;
}

/* Reads an optimiser's state of one parameter. If it does not fit, `*why` says so. */
static enum dg_status add_state(struct import *im, const struct dg_pickle_value *state, const char *name,
                                const struct dg_pickle_tensor *parameter, const char **why)
{
    static const struct {
        const char *theirs, *ours;
    } kinds[] = {{"exp_avg", "exp_avg"},
                 {"exp_avg_sq", "exp_avg_sq"},
                 {"momentum_buffer", "momentum"}, /* SGD */
                 {"mu", "momentum"}};             /* the published LARS */
    char prefix[32];
    if (state->list.count > 2 * MAX_STATE) { /* it is searched many times */
        *why = "it keeps too much of a parameter";
        return DG_OK;
    }
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const struct dg_pickle_value *value = dg_pickle_get(state, kinds[k].theirs);
        if (!value || value->kind != DG_PICKLE_TENSOR) continue;
        if (!same_shape(value->tensor, parameter)) {
            *why = "a moment has another shape than its parameter";
            return DG_OK;
        }
        snprintf(prefix, sizeof prefix, "optim.%s.", kinds[k].ours);
        DG_TRY(add(im, prefix, name, value->tensor));
    }
    const struct dg_pickle_value *step = dg_pickle_get(state, "step");
    int64_t number = 0;
    if (!step) return DG_OK;
    if (step->kind == DG_PICKLE_TENSOR)
        DG_TRY(whole_number(im, step->tensor, &number));
    else
        number = step->i;
    if (step->kind != DG_PICKLE_TENSOR && step->kind != DG_PICKLE_INT) return DG_OK;
    return add_number(im, "optim.step.", name, number);
}

static enum dg_status add_group(struct import *im, const struct dg_pickle_value *state,
                                const struct dg_pickle_value *keys, const struct entry **entry, int count,
                                const char **why)
{
    for (int p = 0; p < count && !*why; p++) {
        const struct dg_pickle_value *of = state_of(state, keys->list.item[p]);
        char name[MAX_NAME]; /* the list of entries moves as it grows */
        snprintf(name, sizeof name, "%s", entry[p]->name);
        if (is_dict(of)) DG_TRY(add_state(im, of, name, entry[p]->tensor, why));
    }
    return DG_OK;
}

/* Reads the optimiser's state. The optimiser numbers its parameters; the order of the groups says which number is
 * which. If that does not fit, its state is left out: the networks do not need it. */
static enum dg_status add_optimizer(struct import *im, const struct dg_pickle_value *optimizer)
{
    const struct dg_pickle_value *state = dg_pickle_get(optimizer, "state"),
                                 *groups = dg_pickle_get(optimizer, "param_groups");
    const struct dg_pickle_value *decayed = group_keys(groups, 0), *others = group_keys(groups, 1);
    const char *why = NULL;
    int before = im->count;
    int64_t bytes = im->bytes;
    struct parameters *p = malloc(sizeof *p);
    struct entry *copy = malloc((size_t)(im->count + 1) * sizeof *copy);
    enum dg_status status = p && copy ? DG_OK : dg_fail(im->err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) {
        memcpy(copy, im->entry, (size_t)im->count * sizeof *copy);
        struct import fixed = *im;
        fixed.entry = copy; /* groups point into it while the list grows */
        for (int frozen = 0; frozen < 2; frozen++) {
            group(&fixed, p, frozen);
            if (decayed && p->decayed_count == decayed->list.count) break;
        }
        if (!is_dict(state) || !decayed || !others || decayed->list.count != p->decayed_count ||
            others->list.count != p->others_count)
            why = "its groups are not those of the published code";
        else if (state->list.count > 2 * DG_IMPORT_MAX_TENSORS)
            why = "it has too many entries";
    }
    if (status == DG_OK && !why) status = add_group(im, state, decayed, p->decayed, p->decayed_count, &why);
    if (status == DG_OK && !why) status = add_group(im, state, others, p->others, p->others_count, &why);
    if (status == DG_OK && why) {
        im->count = before;
        im->bytes = bytes;
        say(im, "optimizer: left out, %s", why);
    } else if (status == DG_OK) {
        say(im, "optimizer: %d tensors of its state", im->count - before);
    }
    free(p);
    free(copy);
    return status;
}

/* ---- the file ---- */

static enum dg_status add_full(struct import *im, const struct dg_pickle_value *object)
{
    static const char *const networks[] = {"student", "teacher"};
    for (int n = 0; n < 2; n++) {
        const struct dg_pickle_value *dict = dg_pickle_get(object, networks[n]);
        if (is_dict(dict)) DG_TRY(add_network(im, dict, networks[n]));
    }
    const struct dg_pickle_value *loss = dg_pickle_get(object, "dino_loss"), *center = dg_pickle_get(loss, "center"),
                                 *optimizer = dg_pickle_get(object, "optimizer"),
                                 *epoch = dg_pickle_get(object, "epoch");
    if (center && center->kind == DG_PICKLE_TENSOR) {
        DG_TRY(add(im, "", "center", center->tensor));
        say(im, "centre: 1 tensor");
    }
    if (is_dict(optimizer)) DG_TRY(add_optimizer(im, optimizer));
    if (epoch && epoch->kind == DG_PICKLE_INT) {
        snprintf(im->epoch, sizeof im->epoch, "%" PRId64, epoch->i);
        say(im, "epochs done: %s", im->epoch);
    }
    return DG_OK;
}

/* Notes the entries that were not read. */
static void say_rest(const struct import *im, const struct dg_pickle_value *object, const char *const *known)
{
    struct names names = {{0}, 0};
    for (int64_t i = 0; i < object->list.count; i += 2) {
        const char *key = key_at(object, i);
        int k = 0;
        while (known[k] && strcmp(known[k], key)) k++;
        if (!known[k]) list_name(&names, key);
    }
    if (names.count) say(im, "left out: %s", names_text(&names));
}

static enum dg_status collect(struct import *im)
{
    static const char *const full[] = {"student", "teacher", "dino_loss", "optimizer", "epoch", NULL},
                             *const inner[] = {"state_dict", "model", NULL};
    const struct dg_pickle_value *object = dg_torch_object(im->file);
    if (object->kind == DG_PICKLE_TENSOR)
        return dg_fail(im->err, DG_ERR_INPUT, "a single tensor without a name, not a state dict");
    if (object->kind != DG_PICKLE_DICT)
        return dg_fail(im->err, DG_ERR_INPUT, "what was saved is not a dict of tensors");
    if (is_dict(dg_pickle_get(object, "student")) || is_dict(dg_pickle_get(object, "teacher"))) {
        say(im, "%s: a full checkpoint (%s form)", im->from, dg_torch_form(im->file));
        DG_TRY(add_full(im, object));
        say_rest(im, object, full);
    } else {
        say(im, "%s: weights (%s form)", im->from, dg_torch_form(im->file));
        for (int k = 0; inner[k] && !im->count; k++) {
            const struct dg_pickle_value *dict = dg_pickle_get(object, inner[k]);
            if (!is_dict(dict)) continue;
            DG_TRY(add_flat(im, dict));
            say_rest(im, object, (const char *const[]){inner[k], NULL});
        }
        if (!im->count) DG_TRY(add_flat(im, object));
    }
    if (im->count) return DG_OK;
    struct names names = {{0}, 0};
    for (int64_t i = 0; i < object->list.count; i += 2) list_name(&names, key_at(object, i));
    return dg_fail(im->err, DG_ERR_INPUT,
                   "no tensors in it, nor under student, teacher, state_dict or model; its keys are %s",
                   names.count ? names_text(&names) : "none");
}

static int compare_names(const void *a, const void *b)
{
    const struct entry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* Two keys may become one name: module.a and a. */
static enum dg_status check_names(const struct import *im)
{
    const struct entry **sorted = malloc((size_t)im->count * sizeof *sorted);
    if (!sorted) return dg_fail(im->err, DG_ERR_MEMORY, "out of memory");
    for (int e = 0; e < im->count; e++) sorted[e] = &im->entry[e];
    qsort(sorted, (size_t)im->count, sizeof *sorted, compare_names);
    enum dg_status status = DG_OK;
    for (int e = 1; e < im->count && status == DG_OK; e++)
        if (!strcmp(sorted[e - 1]->name, sorted[e]->name))
            status = dg_fail(im->err, DG_ERR_INPUT, "two tensors would be called %s", sorted[e]->name);
    free(sorted);
    return status;
}

/* ---- elements ---- */

static bool in_one_piece(const struct dg_pickle_tensor *tensor)
{
    int64_t stride = 1;
    for (int d = tensor->ndim - 1; d >= 0; d--) {
        if (tensor->dim[d] != 1 && tensor->stride[d] != stride) return false;
        stride *= tensor->dim[d];
    }
    return true;
}

/* Elements in row-major order, the last dimension as the inner loop. */
static void gather(const struct dg_pickle_tensor *tensor, size_t size, const unsigned char *from, unsigned char *to)
{
    int64_t index[DG_SAFETENSORS_MAX_DIMS] = {0};
    int inner = tensor->ndim - 1; /* a scalar is always in one piece */
    for (;;) {
        int64_t at = tensor->offset;
        for (int d = 0; d < inner; d++) at += index[d] * tensor->stride[d];
        for (int64_t i = 0; i < tensor->dim[inner]; i++, to += size)
            memcpy(to, from + (size_t)(at + i * tensor->stride[inner]) * size, size);
        int d = inner - 1;
        while (d >= 0 && ++index[d] == tensor->dim[d]) index[d--] = 0;
        if (d < 0) return;
    }
}

static void release_held(struct import *im)
{
    if (im->held >= 0 && --im->uses[im->held] == 0) dg_torch_release(im->file, im->held);
    im->held = -1;
    free(im->scratch);
    im->scratch = NULL;
}

static enum dg_status give(void *context, int index, const void **data, struct dg_error *err)
{
    struct import *im = context;
    const struct entry *entry = &im->entry[index];
    release_held(im);
    if (!entry->tensor) {
        *data = &entry->number;
        return DG_OK;
    }
    const struct dg_pickle_tensor *tensor = entry->tensor;
    int64_t bytes = tensor_bytes(im, tensor);
    im->held = tensor->storage;
    *data = "";
    if (!bytes) return DG_OK;
    const void *storage;
    DG_TRY(dg_torch_storage(im->file, tensor->storage, &storage, err));
    size_t size = (size_t)dg_safetensors_dtype_size(storage_of(im, tensor)->dtype);
    if (in_one_piece(tensor)) {
        *data = (const unsigned char *)storage + (size_t)tensor->offset * size;
        return DG_OK;
    }
    im->scratch = malloc((size_t)bytes);
    if (!im->scratch) return dg_fail(err, DG_ERR_MEMORY, "no memory for %s", entry->name);
    gather(tensor, size, storage, im->scratch);
    *data = im->scratch;
    return DG_OK;
}

static enum dg_status write_file(struct import *im, const char *out)
{
    struct dg_safetensors_item *item = calloc((size_t)im->count, sizeof *item);
    im->uses = calloc((size_t)dg_pickle_storages(dg_torch_pickle(im->file)) + 1, sizeof *im->uses);
    enum dg_status status = item && im->uses ? DG_OK : dg_fail(im->err, DG_ERR_MEMORY, "out of memory");
    for (int e = 0; e < im->count && status == DG_OK; e++) {
        const struct dg_pickle_tensor *tensor = im->entry[e].tensor;
        item[e].name = im->entry[e].name;
        item[e].dtype = DG_SAFETENSORS_I64;
        if (!tensor) continue;
        item[e].dtype = storage_of(im, tensor)->dtype;
        item[e].ndim = tensor->ndim;
        memcpy(item[e].dim, tensor->dim, sizeof tensor->dim);
        im->uses[tensor->storage]++;
    }
    const char *slash = strrchr(im->from, '/');
    const struct dg_safetensors_meta meta[] = {
        {"format", "pt"}, {"imported_from", slash ? slash + 1 : im->from}, {"epoch", im->epoch}};
    if (status == DG_OK && out)
        status = dg_safetensors_write_from(out, item, im->count, meta, im->epoch[0] ? 3 : 2, give, im, im->err);
    for (int e = 0; e < im->count && status == DG_OK && !out; e++) {
        const void *data;
        status = give(im, e, &data, im->err);
    }
    if (status == DG_OK) release_held(im);
    free(im->scratch);
    free(im->uses);
    free(item);
    return status;
}

enum dg_status dg_torch_import_file(struct dg_torch_file *file, const char *from, const char *out,
                                    const struct dg_log *log, struct dg_error *err)
{
    struct import im = {.file = file, .from = from, .held = -1, .log = log, .err = err};
    enum dg_status status = collect(&im);
    if (status == DG_OK) status = check_names(&im);
    if (status == DG_OK) status = write_file(&im, out);
    if (status != DG_OK) dg_error_prefix(err, "%s", from);
    free(im.entry);
    return status;
}

enum dg_status dg_torch_import(const char *in, const char *out, const struct dg_log *log, struct dg_error *err)
{
    struct dg_torch_file *file;
    DG_TRY(dg_torch_open(in, &file, err));
    enum dg_status status = dg_torch_import_file(file, in, out, log, err);
    dg_torch_close(file);
    return status;
}

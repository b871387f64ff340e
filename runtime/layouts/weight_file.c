#include "runtime/layouts/weight_file.h"

#include "runtime/base/name.h"
#include "runtime/layouts/groups.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHAT = 1500, PATH = 4096, MOST_POSITIONS = 1 << 30 };

struct entry {
    char *name;
    int source[DG_LAYOUT_PARTS]; /* of the tensor file; -1: none */
    bool joined;
    int64_t before; /* bytes of zeros before the source's: the class token's position */
    int64_t number; /* where there is no source */
};

struct dg_weight_file {
    struct dg_tensor_file *tensors;
    struct dg_networks networks;
    struct entry *entry;
    struct dg_safetensors_tensor *tensor; /* of each entry */
    int *by_name;
    int count, room, sorted; /* sorted: entries in by_name */
    bool foreign;
    void *scratch;
    double eps;
    struct dg_groups beside;
    const char *beside_text;
    char what[WHAT];
};

/* ---- the list ---- */

static enum dg_status new_entry(struct dg_weight_file *f, const char *name, int source, struct dg_error *err)
{
    if (f->count == f->room) {
        int room = f->room ? 2 * f->room : 512;
        struct entry *entry = realloc(f->entry, (size_t)room * sizeof *entry);
        if (entry) f->entry = entry;
        struct dg_safetensors_tensor *tensor = realloc(f->tensor, (size_t)room * sizeof *tensor);
        if (tensor) f->tensor = tensor;
        int *by_name = realloc(f->by_name, (size_t)room * sizeof *by_name);
        if (by_name) f->by_name = by_name;
        if (!entry || !tensor || !by_name) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
        f->room = room;
    }
    struct entry *entry = &f->entry[f->count];
    *entry = (struct entry){.name = strdup(name), .source = {source, -1, -1}};
    if (!entry->name) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    struct dg_safetensors_tensor *tensor = &f->tensor[f->count++];
    *tensor =
        (struct dg_safetensors_tensor){.name = entry->name, .dtype = DG_SAFETENSORS_I64, .bytes = sizeof entry->number};
    if (source < 0) return DG_OK;
    const struct dg_named_tensor *named = dg_tensor_file_at(f->tensors, source);
    tensor->dtype = named->dtype;
    tensor->ndim = named->ndim;
    memcpy(tensor->dim, named->dim, sizeof tensor->dim);
    tensor->bytes = (uint64_t)dg_tensor_file_bytes(f->tensors, source);
    return DG_OK;
}

/* Adds a third of a tensor: query, key and value below each other. */
static enum dg_status add_part(struct dg_weight_file *f, const char *name, int part, int source, struct dg_error *err)
{
    int e = f->count - 1;
    while (e >= 0 && !(f->entry[e].joined && !strcmp(f->entry[e].name, name))) e--;
    if (e < 0) {
        DG_TRY(new_entry(f, name, -1, err));
        e = f->count - 1;
        f->entry[e].joined = true;
    }
    if (f->entry[e].source[part - 1] >= 0) return dg_fail(err, DG_ERR_INPUT, "two tensors would be part of %s", name);
    f->entry[e].source[part - 1] = source;
    return DG_OK;
}

static bool is_square(int64_t n)
{
    int64_t side = 0;
    while (side * side < n) side++;
    return side * side == n;
}

/* Adds a table of positions [1, patches, dim] as [1, 1 + patches, dim]: that of the class token is zeros, since it is within. One that
 * has positions of the class token and of the registers stays as it is, and fits no network here. */
static enum dg_status add_patches(struct dg_weight_file *f, const char *name, const char *prefix, int source,
                                  struct dg_error *err)
{
    int64_t registers = 0;
    for (int i = 0; i < f->networks.names; i++) {
        const char *rest = dg_name_after(f->networks.name[i], prefix);
        if (rest && !strcmp(rest, "reg_token")) registers = dg_tensor_file_at(f->tensors, i)->dim[1];
    }
    DG_TRY(new_entry(f, name, source, err));
    struct dg_safetensors_tensor *tensor = &f->tensor[f->count - 1];
    if (tensor->ndim != 3 || tensor->dim[0] != 1 || tensor->dim[1] < 1 || tensor->dim[1] > MOST_POSITIONS)
        return dg_fail(err, DG_ERR_INPUT, "%s is no table of positions [1, patches, dim]", name);
    if (!is_square(tensor->dim[1]) && is_square(tensor->dim[1] - 1 - registers)) return DG_OK;
    f->entry[f->count - 1].before = (int64_t)tensor->bytes / tensor->dim[1];
    tensor->bytes += (uint64_t)f->entry[f->count - 1].before;
    tensor->dim[1]++;
    return DG_OK;
}

/* Sets the shapes of the joined tensors. */
static enum dg_status check_parts(struct dg_weight_file *f, struct dg_error *err)
{
    const struct dg_name_layout *layout = f->networks.count ? f->networks.item[0].layout : NULL;
    bool optional = layout && layout->keys_without_bias;
    for (int e = 0; e < f->count; e++) {
        const struct entry *entry = &f->entry[e];
        if (!entry->joined) continue;
        const struct dg_named_tensor *part[DG_LAYOUT_PARTS] = {0};
        for (int p = 0; p < DG_LAYOUT_PARTS; p++)
            if (entry->source[p] >= 0) part[p] = dg_tensor_file_at(f->tensors, entry->source[p]);
        if (optional && !part[1] && part[0] && part[0]->ndim == 1) part[1] = part[0]; /* zeros, when it is read */
        for (int p = 0; p < DG_LAYOUT_PARTS; p++)
            if (!part[p] || part[p]->ndim < 1 || part[p]->ndim != part[0]->ndim || part[p]->dtype != part[0]->dtype ||
                memcmp(part[p]->dim, part[0]->dim, sizeof part[0]->dim))
                return dg_fail(err, DG_ERR_INPUT,
                               "%s is of query, key and value: not all are there, of one shape and type", entry->name);
        struct dg_safetensors_tensor *tensor = &f->tensor[e];
        tensor->dtype = part[0]->dtype;
        tensor->ndim = part[0]->ndim;
        memcpy(tensor->dim, part[0]->dim, sizeof tensor->dim);
        int64_t bytes = dg_tensor_file_bytes(f->tensors, entry->source[0]);
        if (!dg_mul_i64(tensor->dim[0], DG_LAYOUT_PARTS, &tensor->dim[0]) ||
            !dg_mul_i64(bytes, DG_LAYOUT_PARTS, &bytes))
            return dg_fail(err, DG_ERR_INPUT, "%s is too large", entry->name);
        tensor->bytes = (uint64_t)bytes;
    }
    return DG_OK;
}

static int compare_entries(const void *a, const void *b, void *entries)
{
    const struct entry *entry = entries;
    return strcmp(entry[*(const int *)a].name, entry[*(const int *)b].name);
}

/* Two tensors may come to one name: module.a and a. */
static enum dg_status sort_names(struct dg_weight_file *f, struct dg_error *err)
{
    for (int e = 0; e < f->count; e++) f->by_name[e] = e;
    if (f->count) qsort_r(f->by_name, (size_t)f->count, sizeof *f->by_name, compare_entries, f->entry);
    f->sorted = f->count;
    for (int e = 1; e < f->count; e++)
        if (!strcmp(f->entry[f->by_name[e - 1]].name, f->entry[f->by_name[e]].name))
            return dg_fail(err, DG_ERR_INPUT, "two tensors would be called %s", f->entry[f->by_name[e]].name);
    return DG_OK;
}

/* ---- names ---- */

/* The prefix of a network's head: head. beside backbone., as in teacher_head. and teacher_backbone. */
static bool head_prefix(const struct dg_file_network *network, char prefix[DG_LAYOUT_NAME])
{
    static const char last[] = "backbone.";
    size_t length = strlen(network->prefix), tail = sizeof last - 1;
    if (length < tail || strcmp(network->prefix + length - tail, last)) return false;
    snprintf(prefix, DG_LAYOUT_NAME, "%.*shead.", (int)(length - tail), network->prefix);
    return true;
}

/* Adds tensor `i` if it is of the network or its head. */
static enum dg_status take(struct dg_weight_file *f, const struct dg_file_network *network, int i, bool *taken,
                           struct dg_error *err)
{
    const char *name = f->networks.name[i], *rest = dg_name_after(name, network->prefix);
    char ours[DG_LAYOUT_NAME], full[2 * DG_LAYOUT_NAME], head[DG_LAYOUT_NAME];
    const char *role = network->role ? network->role : "", *dot = network->role ? "." : "";
    bool beside = head_prefix(network, head);
    *taken = true;
    if (rest && !(network->role && !beside && dg_name_after(rest, "head."))) {
        int part = network->layout ? dg_layout_translate(network->layout, rest, ours) : 0;
        if (network->layout) rest = ours;
        snprintf(full, sizeof full, "%s%s%s%s", role, dot, network->role ? "backbone." : "", rest);
        if (part == DG_LAYOUT_PATCHES) return add_patches(f, full, network->prefix, i, err);
        return part ? add_part(f, full, part, i, err) : new_entry(f, full, i, err);
    }
    if (!rest)
        rest = beside ? dg_name_after(name, head) : NULL;
    else
        rest = dg_name_after(rest, "head.");
    if (!rest) {
        *taken = false;
        return DG_OK;
    }
    snprintf(full, sizeof full, "%s%shead.%s", role, dot, rest);
    return new_entry(f, full, i, err);
}

/* The state of our optimiser is under the names of its parameters; a bundle has plans and a head beside them. */
static bool is_ours(const char *name) { return dg_name_after(name, "optim.") || dg_name_after(name, "dinograph."); }

static enum dg_status take_all(struct dg_weight_file *f, struct dg_error *err)
{
    for (int i = 0; i < dg_tensor_file_count(f->tensors); i++) {
        const char *name = f->networks.name[i];
        bool taken = false;
        for (int n = 0; n < f->networks.count && !taken && !is_ours(name); n++)
            DG_TRY(take(f, &f->networks.item[n], i, &taken, err));
        if (!taken && (!strcmp(name, "center") || !strcmp(name, "dino_loss.center"))) {
            taken = true;
            DG_TRY(new_entry(f, "center", i, err));
        }
        if (!taken && dg_name_after(name, "student.predictor.")) { /* of our own checkpoints */
            taken = true;
            DG_TRY(new_entry(f, name, i, err));
        }
        if (!taken) dg_groups_add(&f->beside, name, f->networks.key[i] ? 2 : 1);
    }
    return DG_OK;
}

static void describe(struct dg_weight_file *f)
{
    const struct dg_file_network *first = &f->networks.item[0];
    const char *format = dg_tensor_file_format(f->tensors), *left = dg_tensor_file_left_out(f->tensors),
               *what = first->layout ? first->layout->what : "weights";
    bool full = f->networks.count > 1, joined = false, renamed = first->layout && first->layout->row;
    for (int e = 0; e < f->count; e++) joined |= f->entry[e].joined;
    if (first->layout) f->eps = first->layout->eps;
    char own[DG_LAYOUT_NAME] = "", under[DG_LAYOUT_NAME + 16] = "";
    if (first->role) snprintf(own, sizeof own, "%s.backbone.", first->role);
    bool is_own = !strcmp(first->prefix, own);
    if (full)
        snprintf(under, sizeof under, ", of student and teacher");
    else if (*first->prefix)
        snprintf(under, sizeof under, " under %.100s", first->prefix);
    bool within = first->role && !strstr(first->prefix, "backbone");
    f->foreign = strcmp(format, "safetensors") || renamed || !is_own;
    snprintf(f->what, sizeof f->what, "%s%s%s%s%s; %s%s%s", full ? "a full checkpoint: " : "", what, under,
             within ? " (the head within the backbone, as in the first revision)" : "",
             joined ? ", query, key and value joined" : "", format, *left ? "; not read: " : "", left);
}

/* Takes the epsilon from the config.json that transformers puts beside its files, if it is there. */
static void read_config(struct dg_weight_file *f, const char *path)
{
    const char *slash = strrchr(path, '/');
    char config[PATH];
    if (!f->eps ||
        snprintf(config, sizeof config, "%.*sconfig.json", slash ? (int)(slash + 1 - path) : 0, path) >= PATH)
        return;
    json_t *json = json_load_file(config, 0, NULL);
    double eps = json_number_value(json_object_get(json, "layer_norm_eps"));
    if (eps > 0) f->eps = eps;
    json_decref(json);
}

/* ---- opening ---- */

static enum dg_status build(struct dg_weight_file *f, const struct dg_network_choice *choice, struct dg_error *err)
{
    static const struct dg_network_choice none;
    DG_TRY(dg_networks_find(f->tensors, choice ? choice : &none, &f->networks, err));
    DG_TRY(take_all(f, err));
    DG_TRY(check_parts(f, err));
    describe(f);
    f->beside_text = dg_groups_text(&f->beside);
    return sort_names(f, err);
}

static enum dg_status open_tensors(struct dg_tensor_file *tensors, const struct dg_network_choice *choice,
                                   struct dg_weight_file **file, struct dg_error *err)
{
    *file = calloc(1, sizeof **file);
    if (!*file) {
        dg_tensor_file_close(tensors);
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    (*file)->tensors = tensors;
    enum dg_status status = build(*file, choice, err);
    if (status == DG_OK) return DG_OK;
    dg_weight_file_close(*file);
    *file = NULL;
    return status;
}

enum dg_status dg_weight_file_open(const char *path, const struct dg_network_choice *choice,
                                   struct dg_weight_file **file, struct dg_error *err)
{
    struct dg_tensor_file *tensors;
    *file = NULL;
    DG_TRY(dg_tensor_file_open(path, &tensors, err));
    enum dg_status status = open_tensors(tensors, choice, file, err);
    if (status == DG_OK)
        read_config(*file, path);
    else
        dg_error_prefix(err, "%s", path);
    return status;
}

enum dg_status dg_weight_file_of_torch(struct dg_torch_file *torch, const struct dg_network_choice *choice,
                                       struct dg_weight_file **file, struct dg_error *err)
{
    struct dg_tensor_file *tensors;
    *file = NULL;
    DG_TRY(dg_tensor_file_of_torch(torch, &tensors, err));
    return open_tensors(tensors, choice, file, err);
}

void dg_weight_file_close(struct dg_weight_file *file)
{
    if (!file) return;
    dg_networks_close(&file->networks);
    dg_tensor_file_close(file->tensors);
    for (int e = 0; e < file->count; e++) free(file->entry[e].name);
    free(file->entry);
    free(file->tensor);
    free(file->by_name);
    free(file->scratch);
    free(file);
}

enum dg_status dg_weight_file_add_number(struct dg_weight_file *file, const char *name, int64_t number,
                                         struct dg_error *err)
{
    DG_TRY(new_entry(file, name, -1, err));
    file->entry[file->count - 1].number = number;
    return DG_OK;
}

enum dg_status dg_weight_file_add_tensor(struct dg_weight_file *file, const char *name,
                                         const struct dg_pickle_tensor *tensor, struct dg_error *err)
{
    DG_TRY(dg_tensor_file_add(file->tensors, "", name, tensor, err));
    return new_entry(file, name, dg_tensor_file_count(file->tensors) - 1, err);
}

void dg_weight_file_set_number(struct dg_weight_file *file, int index, int64_t number)
{
    file->entry[index].number = number;
    file->entry[index].source[0] = -1;
    file->tensor[index].dtype = DG_SAFETENSORS_I64;
    file->tensor[index].bytes = sizeof number;
    file->tensor[index].ndim = 0;
}

/* ---- questions ---- */

int dg_weight_file_count(const struct dg_weight_file *file) { return file->count; }
const struct dg_safetensors_tensor *dg_weight_file_at(const struct dg_weight_file *file, int index)
{
    return &file->tensor[index];
}

int dg_weight_file_find(const struct dg_weight_file *file, const char *name)
{
    int first = 0, end = file->sorted;
    while (first < end) {
        int middle = (first + end) / 2, order = strcmp(name, file->entry[file->by_name[middle]].name);
        if (!order) return file->by_name[middle];
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return -1;
}

enum dg_status dg_weight_file_read(struct dg_weight_file *file, int index, struct dg_safetensors_tensor *tensor,
                                   struct dg_error *err)
{
    const struct entry *entry = &file->entry[index];
    *tensor = file->tensor[index];
    free(file->scratch);
    file->scratch = malloc((size_t)tensor->bytes + 1);
    if (!file->scratch) return dg_fail(err, DG_ERR_MEMORY, "no memory for %s", entry->name);
    char *to = file->scratch;
    tensor->data = to;
    memset(to, 0, (size_t)entry->before);
    to += entry->before;
    int parts = entry->joined ? DG_LAYOUT_PARTS : entry->source[0] >= 0;
    int64_t bytes = parts ? dg_tensor_file_bytes(file->tensors, entry->source[0]) : 0;
    for (int p = 0; p < parts; p++, to += bytes)
        if (entry->source[p] < 0)
            memset(to, 0, (size_t)bytes); /* the bias of keys, which the file has not */
        else
            DG_TRY(dg_tensor_file_read(file->tensors, entry->source[p], to, err));
    if (entry->source[0] < 0) memcpy(to, &entry->number, sizeof entry->number);
    return DG_OK;
}

const char *dg_weight_file_what(const struct dg_weight_file *file) { return file->what; }
bool dg_weight_file_is_foreign(const struct dg_weight_file *file) { return file->foreign; }
const char *dg_weight_file_beside(const struct dg_weight_file *file) { return file->beside_text; }
int dg_weight_file_beside_count(const struct dg_weight_file *file) { return (int)file->beside.all; }
double dg_weight_file_eps(const struct dg_weight_file *file) { return file->eps; }
const struct dg_tensor_file *dg_weight_file_tensors(const struct dg_weight_file *file) { return file->tensors; }

#include "runtime/formats/tensor_file.h"

#include "runtime/base/file_map.h"
#include "runtime/formats/file_kind.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_NAME = 256,
    MAX_DEPTH = 24,
    MAX_VISITS = 1 << 18,
    MAX_REPEAT = 16,
    MAX_PARTS = 512,
    MAX_LEFT = 8,
    MAX_ITEMS = 64,
    MAX_ATTRIBUTES = 512,
    LEFT = 1000,
    PATH = 4096
};

/* One file of a model: one of both. */
struct part {
    struct dg_safetensors *safetensors;
    struct dg_torch_file *torch;
    int *uses; /* of each storage, by tensors that were not read */
};

struct source {
    int part;
    const struct dg_safetensors_tensor *mapped;
    const struct dg_pickle_tensor *pickled;
};

struct dg_tensor_file {
    struct part *part;
    int parts;
    struct dg_named_tensor *tensor;
    struct source *source;
    int count, room;
    char **text; /* keys and names that were put together here */
    int texts, text_room;
    int visits;    /* values of the object that were looked at */
    int64_t bytes; /* of the last part's tensors */
    int left;
    char left_out[LEFT], epoch[32], format[64];
};

/* ---- the list ---- */

static bool grow(void *array, int count, int *room, size_t element)
{
    if (count < *room) return true;
    int wanted = *room ? *room * 2 : 256;
    void **place = array, *larger = realloc(*place, (size_t)wanted * element);
    if (!larger) return false;
    *place = larger;
    *room = wanted;
    return true;
}

/* "key.name" or what there is of both, which the file owns. NULL: memory has run out. */
static const char *put_together(struct dg_tensor_file *f, const char *key, const char *name)
{
    size_t size = strlen(key) + strlen(name) + 2;
    char *text = malloc(size);
    if (!text || !grow(&f->text, f->texts, &f->text_room, sizeof *f->text)) {
        free(text);
        return NULL;
    }
    snprintf(text, size, "%s%s%s", key, *key && *name ? "." : "", name);
    f->text[f->texts++] = text;
    return text;
}

static enum dg_status add(struct dg_tensor_file *f, const struct dg_named_tensor *tensor, struct source source,
                          struct dg_error *err)
{
    int room = f->room;
    if (!grow(&f->tensor, f->count, &f->room, sizeof *f->tensor) ||
        !grow(&f->source, f->count, &room, sizeof *f->source))
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    f->tensor[f->count] = *tensor;
    f->source[f->count++] = source;
    return DG_OK;
}

int64_t dg_tensor_file_bytes(const struct dg_tensor_file *file, int index)
{
    const struct dg_named_tensor *tensor = &file->tensor[index];
    int64_t bytes = dg_safetensors_dtype_size(tensor->dtype);
    for (int d = 0; d < tensor->ndim; d++)
        if (!dg_mul_i64(bytes, tensor->dim[d], &bytes)) return INT64_MAX;
    return bytes;
}

/* Adds a tensor of the last part, a file of torch.save. */
static enum dg_status add_pickled(struct dg_tensor_file *f, const char *key, const char *name,
                                  const struct dg_pickle_tensor *pickled, struct dg_error *err)
{
    if (f->count == DG_TENSOR_FILE_MAX) return dg_fail(err, DG_ERR_INPUT, "more than %d tensors", DG_TENSOR_FILE_MAX);
    if (strlen(key) + strlen(name) >= MAX_NAME)
        return dg_fail(err, DG_ERR_INPUT, "the name %.100s... is too long", name);
    struct dg_named_tensor tensor = {.key = key, .name = name, .dtype = pickled->dtype, .ndim = pickled->ndim};
    memcpy(tensor.dim, pickled->dim, sizeof tensor.dim);
    struct part *part = &f->part[f->parts - 1];
    DG_TRY(add(f, &tensor, (struct source){.part = f->parts - 1, .pickled = pickled}, err));
    part->uses[pickled->storage]++;
    /* A tensor may repeat its elements (expand). Memory and disk space are bounded by the file's size even so. */
    int64_t limit = (int64_t)dg_torch_size(part->torch) * MAX_REPEAT;
    if (!dg_add_i64(f->bytes, dg_tensor_file_bytes(f, f->count - 1), &f->bytes) || f->bytes > limit)
        return dg_fail(err, DG_ERR_INPUT, "%s: the tensors up to here take more than %d times the file's length", name,
                       MAX_REPEAT);
    return DG_OK;
}

enum dg_status dg_tensor_file_add(struct dg_tensor_file *file, const char *key, const char *name,
                                  const struct dg_pickle_tensor *tensor, struct dg_error *err)
{
    const char *own = put_together(file, name, "");
    if (!own) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    return add_pickled(file, key, own, tensor, err);
}

/* ---- the object of torch.save ---- */

/* A module that was saved with its class: its parameters and modules are dicts among its attributes. */
static bool is_module(const struct dg_pickle_value *value)
{
    if (value->kind != DG_PICKLE_OBJECT || value->list.count > 2 * MAX_ATTRIBUTES) return false; /* each is looked at */
    const struct dg_pickle_value *parameters = dg_pickle_get(value, "_parameters");
    return parameters && parameters->kind == DG_PICKLE_DICT;
}

static bool is_optimizer(const struct dg_pickle_value *dict)
{
    if (dict->kind != DG_PICKLE_DICT) return false;
    return dict->list.count <= 2 * MAX_ATTRIBUTES && dg_pickle_get(dict, "state") &&
           dg_pickle_get(dict, "param_groups");
}

/* Notes an entry of the outermost dict without tensors. */
static void note_left_out(struct dg_tensor_file *f, const char *name, const struct dg_pickle_value *value)
{
    size_t used = strlen(f->left_out);
    if (f->left++ >= MAX_LEFT) return;
    used +=
        (size_t)snprintf(f->left_out + used, sizeof f->left_out - used, "%s%.40s", used ? ", " : "", name ? name : "?");
    if (value->kind == DG_PICKLE_OBJECT && used < sizeof f->left_out)
        snprintf(f->left_out + used, sizeof f->left_out - used, " (%.60s)", value->class_name);
}

/* The optimiser's state and the epoch have readers of their own. */
static bool is_used_elsewhere(const char *name, const struct dg_pickle_value *value)
{
    return is_optimizer(value) || (name && !strcmp(name, "epoch") && value->kind == DG_PICKLE_INT);
}

/* Where the walk stands: the dicts around the state dict, and the modules in it. */
struct place {
    const char *key, *name;
    int depth;
};

static enum dg_status walk(struct dg_tensor_file *f, const struct dg_pickle_value *dict, struct place at,
                           struct dg_error *err);

/* Adds a tensor, or those of a module, that is called `name` below the place. */
static enum dg_status walk_named(struct dg_tensor_file *f, const struct dg_pickle_value *value, struct place at,
                                 const char *name, struct dg_error *err)
{
    const char *full = *at.name ? put_together(f, at.name, name) : name;
    if (!full) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (value->kind == DG_PICKLE_TENSOR) return add_pickled(f, at.key, full, value->tensor, err);
    return walk(f, value, (struct place){at.key, full, at.depth + 1}, err);
}

static enum dg_status walk_module(struct dg_tensor_file *f, const struct dg_pickle_value *module, struct place at,
                                  struct dg_error *err)
{
    static const char *const of[] = {"_parameters", "_buffers", "_modules"};
    for (int o = 0; o < 3; o++) {
        const struct dg_pickle_value *dict = dg_pickle_get(module, of[o]);
        if (!dict || dict->kind != DG_PICKLE_DICT) continue;
        for (int64_t i = 0; i < dict->list.count; i += 2) {
            const char *name = dg_pickle_text(dict->list.item[i]);
            const struct dg_pickle_value *value = dict->list.item[i + 1];
            if (++f->visits > MAX_VISITS) return dg_fail(err, DG_ERR_INPUT, "its modules are too many");
            if (name && (value->kind == DG_PICKLE_TENSOR || is_module(value)))
                DG_TRY(walk_named(f, value, at, name, err));
        }
    }
    return DG_OK;
}

static bool is_list(const struct dg_pickle_value *value)
{
    return (value->kind == DG_PICKLE_LIST || value->kind == DG_PICKLE_TUPLE) && value->list.count <= MAX_ITEMS;
}

/* Adds the tensors of the dicts in a list, whose keys are their places: (state dict, epoch). */
static enum dg_status walk_list(struct dg_tensor_file *f, const struct dg_pickle_value *list, struct place at,
                                struct dg_error *err)
{
    for (int64_t i = 0; i < list->list.count; i++) {
        char place[24];
        snprintf(place, sizeof place, "%" PRId64, i);
        if (++f->visits > MAX_VISITS) return dg_fail(err, DG_ERR_INPUT, "its lists have too many items");
        if (list->list.item[i]->kind != DG_PICKLE_DICT && !is_module(list->list.item[i])) continue;
        const char *key = put_together(f, at.key, place);
        if (!key) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
        DG_TRY(walk(f, list->list.item[i], (struct place){key, "", at.depth + 1}, err));
    }
    return DG_OK;
}

/* Adds the tensors of a dict and of those inside it. The values may form circles: depth and visits are bounded. */
static enum dg_status walk(struct dg_tensor_file *f, const struct dg_pickle_value *dict, struct place at,
                           struct dg_error *err)
{
    if (at.depth > MAX_DEPTH || is_optimizer(dict)) return DG_OK;
    if (is_module(dict)) return walk_module(f, dict, at, err);
    if (is_list(dict)) return walk_list(f, dict, at, err);
    if (dict->kind != DG_PICKLE_DICT) return DG_OK;
    for (int64_t i = 0; i < dict->list.count; i += 2) {
        const char *name = dg_pickle_text(dict->list.item[i]);
        const struct dg_pickle_value *value = dict->list.item[i + 1];
        if (++f->visits > MAX_VISITS) return dg_fail(err, DG_ERR_INPUT, "its dicts have too many entries");
        int before = f->count;
        if (name && value->kind == DG_PICKLE_TENSOR) {
            DG_TRY(add_pickled(f, at.key, name, value->tensor, err));
        } else if (name && strlen(name) < MAX_NAME &&
                   (value->kind == DG_PICKLE_DICT || is_list(value) || is_module(value))) {
            const char *key = put_together(f, at.key, name);
            if (!key) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
            DG_TRY(walk(f, value, (struct place){key, "", at.depth + 1}, err));
        }
        if (!at.depth && f->count == before && !is_used_elsewhere(name, value)) note_left_out(f, name, value);
    }
    return DG_OK;
}

static enum dg_status no_tensors(const struct dg_tensor_file *f, const struct dg_pickle_value *object,
                                 struct dg_error *err)
{
    if (object->kind == DG_PICKLE_OBJECT)
        return dg_fail(err, DG_ERR_INPUT,
                       "it holds a %.100s, and no dict of tensors; nothing was run. Save its state_dict()",
                       object->class_name);
    if (object->kind != DG_PICKLE_DICT)
        return dg_fail(err, DG_ERR_INPUT, "what was saved is a list without a dict of tensors: they have no names");
    return dg_fail(err, DG_ERR_INPUT, "no tensors under a name in it; its entries are %s",
                   *f->left_out ? f->left_out : "none");
}

static enum dg_status list_object(struct dg_tensor_file *f, struct dg_error *err)
{
    struct part *part = &f->part[f->parts - 1];
    const struct dg_pickle_value *object = dg_torch_object(part->torch), *epoch = dg_pickle_get(object, "epoch");
    int before = f->count;
    f->bytes = 0;
    part->uses = calloc((size_t)dg_pickle_storages(dg_torch_pickle(part->torch)) + 1, sizeof *part->uses);
    if (!part->uses) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    snprintf(f->format, sizeof f->format, "torch.save, %s form", dg_torch_form(part->torch));
    if (object->kind == DG_PICKLE_TENSOR)
        return dg_fail(err, DG_ERR_INPUT, "a single tensor without a name, not a state dict");
    if (object->kind != DG_PICKLE_DICT && object->kind != DG_PICKLE_OBJECT && !is_list(object))
        return dg_fail(err, DG_ERR_INPUT, "what was saved is not a dict of tensors");
    DG_TRY(walk(f, object, (struct place){"", "", 0}, err));
    if (f->left > MAX_LEFT) {
        size_t used = strlen(f->left_out);
        snprintf(f->left_out + used, sizeof f->left_out - used, " and %d more", f->left - MAX_LEFT);
    }
    if (f->count == before) return no_tensors(f, object, err);
    if (epoch && epoch->kind == DG_PICKLE_INT) snprintf(f->epoch, sizeof f->epoch, "%" PRId64, epoch->i);
    return DG_OK;
}

/* ---- the other formats ---- */

static enum dg_status list_safetensors(struct dg_tensor_file *f, int part, struct dg_error *err)
{
    const struct dg_safetensors *file = f->part[part].safetensors;
    for (int i = 0; i < dg_safetensors_count(file); i++) {
        const struct dg_safetensors_tensor *mapped = dg_safetensors_at(file, i);
        struct dg_named_tensor tensor = {.key = "", .name = mapped->name, .dtype = mapped->dtype, .ndim = mapped->ndim};
        memcpy(tensor.dim, mapped->dim, sizeof tensor.dim);
        DG_TRY(add(f, &tensor, (struct source){.part = part, .mapped = mapped}, err));
    }
    if (!*f->format) snprintf(f->format, sizeof f->format, "safetensors");
    return DG_OK;
}

enum format { SAFETENSORS, TORCH, INDEX };

/* Names the file of weights in a folder that was given in its place. */
static enum dg_status is_folder(const char *path, struct dg_error *err)
{
    static const char *const usual[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                        "pytorch_model.bin.index.json", "checkpoint.safetensors"};
    char file[PATH];
    for (size_t u = 0; u < sizeof usual / sizeof *usual; u++)
        if (snprintf(file, sizeof file, "%s/%s", path, usual[u]) < PATH && !access(file, R_OK))
            return dg_fail(err, DG_ERR_INPUT, "%s: a folder, not a file of weights; it has %s", path, usual[u]);
    return dg_fail(err, DG_ERR_INPUT, "%s: a folder, not a file of weights", path);
}

static enum dg_status find_format(const char *path, enum format *format, struct dg_error *err)
{
    struct dg_file_map map = {0};
    struct stat about;
    if (!stat(path, &about) && S_ISDIR(about.st_mode)) return is_folder(path, err);
    DG_TRY(dg_file_map_open(path, "a file of weights", &map, err));
    const unsigned char *bytes = map.bytes;
    const char *what = NULL;
    if (map.size > 4 && !memcmp(bytes, "PK\3\4", 4))
        *format = TORCH;
    else if (map.size > 9 && bytes[8] == '{')
        *format = SAFETENSORS;
    else if (bytes[0] == 0x80)
        *format = TORCH;
    else if (bytes[0] == '{' && memmem(bytes, map.size, "\"weight_map\"", 12))
        *format = INDEX;
    else if (!(what = dg_file_kind(bytes, map.size)))
        what = "neither a safetensors file nor one of torch.save; is it cut short, or another program's?";
    enum dg_status status = what ? dg_fail(err, DG_ERR_INPUT, "%s: %s", path, what) : DG_OK;
    dg_file_map_close(&map);
    return status;
}

static enum dg_status open_part(struct dg_tensor_file *f, const char *path, enum format format, struct dg_error *err)
{
    struct part *part = &f->part[f->parts];
    if (format == TORCH) {
        DG_TRY(dg_torch_open(path, &part->torch, err));
        f->parts++;
        enum dg_status status = list_object(f, err);
        if (status != DG_OK) dg_error_prefix(err, "%s", path);
        return status;
    }
    DG_TRY(dg_safetensors_open(path, &part->safetensors, err));
    return list_safetensors(f, f->parts++, err);
}

/* The file names of an index's weight_map, each once. The folder is the index's own: a name that leads out of it is
 * refused. */
static enum dg_status open_index(struct dg_tensor_file *f, const char *path, struct dg_error *err)
{
    json_error_t why;
    json_t *index = json_load_file(path, JSON_REJECT_DUPLICATES, &why), *seen = json_object(), *file;
    json_t *map = json_object_get(index, "weight_map");
    const char *name, *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash + 1 - path) : 0;
    enum dg_status status = json_is_object(map)
                                ? DG_OK
                                : dg_fail(err, DG_ERR_INPUT, "%s: a JSON text without a weight_map, no weights", path);
    if (status == DG_OK) {
        json_object_foreach(map, name, file)
        {
            const char *part = json_string_value(file);
            char full[PATH];
            if (part && json_object_get(seen, part)) continue;
            if (!part || strchr(part, '/') || f->parts == MAX_PARTS || json_object_set(seen, part, file) ||
                snprintf(full, sizeof full, "%.*s%s", folder, path, part) >= PATH) {
                status = dg_fail(err, DG_ERR_INPUT, "%s: the file of %.100s is not the name of a file beside it", path,
                                 name);
                break;
            }
            enum format format = SAFETENSORS;
            status = find_format(full, &format, err);
            if (status == DG_OK && format == INDEX)
                status = dg_fail(err, DG_ERR_INPUT, "%s: an index, named by an index", full);
            if (status == DG_OK) status = open_part(f, full, format, err);
            if (status != DG_OK) break;
        }
    }
    snprintf(f->format, sizeof f->format, "%d files", f->parts);
    json_decref(index);
    json_decref(seen);
    return status;
}

static enum dg_status new_file(struct dg_tensor_file **file, struct dg_error *err)
{
    *file = calloc(1, sizeof **file);
    if (*file) (*file)->part = calloc(MAX_PARTS, sizeof *(*file)->part);
    if (*file && (*file)->part) return DG_OK;
    dg_tensor_file_close(*file);
    *file = NULL;
    return dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

enum dg_status dg_tensor_file_open(const char *path, struct dg_tensor_file **file, struct dg_error *err)
{
    enum format format = SAFETENSORS;
    *file = NULL;
    DG_TRY(find_format(path, &format, err));
    DG_TRY(new_file(file, err));
    enum dg_status status = format == INDEX ? open_index(*file, path, err) : open_part(*file, path, format, err);
    if (status == DG_OK) return DG_OK;
    dg_tensor_file_close(*file);
    *file = NULL;
    return status;
}

enum dg_status dg_tensor_file_of_torch(struct dg_torch_file *torch, struct dg_tensor_file **file, struct dg_error *err)
{
    enum dg_status status = new_file(file, err);
    if (status != DG_OK) {
        dg_torch_close(torch);
        return status;
    }
    (*file)->part[(*file)->parts++].torch = torch;
    status = list_object(*file, err);
    if (status == DG_OK) return DG_OK;
    dg_tensor_file_close(*file);
    *file = NULL;
    return status;
}

void dg_tensor_file_close(struct dg_tensor_file *file)
{
    if (!file) return;
    for (int p = 0; p < file->parts; p++) {
        dg_safetensors_close(file->part[p].safetensors);
        dg_torch_close(file->part[p].torch);
        free(file->part[p].uses);
    }
    for (int t = 0; t < file->texts; t++) free(file->text[t]);
    free(file->text);
    free(file->part);
    free(file->tensor);
    free(file->source);
    free(file);
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

enum dg_status dg_tensor_file_read(struct dg_tensor_file *file, int index, void *out, struct dg_error *err)
{
    const struct source *source = &file->source[index];
    int64_t bytes = dg_tensor_file_bytes(file, index);
    if (!bytes) return DG_OK;
    if (source->mapped) {
        memcpy(out, source->mapped->data, (size_t)bytes);
        return DG_OK;
    }
    struct part *part = &file->part[source->part];
    const struct dg_pickle_tensor *tensor = source->pickled;
    const void *storage;
    DG_TRY(dg_torch_storage(part->torch, tensor->storage, &storage, err));
    size_t size = (size_t)dg_safetensors_dtype_size(tensor->dtype);
    if (in_one_piece(tensor))
        memcpy(out, (const unsigned char *)storage + (size_t)tensor->offset * size, (size_t)bytes);
    else
        gather(tensor, size, storage, out);
    if (--part->uses[tensor->storage] <= 0) dg_torch_release(part->torch, tensor->storage);
    return DG_OK;
}

/* ---- questions ---- */

int dg_tensor_file_count(const struct dg_tensor_file *file) { return file->count; }
const struct dg_named_tensor *dg_tensor_file_at(const struct dg_tensor_file *file, int index)
{
    return &file->tensor[index];
}
const char *dg_tensor_file_format(const struct dg_tensor_file *file) { return file->format; }
const char *dg_tensor_file_left_out(const struct dg_tensor_file *file) { return file->left_out; }

const char *dg_tensor_file_metadata(const struct dg_tensor_file *file, const char *key)
{
    if (file->part[0].safetensors) return dg_safetensors_metadata(file->part[0].safetensors, key);
    return !strcmp(key, "epoch") && *file->epoch ? file->epoch : NULL;
}

const struct dg_pickle_value *dg_tensor_file_object(const struct dg_tensor_file *file)
{
    return file->part[0].torch ? dg_torch_object(file->part[0].torch) : NULL;
}

#include "runtime/formats/torch_file.h"

#include "runtime/base/file_map.h"
#include "runtime/formats/file_kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

enum { STREAM_VERSION = 1001, MAX_NAME = 512 };

/* 0x1950a86a20f9469cfc6c, the first pickle of the stream form. */
static const unsigned char stream_magic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

struct storage {
    const unsigned char *bytes; /* NULL: not there yet */
    unsigned char *owned;
};

struct dg_torch_file {
    struct dg_file_map map; /* closed: the bytes are in the caller's memory */
    const unsigned char *bytes;
    size_t size;
    zip_t *zip; /* NULL: stream */
    char folder[MAX_NAME];
    struct dg_pickle *pickle;
    const struct dg_pickle_value *object;
    struct storage *storage;
};

static int64_t storage_bytes(const struct dg_pickle_storage *storage)
{
    int64_t bytes;
    return dg_mul_i64(storage->elements, dg_safetensors_dtype_size(storage->dtype), &bytes) ? bytes : INT64_MAX;
}

/* Allocates the storages' places, after all pickles are read. All storages together may not be larger than the file:
 * the zip form could otherwise name the same bytes many times. */
static enum dg_status list_storages(struct dg_torch_file *f, struct dg_error *err)
{
    int count = dg_pickle_storages(f->pickle);
    uint64_t left = f->size;
    for (int s = 0; s < count; s++) {
        const struct dg_pickle_storage *storage = dg_pickle_storage_at(f->pickle, s);
        uint64_t bytes = (uint64_t)storage_bytes(storage);
        if (bytes > left)
            return dg_fail(err, DG_ERR_INPUT, "storage %.100s ends behind the file; is it cut short?", storage->key);
        left -= bytes;
    }
    f->storage = calloc((size_t)count + 1, sizeof *f->storage);
    return f->storage ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

/* ---- the zip form ---- */

/* A whole entry, bounded by the file's length; the caller frees it. */
static enum dg_status read_entry(struct dg_torch_file *f, zip_int64_t index, unsigned char **bytes, size_t *size,
                                 struct dg_error *err)
{
    zip_stat_t about;
    const zip_uint64_t want = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat_index(f->zip, (zip_uint64_t)index, 0, &about) || (about.valid & want) != want)
        return dg_fail(err, DG_ERR_INPUT, "%s", zip_strerror(f->zip));
    if (about.comp_method != ZIP_CM_STORE || about.encryption_method != ZIP_EM_NONE)
        return dg_fail(err, DG_ERR_INPUT, "it is compressed or encrypted, which torch.save does not do");
    if (about.size != about.comp_size || about.size > f->size)
        return dg_fail(err, DG_ERR_INPUT, "it has %llu bytes, more than the file", (unsigned long long)about.size);
    zip_file_t *entry = zip_fopen_index(f->zip, (zip_uint64_t)index, 0);
    if (!entry) return dg_fail(err, DG_ERR_INPUT, "%s", zip_strerror(f->zip));
    *size = (size_t)about.size;
    *bytes = malloc(*size + 1);
    enum dg_status status = DG_OK;
    unsigned char end;
    if (!*bytes)
        status = dg_fail(err, DG_ERR_MEMORY, "no memory for %zu bytes", *size);
    else if (zip_fread(entry, *bytes, *size) != (zip_int64_t)*size ||
             zip_fread(entry, &end, 1) != 0) /* checks the sum */
        status = dg_fail(err, DG_ERR_INPUT, "%s; is the file damaged?", zip_file_strerror(entry));
    zip_fclose(entry);
    if (status != DG_OK) {
        free(*bytes);
        *bytes = NULL;
    }
    return status;
}

static enum dg_status no_folder(struct dg_torch_file *f, struct dg_error *err)
{
    const char *first = zip_get_name(f->zip, 0, ZIP_FL_ENC_RAW);
    size_t length = first ? strlen(first) : 0;
    if (length > 4 && !strcmp(first + length - 4, ".npy"))
        return dg_fail(
            err, DG_ERR_INPUT,
            "NumPy's arrays in a zip archive (.npz); load it in Python, and save its arrays with safetensors");
    char name[64] = "";
    for (size_t i = 0; i < length && i + 1 < sizeof name; i++)
        name[i] = first[i] >= ' ' && first[i] < 127 ? first[i] : '?';
    return dg_fail(
        err, DG_ERR_INPUT,
        "a zip archive without a data.pkl, which torch.save did not write; its first file is %s. If the weights "
        "are in it, unpack it",
        name);
}

/* NAME of NAME/data.pkl: PyTorch uses the name that the file had when it was saved. */
static enum dg_status find_folder(struct dg_torch_file *f, struct dg_error *err)
{
    zip_int64_t count = zip_get_num_entries(f->zip, 0);
    for (zip_int64_t i = 0; i < count; i++) {
        const char *name = zip_get_name(f->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW),
                   *slash = name ? strchr(name, '/') : NULL;
        if (!slash || strcmp(slash, "/data.pkl")) continue;
        if (snprintf(f->folder, sizeof f->folder, "%.*s", (int)(slash - name), name) < MAX_NAME / 2) return DG_OK;
    }
    return no_folder(f, err);
}

static zip_int64_t locate(struct dg_torch_file *f, const char *name, const char *key)
{
    char path[MAX_NAME];
    if (snprintf(path, sizeof path, "%s/%s%s", f->folder, name, key) >= (int)sizeof path) return -1;
    return zip_name_locate(f->zip, path, ZIP_FL_ENC_RAW);
}

static enum dg_status check_byte_order(struct dg_torch_file *f, struct dg_error *err)
{
    zip_int64_t entry = locate(f, "byteorder", ""); /* since PyTorch 2.1 */
    if (entry < 0) return DG_OK;
    unsigned char *order;
    size_t size;
    enum dg_status status = read_entry(f, entry, &order, &size, err);
    if (status != DG_OK) {
        dg_error_prefix(err, "byteorder");
        return status;
    }
    if (size != 6 || memcmp(order, "little", 6))
        status =
            dg_fail(err, DG_ERR_INPUT, "its numbers are not little-endian; save it again on a little-endian machine");
    free(order);
    return status;
}

static enum dg_status open_zip(struct dg_torch_file *f, struct dg_error *err)
{
    zip_error_t why;
    zip_error_init(&why);
    zip_source_t *source = zip_source_buffer_create(f->bytes, f->size, 0, &why);
    if (source) f->zip = zip_open_from_source(source, ZIP_RDONLY, &why);
    if (!f->zip) {
        dg_fail(err, DG_ERR_INPUT, "a broken zip archive (%s); is the file cut short?", zip_error_strerror(&why));
        zip_source_free(source);
        zip_error_fini(&why);
        return DG_ERR_INPUT;
    }
    zip_error_fini(&why);
    DG_TRY(find_folder(f, err));
    if (locate(f, "constants.pkl", "") >= 0)
        return dg_fail(err, DG_ERR_INPUT,
                       "a TorchScript program, not weights; load it with torch.jit.load and save its "
                       "state_dict()");
    DG_TRY(check_byte_order(f, err));
    unsigned char *bytes;
    size_t size;
    enum dg_status status = read_entry(f, locate(f, "data.pkl", ""), &bytes, &size, err);
    if (status != DG_OK) {
        dg_error_prefix(err, "data.pkl");
        return status;
    }
    status = dg_pickle_read(f->pickle, bytes, size, NULL, &f->object, err);
    free(bytes);
    DG_TRY(status);
    return list_storages(f, err);
}

static enum dg_status read_storage(struct dg_torch_file *f, int index, struct dg_error *err)
{
    const struct dg_pickle_storage *about = dg_pickle_storage_at(f->pickle, index);
    struct storage *storage = &f->storage[index];
    zip_int64_t entry = locate(f, "data/", about->key);
    if (entry < 0) return dg_fail(err, DG_ERR_INPUT, "the archive has no storage %.100s", about->key);
    size_t size = 0;
    enum dg_status status = read_entry(f, entry, &storage->owned, &size, err);
    if (status == DG_OK && size != (size_t)storage_bytes(about))
        status = dg_fail(err, DG_ERR_INPUT, "it has %zu bytes, %lld elements of %s take %lld", size,
                         (long long)about->elements, dg_safetensors_dtype_name(about->dtype),
                         (long long)storage_bytes(about));
    if (status != DG_OK) {
        free(storage->owned);
        storage->owned = NULL;
        dg_error_prefix(err, "storage %.100s", about->key);
    }
    storage->bytes = storage->owned;
    return status;
}

/* ---- the stream form ---- */

static enum dg_status next_pickle(struct dg_torch_file *f, size_t *at, const struct dg_pickle_value **value,
                                  const char *what, struct dg_error *err)
{
    size_t used;
    enum dg_status status = dg_pickle_read(f->pickle, f->bytes + *at, f->size - *at, &used, value, err);
    if (status != DG_OK) dg_error_prefix(err, "%s, which begins at byte %zu", what, *at);
    *at += used;
    return status;
}

/* The storages' bytes lie in the file, in the order of the list of keys. */
static enum dg_status place_storages(struct dg_torch_file *f, const struct dg_pickle_value *keys, size_t at,
                                     struct dg_error *err)
{
    if (keys->kind != DG_PICKLE_LIST) return dg_fail(err, DG_ERR_INPUT, "its list of storages is not a list");
    DG_TRY(list_storages(f, err));
    for (int64_t k = 0; k < keys->list.count; k++) {
        const char *key = dg_pickle_text(keys->list.item[k]);
        int index = key ? dg_pickle_storage_find(f->pickle, key) : -1;
        if (index < 0)
            return dg_fail(err, DG_ERR_INPUT, "item %lld of its list of storages is used by nothing", (long long)k);
        const struct dg_pickle_storage *about = dg_pickle_storage_at(f->pickle, index);
        int64_t bytes = storage_bytes(about), elements;
        if (f->size - at < sizeof elements || (uint64_t)bytes > f->size - at - sizeof elements)
            return dg_fail(err, DG_ERR_INPUT, "storage %.100s ends behind the file; is it cut short?", key);
        memcpy(&elements, f->bytes + at, sizeof elements);
        if (elements != about->elements)
            return dg_fail(err, DG_ERR_INPUT, "storage %.100s has %lld elements, its tensors expect %lld", key,
                           (long long)elements, (long long)about->elements);
        f->storage[index].bytes = f->bytes + at + sizeof elements;
        at += sizeof elements + (size_t)bytes;
    }
    return DG_OK;
}

static enum dg_status open_stream(struct dg_torch_file *f, struct dg_error *err)
{
    const struct dg_pickle_value *magic, *version, *system, *keys;
    size_t at = 0;
    DG_TRY(next_pickle(f, &at, &magic, "the magic number", err));
    if (magic->kind != DG_PICKLE_LONG || magic->text.size != sizeof stream_magic ||
        memcmp(magic->text.bytes, stream_magic, sizeof stream_magic))
        return dg_fail(err, DG_ERR_INPUT, "a pickle, but not one of torch.save");
    DG_TRY(next_pickle(f, &at, &version, "the version", err));
    if (version->kind != DG_PICKLE_INT || version->i != STREAM_VERSION)
        return dg_fail(err, DG_ERR_INPUT, "its version is not %d", STREAM_VERSION);
    DG_TRY(next_pickle(f, &at, &system, "the system's description", err));
    const struct dg_pickle_value *little = dg_pickle_get(system, "little_endian");
    if (!little || little->kind != DG_PICKLE_BOOL || !little->i)
        return dg_fail(err, DG_ERR_INPUT,
                       "its numbers are not little-endian; save it again on a little-endian machine");
    DG_TRY(next_pickle(f, &at, &f->object, "the object", err));
    DG_TRY(next_pickle(f, &at, &keys, "the list of storages", err));
    return place_storages(f, keys, at, err);
}

/* ---- both ---- */

static bool begins(const struct dg_torch_file *f, size_t at, const char *bytes)
{
    return f->size >= at + strlen(bytes) && !memcmp(f->bytes + at, bytes, strlen(bytes));
}

static enum dg_status open_bytes(struct dg_torch_file *f, struct dg_error *err)
{
    DG_TRY(dg_pickle_open(&f->pickle, err));
    if (begins(f, 0, "PK\3\4")) return open_zip(f, err);
    if (begins(f, 0, "\x80")) return open_stream(f, err);
    const char *what = dg_file_kind(f->bytes, f->size);
    return dg_fail(err, DG_ERR_INPUT, "not a file of torch.save: %s",
                   what ? what : "neither a zip archive nor a pickle");
}

static enum dg_status open_file(const char *path, const void *bytes, size_t size, struct dg_torch_file **file,
                                struct dg_error *err)
{
    *file = NULL;
    struct dg_torch_file *f = calloc(1, sizeof *f);
    if (!f) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = path ? dg_file_map_open(path, "a file of torch.save", &f->map, err) : DG_OK;
    if (status == DG_OK) {
        f->bytes = path ? f->map.bytes : bytes;
        f->size = path ? f->map.size : size;
        status = open_bytes(f, err);
        if (status != DG_OK && path) dg_error_prefix(err, "%s", path);
    }
    if (status == DG_OK)
        *file = f;
    else
        dg_torch_close(f);
    return status;
}

enum dg_status dg_torch_open(const char *path, struct dg_torch_file **file, struct dg_error *err)
{
    return open_file(path, NULL, 0, file, err);
}

enum dg_status dg_torch_open_bytes(const void *bytes, size_t size, struct dg_torch_file **file, struct dg_error *err)
{
    return open_file(NULL, bytes, size, file, err);
}

void dg_torch_close(struct dg_torch_file *file)
{
    if (!file) return;
    for (int s = 0; file->storage && s < dg_pickle_storages(file->pickle); s++) free(file->storage[s].owned);
    free(file->storage);
    dg_pickle_close(file->pickle);
    if (file->zip) zip_discard(file->zip);
    dg_file_map_close(&file->map);
    free(file);
}

const struct dg_pickle_value *dg_torch_object(const struct dg_torch_file *file) { return file->object; }
const struct dg_pickle *dg_torch_pickle(const struct dg_torch_file *file) { return file->pickle; }
const char *dg_torch_form(const struct dg_torch_file *file) { return file->zip ? "zip" : "stream"; }
uint64_t dg_torch_size(const struct dg_torch_file *file) { return file->size; }

enum dg_status dg_torch_storage(struct dg_torch_file *file, int storage, const void **bytes, struct dg_error *err)
{
    if (!file->storage[storage].bytes) {
        if (!file->zip)
            return dg_fail(err, DG_ERR_INPUT, "the file's list of storages does not have %.100s",
                           dg_pickle_storage_at(file->pickle, storage)->key);
        DG_TRY(read_storage(file, storage, err));
    }
    *bytes = file->storage[storage].bytes;
    return DG_OK;
}

void dg_torch_release(struct dg_torch_file *file, int storage)
{
    if (!file->storage[storage].owned) return;
    free(file->storage[storage].owned);
    file->storage[storage] = (struct storage){0};
}

#include "runtime/formats/torch_write.h"

#include "runtime/base/atomic_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { ALIGN = 64, MAX_ENTRIES = 60000 };

/* ---- the pickle (protocol 2) ---- */

/* PyTorch's storages; NULL: it has none. */
static const char *storage_of(enum dg_safetensors_dtype dtype)
{
    static const char *const name[DG_SAFETENSORS_DTYPES] = {
        [DG_SAFETENSORS_F64] = "DoubleStorage", [DG_SAFETENSORS_F32] = "FloatStorage",
        [DG_SAFETENSORS_F16] = "HalfStorage",   [DG_SAFETENSORS_BF16] = "BFloat16Storage",
        [DG_SAFETENSORS_I64] = "LongStorage",   [DG_SAFETENSORS_I32] = "IntStorage",
        [DG_SAFETENSORS_I16] = "ShortStorage",  [DG_SAFETENSORS_I8] = "CharStorage",
        [DG_SAFETENSORS_U8] = "ByteStorage",    [DG_SAFETENSORS_BOOL] = "BoolStorage"};
    return name[dtype];
}

struct dg_torch_out {
    FILE *pickle;
    struct dg_safetensors_item *tensor; /* [capacity], of which `count` have been put */
    int count, capacity;
    bool lost; /* there was no memory for all */
};

static void put_little(FILE *out, uint64_t value, int bytes)
{
    for (int b = 0; b < bytes; b++) fputc((int)(value >> 8 * b & 0xff), out);
}

/* BININT1, BININT or LONG1 of eight bytes. */
void dg_torch_put_int(struct dg_torch_out *out, int64_t value)
{
    bool byte = value >= 0 && value < 256, word = value >= INT32_MIN && value <= INT32_MAX;
    fputc(byte ? 'K' : word ? 'J' : '\x8a', out->pickle);
    if (!byte && !word) fputc(8, out->pickle);
    put_little(out->pickle, (uint64_t)value, byte ? 1 : word ? 4 : 8);
}

/* BINFLOAT, the highest byte first. */
void dg_torch_put_real(struct dg_torch_out *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    fputc('G', out->pickle);
    for (int b = 7; b >= 0; b--) fputc((int)(bits >> 8 * b & 0xff), out->pickle);
}

void dg_torch_put_bool(struct dg_torch_out *out, bool value) { fputc(value ? '\x88' : '\x89', out->pickle); }

void dg_torch_put_none(struct dg_torch_out *out) { fputc('N', out->pickle); }

/* BINUNICODE */
void dg_torch_put_text(struct dg_torch_out *out, const char *prefix, const char *text)
{
    fputc('X', out->pickle);
    put_little(out->pickle, strlen(prefix) + strlen(text), 4);
    fprintf(out->pickle, "%s%s", prefix, text);
}

static void put_code(struct dg_torch_out *out, const char *code) { fputs(code, out->pickle); }

static const char ordered_dict[] = "ccollections\nOrderedDict\n)R"; /* collections.OrderedDict() */

void dg_torch_begin_dict(struct dg_torch_out *out) { put_code(out, "}("); }

void dg_torch_begin_state_dict(struct dg_torch_out *out)
{
    put_code(out, ordered_dict);
    put_code(out, "(");
}

void dg_torch_end_dict(struct dg_torch_out *out) { put_code(out, "u"); }
void dg_torch_begin_list(struct dg_torch_out *out) { put_code(out, "]("); }
void dg_torch_end_list(struct dg_torch_out *out) { put_code(out, "e"); }
void dg_torch_begin_tuple(struct dg_torch_out *out) { put_code(out, "("); }
void dg_torch_end_tuple(struct dg_torch_out *out) { put_code(out, "t"); }

/* Returns the number of the tensor's storage. */
static int add_tensor(struct dg_torch_out *out, const struct dg_safetensors_item *item)
{
    if (out->count == out->capacity) {
        int capacity = out->capacity ? 2 * out->capacity : 256;
        struct dg_safetensors_item *tensor = realloc(out->tensor, (size_t)capacity * sizeof *tensor);
        out->lost |= !tensor;
        if (!tensor) return 0;
        out->tensor = tensor;
        out->capacity = capacity;
    }
    out->tensor[out->count] = *item;
    return out->count++;
}

/* torch._utils._rebuild_tensor_v2(storage, 0, sizes, strides, False, OrderedDict()), the storage by its persistent
 * id. */
void dg_torch_put_tensor(struct dg_torch_out *out, const struct dg_safetensors_item *item)
{
    char key[16];
    const char *storage = storage_of(item->dtype);
    int64_t count = dg_safetensors_item_bytes(item) / dg_safetensors_dtype_size(item->dtype), stride = count;
    snprintf(key, sizeof key, "%d", add_tensor(out, item));
    put_code(out, "ctorch._utils\n_rebuild_tensor_v2\n((");
    dg_torch_put_text(out, "", "storage");
    fprintf(out->pickle, "ctorch\n%s\n", storage ? storage : "");
    dg_torch_put_text(out, "", key);
    dg_torch_put_text(out, "", "cpu");
    dg_torch_put_int(out, count);
    put_code(out, "tQ");
    dg_torch_put_int(out, 0);
    dg_torch_begin_tuple(out);
    for (int d = 0; d < item->ndim; d++) dg_torch_put_int(out, item->dim[d]);
    dg_torch_end_tuple(out);
    dg_torch_begin_tuple(out);
    for (int d = 0; d < item->ndim; d++) {
        stride /= item->dim[d] ? item->dim[d] : 1;
        dg_torch_put_int(out, stride);
    }
    dg_torch_end_tuple(out);
    dg_torch_put_bool(out, false);
    put_code(out, ordered_dict);
    put_code(out, "tR");
}

void dg_torch_put_state_dict(struct dg_torch_out *out, const struct dg_torch_dict *dict)
{
    dg_torch_begin_state_dict(out);
    for (int i = 0; i < dict->count; i++) {
        dg_torch_put_text(out, dict->prefix, dict->item[i].name);
        dg_torch_put_tensor(out, &dict->item[i]);
    }
    dg_torch_end_dict(out);
}

/* ---- several dicts, or one ---- */

struct dicts {
    const struct dg_torch_dict *dict;
    int count;
};

static void put_dicts(struct dg_torch_out *out, void *context)
{
    const struct dicts *all = context;
    if (!all->dict->key) {
        dg_torch_put_state_dict(out, all->dict);
        return;
    }
    dg_torch_begin_dict(out);
    for (int n = 0; n < all->count; n++) {
        dg_torch_put_text(out, "", all->dict[n].key);
        dg_torch_put_state_dict(out, &all->dict[n]);
    }
    dg_torch_end_dict(out);
}

enum dg_status dg_torch_write(const char *path, const struct dg_torch_dict *dicts, int count, struct dg_error *err)
{
    return dg_torch_write_object(path, put_dicts, &(struct dicts){dicts, count}, err);
}

/* ---- the zip file, all entries stored ---- */

struct entry {
    char name[48];
    uint32_t crc, size, at;
};

struct archive {
    FILE *out;
    struct entry *entry;
    int count;
    uint64_t size; /* written so far */
};

enum { LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50, VERSION = 20, DATE = 0x21 /* 1980-01-01 */ };

/* What a local header and a line of the directory have alike. */
static void put_facts(FILE *out, const struct entry *e, int extra)
{
    put_little(out, VERSION, 2);
    put_little(out, 0, 2); /* flags */
    put_little(out, 0, 2); /* stored */
    put_little(out, 0, 2); /* time */
    put_little(out, DATE, 2);
    put_little(out, e->crc, 4);
    put_little(out, e->size, 4);
    put_little(out, e->size, 4);
    put_little(out, strlen(e->name), 2);
    put_little(out, (uint64_t)extra, 2);
}

/* Errors of writing are seen when the file is committed. */
static void add_entry(struct archive *a, const char *name, const void *data, uint64_t size)
{
    struct entry *e = &a->entry[a->count++];
    snprintf(e->name, sizeof e->name, "archive/%s", name);
    e->at = (uint32_t)a->size;
    e->size = (uint32_t)size;
    e->crc = (uint32_t)crc32_z(0, data, size);
    uint64_t head = 30 + strlen(e->name) + 4; /* and four bytes of the extra field, whose rest aligns the numbers */
    int pad = (int)(((a->size + head + ALIGN - 1) / ALIGN * ALIGN) - (a->size + head));
    put_little(a->out, LOCAL, 4);
    put_facts(a->out, e, 4 + pad);
    fputs(e->name, a->out);
    fputs("FB", a->out); /* the extra field that PyTorch itself uses */
    put_little(a->out, (uint64_t)pad, 2);
    for (int i = 0; i < pad; i++) fputc('Z', a->out);
    if (size) fwrite(data, 1, size, a->out);
    a->size += head + (uint64_t)pad + size;
}

static void add_directory(struct archive *a)
{
    uint64_t bytes = 0;
    for (int i = 0; i < a->count; i++) {
        const struct entry *e = &a->entry[i];
        put_little(a->out, CENTRAL, 4);
        put_little(a->out, VERSION, 2); /* made by */
        put_facts(a->out, e, 0);
        put_little(a->out, 0, 4); /* comment, disk */
        put_little(a->out, 0, 6); /* attributes */
        put_little(a->out, e->at, 4);
        fputs(e->name, a->out);
        bytes += 46 + strlen(e->name);
    }
    put_little(a->out, END, 4);
    put_little(a->out, 0, 4); /* disks */
    put_little(a->out, (uint64_t)a->count, 2);
    put_little(a->out, (uint64_t)a->count, 2);
    put_little(a->out, bytes, 4);
    put_little(a->out, a->size, 4);
    put_little(a->out, 0, 2);
}

static void write_archive(struct archive *a, const struct dg_torch_out *object, const char *pickle, size_t size)
{
    char name[24];
    add_entry(a, "data.pkl", pickle, size);
    add_entry(a, "byteorder", "little", 6);
    for (int i = 0; i < object->count; i++) {
        snprintf(name, sizeof name, "data/%d", i);
        add_entry(a, name, object->tensor[i].data, (uint64_t)dg_safetensors_item_bytes(&object->tensor[i]));
    }
    add_entry(a, "version", "3\n", 2);
    add_directory(a);
}

/* Types that can be written, and a size that a zip file without extensions can have. */
static enum dg_status check(const char *path, const struct dg_torch_out *object, size_t pickle, struct dg_error *err)
{
    uint64_t bytes = (uint64_t)pickle + 1024; /* and up to 256 for the headers of each tensor */
    for (int i = 0; i < object->count; i++) {
        const struct dg_safetensors_item *item = &object->tensor[i];
        bytes += (uint64_t)dg_safetensors_item_bytes(item) + 256;
        if (!storage_of(item->dtype))
            return dg_fail(err, DG_ERR_UNSUPPORTED, "%s: %.200s is %s, which PyTorch's files do not have", path,
                           item->name, dg_safetensors_dtype_name(item->dtype));
    }
    if (bytes <= UINT32_MAX && object->count <= MAX_ENTRIES) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "%s: %d tensors of %.1f GiB are more than such a file can have, 4 GiB; a safetensors file can", path,
                   object->count, (double)bytes / (1 << 30));
}

static enum dg_status write_file(const char *path, const struct dg_torch_out *object, const char *pickle, size_t size,
                                 struct dg_error *err)
{
    struct dg_atomic_file file = {0};
    DG_TRY(check(path, object, size, err));
    struct archive archive = {.entry = calloc((size_t)object->count + 3, sizeof *archive.entry)};
    enum dg_status status =
        archive.entry ? dg_atomic_open(path, &file, err) : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) {
        archive.out = file.stream;
        write_archive(&archive, object, pickle, size);
        status = dg_atomic_commit(&file, err);
    }
    free(archive.entry);
    return status;
}

enum dg_status dg_torch_write_object(const char *path, void (*put)(struct dg_torch_out *out, void *context),
                                     void *context, struct dg_error *err)
{
    char *text = NULL;
    size_t size = 0;
    struct dg_torch_out object = {.pickle = open_memstream(&text, &size)};
    if (!object.pickle) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    put_code(&object, "\x80\x02");
    put(&object, context);
    put_code(&object, ".");
    object.lost |= ferror(object.pickle);
    object.lost |= fclose(object.pickle) != 0;
    enum dg_status status =
        object.lost ? dg_fail(err, DG_ERR_MEMORY, "out of memory") : write_file(path, &object, text, size, err);
    free(object.tensor);
    free(text);
    return status;
}

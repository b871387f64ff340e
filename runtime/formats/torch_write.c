#include "runtime/formats/torch_write.h"

#include "runtime/base/atomic_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { ALIGN = 64, MAX_ENTRIES = 60000 };

static int64_t bytes_of(const struct dg_safetensors_item *item)
{
    int64_t bytes = dg_safetensors_dtype_size(item->dtype);
    for (int d = 0; d < item->ndim; d++) bytes *= item->dim[d];
    return bytes;
}

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

static void put_little(FILE *out, uint64_t value, int bytes)
{
    for (int b = 0; b < bytes; b++) fputc((int)(value >> 8 * b & 0xff), out);
}

/* BININT1, BININT or LONG1 of eight bytes. */
static void put_int(FILE *out, int64_t value)
{
    bool byte = value >= 0 && value < 256, word = value >= INT32_MIN && value <= INT32_MAX;
    fputc(byte ? 'K' : word ? 'J' : '\x8a', out);
    if (!byte && !word) fputc(8, out);
    put_little(out, (uint64_t)value, byte ? 1 : word ? 4 : 8);
}

/* BINUNICODE */
static void put_text(FILE *out, const char *prefix, const char *text)
{
    fputc('X', out);
    put_little(out, strlen(prefix) + strlen(text), 4);
    fprintf(out, "%s%s", prefix, text);
}

/* collections.OrderedDict() */
static void put_dict(FILE *out) { fputs("ccollections\nOrderedDict\n)R", out); }

/* torch._utils._rebuild_tensor_v2(storage, 0, sizes, strides, False, OrderedDict()), the storage by its persistent id. */
static void put_tensor(FILE *out, const struct dg_safetensors_item *item, int storage)
{
    char key[16];
    int64_t count = bytes_of(item) / dg_safetensors_dtype_size(item->dtype), stride = count;
    snprintf(key, sizeof key, "%d", storage);
    fputs("ctorch._utils\n_rebuild_tensor_v2\n((", out);
    put_text(out, "", "storage");
    fprintf(out, "ctorch\n%s\n", storage_of(item->dtype));
    put_text(out, "", key);
    put_text(out, "", "cpu");
    put_int(out, count);
    fputs("tQ", out);
    put_int(out, 0);
    fputc('(', out);
    for (int d = 0; d < item->ndim; d++) put_int(out, item->dim[d]);
    fputs("t(", out);
    for (int d = 0; d < item->ndim; d++) {
        stride /= item->dim[d] ? item->dim[d] : 1;
        put_int(out, stride);
    }
    fputs("t\x89", out);
    put_dict(out);
    fputs("tR", out);
}

/* The whole object; freed by the caller, NULL: out of memory. */
static char *make_pickle(const struct dg_torch_dict *dicts, int count, size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    int storage = 0;
    if (!out) return NULL;
    fputs("\x80\x02", out);
    if (dicts->key) fputs("}(", out);
    for (int n = 0; n < count; n++) {
        if (dicts[n].key) put_text(out, "", dicts[n].key);
        put_dict(out);
        fputc('(', out);
        for (int i = 0; i < dicts[n].count; i++) {
            put_text(out, dicts[n].prefix, dicts[n].item[i].name);
            put_tensor(out, &dicts[n].item[i], storage++);
        }
        fputc('u', out);
    }
    fputs(dicts->key ? "u." : ".", out);
    bool lost = ferror(out);
    if (!fclose(out) && !lost) return text;
    free(text);
    return NULL;
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

static void write_archive(struct archive *a, const struct dg_torch_dict *dicts, int count, const char *pickle,
                          size_t size)
{
    char name[24];
    int storage = 0;
    add_entry(a, "data.pkl", pickle, size);
    add_entry(a, "byteorder", "little", 6);
    for (int n = 0; n < count; n++)
        for (int i = 0; i < dicts[n].count; i++) {
            snprintf(name, sizeof name, "data/%d", storage++);
            add_entry(a, name, dicts[n].item[i].data, (uint64_t)bytes_of(&dicts[n].item[i]));
        }
    add_entry(a, "version", "3\n", 2);
    add_directory(a);
}

/* Types that can be written, and a size that a zip file without extensions can have. */
static enum dg_status check(const char *path, const struct dg_torch_dict *dicts, int count, int *tensors,
                            struct dg_error *err)
{
    uint64_t bytes = 1 << 20; /* of the pickle and all headers, at most, and 512 each */
    *tensors = 0;
    for (int n = 0; n < count; n++)
        for (int i = 0; i < dicts[n].count; i++, ++*tensors) {
            const struct dg_safetensors_item *item = &dicts[n].item[i];
            bytes += (uint64_t)bytes_of(item) + 512 + strlen(item->name);
            if (!storage_of(item->dtype))
                return dg_fail(err, DG_ERR_UNSUPPORTED, "%s: %.200s is %s, which PyTorch's files do not have", path,
                               item->name, dg_safetensors_dtype_name(item->dtype));
        }
    if (bytes <= UINT32_MAX && *tensors <= MAX_ENTRIES) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "%s: %d tensors of %.1f GiB are more than such a file can have, 4 GiB; a safetensors file can", path,
                   *tensors, (double)bytes / (1 << 30));
}

enum dg_status dg_torch_write(const char *path, const struct dg_torch_dict *dicts, int count, struct dg_error *err)
{
    int tensors;
    size_t size = 0;
    struct dg_atomic_file file = {0};
    DG_TRY(check(path, dicts, count, &tensors, err));
    char *pickle = make_pickle(dicts, count, &size);
    struct archive archive = {.entry = calloc((size_t)tensors + 3, sizeof *archive.entry)};
    enum dg_status status =
        pickle && archive.entry ? dg_atomic_open(path, &file, err) : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) {
        archive.out = file.stream;
        write_archive(&archive, dicts, count, pickle, size);
        status = dg_atomic_commit(&file, err);
    }
    free(archive.entry);
    free(pickle);
    return status;
}

#include "runtime/formats/safetensors.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/file_map.h"
#include "runtime/formats/file_kind.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are used as they lie in the file, little-endian");

#define METADATA "__metadata__"

enum {
    LENGTH_BYTES = 8,       /* the header's length, before the header */
    MAX_HEADER = 100000000, /* as the reference implementation has it */
    DATA_ALIGN = 64,        /* of the data in files we write */
};

struct dg_safetensors {
    struct dg_file_map map;
    json_t *header; /* owns the names and the metadata */
    struct dg_safetensors_tensor *tensor;
    const struct dg_safetensors_tensor **by_name;
    int count;
};

static const struct {
    const char *name;
    int size;
} dtypes[DG_SAFETENSORS_DTYPES] = {
    [DG_SAFETENSORS_F64] = {"F64", 8},         [DG_SAFETENSORS_F32] = {"F32", 4},
    [DG_SAFETENSORS_F16] = {"F16", 2},         [DG_SAFETENSORS_BF16] = {"BF16", 2},
    [DG_SAFETENSORS_I64] = {"I64", 8},         [DG_SAFETENSORS_I32] = {"I32", 4},
    [DG_SAFETENSORS_I16] = {"I16", 2},         [DG_SAFETENSORS_I8] = {"I8", 1},
    [DG_SAFETENSORS_U8] = {"U8", 1},           [DG_SAFETENSORS_BOOL] = {"BOOL", 1},
    [DG_SAFETENSORS_U16] = {"U16", 2},         [DG_SAFETENSORS_U32] = {"U32", 4},
    [DG_SAFETENSORS_U64] = {"U64", 8},         [DG_SAFETENSORS_F8_E4M3] = {"F8_E4M3", 1},
    [DG_SAFETENSORS_F8_E5M2] = {"F8_E5M2", 1}, [DG_SAFETENSORS_C64] = {"C64", 8},
};

const char *dg_safetensors_dtype_name(enum dg_safetensors_dtype dtype) { return dtypes[dtype].name; }
int dg_safetensors_dtype_size(enum dg_safetensors_dtype dtype) { return dtypes[dtype].size; }

/* Fails with a tensor's name. A name may be as long as the header: only its beginning is shown, so that the reason
 * fits. */
static enum dg_status bad_tensor(struct dg_error *err, enum dg_status status, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static enum dg_status bad_tensor(struct dg_error *err, enum dg_status status, const char *name, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return dg_fail(err, status, "tensor \"%.200s%s\": %s", name, strlen(name) > 200 ? "..." : "", text);
}

/* The bytes of a shape; false when a dimension is negative or the product does not fit. */
static bool shape_bytes(enum dg_safetensors_dtype dtype, int ndim, const int64_t *dim, int64_t *bytes)
{
    *bytes = dtypes[dtype].size;
    for (int d = 0; d < ndim; d++)
        if (!dg_mul_i64(*bytes, dim[d], bytes)) return false;
    return true;
}

/* ---- reading ---- */

static enum dg_status parse_dtype(const char *name, const json_t *json, enum dg_safetensors_dtype *dtype,
                                  struct dg_error *err)
{
    const char *text = json_string_value(json);
    if (!text) return bad_tensor(err, DG_ERR_INPUT, name, "its dtype is missing or not a string");
    for (int d = 0; d < DG_SAFETENSORS_DTYPES; d++)
        if (!strcmp(text, dtypes[d].name)) {
            *dtype = (enum dg_safetensors_dtype)d;
            return DG_OK;
        }
    return bad_tensor(err, DG_ERR_INPUT, name,
                      "dtype \"%.40s\" is not one that can be read (F64, F32, F16, BF16 and integers)", text);
}

static enum dg_status parse_shape(const char *name, const json_t *json, struct dg_safetensors_tensor *tensor,
                                  struct dg_error *err)
{
    if (!json_is_array(json)) return bad_tensor(err, DG_ERR_INPUT, name, "its shape is missing or not a list");
    size_t ndim = json_array_size(json);
    if (ndim > DG_SAFETENSORS_MAX_DIMS)
        return bad_tensor(err, DG_ERR_INPUT, name, "%zu dimensions, at most %d are possible", ndim,
                          DG_SAFETENSORS_MAX_DIMS);
    tensor->ndim = (int)ndim;
    for (size_t d = 0; d < ndim; d++) {
        const json_t *dim = json_array_get(json, d);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return bad_tensor(err, DG_ERR_INPUT, name, "dimension %zu of its shape is not a non-negative integer", d);
        tensor->dim[d] = json_integer_value(dim);
    }
    return DG_OK;
}

static enum dg_status parse_tensor(const char *name, const json_t *json, const unsigned char *data, uint64_t data_bytes,
                                   struct dg_safetensors_tensor *tensor, struct dg_error *err)
{
    *tensor = (struct dg_safetensors_tensor){.name = name};
    if (!json_is_object(json)) return bad_tensor(err, DG_ERR_INPUT, name, "its entry in the header is not an object");
    DG_TRY(parse_dtype(name, json_object_get(json, "dtype"), &tensor->dtype, err));
    DG_TRY(parse_shape(name, json_object_get(json, "shape"), tensor, err));

    const json_t *offsets = json_object_get(json, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1); /* NULL when no list */
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return bad_tensor(err, DG_ERR_INPUT, name, "its data_offsets are missing or not two integers");
    int64_t begin = json_integer_value(first), end = json_integer_value(last), bytes;
    if (begin < 0 || end < begin)
        return bad_tensor(err, DG_ERR_INPUT, name, "its data_offsets [%lld, %lld] are not a range", (long long)begin,
                          (long long)end);
    if ((uint64_t)end > data_bytes)
        return bad_tensor(err, DG_ERR_INPUT, name,
                          "its data end at byte %lld, the file's at %llu; is the file cut short?", (long long)end,
                          (unsigned long long)data_bytes);
    if (!shape_bytes(tensor->dtype, tensor->ndim, tensor->dim, &bytes))
        return bad_tensor(err, DG_ERR_INPUT, name, "its shape is too large");
    if (bytes != end - begin)
        return bad_tensor(err, DG_ERR_INPUT, name, "its shape takes %lld bytes, its data_offsets span %lld",
                          (long long)bytes, (long long)(end - begin));
    tensor->data = data + begin;
    tensor->bytes = (uint64_t)bytes;
    return DG_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct dg_safetensors_tensor *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1; /* empty tensors before the one they share a place with */
    return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b)
{
    const struct dg_safetensors_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int compare_with_name(const void *name, const void *b)
{
    const struct dg_safetensors_tensor *const *tensor = b;
    return strcmp(name, (*tensor)->name);
}

/* Checks that the sorted tensors fill the data from end to end, each byte once. */
static enum dg_status check_places(const struct dg_safetensors *file, const unsigned char *data, uint64_t data_bytes,
                                   struct dg_error *err)
{
    uint64_t end = 0;
    for (int i = 0; i < file->count; i++) {
        const struct dg_safetensors_tensor *tensor = &file->tensor[i];
        uint64_t begin = (uint64_t)((const unsigned char *)tensor->data - data);
        if (begin < end)
            return bad_tensor(err, DG_ERR_INPUT, tensor->name, "its data overlap those of tensor \"%.200s\"",
                              file->tensor[i - 1].name);
        if (begin > end)
            return bad_tensor(err, DG_ERR_INPUT, tensor->name, "the %llu bytes before its data belong to no tensor",
                              (unsigned long long)(begin - end));
        end = begin + tensor->bytes;
    }
    if (end == data_bytes) return DG_OK;
    if (!file->count)
        return dg_fail(err, DG_ERR_INPUT, "%llu bytes of data, but no tensor", (unsigned long long)data_bytes);
    return bad_tensor(err, DG_ERR_INPUT, file->tensor[file->count - 1].name,
                      "the %llu bytes after its data belong to no tensor", (unsigned long long)(data_bytes - end));
}

static enum dg_status parse_metadata(const json_t *metadata, struct dg_error *err)
{
    if (!json_is_object(metadata)) return dg_fail(err, DG_ERR_INPUT, METADATA " is not an object");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        if (!json_is_string(value))
            return dg_fail(err, DG_ERR_INPUT, METADATA ": the value of \"%.200s\" is not a string", key);
    }
    return DG_OK;
}

static enum dg_status parse(struct dg_safetensors *file, struct dg_error *err)
{
    const unsigned char *bytes = file->map.bytes;
    if (file->map.size < LENGTH_BYTES)
        return dg_fail(err, DG_ERR_INPUT, "only %zu bytes; a safetensors file begins with 8 bytes of header length",
                       file->map.size);
    uint64_t length, rest = file->map.size - LENGTH_BYTES;
    memcpy(&length, bytes, sizeof length);
    if (!memcmp(bytes, "PK\3\4", 4) ||
        !memcmp(bytes, "\x80\x02\x8a\x0al\xfc\x9c", 7)) /* a zip archive, a pickled number */
        return dg_fail(err, DG_ERR_INPUT,
                       "this is not a safetensors file but what torch.save writes: dinorun import makes one of it");
    const char *what = rest && bytes[LENGTH_BYTES] != '{' ? dg_file_kind(bytes, file->map.size) : NULL;
    if (what) return dg_fail(err, DG_ERR_INPUT, "no safetensors file, but %s", what);
    if (length > MAX_HEADER)
        return dg_fail(err, DG_ERR_INPUT, "its header would have %llu bytes, more than %d; is this a safetensors file?",
                       (unsigned long long)length, MAX_HEADER);
    if (length > rest)
        return dg_fail(err, DG_ERR_INPUT, "its header has %llu bytes, the file only %llu; is it cut short?",
                       (unsigned long long)length, (unsigned long long)rest);
    const char *text = (const char *)bytes + LENGTH_BYTES;
    if (!length || text[0] != '{')
        return dg_fail(err, DG_ERR_INPUT, "its header does not begin with '{'; is this a safetensors file?");

    json_error_t why;
    file->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &why);
    if (!file->header)
        return json_error_code(&why) == json_error_out_of_memory
                   ? dg_fail(err, DG_ERR_MEMORY, "no memory for the header")
                   : dg_fail(err, DG_ERR_INPUT, "its header, byte %d: %s", why.position, why.text);

    const unsigned char *data = bytes + LENGTH_BYTES + length;
    uint64_t data_bytes = rest - length;
    size_t entries = json_object_size(file->header);
    file->tensor = calloc(entries + 1, sizeof *file->tensor);
    file->by_name = calloc(entries + 1, sizeof *file->by_name);
    if (!file->tensor || !file->by_name) return dg_fail(err, DG_ERR_MEMORY, "no memory for the list of tensors");
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    {
        if (!strcmp(name, METADATA))
            DG_TRY(parse_metadata(entry, err));
        else
            DG_TRY(parse_tensor(name, entry, data, data_bytes, &file->tensor[file->count++], err));
    }
    qsort(file->tensor, (size_t)file->count, sizeof *file->tensor, compare_places);
    DG_TRY(check_places(file, data, data_bytes, err));
    for (int i = 0; i < file->count; i++) file->by_name[i] = &file->tensor[i];
    qsort(file->by_name, (size_t)file->count, sizeof *file->by_name, compare_names);
    return DG_OK;
}

enum dg_status dg_safetensors_open(const char *path, struct dg_safetensors **file, struct dg_error *err)
{
    *file = NULL;
    struct dg_safetensors *f = calloc(1, sizeof *f);
    if (!f) return dg_fail(err, DG_ERR_MEMORY, "%s: out of memory", path);
    enum dg_status status = dg_file_map_open(path, "a safetensors file", &f->map, err);
    if (status == DG_OK) {
        status = parse(f, err);
        if (status != DG_OK) dg_error_prefix(err, "%s", path);
    }
    if (status == DG_OK)
        *file = f;
    else
        dg_safetensors_close(f);
    return status;
}

void dg_safetensors_close(struct dg_safetensors *file)
{
    if (!file) return;
    dg_file_map_close(&file->map);
    json_decref(file->header);
    free(file->tensor);
    free(file->by_name);
    free(file);
}

int dg_safetensors_count(const struct dg_safetensors *file) { return file->count; }

const struct dg_safetensors_tensor *dg_safetensors_at(const struct dg_safetensors *file, int index)
{
    return &file->tensor[index];
}

const struct dg_safetensors_tensor *dg_safetensors_find(const struct dg_safetensors *file, const char *name)
{
    const struct dg_safetensors_tensor **found =
        bsearch(name, file->by_name, (size_t)file->count, sizeof *file->by_name, compare_with_name);
    return found ? *found : NULL;
}

const char *dg_safetensors_metadata(const struct dg_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, METADATA), key));
}

void dg_safetensors_each_metadata(const struct dg_safetensors *file, dg_safetensors_see *see, void *context)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(file->header, METADATA), key, value)
        see(context, key, json_string_value(value));
}

int64_t dg_safetensors_elements(const struct dg_safetensors_tensor *tensor)
{
    return (int64_t)tensor->bytes / dtypes[tensor->dtype].size;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_bf16(uint16_t bits) { return from_bits((uint32_t)bits << 16); }

static float from_f16(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
    if (exponent == 31)
        return from_bits(sign | 0x7f800000 | mantissa << 13); /* infinities, and NaNs with their payload */
    if (exponent) return from_bits(sign | (exponent + 127 - 15) << 23 | mantissa << 13);
    float value = (float)mantissa * 0x1p-24f; /* zero, or subnormal: normal as f32 */
    return sign ? -value : value;
}

enum dg_status dg_safetensors_read_f32(const struct dg_safetensors_tensor *tensor, float *out)
{
    int64_t count = dg_safetensors_elements(tensor);
    const unsigned char *data = tensor->data;
    uint16_t bits;
    double wide;
    switch (tensor->dtype) {
    case DG_SAFETENSORS_F32:
        if (count) memcpy(out, data, tensor->bytes);
        return DG_OK;
    case DG_SAFETENSORS_F16:
        for (int64_t i = 0; i < count; i++) {
            memcpy(&bits, data + i * 2, sizeof bits);
            out[i] = from_f16(bits);
        }
        return DG_OK;
    case DG_SAFETENSORS_BF16:
        for (int64_t i = 0; i < count; i++) {
            memcpy(&bits, data + i * 2, sizeof bits);
            out[i] = from_bf16(bits);
        }
        return DG_OK;
    case DG_SAFETENSORS_F64:
        for (int64_t i = 0; i < count; i++) {
            memcpy(&wide, data + i * 8, sizeof wide);
            out[i] = (float)wide;
        }
        return DG_OK;
    default: return DG_ERR_UNSUPPORTED;
    }
}

/* All exponent bits are set. */
static bool is_not_finite(enum dg_safetensors_dtype dtype, const unsigned char *data)
{
    uint64_t bits = 0;
    memcpy(&bits, data, (size_t)dtypes[dtype].size);
    uint64_t exponent = dtype == DG_SAFETENSORS_F64   ? UINT64_C(0x7ff0000000000000)
                        : dtype == DG_SAFETENSORS_F32 ? 0x7f800000
                        : dtype == DG_SAFETENSORS_F16 ? 0x7c00
                                                      : 0x7f80;
    return (bits & exponent) == exponent;
}

int64_t dg_safetensors_first_not_finite(const struct dg_safetensors_tensor *tensor)
{
    if (tensor->dtype > DG_SAFETENSORS_BF16) return -1;
    int64_t count = dg_safetensors_elements(tensor);
    const unsigned char *data = tensor->data;
    for (int64_t i = 0; i < count; i++)
        if (is_not_finite(tensor->dtype, data + i * dtypes[tensor->dtype].size)) return i;
    return -1;
}

/* ---- writing ---- */

/* jansson does not tell text that is not UTF-8 from a lack of memory. */
#define NOT_TEXT "is not UTF-8 (or memory has run out)"

static enum dg_status add_metadata(json_t *header, const struct dg_safetensors_meta *meta, int count,
                                   struct dg_error *err)
{
    if (!count) return DG_OK;
    json_t *metadata = json_object();
    if (json_object_set_new(header, METADATA, metadata)) return dg_fail(err, DG_ERR_MEMORY, "no memory for the header");
    for (int i = 0; i < count; i++) {
        if (json_object_get(metadata, meta[i].key))
            return dg_fail(err, DG_ERR_USAGE, METADATA ": two values for \"%.200s\"", meta[i].key);
        if (json_object_set_new(metadata, meta[i].key, json_string(meta[i].value)))
            return dg_fail(err, DG_ERR_USAGE, METADATA ": \"%.200s\" or its value " NOT_TEXT, meta[i].key);
    }
    return DG_OK;
}

/* Adds the tensor whose data begin at *offset, and moves *offset behind them. */
int64_t dg_safetensors_item_bytes(const struct dg_safetensors_item *item)
{
    int64_t bytes;
    return shape_bytes(item->dtype, item->ndim, item->dim, &bytes) ? bytes : INT64_MAX;
}

static enum dg_status add_item(json_t *header, const struct dg_safetensors_item *item, int64_t *offset,
                               struct dg_error *err)
{
    if (!strcmp(item->name, METADATA) || json_object_get(header, item->name))
        return bad_tensor(err, DG_ERR_USAGE, item->name, "the name is taken");
    if ((unsigned)item->dtype >= DG_SAFETENSORS_DTYPES)
        return bad_tensor(err, DG_ERR_USAGE, item->name, "there is no dtype %d", (int)item->dtype);
    if (item->ndim < 0 || item->ndim > DG_SAFETENSORS_MAX_DIMS)
        return bad_tensor(err, DG_ERR_USAGE, item->name, "%d dimensions, 0 to %d are possible", item->ndim,
                          DG_SAFETENSORS_MAX_DIMS);
    int64_t bytes, end;
    if (!shape_bytes(item->dtype, item->ndim, item->dim, &bytes) || !dg_add_i64(*offset, bytes, &end))
        return bad_tensor(err, DG_ERR_USAGE, item->name, "its shape is negative or too large");

    json_t *shape = json_array();
    for (int d = 0; d < item->ndim; d++)
        if (json_array_append_new(shape, json_integer(item->dim[d]))) {
            json_decref(shape);
            return dg_fail(err, DG_ERR_MEMORY, "no memory for the header");
        }
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtypes[item->dtype].name, "shape", shape, "data_offsets",
                              (json_int_t)*offset, (json_int_t)end);
    if (!entry) return dg_fail(err, DG_ERR_MEMORY, "no memory for the header");
    if (json_object_set_new(header, item->name, entry))
        return bad_tensor(err, DG_ERR_USAGE, item->name, "its name " NOT_TEXT);
    *offset = end;
    return DG_OK;
}

/* A failure to write shows as ferror, which dg_atomic_commit reports. */
static enum dg_status write_all(FILE *stream, const char *header, const struct dg_safetensors_item *items, int count,
                                dg_safetensors_source *source, void *context, struct dg_error *err)
{
    size_t header_size = strlen(header);
    uint64_t length = (uint64_t)dg_round_up((int64_t)header_size + LENGTH_BYTES, DATA_ALIGN) - LENGTH_BYTES;
    fwrite(&length, 1, sizeof length, stream);
    fprintf(stream, "%s%*s", header, (int)(length - header_size), "");
    for (int i = 0; i < count && !ferror(stream); i++) {
        const void *data = items[i].data;
        int64_t bytes;
        if (source) DG_TRY(source(context, i, &data, err));
        if (shape_bytes(items[i].dtype, items[i].ndim, items[i].dim, &bytes) && bytes)
            fwrite(data, 1, (size_t)bytes, stream);
    }
    return DG_OK;
}

/* The header's JSON, unpadded, in `text` (the caller frees it). */
static enum dg_status make_header(json_t *header, const struct dg_safetensors_item *items, int count,
                                  const struct dg_safetensors_meta *meta, int meta_count, char **text,
                                  struct dg_error *err)
{
    DG_TRY(add_metadata(header, meta, meta_count, err));
    int64_t offset = 0;
    for (int i = 0; i < count; i++) DG_TRY(add_item(header, &items[i], &offset, err));
    *text = json_dumps(header, JSON_COMPACT); /* keys in the order in which they were added */
    if (!*text) return dg_fail(err, DG_ERR_MEMORY, "no memory for the header");
    if (strlen(*text) > MAX_HEADER - DATA_ALIGN) /* room for the padding */
        return dg_fail(err, DG_ERR_USAGE, "a header of %zu bytes is too long", strlen(*text));
    return DG_OK;
}

enum dg_status dg_safetensors_write_from(const char *path, const struct dg_safetensors_item *items, int count,
                                         const struct dg_safetensors_meta *meta, int meta_count,
                                         dg_safetensors_source *source, void *context, struct dg_error *err)
{
    json_t *header = json_object();
    char *text = NULL;
    enum dg_status status = make_header(header, items, count, meta, meta_count, &text, err);
    json_decref(header);
    if (status == DG_OK) {
        struct dg_atomic_file file;
        status = dg_atomic_open(path, &file, err);
        if (status == DG_OK) {
            status = write_all(file.stream, text, items, count, source, context, err);
            if (status == DG_OK)
                status = dg_atomic_commit(&file, err);
            else
                dg_atomic_abandon(&file);
        }
    } else {
        dg_error_prefix(err, "cannot write %s", path);
    }
    free(text);
    return status;
}

enum dg_status dg_safetensors_write(const char *path, const struct dg_safetensors_item *items, int count,
                                    const struct dg_safetensors_meta *meta, int meta_count, struct dg_error *err)
{
    return dg_safetensors_write_from(path, items, count, meta, meta_count, NULL, NULL, err);
}

#include "runtime/formats/pickle.h"

#include "runtime/formats/pickle_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 16 };

struct chunk {
    struct chunk *next;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
};

struct dg_pickle {
    struct chunk *chunk;
    size_t total; /* bytes of all chunks */
    struct dg_pickle_storage *storage;
    int storages, storage_room;
    int *by_key; /* hash table of storage indices plus one; a power of two in size, half of it free */
    int by_key_size;
};

/* One pickle being read. Stack and memo hold values of the pickle they are read for. */
struct machine {
    struct dg_pickle *pickle;
    const unsigned char *bytes;
    size_t size, at;
    size_t opcode_at; /* of the opcode being executed, for messages */
    const struct dg_pickle_value **stack;
    int64_t depth, stack_room;
    int64_t *mark; /* depths of the stack */
    int64_t marks, mark_room;
    const struct dg_pickle_value **memo;
    int64_t memo_size, memo_room, memo_count; /* memo_size: indices below it may be set */
    struct dg_error *err;
};

typedef enum dg_status dg_call(struct machine *m, const struct dg_pickle_value *args, struct dg_pickle_value *result);

enum is { IS_FUNCTION, IS_STORAGE, IS_DTYPE };

/* What data are made of. */
struct dg_pickle_callable {
    const char *module, *name;
    enum is is;
    dg_call *call; /* of IS_FUNCTION */
    enum dg_safetensors_dtype dtype;
};

static dg_call call_ordered_dict, call_empty_dict, call_encode, call_rebuild_tensor, call_rebuild_typed,
    call_rebuild_parameter, call_rebuild_subclass, call_size;

static const struct dg_pickle_callable callables[] = {
    {"collections", "OrderedDict", IS_FUNCTION, call_ordered_dict, 0},        /* what state_dict() returns */
    {"collections", "defaultdict", IS_FUNCTION, call_empty_dict, 0},          /* the optimiser's state */
    {"_codecs", "encode", IS_FUNCTION, call_encode, 0},                       /* bytes, in protocols before 3 */
    {"torch._utils", "_rebuild_tensor", IS_FUNCTION, call_rebuild_tensor, 0}, /* PyTorch 0.3 */
    {"torch._utils", "_rebuild_tensor_v2", IS_FUNCTION, call_rebuild_tensor, 0},
    {"torch._utils", "_rebuild_tensor_v3", IS_FUNCTION, call_rebuild_typed,
     0}, /* types without a storage of their own */
    {"torch._utils", "_rebuild_parameter", IS_FUNCTION, call_rebuild_parameter, 0}, /* saved without state_dict() */
    {"torch._utils", "_rebuild_parameter_with_state", IS_FUNCTION, call_rebuild_parameter, 0},
    {"torch._tensor", "_rebuild_from_type_v2", IS_FUNCTION, call_rebuild_subclass, 0}, /* of Tensor and Parameter */
    {"torch", "Size", IS_FUNCTION, call_size, 0},
    {"torch", "DoubleStorage", IS_STORAGE, NULL, DG_SAFETENSORS_F64},
    {"torch", "FloatStorage", IS_STORAGE, NULL, DG_SAFETENSORS_F32},
    {"torch", "HalfStorage", IS_STORAGE, NULL, DG_SAFETENSORS_F16},
    {"torch", "BFloat16Storage", IS_STORAGE, NULL, DG_SAFETENSORS_BF16},
    {"torch", "LongStorage", IS_STORAGE, NULL, DG_SAFETENSORS_I64},
    {"torch", "IntStorage", IS_STORAGE, NULL, DG_SAFETENSORS_I32},
    {"torch", "ShortStorage", IS_STORAGE, NULL, DG_SAFETENSORS_I16},
    {"torch", "CharStorage", IS_STORAGE, NULL, DG_SAFETENSORS_I8},
    {"torch", "ByteStorage", IS_STORAGE, NULL, DG_SAFETENSORS_U8},
    {"torch", "BoolStorage", IS_STORAGE, NULL, DG_SAFETENSORS_BOOL},
    {"torch", "QInt8Storage", IS_STORAGE, NULL, DG_SAFETENSORS_I8}, /* of tensors that are left out */
    {"torch", "QUInt8Storage", IS_STORAGE, NULL, DG_SAFETENSORS_U8},
    {"torch", "QInt32Storage", IS_STORAGE, NULL, DG_SAFETENSORS_I32},
    {"torch", "ComplexFloatStorage", IS_STORAGE, NULL, DG_SAFETENSORS_C64},
    {"torch.storage", "UntypedStorage", IS_STORAGE, NULL, DG_SAFETENSORS_U8},
    {"torch", "UntypedStorage", IS_STORAGE, NULL, DG_SAFETENSORS_U8},
    {"torch", "uint16", IS_DTYPE, NULL, DG_SAFETENSORS_U16},
    {"torch", "uint32", IS_DTYPE, NULL, DG_SAFETENSORS_U32},
    {"torch", "uint64", IS_DTYPE, NULL, DG_SAFETENSORS_U64},
    {"torch", "float8_e4m3fn", IS_DTYPE, NULL, DG_SAFETENSORS_F8_E4M3},
    {"torch", "float8_e5m2", IS_DTYPE, NULL, DG_SAFETENSORS_F8_E5M2},
};

/* Modules and built-in functions that nothing beside weights needs, and attacks do. */
static const char *const hostile[] = {"os",        "posix", "nt",     "sys",    "subprocess", "runpy",
                                      "importlib", "pty",   "socket", "shutil", "ctypes",     "webbrowser"};
static const char *const hostile_builtins[] = {"eval",     "exec", "compile", "__import__",
                                               "execfile", "open", "input",   "breakpoint"};

static const struct dg_pickle_value none = {.kind = DG_PICKLE_NONE}, yes = {.kind = DG_PICKLE_BOOL, .i = 1},
                                    no = {.kind = DG_PICKLE_BOOL, .i = 0};

static void complain(const struct machine *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(const struct machine *m, const char *format, ...)
{
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dg_fail(m->err, DG_ERR_INPUT, "byte %zu of the pickle: %s", m->opcode_at, text);
}
/* A constant, so that the compiler sees that what follows a failure is not run. */
#define bad(...) (complain(__VA_ARGS__), DG_ERR_INPUT)

/* ---- memory ---- */

static void *take(struct machine *m, size_t size)
{
    struct dg_pickle *p = m->pickle;
    size = (size + 15) & ~(size_t)15;
    if (!p->chunk || p->chunk->size - p->chunk->used < size) {
        size_t room = size > CHUNK ? size : CHUNK;
        struct chunk *chunk = NULL;
        if (room <= DG_PICKLE_MAX_BYTES && p->total <= DG_PICKLE_MAX_BYTES - room) chunk = malloc(sizeof *chunk + room);
        if (!chunk) {
            dg_fail(m->err, DG_ERR_MEMORY, "byte %zu of the pickle: its values take more than %d MiB", m->opcode_at,
                    DG_PICKLE_MAX_BYTES >> 20);
            return NULL;
        }
        *chunk = (struct chunk){.next = p->chunk, .size = room};
        p->chunk = chunk;
        p->total += room;
    }
    void *place = p->chunk->bytes + p->chunk->used;
    p->chunk->used += size;
    return place;
}

/* Makes room for one more element in an array outside the arena. */
static bool grow(void *array, int64_t count, int64_t *room, size_t element)
{
    if (count < *room) return true;
    int64_t wanted = *room ? *room * 2 : 64;
    while (wanted <= count) wanted *= 2;
    void **place = array, *larger = realloc(*place, (size_t)wanted * element);
    if (!larger) return false;
    *place = larger;
    *room = wanted;
    return true;
}

static enum dg_status push(struct machine *m, const struct dg_pickle_value *value)
{
    if (m->depth == DG_PICKLE_MAX_STACK) return bad(m, "the stack grows beyond %d values", DG_PICKLE_MAX_STACK);
    if (!grow(&m->stack, m->depth, &m->stack_room, sizeof *m->stack))
        return dg_fail(m->err, DG_ERR_MEMORY, "out of memory");
    m->stack[m->depth++] = value;
    return DG_OK;
}

static enum dg_status push_new(struct machine *m, struct dg_pickle_value value)
{
    struct dg_pickle_value *place = take(m, sizeof *place);
    if (!place) return DG_ERR_MEMORY;
    *place = value;
    return push(m, place);
}

/* The number of values above the topmost mark; of all on the stack if there is no mark. */
static int64_t available(const struct machine *m) { return m->depth - (m->marks ? m->mark[m->marks - 1] : 0); }

static enum dg_status pop(struct machine *m, const struct dg_pickle_value **value)
{
    if (available(m) < 1) return bad(m, "it takes from an empty stack");
    *value = m->stack[--m->depth];
    return DG_OK;
}

/* The list or dict on top of the stack. The machine made it, so it may be changed. */
static enum dg_status top(const struct machine *m, int64_t below, struct dg_pickle_value **value)
{
    if (available(m) < below + 1) return bad(m, "it takes from an empty stack");
    *value = (struct dg_pickle_value *)(uintptr_t)m->stack[m->depth - 1 - below];
    return DG_OK;
}

static enum dg_status append(struct machine *m, struct dg_pickle_value *list, const struct dg_pickle_value *item)
{
    if (list->list.count == list->list.room) {
        int64_t room = list->list.room ? list->list.room * 2 : 4;
        const struct dg_pickle_value **larger = take(m, (size_t)room * sizeof *larger);
        if (!larger) return DG_ERR_MEMORY;
        if (list->list.count) memcpy(larger, list->list.item, (size_t)list->list.count * sizeof *larger);
        list->list.item = larger;
        list->list.room = room;
    }
    list->list.item[list->list.count++] = item;
    return DG_OK;
}

/* ---- the stream ---- */

static enum dg_status need(const struct machine *m, uint64_t count)
{
    if (count <= m->size - m->at) return DG_OK;
    return bad(m, "it ends in the middle; is the file cut short?");
}

static enum dg_status read_number(struct machine *m, size_t width, uint64_t *number)
{
    DG_TRY(need(m, width));
    *number = 0;
    for (size_t i = 0; i < width; i++) *number |= (uint64_t)m->bytes[m->at + i] << 8 * i;
    m->at += width;
    return DG_OK;
}

/* Text or bytes whose length is a number of `width` bytes. */
static enum dg_status read_text(struct machine *m, size_t width, enum dg_pickle_kind kind)
{
    uint64_t size;
    DG_TRY(read_number(m, width, &size));
    DG_TRY(need(m, size));
    char *copy = take(m, (size_t)size + 1);
    if (!copy) return DG_ERR_MEMORY;
    memcpy(copy, m->bytes + m->at, (size_t)size);
    copy[size] = 0;
    m->at += (size_t)size;
    return push_new(m, (struct dg_pickle_value){.kind = kind, .text = {copy, (int64_t)size}});
}

static enum dg_status read_long(struct machine *m, size_t width)
{
    uint64_t size, bits = 0;
    DG_TRY(read_number(m, width, &size));
    DG_TRY(need(m, size));
    if (size > 8) {
        m->at -= width;
        return read_text(m, width, DG_PICKLE_LONG);
    }
    DG_TRY(read_number(m, (size_t)size, &bits));
    if (size && size < 8 && bits >> (8 * size - 1)) bits |= UINT64_MAX << 8 * size; /* the sign */
    return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_INT, .i = (int64_t)bits});
}

static enum dg_status read_float(struct machine *m)
{
    uint64_t little, big;
    DG_TRY(read_number(m, 8, &little));
    big = __builtin_bswap64(little);
    struct dg_pickle_value value = {.kind = DG_PICKLE_FLOAT};
    memcpy(&value.f, &big, sizeof big);
    return push_new(m, value);
}

/* A line of GLOBAL: `*line` and its length, without the newline. */
static enum dg_status read_line(struct machine *m, const char **line, int64_t *length)
{
    const unsigned char *begin = m->bytes + m->at, *end = memchr(begin, '\n', m->size - m->at);
    if (!end) return bad(m, "it ends in the middle; is the file cut short?");
    *line = (const char *)begin;
    *length = end - begin;
    m->at += (size_t)*length + 1;
    return DG_OK;
}

static bool is_text(const char *text, int64_t size, const char *what)
{
    return size == (int64_t)strlen(what) && !memcmp(text, what, (size_t)size);
}

/* Formats a name from the file for a message: cut, and without control characters. */
static const char *printable(char *out, size_t room, const char *text, int64_t size)
{
    size_t n = 0;
    for (int64_t i = 0; i < size && n + 4 < room; i++) out[n++] = text[i] >= ' ' && text[i] < 127 ? text[i] : '?';
    out[n] = 0;
    if (n < (size_t)size) strcpy(out + n, "...");
    return out;
}

static bool is_hostile(const char *module, int64_t module_size, const char *name, int64_t name_size)
{
    for (size_t h = 0; h < sizeof hostile / sizeof *hostile; h++)
        if (is_text(module, module_size, hostile[h])) return true;
    if (!is_text(module, module_size, "builtins") && !is_text(module, module_size, "__builtin__")) return false;
    for (size_t h = 0; h < sizeof hostile_builtins / sizeof *hostile_builtins; h++)
        if (is_text(name, name_size, hostile_builtins[h])) return true;
    return false;
}

static enum dg_status push_global(struct machine *m, const char *module, int64_t module_size, const char *name,
                                  int64_t name_size)
{
    for (size_t c = 0; c < sizeof callables / sizeof *callables; c++)
        if (is_text(module, module_size, callables[c].module) && is_text(name, name_size, callables[c].name))
            return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_GLOBAL, .global = &callables[c]});
    char a[128], b[128];
    printable(a, sizeof a, module, module_size);
    printable(b, sizeof b, name, name_size);
    if (is_hostile(module, module_size, name, name_size))
        return bad(m,
                   "it names %s.%s, which weights do not need; nothing was run. Whoever loads this file in Python runs "
                   "what it says: do not, unless you know where it is from",
                   a, b);
    size_t size = strlen(a) + strlen(b) + 2;
    char *both = take(m, size);
    if (!both) return DG_ERR_MEMORY;
    snprintf(both, size, "%s.%s", a, b);
    return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_CLASS, .class_name = both});
}

/* ---- memo ---- */

static enum dg_status put(struct machine *m, uint64_t index)
{
    if (available(m) < 1) return bad(m, "it remembers a value of an empty stack");
    if (index >= DG_PICKLE_MAX_MEMO) return bad(m, "it remembers more than %d values", DG_PICKLE_MAX_MEMO);
    if (!grow(&m->memo, (int64_t)index, &m->memo_room, sizeof *m->memo))
        return dg_fail(m->err, DG_ERR_MEMORY, "out of memory");
    while (m->memo_size <= (int64_t)index) m->memo[m->memo_size++] = NULL;
    m->memo_count += !m->memo[index];
    m->memo[index] = m->stack[m->depth - 1];
    return DG_OK;
}

static enum dg_status get(struct machine *m, uint64_t index)
{
    if (index >= (uint64_t)m->memo_size || !m->memo[index])
        return bad(m, "it recalls value %llu, which it has not remembered", (unsigned long long)index);
    return push(m, m->memo[index]);
}

/* ---- callables ---- */

/* OrderedDict(), or as Python 2 writes it: OrderedDict([[key, value], ...]). */
static enum dg_status call_ordered_dict(struct machine *m, const struct dg_pickle_value *args,
                                        struct dg_pickle_value *result)
{
    *result = (struct dg_pickle_value){.kind = DG_PICKLE_DICT};
    if (!args->list.count) return DG_OK;
    const struct dg_pickle_value *pairs = args->list.item[0];
    if (args->list.count != 1 || pairs->kind != DG_PICKLE_LIST)
        return bad(m, "OrderedDict takes a list of pairs or nothing");
    for (int64_t i = 0; i < pairs->list.count; i++) {
        const struct dg_pickle_value *pair = pairs->list.item[i];
        if ((pair->kind != DG_PICKLE_LIST && pair->kind != DG_PICKLE_TUPLE) || pair->list.count != 2)
            return bad(m, "item %lld of an OrderedDict is not a pair", (long long)i);
        DG_TRY(append(m, result, pair->list.item[0]));
        DG_TRY(append(m, result, pair->list.item[1]));
    }
    return DG_OK;
}

/* Up to DG_SAFETENSORS_MAX_DIMS integers, none negative. */
static bool get_dims(const struct dg_pickle_value *value, int64_t *dim, int *count)
{
    if (value->kind != DG_PICKLE_TUPLE && value->kind != DG_PICKLE_LIST) return false;
    if (value->list.count > DG_SAFETENSORS_MAX_DIMS) return false;
    *count = (int)value->list.count;
    for (int d = 0; d < *count; d++) {
        if (value->list.item[d]->kind != DG_PICKLE_INT || value->list.item[d]->i < 0) return false;
        dim[d] = value->list.item[d]->i;
    }
    return true;
}

static enum dg_status call_empty_dict(struct machine *m, const struct dg_pickle_value *args,
                                      struct dg_pickle_value *result)
{
    (void)m, (void)args; /* what it makes of keys that are missing */
    *result = (struct dg_pickle_value){.kind = DG_PICKLE_DICT};
    return DG_OK;
}

/* encode(text, "latin1"): the bytes whose numbers the characters have, of which UTF-8 takes one byte or two. */
static enum dg_status call_encode(struct machine *m, const struct dg_pickle_value *args, struct dg_pickle_value *result)
{
    const struct dg_pickle_value *text = args->list.count ? args->list.item[0] : NULL;
    const char *codec = args->list.count == 2 ? dg_pickle_text(args->list.item[1]) : NULL;
    if (!codec || strcmp(codec, "latin1") || text->kind != DG_PICKLE_TEXT)
        return bad(m, "bytes are not a text and \"latin1\"");
    unsigned char *bytes = take(m, (size_t)text->text.size + 1);
    int64_t size = 0;
    if (!bytes) return DG_ERR_MEMORY;
    for (int64_t i = 0; i < text->text.size; i++) {
        unsigned char c = (unsigned char)text->text.bytes[i];
        if (c >= 0xc2 && c <= 0xc3 && i + 1 < text->text.size)
            c = (unsigned char)(c << 6 | ((unsigned char)text->text.bytes[++i] & 0x3f));
        else if (c >= 0x80)
            return bad(m, "a text of latin-1 has other characters");
        bytes[size++] = c;
    }
    bytes[size] = 0;
    *result = (struct dg_pickle_value){.kind = DG_PICKLE_BYTES, .text = {(const char *)bytes, size}};
    return DG_OK;
}

/* The tensor of (storage, offset, size, stride, ...), of elements of `dtype`. */
static enum dg_status rebuild(struct machine *m, const struct dg_pickle_value *args, enum dg_safetensors_dtype dtype,
                              struct dg_pickle_value *result)
{
    const struct dg_pickle_value **arg = args->list.item;
    struct dg_pickle_tensor *tensor = take(m, sizeof *tensor);
    if (!tensor) return DG_ERR_MEMORY;
    memset(tensor, 0, sizeof *tensor);
    int strides;
    if (arg[1]->kind != DG_PICKLE_INT || arg[1]->i < 0 || !get_dims(arg[2], tensor->dim, &tensor->ndim) ||
        !get_dims(arg[3], tensor->stride, &strides) || strides != tensor->ndim)
        return bad(m, "a tensor is not (storage, offset, size, stride) with at most %d dimensions",
                   DG_SAFETENSORS_MAX_DIMS);
    tensor->storage = arg[0]->storage;
    tensor->dtype = dtype;
    tensor->offset = arg[1]->i;
    const struct dg_pickle_storage *storage = &m->pickle->storage[tensor->storage];
    int64_t elements = 1, last = tensor->offset, step;
    for (int d = 0; d < tensor->ndim; d++)
        if (!dg_mul_i64(elements, tensor->dim[d], &elements)) return bad(m, "a tensor's shape is too large");
    if (elements) { /* an empty one touches nothing */
        for (int d = 0; d < tensor->ndim; d++)
            if (!dg_mul_i64(tensor->dim[d] - 1, tensor->stride[d], &step) || !dg_add_i64(last, step, &last))
                return bad(m, "a tensor's strides are too large");
        int64_t room = storage->elements;
        if (dtype != storage->dtype) room /= dg_safetensors_dtype_size(dtype);
        if (last >= room)
            return bad(m, "a tensor reaches element %lld of storage %.100s, which has %lld", (long long)last,
                       storage->key, (long long)room);
    }
    *result = (struct dg_pickle_value){.kind = DG_PICKLE_TENSOR, .tensor = tensor};
    return DG_OK;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks[, metadata]) */
static enum dg_status call_rebuild_tensor(struct machine *m, const struct dg_pickle_value *args,
                                          struct dg_pickle_value *result)
{
    if (args->list.count && args->list.item[0]->kind == DG_PICKLE_OBJECT) { /* a storage of a type that is not known */
        *result = *args->list.item[0];
        return DG_OK;
    }
    if (args->list.count < 4 || args->list.item[0]->kind != DG_PICKLE_STORAGE)
        return bad(m, "a tensor is not (storage, offset, size, stride) with at most %d dimensions",
                   DG_SAFETENSORS_MAX_DIMS);
    return rebuild(m, args, m->pickle->storage[args->list.item[0]->storage].dtype, result);
}

/* _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, backward_hooks, dtype[, metadata]); the storage counts
 * bytes. A type that is not known makes an object. */
static enum dg_status call_rebuild_typed(struct machine *m, const struct dg_pickle_value *args,
                                         struct dg_pickle_value *result)
{
    const struct dg_pickle_value **arg = args->list.item;
    if (args->list.count < 7 || arg[0]->kind != DG_PICKLE_STORAGE ||
        m->pickle->storage[arg[0]->storage].dtype != DG_SAFETENSORS_U8)
        return bad(m, "a tensor is not (bytes, offset, size, stride, ..., type)");
    if (arg[6]->kind == DG_PICKLE_GLOBAL && arg[6]->global->is == IS_DTYPE)
        return rebuild(m, args, arg[6]->global->dtype, result);
    *result = (struct dg_pickle_value){.kind = DG_PICKLE_OBJECT,
                                       .class_name = arg[6]->kind == DG_PICKLE_CLASS ? arg[6]->class_name : "a tensor"};
    return DG_OK;
}

/* _rebuild_parameter(tensor, requires_grad, backward_hooks[, state]) */
static enum dg_status call_rebuild_parameter(struct machine *m, const struct dg_pickle_value *args,
                                             struct dg_pickle_value *result)
{
    if (args->list.count < 1 ||
        (args->list.item[0]->kind != DG_PICKLE_TENSOR && args->list.item[0]->kind != DG_PICKLE_OBJECT))
        return bad(m, "a parameter is not made of a tensor");
    *result = *args->list.item[0];
    return DG_OK;
}

static enum dg_status call(struct machine *m, const struct dg_pickle_value *function,
                           const struct dg_pickle_value *args, struct dg_pickle_value *result);

/* _rebuild_from_type_v2(function, type, arguments, state) */
static enum dg_status call_rebuild_subclass(struct machine *m, const struct dg_pickle_value *args,
                                            struct dg_pickle_value *result)
{
    const struct dg_pickle_value **arg = args->list.item;
    if (args->list.count < 3 || arg[2]->kind != DG_PICKLE_TUPLE || arg[0]->kind != DG_PICKLE_GLOBAL ||
        arg[0]->global->call == call_rebuild_subclass) /* it would call itself */
        return bad(m, "a tensor is not (function, type, arguments)");
    return call(m, arg[0], arg[2], result);
}

static enum dg_status call_size(struct machine *m, const struct dg_pickle_value *args, struct dg_pickle_value *result)
{
    if (args->list.count != 1 || args->list.item[0]->kind != DG_PICKLE_TUPLE)
        return bad(m, "torch.Size is not made of a tuple");
    *result = *args->list.item[0];
    return DG_OK;
}

/* function(*args), or cls.__new__(cls, *args). */
static enum dg_status call(struct machine *m, const struct dg_pickle_value *function,
                           const struct dg_pickle_value *args, struct dg_pickle_value *result)
{
    if (function->kind == DG_PICKLE_CLASS || function->kind == DG_PICKLE_OBJECT) {
        *result = (struct dg_pickle_value){.kind = DG_PICKLE_OBJECT, .class_name = function->class_name, .args = args};
        return DG_OK;
    }
    if (function->kind != DG_PICKLE_GLOBAL) return bad(m, "it calls what is not callable");
    if (args->kind != DG_PICKLE_TUPLE) return bad(m, "the arguments of a call are not a tuple");
    const struct dg_pickle_callable *c = function->global;
    if (!c->call) return bad(m, "it calls %s.%s, which names a type", c->module, c->name);
    return c->call(m, args, result);
}

/* Calls what lies below `args` on the stack, and puts the result there. */
static enum dg_status call_below(struct machine *m, const struct dg_pickle_value *args)
{
    const struct dg_pickle_value *function;
    struct dg_pickle_value result;
    DG_TRY(pop(m, &function));
    DG_TRY(call(m, function, args, &result));
    return push_new(m, result);
}

static enum dg_status reduce(struct machine *m)
{
    const struct dg_pickle_value *args;
    DG_TRY(pop(m, &args));
    return call_below(m, args);
}

/* NEWOBJ_EX: cls.__new__(cls, *args, **named) */
static enum dg_status reduce_named(struct machine *m)
{
    const struct dg_pickle_value *named;
    DG_TRY(pop(m, &named));
    return reduce(m);
}

/* object.__setstate__(state): the attributes of an object; those of a dict (_metadata) or of a tensor are dropped. */
static enum dg_status build(struct machine *m)
{
    const struct dg_pickle_value *state;
    struct dg_pickle_value *object;
    DG_TRY(pop(m, &state));
    DG_TRY(top(m, 0, &object));
    if (object->kind == DG_PICKLE_DICT || object->kind == DG_PICKLE_TENSOR) return DG_OK;
    if (object->kind != DG_PICKLE_OBJECT) return bad(m, "it sets the state of what has none");
    object->state = state;
    if (state->kind == DG_PICKLE_TUPLE && state->list.count == 2) state = state->list.item[0]; /* beside __slots__ */
    if (state->kind == DG_PICKLE_DICT) object->list = state->list;
    return DG_OK;
}

/* ---- storages ---- */

static int *place_of(const struct dg_pickle *p, const char *key)
{
    uint64_t hash = dg_fnv1a(DG_FNV_BASIS, key, strlen(key));
    for (;; hash++) {
        int *place = &p->by_key[hash & (uint64_t)(p->by_key_size - 1)];
        if (!*place || !strcmp(p->storage[*place - 1].key, key)) return place;
    }
}

static bool grow_storages(struct dg_pickle *p)
{
    if (p->storages < p->storage_room) return true;
    int room = p->storage_room ? p->storage_room * 2 : 64;
    struct dg_pickle_storage *storage = realloc(p->storage, (size_t)room * sizeof *storage);
    if (!storage) return false;
    p->storage = storage;
    int *table = calloc((size_t)room * 2, sizeof *table);
    if (!table) return false;
    free(p->by_key);
    p->by_key = table;
    p->by_key_size = room * 2;
    p->storage_room = room;
    for (int s = 0; s < p->storages; s++) *place_of(p, p->storage[s].key) = s + 1;
    return true;
}

/* ('storage', type, key, location, elements[, view]) */
static enum dg_status persistent(struct machine *m)
{
    const struct dg_pickle_value *id;
    DG_TRY(pop(m, &id));
    const struct dg_pickle_value **item = id->list.item;
    const char *what = id->kind == DG_PICKLE_TUPLE && id->list.count ? dg_pickle_text(item[0]) : NULL;
    if (what && !strcmp(what, "module") &&
        id->list.count > 1) /* a class and its source, as PyTorch kept them before 1.0 */
        return push(m, item[1]);
    if (!what || strcmp(what, "storage") || (id->list.count != 5 && id->list.count != 6) || !dg_pickle_text(item[2]) ||
        item[4]->kind != DG_PICKLE_INT || item[4]->i < 0)
        return bad(m, "a storage is not ('storage', type, key, location, elements)");
    if (item[1]->kind == DG_PICKLE_CLASS) /* tensors of it are not read */
        return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_OBJECT, .class_name = item[1]->class_name});
    if (item[1]->kind != DG_PICKLE_GLOBAL || item[1]->global->is != IS_STORAGE)
        return bad(m, "a storage is not ('storage', type, key, location, elements)");
    if (id->list.count == 6 && item[5]->kind != DG_PICKLE_NONE)
        return bad(m, "storage %.100s is a view of another; save the file again with PyTorch 0.4 or later",
                   dg_pickle_text(item[2]));
    struct dg_pickle *p = m->pickle;
    struct dg_pickle_storage storage = {dg_pickle_text(item[2]), item[1]->global->dtype, item[4]->i};
    if (!grow_storages(p)) return dg_fail(m->err, DG_ERR_MEMORY, "out of memory");
    int *place = place_of(p, storage.key);
    if (!*place) {
        p->storage[p->storages++] = storage;
        *place = p->storages;
    }
    const struct dg_pickle_storage *known = &p->storage[*place - 1];
    if (known->dtype != storage.dtype || known->elements != storage.elements)
        return bad(m, "storage %.100s has two types or lengths", storage.key);
    return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_STORAGE, .storage = *place - 1});
}

/* ---- collections ---- */

/* Replaces the values above the topmost mark by a new TUPLE, LIST or DICT of them. */
static enum dg_status collect(struct machine *m, enum dg_pickle_kind kind, int64_t count)
{
    if (available(m) < count) return bad(m, "it takes from an empty stack");
    struct dg_pickle_value value = {.kind = kind};
    value.list.count = value.list.room = count;
    if (count) {
        value.list.item = take(m, (size_t)count * sizeof *value.list.item);
        if (!value.list.item) return DG_ERR_MEMORY;
        memcpy(value.list.item, m->stack + m->depth - count, (size_t)count * sizeof *value.list.item);
    }
    m->depth -= count;
    return push_new(m, value);
}

static enum dg_status to_mark(struct machine *m, int64_t *count)
{
    if (!m->marks) return bad(m, "it looks for a mark that it has not set");
    *count = available(m);
    m->marks--;
    return DG_OK;
}

static enum dg_status collect_dict(struct machine *m, int64_t count)
{
    return count % 2 ? bad(m, "a dict's last key has no value") : collect(m, DG_PICKLE_DICT, count);
}

/* Moves the `count` topmost values to the end of the list, dict or object below them. */
static enum dg_status extend(struct machine *m, enum dg_pickle_kind kind, int64_t count)
{
    struct dg_pickle_value *list;
    DG_TRY(top(m, count, &list));
    if (list->kind == DG_PICKLE_OBJECT && kind == DG_PICKLE_LIST) { /* its items are not read */
        m->depth -= count;
        return DG_OK;
    }
    if (list->kind != kind && list->kind != DG_PICKLE_OBJECT)
        return bad(m, "it adds to something that is not a %s", kind == DG_PICKLE_LIST ? "list" : "dict");
    if (kind == DG_PICKLE_DICT && count % 2) return bad(m, "a dict's last key has no value");
    for (int64_t i = 0; i < count; i++) DG_TRY(append(m, list, m->stack[m->depth - count + i]));
    m->depth -= count;
    return DG_OK;
}

/* Replaces the values above the topmost mark by an object, whose items they were. */
static enum dg_status drop_into(struct machine *m, const char *class_name)
{
    int64_t count;
    DG_TRY(to_mark(m, &count));
    m->depth -= count;
    return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_OBJECT, .class_name = class_name});
}

/* ADDITEMS: a set's items are not read. */
static enum dg_status drop_items(struct machine *m)
{
    int64_t count;
    DG_TRY(to_mark(m, &count));
    m->depth -= count;
    return available(m) < 1 ? bad(m, "it takes from an empty stack") : DG_OK;
}

static enum dg_status mark(struct machine *m)
{
    if (m->marks == DG_PICKLE_MAX_STACK) return bad(m, "more than %d marks", DG_PICKLE_MAX_STACK);
    if (!grow(&m->mark, m->marks, &m->mark_room, sizeof *m->mark))
        return dg_fail(m->err, DG_ERR_MEMORY, "out of memory");
    m->mark[m->marks++] = m->depth;
    return DG_OK;
}

/* ---- opcodes ---- */

static enum dg_status protocol(struct machine *m)
{
    uint64_t version;
    DG_TRY(read_number(m, 1, &version));
    if (version > 5) return bad(m, "protocol %d; 0 to 5 can be read", (int)version);
    return DG_OK;
}

static enum dg_status global(struct machine *m)
{
    const char *module, *name;
    int64_t module_size, name_size;
    DG_TRY(read_line(m, &module, &module_size));
    DG_TRY(read_line(m, &name, &name_size));
    return push_global(m, module, module_size, name, name_size);
}

/* INST: the class is named here, its arguments lie above the mark. OBJ: the class is the first of them. */
static enum dg_status instance(struct machine *m, bool named)
{
    int64_t count;
    const struct dg_pickle_value *class = NULL, *args;
    if (named) {
        DG_TRY(global(m));
        DG_TRY(pop(m, &class));
    }
    DG_TRY(to_mark(m, &count));
    if (!named && count < 1) return bad(m, "it takes from an empty stack");
    DG_TRY(collect(m, DG_PICKLE_TUPLE, named ? count : count - 1));
    DG_TRY(pop(m, &args));
    if (class) DG_TRY(push(m, class));
    return call_below(m, args);
}

static enum dg_status stack_global(struct machine *m)
{
    const struct dg_pickle_value *name, *module;
    DG_TRY(pop(m, &name));
    DG_TRY(pop(m, &module));
    if (name->kind != DG_PICKLE_TEXT || module->kind != DG_PICKLE_TEXT)
        return bad(m, "a module or its member is named by something that is not text");
    return push_global(m, module->text.bytes, module->text.size, name->text.bytes, name->text.size);
}

static enum dg_status read_integer(struct machine *m, size_t width)
{
    uint64_t number;
    DG_TRY(read_number(m, width, &number));
    int64_t value = width == 4 ? (int32_t)(uint32_t)number : (int64_t)number; /* only the widest has a sign */
    return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_INT, .i = value});
}

/* The numbers of protocol 0: a line of digits. */
static enum dg_status read_digits(struct machine *m, unsigned char opcode)
{
    const char *line;
    char text[64], *end;
    int64_t length;
    DG_TRY(read_line(m, &line, &length));
    if (length < 1 || length >= (int64_t)sizeof text) return bad(m, "a number of %lld characters", (long long)length);
    memcpy(text, line, (size_t)length);
    text[length] = 0;
    if (opcode == 'I' && (!strcmp(text, "00") || !strcmp(text, "01"))) return push(m, text[1] == '1' ? &yes : &no);
    if (opcode == 'L' && length > 1 && text[length - 1] == 'L') text[length - 1] = 0;
    struct dg_pickle_value value = {.kind = opcode == 'F' ? DG_PICKLE_FLOAT : DG_PICKLE_INT};
    if (opcode == 'F')
        value.f = strtod(text, &end);
    else
        value.i = strtoll(text, &end, 10);
    if (end == text || *end) return bad(m, "\"%s\" is not a number", printable((char[64]){0}, 64, text, length));
    return push_new(m, value);
}

/* The texts of protocol 0: a line. */
static enum dg_status read_text_line(struct machine *m, unsigned char opcode)
{
    const char *line;
    int64_t length;
    DG_TRY(read_line(m, &line, &length));
    char *copy = take(m, 2 * (size_t)length + 1);
    if (!copy) return DG_ERR_MEMORY;
    int64_t size = opcode == 'S' ? dg_pickle_unquote(line, length, copy) : dg_pickle_unescape(line, length, copy);
    if (size < 0) return bad(m, "a line that should be a text is none");
    copy[size] = 0;
    return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_TEXT, .text = {copy, size}});
}

/* The memo of protocol 0: its index is a line of digits. */
static enum dg_status memo_line(struct machine *m, bool store)
{
    const char *line;
    int64_t length;
    uint64_t index = 0;
    DG_TRY(read_line(m, &line, &length));
    bool digits = length > 0 && length < 10;
    for (int64_t i = 0; digits && i < length; i++) {
        digits = line[i] >= '0' && line[i] <= '9';
        index = index * 10 + (uint64_t)(line[i] - '0');
    }
    if (!digits) return bad(m, "a value is remembered under what is not a number");
    return store ? put(m, index) : get(m, index);
}

static enum dg_status memo_op(struct machine *m, size_t width, bool store)
{
    uint64_t index;
    DG_TRY(read_number(m, width, &index));
    return store ? put(m, index) : get(m, index);
}

/* Pushes the constant that the opcode stands for; the last opcodes there are. */
static enum dg_status read_constant(struct machine *m, unsigned char opcode)
{
    switch (opcode) {
    case 'N': return push(m, &none);
    case 0x88: return push(m, &yes);
    case 0x89: return push(m, &no);
    case 'K': return read_integer(m, 1);
    case 'M': return read_integer(m, 2);
    case 'J': return read_integer(m, 4);
    case 0x8a: return read_long(m, 1);
    case 0x8b: return read_long(m, 4);
    case 'G': return read_float(m);
    case 'X': return read_text(m, 4, DG_PICKLE_TEXT);
    case 0x8c: return read_text(m, 1, DG_PICKLE_TEXT);
    case 0x8d: return read_text(m, 8, DG_PICKLE_TEXT);
    case 'U': return read_text(m, 1, DG_PICKLE_TEXT); /* Python 2's str: names are ASCII */
    case 'T': return read_text(m, 4, DG_PICKLE_TEXT);
    case 'C': return read_text(m, 1, DG_PICKLE_BYTES);
    case 'B': return read_text(m, 4, DG_PICKLE_BYTES);
    case 0x8e:
    case 0x96: /* BYTEARRAY8 */ return read_text(m, 8, DG_PICKLE_BYTES);
    case 'I':
    case 'L':
    case 'F': return read_digits(m, opcode);
    case 'S':
    case 'V': return read_text_line(m, opcode);
    default:
        return bad(m, "opcode 0x%02x is not one that weights need; is this a file of torch.save?", (unsigned)opcode);
    }
}

/* Executes one opcode; STOP sets *done. */
static enum dg_status step(struct machine *m, bool *done)
{
    const struct dg_pickle_value *value;
    int64_t count;
    uint64_t number;
    m->opcode_at = m->at;
    DG_TRY(need(m, 1));
    unsigned char opcode = m->bytes[m->at++];
    switch (opcode) {
    case '.': *done = true; return DG_OK;
    case 0x80: return protocol(m);
    case 0x95: return read_number(m, 8, &number); /* FRAME: a hint for readers of streams */
    case '(': return mark(m);
    case '0': /* POP takes a mark off, too */
        if (m->marks && !available(m)) {
            m->marks--;
            return DG_OK;
        }
        return pop(m, &value);
    case '1':
        DG_TRY(to_mark(m, &count));
        m->depth -= count;
        return DG_OK;
    case '2':
        if (available(m) < 1) return bad(m, "it doubles the top of an empty stack");
        return push(m, m->stack[m->depth - 1]);
    case ')': return collect(m, DG_PICKLE_TUPLE, 0);
    case 0x85: return collect(m, DG_PICKLE_TUPLE, 1);
    case 0x86: return collect(m, DG_PICKLE_TUPLE, 2);
    case 0x87: return collect(m, DG_PICKLE_TUPLE, 3);
    case 't': DG_TRY(to_mark(m, &count)); return collect(m, DG_PICKLE_TUPLE, count);
    case 'l': DG_TRY(to_mark(m, &count)); return collect(m, DG_PICKLE_LIST, count);
    case 'd': DG_TRY(to_mark(m, &count)); return collect_dict(m, count);
    case ']': return collect(m, DG_PICKLE_LIST, 0);
    case '}': return collect(m, DG_PICKLE_DICT, 0);
    case 'a': return extend(m, DG_PICKLE_LIST, 1);
    case 's': return extend(m, DG_PICKLE_DICT, 2);
    case 0x8f: return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_OBJECT, .class_name = "set"});
    case 0x90: return drop_items(m);
    case 0x91: return drop_into(m, "frozenset");
    case 'e': DG_TRY(to_mark(m, &count)); return extend(m, DG_PICKLE_LIST, count);
    case 'u': DG_TRY(to_mark(m, &count)); return extend(m, DG_PICKLE_DICT, count);
    case 'p': return memo_line(m, true);
    case 'g': return memo_line(m, false);
    case 'q': return memo_op(m, 1, true);
    case 'r': return memo_op(m, 4, true);
    case 0x94: return put(m, (uint64_t)m->memo_count); /* MEMOIZE */
    case 'h': return memo_op(m, 1, false);
    case 'j': return memo_op(m, 4, false);
    case 'c': return global(m);
    case 0x93: return stack_global(m);
    case 'R': /* REDUCE */
    case 0x81: /* NEWOBJ: cls.__new__(cls, *args) */ return reduce(m);
    case 0x92: return reduce_named(m);
    case 'i': return instance(m, true);
    case 'o': return instance(m, false);
    case 'b': return build(m);
    case 'Q': return persistent(m);
    default: return read_constant(m, opcode);
    }
}

enum dg_status dg_pickle_read(struct dg_pickle *pickle, const void *bytes, size_t size, size_t *used,
                              const struct dg_pickle_value **value, struct dg_error *err)
{
    struct machine m = {.pickle = pickle, .bytes = bytes, .size = size, .err = err};
    bool done = false;
    enum dg_status status = DG_OK;
    while (!done && status == DG_OK) status = step(&m, &done);
    if (status == DG_OK) status = pop(&m, value);
    if (used) *used = m.at;
    free(m.stack);
    free(m.mark);
    free(m.memo);
    return status;
}

enum dg_status dg_pickle_open(struct dg_pickle **pickle, struct dg_error *err)
{
    *pickle = calloc(1, sizeof **pickle);
    return *pickle ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

void dg_pickle_close(struct dg_pickle *pickle)
{
    if (!pickle) return;
    for (struct chunk *chunk = pickle->chunk, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    free(pickle->storage);
    free(pickle->by_key);
    free(pickle);
}

int dg_pickle_storages(const struct dg_pickle *pickle) { return pickle->storages; }

const struct dg_pickle_storage *dg_pickle_storage_at(const struct dg_pickle *pickle, int index)
{
    return &pickle->storage[index];
}

int dg_pickle_storage_find(const struct dg_pickle *pickle, const char *key)
{
    return pickle->storages ? *place_of(pickle, key) - 1 : -1;
}

const char *dg_pickle_text(const struct dg_pickle_value *value)
{
    if (!value || value->kind != DG_PICKLE_TEXT) return NULL;
    return (int64_t)strlen(value->text.bytes) == value->text.size ? value->text.bytes : NULL;
}

const struct dg_pickle_value *dg_pickle_get(const struct dg_pickle_value *dict, const char *key)
{
    if (!dict || (dict->kind != DG_PICKLE_DICT && dict->kind != DG_PICKLE_OBJECT)) return NULL;
    for (int64_t i = dict->list.count - 2; i >= 0; i -= 2) {
        const char *text = dg_pickle_text(dict->list.item[i]);
        if (text && !strcmp(text, key)) return dict->list.item[i + 1];
    }
    return NULL;
}

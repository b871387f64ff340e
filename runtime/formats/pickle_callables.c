#include "runtime/formats/pickle_machine.h"

#include <stdio.h>
#include <string.h>

static dg_pickle_call_fn call_ordered_dict, call_empty_dict, call_encode, call_rebuild_tensor, call_rebuild_typed,
    call_rebuild_parameter, call_rebuild_subclass, call_size;

static const struct dg_pickle_callable callables[] = {
    {"collections", "OrderedDict", DG_PICKLE_IS_FUNCTION, call_ordered_dict, 0}, /* what state_dict() returns */
    {"collections", "defaultdict", DG_PICKLE_IS_FUNCTION, call_empty_dict, 0},   /* the optimiser's state */
    {"_codecs", "encode", DG_PICKLE_IS_FUNCTION, call_encode, 0},                /* bytes, in protocols before 3 */
    {"torch._utils", "_rebuild_tensor", DG_PICKLE_IS_FUNCTION, call_rebuild_tensor, 0}, /* PyTorch 0.3 */
    {"torch._utils", "_rebuild_tensor_v2", DG_PICKLE_IS_FUNCTION, call_rebuild_tensor, 0},
    {"torch._utils", "_rebuild_tensor_v3", DG_PICKLE_IS_FUNCTION, call_rebuild_typed,
     0}, /* types without a storage of their own */
    {"torch._utils", "_rebuild_parameter", DG_PICKLE_IS_FUNCTION, call_rebuild_parameter,
     0}, /* saved without state_dict() */
    {"torch._utils", "_rebuild_parameter_with_state", DG_PICKLE_IS_FUNCTION, call_rebuild_parameter, 0},
    {"torch._tensor", "_rebuild_from_type_v2", DG_PICKLE_IS_FUNCTION, call_rebuild_subclass,
     0}, /* of Tensor and Parameter */
    {"torch", "Size", DG_PICKLE_IS_FUNCTION, call_size, 0},
    {"torch", "DoubleStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_F64},
    {"torch", "FloatStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_F32},
    {"torch", "HalfStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_F16},
    {"torch", "BFloat16Storage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_BF16},
    {"torch", "LongStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_I64},
    {"torch", "IntStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_I32},
    {"torch", "ShortStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_I16},
    {"torch", "CharStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_I8},
    {"torch", "ByteStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_U8},
    {"torch", "BoolStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_BOOL},
    {"torch", "QInt8Storage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_I8}, /* of tensors that are left out */
    {"torch", "QUInt8Storage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_U8},
    {"torch", "QInt32Storage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_I32},
    {"torch", "ComplexFloatStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_C64},
    {"torch.storage", "UntypedStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_U8},
    {"torch", "UntypedStorage", DG_PICKLE_IS_STORAGE, NULL, DG_SAFETENSORS_U8},
    {"torch", "uint16", DG_PICKLE_IS_DTYPE, NULL, DG_SAFETENSORS_U16},
    {"torch", "uint32", DG_PICKLE_IS_DTYPE, NULL, DG_SAFETENSORS_U32},
    {"torch", "uint64", DG_PICKLE_IS_DTYPE, NULL, DG_SAFETENSORS_U64},
    {"torch", "float8_e4m3fn", DG_PICKLE_IS_DTYPE, NULL, DG_SAFETENSORS_F8_E4M3},
    {"torch", "float8_e5m2", DG_PICKLE_IS_DTYPE, NULL, DG_SAFETENSORS_F8_E5M2},
};

/* Modules and built-in functions that nothing beside weights needs, and attacks do. */
static const char *const hostile[] = {"os",        "posix", "nt",     "sys",    "subprocess", "runpy",
                                      "importlib", "pty",   "socket", "shutil", "ctypes",     "webbrowser"};
static const char *const hostile_builtins[] = {"eval",     "exec", "compile", "__import__",
                                               "execfile", "open", "input",   "breakpoint"};

static bool is_text(const char *text, int64_t size, const char *what)
{
    return size == (int64_t)strlen(what) && !memcmp(text, what, (size_t)size);
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

enum dg_status dg_pickle_find_global(struct dg_pickle_machine *m, const char *module, int64_t module_size,
                                     const char *name, int64_t name_size, struct dg_pickle_value *result)
{
    for (size_t c = 0; c < sizeof callables / sizeof *callables; c++)
        if (is_text(module, module_size, callables[c].module) && is_text(name, name_size, callables[c].name)) {
            *result = (struct dg_pickle_value){.kind = DG_PICKLE_GLOBAL, .global = &callables[c]};
            return DG_OK;
        }
    char a[128], b[128];
    dg_pickle_printable(a, sizeof a, module, module_size);
    dg_pickle_printable(b, sizeof b, name, name_size);
    if (is_hostile(module, module_size, name, name_size))
        return dg_pickle_bad(
            m,
            "it names %s.%s, which weights do not need; nothing was run. Whoever loads this file in Python runs "
            "what it says: do not, unless you know where it is from",
            a, b);
    size_t size = strlen(a) + strlen(b) + 2;
    char *both = dg_pickle_make(m, size);
    if (!both) return DG_ERR_MEMORY;
    snprintf(both, size, "%s.%s", a, b);
    *result = (struct dg_pickle_value){.kind = DG_PICKLE_CLASS, .class_name = both};
    return DG_OK;
}

/* OrderedDict(), or as Python 2 writes it: OrderedDict([[key, value], ...]). */
static enum dg_status call_ordered_dict(struct dg_pickle_machine *m, const struct dg_pickle_value *args,
                                        struct dg_pickle_value *result)
{
    *result = (struct dg_pickle_value){.kind = DG_PICKLE_DICT};
    if (!args->list.count) return DG_OK;
    const struct dg_pickle_value *pairs = args->list.item[0];
    if (args->list.count != 1 || pairs->kind != DG_PICKLE_LIST)
        return dg_pickle_bad(m, "OrderedDict takes a list of pairs or nothing");
    for (int64_t i = 0; i < pairs->list.count; i++) {
        const struct dg_pickle_value *pair = pairs->list.item[i];
        if ((pair->kind != DG_PICKLE_LIST && pair->kind != DG_PICKLE_TUPLE) || pair->list.count != 2)
            return dg_pickle_bad(m, "item %lld of an OrderedDict is not a pair", (long long)i);
        DG_TRY(dg_pickle_append(m, result, pair->list.item[0]));
        DG_TRY(dg_pickle_append(m, result, pair->list.item[1]));
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

static enum dg_status call_empty_dict(struct dg_pickle_machine *m, const struct dg_pickle_value *args,
                                      struct dg_pickle_value *result)
{
    (void)m, (void)args; /* what it makes of keys that are missing */
    *result = (struct dg_pickle_value){.kind = DG_PICKLE_DICT};
    return DG_OK;
}

/* encode(text, "latin1"): the bytes whose numbers the characters have, of which UTF-8 takes one byte or two. */
static enum dg_status call_encode(struct dg_pickle_machine *m, const struct dg_pickle_value *args,
                                  struct dg_pickle_value *result)
{
    const struct dg_pickle_value *text = args->list.count ? args->list.item[0] : NULL;
    const char *codec = args->list.count == 2 ? dg_pickle_text(args->list.item[1]) : NULL;
    if (!codec || strcmp(codec, "latin1") || text->kind != DG_PICKLE_TEXT)
        return dg_pickle_bad(m, "bytes are not a text and \"latin1\"");
    unsigned char *bytes = dg_pickle_make(m, (size_t)text->text.size + 1);
    int64_t size = 0;
    if (!bytes) return DG_ERR_MEMORY;
    for (int64_t i = 0; i < text->text.size; i++) {
        unsigned char c = (unsigned char)text->text.bytes[i];
        if (c >= 0xc2 && c <= 0xc3 && i + 1 < text->text.size)
            c = (unsigned char)(c << 6 | ((unsigned char)text->text.bytes[++i] & 0x3f));
        else if (c >= 0x80)
            return dg_pickle_bad(m, "a text of latin-1 has other characters");
        bytes[size++] = c;
    }
    bytes[size] = 0;
    *result = (struct dg_pickle_value){.kind = DG_PICKLE_BYTES, .text = {(const char *)bytes, size}};
    return DG_OK;
}

/* The tensor of (storage, offset, size, stride, ...), of elements of `dtype`. */
static enum dg_status rebuild(struct dg_pickle_machine *m, const struct dg_pickle_value *args,
                              enum dg_safetensors_dtype dtype, struct dg_pickle_value *result)
{
    const struct dg_pickle_value **arg = args->list.item;
    struct dg_pickle_tensor *tensor = dg_pickle_make(m, sizeof *tensor);
    if (!tensor) return DG_ERR_MEMORY;
    memset(tensor, 0, sizeof *tensor);
    int strides;
    if (arg[1]->kind != DG_PICKLE_INT || arg[1]->i < 0 || !get_dims(arg[2], tensor->dim, &tensor->ndim) ||
        !get_dims(arg[3], tensor->stride, &strides) || strides != tensor->ndim)
        return dg_pickle_bad(m, "a tensor is not (storage, offset, size, stride) with at most %d dimensions",
                             DG_SAFETENSORS_MAX_DIMS);
    tensor->storage = arg[0]->storage;
    tensor->dtype = dtype;
    tensor->offset = arg[1]->i;
    const struct dg_pickle_storage *storage = dg_pickle_storage_at(m->pickle, tensor->storage);
    int64_t elements = 1, last = tensor->offset, step;
    for (int d = 0; d < tensor->ndim; d++)
        if (!dg_mul_i64(elements, tensor->dim[d], &elements)) return dg_pickle_bad(m, "a tensor's shape is too large");
    if (elements) { /* an empty one touches nothing */
        for (int d = 0; d < tensor->ndim; d++)
            if (!dg_mul_i64(tensor->dim[d] - 1, tensor->stride[d], &step) || !dg_add_i64(last, step, &last))
                return dg_pickle_bad(m, "a tensor's strides are too large");
        int64_t room = storage->elements;
        if (dtype != storage->dtype) room /= dg_safetensors_dtype_size(dtype);
        if (last >= room)
            return dg_pickle_bad(m, "a tensor reaches element %lld of storage %.100s, which has %lld", (long long)last,
                                 storage->key, (long long)room);
    }
    *result = (struct dg_pickle_value){.kind = DG_PICKLE_TENSOR, .tensor = tensor};
    return DG_OK;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks[, metadata]) */
static enum dg_status call_rebuild_tensor(struct dg_pickle_machine *m, const struct dg_pickle_value *args,
                                          struct dg_pickle_value *result)
{
    if (args->list.count && args->list.item[0]->kind == DG_PICKLE_OBJECT) { /* a storage of a type that is not known */
        *result = *args->list.item[0];
        return DG_OK;
    }
    if (args->list.count < 4 || args->list.item[0]->kind != DG_PICKLE_STORAGE)
        return dg_pickle_bad(m, "a tensor is not (storage, offset, size, stride) with at most %d dimensions",
                             DG_SAFETENSORS_MAX_DIMS);
    return rebuild(m, args, dg_pickle_storage_at(m->pickle, args->list.item[0]->storage)->dtype, result);
}

/* _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, backward_hooks, dtype[, metadata]); the storage counts
 * bytes. A type that is not known makes an object. */
static enum dg_status call_rebuild_typed(struct dg_pickle_machine *m, const struct dg_pickle_value *args,
                                         struct dg_pickle_value *result)
{
    const struct dg_pickle_value **arg = args->list.item;
    if (args->list.count < 7 || arg[0]->kind != DG_PICKLE_STORAGE ||
        dg_pickle_storage_at(m->pickle, arg[0]->storage)->dtype != DG_SAFETENSORS_U8)
        return dg_pickle_bad(m, "a tensor is not (bytes, offset, size, stride, ..., type)");
    if (arg[6]->kind == DG_PICKLE_GLOBAL && arg[6]->global->is == DG_PICKLE_IS_DTYPE)
        return rebuild(m, args, arg[6]->global->dtype, result);
    *result = (struct dg_pickle_value){.kind = DG_PICKLE_OBJECT,
                                       .class_name = arg[6]->kind == DG_PICKLE_CLASS ? arg[6]->class_name : "a tensor"};
    return DG_OK;
}

/* _rebuild_parameter(tensor, requires_grad, backward_hooks[, state]) */
static enum dg_status call_rebuild_parameter(struct dg_pickle_machine *m, const struct dg_pickle_value *args,
                                             struct dg_pickle_value *result)
{
    if (args->list.count < 1 ||
        (args->list.item[0]->kind != DG_PICKLE_TENSOR && args->list.item[0]->kind != DG_PICKLE_OBJECT))
        return dg_pickle_bad(m, "a parameter is not made of a tensor");
    *result = *args->list.item[0];
    return DG_OK;
}

/* _rebuild_from_type_v2(function, type, arguments, state) */
static enum dg_status call_rebuild_subclass(struct dg_pickle_machine *m, const struct dg_pickle_value *args,
                                            struct dg_pickle_value *result)
{
    const struct dg_pickle_value **arg = args->list.item;
    if (args->list.count < 3 || arg[2]->kind != DG_PICKLE_TUPLE || arg[0]->kind != DG_PICKLE_GLOBAL ||
        arg[0]->global->call == call_rebuild_subclass) /* it would call itself */
        return dg_pickle_bad(m, "a tensor is not (function, type, arguments)");
    return dg_pickle_call(m, arg[0], arg[2], result);
}

static enum dg_status call_size(struct dg_pickle_machine *m, const struct dg_pickle_value *args,
                                struct dg_pickle_value *result)
{
    if (args->list.count != 1 || args->list.item[0]->kind != DG_PICKLE_TUPLE)
        return dg_pickle_bad(m, "torch.Size is not made of a tuple");
    *result = *args->list.item[0];
    return DG_OK;
}

enum dg_status dg_pickle_call(struct dg_pickle_machine *m, const struct dg_pickle_value *function,
                              const struct dg_pickle_value *args, struct dg_pickle_value *result)
{
    if (function->kind == DG_PICKLE_CLASS || function->kind == DG_PICKLE_OBJECT) {
        *result = (struct dg_pickle_value){.kind = DG_PICKLE_OBJECT, .class_name = function->class_name, .args = args};
        return DG_OK;
    }
    if (function->kind != DG_PICKLE_GLOBAL) return dg_pickle_bad(m, "it calls what is not callable");
    if (args->kind != DG_PICKLE_TUPLE) return dg_pickle_bad(m, "the arguments of a call are not a tuple");
    const struct dg_pickle_callable *c = function->global;
    if (!c->call) return dg_pickle_bad(m, "it calls %s.%s, which names a type", c->module, c->name);
    return c->call(m, args, result);
}

/* What pickles hold: values, and the storages that tensors among them lie in. runtime/formats/pickle.h reads them. */
#ifndef DG_RUNTIME_FORMATS_PICKLE_VALUE_H
#define DG_RUNTIME_FORMATS_PICKLE_VALUE_H

#include "runtime/formats/safetensors.h"

enum {
    DG_PICKLE_MAX_BYTES = 256 << 20, /* of all values of one struct dg_pickle */
    DG_PICKLE_MAX_MEMO = 1 << 21,    /* entries; checkpoints with optimiser state have some thousand */
    DG_PICKLE_MAX_STACK = 1 << 20,
};

enum dg_pickle_kind {
    DG_PICKLE_NONE,
    DG_PICKLE_BOOL,   /* i */
    DG_PICKLE_INT,    /* i */
    DG_PICKLE_LONG,   /* text: an integer of more than 64 bits, little-endian two's complement */
    DG_PICKLE_FLOAT,  /* f */
    DG_PICKLE_TEXT,   /* text */
    DG_PICKLE_BYTES,  /* text */
    DG_PICKLE_TUPLE,  /* list; also torch.Size */
    DG_PICKLE_LIST,   /* list */
    DG_PICKLE_DICT,   /* list: key, value, key, value, ...; also OrderedDict */
    DG_PICKLE_GLOBAL, /* global: one of the known callables, not called */
    DG_PICKLE_CLASS,  /* class_name: a class or function that is not known, "pathlib.PosixPath" */
    DG_PICKLE_OBJECT, /* class_name: what made it; list: its attributes or items, as a dict */
    DG_PICKLE_STORAGE,
    DG_PICKLE_TENSOR,
};

/* A run of elements outside the pickle, under `key` in the archive. */
struct dg_pickle_storage {
    const char *key;
    enum dg_safetensors_dtype dtype;
    int64_t elements;
};

/* Elements of a storage. Every one of them lies inside it; different tensors and indices may meet the same. */
struct dg_pickle_tensor {
    int storage; /* see dg_pickle_storage_at */
    enum dg_safetensors_dtype dtype;
    int64_t offset; /* elements */
    int ndim;
    int64_t dim[DG_SAFETENSORS_MAX_DIMS], stride[DG_SAFETENSORS_MAX_DIMS]; /* elements, not negative */
};

struct dg_pickle_callable;

/* Values form a graph, which may have cycles: code that walks it must bound its depth. */
struct dg_pickle_value {
    enum dg_pickle_kind kind;
    const char *class_name; /* printable */
    /* Of an OBJECT: the tuple that its class was called with, and what its state was set to; NULL: neither. They are
     * data, from which nothing was made. */
    const struct dg_pickle_value *args, *state;
    union {
        int64_t i;
        double f;
        struct {
            const char *bytes; /* a zero byte follows; there may be others inside */
            int64_t size;
        } text;
        struct {
            const struct dg_pickle_value **item;
            int64_t count, room;
        } list;
        const struct dg_pickle_callable *global;
        int storage;
        const struct dg_pickle_tensor *tensor;
    };
};

struct dg_pickle;

enum dg_status dg_pickle_open(struct dg_pickle **pickle, struct dg_error *err);
void dg_pickle_close(struct dg_pickle *pickle); /* NULL is fine; all values go */

/* The storages named by all pickles read so far, each key once. */
int dg_pickle_storages(const struct dg_pickle *pickle);
const struct dg_pickle_storage *dg_pickle_storage_at(const struct dg_pickle *pickle, int index);
int dg_pickle_storage_find(const struct dg_pickle *pickle, const char *key); /* -1: none */

/* The value under a text key, the last one set; NULL when `dict` is no dict or object, or has none. */
const struct dg_pickle_value *dg_pickle_get(const struct dg_pickle_value *dict, const char *key);
/* A text without zero bytes inside, or NULL. */
const char *dg_pickle_text(const struct dg_pickle_value *value);

/* For who reads pickles. `size` bytes, the pickle's until it is closed; NULL: out of memory, or of DG_PICKLE_MAX_BYTES. */
void *dg_pickle_take(struct dg_pickle *pickle, size_t size);
/* The index of the storage of this key, which is added if it is new; its type and length may be others than these. -1: out of memory. */
int dg_pickle_add_storage(struct dg_pickle *pickle, const struct dg_pickle_storage *storage);

#endif

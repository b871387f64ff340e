/* Files of named tensors in the safetensors format: eight bytes of header length, a JSON header, the tensors' bytes.
 * https://huggingface.co/docs/safetensors */
#ifndef DG_RUNTIME_FORMATS_SAFETENSORS_H
#define DG_RUNTIME_FORMATS_SAFETENSORS_H

#include "ops/base/base.h"

enum { DG_SAFETENSORS_MAX_DIMS = 8 };

enum dg_safetensors_dtype {
    DG_SAFETENSORS_F64,
    DG_SAFETENSORS_F32,
    DG_SAFETENSORS_F16,
    DG_SAFETENSORS_BF16,
    DG_SAFETENSORS_I64,
    DG_SAFETENSORS_I32,
    DG_SAFETENSORS_I16,
    DG_SAFETENSORS_I8,
    DG_SAFETENSORS_U8,
    DG_SAFETENSORS_BOOL,
    DG_SAFETENSORS_U16, /* the types from here on are read and written, not computed with */
    DG_SAFETENSORS_U32,
    DG_SAFETENSORS_U64,
    DG_SAFETENSORS_F8_E4M3,
    DG_SAFETENSORS_F8_E5M2,
    DG_SAFETENSORS_C64,
    DG_SAFETENSORS_DTYPES /* how many there are */
};

const char *dg_safetensors_dtype_name(enum dg_safetensors_dtype dtype); /* as in the file: "BF16" */
int dg_safetensors_dtype_size(enum dg_safetensors_dtype dtype);         /* bytes of one element */

/* ---- reading ---- */

struct dg_safetensors_tensor {
    const char *name;
    enum dg_safetensors_dtype dtype;
    int ndim;
    int64_t dim[DG_SAFETENSORS_MAX_DIMS];
    const void *data; /* little-endian, in the mapped file; the format promises no alignment: memcpy from it */
    uint64_t bytes;
};

struct dg_safetensors;

/* Maps the file and checks all of its header, so that the accessors return only what is sound. Names, strings and data
 * are valid until dg_safetensors_close. The file may be replaced meanwhile (dg_safetensors_write does that), not
 * cut. */
enum dg_status dg_safetensors_open(const char *path, struct dg_safetensors **file, struct dg_error *err);
void dg_safetensors_close(struct dg_safetensors *file); /* NULL is fine */

int dg_safetensors_count(const struct dg_safetensors *file);
/* Tensors in the order of their data; 0 <= index < count. */
const struct dg_safetensors_tensor *dg_safetensors_at(const struct dg_safetensors *file, int index);
/* NULL when there is none of that name. */
const struct dg_safetensors_tensor *dg_safetensors_find(const struct dg_safetensors *file, const char *name);
/* The string under `key` in __metadata__, or NULL. */
const char *dg_safetensors_metadata(const struct dg_safetensors *file, const char *key);
/* Calls `see` for each string of __metadata__. */
typedef void dg_safetensors_see(void *context, const char *key, const char *value);
void dg_safetensors_each_metadata(const struct dg_safetensors *file, dg_safetensors_see *see, void *context);

int64_t dg_safetensors_elements(const struct dg_safetensors_tensor *tensor);
/* All elements of an F64, F32, F16 or BF16 tensor as f32 into `out`; DG_ERR_UNSUPPORTED for the others. */
enum dg_status dg_safetensors_read_f32(const struct dg_safetensors_tensor *tensor, float *out);

/* The first element of an F64, F32, F16 or BF16 tensor that is NaN or infinite; -1: there is none, or no such type. */
int64_t dg_safetensors_first_not_finite(const struct dg_safetensors_tensor *tensor);

/* ---- writing ---- */

struct dg_safetensors_item {
    const char *name;
    enum dg_safetensors_dtype dtype;
    int ndim;
    int64_t dim[DG_SAFETENSORS_MAX_DIMS];
    const void *data;
};

/* Bytes of its data; INT64_MAX: more than that. */
int64_t dg_safetensors_item_bytes(const struct dg_safetensors_item *item);

struct dg_safetensors_meta {
    const char *key, *value;
};

/* Writes the tensors in the order given; the data begin at a multiple of 64. The same arguments give the same bytes.
 * The file is complete or absent: on failure an older file of that name stays. */
enum dg_status dg_safetensors_write(const char *path, const struct dg_safetensors_item *items, int count,
                                    const struct dg_safetensors_meta *meta, int meta_count, struct dg_error *err);

/* Sets *data to the bytes of item `index`, valid until the next call. Called once for each item, in order. */
typedef enum dg_status dg_safetensors_source(void *context, int index, const void **data, struct dg_error *err);

/* The same with `source` in place of the items' `data`, so that not all data need be in memory at once. */
enum dg_status dg_safetensors_write_from(const char *path, const struct dg_safetensors_item *items, int count,
                                         const struct dg_safetensors_meta *meta, int meta_count,
                                         dg_safetensors_source *source, void *context, struct dg_error *err);

#endif

#include "ops/base/tensor.h"

#include <stdio.h>

static const struct {
    const char *name;
    int64_t size;
} dtypes[] = {
    [DG_F32] = {"f32", 4}, [DG_F64] = {"f64", 8}, [DG_I64] = {"i64", 8}, [DG_U8] = {"u8", 1}, [DG_BF16] = {"bf16", 2}};

int64_t dg_dtype_size(enum dg_dtype dtype) { return dtype >= DG_F32 && dtype <= DG_BF16 ? dtypes[dtype].size : 0; }

const char *dg_dtype_name(enum dg_dtype dtype)
{
    return dtype >= DG_F32 && dtype <= DG_BF16 ? dtypes[dtype].name : "?";
}

bool dg_desc_equal(const struct dg_desc *a, const struct dg_desc *b)
{
    if (a->dtype != b->dtype || a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

int64_t dg_desc_count(const struct dg_desc *desc)
{
    int64_t count = 1;
    for (int i = 0; i < desc->ndim; i++) count *= desc->dim[i];
    return count;
}

int64_t dg_desc_bytes(const struct dg_desc *desc) { return dg_desc_count(desc) * dg_dtype_size(desc->dtype); }

bool dg_desc_valid(const struct dg_desc *desc)
{
    int64_t bytes = dg_dtype_size(desc->dtype);
    if (!bytes || desc->ndim < 0 || desc->ndim > DG_MAX_DIMS) return false;
    for (int i = 0; i < desc->ndim; i++)
        if (desc->dim[i] <= 0 || !dg_mul_i64(bytes, desc->dim[i], &bytes) || bytes >= INT64_C(1) << 48) return false;
    return true;
}

int64_t dg_desc_rows(const struct dg_desc *desc)
{
    int64_t rows = 1;
    for (int i = 0; i + 1 < desc->ndim; i++) rows *= desc->dim[i];
    return rows;
}

const char *dg_desc_text(char *text, size_t size, const struct dg_desc *desc)
{
    size_t at = (size_t)snprintf(text, size, "%s [", dg_dtype_name(desc->dtype));
    for (int i = 0; i < desc->ndim && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%lld", i ? ", " : "", (long long)desc->dim[i]);
    if (at < size) snprintf(text + at, size - at, "]");
    return text;
}

struct dg_desc dg_desc_make(enum dg_dtype dtype, int ndim, const int64_t *dim)
{
    struct dg_desc desc = {.dtype = dtype, .ndim = ndim};
    for (int i = 0; i < ndim; i++) desc.dim[i] = dim[i];
    return desc;
}

bool dg_desc_is_scalar(const struct dg_desc *desc, enum dg_dtype dtype)
{
    return desc->dtype == dtype && desc->ndim == 0;
}

struct dg_desc dg_desc_scalar(enum dg_dtype dtype) { return (struct dg_desc){.dtype = dtype}; }

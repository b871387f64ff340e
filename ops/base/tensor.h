/* Shape and type of a tensor. */
#ifndef DG_OPS_BASE_TENSOR_H
#define DG_OPS_BASE_TENSOR_H

#include "ops/base/base.h"

enum { DG_MAX_DIMS = 6 };

enum dg_dtype { DG_F32 = 1, DG_F64 = 2, DG_I64 = 3, DG_U8 = 4, DG_BF16 = 5 };
int64_t dg_dtype_size(enum dg_dtype dtype); /* bytes; 0 for a value that is no dtype */
const char *dg_dtype_name(enum dg_dtype dtype);

/* Shape and type of a tensor. ndim 0 is a scalar. */
struct dg_desc {
    enum dg_dtype dtype;
    int ndim;
    int64_t dim[DG_MAX_DIMS];
};
bool dg_desc_equal(const struct dg_desc *a, const struct dg_desc *b);
int64_t dg_desc_count(const struct dg_desc *desc); /* elements; the caller has checked dg_desc_valid */
int64_t dg_desc_bytes(const struct dg_desc *desc); /* likewise */
bool dg_desc_valid(const struct dg_desc *desc);    /* dims positive, product of bytes below 2^48 */
bool dg_desc_is_scalar(const struct dg_desc *desc, enum dg_dtype dtype);
int64_t dg_desc_rows(const struct dg_desc *desc);                              /* product of all dims but the last */
const char *dg_desc_text(char *text, size_t size, const struct dg_desc *desc); /* "f32 [16, 197, 384]" */
struct dg_desc dg_desc_make(enum dg_dtype dtype, int ndim, const int64_t *dim);
struct dg_desc dg_desc_scalar(enum dg_dtype dtype);

/* The desc that `infer` sees: f32 for a tensor that is stored as bf16. */
static inline struct dg_desc dg_desc_wide(const struct dg_desc *desc)
{
    struct dg_desc wide = *desc;
    if (wide.dtype == DG_BF16) wide.dtype = DG_F32;
    return wide;
}
static inline bool dg_is_bf16(const struct dg_desc *desc) { return desc->dtype == DG_BF16; }

#endif

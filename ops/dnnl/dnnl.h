/* The adapter to oneDNN. Debian 12 has version 2.6 and Debian 13 has 3.7; of what is used here their C APIs differ only in how
 * descriptors are made. v2/api.c and v3/api.c make descriptors, and the build takes one of them.
 *
 * The caller owns all scratchpads. A primitive that oneDNN would run with its reference implementation is refused, since that is
 * a hundred times slower. */
#ifndef DG_OPS_DNNL_DNNL_H
#define DG_OPS_DNNL_DNNL_H

#include "ops/op.h"

#include <dnnl.h>

/* --- by version --- */

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t dg_md;
#else
typedef const dnnl_memory_desc_t *dg_md;
#endif

/* Memory descriptors of f32 or bf16; strides NULL: the layout that oneDNN chooses. NULL on failure; freed by dg_md_free. */
dg_md dg_md_make(enum dg_dtype dtype, int ndim, const int64_t *dims, const int64_t *strides);
void dg_md_free(dg_md md);
/* Hash of the layout of a descriptor; 0: it is NULL, or not known. */
uint64_t dg_md_hash(dg_md md);
/* Primitive descriptors, or NULL. `bias` may be NULL. */
dnnl_primitive_desc_t dg_pd_matmul(dnnl_engine_t engine, dg_md src, dg_md weights, dg_md bias, dg_md dst,
                                   const_dnnl_primitive_attr_t attr);
/* The tensors of a layer; in a backward computation the gradients of those that are read and computed take their places. */
struct dg_mds {
    dg_md src, weights, bias, dst; /* bias may be NULL */
};
/* What a convolution or pooling primitive computes (oneDNN: propagation kind). */
enum dg_prop_kind { DG_FORWARD, DG_BACKWARD_DATA, DG_BACKWARD_WEIGHTS };
struct dg_window {
    int64_t kernel, stride, pad, dilation; /* dilation 1: none */
};
dnnl_primitive_desc_t dg_pd_convolution(dnnl_engine_t engine, enum dg_prop_kind prop_kind,
                                        const struct dg_window *window, const struct dg_mds *forward,
                                        const struct dg_mds *mds, const_dnnl_primitive_attr_t attr);
enum dg_pool { DG_POOL_MAX, DG_POOL_AVG, DG_POOL_AVG_NO_PAD };
dnnl_primitive_desc_t dg_pd_pooling(dnnl_engine_t engine, enum dg_prop_kind prop_kind, enum dg_pool pool,
                                    const struct dg_window *window, dg_md src, dg_md dst,
                                    const_dnnl_primitive_attr_t attr);
/* To post-operations: what dst held is added; a ReLU. */
dnnl_status_t dg_append_sum(dnnl_post_ops_t ops);
dnnl_status_t dg_append_relu(dnnl_post_ops_t ops);

/* --- common --- */

/* What becomes of a result before it is stored, in this order: what dst held is added, a ReLU. */
struct dg_post {
    bool sum, relu;
};

/* dst[m,n] = src[m,k] weights[k,n] (+ bias[n]), prepared once and run many times. src and dst are row-major and
 * dense. Weights lie at w[i*weights_row + j*weights_col]; with `packs`, f32 weights are first packed into oneDNN's own
 * layout, and rounded where `bf16` says so. */
struct dg_gemm_spec {
    int64_t m, n, k;
    int64_t weights_row, weights_col;
    bool bias, packs;
    struct dg_post post;
    bool bf16, bf16_dst; /* of src and weights; of dst. The sum and the bias are f32 */
};
struct dg_gemm {
    struct dg_gemm_spec spec;
    dnnl_engine_t engine;
    dnnl_primitive_t matmul, reorder; /* reorder: plain -> packed, or NULL */
    dnnl_memory_t src, weights, bias, dst, scratchpad, plain, reorder_scratchpad;
    int64_t packed_bytes;   /* of the packed weights; 0 when not packed */
    uint64_t packed_layout; /* dg_md_hash of these; 0 likewise */
    int64_t scratch_bytes;  /* besides the packed weights */
};
enum dg_status dg_gemm_open(dnnl_engine_t engine, const struct dg_gemm_spec *spec, struct dg_gemm *gemm,
                            struct dg_error *err);
/* The same for the first m rows, on the same (packed) weights; it has no reorder of its own. */
enum dg_status dg_gemm_open_rows(const struct dg_gemm *gemm, int64_t m, struct dg_gemm *fewer, struct dg_error *err);
void dg_gemm_close(struct dg_gemm *gemm);
/* Do both read packed weights in the same layout? */
bool dg_gemm_packs_alike(const struct dg_gemm *a, const struct dg_gemm *b);
/* Packs `weights` into `packed` (64-byte aligned, packed_bytes). */
enum dg_status dg_gemm_pack(struct dg_gemm *gemm, dnnl_stream_t stream, const float *weights, void *packed,
                            void *scratch, struct dg_error *err);
/* `weights`: packed ones if the spec packs. */
enum dg_status dg_gemm_run(struct dg_gemm *gemm, dnnl_stream_t stream, const void *src, const void *weights,
                           const float *bias, void *dst, void *scratch, struct dg_error *err);

/* A convolution of NHWC images, dense; weights [groups * out / groups, channels / groups, k, k] as in PyTorch, packed into
 * oneDNN's layout by the caller's order: before a forward or backward-data run, after a backward-weights run. */
struct dg_conv_spec {
    enum dg_prop_kind prop_kind;
    int64_t images, height, width, channels; /* of src */
    int64_t out_height, out_width, out;      /* of dst */
    int64_t groups;
    struct dg_window window;
    bool bias; /* this and the next: forward only */
    struct dg_post post;
    bool bf16;        /* of the operands: two of src, weights and dst. Plain weights and the bias are f32 */
    bool bf16_result; /* of the result of a forward or backward-data primitive; weights are always f32 as a result */
};
struct dg_conv {
    dnnl_primitive_t conv, reorder; /* reorder: plain -> packed, or packed -> plain for backward weights */
    dnnl_memory_t src, weights, bias, dst, scratchpad, plain, reorder_scratchpad;
    enum dg_prop_kind prop_kind;
    int64_t packed_bytes, scratch_bytes;
    uint64_t packed_layout; /* dg_md_hash of the packed weights */
};
enum dg_status dg_conv_open(dnnl_engine_t engine, const struct dg_conv_spec *spec, struct dg_conv *conv,
                            struct dg_error *err);
void dg_conv_close(struct dg_conv *conv);
/* Plain weights to packed; for backward weights packed to plain (which is then written). */
enum dg_status dg_conv_reorder(struct dg_conv *conv, dnnl_stream_t stream, void *plain, void *packed, void *scratch,
                               struct dg_error *err);
/* Reads two of src, packed weights and dst, writes the one that is computed. */
enum dg_status dg_conv_run(struct dg_conv *conv, dnnl_stream_t stream, const void *src, void *packed, const float *bias,
                           const void *dst, void *scratch, struct dg_error *err);

/* Pooling of NHWC images, dense. Max pooling leaves a byte an output, which window element won, for its backward. */
struct dg_pool_spec {
    enum dg_prop_kind prop_kind; /* forward or backward data */
    enum dg_pool pool;
    int64_t images, height, width, channels, out_height, out_width;
    struct dg_window window;
    bool bf16; /* of src and dst */
};
struct dg_pooling {
    dnnl_primitive_t primitive;
    dnnl_memory_t src, dst, winners, scratchpad;
    enum dg_prop_kind prop_kind;
    int64_t scratch_bytes;
};
enum dg_status dg_pooling_open(dnnl_engine_t engine, const struct dg_pool_spec *spec, struct dg_pooling *pooling,
                               struct dg_error *err);
void dg_pooling_close(struct dg_pooling *pooling);
/* `winners` u8 [images, out_height, out_width, channels]: written forward, read backward; NULL where there are none. */
enum dg_status dg_pooling_run(struct dg_pooling *pooling, dnnl_stream_t stream, void *src, void *dst, void *winners,
                              void *scratch, struct dg_error *err);

/* Row-major c[m,n] = op(a)[m,k] op(b)[k,n] + beta c, by oneDNN's gemm: all threads outside a parallel region, one
 * inside. `ta`, `tb`: a is stored [k,m], b is stored [n,k]. */
enum dg_status dg_sgemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                        int64_t ldb, float beta, float *c, int64_t ldc, struct dg_error *err);

#endif

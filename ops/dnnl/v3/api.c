/* oneDNN 3.x: memory descriptors are handles, primitive descriptors are made in one step. */
#include "ops/dnnl/dnnl.h"

dg_md dg_md_make(enum dg_dtype dtype, int ndim, const int64_t *dims, const int64_t *strides)
{
    dnnl_data_type_t type = dtype == DG_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_memory_desc_t md = NULL;
    dnnl_status_t status = strides ? dnnl_memory_desc_create_with_strides(&md, ndim, dims, type, strides)
                                   : dnnl_memory_desc_create_with_tag(&md, ndim, dims, type, dnnl_format_tag_any);
    return status == dnnl_success ? md : NULL;
}

void dg_md_free(dg_md md)
{
    if (md) dnnl_memory_desc_destroy((dnnl_memory_desc_t)(uintptr_t)md);
}

uint64_t dg_md_hash(dg_md md)
{
    uint8_t blob[4096];
    size_t size = 0;
    if (!md || dnnl_memory_desc_get_blob(NULL, &size, md) != dnnl_success || size > sizeof blob) return 0;
    return dnnl_memory_desc_get_blob(blob, &size, md) == dnnl_success ? dg_fnv1a(DG_FNV_BASIS, blob, size) : 0;
}

dnnl_primitive_desc_t dg_pd_matmul(dnnl_engine_t engine, dg_md src, dg_md weights, dg_md bias, dg_md dst,
                                   const_dnnl_primitive_attr_t attr)
{
    dnnl_primitive_desc_t pd = NULL;
    return dnnl_matmul_primitive_desc_create(&pd, engine, src, weights, bias, dst, attr) == dnnl_success ? pd : NULL;
}

dnnl_primitive_desc_t dg_pd_convolution(dnnl_engine_t engine, enum dg_prop_kind prop_kind,
                                        const struct dg_window *window, const struct dg_mds *forward,
                                        const struct dg_mds *mds, const_dnnl_primitive_attr_t attr)
{
    dnnl_dims_t stride = {window->stride, window->stride}, pad = {window->pad, window->pad};
    dnnl_dims_t dilation = {window->dilation - 1, window->dilation - 1};
    dnnl_primitive_desc_t hint = NULL, backward = NULL;
    if (dnnl_convolution_forward_primitive_desc_create(
            &hint, engine, prop_kind ? dnnl_forward_training : dnnl_forward_inference, dnnl_convolution_direct,
            forward->src, forward->weights, forward->bias, forward->dst, stride, dilation, pad, pad,
            prop_kind ? NULL : attr) != dnnl_success)
        return NULL;
    if (prop_kind == DG_FORWARD) return hint;
    dnnl_status_t status =
        prop_kind == DG_BACKWARD_DATA
            ? dnnl_convolution_backward_data_primitive_desc_create(&backward, engine, dnnl_convolution_direct, mds->src,
                                                                   mds->weights, mds->dst, stride, dilation, pad, pad,
                                                                   hint, attr)
            : dnnl_convolution_backward_weights_primitive_desc_create(&backward, engine, dnnl_convolution_direct,
                                                                      mds->src, mds->weights, mds->bias, mds->dst,
                                                                      stride, dilation, pad, pad, hint, attr);
    dnnl_primitive_desc_destroy(hint);
    return status == dnnl_success ? backward : NULL;
}

dnnl_primitive_desc_t dg_pd_pooling(dnnl_engine_t engine, enum dg_prop_kind prop_kind, enum dg_pool pool,
                                    const struct dg_window *window, dg_md src, dg_md dst,
                                    const_dnnl_primitive_attr_t attr)
{
    static const dnnl_alg_kind_t algorithm[] = {dnnl_pooling_max, dnnl_pooling_avg_include_padding,
                                                dnnl_pooling_avg_exclude_padding};
    dnnl_dims_t kernel = {window->kernel, window->kernel}, stride = {window->stride, window->stride},
                pad = {window->pad, window->pad}, dilation = {0, 0};
    dnnl_primitive_desc_t forward = NULL, backward = NULL;
    if (dnnl_pooling_forward_primitive_desc_create(&forward, engine, dnnl_forward_training, algorithm[pool], src, dst,
                                                   stride, kernel, dilation, pad, pad, attr) != dnnl_success)
        return NULL;
    if (prop_kind == DG_FORWARD) return forward;
    dnnl_status_t status = dnnl_pooling_backward_primitive_desc_create(
        &backward, engine, algorithm[pool], src, dst, stride, kernel, dilation, pad, pad, forward, attr);
    dnnl_primitive_desc_destroy(forward);
    return status == dnnl_success ? backward : NULL;
}

dnnl_status_t dg_append_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef); }

dnnl_status_t dg_append_relu(dnnl_post_ops_t ops) { return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0, 0); }

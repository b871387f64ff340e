/* oneDNN 2.x: memory descriptors are structs, primitive descriptors are made in two steps. */
#include "ops/dnnl/dnnl.h"

#include <stdlib.h>

dg_md dg_md_make(enum dg_dtype dtype, int ndim, const int64_t *dims, const int64_t *strides)
{
    dnnl_data_type_t type = dtype == DG_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_memory_desc_t *md = malloc(sizeof *md);
    dnnl_status_t status = !md       ? dnnl_out_of_memory
                           : strides ? dnnl_memory_desc_init_by_strides(md, ndim, dims, type, strides)
                                     : dnnl_memory_desc_init_by_tag(md, ndim, dims, type, dnnl_format_tag_any);
    if (status == dnnl_success) return md;
    free(md);
    return NULL;
}

void dg_md_free(dg_md md) { free((void *)(uintptr_t)md); }

uint64_t dg_md_hash(dg_md md)
{
    if (!md || md->format_kind != dnnl_blocked) return 0;
    const dnnl_blocking_desc_t *blocks = &md->format_desc.blocking;
    size_t dims = (size_t)md->ndims * sizeof *md->dims,
           inner = (size_t)blocks->inner_nblks * sizeof *blocks->inner_blks;
    uint64_t hash = dg_fnv1a(DG_FNV_BASIS, &md->ndims, sizeof md->ndims);
    hash = dg_fnv1a(hash, &md->data_type, sizeof md->data_type);
    hash = dg_fnv1a(hash, &md->offset0, sizeof md->offset0);
    hash = dg_fnv1a(hash, &md->extra.flags, sizeof md->extra.flags);
    hash = dg_fnv1a(hash, md->dims, dims);
    hash = dg_fnv1a(hash, md->padded_dims, dims);
    hash = dg_fnv1a(hash, blocks->strides, dims);
    hash = dg_fnv1a(hash, blocks->inner_blks, inner);
    return dg_fnv1a(hash, blocks->inner_idxs, inner);
}

dnnl_primitive_desc_t dg_pd_matmul(dnnl_engine_t engine, dg_md src, dg_md weights, dg_md bias, dg_md dst,
                                   const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t pd = NULL;
    if (dnnl_matmul_desc_init(&desc, src, weights, bias, dst) != dnnl_success) return NULL;
    return dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL) == dnnl_success ? pd : NULL;
}

static dnnl_primitive_desc_t create(const_dnnl_op_desc_t desc, dnnl_engine_t engine, const_dnnl_primitive_attr_t attr,
                                    const_dnnl_primitive_desc_t hint)
{
    dnnl_primitive_desc_t pd = NULL;
    return dnnl_primitive_desc_create(&pd, desc, attr, engine, hint) == dnnl_success ? pd : NULL;
}

dnnl_primitive_desc_t dg_pd_convolution(dnnl_engine_t engine, enum dg_prop_kind prop_kind,
                                        const struct dg_window *window, const struct dg_mds *forward,
                                        const struct dg_mds *mds, const_dnnl_primitive_attr_t attr)
{
    dnnl_dims_t stride = {window->stride, window->stride}, pad = {window->pad, window->pad};
    dnnl_dims_t dilation = {window->dilation - 1, window->dilation - 1};
    dnnl_convolution_desc_t desc;
    if (dnnl_dilated_convolution_forward_desc_init(
            &desc, prop_kind ? dnnl_forward_training : dnnl_forward_inference, dnnl_convolution_direct, forward->src,
            forward->weights, forward->bias, forward->dst, stride, dilation, pad, pad) != dnnl_success)
        return NULL;
    dnnl_primitive_desc_t hint = create(&desc, engine, prop_kind ? NULL : attr, NULL), backward = NULL;
    if (prop_kind == DG_FORWARD || !hint) return hint;
    dnnl_status_t status =
        prop_kind == DG_BACKWARD_DATA
            ? dnnl_dilated_convolution_backward_data_desc_init(&desc, dnnl_convolution_direct, mds->src, mds->weights,
                                                               mds->dst, stride, dilation, pad, pad)
            : dnnl_dilated_convolution_backward_weights_desc_init(&desc, dnnl_convolution_direct, mds->src,
                                                                  mds->weights, mds->bias, mds->dst, stride, dilation,
                                                                  pad, pad);
    if (status == dnnl_success) backward = create(&desc, engine, attr, hint);
    dnnl_primitive_desc_destroy(hint);
    return backward;
}

dnnl_primitive_desc_t dg_pd_pooling(dnnl_engine_t engine, enum dg_prop_kind prop_kind, enum dg_pool pool,
                                    const struct dg_window *window, dg_md src, dg_md dst,
                                    const_dnnl_primitive_attr_t attr)
{
    static const dnnl_alg_kind_t algorithm[] = {dnnl_pooling_max, dnnl_pooling_avg_include_padding,
                                                dnnl_pooling_avg_exclude_padding};
    dnnl_dims_t kernel = {window->kernel, window->kernel}, stride = {window->stride, window->stride},
                pad = {window->pad, window->pad};
    dnnl_pooling_desc_t desc;
    if (dnnl_pooling_forward_desc_init(&desc, dnnl_forward_training, algorithm[pool], src, dst, stride, kernel, pad,
                                       pad) != dnnl_success)
        return NULL;
    dnnl_primitive_desc_t forward = create(&desc, engine, attr, NULL), backward = NULL;
    if (prop_kind == DG_FORWARD || !forward) return forward;
    if (dnnl_pooling_backward_desc_init(&desc, algorithm[pool], src, dst, stride, kernel, pad, pad) == dnnl_success)
        backward = create(&desc, engine, attr, forward);
    dnnl_primitive_desc_destroy(forward);
    return backward;
}

dnnl_status_t dg_append_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1); }

dnnl_status_t dg_append_relu(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
}

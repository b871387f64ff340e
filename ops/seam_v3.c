/* oneDNN 3.x: memory descriptors are handles, primitive descriptors are made in one step. */
#include "ops/seam.h"

dg_md dg_md_make(int ndim, const int64_t *dims, const int64_t *strides)
{
    dnnl_memory_desc_t md = NULL;
    dnnl_status_t status = strides ? dnnl_memory_desc_create_with_strides(&md, ndim, dims, dnnl_f32, strides)
                                   : dnnl_memory_desc_create_with_tag(&md, ndim, dims, dnnl_f32, dnnl_format_tag_any);
    return status == dnnl_success ? md : NULL;
}

void dg_md_free(dg_md md)
{
    if (md) dnnl_memory_desc_destroy((dnnl_memory_desc_t)(uintptr_t)md);
}

dnnl_primitive_desc_t dg_pd_matmul(dnnl_engine_t engine, dg_md src, dg_md weights, dg_md bias, dg_md dst,
                                   const_dnnl_primitive_attr_t attr)
{
    dnnl_primitive_desc_t pd = NULL;
    return dnnl_matmul_primitive_desc_create(&pd, engine, src, weights, bias, dst, attr) == dnnl_success ? pd : NULL;
}

/* oneDNN 2.x: memory descriptors are structs, primitive descriptors are made in two steps. */
#include "ops/seam.h"

#include <stdlib.h>

dg_md dg_md_make(int ndim, const int64_t *dims, const int64_t *strides)
{
    dnnl_memory_desc_t *md = malloc(sizeof *md);
    dnnl_status_t status = !md       ? dnnl_out_of_memory
                           : strides ? dnnl_memory_desc_init_by_strides(md, ndim, dims, dnnl_f32, strides)
                                     : dnnl_memory_desc_init_by_tag(md, ndim, dims, dnnl_f32, dnnl_format_tag_any);
    if (status == dnnl_success) return md;
    free(md);
    return NULL;
}

void dg_md_free(dg_md md) { free((void *)(uintptr_t)md); }

dnnl_primitive_desc_t dg_pd_matmul(dnnl_engine_t engine, dg_md src, dg_md weights, dg_md bias, dg_md dst,
                                   const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t pd = NULL;
    if (dnnl_matmul_desc_init(&desc, src, weights, bias, dst) != dnnl_success) return NULL;
    return dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL) == dnnl_success ? pd : NULL;
}

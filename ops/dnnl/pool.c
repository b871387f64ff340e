/* Pooling of oneDNN, forward and backward. */
#include "ops/dnnl/internal.h"

enum dg_status dg_pooling_open(dnnl_engine_t engine, const struct dg_pool_spec *spec, struct dg_pooling *pooling,
                               struct dg_error *err)
{
    *pooling = (struct dg_pooling){.prop_kind = spec->prop_kind};
    bool backward = spec->prop_kind != DG_FORWARD;
    enum dg_dtype dtype = spec->bf16 ? DG_BF16 : DG_F32;
    dg_md src = dg_md_image(dtype, spec->images, spec->height, spec->width, spec->channels);
    dg_md dst = dg_md_image(dtype, spec->images, spec->out_height, spec->out_width, spec->channels);
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    int64_t bytes, winners = 0;
    enum dg_status status = dg_dnnl_attr((struct dg_post){0}, &attr, err);
    if (status != DG_OK) goto done;
    if (src && dst) pd = dg_pd_pooling(engine, spec->prop_kind, spec->pool, &spec->window, src, dst, attr);
    if (!pd) {
        status = dg_dnnl_no(err, "has no such pooling");
        goto done;
    }
    DG_TRY_GOTO(done, status, dg_dnnl_audit(pd, err));
    if (dnnl_primitive_create(&pooling->primitive, pd) != dnnl_success) {
        status = dg_dnnl_no(err, "cannot create a pooling");
        goto done;
    }
    DG_TRY_GOTO(
        done, status,
        dg_dnnl_memory_for(pd, dnnl_query_scratchpad_md, engine, &pooling->scratchpad, &pooling->scratch_bytes, err));
    DG_TRY_GOTO(done, status,
                dg_dnnl_memory_for(pd, backward ? dnnl_query_diff_src_md : dnnl_query_src_md, engine, &pooling->src,
                                   &bytes, err));
    DG_TRY_GOTO(done, status,
                dg_dnnl_memory_for(pd, backward ? dnnl_query_diff_dst_md : dnnl_query_dst_md, engine, &pooling->dst,
                                   &bytes, err));
    DG_TRY_GOTO(done, status,
                dg_dnnl_memory_for(pd, dnnl_query_workspace_md, engine, &pooling->winners, &winners, err));
    if (winners > spec->images * spec->out_height * spec->out_width * spec->channels)
        status = dg_dnnl_no(err, "wants more than one byte per output for max pooling");
done:
    dg_md_free(src);
    dg_md_free(dst);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (status != DG_OK) dg_pooling_close(pooling);
    return status;
}

void dg_pooling_close(struct dg_pooling *pooling)
{
    dnnl_memory_t memory[] = {pooling->src, pooling->dst, pooling->winners, pooling->scratchpad};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        if (memory[i]) dnnl_memory_destroy(memory[i]);
    if (pooling->primitive) dnnl_primitive_destroy(pooling->primitive);
    *pooling = (struct dg_pooling){0};
}

enum dg_status dg_pooling_run(struct dg_pooling *pooling, dnnl_stream_t stream, void *src, void *dst, void *winners,
                              void *scratch, struct dg_error *err)
{
    bool backward = pooling->prop_kind != DG_FORWARD;
    dnnl_exec_arg_t arg[] = {{backward ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, pooling->src},
                             {backward ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST, pooling->dst},
                             {DNNL_ARG_WORKSPACE, pooling->winners},
                             {DNNL_ARG_SCRATCHPAD, pooling->scratchpad}};
    void *data[] = {src, dst, winners, scratch};
    return dg_dnnl_execute(pooling->primitive, stream, arg, data, 4, err);
}

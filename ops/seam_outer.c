#include "ops/seam_internal.h"

enum dg_status dg_outer_open(dnnl_engine_t engine, const struct dg_outer_spec *spec, struct dg_outer *outer,
                             struct dg_error *err)
{
    *outer = (struct dg_outer){0};
    dg_md src = dg_md_make(DG_BF16, 2, (int64_t[]){spec->rows, spec->in}, (int64_t[]){spec->in, 1});
    dg_md dst = dg_md_make(DG_BF16, 2, (int64_t[]){spec->rows, spec->out}, (int64_t[]){spec->out, 1});
    dg_md weights = dg_md_make(DG_F32, 2, (int64_t[]){spec->out, spec->in}, (int64_t[]){spec->in, 1});
    dg_md same = dg_md_make(DG_BF16, 2, (int64_t[]){spec->out, spec->in}, (int64_t[]){spec->in, 1});
    dg_md bias = spec->bias ? dg_md_make(DG_F32, 1, &spec->out, (int64_t[]){1}) : NULL;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    int64_t bytes;
    enum dg_status status = dg_dnnl_attr(false, &attr, err);
    if (status != DG_OK) goto done;
    struct dg_mds mds = {src, weights, bias, dst}, forward = {src, same, bias, dst};
    if (src && dst && weights && same && (bias || !spec->bias))
        pd = dg_pd_inner_product_weights(engine, &forward, &mds, attr);
    if (!pd) {
        status = dg_dnnl_no(err, "has no gradient of weights in bf16");
        goto done;
    }
    DG_TRY_GOTO(done, status, dg_dnnl_audit(pd, err));
    if (dnnl_primitive_create(&outer->primitive, pd) != dnnl_success) {
        status = dg_dnnl_no(err, "cannot create the gradient of weights");
        goto done;
    }
    DG_TRY_GOTO(
        done, status,
        dg_dnnl_memory_for(pd, dnnl_query_scratchpad_md, engine, &outer->scratchpad, &outer->scratch_bytes, err));
    DG_TRY_GOTO(done, status, dg_dnnl_memory_for(pd, dnnl_query_src_md, engine, &outer->src, &bytes, err));
    DG_TRY_GOTO(done, status, dg_dnnl_memory_for(pd, dnnl_query_diff_dst_md, engine, &outer->diff_dst, &bytes, err));
    DG_TRY_GOTO(done, status, dg_dnnl_memory_for(pd, dnnl_query_diff_weights_md, engine, &outer->weights, &bytes, err));
    if (bias && dnnl_memory_create(&outer->bias, bias, engine, DNNL_MEMORY_NONE) != dnnl_success)
        status = dg_dnnl_no(err, "no memory object");
done:
    dg_md_free(src);
    dg_md_free(dst);
    dg_md_free(weights);
    dg_md_free(same);
    dg_md_free(bias);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (status != DG_OK) dg_outer_close(outer);
    return status;
}

void dg_outer_close(struct dg_outer *outer)
{
    dnnl_memory_t memory[] = {outer->src, outer->diff_dst, outer->weights, outer->bias, outer->scratchpad};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        if (memory[i]) dnnl_memory_destroy(memory[i]);
    if (outer->primitive) dnnl_primitive_destroy(outer->primitive);
    *outer = (struct dg_outer){0};
}

enum dg_status dg_outer_run(struct dg_outer *outer, dnnl_stream_t stream, const void *src, const void *diff_dst,
                            float *diff_weights, float *diff_bias, void *scratch, struct dg_error *err)
{
    dnnl_exec_arg_t arg[] = {{DNNL_ARG_SRC, outer->src},
                             {DNNL_ARG_DIFF_DST, outer->diff_dst},
                             {DNNL_ARG_DIFF_WEIGHTS, outer->weights},
                             {DNNL_ARG_DIFF_BIAS, outer->bias},
                             {DNNL_ARG_SCRATCHPAD, outer->scratchpad}};
    void *data[] = {dg_unconst(src), dg_unconst(diff_dst), diff_weights, diff_bias, scratch};
    return dg_dnnl_execute(outer->primitive, stream, arg, data, 5, err);
}

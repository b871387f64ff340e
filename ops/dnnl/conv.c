/* Convolutions of oneDNN, forward and backward, opened once and run many times. */
#include "ops/dnnl/internal.h"

/* Weights in the layout of PyTorch, or with `any` in the one that oneDNN chooses. */
static dg_md weights_md(const struct dg_conv_spec *spec, enum dg_dtype dtype, bool any)
{
    int64_t g = spec->groups, o = spec->out / g, i = spec->channels / g, k = spec->window.kernel;
    int64_t dims[] = {g, o, i, k, k}, strides[] = {o * i * k * k, i * k * k, k * k, k, 1};
    int skip = g == 1; /* without groups the leading dimension is left out */
    return dg_md_make(dtype, 5 - skip, dims + skip, any ? NULL : strides + skip);
}

enum dg_status dg_conv_open(dnnl_engine_t engine, const struct dg_conv_spec *spec, struct dg_conv *conv,
                            struct dg_error *err)
{
    *conv = (struct dg_conv){.prop_kind = spec->prop_kind};
    bool data = spec->prop_kind == DG_BACKWARD_DATA, weights = spec->prop_kind == DG_BACKWARD_WEIGHTS;
    enum dg_dtype operand = spec->bf16 ? DG_BF16 : DG_F32, result = spec->bf16_result ? DG_BF16 : DG_F32;
    dg_md same[] = {dg_md_image(operand, spec->images, spec->height, spec->width, spec->channels),
                    dg_md_image(operand, spec->images, spec->out_height, spec->out_width, spec->out),
                    weights_md(spec, operand, true)};
    dg_md src = dg_md_image(data ? result : operand, spec->images, spec->height, spec->width, spec->channels);
    dg_md dst =
        dg_md_image(data || weights ? operand : result, spec->images, spec->out_height, spec->out_width, spec->out);
    dg_md any = weights_md(spec, weights ? DG_F32 : operand, true), plain = weights_md(spec, DG_F32, false);
    dg_md bias = spec->bias ? dg_md_make(DG_F32, 1, &spec->out, (int64_t[]){1}) : NULL;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_query_t query = weights ? dnnl_query_diff_weights_md : dnnl_query_weights_md;
    int64_t bytes;
    enum dg_status status = dg_dnnl_attr(spec->post, &attr, err);
    if (status != DG_OK) goto done;
    struct dg_mds mds = {src, any, bias, dst}, alike = {same[0], same[2], bias, same[1]};
    if (src && dst && any && plain && same[0] && same[1] && same[2] && (bias || !spec->bias))
        pd = dg_pd_convolution(engine, spec->prop_kind, &spec->window, spec->prop_kind == DG_FORWARD ? &mds : &alike,
                               &mds, attr);
    if (!pd) {
        status = dg_dnnl_no(err, "has no such convolution");
        goto done;
    }
    DG_TRY_GOTO(done, status, dg_dnnl_audit(pd, err));
    if (dnnl_primitive_create(&conv->conv, pd) != dnnl_success) {
        status = dg_dnnl_no(err, "cannot create a convolution");
        goto done;
    }
    DG_TRY_GOTO(done, status,
                dg_dnnl_memory_for(pd, dnnl_query_scratchpad_md, engine, &conv->scratchpad, &conv->scratch_bytes, err));
    DG_TRY_GOTO(
        done, status,
        dg_dnnl_memory_for(pd, data ? dnnl_query_diff_src_md : dnnl_query_src_md, engine, &conv->src, &bytes, err));
    DG_TRY_GOTO(done, status,
                dg_dnnl_memory_for(pd, data || weights ? dnnl_query_diff_dst_md : dnnl_query_dst_md, engine, &conv->dst,
                                   &bytes, err));
    DG_TRY_GOTO(done, status, dg_dnnl_memory_for(pd, query, engine, &conv->weights, &conv->packed_bytes, err));
    conv->packed_layout = dg_md_hash(dnnl_primitive_desc_query_md(pd, query, 0));
    DG_TRY_GOTO(done, status,
                dg_dnnl_reorder(engine, plain, dnnl_primitive_desc_query_md(pd, query, 0), weights, &conv->reorder,
                                &conv->plain, &conv->reorder_scratchpad, &conv->scratch_bytes, err));
    if (bias && dnnl_memory_create(&conv->bias, bias, engine, DNNL_MEMORY_NONE) != dnnl_success)
        status = dg_dnnl_no(err, "no memory object");
done:
    for (int i = 0; i < 3; i++) dg_md_free(same[i]);
    dg_md_free(src);
    dg_md_free(dst);
    dg_md_free(any);
    dg_md_free(plain);
    dg_md_free(bias);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (status != DG_OK) dg_conv_close(conv);
    return status;
}

void dg_conv_close(struct dg_conv *conv)
{
    dnnl_memory_t memory[] = {conv->src,   conv->weights,           conv->bias, conv->dst, conv->scratchpad,
                              conv->plain, conv->reorder_scratchpad};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        if (memory[i]) dnnl_memory_destroy(memory[i]);
    if (conv->conv) dnnl_primitive_destroy(conv->conv);
    if (conv->reorder) dnnl_primitive_destroy(conv->reorder);
    *conv = (struct dg_conv){0};
}

enum dg_status dg_conv_reorder(struct dg_conv *conv, dnnl_stream_t stream, void *plain, void *packed, void *scratch,
                               struct dg_error *err)
{
    bool unpack = conv->prop_kind == DG_BACKWARD_WEIGHTS;
    dnnl_exec_arg_t arg[] = {{unpack ? DNNL_ARG_DST : DNNL_ARG_SRC, conv->plain},
                             {unpack ? DNNL_ARG_SRC : DNNL_ARG_DST, conv->weights},
                             {DNNL_ARG_SCRATCHPAD, conv->reorder_scratchpad}};
    void *data[] = {plain, packed, scratch};
    return dg_dnnl_execute(conv->reorder, stream, arg, data, 3, err);
}

enum dg_status dg_conv_run(struct dg_conv *conv, dnnl_stream_t stream, const void *src, void *packed, const float *bias,
                           const void *dst, void *scratch, struct dg_error *err)
{
    bool forward = conv->prop_kind == DG_FORWARD;
    dnnl_exec_arg_t arg[] = {
        {conv->prop_kind == DG_BACKWARD_DATA ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, conv->src},
        {conv->prop_kind == DG_BACKWARD_WEIGHTS ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, conv->weights},
        {DNNL_ARG_BIAS, conv->bias},
        {forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, conv->dst},
        {DNNL_ARG_SCRATCHPAD, conv->scratchpad}};
    void *data[] = {dg_unconst(src), packed, dg_unconst(bias), dg_unconst(dst), scratch};
    return dg_dnnl_execute(conv->conv, stream, arg, data, 5, err);
}

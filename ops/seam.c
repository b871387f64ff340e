#include "ops/seam.h"

#include <string.h>

static enum dg_status no(struct dg_error *err, const char *what)
{
    return dg_fail(err, DG_ERR_UNSUPPORTED, "oneDNN %d.%d: %s", DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR, what);
}

/* Reference implementations are refused (see seam.h). */
static enum dg_status audit(const_dnnl_primitive_desc_t pd, struct dg_error *err)
{
    const char *name = "?";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    if (strncmp(name, "ref", 3)) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED, "oneDNN %d.%d would run this with its slow reference code (%s)",
                   DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR, name);
}

/* A memory object of the descriptor that `pd` wants for `what`; its bytes are the caller's and come with every run. */
static enum dg_status memory_for(const_dnnl_primitive_desc_t pd, dnnl_query_t what, dnnl_engine_t engine,
                                 dnnl_memory_t *memory, int64_t *bytes, struct dg_error *err)
{
    dg_md md = dnnl_primitive_desc_query_md(pd, what, 0);
    *memory = NULL;
    *bytes = md ? (int64_t)dnnl_memory_desc_get_size(md) : 0;
    if (!md || !*bytes) return DG_OK;
    if (dnnl_memory_create(memory, md, engine, DNNL_MEMORY_NONE) != dnnl_success) return no(err, "no memory object");
    return DG_OK;
}

static enum dg_status open_reorder(dnnl_engine_t engine, const struct dg_gemm_spec *spec, dg_md packed,
                                   const_dnnl_primitive_attr_t attr, struct dg_gemm *gemm, struct dg_error *err)
{
    dg_md plain = dg_md_make(2, (int64_t[]){spec->k, spec->n}, (int64_t[]){spec->weights_row, spec->weights_col});
    dnnl_primitive_desc_t pd = NULL;
    enum dg_status status = DG_OK;
    if (!plain || dnnl_reorder_primitive_desc_create(&pd, plain, engine, packed, engine, attr) != dnnl_success) {
        dg_md_free(plain);
        return no(err, "cannot pack weights");
    }
    int64_t scratch = 0;
    status = audit(pd, err);
    if (status == DG_OK && (dnnl_primitive_create(&gemm->reorder, pd) != dnnl_success ||
                            dnnl_memory_create(&gemm->plain, plain, engine, DNNL_MEMORY_NONE) != dnnl_success))
        status = no(err, "cannot create the packing primitive");
    if (status == DG_OK)
        status = memory_for(pd, dnnl_query_scratchpad_md, engine, &gemm->reorder_scratchpad, &scratch, err);

    if (scratch > gemm->scratch_bytes) gemm->scratch_bytes = scratch;
    dnnl_primitive_desc_destroy(pd);
    dg_md_free(plain);
    return status;
}

enum dg_status dg_gemm_open(dnnl_engine_t engine, const struct dg_gemm_spec *spec, struct dg_gemm *gemm,
                            struct dg_error *err)
{
    *gemm = (struct dg_gemm){0};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dg_md src = dg_md_make(2, (int64_t[]){spec->m, spec->k}, (int64_t[]){spec->k, 1});
    dg_md weights = dg_md_make(2, (int64_t[]){spec->k, spec->n},
                               spec->packs ? NULL : (int64_t[]){spec->weights_row, spec->weights_col});
    dg_md bias = spec->bias ? dg_md_make(2, (int64_t[]){1, spec->n}, (int64_t[]){spec->n, 1}) : NULL;
    dg_md dst = dg_md_make(2, (int64_t[]){spec->m, spec->n}, (int64_t[]){spec->n, 1});
    enum dg_status status = DG_OK;
    int64_t bytes;
    if (dnnl_primitive_attr_create(&attr) != dnnl_success ||
        dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) != dnnl_success) {
        status = no(err, "no attributes");
        goto done;
    }
    if (src && weights && dst && (bias || !spec->bias)) pd = dg_pd_matmul(engine, src, weights, bias, dst, attr);
    if (!pd) {
        status =
            dg_fail(err, DG_ERR_UNSUPPORTED, "oneDNN %d.%d has no matmul for %lld x %lld x %lld", DNNL_VERSION_MAJOR,
                    DNNL_VERSION_MINOR, (long long)spec->m, (long long)spec->n, (long long)spec->k);
        goto done;
    }
    DG_TRY_GOTO(done, status, audit(pd, err));
    if (dnnl_primitive_create(&gemm->matmul, pd) != dnnl_success) {
        status = no(err, "cannot create a matmul");
        goto done;
    }
    DG_TRY_GOTO(done, status,
                memory_for(pd, dnnl_query_scratchpad_md, engine, &gemm->scratchpad, &gemm->scratch_bytes, err));
    DG_TRY_GOTO(done, status, memory_for(pd, dnnl_query_src_md, engine, &gemm->src, &bytes, err));
    DG_TRY_GOTO(done, status, memory_for(pd, dnnl_query_dst_md, engine, &gemm->dst, &bytes, err));
    DG_TRY_GOTO(done, status, memory_for(pd, dnnl_query_weights_md, engine, &gemm->weights, &bytes, err));
    if (spec->packs) {
        gemm->packed_bytes = bytes;
        DG_TRY_GOTO(
            done, status,
            open_reorder(engine, spec, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), attr, gemm, err));
    }
    if (bias && dnnl_memory_create(&gemm->bias, bias, engine, DNNL_MEMORY_NONE) != dnnl_success)
        status = no(err, "no memory object");
done:
    dg_md_free(src);
    dg_md_free(weights);
    dg_md_free(bias);
    dg_md_free(dst);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (status != DG_OK) dg_gemm_close(gemm);
    return status;
}

void dg_gemm_close(struct dg_gemm *gemm)
{
    dnnl_memory_t memory[] = {gemm->src,   gemm->weights,           gemm->bias, gemm->dst, gemm->scratchpad,
                              gemm->plain, gemm->reorder_scratchpad};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        if (memory[i]) dnnl_memory_destroy(memory[i]);
    if (gemm->matmul) dnnl_primitive_destroy(gemm->matmul);
    if (gemm->reorder) dnnl_primitive_destroy(gemm->reorder);
    *gemm = (struct dg_gemm){0};
}

/* oneDNN takes pointers to non-const; it reads through them only. */
static void *unconst(const void *pointer) { return (void *)(uintptr_t)pointer; }

static enum dg_status execute(dnnl_primitive_t primitive, dnnl_stream_t stream, dnnl_exec_arg_t *arg, void **data,
                              int count, struct dg_error *err)
{
    int used = 0;
    for (int i = 0; i < count; i++) {
        if (!arg[i].memory) continue;
        if (dnnl_memory_set_data_handle(arg[i].memory, data[i]) != dnnl_success) return no(err, "bad memory");
        arg[used++] = arg[i];
    }
    dnnl_status_t status = dnnl_primitive_execute(primitive, stream, used, arg);
    if (status == dnnl_success) status = dnnl_stream_wait(stream);
    if (status == dnnl_success) return DG_OK;
    return dg_fail(err, DG_ERR_INTERNAL, "oneDNN failed with status %d", (int)status);
}

enum dg_status dg_gemm_pack(struct dg_gemm *gemm, dnnl_stream_t stream, const float *weights, void *packed,
                            void *scratch, struct dg_error *err)
{
    dnnl_exec_arg_t arg[] = {
        {DNNL_ARG_SRC, gemm->plain}, {DNNL_ARG_DST, gemm->weights}, {DNNL_ARG_SCRATCHPAD, gemm->reorder_scratchpad}};
    void *data[] = {unconst(weights), packed, scratch};
    return execute(gemm->reorder, stream, arg, data, 3, err);
}

enum dg_status dg_gemm_run(struct dg_gemm *gemm, dnnl_stream_t stream, const float *src, const void *weights,
                           const float *bias, float *dst, void *scratch, struct dg_error *err)
{
    dnnl_exec_arg_t arg[] = {{DNNL_ARG_SRC, gemm->src},
                             {DNNL_ARG_WEIGHTS, gemm->weights},
                             {DNNL_ARG_BIAS, gemm->bias},
                             {DNNL_ARG_DST, gemm->dst},
                             {DNNL_ARG_SCRATCHPAD, gemm->scratchpad}};
    void *data[] = {unconst(src), unconst(weights), unconst(bias), dst, scratch};
    return execute(gemm->matmul, stream, arg, data, 5, err);
}

enum dg_status dg_sgemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                        int64_t ldb, float beta, float *c, int64_t ldc, struct dg_error *err)
{
    dnnl_status_t status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
    if (status == dnnl_success) return DG_OK;
    return dg_fail(err, DG_ERR_INTERNAL, "oneDNN sgemm failed with status %d", (int)status);
}

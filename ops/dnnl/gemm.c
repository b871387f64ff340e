/* Matrix products of oneDNN, and what products, convolutions and pooling share: attributes, reorders, execution, the refusal
 * of reference implementations. */
#include "ops/dnnl/cpu.h"
#include "ops/dnnl/internal.h"

#include <string.h>

dg_md dg_md_image(enum dg_dtype dtype, int64_t n, int64_t h, int64_t w, int64_t c)
{
    return dg_md_make(dtype, 4, (int64_t[]){n, c, h, w}, (int64_t[]){h * w * c, 1, w * c, c});
}

enum dg_bf16_support dg_bf16_support(void)
{
    int isa = (int)dnnl_get_effective_cpu_isa();
#if defined(__x86_64__)
    static const struct {
        int isa; /* a bit set of instructions */
        enum dg_bf16_support support;
    } known[] = {{(int)dnnl_cpu_isa_avx512_core_amx, DG_BF16_AMX},
                 {(int)dnnl_cpu_isa_avx512_core_bf16, DG_BF16_VDPBF16PS},
                 {(int)dnnl_cpu_isa_avx512_core, DG_BF16_CONVERTED}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if ((isa & known[i].isa) == known[i].isa) return known[i].support;
    return DG_BF16_NONE;
#else
    (void)isa;
    return DG_BF16_NONE; /* not tried */
#endif
}

enum dg_status dg_dnnl_no(struct dg_error *err, const char *what)
{
    return dg_fail(err, DG_ERR_UNSUPPORTED, "oneDNN %d.%d: %s", DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR, what);
}

/* Refuses reference implementations (dnnl.h). */
enum dg_status dg_dnnl_audit(const_dnnl_primitive_desc_t pd, struct dg_error *err)
{
    const char *name = "?";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    if (strncmp(name, "ref", 3)) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED, "oneDNN %d.%d would run this with its slow reference code (%s)",
                   DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR, name);
}

enum dg_status dg_dnnl_memory_for(const_dnnl_primitive_desc_t pd, dnnl_query_t what, dnnl_engine_t engine,
                                  dnnl_memory_t *memory, int64_t *bytes, struct dg_error *err)
{
    dg_md md = dnnl_primitive_desc_query_md(pd, what, 0);
    *memory = NULL;
    *bytes = md ? (int64_t)dnnl_memory_desc_get_size(md) : 0;
    if (!md || !*bytes) return DG_OK;
    if (dnnl_memory_create(memory, md, engine, DNNL_MEMORY_NONE) != dnnl_success)
        return dg_dnnl_no(err, "no memory object");
    return DG_OK;
}

enum dg_status dg_dnnl_attr(struct dg_post post, dnnl_primitive_attr_t *attr, struct dg_error *err)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && (post.sum || post.relu)) {
        status = dnnl_post_ops_create(&ops);
        if (status == dnnl_success && post.sum) status = dg_append_sum(ops);
        if (status == dnnl_success && post.relu) status = dg_append_relu(ops);
        if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*attr, ops);
        if (ops) dnnl_post_ops_destroy(ops);
    }
    return status == dnnl_success ? DG_OK : dg_dnnl_no(err, "no attributes");
}

enum dg_status dg_dnnl_reorder(dnnl_engine_t engine, dg_md plain, dg_md packed, bool unpack, dnnl_primitive_t *reorder,
                               dnnl_memory_t *plain_memory, dnnl_memory_t *scratchpad, int64_t *scratch_bytes,
                               struct dg_error *err)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    int64_t scratch = 0;
    enum dg_status status = dg_dnnl_attr((struct dg_post){0}, &attr, err);
    if (status == DG_OK && dnnl_reorder_primitive_desc_create(&pd, unpack ? packed : plain, engine,
                                                              unpack ? plain : packed, engine, attr) != dnnl_success)
        status = dg_dnnl_no(err, "cannot pack weights");
    if (status == DG_OK) status = dg_dnnl_audit(pd, err);
    if (status == DG_OK && (dnnl_primitive_create(reorder, pd) != dnnl_success ||
                            dnnl_memory_create(plain_memory, plain, engine, DNNL_MEMORY_NONE) != dnnl_success))
        status = dg_dnnl_no(err, "cannot create the packing primitive");
    if (status == DG_OK) status = dg_dnnl_memory_for(pd, dnnl_query_scratchpad_md, engine, scratchpad, &scratch, err);
    if (scratch > *scratch_bytes) *scratch_bytes = scratch;
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return status;
}

/* `like`: a gemm whose packed weights this one shares; NULL: it packs its own. */
static enum dg_status open_gemm(dnnl_engine_t engine, const struct dg_gemm_spec *spec, const struct dg_gemm *like,
                                struct dg_gemm *gemm, struct dg_error *err)
{
    *gemm = (struct dg_gemm){.spec = *spec, .engine = engine};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    enum dg_dtype type = spec->bf16 ? DG_BF16 : DG_F32;
    dg_md src = dg_md_make(type, 2, (int64_t[]){spec->m, spec->k}, (int64_t[]){spec->k, 1});
    dg_md weights = dg_md_make(type, 2, (int64_t[]){spec->k, spec->n},
                               spec->packs ? NULL : (int64_t[]){spec->weights_row, spec->weights_col});
    dg_md bias = spec->bias ? dg_md_make(DG_F32, 2, (int64_t[]){1, spec->n}, (int64_t[]){spec->n, 1}) : NULL;
    dg_md dst =
        dg_md_make(spec->bf16_dst ? DG_BF16 : DG_F32, 2, (int64_t[]){spec->m, spec->n}, (int64_t[]){spec->n, 1});
    dg_md plain = NULL, lies = weights;
    enum dg_status status = DG_OK;
    int64_t bytes;
    DG_TRY_GOTO(done, status, dg_dnnl_attr(spec->post, &attr, err));
    if (like && dnnl_memory_get_memory_desc(like->weights, &lies) != dnnl_success) lies = NULL;
    if (src && lies && dst && (bias || !spec->bias)) pd = dg_pd_matmul(engine, src, lies, bias, dst, attr);
    if (!pd) {
        status =
            dg_fail(err, DG_ERR_UNSUPPORTED, "oneDNN %d.%d has no matmul for %lld x %lld x %lld", DNNL_VERSION_MAJOR,
                    DNNL_VERSION_MINOR, (long long)spec->m, (long long)spec->n, (long long)spec->k);
        goto done;
    }
    DG_TRY_GOTO(done, status, dg_dnnl_audit(pd, err));
    if (dnnl_primitive_create(&gemm->matmul, pd) != dnnl_success) {
        status = dg_dnnl_no(err, "cannot create a matmul");
        goto done;
    }
    DG_TRY_GOTO(done, status,
                dg_dnnl_memory_for(pd, dnnl_query_scratchpad_md, engine, &gemm->scratchpad, &gemm->scratch_bytes, err));
    DG_TRY_GOTO(done, status, dg_dnnl_memory_for(pd, dnnl_query_src_md, engine, &gemm->src, &bytes, err));
    DG_TRY_GOTO(done, status, dg_dnnl_memory_for(pd, dnnl_query_dst_md, engine, &gemm->dst, &bytes, err));
    DG_TRY_GOTO(done, status, dg_dnnl_memory_for(pd, dnnl_query_weights_md, engine, &gemm->weights, &bytes, err));
    if (spec->packs && !like) {
        gemm->packed_bytes = bytes;
        gemm->packed_layout = dg_md_hash(dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0));
        plain = dg_md_make(DG_F32, 2, (int64_t[]){spec->k, spec->n}, (int64_t[]){spec->weights_row, spec->weights_col});
        if (!plain) {
            status = dg_dnnl_no(err, "no memory descriptor");
            goto done;
        }
        DG_TRY_GOTO(done, status,
                    dg_dnnl_reorder(engine, plain, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), false,
                                    &gemm->reorder, &gemm->plain, &gemm->reorder_scratchpad, &gemm->scratch_bytes,
                                    err));
    }
    if (bias && dnnl_memory_create(&gemm->bias, bias, engine, DNNL_MEMORY_NONE) != dnnl_success)
        status = dg_dnnl_no(err, "no memory object");
done:
    dg_md_free(src);
    dg_md_free(weights);
    dg_md_free(bias);
    dg_md_free(dst);
    dg_md_free(plain);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (status != DG_OK) dg_gemm_close(gemm);
    return status;
}

enum dg_status dg_gemm_open(dnnl_engine_t engine, const struct dg_gemm_spec *spec, struct dg_gemm *gemm,
                            struct dg_error *err)
{
    return open_gemm(engine, spec, NULL, gemm, err);
}

enum dg_status dg_gemm_open_rows(const struct dg_gemm *gemm, int64_t m, struct dg_gemm *fewer, struct dg_error *err)
{
    struct dg_gemm_spec spec = gemm->spec;
    spec.m = m;
    return open_gemm(gemm->engine, &spec, gemm, fewer, err);
}

bool dg_gemm_packs_alike(const struct dg_gemm *a, const struct dg_gemm *b)
{
    dg_md first, second;
    return a->weights && b->weights && dnnl_memory_get_memory_desc(a->weights, &first) == dnnl_success &&
           dnnl_memory_get_memory_desc(b->weights, &second) == dnnl_success && dnnl_memory_desc_equal(first, second);
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
void *dg_unconst(const void *pointer) { return (void *)(uintptr_t)pointer; }

enum dg_status dg_dnnl_execute(dnnl_primitive_t primitive, dnnl_stream_t stream, dnnl_exec_arg_t *arg, void **data,
                               int count, struct dg_error *err)
{
    int used = 0;
    for (int i = 0; i < count; i++) {
        if (!arg[i].memory) continue;
        if (dnnl_memory_set_data_handle(arg[i].memory, data[i]) != dnnl_success) return dg_dnnl_no(err, "bad memory");
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
    void *data[] = {dg_unconst(weights), packed, scratch};
    return dg_dnnl_execute(gemm->reorder, stream, arg, data, 3, err);
}

enum dg_status dg_gemm_run(struct dg_gemm *gemm, dnnl_stream_t stream, const void *src, const void *weights,
                           const float *bias, void *dst, void *scratch, struct dg_error *err)
{
    dnnl_exec_arg_t arg[] = {{DNNL_ARG_SRC, gemm->src},
                             {DNNL_ARG_WEIGHTS, gemm->weights},
                             {DNNL_ARG_BIAS, gemm->bias},
                             {DNNL_ARG_DST, gemm->dst},
                             {DNNL_ARG_SCRATCHPAD, gemm->scratchpad}};
    void *data[] = {dg_unconst(src), dg_unconst(weights), dg_unconst(bias), dst, scratch};
    return dg_dnnl_execute(gemm->matmul, stream, arg, data, 5, err);
}

enum dg_status dg_sgemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                        int64_t ldb, float beta, float *c, int64_t ldc, struct dg_error *err)
{
    dnnl_status_t status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
    if (status == dnnl_success) return DG_OK;
    return dg_fail(err, DG_ERR_INTERNAL, "oneDNN sgemm failed with status %d", (int)status);
}

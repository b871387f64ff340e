#include "runtime/exec/peak.h"

#include "ops/base/rng.h"
#include "ops/dnnl/dnnl.h"
#include "ops/kernels/bf16.h"
#include "runtime/base/memory.h"

#include <stdlib.h>

enum { REPEATS = 3, SRC = 0, WEIGHTS, DST, SCRATCH, REGIONS };

struct dg_peak {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct dg_gemm gemm[DG_PEAK_MATMULS];
    double flops[DG_PEAK_MATMULS];
    void *region[REGIONS];
    int64_t bytes[REGIONS];
};

void dg_peak_close(struct dg_peak *peak)
{
    if (!peak) return;
    for (int i = 0; i < DG_PEAK_MATMULS; i++) dg_gemm_close(&peak->gemm[i]);
    if (peak->stream) dnnl_stream_destroy(peak->stream);
    if (peak->engine) dnnl_engine_destroy(peak->engine);
    for (int r = 0; r < REGIONS; r++) dg_region_free(peak->region[r], peak->bytes[r]);
    free(peak);
}

static enum dg_status set_up(struct dg_peak *peak, bool bf16, struct dg_error *err)
{
    static const int64_t shape[DG_PEAK_MATMULS][3] = {{2048, 2048, 2048}, {3152, 1536, 384}};
    if (dnnl_engine_create(&peak->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&peak->stream, peak->engine, dnnl_stream_default_flags) != dnnl_success)
        return dg_fail(err, DG_ERR_UNSUPPORTED, "oneDNN has no CPU engine here");
    for (int i = 0; i < DG_PEAK_MATMULS; i++) {
        int64_t m = shape[i][0], n = shape[i][1], k = shape[i][2];
        struct dg_gemm_spec spec = {
            .m = m, .n = n, .k = k, .weights_row = n, .weights_col = 1, .bf16 = bf16, .bf16_dst = bf16};
        DG_TRY(dg_gemm_open(peak->engine, &spec, &peak->gemm[i], err));
        peak->flops[i] = 2.0 * (double)m * (double)n * (double)k;
        /* The bytes are those of f32 in both cases: in bf16 half of them are used. */
        const int64_t bytes[REGIONS] = {m * k * 4, n * k * 4, m * n * 4, peak->gemm[i].scratch_bytes + 64};
        for (int r = 0; r < REGIONS; r++) peak->bytes[r] = dg_max_i64(peak->bytes[r], bytes[r]);
    }
    for (int r = 0; r < REGIONS; r++)
        DG_TRY(dg_region_alloc("the matmuls to compare with", peak->bytes[r], &peak->region[r], err));
    struct dg_rng rng = dg_rng_make(0, DG_RNG_TEST, 0, 0);
    for (int r = SRC; r <= WEIGHTS; r++)
        for (int64_t i = 0; i < peak->bytes[r] / 4; i++) dg_put(peak->region[r], bf16, i, dg_rng_uniform(&rng, -1, 1));
    return DG_OK;
}

enum dg_status dg_peak_open(bool bf16, struct dg_peak **result, struct dg_error *err)
{
    *result = NULL;
    struct dg_peak *peak = calloc(1, sizeof *peak);
    if (!peak) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = set_up(peak, bf16, err);
    if (status == DG_OK)
        *result = peak;
    else
        dg_peak_close(peak);
    return status;
}

enum dg_status dg_peak_run(struct dg_peak *peak, int index, double *rate, struct dg_error *err)
{
    void **region = peak->region;
    *rate = 0;
    for (int i = 0; i < REPEATS; i++) {
        double begin = dg_seconds_now();
        DG_TRY(dg_gemm_run(&peak->gemm[index], peak->stream, region[SRC], region[WEIGHTS], NULL, region[DST],
                           region[SCRATCH], err));
        double now = peak->flops[index] / (dg_seconds_now() - begin);
        if (now > *rate) *rate = now;
    }
    return DG_OK;
}

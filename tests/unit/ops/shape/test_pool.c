/* Pooling and its gradients, of windows and of whole images. */
#include "ops/dnnl/cpu.h"
#include "ops/kernels/bf16.h"
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct window {
    int64_t kernel, stride, pad;
};

static struct window window_of(const struct dg_op_call *call)
{
    return (struct window){(int64_t)attr_of(call, "kernel"), (int64_t)attr_of(call, "stride"),
                           (int64_t)attr_of(call, "pad")};
}

static int64_t out_size(int64_t in, const struct window *g) { return (in + 2 * g->pad - g->kernel) / g->stride + 1; }

static void ref_pool(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *src = &call->input[0];
    int64_t h = src->dim[1], w = src->dim[2], channels = src->dim[3], at = 0;
    struct window g = window_of(call);
    bool max = !strcmp(call->op->name, "max_pool"), all = !max && attr_of(call, "count_include_pad") != 0;
    for (int64_t n = 0; n < src->dim[0]; n++)
        for (int64_t y = 0; y < out_size(h, &g); y++)
            for (int64_t x = 0; x < out_size(w, &g); x++)
                for (int64_t c = 0; c < channels; c++) {
                    double most = -INFINITY, sum = 0;
                    int count = 0;
                    for (int64_t ky = 0; ky < g.kernel; ky++)
                        for (int64_t kx = 0; kx < g.kernel; kx++) {
                            int64_t iy = y * g.stride - g.pad + ky, ix = x * g.stride - g.pad + kx;
                            bool inside = iy >= 0 && ix >= 0 && iy < h && ix < w;
                            double v = inside ? in[0][((n * h + iy) * w + ix) * channels + c] : 0;
                            if (inside) most = fmax(most, v);
                            sum += v;
                            count += inside || all;
                        }
                    out[0][at++] = max ? most : sum / count;
                }
}

/* Each output's gradient goes in equal parts to the pixels of its window that count. */
static void ref_avg_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *src = &call->output[0], *dst = &call->input[0];
    int64_t h = src->dim[1], w = src->dim[2], channels = src->dim[3];
    struct window g = window_of(call);
    bool all = attr_of(call, "count_include_pad") != 0;
    memset(out[0], 0, (size_t)dg_desc_count(src) * sizeof *out[0]);
    for (int64_t i = 0; i < dg_desc_count(dst); i++) {
        int64_t c = i % channels, x = i / channels % dst->dim[2], y = i / channels / dst->dim[2] % dst->dim[1];
        int64_t n = i / channels / dst->dim[2] / dst->dim[1], count = 0, at[256];
        for (int64_t tap = 0; tap < g.kernel * g.kernel; tap++) {
            int64_t iy = y * g.stride - g.pad + tap / g.kernel, ix = x * g.stride - g.pad + tap % g.kernel;
            if (iy >= 0 && ix >= 0 && iy < h && ix < w) at[count++] = ((n * h + iy) * w + ix) * channels + c;
        }
        for (int64_t k = 0; k < count; k++) out[0][at[k]] += in[0][i] / (double)(all ? g.kernel * g.kernel : count);
    }
}

static void ref_global(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *src = &call->input[0];
    int64_t pixels = src->dim[1] * src->dim[2], channels = src->dim[3];
    memset(out[0], 0, (size_t)(src->dim[0] * channels) * sizeof *out[0]);
    for (int64_t i = 0; i < dg_desc_count(src); i++)
        out[0][i / (pixels * channels) * channels + i % channels] += in[0][i] / (double)pixels;
}

static void ref_global_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *src = &call->output[0];
    int64_t pixels = src->dim[1] * src->dim[2], channels = src->dim[3];
    for (int64_t i = 0; i < dg_desc_count(src); i++)
        out[0][i] = in[0][i / (pixels * channels) * channels + i % channels] / (double)pixels;
}

#define WINDOW(kernel, stride, pad) ATTR("kernel", kernel), ATTR("stride", stride), ATTR("pad", pad)

/* In bf16, two of a window may be alike, where finite differences say nothing: max pooling has its own test. In the mean's
 * gradient, oneDNN rounds with every window it adds. */
#define MAX_POOL(n, h, w, c, k, s, p)                                                                                  \
    {                                                                                                                  \
        .op = "max_pool", .modes = OP_VALUE | OP_GRADIENT, .attrs = {WINDOW(k, s, p)},                                 \
        .input = {IN("src", n, h, w, c)}, .reference = ref_pool, .grad = {true}, .f32 = 1e-6, .f32_grad = 1e-6         \
    }
#define AVG_POOL(n, h, w, c, k, s, p, all)                                                                             \
    {                                                                                                                  \
        .op = "avg_pool", .modes = OP_VALUE | OP_GRADIENT | OP_BF16,                                                   \
        .attrs = {WINDOW(k, s, p), ATTR("count_include_pad", all)}, .input = {IN("src", n, h, w, c)},                  \
        .reference = ref_pool, .grad = {true}, .f32 = 1e-6, .f32_grad = 1e-6, .bf16_grad = 2                           \
    }
#define POOLS(...) MAX_POOL(__VA_ARGS__), AVG_POOL(__VA_ARGS__, 1), AVG_POOL(__VA_ARGS__, 0)
#define AVG_POOL_GRAD(all)                                                                                             \
    {                                                                                                                  \
        .op = "avg_pool_grad", .modes = OP_VALUE | OP_BF16,                                                            \
        .attrs = {WINDOW(3, 2, 1), ATTR("height", 9), ATTR("width", 7), ATTR("count_include_pad", all)},               \
        .input = {IN("diff_dst", 2, 5, 4, 5)}, .reference = ref_avg_grad, .f32 = 1e-6, .bf16 = 1                       \
    }

static const struct op_case cases[] = {
    POOLS(2, 9, 7, 5, 3, 2, 1),
    POOLS(1, 8, 8, 16, 2, 2, 0),
    POOLS(2, 11, 6, 3, 5, 3, 2),
    AVG_POOL_GRAD(1),
    AVG_POOL_GRAD(0),
    {.op = "global_avg_pool",
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16,
     .input = {IN("src", 3, 5, 7, 19)},
     .reference = ref_global,
     .grad = {true},
     .f32 = 1e-6,
     .f32_grad = 1e-6,
     .bf16_grad = 1},
    {.op = "global_avg_pool_grad",
     .modes = OP_VALUE | OP_BF16,
     .attrs = {ATTR("height", 5), ATTR("width", 7)},
     .input = {IN("diff_dst", 3, 19)},
     .reference = ref_global_grad,
     .f32 = 1e-6},
};

static const int64_t pools[][7] = {{2, 9, 7, 5, 3, 2, 1}, {1, 8, 8, 16, 2, 2, 0}, {2, 11, 6, 3, 5, 3, 2}};

/* Each output's gradient goes to the largest pixel of its window. */
static void test_max_pool_grad(void **state)
{
    (void)state;
    for (int s = 0; s < 3; s++) {
        const int64_t *p = pools[s], h = p[1], w = p[2], channels = p[3], k = p[4];
        struct dg_desc desc = dg_desc_make(DG_F32, 4, p);
        int64_t count = dg_desc_count(&desc);
        float *src = random_f32("src", 1, count);
        struct op_run op = {.op = "max_pool", .attrs = {WINDOW(k, p[5], p[6])}, .input = {{"src", desc, src}}};
        struct op_result r = op_run(&op);
        int64_t outputs = dg_desc_count(&r.desc[0]);
        float *diff = random_f32("diff", 1, outputs);
        double *want = calloc((size_t)count, sizeof *want);
        assert_non_null(want);
        for (int64_t i = 0; i < outputs; i++) {
            int64_t x = i / channels % r.desc[0].dim[2], y = i / channels / r.desc[0].dim[2] % r.desc[0].dim[1];
            int64_t n = i / channels / r.desc[0].dim[2] / r.desc[0].dim[1], most = -1;
            for (int64_t tap = 0; tap < k * k; tap++) {
                int64_t iy = y * p[5] - p[6] + tap / k, ix = x * p[5] - p[6] + tap % k;
                if (iy < 0 || ix < 0 || iy >= h || ix >= w) continue;
                int64_t at = ((n * h + iy) * w + ix) * channels + i % channels;
                if (most < 0 || src[at] > src[most]) most = at;
            }
            want[most] += (double)diff[i];
        }
        struct op_run grad = {.op = "max_pool_grad",
                              .attrs = {WINDOW(k, p[5], p[6]), ATTR("height", h), ATTR("width", w)},
                              .input = {{"diff_dst", r.desc[0], diff}, {"winners", r.desc[1], r.data[1]}}};
        struct op_result d = op_run(&grad);
        assert_near(d.data[0], want, count, 1e-6, "diff_src");
        op_result_free(&d);
        op_result_free(&r);
        free(src);
        free(diff);
        free(want);
    }
}

static float *widened(const struct op_result *r)
{
    int64_t count = dg_desc_count(&r->desc[0]);
    float *wide = malloc((size_t)count * sizeof *wide);
    for (int64_t i = 0; i < count; i++) wide[i] = dg_get(r->data[0], r->desc[0].dtype == DG_BF16, i);
    return wide;
}

/* The op on bf16 numbers, told so (bf16), or given them as f32: as f32, malloced. `winners` of a gradient are its second input. */
static float *max_pool(struct op_run op, bool bf16, const dg_bf16 *data, void *winners, struct op_result *r)
{
    int64_t count = dg_desc_count(&op.input[0].desc);
    float *wide = malloc((size_t)count * sizeof *wide);
    for (int64_t i = 0; i < count; i++) wide[i] = dg_from_bf16(data[i]);
    if (bf16) op.input[0].desc.dtype = DG_BF16;
    op.bf16 = bf16;
    op.input[0].data = bf16 ? (void *)(uintptr_t)data : wide;
    if (winners) op_input(&op, "winners")->data = winners;
    *r = op_run(&op);
    free(wide);
    assert_int_equal(r->desc[0].dtype, bf16 ? DG_BF16 : DG_F32);
    return widened(r);
}

/* What max pooling takes is what it takes in f32, and its gradient that of the same winners. */
static void test_max_pool_bf16(void **state)
{
    (void)state;
    if (dg_bf16_support() == DG_BF16_NONE) {
        print_message("skipped: this CPU has no bf16\n");
        skip();
    }
    for (int s = 0; s < 3; s++) {
        struct op_run op = {
            .op = "max_pool",
            .attrs = {ATTR("kernel", pools[s][4]), ATTR("stride", pools[s][5]), ATTR("pad", pools[s][6])},
            .input = {{"src", dg_desc_make(DG_F32, 4, pools[s])}}};
        dg_bf16 data[2000];
        struct op_result r[4];
        float *random = random_f32("pool", 1, 2000), *out[4];
        for (int i = 0; i < 2000; i++) data[i] = dg_to_bf16(random[i]);
        assert_true(dg_desc_count(&op.input[0].desc) <= 2000);
        for (int bf16 = 0; bf16 < 2; bf16++) out[bf16] = max_pool(op, bf16, data, NULL, &r[bf16]);
        int64_t outputs = dg_desc_count(&r[0].desc[0]), inputs = dg_desc_count(&op.input[0].desc);
        assert_memory_equal(out[0], out[1], (size_t)outputs * sizeof(float));

        struct op_run grad = {
            .op = "max_pool_grad",
            .attrs = {op.attrs[0], op.attrs[1], op.attrs[2], ATTR("height", pools[s][1]), ATTR("width", pools[s][2])},
            .input = {{"diff_dst", r[0].desc[0]}, {"winners", r[0].desc[1]}}};
        for (int bf16 = 0; bf16 < 2; bf16++) out[2 + bf16] = max_pool(grad, bf16, data, r[1].data[1], &r[2 + bf16]);
        double want[2000];
        for (int64_t i = 0; i < inputs; i++) want[i] = (double)out[2][i];
        assert_near(out[3], want, inputs, 2 * BF16_ROUNDING, "diff_src");
        free(random);
        for (int i = 0; i < 4; i++) {
            op_result_free(&r[i]);
            free(out[i]);
        }
    }
}

static const struct op_test tests[] = {
    OP_TEST("max_pool_grad", OP_VALUE, test_max_pool_grad),
    OP_TEST("max_pool max_pool_grad", OP_VALUE | OP_BF16, test_max_pool_bf16),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

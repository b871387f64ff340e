/* The ops of convolutional networks: forward against plain references, gradients against finite differences, at odd sizes,
 * strides, borders, groups and dilations; batch norm's running statistics; fused and folded forms. */
#include "ops/dnnl/cpu.h"
#include "ops/kernels/bf16.h"
#include "tests/support/eager.h"
#include "tests/support/one_op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int64_t out_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation)
{
    return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
}

/* --- conv2d --- */

enum { OUT, KERNEL, STRIDE, PAD, GROUPS, DILATION, BIAS, FOLD, EPS, RELU };

static void ref_conv2d(const struct dg_op_call *call, double *const *in, double *out)
{
    const struct dg_desc *src = &call->input[0];
    const union dg_attr *a = call->attr;
    int64_t h = src->dim[1], w = src->dim[2], channels = src->dim[3], k = a[KERNEL].i, per = channels / a[GROUPS].i;
    int64_t oh = out_size(h, k, a[STRIDE].i, a[PAD].i, a[DILATION].i),
            ow = out_size(w, k, a[STRIDE].i, a[PAD].i, a[DILATION].i), at = 0;
    for (int64_t n = 0; n < src->dim[0]; n++)
        for (int64_t y = 0; y < oh; y++)
            for (int64_t x = 0; x < ow; x++)
                for (int64_t o = 0; o < a[OUT].i; o++) {
                    double sum = a[BIAS].i ? in[2][o] : 0;
                    int64_t first = o / (a[OUT].i / a[GROUPS].i) * per;
                    for (int64_t c = 0; c < per; c++)
                        for (int64_t ky = 0; ky < k; ky++)
                            for (int64_t kx = 0; kx < k; kx++) {
                                int64_t iy = y * a[STRIDE].i - a[PAD].i + ky * a[DILATION].i;
                                int64_t ix = x * a[STRIDE].i - a[PAD].i + kx * a[DILATION].i;
                                if (iy < 0 || ix < 0 || iy >= h || ix >= w) continue;
                                sum += in[0][((n * h + iy) * w + ix) * channels + first + c] *
                                       in[1][((o * per + c) * k + ky) * k + kx];
                            }
                    out[at++] = sum;
                }
}

/* images, height, width, channels, then the attributes. */
static const int64_t convolutions[][10] = {
    {2, 12, 8, 3, /**/ 7, 4, 4, 0, 1, 1},    /* patches */
    {3, 5, 7, 6, /**/ 9, 1, 1, 0, 1, 1},     /* pixels */
    {2, 7, 9, 16, /**/ 24, 1, 2, 0, 1, 1},   /* the shortcut of a stage */
    {2, 9, 12, 6, /**/ 5, 2, 3, 0, 1, 1},    /* patches with pixels between them, some left over */
    {1, 9, 12, 4, /**/ 5, 2, 3, 0, 1, 2},    /* too wide to be patches */
    {1, 9, 7, 5, /**/ 3, 3, 1, 1, 1, 1},     /* odd all over */
    {2, 11, 8, 16, /**/ 32, 3, 2, 1, 1, 1},  /* a stage's first 3x3 */
    {2, 9, 7, 40, /**/ 13, 3, 2, 1, 1, 1},   /* the same of a full and a narrow panel of channels */
    {3, 4, 3, 32, /**/ 20, 3, 1, 1, 1, 1},   /* on images of a few pixels */
    {2, 17, 15, 3, /**/ 16, 7, 2, 3, 1, 1},  /* the stem */
    {1, 10, 12, 8, /**/ 12, 3, 1, 2, 1, 2},  /* dilated */
    {2, 6, 6, 8, /**/ 12, 3, 1, 1, 4, 1},    /* grouped */
    {1, 8, 9, 32, /**/ 32, 3, 2, 1, 32, 1},  /* depthwise */
    {1, 11, 13, 16, /**/ 32, 3, 2, 0, 2, 1}, /* grouped, what is left of the border unread */
};

static void test_conv2d(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof convolutions / sizeof *convolutions; s++)
        for (int bias = 0; bias < 2; bias++) {
            const int64_t *c = convolutions[s];
            struct op_case op = {.op = "conv2d",
                                 .num_inputs = 1,
                                 .input = {dg_desc_make(DG_F32, 4, c)},
                                 .reference = ref_conv2d,
                                 .tolerance = 2e-6,
                                 .grad_tolerance = 1e-5,
                                 .grad_input = {true}};
            for (int a = 0; a < 6; a++) op.attr[a].i = c[4 + a];
            op.attr[BIAS].i = bias;
            check_op(&op);
            for (unsigned half = 0; half < 4; half++) /* src, dst */
                check_op_bf16(op, half & 1, half >> 1, half & 2 ? BF16_ROUNDING : 2e-6, BF16_ROUNDING);
        }
}

static void test_conv2d_refuses(void **state)
{
    (void)state;
    struct one_op op = {.op = "conv2d",
                        .attr = {{.i = 4}, {.i = 5}, {.i = 1}, {.i = 0}, {.i = 1}, {.i = 1}},
                        .num_inputs = 2,
                        .desc = {F32(1, 4, 9, 3), F32(4, 3, 5, 5)}};
    one_op_refused(&op, "a window of 5 pixels does not fit into height 4 with pad 0");
    op.attr[PAD].i = 5;
    one_op_refused(&op, "pad 5: some windows of 5 pixels would see nothing but zeros");
    op.attr[PAD].i = 0;
    op.attr[STRIDE].i = 5;
    op.desc[0].dim[1] = 10;
    one_op_refused(&op, "kernel 5 does not divide width 9");
}

/* --- batch_norm --- */

static void ref_batch_norm(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t rows = dg_desc_rows(&call->input[0]), n = dg_desc_count(&call->input[0]) / rows;
    for (int64_t c = 0; c < n; c++) {
        double mean = 0, var = 0;
        for (int64_t r = 0; r < rows; r++) mean += in[0][r * n + c] / (double)rows;
        for (int64_t r = 0; r < rows; r++) var += pow(in[0][r * n + c] - mean, 2) / (double)rows;
        for (int64_t r = 0; r < rows; r++) {
            double y = (in[0][r * n + c] - mean) / sqrt(var + call->attr[0].f) * in[1][c] + in[2][c];
            out[r * n + c] = call->attr[2].i && y < 0 ? 0 : y;
        }
    }
}

static void test_batch_norm(void **state)
{
    (void)state;
    const struct dg_desc input[] = {F32(3, 5, 7, 19), F32(2, 1, 1, 33), F32(101, 17), F32(2, 5), F32(37, 67)};
    for (size_t s = 0; s < sizeof input / sizeof *input; s++)
        for (int relu = 0; relu < 2; relu++) {
            const struct op_case op = {.op = "batch_norm",
                                       .attr = {{.f = 1e-5}, {.f = 0.1}, {.i = relu}},
                                       .num_inputs = 1,
                                       .input = {input[s]},
                                       .reference = ref_batch_norm,
                                       .tolerance = 3e-6,
                                       /* two rows: the gradient is a small difference of large numbers */
                                       .grad_tolerance = dg_desc_rows(&input[s]) > 2 ? 3e-5 : 3e-3,
                                       .grad_input = {true}};
            check_op(&op);
            if (dg_desc_rows(&input[s]) > 2) check_op_bf16(op, 1, 1, BF16_ROUNDING, BF16_ROUNDING);
        }
}

/* A large common offset must not cost the variance its digits. */
static void test_batch_norm_offset(void **state)
{
    (void)state;
    enum { ROWS = 4000, COLS = 70 };
    float *src = random_f32("offset", 1, ROWS * COLS), ones[COLS], zeros[COLS] = {0};
    double mean[COLS] = {0}, var[COLS] = {0};
    for (int64_t i = 0; i < ROWS * COLS; i++) src[i] += 1000;
    for (int64_t i = 0; i < ROWS * COLS; i++) mean[i % COLS] += (double)src[i] / ROWS;
    for (int64_t i = 0; i < ROWS * COLS; i++) var[i % COLS] += pow((double)src[i] - mean[i % COLS], 2) / ROWS;
    for (int c = 0; c < COLS; c++) ones[c] = 1;
    int64_t tracked = 0;
    struct one_op op = {.op = "batch_norm",
                        .attr = {{.f = 1e-5}, {.f = 0.1}},
                        .num_inputs = 6,
                        .desc = {F32(ROWS, COLS), F32(COLS), F32(COLS), F32(COLS), F32(COLS), dg_desc_scalar(DG_I64)},
                        .data = {src, ones, zeros, zeros, ones, &tracked}};
    struct one_op_result r = one_op_run(&op);
    assert_near(r.data[1], mean, COLS, 1e-7, "mean");
    assert_near(r.data[2], var, COLS, 1e-5, "var");
    one_op_free(&r);
    free(src);
}

/* Running statistics: PyTorch's rule, unbiased variance, a counter; eval mode reads them. */
static void test_batch_norm_running(void **state)
{
    (void)state;
    float running_mean[] = {1, -2}, running_var[] = {4, 0.25f}, mean[] = {3, 0}, var[] = {2, 8};
    int64_t tracked = 41;
    struct one_op update = {.op = "batch_norm_update",
                            .attr = {{.f = 0.1}, {.i = 5}},
                            .num_inputs = 5,
                            .desc = {F32(2), F32(2), dg_desc_scalar(DG_I64), F32(2), F32(2)},
                            .data = {running_mean, running_var, &tracked, mean, var}};
    struct one_op_result none = one_op_run(&update);
    one_op_free(&none);
    assert_near(running_mean, (double[]){1.2, -1.8}, 2, 1e-7, "running_mean");
    assert_near(running_var, (double[]){0.9 * 4 + 0.1 * 2 * 5 / 4, 0.9 * 0.25 + 0.1 * 8 * 5 / 4}, 2, 1e-7,
                "running_var");
    assert_int_equal(tracked, 42);

    float src[] = {5, 1, -1, 2}, weight[] = {2, 3}, bias[] = {0.5f, -1};
    float m[] = {1, 0}, v[] = {4, 0.25f};
    struct one_op eval = {.op = "batch_norm",
                          .attr = {{.f = 0}, {.f = 0.1}},
                          .num_inputs = 6,
                          .desc = {F32(2, 2), F32(2), F32(2), F32(2), F32(2), dg_desc_scalar(DG_I64)},
                          .data = {src, weight, bias, m, v, &tracked},
                          .unwanted = 6,
                          .eval = true};
    struct one_op_result r = one_op_run(&eval);
    assert_near(r.data[0], (double[]){4.5, 5, -1.5, 11}, 4, 1e-6, "dst");
    one_op_free(&r);
    struct one_op single = eval;
    single.eval = false;
    single.desc[0] = F32(1, 2);
    one_op_refused(&single, "training needs more than one row");
}

/* --- pooling, ReLU --- */

static void ref_pool(const struct dg_op_call *call, double *const *in, double *out)
{
    const struct dg_desc *src = &call->input[0];
    int64_t h = src->dim[1], w = src->dim[2], channels = src->dim[3], k = call->attr[0].i, s = call->attr[1].i,
            pad = call->attr[2].i, at = 0;
    bool max = !strcmp(call->op->name, "max_pool"), all = call->attr[3].i;
    for (int64_t n = 0; n < src->dim[0]; n++)
        for (int64_t y = 0; y < out_size(h, k, s, pad, 1); y++)
            for (int64_t x = 0; x < out_size(w, k, s, pad, 1); x++)
                for (int64_t c = 0; c < channels; c++) {
                    double most = -INFINITY, sum = 0;
                    int count = 0;
                    for (int64_t ky = 0; ky < k; ky++)
                        for (int64_t kx = 0; kx < k; kx++) {
                            int64_t iy = y * s - pad + ky, ix = x * s - pad + kx;
                            bool inside = iy >= 0 && ix >= 0 && iy < h && ix < w;
                            double v = inside ? in[0][((n * h + iy) * w + ix) * channels + c] : 0;
                            if (inside) most = fmax(most, v);
                            sum += v;
                            count += inside || all;
                        }
                    out[at++] = max ? most : sum / count;
                }
}

static const int64_t pools[][7] = {{2, 9, 7, 5, 3, 2, 1}, {1, 8, 8, 16, 2, 2, 0}, {2, 11, 6, 3, 5, 3, 2}};

/* In bf16, two of a window may be alike, where finite differences say nothing: max pooling has its own test. */
static void test_pool(void **state)
{
    (void)state;
    for (int s = 0; s < 3; s++)
        for (int kind = 0; kind < 3; kind++)
            for (unsigned half = 0; half < 1 + (kind > 0); half++)
                check_op(&(struct op_case){
                    .op = kind ? "avg_pool" : "max_pool",
                    .attr = {{.i = pools[s][4]}, {.i = pools[s][5]}, {.i = pools[s][6]}, {.i = kind == 1}},
                    .num_inputs = 1,
                    .input = {dg_desc_make(DG_F32, 4, pools[s])},
                    .reference = ref_pool,
                    .bf16 = half,
                    .half_inputs = half,
                    .half_outputs = half,
                    .tolerance = half ? BF16_ROUNDING : 1e-6,
                    .grad_tolerance = half ? 2 * BF16_ROUNDING : 1e-6, /* oneDNN rounds with every window it adds */
                    .grad_input = {true}});
}

static float *widened(const struct one_op_result *r)
{
    int64_t count = dg_desc_count(&r->desc[0]);
    float *wide = malloc((size_t)count * sizeof *wide);
    for (int64_t i = 0; i < count; i++) wide[i] = dg_get(r->data[0], r->desc[0].dtype == DG_BF16, i);
    return wide;
}

/* The op on bf16 numbers, told so (bf16), or given them as f32: as f32, malloced. `winners`: read, or if NULL kept in *r. */
static float *max_pool(struct one_op op, bool bf16, const dg_bf16 *data, void *winners, struct one_op_result *r)
{
    int64_t count = dg_desc_count(&op.desc[0]);
    float *wide = malloc((size_t)count * sizeof *wide);
    for (int64_t i = 0; i < count; i++) wide[i] = dg_from_bf16(data[i]);
    if (bf16) op.desc[0].dtype = DG_BF16;
    op.bf16 = bf16;
    op.data[0] = bf16 ? (void *)(uintptr_t)data : wide;
    op.data[1] = winners;
    *r = one_op_run(&op);
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
        return;
    }
    for (int s = 0; s < 3; s++) {
        struct one_op op = {.op = "max_pool",
                            .attr = {{.i = pools[s][4]}, {.i = pools[s][5]}, {.i = pools[s][6]}},
                            .num_inputs = 1,
                            .desc = {dg_desc_make(DG_F32, 4, pools[s])}};
        dg_bf16 data[2000];
        struct one_op_result r[4];
        float *random = random_f32("pool", 1, 2000), *out[4];
        for (int i = 0; i < 2000; i++) data[i] = dg_to_bf16(random[i]);
        assert_true(dg_desc_count(&op.desc[0]) <= 2000);
        for (int bf16 = 0; bf16 < 2; bf16++) out[bf16] = max_pool(op, bf16, data, NULL, &r[bf16]);
        int64_t outputs = dg_desc_count(&r[0].desc[0]), inputs = dg_desc_count(&op.desc[0]);
        assert_memory_equal(out[0], out[1], (size_t)outputs * sizeof(float));

        struct one_op grad = {.op = "max_pool_grad",
                              .attr = {op.attr[0], op.attr[1], op.attr[2], {.i = pools[s][1]}, {.i = pools[s][2]}},
                              .num_inputs = 2,
                              .desc = {r[0].desc[0], r[0].desc[1]}};
        for (int bf16 = 0; bf16 < 2; bf16++) out[2 + bf16] = max_pool(grad, bf16, data, r[1].data[1], &r[2 + bf16]);
        double want[2000];
        for (int64_t i = 0; i < inputs; i++) want[i] = (double)out[2][i];
        assert_near(out[3], want, inputs, 2 * BF16_ROUNDING, "diff_src");
        free(random);
        for (int i = 0; i < 4; i++) {
            one_op_free(&r[i]);
            free(out[i]);
        }
    }
}

static void ref_global(const struct dg_op_call *call, double *const *in, double *out)
{
    const struct dg_desc *src = &call->input[0];
    int64_t pixels = src->dim[1] * src->dim[2], channels = src->dim[3];
    memset(out, 0, (size_t)(src->dim[0] * channels) * sizeof *out);
    for (int64_t i = 0; i < dg_desc_count(src); i++)
        out[i / (pixels * channels) * channels + i % channels] += in[0][i] / (double)pixels;
}

static void ref_relu(const struct dg_op_call *call, double *const *in, double *out)
{
    bool add = call->num_inputs == 2;
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) out[i] = fmax(0, in[0][i] + (add ? in[1][i] : 0));
}

static void ref_concat(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t first = dg_desc_count(&call->input[0]);
    memcpy(out, in[0], (size_t)first * sizeof *out);
    memcpy(out + first, in[1], (size_t)dg_desc_count(&call->input[1]) * sizeof *out);
}

static void test_simple(void **state)
{
    (void)state;
    const struct op_case cases[] = {
        {.op = "global_avg_pool", .num_inputs = 1, .input = {F32(3, 5, 7, 19)}, .reference = ref_global},
        {.op = "relu", .num_inputs = 1, .input = {F32(31, 67)}, .reference = ref_relu},
        {.op = "add_relu", .num_inputs = 2, .input = {F32(9, 7), F32(9, 7)}, .reference = ref_relu},
        {.op = "concat_rows", .num_inputs = 2, .input = {F32(4, 7), F32(3, 7)}, .reference = ref_concat},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct op_case c = cases[i];
        c.tolerance = c.grad_tolerance = 1e-6;
        c.grad_input[0] = c.grad_input[1] = true;
        check_op(&c);
        if (c.reference == ref_global) check_op_bf16(c, 1, 0, 1e-6, BF16_ROUNDING);
        if (!strcmp(c.op, "relu")) check_op_bf16(c, 1, 1, 0, 1e-6);
        for (unsigned half = 0; half < 8 && !strcmp(c.op, "add_relu"); half++)
            check_op_bf16(c, half & 3, half >> 2, half >> 2 ? BF16_ROUNDING : 1e-6, 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv2d),     cmocka_unit_test(test_conv2d_refuses),
        cmocka_unit_test(test_batch_norm), cmocka_unit_test(test_batch_norm_offset),
        cmocka_unit_test(test_pool),       cmocka_unit_test(test_batch_norm_running),
        cmocka_unit_test(test_simple),     cmocka_unit_test(test_max_pool_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Every differentiable op of the networks: forward against a plain reference, gradients against finite differences. */
#include "ops/kernels/attention.h"
#include "ops/kernels/bf16.h"
#include "ops/kernels/gelu.h"
#include "tests/support/eager.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dg_desc f32(int ndim, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return dg_desc_make(DG_F32, ndim, (int64_t[]){a, b, c, d});
}

static void ref_add(const struct dg_op_call *call, double *const *in, double *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) out[i] = in[0][i] + in[1][i];
}

static void test_add(void **state)
{
    (void)state;
    const struct op_case op = {.op = "add",
                               .num_inputs = 2,
                               .input = {f32(2, 7, 13, 0, 0), f32(2, 7, 13, 0, 0)},
                               .reference = ref_add,
                               .tolerance = 1e-6,
                               .grad_tolerance = 1e-6,
                               .grad_input = {true, true}};
    check_op(&op);
    /* The residual stream, f32, and what is added to it; and all that may be bf16. */
    for (unsigned half = 0; half < 8; half++)
        check_op_bf16(op, half & 3, half >> 2, half >> 2 ? BF16_ROUNDING : 1e-6, 1e-6);
}

static void ref_linear(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t rows = dg_desc_rows(&call->input[0]), n = call->input[1].dim[0], k = call->input[1].dim[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < n; o++) {
            double sum = call->num_inputs > 2 ? in[2][o] : 0;
            for (int64_t c = 0; c < k; c++) sum += in[0][r * k + c] * in[1][o * k + c];
            out[r * n + o] = sum;
        }
}

static void test_linear(void **state)
{
    (void)state;
    /* The last two pack their weights. */
    static const int64_t shapes[][4] = {{3, 5, 17, 11}, {1, 1, 7, 3}, {5, 37, 48, 31}, {5, 37, 48, 32}};
    for (int s = 0; s < 4; s++)
        for (int bias = 0; bias < 2; bias++) {
            const struct op_case op = {.op = "linear",
                                       .attr = {{.i = shapes[s][3]}, {.i = bias}},
                                       .num_inputs = 1,
                                       .input = {f32(3, shapes[s][0], shapes[s][1], shapes[s][2], 0)},
                                       .reference = ref_linear,
                                       .tolerance = 2e-6,
                                       .grad_tolerance = 1e-5,
                                       .grad_input = {true}};
            check_op(&op);
            for (unsigned half = 0; half < 4; half++) /* src, dst */
                check_op_bf16(op, half & 1, half >> 1, half & 2 ? BF16_ROUNDING : 2e-6, BF16_ROUNDING);
        }
}

static void ref_layer_norm(const struct dg_op_call *call, double *const *in, double *out)
{
    const struct dg_desc *src = &call->input[0];
    int64_t rows = dg_desc_rows(src), n = src->dim[src->ndim - 1];
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0, square = 0;
        for (int64_t c = 0; c < n; c++) mean += in[0][r * n + c] / (double)n;
        for (int64_t c = 0; c < n; c++) square += pow(in[0][r * n + c] - mean, 2) / (double)n;
        for (int64_t c = 0; c < n; c++)
            out[r * n + c] = (in[0][r * n + c] - mean) / sqrt(square + call->attr[0].f) * in[1][c] + in[2][c];
    }
}

static void test_layer_norm(void **state)
{
    (void)state;
    const struct op_case op = {.op = "layer_norm",
                               .attr = {{.f = 1e-6}},
                               .num_inputs = 1,
                               .input = {f32(3, 2, 7, 19, 0)},
                               .reference = ref_layer_norm,
                               .tolerance = 2e-6,
                               .grad_tolerance = 2e-5,
                               .grad_input = {true}};
    check_op(&op);
    check_op_bf16(op, 0, 1, BF16_ROUNDING, 2e-5); /* nothing on the way back is rounded */
}

static void ref_gelu(const struct dg_op_call *call, double *const *in, double *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++)
        out[i] = in[0][i] * 0.5 * (1 + erf(in[0][i] / sqrt(2)));
}

static void test_gelu(void **state)
{
    (void)state;
    const struct op_case op = {.op = "gelu",
                               .num_inputs = 1,
                               .input = {f32(2, 31, 67, 0, 0)},
                               .reference = ref_gelu,
                               .tolerance = 2e-7,
                               .grad_tolerance = 1e-6,
                               .grad_input = {true},
                               .input_scale = 6};
    check_op(&op);
    check_op_bf16(op, 1, 1, BF16_ROUNDING, BF16_ROUNDING);
}

/* Both kernels along the line; values far below zero, which a bf16 can tell apart, also relative to themselves. */
static void test_gelu_tails(void **state)
{
    (void)state;
    enum { COUNT = 40000 };
    float *x = malloc(3 * COUNT * sizeof *x), *y = x + COUNT, *ones = y + COUNT;
    assert_non_null(x);
    for (int i = 0; i < COUNT; i++) x[i] = -10 + 20 * (float)i / COUNT, ones[i] = 1;
    dg_gelu_kernels()->forward(COUNT, 0, x, y);
    for (int i = 0; i < COUNT; i++) {
        double v = (double)x[i], want = v * 0.5 * erfc(-v / sqrt(2)), far = fabs((double)y[i] - want);
        if (far > 2e-7 * fmax(1, fabs(want)) || (v > -7 && far > 5e-4 * fabs(want)))
            fail_msg("gelu(%g) is %g, not %g", v, (double)y[i], want);
    }
    dg_gelu_kernels()->backward(COUNT, 0, x, ones, y);
    for (int i = 0; i < COUNT; i++) {
        double v = (double)x[i], want = 0.5 * erfc(-v / sqrt(2)) + v * exp(-v * v / 2) / sqrt(2 * acos(-1));
        if (fabs((double)y[i] - want) > 2.5e-7) fail_msg("its slope at %g is %g, not %g", v, (double)y[i], want);
    }
    float odd[] = {NAN, INFINITY, 3e38f, -3e38f};
    dg_gelu_kernels()->forward(4, 0, odd, y);
    assert_true(isnan(y[0]));
    assert_true(y[1] == odd[1] && y[2] == odd[2] && fabsf(y[3]) < 1e-10f);
    dg_gelu_kernels()->backward(4, 0, odd, ones, y);
    assert_true(isnan(y[0]) && y[2] == 1 && fabsf(y[3]) < 1e-10f);
    free(x);
}

/* Half of the distance between numbers of bf16 at x. */
static double half_ulp(double x)
{
    int exponent;
    frexp(x, &exponent);
    return ldexp(1, exponent - 9);
}

/* Of each finite number of bf16: little more than what rounding the result leaves, down to where the tail is cut off. The
 * slope is 0 near -0.75: there it counts beside 1. */
static void test_gelu_bf16(void **state)
{
    (void)state;
    enum { COUNT = 1 << 16 };
    dg_bf16 *x = malloc(4 * COUNT * sizeof *x), *y = x + COUNT, *slope = y + COUNT, *ones = slope + COUNT;
    assert_non_null(x);
    for (int i = 0; i < COUNT; i++) x[i] = (dg_bf16)i, ones[i] = 0x3f80;
    dg_gelu_kernels()->forward(COUNT, 1, x, y);
    dg_gelu_kernels()->backward(COUNT, 1, x, ones, slope);
    for (int i = 0; i < COUNT; i++) {
        double v = (double)dg_from_bf16(x[i]), phi = 0.5 * erfc(-v / sqrt(2)), want = v * phi;
        if (!isfinite(v) || fabs(v) < 1e-30) continue;
        if (fabs((double)dg_from_bf16(y[i]) - want) > (v > -7 ? 1.15 * half_ulp(want) : 1e-11))
            fail_msg("gelu(%g) is %g, not %g", v, (double)dg_from_bf16(y[i]), want);
        want = phi + v * exp(-v * v / 2) / sqrt(2 * acos(-1));
        if (fabs((double)dg_from_bf16(slope[i]) - want) > half_ulp(want) + 1.2e-4)
            fail_msg("its slope at %g is %g, not %g", v, (double)dg_from_bf16(slope[i]), want);
    }
    free(x);
}

static void ref_softmax(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t rows = dg_desc_rows(&call->input[0]), n = dg_desc_count(&call->input[0]) / rows;
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t c = 0; c < n; c++) sum += exp(in[0][r * n + c]);
        for (int64_t c = 0; c < n; c++) out[r * n + c] = exp(in[0][r * n + c]) / sum;
    }
}

static void test_softmax(void **state)
{
    (void)state;
    check_op(&(struct op_case){.op = "softmax",
                               .num_inputs = 1,
                               .input = {f32(2, 11, 29, 0, 0)},
                               .reference = ref_softmax,
                               .tolerance = 1e-6,
                               .grad_tolerance = 1e-5,
                               .grad_input = {true},
                               .input_scale = 3});
}

static void ref_attention(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t images = call->input[0].dim[0], t = call->input[0].dim[1], d = call->input[0].dim[2] / 3;
    int64_t heads = call->attr[0].i, w = d / heads, query = call->attr[1].i;
    double *p = malloc((size_t)t * sizeof *p);
    for (int64_t image = 0; image < images; image++)
        for (int64_t head = 0; head < heads; head++)
            for (int64_t i = query < 0 ? 0 : query; i < (query < 0 ? t : query + 1); i++) {
                double *y = out + (query < 0 ? image * t + i : image) * d + head * w;
                const double *q = in[0] + (image * t + i) * 3 * d + head * w;
                double sum = 0;
                for (int64_t j = 0; j < t; j++) {
                    const double *k = in[0] + (image * t + j) * 3 * d + d + head * w;
                    double s = 0;
                    for (int64_t c = 0; c < w; c++) s += q[c] * k[c];
                    p[j] = exp(s / sqrt((double)w));
                    sum += p[j];
                }
                for (int64_t c = 0; c < w; c++) {
                    y[c] = 0;
                    for (int64_t j = 0; j < t; j++)
                        y[c] += p[j] / sum * in[0][(image * t + j) * 3 * d + 2 * d + head * w + c];
                }
            }
    free(p);
}

enum { EVERY = -1 }; /* query */

static void test_attention(void **state)
{
    (void)state;
    /* Images, tokens, heads, width of a head, query. More tokens than a block of rows: the keys' and values' gradients collect
     * over blocks. Wider than a tile, and more than a chunk of the backward. */
    static const int64_t shapes[][5] = {{2, 13, 3, 5, EVERY},  {2, 13, 3, 6, EVERY},  {1, 211, 1, 4, EVERY},
                                        {2, 37, 2, 40, EVERY}, {1, 397, 1, 1, EVERY}, {1, 397, 1, 2, EVERY},
                                        {1, 1, 1, 2, EVERY},   {2, 13, 3, 5, 0},      {2, 13, 3, 5, 12},
                                        {2, 13, 3, 6, 0},      {1, 211, 1, 4, 100},   {1, 211, 1, 4, 210},
                                        {2, 37, 2, 40, 5},     {2, 37, 2, 40, 36},    {1, 1, 1, 1, 0}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const int64_t *at = shapes[s];
        struct op_case op = {.op = "attention",
                             .attr = {{.i = at[2]}, {.i = at[4]}},
                             .num_inputs = 1,
                             .input = {f32(3, at[0], at[1], 3 * at[2] * at[3], 0)},
                             .reference = ref_attention,
                             .tolerance = 2e-6,
                             .grad_tolerance = at[2] == 3 ? 1e-5 : 2e-5,
                             .grad_input = {true}};
        /* Probabilities and their gradients are rounded before products; the result is rounded again. */
        if (at[3] % 2 == 0) check_op_bf16(op, 1, 1, 2 * BF16_ROUNDING, 4 * BF16_ROUNDING);
        op.input_scale = at[2] == 3 ? 2 : 1;
        check_op(&op);
    }
}

/* The projection, then attention. */
static void ref_class_attention(const struct dg_op_call *call, double *const *in, double *out)
{
    const struct dg_desc *src = &call->input[0], *weight = &call->input[1];
    int64_t rows = src->dim[0] * src->dim[1], cols = src->dim[2], wide = weight->dim[0];
    double *projection = malloc((size_t)(rows * wide) * sizeof *projection);
    assert_non_null(projection);
    for (int64_t i = 0; i < rows * wide; i++) {
        projection[i] = in[2] ? in[2][i % wide] : 0;
        for (int64_t c = 0; c < cols; c++) projection[i] += in[0][i / wide * cols + c] * in[1][i % wide * cols + c];
    }
    struct dg_desc projected = dg_desc_make(DG_F32, 3, (int64_t[]){src->dim[0], src->dim[1], wide});
    struct dg_op_call attention = {.attr = call->attr, .num_inputs = 1, .input = &projected};
    ref_attention(&attention, (double *const[]){projection}, out);
    free(projection);
}

static void test_class_attention(void **state)
{
    (void)state;
    /* Images, tokens, width of the input, heads, width of a head, query; more images than are taken at a time. */
    static const int64_t shapes[][6] = {
        {2, 13, 12, 3, 4, 0}, {3, 5, 7, 2, 9, 4}, {70, 3, 8, 2, 4, 1}, {1, 1, 4, 1, 4, 0}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int bias = 0; bias < 2; bias++) {
            const int64_t *at = shapes[s], dim = at[3] * at[4];
            struct op_case op = {.op = "class_attention",
                                 .attr = {{.i = at[3]}, {.i = at[5]}},
                                 .num_inputs = 3,
                                 .input = {f32(3, at[0], at[1], at[2], 0), f32(2, 3 * dim, at[2], 0, 0),
                                           bias ? f32(1, 3 * dim, 0, 0, 0) : DG_ABSENT_DESC},
                                 .reference = ref_class_attention,
                                 .tolerance = 4e-6,
                                 .grad_tolerance = 2e-5,
                                 .grad_input = {true, true, bias}};
            check_op_bf16(op, 1, 1, 2 * BF16_ROUNDING, 4 * BF16_ROUNDING);
            check_op(&op);
        }
}

/* What the backward goes by: of scores that are all 0, the logarithm of how many there are; of a NaN a NaN. */
static void test_attention_log_sum(void **state)
{
    (void)state;
    enum { MOST = 300 };
    float q = 0, k[MOST], dst, lse, *scratch = malloc((size_t)dg_attention_kernels()->scratch(MOST, 1).forward);
    struct dg_attention_head head = {
        .queries = 1, .width = 1, .q = &q, .k = k, .v = k, .ld = 1, .ld_dst = 1, .scale = 1};
    assert_non_null(scratch);
    for (int i = 0; i < MOST; i++) k[i] = 1;
    for (int n = 1; n <= MOST; n++) {
        head.tokens = n;
        dg_attention_kernels()->forward(&head, &dst, NULL, &lse, scratch);
        if (fabs((double)lse - log(n)) > 1.5e-7 * log(n)) fail_msg("ln %d is %.9g, not %.9g", n, (double)lse, log(n));
    }
    k[7] = NAN;
    dg_attention_kernels()->forward(&head, &dst, NULL, &lse, scratch);
    assert_true(isnan(lse) && isnan(dst));
    free(scratch);
}

static void ref_to_tokens(const struct dg_op_call *call, double *const *in, double *out)
{
    memcpy(out, in[0], (size_t)dg_desc_count(&call->input[0]) * sizeof *out);
}

static void ref_prepend(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t t = call->input[0].dim[1], d = call->input[0].dim[2];
    for (int64_t n = 0; n < call->input[0].dim[0]; n++)
        for (int64_t i = 0; i < (t + 1) * d; i++)
            out[n * (t + 1) * d + i] = i < d ? in[1][i] : in[0][n * t * d + i - d];
}

static void ref_take(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t t = call->input[0].dim[1], d = call->input[0].dim[2];
    for (int64_t n = 0; n < call->input[0].dim[0]; n++)
        memcpy(out + n * d, in[0] + (n * t + call->attr[0].i) * d, (size_t)d * sizeof *out);
}

static void test_tokens(void **state)
{
    (void)state;
    check_op(&(struct op_case){.op = "to_tokens",
                               .num_inputs = 1,
                               .input = {f32(4, 2, 3, 5, 7)},
                               .reference = ref_to_tokens,
                               .grad_tolerance = 1e-6,
                               .grad_input = {true}});
    check_op(&(struct op_case){.op = "prepend_token",
                               .num_inputs = 2,
                               .input = {f32(3, 3, 5, 7, 0), f32(3, 1, 1, 7, 0)},
                               .reference = ref_prepend,
                               .grad_tolerance = 1e-6,
                               .grad_input = {true, true}});
    check_op(&(struct op_case){.op = "take_token",
                               .attr = {{.i = 2}},
                               .num_inputs = 1,
                               .input = {f32(3, 3, 5, 7, 0)},
                               .reference = ref_take,
                               .grad_tolerance = 1e-6,
                               .grad_input = {true}});
}

static double cubic(double x)
{
    const double a = -0.75;
    x = fabs(x);
    if (x <= 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
    return x < 2 ? a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a : 0;
}

/* The official interpolate_pos_encoding (PyTorch's bicubic interpolation), written the long way round: over all taps of
 * the table. */
static void ref_position(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t images = call->input[0].dim[0], t = call->input[0].dim[1], d = call->input[0].dim[2];
    int64_t h = call->attr[1].i, w = call->attr[2].i, g = (int64_t)lround(sqrt((double)(call->input[1].dim[1] - 1)));
    for (int64_t n = 0; n < images; n++)
        for (int64_t i = 0; i < t * d; i++) {
            int64_t token = i / d, c = i % d;
            double add = 0;
            if (!token || (h == g && w == g)) {
                add = in[1][i];
            } else {
                double y = (double)(float)((double)g / ((double)h + 0.1)) * ((double)((token - 1) / w) + 0.5) - 0.5;
                double x = (double)(float)((double)g / ((double)w + 0.1)) * ((double)((token - 1) % w) + 0.5) - 0.5;
                for (int64_t ty = (int64_t)floor(y) - 1; ty <= (int64_t)floor(y) + 2; ty++)
                    for (int64_t tx = (int64_t)floor(x) - 1; tx <= (int64_t)floor(x) + 2; tx++) {
                        int64_t cy = ty < 0 ? 0 : ty >= g ? g - 1 : ty, cx = tx < 0 ? 0 : tx >= g ? g - 1 : tx;
                        add += cubic(y - (double)ty) * cubic(x - (double)tx) * in[1][(1 + cy * g + cx) * d + c];
                    }
            }
            out[n * t * d + i] = in[0][n * t * d + i] + add;
        }
}

static void test_position(void **state)
{
    (void)state;
    static const int64_t grids[][2] = {{5, 5}, {3, 3}, {7, 4}};
    for (int g = 0; g < 3; g++)
        check_op(&(struct op_case){.op = "add_position",
                                   .attr = {{0}, {.i = grids[g][0]}, {.i = grids[g][1]}},
                                   .num_inputs = 2,
                                   .input = {f32(3, 2, 1 + grids[g][0] * grids[g][1], 3, 0), f32(3, 1, 26, 3, 0)},
                                   .reference = ref_position,
                                   .tolerance = 2e-6,
                                   .grad_tolerance = 1e-5,
                                   .grad_input = {true, true}});
}

static void ref_l2(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t rows = call->input[0].dim[0], n = call->input[0].dim[1];
    for (int64_t r = 0; r < rows; r++) {
        double square = 0;
        for (int64_t c = 0; c < n; c++) square += in[0][r * n + c] * in[0][r * n + c];
        for (int64_t c = 0; c < n; c++) out[r * n + c] = in[0][r * n + c] / fmax(sqrt(square), call->attr[0].f);
    }
}

static void test_l2_normalize(void **state)
{
    (void)state;
    check_op(&(struct op_case){.op = "l2_normalize",
                               .attr = {{.f = 1e-12}},
                               .num_inputs = 1,
                               .input = {f32(2, 5, 23, 0, 0)},
                               .reference = ref_l2,
                               .tolerance = 1e-6,
                               .grad_tolerance = 1e-5,
                               .grad_input = {true}});
}

static void ref_weight_norm(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t rows = call->input[0].dim[0], d = call->input[0].dim[1], k = call->attr[0].i;
    for (int64_t o = 0; o < k; o++) {
        double square = 0;
        for (int64_t c = 0; c < d; c++) square += in[2][o * d + c] * in[2][o * d + c];
        for (int64_t r = 0; r < rows; r++) {
            double sum = 0;
            for (int64_t c = 0; c < d; c++) sum += in[0][r * d + c] * in[2][o * d + c];
            out[r * k + o] = sum * in[1][o] / sqrt(square);
        }
    }
}

static void test_weight_norm_linear(void **state)
{
    (void)state;
    for (int train_g = 0; train_g < 2; train_g++)
        check_op(&(struct op_case){.op = "weight_norm_linear",
                                   .attr = {{.i = 601}, {.i = train_g}}, /* three blocks of prototypes */
                                   .num_inputs = 1,
                                   .input = {f32(2, 5, 13, 0, 0)},
                                   .reference = ref_weight_norm,
                                   .tolerance = 2e-6,
                                   .grad_tolerance = 2e-5,
                                   .grad_input = {true}});
}

static void ref_mean_tokens(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t images = call->input[0].dim[0], t = call->input[0].dim[1], d = call->input[0].dim[2], f = call->attr[0].i;
    for (int64_t n = 0; n < images; n++)
        for (int64_t c = 0; c < d; c++) {
            double sum = 0;
            for (int64_t i = f; i < t; i++) sum += in[0][(n * t + i) * d + c];
            out[n * d + c] = sum / (double)(t - f);
        }
}

static void test_mean_tokens(void **state)
{
    (void)state;
    for (int first = 0; first < 3; first++)
        check_op(&(struct op_case){.op = "mean_tokens",
                                   .attr = {{.i = first}},
                                   .num_inputs = 1,
                                   .input = {f32(3, 3, 7, 13, 0)},
                                   .reference = ref_mean_tokens,
                                   .tolerance = 1e-6,
                                   .grad_tolerance = 1e-6,
                                   .grad_input = {true}});
}

/* Column k of part i is column k * parts + i of the whole where columns are interleaved. */
static void ref_concat_columns(const struct dg_op_call *call, double *const *in, double *out)
{
    int64_t rows = call->input[0].dim[0], all = 0, before = 0;
    for (int i = 0; i < call->num_inputs; i++) all += call->input[i].dim[1];
    for (int i = 0; i < call->num_inputs; i++) {
        int64_t cols = call->input[i].dim[1];
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0; k < cols; k++)
                out[r * all + (call->attr[0].i ? k * call->num_inputs + i : before + k)] = in[i][r * cols + k];
        before += cols;
    }
}

static void test_concat_columns(void **state)
{
    (void)state;
    for (int parts = 1; parts <= 3; parts++)
        for (int interleave = 0; interleave < 2; interleave++)
            check_op(&(struct op_case){
                .op = "concat_columns",
                .attr = {{.i = interleave}},
                .num_inputs = parts,
                .input = {f32(2, 5, 11, 0, 0), f32(2, 5, interleave ? 11 : 3, 0, 0), f32(2, 5, 11, 0, 0)},
                .reference = ref_concat_columns,
                .tolerance = 0,
                .grad_tolerance = 1e-6,
                .grad_input = {true, true, true}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_gelu),
        cmocka_unit_test(test_gelu_tails),
        cmocka_unit_test(test_gelu_bf16),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_log_sum),
        cmocka_unit_test(test_class_attention),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_position),
        cmocka_unit_test(test_l2_normalize),
        cmocka_unit_test(test_weight_norm_linear),
        cmocka_unit_test(test_mean_tokens),
        cmocka_unit_test(test_concat_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

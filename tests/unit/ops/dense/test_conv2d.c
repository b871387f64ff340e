/* conv2d and its gradients at odd sizes, strides, borders, groups and dilations, against sums over all taps. */
#include "tests/support/op_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct shape {
    int64_t images, height, width, channels, out_height, out_width, out;
    int64_t kernel, stride, pad, groups, dilation, per_group; /* input channels */
};

static int64_t out_size(int64_t in, const struct shape *s)
{
    return (in + 2 * s->pad - s->dilation * (s->kernel - 1) - 1) / s->stride + 1;
}

static struct shape shape_of(const struct dg_op_call *call, const struct dg_desc *src)
{
    struct shape s = {.images = src->dim[0],
                      .height = src->dim[1],
                      .width = src->dim[2],
                      .channels = src->dim[3],
                      .out = (int64_t)attr_of(call, "out"),
                      .kernel = (int64_t)attr_of(call, "kernel"),
                      .stride = (int64_t)attr_of(call, "stride"),
                      .pad = (int64_t)attr_of(call, "pad"),
                      .groups = (int64_t)attr_of(call, "groups"),
                      .dilation = (int64_t)attr_of(call, "dilation")};
    s.per_group = s.channels / s.groups;
    s.out_height = out_size(s.height, &s);
    s.out_width = out_size(s.width, &s);
    return s;
}

enum sums { DST, SRC, WEIGHT };

/* The window of one output: each product of an element of src, of the weight and of dst. `sum` is the one named, a and b are the
 * other two, in this order: src, weight, dst. src and weight begin at the pixel (y, x) and the channel that the window does. */
static inline void add_window(const struct shape *s, enum sums sums, int64_t y, int64_t x, const double *a,
                              const double *b, double *sum)
{
    for (int64_t ky = 0; ky < s->kernel; ky++)
        for (int64_t kx = 0; kx < s->kernel; kx++) {
            int64_t iy = y + ky * s->dilation, ix = x + kx * s->dilation;
            if (iy < 0 || ix < 0 || iy >= s->height || ix >= s->width) continue;
            int64_t src = (iy * s->width + ix) * s->channels, weight = ky * s->kernel + kx;
            for (int64_t c = 0; c < s->per_group; c++, src++, weight += s->kernel * s->kernel) {
                if (sums == DST)
                    *sum += a[src] * b[weight];
                else if (sums == SRC)
                    sum[src] += a[weight] * *b;
                else
                    sum[weight] += a[src] * *b;
            }
        }
}

static inline void add_windows(const struct shape *s, enum sums sums, const double *a, const double *b, double *sum)
{
    int64_t dst = 0, image = s->height * s->width * s->channels;
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t y = 0; y < s->out_height; y++)
            for (int64_t x = 0; x < s->out_width; x++)
                for (int64_t o = 0; o < s->out; o++, dst++) {
                    int64_t src = n * image + o / (s->out / s->groups) * s->per_group;
                    int64_t weight = o * s->per_group * s->kernel * s->kernel;
                    int64_t at[] = {[DST] = dst, [SRC] = src, [WEIGHT] = weight};
                    add_window(s, sums, y * s->stride - s->pad, x * s->stride - s->pad,
                               a + at[sums == SRC ? WEIGHT : SRC], b + at[sums == DST ? WEIGHT : DST], sum + at[sums]);
                }
}

static void ref_conv2d(const struct dg_op_call *call, double *const *in, double *const *out)
{
    struct shape s = shape_of(call, &call->input[0]);
    bool bias = attr_of(call, "bias") != 0;
    for (int64_t i = 0; i < dg_desc_count(&call->output[0]); i++) out[0][i] = bias ? in[2][i % s.out] : 0;
    add_windows(&s, DST, in[0], in[1], out[0]);
}

static void ref_grad_src(const struct dg_op_call *call, double *const *in, double *const *out)
{
    struct shape s = shape_of(call, &call->output[0]);
    memset(out[0], 0, (size_t)dg_desc_count(&call->output[0]) * sizeof *out[0]);
    add_windows(&s, SRC, in[1], in[0], out[0]);
}

static void ref_grad_weights(const struct dg_op_call *call, double *const *in, double *const *out)
{
    struct shape s = shape_of(call, &call->input[0]);
    int64_t count = dg_desc_count(&call->output[0]);
    for (int64_t i = 0; i < count; i++) out[0][i] = in[2] ? in[2][i] : 0;
    add_windows(&s, WEIGHT, in[0], in[1], out[0]);
    for (int64_t o = 0; o < s.out; o++) out[1][o] = in[3] ? in[3][o] : 0;
    for (int64_t i = 0; i < dg_desc_count(&call->input[1]); i++) out[1][i % s.out] += in[1][i];
}

#define GEOMETRY(n, k, stride, pad, groups, dilation)                                                                  \
    ATTR("out", n), ATTR("kernel", k), ATTR("stride", stride), ATTR("pad", pad), ATTR("groups", groups),               \
        ATTR("dilation", dilation)

#define CONV_BIAS(a, h, w, c, n, k, s, p, g, d, with_bias)                                                             \
    {                                                                                                                  \
        .op = "conv2d", .modes = OP_VALUE | OP_GRADIENT | OP_BF16,                                                     \
        .attrs = {GEOMETRY(n, k, s, p, g, d), ATTR("bias", with_bias)}, .input = {IN("src", a, h, w, c)},              \
        .reference = ref_conv2d, .grad = {true}, .f32 = F32_SUM((k) * (k) * (c) / (g)),                                \
        .f32_grad = F32_SUM(LARGER((a) * (h) * (w) / ((s) * (s)), (k) * (k) * (n) / (g))), .bf16_grad = 1              \
    }
#define CONV(...) CONV_BIAS(__VA_ARGS__, 0), CONV_BIAS(__VA_ARGS__, 1)

/* By patches of 2 x 2 outputs (winograd.h), which takes 256 of them. */
#define PATCHES(pad, with_bias)                                                                                        \
    {                                                                                                                  \
        .op = "conv2d", .modes = OP_VALUE, .attrs = {GEOMETRY(64, 3, 1, pad, 1, 1), ATTR("bias", with_bias)},          \
        .input = {IN("src", 2, 15, 13, 32)}, .reference = ref_conv2d, .f32 = F32_SUM(9 * 32)                           \
    }
#define PATCHES_GRAD_SRC(pad)                                                                                          \
    {                                                                                                                  \
        .op = "conv2d_grad_src", .modes = OP_VALUE,                                                                    \
        .attrs = {GEOMETRY(64, 3, 1, pad, 1, 1), ATTR("height", 15), ATTR("width", 13)},                               \
        .input = {IN("diff_dst", 2, 13 + 2 * (pad), 11 + 2 * (pad), 64), IN("weight", 64, 32, 3, 3)},                  \
        .reference = ref_grad_src, .f32 = F32_SUM(9 * 64)                                                              \
    }

/* Of images of 4 by 5 pixels and 6 channels, 8 after it; dst is 2 by 3. */
#define BACKWARD GEOMETRY(8, 3, 2, 1, 2, 1)

static const struct op_case cases[] = {
    CONV(2, 12, 8, 3, /**/ 7, 4, 4, 0, 1, 1),    /* patches */
    CONV(3, 5, 7, 6, /**/ 9, 1, 1, 0, 1, 1),     /* pixels */
    CONV(2, 7, 9, 16, /**/ 24, 1, 2, 0, 1, 1),   /* the shortcut of a stage */
    CONV(2, 9, 12, 6, /**/ 5, 2, 3, 0, 1, 1),    /* patches with pixels between them, some left over */
    CONV(1, 9, 12, 4, /**/ 5, 2, 3, 0, 1, 2),    /* too wide to be patches */
    CONV(1, 9, 7, 5, /**/ 3, 3, 1, 1, 1, 1),     /* odd all over */
    CONV(2, 11, 8, 16, /**/ 32, 3, 2, 1, 1, 1),  /* a stage's first 3x3 */
    CONV(2, 9, 7, 40, /**/ 13, 3, 2, 1, 1, 1),   /* the same of a full and a narrow panel of channels */
    CONV(3, 4, 3, 32, /**/ 20, 3, 1, 1, 1, 1),   /* on images of a few pixels */
    CONV(2, 17, 15, 3, /**/ 16, 7, 2, 3, 1, 1),  /* the stem */
    CONV(1, 10, 12, 8, /**/ 12, 3, 1, 2, 1, 2),  /* dilated */
    CONV(2, 6, 6, 8, /**/ 12, 3, 1, 1, 4, 1),    /* grouped */
    CONV(1, 8, 9, 32, /**/ 32, 3, 2, 1, 32, 1),  /* depthwise */
    CONV(1, 11, 13, 16, /**/ 32, 3, 2, 0, 2, 1), /* grouped, what is left of the border unread */
    PATCHES(1, 1),
    PATCHES(0, 0),
    PATCHES(2, 1),
    PATCHES_GRAD_SRC(0),
    PATCHES_GRAD_SRC(1),
    PATCHES_GRAD_SRC(2),
    {.op = "conv2d_grad_weights",
     .modes = OP_VALUE,
     .attrs = {GEOMETRY(64, 3, 1, 1, 1, 1)},
     .input = {IN("src", 2, 15, 13, 32), IN("diff_dst", 2, 15, 13, 64), IN("acc_weight", 64, 32, 3, 3),
               IN("acc_bias", 64)},
     .reference = ref_grad_weights,
     .outputs = 2,
     .f32 = F32_SUM(2 * 15 * 13)},
    {.op = "conv2d_grad_src",
     .modes = OP_VALUE | OP_BF16,
     .attrs = {BACKWARD, ATTR("height", 4), ATTR("width", 5)},
     .input = {IN("diff_dst", 2, 2, 3, 8), IN("weight", 8, 3, 3, 3)},
     .reference = ref_grad_src,
     .f32 = F32_SUM(3 * 3 * 8 / 2)},
    {.op = "conv2d_grad_weights",
     .modes = OP_VALUE | OP_BF16,
     .attrs = {BACKWARD},
     .input = {IN("src", 2, 4, 5, 6), IN("diff_dst", 2, 2, 3, 8), IN("acc_weight", 8, 3, 3, 3), IN("acc_bias", 8)},
     .reference = ref_grad_weights,
     .outputs = 2,
     .f32 = F32_SUM(2 * 2 * 3)},
    {.op = "conv2d_grad_weights",
     .modes = OP_VALUE | OP_BF16,
     .attrs = {BACKWARD},
     .input = {IN("src", 2, 4, 5, 6), IN("diff_dst", 2, 2, 3, 8)},
     .reference = ref_grad_weights,
     .outputs = 2,
     .f32 = F32_SUM(2 * 2 * 3)},
};

static void test_refuses(void **state)
{
    (void)state;
    struct op_run op = {.op = "conv2d",
                        .attrs = {GEOMETRY(4, 5, 1, 0, 1, 1)},
                        .input = {{"src", F32(1, 4, 9, 3)}, {"weight", F32(4, 3, 5, 5)}}};
    op_refused(&op, "a window of 5 pixels does not fit into height 4 with pad 0");
    op_set_attr(&op, "pad", 5);
    op_refused(&op, "pad 5: some windows of 5 pixels would see nothing but zeros");
    op_set_attr(&op, "pad", 0);
    op_set_attr(&op, "stride", 5);
    op_input(&op, "src")->desc.dim[1] = 10;
    op_refused(&op, "kernel 5 does not divide width 9");
}

/* With an addend and a ReLU dst is max(0, what it is without them + addend), in every mixture of types, in place and not. */
static void check_addend(int64_t kernel, int64_t stride, int64_t channels, int64_t out_channels, int form)
{
    enum { HEIGHT = 12, WIDTH = 12 };
    bool bf16 = form & 1, in_place = form & 2, other_type = form & 4, relu = form & 8, one_type = !bf16 || !other_type;
    int64_t pad = kernel > stride ? 1 : 0, out[] = {2, HEIGHT / stride, WIDTH / stride, out_channels};
    struct op_run run = {.op = "conv2d",
                         .attrs = {GEOMETRY(out_channels, kernel, stride, pad, 1, 1), ATTR("bias", 1)},
                         .bf16 = bf16,
                         .f32_outputs = 1};
    struct dg_desc addend_desc = dg_desc_make(DG_F32, 4, out);
    int64_t count = dg_desc_count(&addend_desc);
    struct two_types src = random_two_types("src", 1, 2 * HEIGHT * WIDTH * channels),
                     weight = random_two_types("weight", 1, out_channels * channels * kernel * kernel),
                     bias = random_two_types("bias", 1, out_channels), addend = random_two_types("addend", 9, count);
    run.input[0] = tensor_of("src", F32(2, HEIGHT, WIDTH, channels), &src, bf16);
    run.input[1] = tensor_of("weight", F32(out_channels, channels, kernel, kernel), &weight, false);
    run.input[2] = tensor_of("bias", F32(out_channels), &bias, false);
    struct op_result plain = op_run(&run);
    bool addend_bf16 = bf16 && !(other_type && relu), dst_bf16 = one_type ? addend_bf16 : !addend_bf16;
    run.input[3] = tensor_of("addend", addend_desc, &addend, addend_bf16);
    run.f32_outputs = !dst_bf16;
    run.in_place = in_place;
    op_set_attr(&run, "relu", relu);
    struct op_result sum = op_run(&run);
    float *got = malloc((size_t)count * sizeof *got);
    double *want = malloc((size_t)count * sizeof *want);
    assert_true(got && want);
    for (int64_t i = 0; i < count; i++) {
        double exact = op_element(&plain.desc[0], plain.data[0], i) + (double)addend.f32[i];
        want[i] = relu && exact < 0 ? 0 : exact;
        got[i] = (float)op_element(&sum.desc[0], sum.data[0], i);
    }
    assert_near(got, want, count, F32_SUM(9 * channels) + (dst_bf16 ? BF16_ROUNDING : 0), "conv2d with an addend");
    free(got);
    free(want);
    struct two_types *numbers[] = {&src, &weight, &bias, &addend};
    for (int i = 0; i < 4; i++) free_two_types(numbers[i]);
    op_result_free(&plain);
    op_result_free(&sum);
}

static void test_addend(void **state)
{
    (void)state;
    for (int form = 0; form < 16; form++) {
        check_addend(3, 1, 20, 24, form);
        check_addend(3, 1, 32, 64, form); /* by patches, where it is in f32 */
        check_addend(3, 2, 20, 24, form);
        check_addend(1, 1, 20, 24, form); /* a product of the pixels */
        check_addend(1, 2, 20, 24, form); /* the same of every other pixel */
    }
}

static const struct op_test tests[] = {OP_TEST("conv2d", 0, test_refuses), OP_TEST("conv2d", 0, test_addend)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

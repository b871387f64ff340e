/* Ops that the compiler makes of two: they make what the two make, one after the other. */
#include "ops/kernels/bf16.h"
#include "tests/support/one_op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IMAGES = 24, TOKENS = 3, WIDTH = 37, ROWS = IMAGES * TOKENS, COUNT = ROWS * WIDTH };

/* Numbers that bf16 has, in both types. */
struct both {
    float *wide;
    dg_bf16 *half;
};

static struct both rounded(const char *name, double scale)
{
    struct both x = {random_f32(name, scale, COUNT), malloc(COUNT * sizeof(dg_bf16))};
    assert_non_null(x.half);
    for (int i = 0; i < COUNT; i++) {
        x.half[i] = dg_to_bf16(x.wide[i]);
        x.wide[i] = dg_from_bf16(x.half[i]);
    }
    return x;
}

static void free_both(struct both *x)
{
    free(x->wide);
    free(x->half);
}

static struct dg_desc typed(struct dg_desc desc, bool half)
{
    if (half) desc.dtype = DG_BF16;
    return desc;
}

static void same(const struct one_op_result *got, int o, const struct one_op_result *want, int w)
{
    assert_true(dg_desc_equal(&got->desc[o], &want->desc[w]));
    assert_memory_equal(got->data[o], want->data[w], (size_t)dg_desc_bytes(&want->desc[w]));
}

/* To the bit: with drop path and without, types mixed, results in new places and in those of the inputs, with the norm's
 * statistics and without. */
static void test_add_layer_norm(void **state)
{
    (void)state;
    struct both src = rounded("src", 1), residual = rounded("residual", 2);
    float *weight = random_f32("weight", 1, WIDTH), *bias = random_f32("bias", 1, WIDTH);
    struct dg_desc desc = F32(IMAGES, TOKENS, WIDTH), vector = F32(WIDTH);
    for (int form = 0; form < 64; form++) {
        bool bf16 = form & 1, drops = form & 2, in_place = form & 4, statistics = form & 8;
        bool src_half = bf16 && form & 16, residual_half = bf16 && form & 32;
        struct one_op add = {.op = drops ? "drop_path_add" : "add",
                             .attr = {{.f = 0.4}},
                             .num_inputs = 2,
                             .desc = {desc, desc},
                             .data = {src.wide, residual.wide},
                             .stream = 99,
                             .view0 = 2,
                             .batch = 8,
                             .step = {.seed = 5, .step = 4}};
        struct one_op_result sum = one_op_run(&add);
        struct one_op norm = {.op = "layer_norm",
                              .attr = {{.f = 1e-5}},
                              .num_inputs = 3,
                              .desc = {desc, vector, vector},
                              .data = {sum.data[0], weight, bias},
                              .bf16 = bf16};
        struct one_op_result want = one_op_run(&norm);
        struct one_op joined = add;
        joined.op = "add_layer_norm";
        joined.attr[0].f = drops ? 0.4 : 0;
        joined.attr[1].f = 1e-5;
        joined.num_inputs = 6;
        joined.desc[4] = joined.desc[5] = DG_ABSENT_DESC;
        if (src_half) joined.data[0] = src.half;
        if (residual_half) joined.data[1] = residual.half;
        joined.desc[0] = typed(desc, src_half);
        joined.desc[1] = typed(desc, residual_half);
        for (int i = 0; i < 2; i++) {
            joined.desc[2 + i] = vector;
            joined.data[2 + i] = i ? bias : weight;
        }
        joined.bf16 = bf16;
        joined.in_place = in_place;
        joined.unwanted = statistics ? 0 : 12;
        struct one_op_result got = one_op_run(&joined);
        same(&got, 0, &sum, 0);
        same(&got, 1, &want, 0);
        for (int o = 1; o < 3 && statistics; o++) same(&got, 1 + o, &want, o);
        one_op_free(&sum);
        one_op_free(&want);
        one_op_free(&got);
    }
    free_both(&src);
    free_both(&residual);
    free(weight);
    free(bias);
}

/* GELU's gradient to the bit; its column sums as f64 has them, of numbers that are not yet rounded where they are
 * stored so. */
static void test_gelu_grad_sums(void **state)
{
    (void)state;
    struct both src = rounded("src", 3), diff = rounded("diff", 1);
    float *acc = random_f32("acc", 1, WIDTH);
    struct dg_desc desc = F32(IMAGES, TOKENS, WIDTH);
    struct one_op wide = {.op = "gelu_grad", .num_inputs = 2, .desc = {desc, desc}, .data = {src.wide, diff.wide}};
    struct one_op_result exact = one_op_run(&wide);
    for (int form = 0; form < 16; form++) {
        bool half = form & 1, in_place = form & 2, adds = form & 4;
        int threads = form & 8 ? 3 : 1;
        struct one_op one = {.op = "gelu_grad",
                             .num_inputs = 2,
                             .desc = {typed(desc, half), typed(desc, half)},
                             .data = {half ? (void *)src.half : src.wide, half ? (void *)diff.half : diff.wide},
                             .bf16 = half};
        struct one_op_result want = one_op_run(&one);
        struct one_op joined = one;
        joined.op = "gelu_grad_sums";
        joined.num_inputs = 3;
        joined.desc[2] = adds ? F32(WIDTH) : DG_ABSENT_DESC;
        joined.data[2] = acc;
        joined.in_place = in_place;
        joined.threads = threads;
        struct one_op_result got = one_op_run(&joined);
        same(&got, 0, &want, 0);
        double sums[WIDTH];
        for (int c = 0; c < WIDTH; c++) {
            sums[c] = adds ? (double)acc[c] : 0;
            for (int r = 0; r < ROWS; r++) sums[c] += (double)((float *)exact.data[0])[r * WIDTH + c];
        }
        assert_near(got.data[1], sums, WIDTH, half ? 1e-4 : 1e-6, "column sums");
        one_op_free(&want);
        one_op_free(&got);
    }
    one_op_refused(&(struct one_op){.op = "gelu_grad_sums",
                                    .num_inputs = 3,
                                    .desc = {desc, desc, F32(WIDTH + 1)},
                                    .data = {src.wide, diff.wide, acc}},
                   "accumulator has another shape");
    one_op_refused(&(struct one_op){.op = "gelu_grad_sums",
                                    .num_inputs = 3,
                                    .desc = {dg_desc_scalar(DG_F32), dg_desc_scalar(DG_F32), DG_ABSENT_DESC},
                                    .data = {src.wide, diff.wide, NULL}},
                   "src must have at least 2 dimensions");
    one_op_free(&exact);
    free_both(&src);
    free_both(&diff);
    free(acc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_layer_norm),
        cmocka_unit_test(test_gelu_grad_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* add_layer_norm, which the compiler makes of a sum and the norm on it: it makes what the two make, one after the other. */
#include "ops/kernels/bf16.h"
#include "tests/support/op_harness.h"

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

static void same(const struct op_result *got, int o, const struct op_result *want, int w)
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
        struct op_run add = {.op = drops ? "drop_path_add" : "add",
                             .attrs = {drops ? (struct op_attr)ATTR("rate", 0.4) : (struct op_attr){0}},
                             .input = {{NULL, desc, src.wide}, {NULL, desc, residual.wide}},
                             .stream = 99,
                             .view0 = 2,
                             .batch = 8,
                             .step = {.seed = 5, .step = 4}};
        struct op_result sum = op_run(&add);
        struct op_run norm = {.op = "layer_norm",
                              .attrs = {ATTR("eps", 1e-5)},
                              .input = {{"src", desc, sum.data[0]}, {"weight", vector, weight}, {"bias", vector, bias}},
                              .bf16 = bf16};
        struct op_result want = op_run(&norm);
        struct op_run joined = add;
        joined.op = "add_layer_norm";
        op_set_attr(&joined, "rate", drops ? 0.4 : 0);
        op_set_attr(&joined, "eps", 1e-5);
        const struct op_tensor input[] = {
            {"src", typed(desc, src_half), src_half ? (void *)src.half : src.wide},
            {"residual", typed(desc, residual_half), residual_half ? (void *)residual.half : residual.wide},
            {"weight", vector, weight},
            {"bias", vector, bias}};
        memcpy(joined.input, input, sizeof input);
        joined.bf16 = bf16;
        joined.in_place = in_place;
        joined.unwanted = statistics ? 0 : 12;
        struct op_result got = op_run(&joined);
        same(&got, 0, &sum, 0);
        same(&got, 1, &want, 0);
        for (int o = 1; o < 3 && statistics; o++) same(&got, 1 + o, &want, o);
        op_result_free(&sum);
        op_result_free(&want);
        op_result_free(&got);
    }
    free_both(&src);
    free_both(&residual);
    free(weight);
    free(bias);
}

/* --- between two branches --- */

enum { DRAWN = 70, DIM = 16 };

/* The sum of a branch that left images out, and the norm at the beginning of one that leaves out others. */
static void test_between_two_branches(void **state)
{
    (void)state;
    enum { ALL_ROWS = DRAWN * TOKENS, NUMBERS = ALL_ROWS * DIM };
    float *src = random_f32("src", 1, NUMBERS), *full = calloc(NUMBERS, sizeof *full),
          *residual = random_f32("residual", 1, NUMBERS), *weight = random_f32("weight", 1, DIM),
          *bias = random_f32("bias", 1, DIM);
    assert_non_null(full);
    struct dg_desc desc = F32(DRAWN, TOKENS, DIM), vector = F32(DIM);
    struct op_run one = {.op = "add_layer_norm",
                         .attrs = {ATTR("rate", 0.4), ATTR("eps", 1e-5)},
                         .input = {{"src", desc, full},
                                   {"residual", desc, residual},
                                   {"weight", vector, weight},
                                   {"bias", vector, bias}},
                         .stream = 99,
                         .view0 = 2,
                         .batch = 10,
                         .step = {.seed = 5, .step = 4}};
    struct op_result from = op_draw_rows(&one, 0.4, DRAWN), to = op_draw_rows(&one, 0.7, DRAWN);
    op_unpack_rows(&desc, from.data[0], src, full);
    struct op_result want = op_run(&one);
    op_input(&one, "src")->data = src;
    *op_input(&one, "src_rows") = (struct op_tensor){"src_rows", from.desc[0], from.data[0]};
    *op_input(&one, "rows") = (struct op_tensor){"rows", to.desc[0], to.data[0]};
    for (int in_place = 0; in_place < 2; in_place++) {
        one.in_place = in_place;
        struct op_result got = op_run(&one);
        assert_memory_equal(got.data[0], want.data[0], NUMBERS * sizeof(float));
        for (int o = 1; o < 4; o++) {
            int64_t size = dg_desc_count(&want.desc[o]) / DRAWN;
            for (int64_t i = 0; i < DRAWN; i++) {
                int64_t place = dg_row_places(to.data[0])[i];
                if (place >= 0)
                    assert_memory_equal((float *)got.data[o] + place * size, (float *)want.data[o] + i * size,
                                        (size_t)size * sizeof(float));
            }
        }
        op_result_free(&got);
    }
    op_result_free(&want);
    op_result_free(&from);
    op_result_free(&to);
    free(src);
    free(full);
    free(residual);
    free(weight);
    free(bias);
}

static const struct op_test tests[] = {
    OP_TEST("add_layer_norm", OP_VALUE | OP_BF16, test_add_layer_norm),
    OP_TEST("add_layer_norm", OP_VALUE | OP_ROWS, test_between_two_branches),
};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

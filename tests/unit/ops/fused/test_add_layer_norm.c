/* add_layer_norm, which the compiler makes of a sum and the norm on it: it makes what the two make, one after the other. */
#include "tests/support/op_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IMAGES = 24, TOKENS = 3, WIDTH = 37, ROWS = IMAGES * TOKENS, COUNT = ROWS * WIDTH };

/* To the bit: with drop path and without, types mixed, results in new places and in those of the inputs, with the norm's
 * statistics and without. */
static void test_add_layer_norm(void **state)
{
    (void)state;
    struct two_types src = random_two_types("src", 1, COUNT), residual = random_two_types("residual", 2, COUNT);
    float *weight = random_f32("weight", 1, WIDTH), *bias = random_f32("bias", 1, WIDTH);
    struct dg_desc desc = F32(IMAGES, TOKENS, WIDTH), vector = F32(WIDTH);
    for (int form = 0; form < 64; form++) {
        bool bf16 = form & 1, drops = form & 2, in_place = form & 4, statistics = form & 8;
        bool src_bf16 = bf16 && form & 16, residual_bf16 = bf16 && form & 32;
        struct op_run add = {.op = drops ? "drop_path_add" : "add",
                             .attrs = {drops ? (struct op_attr)ATTR("rate", 0.4) : (struct op_attr){0}},
                             .input = {{NULL, desc, src.f32}, {NULL, desc, residual.f32}},
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
        struct op_run fused = add;
        fused.op = "add_layer_norm";
        op_set_attr(&fused, "rate", drops ? 0.4 : 0);
        op_set_attr(&fused, "eps", 1e-5);
        const struct op_tensor input[] = {tensor_of("src", desc, &src, src_bf16),
                                          tensor_of("residual", desc, &residual, residual_bf16),
                                          {"weight", vector, weight},
                                          {"bias", vector, bias}};
        memcpy(fused.input, input, sizeof input);
        fused.bf16 = bf16;
        fused.in_place = in_place;
        fused.unwanted = statistics ? 0 : 12;
        struct op_result got = op_run(&fused);
        assert_same_output(&got, 0, &sum, 0);
        assert_same_output(&got, 1, &want, 0);
        for (int o = 1; o < 3 && statistics; o++) assert_same_output(&got, 1 + o, &want, o);
        op_result_free(&sum);
        op_result_free(&want);
        op_result_free(&got);
    }
    free_two_types(&src);
    free_two_types(&residual);
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

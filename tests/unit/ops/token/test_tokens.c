/* Tokens: what the gradient checks of test_gradients.c leave open. Accumulators, unwanted outputs, refusals. */
#include "tests/support/one_op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_views_keep_the_bytes(void **state)
{
    (void)state;
    float *src = random_f32("src", 1, 2 * 3 * 5 * 7);
    struct one_op_result r =
        one_op_run(&(struct one_op){.op = "to_tokens", .num_inputs = 1, .desc = {F32(2, 3, 5, 7)}, .data = {src}});
    assert_desc(r.desc[0], F32(2, 15, 7));
    assert_memory_equal(r.data[0], src, 2 * 3 * 5 * 7 * sizeof *src);
    one_op_free(&r);
    r = one_op_run(&(struct one_op){
        .op = "from_tokens", .attr = {{.i = 3}, {.i = 5}}, .num_inputs = 1, .desc = {F32(2, 15, 7)}, .data = {src}});
    assert_desc(r.desc[0], F32(2, 3, 5, 7));
    one_op_free(&r);
    free(src);
}

static void test_prepend_token_grad(void **state)
{
    (void)state;
    enum { N = 5, T = 4, D = 11 };
    float *diff_dst = random_f32("diff_dst", 1, N * T * D), *acc = random_f32("acc", 3, D);
    for (int with_acc = 0; with_acc < 2; with_acc++)
        for (int in_place = 0; in_place < 2; in_place++)
            for (uint32_t unwanted = 0; unwanted < 3; unwanted++) {
                struct one_op_result r = one_op_run(&(struct one_op){
                    .op = "prepend_token_grad",
                    .num_inputs = 2,
                    .desc = {F32(N, T, D), with_acc ? F32(1, 1, D) : DG_ABSENT_DESC},
                    .data = {diff_dst, acc},
                    .unwanted = unwanted,
                    .in_place = in_place,
                });
                const float *diff_src = r.data[0], *diff_token = r.data[1];
                for (int n = 0; diff_src && n < N; n++)
                    assert_memory_equal(diff_src + n * (T - 1) * D, diff_dst + (n * T + 1) * D,
                                        (T - 1) * D * sizeof *diff_src);
                double want[D];
                for (int c = 0; c < D; c++) {
                    want[c] = with_acc ? acc[c] : 0;
                    for (int n = 0; n < N; n++) want[c] += diff_dst[n * T * D + c];
                }
                if (diff_token) assert_near(diff_token, want, D, 1e-6, "diff_token");
                one_op_free(&r);
            }
    free(diff_dst);
    free(acc);
}

static void test_take_token_grad_is_zero_elsewhere(void **state)
{
    (void)state;
    float diff_dst[] = {1, 2, 3, 4};
    static const float want[] = {0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 3, 4};
    struct one_op_result r = one_op_run(&(struct one_op){.op = "take_token_grad",
                                                         .attr = {{.i = 2}, {.i = 3}},
                                                         .num_inputs = 1,
                                                         .desc = {F32(2, 2)},
                                                         .data = {diff_dst}});
    assert_desc(r.desc[0], F32(2, 3, 2));
    assert_memory_equal(r.data[0], want, sizeof want);
    one_op_free(&r);
}

static void test_refusals(void **state)
{
    (void)state;
    one_op_refused(&(struct one_op){.op = "to_tokens", .num_inputs = 1, .desc = {F32(2, 3, 5)}}, "must have 4 dim");
    one_op_refused(&(struct one_op){.op = "prepend_token", .num_inputs = 2, .desc = {F32(2, 3, 5), F32(1, 1, 6)}},
                   "token must be f32 [1, 1, 5]");
    one_op_refused(&(struct one_op){.op = "prepend_token", .num_inputs = 2, .desc = {F32(2, 3), F32(1, 1, 3)}},
                   "must have 3 dim");
    one_op_refused(&(struct one_op){.op = "take_token", .attr = {{.i = 3}}, .num_inputs = 1, .desc = {F32(2, 3, 5)}},
                   "there is no token 3: the input has 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views_keep_the_bytes),
        cmocka_unit_test(test_prepend_token_grad),
        cmocka_unit_test(test_take_token_grad_is_zero_elsewhere),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

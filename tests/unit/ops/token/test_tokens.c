/* The ops that lay out tokens, and their gradients. */
#include "tests/support/op_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ref_copy(const struct dg_op_call *call, double *const *in, double *const *out)
{
    memcpy(out[0], in[0], (size_t)dg_desc_count(&call->input[0]) * sizeof *out[0]);
}

static void ref_put(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t t = call->input[0].dim[1], d = call->input[0].dim[2], index = (int64_t)attr_of(call, "index");
    for (int64_t i = 0; i < dg_desc_count(&call->output[0]); i++)
        out[0][i] = i / d % t == index ? (call->num_inputs > 1 ? in[1][i / d / t * d + i % d] : 0) : in[0][i];
}

static void ref_take(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t t = call->input[0].dim[1], d = call->input[0].dim[2], index = (int64_t)attr_of(call, "index");
    for (int64_t n = 0; n < call->input[0].dim[0]; n++)
        memcpy(out[0] + n * d, in[0] + (n * t + index) * d, (size_t)d * sizeof *out[0]);
}

static void ref_take_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t t = call->output[0].dim[1], d = call->output[0].dim[2], index = (int64_t)attr_of(call, "index");
    for (int64_t i = 0; i < dg_desc_count(&call->output[0]); i++)
        out[0][i] = i / d % t == index ? in[0][i / d / t * d + i % d] : 0;
}

static const struct op_case cases[] = {
    {.op = "to_tokens",
     .modes = OP_VALUE | OP_GRADIENT,
     .input = {IN("src", 2, 3, 5, 7)},
     .reference = ref_copy,
     .grad = {true},
     .f32_grad = 1e-6},
    {.op = "from_tokens",
     .modes = OP_VALUE | OP_GRADIENT,
     .attrs = {ATTR("height", 3), ATTR("width", 5)},
     .input = {IN("src", 2, 15, 7)},
     .reference = ref_copy,
     .grad = {true},
     .f32_grad = 1e-6},
    {.op = "put_token",
     .modes = OP_VALUE | OP_GRADIENT,
     .attrs = {ATTR("index", 2)},
     .input = {IN("src", 3, 5, 7), IN("token", 3, 7)},
     .reference = ref_put,
     .grad = {true, true},
     .f32_grad = 1e-6},
    {.op = "put_token_grad",
     .modes = OP_VALUE,
     .attrs = {ATTR("index", 2)},
     .input = {IN("diff_dst", 3, 5, 7)},
     .reference = ref_put},
    {.op = "take_token",
     .modes = OP_VALUE | OP_GRADIENT,
     .attrs = {ATTR("index", 2)},
     .input = {IN("src", 3, 5, 7)},
     .reference = ref_take,
     .grad = {true},
     .f32_grad = 1e-6},
    {.op = "take_token_grad",
     .modes = OP_VALUE,
     .attrs = {ATTR("index", 2), ATTR("tokens", 5)},
     .input = {IN("diff_dst", 3, 7)},
     .reference = ref_take_grad},
};

static void test_views_keep_the_bytes(void **state)
{
    (void)state;
    float *src = random_f32("src", 1, 2 * 3 * 5 * 7);
    struct op_result r = op_run(&(struct op_run){.op = "to_tokens", .input = {{"src", F32(2, 3, 5, 7), src}}});
    assert_desc(r.desc[0], F32(2, 15, 7));
    assert_memory_equal(r.data[0], src, 2 * 3 * 5 * 7 * sizeof *src);
    op_result_free(&r);
    r = op_run(&(struct op_run){
        .op = "from_tokens", .attrs = {ATTR("height", 3), ATTR("width", 5)}, .input = {{"src", F32(2, 15, 7), src}}});
    assert_desc(r.desc[0], F32(2, 3, 5, 7));
    op_result_free(&r);
    free(src);
}

static void test_take_token_grad_is_zero_elsewhere(void **state)
{
    (void)state;
    float diff_dst[] = {1, 2, 3, 4};
    static const float want[] = {0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 3, 4};
    struct op_result r = op_run(&(struct op_run){.op = "take_token_grad",
                                                 .attrs = {ATTR("index", 2), ATTR("tokens", 3)},
                                                 .input = {{"diff_dst", F32(2, 2), diff_dst}}});
    assert_desc(r.desc[0], F32(2, 3, 2));
    assert_memory_equal(r.data[0], want, sizeof want);
    op_result_free(&r);
}

static void test_refusals(void **state)
{
    (void)state;
    op_refused(&(struct op_run){.op = "to_tokens", .input = {{"src", F32(2, 3, 5)}}}, "must have 4 dim");
    op_refused(&(struct op_run){.op = "from_tokens",
                                .attrs = {ATTR("height", 2), ATTR("width", 2)},
                                .input = {{"src", F32(2, 5, 3)}}},
               "5 tokens are not a grid of 2x2; others must not be among them");
    op_refused(&(struct op_run){.op = "put_token", .input = {{"src", F32(2, 3, 5)}, {"token", F32(2, 4)}}},
               "the second input must be f32 [2, 5], got f32 [2, 4]");
    op_refused(&(struct op_run){.op = "take_token", .attrs = {ATTR("index", 3)}, .input = {{"src", F32(2, 3, 5)}}},
               "there is no token 3: the input has 3");
}

static const struct op_test tests[] = {
    OP_TEST("to_tokens from_tokens", OP_VALUE, test_views_keep_the_bytes),
    OP_TEST("take_token_grad", OP_VALUE, test_take_token_grad_is_zero_elsewhere),
    OP_TEST("to_tokens from_tokens take_token put_token", 0, test_refusals),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

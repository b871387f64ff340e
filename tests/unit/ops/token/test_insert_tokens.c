/* prepend_token and insert_tokens, and their gradients. */
#include "tests/support/op_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ref_prepend(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t t = call->input[0].dim[1], d = call->input[0].dim[2];
    for (int64_t n = 0; n < call->input[0].dim[0]; n++)
        for (int64_t i = 0; i < (t + 1) * d; i++)
            out[0][n * (t + 1) * d + i] = i < d ? in[1][i] : in[0][n * t * d + i - d];
}

static void ref_insert(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t t = call->input[0].dim[1], d = call->input[0].dim[2], k = call->input[1].dim[1];
    int64_t index = (int64_t)attr_of(call, "index");
    for (int64_t i = 0; i < dg_desc_count(&call->output[0]); i++) {
        int64_t token = i / d % (t + k), n = i / d / (t + k), c = i % d;
        bool inserted = token >= index && token < index + k;
        out[0][i] =
            inserted ? in[1][(token - index) * d + c] : in[0][(n * t + token - (token < index ? 0 : k)) * d + c];
    }
}

#define INSERT(index, count)                                                                                           \
    {                                                                                                                  \
        .op = "insert_tokens", .modes = OP_VALUE | OP_GRADIENT, .attrs = {ATTR("index", index)},                       \
        .input = {IN("src", 3, 5, 7), IN("tokens", 1, count, 7)}, .reference = ref_insert, .grad = {true, true},       \
        .f32_grad = 1e-6                                                                                               \
    }

static const struct op_case cases[] = {
    {.op = "prepend_token",
     .modes = OP_VALUE | OP_GRADIENT,
     .input = {IN("src", 3, 5, 7), IN("token", 1, 1, 7)},
     .reference = ref_prepend,
     .grad = {true, true},
     .f32_grad = 1e-6},
    INSERT(0, 1),
    INSERT(1, 4),
    INSERT(5, 2),
};

/* prepend_token_grad, or insert_tokens_grad where an index is given: every combination of accumulator and outputs. */
static void check_insert_grad(const char *op, int index, int count)
{
    enum { N = 5, T = 6, D = 11 };
    bool prepend = !strcmp(op, "prepend_token_grad");
    int kept = T - count;
    float *diff_dst = random_f32("diff_dst", 1, N * T * D), *acc = random_f32("acc", 3, T * D);
    for (int with_acc = 0; with_acc < 2; with_acc++)
        for (int in_place = 0; in_place < 2; in_place++)
            for (uint32_t unwanted = 0; unwanted < 3; unwanted++) {
                struct op_run run = {.op = op,
                                     .input = {{"diff_dst", F32(N, T, D), diff_dst},
                                               {"acc_token", with_acc ? F32(1, count, D) : DG_ABSENT_DESC, acc}},
                                     .unwanted = unwanted,
                                     .in_place = in_place};
                if (!prepend) op_set_attr(&run, "index", index), op_set_attr(&run, "count", count);
                struct op_result r = op_run(&run);
                const float *diff_src = r.data[0], *diff_token = r.data[1];
                for (int n = 0; diff_src && n < N; n++)
                    for (int t = 0; t < kept; t++)
                        assert_memory_equal(diff_src + (n * kept + t) * D,
                                            diff_dst + (n * T + t + (t < index ? 0 : count)) * D, D * sizeof *diff_src);
                double want[T * D];
                for (int c = 0; c < count * D; c++) {
                    want[c] = with_acc ? acc[c] : 0;
                    for (int n = 0; n < N; n++) want[c] += diff_dst[(n * T + index) * D + c];
                }
                if (diff_token) assert_near(diff_token, want, count * D, 1e-6, "diff_token");
                op_result_free(&r);
            }
    free(diff_dst);
    free(acc);
}

static void test_insert_grads(void **state)
{
    (void)state;
    check_insert_grad("prepend_token_grad", 0, 1);
    check_insert_grad("insert_tokens_grad", 1, 4);
    check_insert_grad("insert_tokens_grad", 0, 2);
}

static void test_refusals(void **state)
{
    (void)state;
    op_refused(&(struct op_run){.op = "prepend_token", .input = {{"src", F32(2, 3, 5)}, {"token", F32(1, 1, 6)}}},
               "token must be f32 [1, 1, 5]");
    op_refused(&(struct op_run){.op = "prepend_token", .input = {{"src", F32(2, 3)}, {"token", F32(1, 1, 3)}}},
               "must have 3 dim");
    op_refused(&(struct op_run){.op = "insert_tokens",
                                .attrs = {ATTR("index", 4)},
                                .input = {{"src", F32(2, 3, 5)}, {"tokens", F32(1, 2, 5)}}},
               "index 4 is beyond the 3 tokens");
    op_refused(&(struct op_run){.op = "insert_tokens", .input = {{"src", F32(2, 3, 5)}, {"tokens", F32(2, 2, 5)}}},
               "tokens must be [1, count, 5], got f32 [2, 2, 5]");
}

static const struct op_test tests[] = {
    OP_TEST("prepend_token_grad insert_tokens_grad", OP_VALUE, test_insert_grads),
    OP_TEST("prepend_token insert_tokens", 0, test_refusals),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

/* drop_path_add: drop path and the sum behind it. */
#include "tests/support/op_harness.h"
#include "tests/support/op_references.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROW = 3, VIEW0 = 2, IN_BATCH = 4 };

/* src, residual */
static void ref_drop_path_add(const struct dg_op_call *call, double *const *in, double *const *out)
{
    double rate = attr_of(call, "rate");
    int64_t count = dg_desc_count(&call->input[0]), row = count / call->input[0].dim[0];
    for (int64_t i = 0; i < count; i++)
        out[0][i] = (ref_row_survives(rate, VIEW0, IN_BATCH, i / row) ? in[0][i] / (1 - rate) : 0) + in[1][i];
}

enum { ROWS_IMAGES = 70, TOKENS = 3, DIM = 16 };

static const struct op_case cases[] = {
    {.op = "drop_path_add",
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16,
     .attrs = {ATTR("rate", 0.4)},
     .input = {IN("src", 12, 5, 7), IN("residual", 12, 5, 7)},
     .reference = ref_drop_path_add,
     .grad = {true, true},
     .f32 = 2e-7,
     .f32_grad = 1e-6,
     .bf16_grad = 1,
     .view0 = VIEW0,
     .batch = IN_BATCH},
    {.op = "drop_path_add",
     .modes = OP_ROWS,
     .attrs = {ATTR("rate", 0)},
     .input = {IN("src", ROWS_IMAGES, TOKENS, DIM), IN("residual", ROWS_IMAGES, TOKENS, DIM)}},
};

/* The sum that the compiler makes of drop path and the add behind it: bit for bit what the two make, and in bf16 what they
 * make of the same rows rounded. */
static void test_with_residual(void **state)
{
    (void)state;
    enum { N = 32, COUNT = N * ROW };
    struct two_types src = random_two_types("src", 1, COUNT);
    float *residual = random_f32("residual", 1, COUNT);
    struct dg_desc desc = F32(N, ROW);
    struct op_run drop = {.op = "drop_path",
                          .attrs = {ATTR("rate", 0.3)},
                          .input = {{"src", desc, src.f32}},
                          .stream = 99,
                          .view0 = 2,
                          .batch = 16,
                          .step = {.seed = 5, .step = 4}};
    struct op_result dropped = op_run(&drop);
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (int in_place = 0; in_place < 2; in_place++) {
            struct op_run add = drop;
            add.op = "drop_path_add";
            add.bf16 = bf16;
            add.in_place = in_place;
            *op_input(&add, "src") = tensor_of("src", desc, &src, bf16);
            *op_input(&add, "residual") = (struct op_tensor){"residual", desc, residual};
            struct op_result sum = op_run(&add);
            for (int i = 0; i < COUNT; i++)
                assert_true(((float *)sum.data[0])[i] == residual[i] + ((float *)dropped.data[0])[i]);
            op_result_free(&sum);
        }
    op_result_free(&dropped);
    free_two_types(&src);
    free(residual);
}

static const struct op_test tests[] = {OP_TEST("drop_path_add", OP_VALUE | OP_BF16, test_with_residual)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

/* dropout, whose gradient is itself. */
#include "ops/base/rng.h"
#include "tests/support/op_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* At step 0 of slice 0: number i of image n is draw n * each + i of its view. */
static void ref_dropout(const struct dg_op_call *call, double *const *in, double *const *out)
{
    float keep = (float)(1 - attr_of(call, "rate"));
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) {
        float draw = dg_unit_float(dg_rng_at(OP_SEED, DG_RNG_DROPOUT, OP_STREAM, 0, (uint64_t)i));
        out[0][i] = keep + draw >= 1 ? in[0][i] / (double)keep : 0;
    }
}

static const struct op_case cases[] = {{.op = "dropout",
                                        .modes = OP_VALUE | OP_GRADIENT | OP_BF16 | OP_ROWS,
                                        .attrs = {ATTR("rate", 0.3)},
                                        .input = {IN("src", 20, 3, 7)},
                                        .reference = ref_dropout,
                                        .grad = {true},
                                        .f32 = 1e-7,
                                        .f32_grad = 1e-6,
                                        .bf16_grad = 1}};

/* Two views in one application, and the second half of a batch as a slice of its own, draw what all at once draw. */
static void test_views_and_slices(void **state)
{
    (void)state;
    enum { IMAGES = 8, EACH = 5, HALF = IMAGES * EACH / 2 };
    float *src = random_f32("src", 1, IMAGES * EACH);
    struct op_run whole = {.op = "dropout",
                           .attrs = {ATTR("rate", 0.5)},
                           .stream = 7,
                           .batch = IMAGES,
                           .input = {{"src", F32(IMAGES, EACH), src}}};
    struct op_result all = op_run(&whole), part;
    whole.batch = IMAGES / 2;
    whole.step.slice = 1;
    whole.slices = 2;
    whole.input[0] = (struct op_tensor){"src", F32(IMAGES / 2, EACH), src + HALF};
    part = op_run(&whole);
    assert_memory_equal(part.data[0], (float *)all.data[0] + HALF, HALF * sizeof *src);
    op_result_free(&part);
    op_result_free(&all);
    free(src);
}

static const struct op_test tests[] = {OP_TEST("dropout", OP_VALUE, test_views_and_slices)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

/* sine_positions. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* As XCiT's PositionalEncodingFourier goes: pairs of channels share a period. */
static void ref_positions(const struct dg_op_call *call, double *const *in, double *const *out)
{
    (void)in;
    int64_t h = call->input[0].dim[1], w = call->input[0].dim[2], dims = (int64_t)attr_of(call, "dims");
    for (int64_t n = 0; n < call->input[0].dim[0]; n++)
        for (int64_t y = 0; y < h; y++)
            for (int64_t x = 0; x < w; x++)
                for (int64_t c = 0; c < 2 * dims; c++) {
                    double at = c < dims ? (double)(y + 1) / ((double)h + 1e-6) : (double)(x + 1) / ((double)w + 1e-6);
                    int64_t pair = c % dims / 2;
                    double angle =
                        at * 2 * acos(-1) / pow(attr_of(call, "temperature"), 2.0 * (double)pair / (double)dims);
                    out[0][((n * h + y) * w + x) * 2 * dims + c] = c % 2 ? cos(angle) : sin(angle);
                }
}

static const struct op_case cases[] = {{.op = "sine_positions",
                                        .modes = OP_VALUE,
                                        .attrs = {ATTR("dims", 6)},
                                        .input = {IN("src", 2, 3, 5, 4)},
                                        .reference = ref_positions,
                                        .f32 = 1e-7}};

static void test_refusals(void **state)
{
    (void)state;
    op_refused(&(struct op_run){.op = "sine_positions", .input = {{"src", F32(2, 7, 30)}}}, "must have 4 dim");
}

static const struct op_test tests[] = {OP_TEST("sine_positions", 0, test_refusals)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

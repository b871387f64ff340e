/* sigmoid, silu, hardsigmoid, hardswish, relu6 and their gradient. */
#include "ops/kernels/activation.h"
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double clamp6(double x) { return fmin(fmax(x, 0), 6); }

static double value_at(enum dg_activation f, double x)
{
    switch (f) {
    case DG_SIGMOID: return 1 / (1 + exp(-x));
    case DG_SILU: return x / (1 + exp(-x));
    case DG_HARDSIGMOID: return clamp6(x + 3) / 6;
    case DG_HARDSWISH: return x * clamp6(x + 3) / 6;
    default: return clamp6(x);
    }
}

static double slope_at(enum dg_activation f, double x)
{
    double s = 1 / (1 + exp(-x));
    switch (f) {
    case DG_SIGMOID: return s * (1 - s);
    case DG_SILU: return s * (1 + x * (1 - s));
    case DG_HARDSIGMOID: return x > -3 && x < 3 ? 1.0 / 6 : 0;
    case DG_HARDSWISH: return x <= -3 ? 0 : x < 3 ? x / 3 + 0.5 : 1;
    default: return x > 0 && x < 6;
    }
}

static const char *const names[DG_ACTIVATIONS] = {"sigmoid", "silu", "hardsigmoid", "hardswish", "relu6"};

static void ref_forward(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int f = 0;
    while (strcmp(names[f], call->op->name)) f++;
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++) out[0][i] = value_at((enum dg_activation)f, in[0][i]);
}

/* src, diff_dst */
static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->input[0]); i++)
        out[0][i] = in[1][i] * slope_at((enum dg_activation)attr_of(call, "which"), in[0][i]);
}

/* Numbers on both sides of all corners. An exponential is right to 2 units in the last place, and the rest adds a few; bf16 rounds
 * nothing but what is stored. */
#define ACTIVATION(name, which)                                                                                        \
    {.op = name,                                                                                                       \
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16 | OP_ROWS,                                                              \
     .input = {{F32(20, 3, 7), "src", .scale = 8}},                                                                    \
     .reference = ref_forward,                                                                                         \
     .grad = {true},                                                                                                   \
     .f32 = 4e-7,                                                                                                      \
     .f32_grad = 2e-6,                                                                                                 \
     .bf16_grad = 1},                                                                                                  \
    {                                                                                                                  \
        .op = "activation_grad", .modes = OP_VALUE | OP_BF16 | OP_ROWS, .attrs = {ATTR("which", which)},               \
        .input = {{F32(20, 3, 7), "src", .scale = 8}, IN("diff_dst", 20, 3, 7)}, .reference = ref_grad, .f32 = 1e-6    \
    }

static const struct op_case cases[] = {
    ACTIVATION("sigmoid", DG_SIGMOID),     ACTIVATION("silu", DG_SILU),   ACTIVATION("hardsigmoid", DG_HARDSIGMOID),
    ACTIVATION("hardswish", DG_HARDSWISH), ACTIVATION("relu6", DG_RELU6),
};

/* Far out and at corners; a NaN stays one. */
static void test_ends(void **state)
{
    (void)state;
    float src[] = {-1e4F, -100, -3, 0, 3, 6, 100, 1e4F, NAN}, got[9];
    for (int f = 0; f < DG_ACTIVATIONS; f++) {
        dg_activation_kernels()->forward((enum dg_activation)f, 9, false, src, got);
        for (int i = 0; i < 8; i++) {
            double want = value_at((enum dg_activation)f, src[i]);
            if (!(fabs(got[i] - want) <= 4e-7 * fmax(1e-30, fabs(want)) + 1e-30))
                fail_msg("%s(%g) is %g, not %g", names[f], (double)src[i], (double)got[i], want);
        }
        assert_true(isnan(got[8]));
        float ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
        dg_activation_kernels()->backward((enum dg_activation)f, 9, false, src, ones, got);
        for (int i = 0; i < 8; i++) {
            double want = slope_at((enum dg_activation)f, src[i]);
            if (!(fabs(got[i] - want) <= 1e-6))
                fail_msg("%s'(%g) is %g, not %g", names[f], (double)src[i], (double)got[i], want);
        }
    }
}

static const struct op_test tests[] = {OP_TEST("sigmoid silu hardsigmoid hardswish relu6", 0, test_ends)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

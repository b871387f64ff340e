/* mul, broadcast in every way that descriptions use, and mul_sums, the gradient of what was broadcast. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The number of b that number i of a meets: NumPy's rule, dimension by dimension from the last. */
static int64_t meets(const struct dg_desc *a, const struct dg_desc *b, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int d = 0; d < a->ndim; d++) {
        int64_t size = a->dim[a->ndim - 1 - d], of_b = d < b->ndim ? b->dim[b->ndim - 1 - d] : 1;
        if (of_b > 1) at += i % size * step;
        i /= size;
        step *= of_b;
    }
    return at;
}

static void ref_mul(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *a = &call->input[0], *b = &call->input[1];
    for (int64_t i = 0; i < dg_desc_count(a); i++) out[0][i] = in[0][i] * in[1][meets(a, b, i)];
}

/* a, c, b, acc, rows */
static void ref_sums(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *a = &call->input[0], *b = &call->input[2];
    for (int64_t i = 0; i < dg_desc_count(b); i++) out[0][i] = in[3] ? in[3][i] : 0;
    for (int64_t i = 0; i < dg_desc_count(a); i++) out[0][meets(a, b, i)] += in[0][i] * in[1][i];
}

/* mul runs on some images where b has images, mul_sums where it has none. A product is rounded once. A sum of n terms is off by a
 * few times sqrt(n) units: here n is at most 420. */
#define MUL(rows, a_shape, b_shape)                                                                                    \
    {.op = "mul",                                                                                                      \
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16 | (rows),                                                               \
     .input = {{a_shape, "a"}, {b_shape, "b"}},                                                                        \
     .reference = ref_mul,                                                                                             \
     .grad = {true, true},                                                                                             \
     .f32 = 1e-7,                                                                                                      \
     .f32_grad = 5e-6,                                                                                                 \
     .bf16_grad = 1},                                                                                                  \
    {                                                                                                                  \
        .op = "mul_sums", .modes = OP_VALUE | OP_BF16 | (OP_ROWS & ~(rows)),                                           \
        .input = {{a_shape, "a"}, {a_shape, "c"}, {b_shape, "b"}, {b_shape, "acc"}}, .reference = ref_sums,            \
        .f32 = 5e-6                                                                                                    \
    }

static const struct op_case cases[] = {
    MUL(OP_ROWS, F32(20, 3, 7), F32(20, 3, 7)), /* two values */
    MUL(0, F32(20, 3, 7), F32(7)),              /* a parameter: layer scale */
    MUL(0, F32(20, 3, 7), F32(1, 1, 7)),
    MUL(OP_ROWS, F32(20, 2, 3, 7), F32(20, 1, 1, 7)), /* a gate of channels */
    MUL(OP_ROWS, F32(20, 3, 7), F32(20, 3, 1)),       /* of tokens */
    MUL(0, F32(20, 3, 7), F32(3, 7)),
    MUL(0, F32(20, 3, 7), F32(3, 1)),
    MUL(OP_ROWS, F32(20, 3, 7), F32(20, 1, 1)), /* of images */
    MUL(0, F32(20, 3, 7), F32(1)),
    MUL(OP_ROWS, F32(10, 2, 3, 7), F32(10, 1, 3, 1)), /* four runs of dimensions */
    MUL(0, F32(1), F32(1)),
    MUL(0, F32(2, 200), F32(200)),
};

static void test_refusals(void **state)
{
    (void)state;
    struct op_run op = {.op = "mul", .input = {{"a", F32(2, 7, 4)}, {"b", F32(7)}}};
    op_refused(&op, "the second input, f32 [7], must have the dimensions of the first, f32 [2, 7, 4], or 1");
    op_input(&op, "b")->desc = F32(3, 2, 7, 4);
    op_refused(&op, "or 1 in their place");
}

static const struct op_test tests[] = {OP_TEST("mul", 0, test_refusals)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

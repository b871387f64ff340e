/* rotary, forward and back. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* As transformers' DINOv3 words it: x * cos + rotate_half(x) * sin, angles tiled twice over the head. */
static void ref_rotary(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *src = &call->input[0];
    int64_t h = (int64_t)attr_of(call, "grid_h"), w = (int64_t)attr_of(call, "grid_w"), tokens = src->dim[1],
            width = src->dim[2], heads = (int64_t)attr_of(call, "heads"), head = width / 3 / heads;
    for (int64_t k = 0; k < dg_desc_count(src); k++) {
        int64_t patch = k / width % tokens - (tokens - h * w), i = k % width % head, quarter = head / 4;
        out[0][k] = in[0][k];
        if (patch < 0 || k % width >= 2 * width / 3) continue;
        double inverse = 1 / pow(attr_of(call, "base"), 4.0 / (double)head * (double)(i % quarter));
        double y = ((double)(patch / w) + 0.5) / (double)h * 2 - 1, x = ((double)(patch % w) + 0.5) / (double)w * 2 - 1;
        double angle = 2 * acos(-1) * (i % (2 * quarter) < quarter ? y : x) * inverse;
        double half = i < head / 2 ? -in[0][k + head / 2] : in[0][k - head / 2];
        out[0][k] = in[0][k] * cos(angle) + (attr_of(call, "back") != 0 ? -half : half) * sin(angle);
    }
}

#define ROTARY(back)                                                                                                   \
    {                                                                                                                  \
        .op = "rotary", .modes = OP_VALUE | OP_GRADIENT | OP_BF16 | OP_ROWS,                                           \
        .attrs = {ATTR("heads", 2), ATTR("base", 100), ATTR("grid_h", 3), ATTR("grid_w", 2), ATTR("back", back)},      \
        .input = {IN("src", 10, 8, 48)}, .reference = ref_rotary, .grad = {true}, .f32 = 3e-7, .f32_grad = 1e-6,       \
        .bf16_grad = 1                                                                                                 \
    }
static const struct op_case cases[] = {ROTARY(0), ROTARY(1)};

static void test_refusals(void **state)
{
    (void)state;
    struct op_run op = {.op = "rotary", .attrs = {ATTR("heads", 2)}, .input = {{"src", F32(2, 7, 30)}}};
    op_refused(&op, "input width 30 is not 3 x 2 heads x a multiple of 4");
    op_input(&op, "src")->desc = F32(2, 7, 48);
    op_refused(&op, "its 7 tokens are not known to end with a grid");
    op_set_attr(&op, "grid_h", 4);
    op_set_attr(&op, "grid_w", 2);
    op_refused(&op, "its 7 tokens are not known to end with a grid");
}

static const struct op_test tests[] = {OP_TEST("rotary", 0, test_refusals)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

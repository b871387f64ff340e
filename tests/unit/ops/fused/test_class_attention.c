/* class_attention and its gradient against the projection and the attention that they stand for. */
#include "tests/support/op_harness.h"
#include "tests/support/op_references.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double *numbers(int64_t count)
{
    double *made = malloc((size_t)count * sizeof *made);
    assert_non_null(made);
    return made;
}

static struct ref_attention shape_of(const struct dg_op_call *call)
{
    const struct dg_desc *src = &call->input[0];
    int64_t heads = (int64_t)attr_of(call, "heads");
    return (struct ref_attention){src->dim[0], src->dim[1], heads, call->input[1].dim[0] / 3 / heads,
                                  (int64_t)attr_of(call, "query")};
}

/* [images, tokens, 3 x dim] of src, weight and bias. */
static double *project(const struct dg_op_call *call, double *const *in)
{
    int64_t rows = dg_desc_rows(&call->input[0]), wide = call->input[1].dim[0], cols = call->input[1].dim[1];
    double *projection = numbers(rows * wide);
    for (int64_t i = 0; i < rows * wide; i++) {
        projection[i] = in[2] ? in[2][i % wide] : 0;
        for (int64_t c = 0; c < cols; c++) projection[i] += in[0][i / wide * cols + c] * in[1][i % wide * cols + c];
    }
    return projection;
}

static void ref_class_attention(const struct dg_op_call *call, double *const *in, double *const *out)
{
    struct ref_attention a = shape_of(call);
    double *projection = project(call, in);
    ref_attention_forward(&a, projection, out[0], NULL, NULL);
    free(projection);
}

/* src, weight, bias, diff_dst, then what is added to the gradients of weight and bias. */
static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    struct ref_attention a = shape_of(call);
    int64_t rows = a.images * a.tokens, wide = call->input[1].dim[0], cols = call->input[1].dim[1];
    double *projection = project(call, in), *dst = numbers(a.images * wide / 3), *lse = numbers(a.images * a.heads),
           *diff = numbers(rows * wide);
    ref_attention_forward(&a, projection, dst, NULL, lse);
    ref_attention_backward(&a, projection, dst, in[3], lse, diff);
    memset(out[0], 0, (size_t)(rows * cols) * sizeof(double));
    for (int64_t o = 0; o < wide; o++) {
        out[2][o] = in[5] ? in[5][o] : 0;
        for (int64_t c = 0; c < cols; c++) out[1][o * cols + c] = in[4] ? in[4][o * cols + c] : 0;
        for (int64_t r = 0; r < rows; r++) {
            out[2][o] += diff[r * wide + o];
            for (int64_t c = 0; c < cols; c++) {
                out[1][o * cols + c] += diff[r * wide + o] * in[0][r * cols + c];
                out[0][r * cols + c] += diff[r * wide + o] * in[1][o * cols + c];
            }
        }
    }
    free(projection);
    free(dst);
    free(lse);
    free(diff);
}

enum { IMAGES = 70, TOKENS = 3, DIM = 16, HEADS = 2 };

#define CLASS_INPUTS(images, tokens, cols, heads, width, query, with_bias, ...)                                        \
    {                                                                                                                  \
        .op = "class_attention", .modes = OP_VALUE | OP_GRADIENT | OP_BF16,                                            \
        .attrs = {ATTR("heads", heads), ATTR("query", query)},                                                         \
        .input = {IN("src", images, tokens, cols), __VA_ARGS__}, .reference = ref_class_attention,                     \
        .grad = {true, true, with_bias}, .f32 = 2 * F32_SUM(LARGER(tokens, cols)),                                     \
        .f32_grad = 4 * F32_SUM(LARGER((images) * (tokens), cols)), .bf16 = 1, .bf16_grad = 4                          \
    }
#define CLASS(images, tokens, cols, heads, width, query)                                                               \
    CLASS_INPUTS(images, tokens, cols, heads, width, query, false, IN("weight", 3 * (heads) * (width), cols)),         \
        CLASS_INPUTS(images, tokens, cols, heads, width, query, true, IN("weight", 3 * (heads) * (width), cols),       \
                     IN("bias", 3 * (heads) * (width)))

static const struct op_case cases[] = {
    CLASS(2, 13, 12, 3, 4, 0),
    CLASS(3, 5, 7, 2, 9, 4),
    CLASS(70, 3, 8, 2, 4, 1), /* more images than are taken at a time */
    CLASS(1, 1, 4, 1, 4, 0),
    {.op = "class_attention",
     .modes = OP_VALUE | OP_ROWS,
     .attrs = {ATTR("heads", HEADS), ATTR("query", 1)},
     .input = {IN("src", IMAGES, TOKENS, DIM), IN("weight", 3 * DIM, DIM), IN("bias", 3 * DIM)},
     .reference = ref_class_attention,
     .f32 = 2 * F32_SUM(DIM)},
    {.op = "class_attention_grad",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .attrs = {ATTR("heads", HEADS), ATTR("query", 1)},
     .input = {IN("src", IMAGES, TOKENS, DIM), IN("weight", 3 * DIM, DIM), IN("bias", 3 * DIM),
               IN("diff_dst", IMAGES, DIM), IN("acc_weight", 3 * DIM, DIM), IN("acc_bias", 3 * DIM)},
     .reference = ref_grad,
     .outputs = 3,
     .f32 = 2 * F32_SUM(IMAGES * TOKENS)},
    {.op = "class_attention_grad",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .attrs = {ATTR("heads", HEADS), ATTR("query", 1)},
     .input = {IN("src", IMAGES, TOKENS, DIM), IN("weight", 3 * DIM, DIM), IN("diff_dst", IMAGES, DIM)},
     .reference = ref_grad,
     .outputs = 3,
     .f32 = 2 * F32_SUM(IMAGES * TOKENS)},
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

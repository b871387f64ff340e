/* attention and attention_grad against their definitions. */
#include "tests/support/op_harness.h"
#include "tests/support/op_references.h"

static struct ref_attention shape_of(const struct dg_op_call *call)
{
    const struct dg_desc *src = &call->input[0];
    int64_t heads = (int64_t)attr_of(call, "heads");
    return (struct ref_attention){src->dim[0], src->dim[1], heads, src->dim[2] / 3 / heads,
                                  (int64_t)attr_of(call, "query")};
}

static void ref_attention(const struct dg_op_call *call, double *const *in, double *const *out)
{
    struct ref_attention a = shape_of(call);
    ref_attention_forward(&a, in[0], out[0], out[1], out[2]);
}

static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    struct ref_attention a = shape_of(call);
    ref_attention_backward(&a, in[0], in[1], in[2], in[3], out[0]);
}

enum { ALL = -1 }; /* query: every token asks */
enum { IMAGES = 70, TOKENS = 3, DIM = 16, HEADS = 2 };

/* The gradient is a product of sums. In bf16, which needs heads of even width, probabilities and their gradients are rounded before products. */
#define ATTENTION(more, images, tokens, heads, width, query, range)                                                    \
    {                                                                                                                  \
        .op = "attention", .modes = OP_VALUE | OP_GRADIENT | (more),                                                   \
        .attrs = {ATTR("heads", heads), ATTR("query", query)},                                                         \
        .input = {{F32(images, tokens, 3 * (heads) * (width)), "src", .scale = range}}, .reference = ref_attention,    \
        .outputs = 3, .grad = {true}, .f32 = F32_SUM(LARGER(tokens, width)),                                           \
        .f32_grad = 2 * F32_SUM(LARGER(tokens, width)), .bf16 = 1, .bf16_grad = 4                                      \
    }
#define OF_TWO(more, tokens, width, query) ATTENTION(more, 2, tokens, 3, width, query, 2)
#define OF_ONE(more, tokens, width, query) ATTENTION(more, 1, tokens, 1, width, query, 1)
#define WIDE(query) ATTENTION(OP_BF16, 2, 37, 2, 40, query, 1)

static const struct op_case cases[] = {
    OF_TWO(0, 13, 5, ALL),
    OF_TWO(OP_BF16, 13, 6, ALL),
    OF_ONE(OP_BF16, 211, 4,
           ALL),            /* more tokens than a block of rows: the gradients of keys and values collect over blocks */
    WIDE(ALL),              /* wider than a tile */
    OF_ONE(0, 397, 1, ALL), /* more than a chunk of the backward */
    OF_ONE(OP_BF16, 397, 2, ALL),
    OF_ONE(OP_BF16, 1, 2, ALL),
    OF_TWO(0, 13, 5, 0),
    OF_TWO(0, 13, 5, 12),
    OF_TWO(OP_BF16, 13, 6, 0),
    OF_ONE(OP_BF16, 211, 4, 100),
    OF_ONE(OP_BF16, 211, 4, 210),
    WIDE(5),
    WIDE(36),
    OF_ONE(0, 1, 1, 0),
    {.op = "attention",
     .modes = OP_VALUE | OP_ROWS,
     .attrs = {ATTR("heads", HEADS), ATTR("query", ALL)},
     .input = {IN("src", IMAGES, TOKENS, 3 * DIM)},
     .reference = ref_attention,
     .outputs = 3,
     .f32 = F32_SUM(DIM)},
    {.op = "attention_grad",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .attrs = {ATTR("heads", HEADS), ATTR("query", ALL)},
     .input = {IN("src", IMAGES, TOKENS, 3 * DIM),
               IN("dst", IMAGES, TOKENS, DIM),
               IN("diff_dst", IMAGES, TOKENS, DIM),
               {F32(IMAGES, HEADS, TOKENS), "lse", .scale = 0.5, .offset = 1}},
     .reference = ref_grad,
     .f32 = 2 * F32_SUM(DIM),
     .bf16 = 3},
    {.op = "attention",
     .modes = OP_VALUE | OP_ROWS,
     .attrs = {ATTR("heads", HEADS), ATTR("query", 1)},
     .input = {IN("src", IMAGES, TOKENS, 3 * DIM)},
     .reference = ref_attention,
     .outputs = 3,
     .f32 = F32_SUM(DIM)},
    {.op = "attention_grad",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .attrs = {ATTR("heads", HEADS), ATTR("query", 1)},
     .input = {IN("src", IMAGES, TOKENS, 3 * DIM),
               IN("dst", IMAGES, DIM),
               IN("diff_dst", IMAGES, DIM),
               {F32(IMAGES, HEADS), "lse", .scale = 0.5, .offset = 1}},
     .reference = ref_grad,
     .f32 = 2 * F32_SUM(DIM),
     .bf16 = 3},
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), NO_TESTS); }

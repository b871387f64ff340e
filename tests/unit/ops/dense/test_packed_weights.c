/* pack_weights and pack_weights_grad_src: what reads packed weights makes what it makes without. */
#include "tests/support/op_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* With packed weights an op makes the same, to the bit; and it reads them: others make another result. `product` comes with names and
 * shapes of its first two inputs. */
static void check_packed(struct op_run product, const char *packing, bool bf16)
{
    struct op_tensor *data = &product.input[0], *weights = &product.input[1];
    int64_t count = dg_desc_count(&weights->desc);
    float *weight = random_f32("weight", 1, count), *other = random_f32("other", 1, count);
    struct two_types src = random_two_types("src", 1, dg_desc_count(&data->desc));
    struct op_run pack = {.op = packing, .bf16 = bf16};
    product.bf16 = bf16;
    product.f32_outputs = 1;
    *data = tensor_of(data->name, data->desc, &src, bf16);
    weights->data = weight;
    struct op_result plain = op_run(&product);
    for (int same = 1; same >= 0; same--) {
        pack.input[0] = (struct op_tensor){"weight", weights->desc, same ? weight : other};
        struct op_result packed = op_run(&pack);
        assert_int_equal(packed.desc[0].dtype, bf16 ? DG_BF16 : DG_F32);
        product.input[2] = (struct op_tensor){"packed", packed.desc[0], packed.data[0]};
        struct op_result result = op_run(&product);
        assert_int_equal(!memcmp(result.data[0], plain.data[0], (size_t)dg_desc_bytes(&plain.desc[0])), same);
        op_result_free(&packed);
        op_result_free(&result);
    }
    free(weight);
    free(other);
    free_two_types(&src);
    op_result_free(&plain);
}

/* As many rows as the layout is made for, 1024: on any CPU it is theirs. */
static void test_packed(void **state)
{
    (void)state;
    enum { IN = 70, OUT = 50 };
    const struct op_run forward[] = {
        {.op = "linear",
         .attrs = {ATTR("out", OUT), ATTR("bias", 0)},
         .input = {{"src", F32(1024, IN)}, {"weight", F32(OUT, IN)}}},
        {.op = "conv2d", /* the image's pixels are the rows */
         .attrs = {ATTR("out", OUT), ATTR("kernel", 1), ATTR("bias", 0)},
         .input = {{"src", F32(2, 16, 32, IN)}, {"weight", F32(OUT, IN, 1, 1)}}},
        {.op = "conv2d", /* patches */
         .attrs = {ATTR("out", OUT), ATTR("kernel", 4), ATTR("stride", 4), ATTR("bias", 0)},
         .input = {{"src", F32(4, 64, 64, 3)}, {"weight", F32(OUT, 3, 4, 4)}}}};
    const struct op_run backward[] = {
        {.op = "linear_grad_src", .input = {{"diff_dst", F32(1024, OUT)}, {"weight", F32(OUT, IN)}}},
        {.op = "conv2d_grad_src",
         .attrs = {ATTR("out", OUT), ATTR("kernel", 1), ATTR("height", 16), ATTR("width", 32)},
         .input = {{"diff_dst", F32(2, 16, 32, OUT)}, {"weight", F32(OUT, IN, 1, 1)}}}};
    for (int bf16 = 0; bf16 < 2; bf16++) {
        for (size_t k = 0; k < sizeof forward / sizeof *forward; k++) check_packed(forward[k], "pack_weights", bf16);
        for (size_t k = 0; k < sizeof backward / sizeof *backward; k++)
            check_packed(backward[k], "pack_weights_grad_src", bf16);
    }
}

static const struct op_test tests[] = {OP_TEST("pack_weights pack_weights_grad_src", OP_VALUE | OP_BF16, test_packed)};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

/* pack_weights and pack_weights_grad_src: what reads packed weights makes what it makes without. */
#include "tests/support/op_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* With packed weights an op makes the same, to the bit; and it reads them: others make another result. */
static void check_packed(const char *name, const char *packing, bool bf16)
{
    enum { MANY = 1024, IN = 70, OUT = 50 }; /* as many rows as the layout is made for: on any CPU it is theirs */
    bool forward = !strcmp(name, "linear");
    int64_t width = forward ? IN : OUT;
    float *weight = random_f32("weight", 1, OUT * IN), *other = random_f32("other", 1, OUT * IN);
    struct two_types src = random_two_types("src", 1, MANY * width);
    struct op_run product = {.op = name, .bf16 = bf16, .f32_outputs = 1}, pack = {.op = packing, .bf16 = bf16};
    if (forward) {
        op_set_attr(&product, "out", OUT);
        op_set_attr(&product, "bias", 0);
    }
    product.input[0] = tensor_of(forward ? "src" : "diff_dst", F32(MANY, width), &src, bf16);
    product.input[1] = (struct op_tensor){"weight", F32(OUT, IN), weight};
    struct op_result plain = op_run(&product);
    for (int same = 1; same >= 0; same--) {
        pack.input[0] = (struct op_tensor){"weight", F32(OUT, IN), same ? weight : other};
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

static void test_packed(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        check_packed("linear", "pack_weights", bf16);
        check_packed("linear_grad_src", "pack_weights_grad_src", bf16);
    }
}

static const struct op_test tests[] = {OP_TEST("pack_weights pack_weights_grad_src", OP_VALUE | OP_BF16, test_packed)};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

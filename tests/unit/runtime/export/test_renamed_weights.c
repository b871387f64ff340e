/* Tensors under another library's names: parts apart, what it has not added to what it has or refused, by the rows of its layout. */
#include "runtime/export/weights.h"
#include "tests/support/check.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 4 };

static struct dg_export_weights list_of(int count, const struct dg_safetensors_item *item)
{
    struct dg_export_weights weights = {.item = calloc(MOST, sizeof *weights.item), .count = count};
    assert_non_null(weights.item);
    memcpy(weights.item, item, (size_t)count * sizeof *item);
    return weights;
}

static void assert_item(const struct dg_export_weights *weights, int index, const char *name, int64_t rows,
                        const float *first)
{
    const struct dg_safetensors_item *item = &weights->item[index];
    assert_true(index < weights->count);
    assert_string_equal(item->name, name);
    assert_int_equal(item->dim[0], rows);
    assert_memory_equal(item->data, first, sizeof *first);
}

static void rename_as(struct dg_export_weights *weights, const char *sign)
{
    assert_ok(dg_export_weights_rename(weights, dg_layout_find(sign), try_err));
}

/* Query, key and value are rows of one tensor. */
static void test_parts(void **state)
{
    (void)state;
    static const float value[6] = {1, 2, 3, 4, 5, 6};
    struct dg_export_weights weights =
        list_of(2, (struct dg_safetensors_item[]){
                       {"blocks.7.attn.qkv.weight", DG_SAFETENSORS_F32, 2, {3, 2}, value},
                       {"blocks.7.ls1.gamma", DG_SAFETENSORS_F32, 1, {2}, value},
                   });
    rename_as(&weights, "layer.0.norm1.weight");
    assert_int_equal(weights.count, 4);
    assert_item(&weights, 0, "layer.7.attention.q_proj.weight", 1, value);
    assert_item(&weights, 1, "layer.7.attention.k_proj.weight", 1, value + 2);
    assert_item(&weights, 2, "layer.7.attention.v_proj.weight", 1, value + 4);
    assert_item(&weights, 3, "layer.7.layer_scale1.lambda1", 2, value);
    dg_export_weights_free(&weights);
}

/* timm's DINOv3 has no bias of keys: one of zeros is left out, another refused. */
static void test_bias_of_keys(void **state)
{
    (void)state;
    float value[6] = {1, 2, 0, 0, 5, 6};
    const struct dg_safetensors_item item = {"blocks.7.attn.qkv.bias", DG_SAFETENSORS_F32, 1, {6}, value};
    struct dg_export_weights weights = list_of(1, &item);
    rename_as(&weights, "blocks.0.gamma_1");
    assert_int_equal(weights.count, 2);
    assert_item(&weights, 0, "blocks.7.attn.q_bias", 2, value);
    assert_item(&weights, 1, "blocks.7.attn.v_bias", 2, value + 4);
    dg_export_weights_free(&weights);
    value[3] = 1e-9f;
    weights = list_of(1, &item);
    struct dg_error err = {0};
    assert_int_equal(dg_export_weights_rename(&weights, dg_layout_find("blocks.0.gamma_1"), &err), DG_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "blocks.7.attn.qkv.bias has a bias of keys, which the other library has not"));
    dg_export_weights_free(&weights);
    weights = list_of(1, &item); /* transformers' has one */
    rename_as(&weights, "layer.0.norm1.weight");
    assert_int_equal(weights.count, 3);
    assert_item(&weights, 1, "layer.7.attention.k_proj.bias", 2, value + 2);
    dg_export_weights_free(&weights);
}

/* timm's DINOv2 with registers has positions of patches alone: the class token's is added to it, and ours stay as they are. */
static void test_class_position(void **state)
{
    (void)state;
    static const float token[2] = {1, 2}, position[6] = {10, 20, 30, 40, 50, 60}, sum[2] = {11, 22};
    struct dg_export_weights weights = list_of(3, (struct dg_safetensors_item[]){
                                                      {"cls_token", DG_SAFETENSORS_F32, 3, {1, 1, 2}, token},
                                                      {"pos_embed", DG_SAFETENSORS_F32, 3, {1, 3, 2}, position},
                                                      {"register_tokens", DG_SAFETENSORS_F32, 3, {1, 1, 2}, token},
                                                  });
    rename_as(&weights, "pos_embed");
    assert_int_equal(weights.count, 3);
    assert_memory_equal(weights.item[0].data, sum, sizeof sum);
    assert_item(&weights, 1, "pos_embed", 1, position + 2);
    assert_int_equal(weights.item[1].dim[1], 2);
    assert_item(&weights, 2, "reg_token", 1, token);
    dg_export_weights_free(&weights);
}

/* A tensor of zeros beside the others, also one of no numbers. */
static void test_zeros(void **state)
{
    (void)state;
    static const float value[2] = {1, 2}, zeros[2];
    const struct dg_safetensors_item item = {"x", DG_SAFETENSORS_F32, 1, {2}, value};
    struct dg_export_weights weights = list_of(1, &item);
    assert_ok(dg_export_weights_add_zeros(&weights, "mask", 2, (int64_t[]){1, 2}, try_err));
    assert_ok(dg_export_weights_add_zeros(&weights, "none", 3, (int64_t[]){1, 0, 2}, try_err));
    assert_int_equal(weights.count, 3);
    assert_item(&weights, 1, "mask", 1, zeros);
    assert_item(&weights, 0, "x", 2, value);
    assert_int_equal(weights.item[2].dim[1], 0);
    dg_export_weights_free(&weights);
}

/* A name that the layout has no row for is an error, not left out. */
static void test_no_name(void **state)
{
    (void)state;
    static const float value[3] = {1, 2, 3};
    const struct dg_safetensors_item item = {"something.weight", DG_SAFETENSORS_F32, 1, {3}, value};
    struct dg_export_weights weights = list_of(1, &item);
    struct dg_error err = {0};
    assert_int_equal(dg_export_weights_rename(&weights, dg_layout_find("layer.0.norm1.weight"), &err), DG_ERR_INTERNAL);
    assert_non_null(strstr(err.text, "something.weight"));
    dg_export_weights_free(&weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parts), cmocka_unit_test(test_bias_of_keys),
                                       cmocka_unit_test(test_class_position), cmocka_unit_test(test_zeros),
                                       cmocka_unit_test(test_no_name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

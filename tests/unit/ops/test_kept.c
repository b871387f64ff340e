/* Ops that are told which images drop path keeps: what they make of these is what they make of them among all, and the others
 * count as if nothing came from them. */
#include "ops/kernels/bf16.h"
#include "tests/support/one_op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IMAGES = 70, TOKENS = 3, DIM = 16, HEADS = 2, STREAM = 99, BATCH = 10, VIEW0 = 2 };

static const struct dg_step_info step = {.seed = 5, .step = 4};

/* As the op draws it. */
static struct one_op_result draw(double rate)
{
    return one_op_run(&(struct one_op){.op = "kept_images",
                                       .attr = {{.f = rate}, {.i = IMAGES}},
                                       .stream = STREAM,
                                       .view0 = VIEW0,
                                       .batch = BATCH,
                                       .step = step});
}

static double number(const struct dg_desc *desc, const void *data, int64_t i)
{
    return dg_is_bf16(desc) ? (double)dg_from_bf16(((const dg_bf16 *)data)[i]) : (double)((const float *)data)[i];
}

/* Image i of `full` is image place[i] of `packed`; images that have no place stay as they are. */
static void unpack(const struct dg_desc *desc, const int64_t *kept, const void *packed, void *full)
{
    size_t bytes = (size_t)(dg_desc_bytes(desc) / IMAGES);
    for (int64_t i = 0; i < IMAGES; i++) {
        int64_t place = dg_kept_place(kept)[i];
        if (place >= 0) memcpy((char *)full + (size_t)i * bytes, (const char *)packed + (size_t)place * bytes, bytes);
    }
}

struct one_case {
    const char *op;
    union dg_attr attr[2];
    int num_inputs;
    struct dg_desc desc[8];
    bool drops; /* drop path's own: the attribute is its rate */
};

/* Numbers of the op's inputs; in bf16 those that may be bf16 are. */
static void fill(struct one_op *one, const struct dg_op *op, bool bf16)
{
    for (int i = 0; i < one->num_inputs; i++) {
        if (dg_absent(&one->desc[i])) continue;
        int64_t count = dg_desc_count(&one->desc[i]);
        char name[32];
        snprintf(name, sizeof name, "input %d", i);
        float *data = random_f32(name, 1, count);
        for (int64_t k = 0; k < count && !strcmp(one->op, "layer_norm_grad") && i == 4; k++)
            data[k] = 1 + 0.1f * data[k]; /* rstd */
        one->data[i] = data;
        if (!bf16 || !dg_op_input_has(op, one->num_inputs, i, DG_BF16_OK)) continue;
        dg_bf16 *half = malloc((size_t)count * sizeof *half);
        assert_non_null(half);
        for (int64_t k = 0; k < count; k++) half[k] = dg_to_bf16(data[k]);
        free(data);
        one->data[i] = half;
        one->desc[i].dtype = DG_BF16;
    }
}

static void check(const struct one_case *c, double rate, bool bf16)
{
    const struct dg_op *op = dg_op_find(c->op);
    struct one_op_result drawn = draw(rate);
    const int64_t *kept = drawn.data[0];
    struct one_op some = {.op = c->op,
                          .attr = {c->attr[0], c->attr[1]},
                          .num_inputs = c->num_inputs,
                          .bf16 = bf16,
                          .stream = STREAM,
                          .view0 = VIEW0,
                          .batch = BATCH,
                          .step = step,
                          .kept = kept};
    if (c->drops) some.attr[0].f = rate;
    memcpy(some.desc, c->desc, sizeof c->desc);
    fill(&some, op, bf16);
    struct one_op all = some;
    all.kept = NULL;
    for (int i = 0; i < all.num_inputs; i++)
        if (dg_op_input_has(op, all.num_inputs, i, DG_COMPACT)) {
            all.data[i] = calloc(1, (size_t)dg_desc_bytes(&all.desc[i]));
            assert_non_null(all.data[i]);
            unpack(&all.desc[i], kept, some.data[i], all.data[i]);
        }
    struct one_op_result got = one_op_run(&some), want = one_op_run(&all);
    for (int o = 0; o < dg_op_num_outputs(op); o++) {
        int64_t count = dg_desc_count(&want.desc[o]), image = count / IMAGES;
        bool packed = op->outputs[o].flags & DG_COMPACT;
        double most = 0, off = 0;
        for (int64_t k = 0; k < count; k++) {
            int64_t at = k;
            if (packed && dg_kept_place(kept)[k / image] < 0) continue;
            if (packed) at = dg_kept_place(kept)[k / image] * image + k % image;
            double x = number(&got.desc[o], got.data[o], at), y = number(&want.desc[o], want.data[o], k);
            if (isnan(x)) fail_msg("%s, output %d: NaN", c->op, o);
            most = fmax(most, fabs(y));
            off = fmax(off, fabs(x - y));
        }
        if (off > most * (bf16 ? 8e-3 : 2e-6)) fail_msg("%s, output %d of up to %g is off by %g", c->op, o, most, off);
    }
    for (int i = 0; i < some.num_inputs; i++) {
        if (all.data[i] != some.data[i]) free(all.data[i]);
        free(some.data[i]);
    }
    one_op_free(&got);
    one_op_free(&want);
    one_op_free(&drawn);
}

static void test_ops(void **state)
{
    (void)state;
    const struct dg_desc x = F32(IMAGES, TOKENS, DIM), vector = F32(DIM), rows = F32(IMAGES * TOKENS),
                         wide = F32(IMAGES, TOKENS, 3 * DIM), weight = F32(3 * DIM, DIM),
                         lse = F32(IMAGES, HEADS, TOKENS), one = F32(IMAGES, DIM), one_lse = F32(IMAGES, HEADS),
                         none = DG_ABSENT_DESC;
    const struct one_case cases[] = {
        {"layer_norm", {{.f = 1e-5}}, 3, {x, vector, vector}, false},
        {"layer_norm_grad", {{0}}, 8, {x, x, vector, rows, rows, x, vector, vector}, false},
        {"layer_norm_grad", {{0}}, 8, {x, x, vector, rows, rows, none, none, none}, false},
        {"linear", {{.i = 3 * DIM}, {.i = 1}}, 3, {x, weight, F32(3 * DIM)}, false},
        {"linear", {{.i = 3 * DIM}, {.i = 0}}, 2, {one, weight}, false},
        {"linear_grad_src", {{0}}, 2, {wide, weight}, false},
        {"linear_grad_weights", {{0}}, 4, {x, wide, weight, F32(3 * DIM)}, false},
        {"linear_grad_weights", {{0}}, 4, {x, wide, none, none}, false},
        {"attention", {{.i = HEADS}, {.i = -1}}, 1, {wide}, false},
        {"attention", {{.i = HEADS}, {.i = 1}}, 1, {wide}, false},
        {"attention_grad", {{.i = HEADS}, {.i = -1}}, 4, {wide, x, x, lse}, false},
        {"attention_grad", {{.i = HEADS}, {.i = 1}}, 4, {wide, one, one, one_lse}, false},
        {"class_attention", {{.i = HEADS}, {.i = 1}}, 3, {x, weight, F32(3 * DIM)}, false},
        {"class_attention_grad",
         {{.i = HEADS}, {.i = 1}},
         6,
         {x, weight, F32(3 * DIM), one, weight, F32(3 * DIM)},
         false},
        {"class_attention_grad", {{.i = HEADS}, {.i = 1}}, 6, {x, weight, none, one, none, none}, false},
        {"gelu", {{0}}, 1, {x}, false},
        {"gelu_grad", {{0}}, 2, {x, x}, false},
        {"gelu_grad_sums", {{0}}, 3, {x, x, vector}, false},
        {"gelu_grad_sums", {{0}}, 3, {x, x, none}, false},
        {"drop_path_add", {{0}}, 2, {x, x}, true},
        {"drop_path_grad", {{0}}, 1, {x}, true},
    };
    static const double rates[] = {0.1, 0.5, 0.998};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int r = 0; r < 3; r++)
            for (int bf16 = 0; bf16 < 2; bf16++) check(&cases[c], rates[r], bf16);
    /* No op that can be told is missing here; one that has it as an input is tested below. */
    for (int i = 0; i < dg_op_count(); i++) {
        const struct dg_op *op = dg_op_at(i);
        bool there = !dg_op_any_has(op, DG_COMPACT) || dg_op_row_map(op) >= 0;
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) there = there || !strcmp(cases[c].op, op->name);
        if (!there) fail_msg("%s is not tested", op->name);
    }
}

static void test_draw(void **state)
{
    (void)state;
    static const double rates[] = {0, 0.1, 0.5, 0.998};
    for (int r = 0; r < 4; r++) {
        struct one_op_result drawn = draw(rates[r]);
        const int64_t *kept = drawn.data[0], *place = dg_kept_place(kept), *image = dg_kept_image(kept, IMAGES);
        assert_desc(drawn.desc[0], dg_desc_make(DG_I64, 1, (int64_t[]){1 + 2 * IMAGES}));
        int64_t count = 0;
        for (int64_t i = 0; i < IMAGES; i++)
            if (place[i] >= 0) {
                assert_int_equal(place[i], count);
                assert_int_equal(image[count++], i);
            }
        assert_int_equal(kept[0], count);
        double off = (double)count - IMAGES * (1 - rates[r]); /* within four deviations */
        assert_true(fabs(off) <= 4 * sqrt(IMAGES * rates[r] * (1 - rates[r])));
        one_op_free(&drawn);
    }
}

/* The sum of a branch that left images out, and the norm at the beginning of one that leaves out others. */
static void test_between_two_branches(void **state)
{
    (void)state;
    enum { ROWS = IMAGES * TOKENS, COUNT = ROWS * DIM };
    float *src = random_f32("src", 1, COUNT), *full = calloc(COUNT, sizeof *full),
          *residual = random_f32("residual", 1, COUNT), *weight = random_f32("weight", 1, DIM),
          *bias = random_f32("bias", 1, DIM);
    assert_non_null(full);
    struct dg_desc desc = F32(IMAGES, TOKENS, DIM), vector = F32(DIM);
    struct one_op_result from = draw(0.4), to = draw(0.7);
    unpack(&desc, from.data[0], src, full);
    struct one_op one = {.op = "add_layer_norm",
                         .attr = {{.f = 0.4}, {.f = 1e-5}},
                         .num_inputs = 6,
                         .desc = {desc, desc, vector, vector, DG_ABSENT_DESC, DG_ABSENT_DESC},
                         .data = {full, residual, weight, bias, NULL, NULL},
                         .stream = STREAM,
                         .view0 = VIEW0,
                         .batch = BATCH,
                         .step = step};
    struct one_op_result want = one_op_run(&one);
    one.data[0] = src;
    one.desc[4] = from.desc[0];
    one.data[4] = from.data[0];
    one.desc[5] = to.desc[0];
    one.data[5] = to.data[0];
    for (int in_place = 0; in_place < 2; in_place++) {
        one.in_place = in_place;
        struct one_op_result got = one_op_run(&one);
        assert_memory_equal(got.data[0], want.data[0], COUNT * sizeof(float));
        for (int o = 1; o < 4; o++) {
            int64_t size = dg_desc_count(&want.desc[o]) / IMAGES;
            for (int64_t i = 0; i < IMAGES; i++) {
                int64_t place = dg_kept_place(to.data[0])[i];
                if (place >= 0)
                    assert_memory_equal((float *)got.data[o] + place * size, (float *)want.data[o] + i * size,
                                        (size_t)size * sizeof(float));
            }
        }
        one_op_free(&got);
    }
    one_op_free(&want);
    one_op_free(&from);
    one_op_free(&to);
    free(src);
    free(full);
    free(residual);
    free(weight);
    free(bias);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draw),
        cmocka_unit_test(test_ops),
        cmocka_unit_test(test_between_two_branches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

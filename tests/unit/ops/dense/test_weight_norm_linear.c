/* The prototype layer: against its definition; accumulators, outputs nobody wants, and its blocks across threads. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ref_weight_norm(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = call->input[0].dim[0], d = call->input[0].dim[1], k = (int64_t)attr_of(call, "out");
    for (int64_t o = 0; o < k; o++) {
        double square = 0;
        for (int64_t c = 0; c < d; c++) square += in[2][o * d + c] * in[2][o * d + c];
        for (int64_t r = 0; r < rows; r++) {
            double sum = 0;
            for (int64_t c = 0; c < d; c++) sum += in[0][r * d + c] * in[2][o * d + c];
            out[0][r * k + o] = sum * in[1][o] / sqrt(square);
        }
    }
}

#define WEIGHT_NORM(train)                                                                                             \
    {                                                                                                                  \
        .op = "weight_norm_linear", .modes = OP_VALUE | OP_GRADIENT,                                                   \
        .attrs = {ATTR("out", 601) /* three blocks of prototypes */, ATTR("train_g", train)},                          \
        .input = {IN("src", 5, 13)}, .reference = ref_weight_norm, .grad = {true}, .f32 = F32_SUM(13),                 \
        .f32_grad = F32_SUM(601)                                                                                       \
    }

static const struct op_case cases[] = {WEIGHT_NORM(false), WEIGHT_NORM(true)};

enum { M = 7, D = 19, K = 1031 }; /* K: four blocks of prototypes and a part of one */

struct tensors {
    float *src, *g, *v, *diff_dst, *acc_g, *acc_v;
};

static struct tensors make(void)
{
    return (struct tensors){random_f32("src", 1, M * D),      random_f32("g", 1, K),     random_f32("v", 1, K * D),
                            random_f32("diff_dst", 1, M * K), random_f32("acc_g", 5, K), random_f32("acc_v", 5, K * D)};
}

static void drop(struct tensors *t)
{
    float *all[] = {t->src, t->g, t->v, t->diff_dst, t->acc_g, t->acc_v};
    for (int i = 0; i < 6; i++) free(all[i]);
}

static struct op_run backward(const struct tensors *t, bool with_acc)
{
    return (struct op_run){
        .op = "weight_norm_linear_grad",
        .input = {{"src", F32(M, D), t->src},
                  {"diff_dst", F32(M, K), t->diff_dst},
                  {"weight_g", F32(K, 1), t->g},
                  {"weight_v", F32(K, D), t->v},
                  {"acc_g", with_acc ? F32(K, 1) : DG_ABSENT_DESC, t->acc_g},
                  {"acc_v", with_acc ? F32(K, D) : DG_ABSENT_DESC, t->acc_v}},
    };
}

/* torch.nn.utils.weight_norm and a linear layer, in f64. */
static void reference(const struct tensors *t, bool with_acc, double *diff_src, double *diff_g, double *diff_v)
{
    memset(diff_src, 0, M * D * sizeof *diff_src);
    for (int k = 0; k < K; k++) {
        const float *v = t->v + k * D;
        double square = 0, dw[D] = {0}, along = 0;
        for (int c = 0; c < D; c++) square += (double)v[c] * v[c];
        double length = sqrt(square), scale = t->g[k] / length;
        for (int m = 0; m < M; m++)
            for (int c = 0; c < D; c++) {
                dw[c] += (double)t->diff_dst[m * K + k] * t->src[m * D + c];
                diff_src[m * D + c] += (double)t->diff_dst[m * K + k] * v[c] * scale;
            }
        for (int c = 0; c < D; c++) along += dw[c] * v[c];
        diff_g[k] = (with_acc ? t->acc_g[k] : 0) + along / length;
        for (int c = 0; c < D; c++)
            diff_v[k * D + c] = (with_acc ? t->acc_v[k * D + c] : 0) + scale * (dw[c] - v[c] * along / square);
    }
}

static void test_backward(void **state)
{
    (void)state;
    struct tensors t = make();
    double *diff_src = malloc(M * D * sizeof *diff_src), *diff_g = malloc(K * sizeof *diff_g);
    double *diff_v = malloc(K * D * sizeof *diff_v);
    for (int with_acc = 0; with_acc < 2; with_acc++) {
        reference(&t, with_acc, diff_src, diff_g, diff_v);
        for (int in_place = 0; in_place < 2; in_place++)
            for (uint32_t unwanted = 0; unwanted < 4; unwanted++) {
                struct op_run op = backward(&t, with_acc);
                op.in_place = in_place;
                op.unwanted = unwanted;
                struct op_result r = op_run(&op);
                if (!(unwanted & 1)) assert_near(r.data[0], diff_src, M * D, F32_SUM(K), "diff_src");
                if (!(unwanted & 2)) assert_near(r.data[1], diff_g, K, F32_SUM(M), "diff_g");
                assert_near(r.data[2], diff_v, K * D, F32_SUM(M), "diff_v");
                op_result_free(&r);
            }
    }
    free(diff_src);
    free(diff_g);
    free(diff_v);
    drop(&t);
}

static void test_repeats_bit_for_bit(void **state)
{
    (void)state;
    struct tensors t = make();
    for (int threads = 1; threads <= 3; threads++) {
        struct op_run op = backward(&t, true);
        op.threads = threads;
        struct op_result first = op_run(&op);
        for (int again = 0; again < 5; again++) {
            struct op_result r = op_run(&op);
            for (int o = 0; o < 3; o++)
                assert_memory_equal(r.data[o], first.data[o], (size_t)dg_desc_bytes(&r.desc[o]));
            op_result_free(&r);
        }
        op_result_free(&first);
    }
    drop(&t);
}

/* A prototype's logit does not see its length: w is g v / ||v||. */
static void test_scale_of_v_does_not_matter(void **state)
{
    (void)state;
    struct tensors t = make();
    struct op_run op = {
        .op = "weight_norm_linear",
        .attrs = {ATTR("out", K), ATTR("train_g", 1)},
        .input = {{"src", F32(M, D), t.src}, {"weight_g", F32(K, 1), t.g}, {"weight_v", F32(K, D), t.v}}};
    struct op_result one = op_run(&op);
    for (int i = 0; i < K * D; i++) t.v[i] *= i / D % 2 ? 1024.0f : 0.25f;
    struct op_result other = op_run(&op);
    assert_memory_equal(one.data[0], other.data[0], M * K * sizeof(float)); /* powers of two: exactly */
    op_result_free(&one);
    op_result_free(&other);
    drop(&t);
}

static void test_parameters(void **state)
{
    (void)state;
    const struct dg_op *op = dg_op_find("weight_norm_linear");
    struct dg_desc src = F32(M, 256);
    for (int train_g = 0; train_g < 2; train_g++) {
        union dg_attr attr[] = {{.i = 1000}, {.i = train_g}};
        struct dg_op_call call = {.op = op, .attr = attr, .num_inputs = 1, .input = &src, .train = true};
        struct dg_param_need need[DG_MAX_PARAMS];
        struct dg_error err = {0};
        assert_int_equal(op->params(&call, need, &err), 2);
        assert_string_equal(need[0].name, "weight_g"); /* g before v, as the published files have it */
        assert_string_equal(need[1].name, "weight_v");
        assert_desc(need[0].desc, F32(1000, 1));
        assert_desc(need[1].desc, F32(1000, 256));
        assert_int_equal(need[0].trainable, train_g);
        assert_true(need[1].trainable && !need[0].buffer && !need[1].buffer);
        assert_true(need[0].init.kind == DG_INIT_CONSTANT && need[0].init.value == 1 && !need[0].init_from_yaml);
        assert_true(need[1].init.kind == DG_INIT_UNIFORM && need[1].init.value == 0.0625 && need[1].init_from_yaml);
    }
}

static const struct op_test tests[] = {
    OP_TEST("weight_norm_linear_grad", OP_VALUE, test_backward),
    OP_TEST("weight_norm_linear_grad", OP_VALUE, test_repeats_bit_for_bit),
    OP_TEST("weight_norm_linear", OP_VALUE, test_scale_of_v_does_not_matter),
    OP_TEST("weight_norm_linear", 0, test_parameters),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

/* SGD and LARS against their formulas in f64. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double norm(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* Three steps of one parameter against the formulas in f64: PyTorch's SGD (momentum 0.9, weight decay added to the
 * gradient) and LARS as the published code has it (You et al. 2017; tensors of one dimension are left alone). */
static void check_sgd(bool lars, bool vector, bool frozen_first)
{
    enum { ELEMENTS = 5000 };
    float *param = random_f32("param", 0.1, ELEMENTS), *buffer = calloc(ELEMENTS, sizeof *buffer),
          *teacher = malloc(ELEMENTS * 4);
    double want_param[ELEMENTS], want_buffer[ELEMENTS] = {0}, want_teacher[ELEMENTS];
    double lr = 0.3, decay = 0.01, clip = 1.5, momentum = 0.9, eta = 0.02, average = 0.99;
    for (int i = 0; i < ELEMENTS; i++) want_teacher[i] = want_param[i] = (double)(teacher[i] = param[i]);
    for (int s = 0; s < 3; s++) {
        char name[16];
        snprintf(name, sizeof name, "grad%d", s);
        float *grad = random_f32(name, 0.05 * (s + 1), ELEMENTS);
        double norms[2] = {7, norm(grad, ELEMENTS)}, frozen = frozen_first && !s;
        struct dg_desc desc = vector ? F32(ELEMENTS) : F32(50, 100), scalar = dg_desc_scalar(DG_F64);
        struct op_run op = {.op = lars ? "lars" : "sgd",
                            .attrs = {ATTR("norm_index", 1), ATTR("decay", !vector)},
                            .input = {{"param", desc, param},
                                      {"grad", desc, grad},
                                      {"norms", dg_desc_make(DG_F64, 1, (int64_t[]){2}), norms},
                                      {"buffer", desc, buffer},
                                      {"teacher", desc, teacher},
                                      {"lr", scalar, &lr},
                                      {"weight_decay", scalar, &decay},
                                      {"clip", scalar, &clip},
                                      {"momentum", scalar, &momentum},
                                      {"eta", lars ? scalar : DG_ABSENT_DESC, &eta},
                                      {"teacher_momentum", scalar, &average},
                                      {"frozen", scalar, &frozen}}};
        struct op_result none = op_run(&op);
        op_result_free(&none);
        double factor = fmin(1, clip / (norms[1] + 1e-6)), p2 = 0, d2 = 0, scale = 1, wd = vector ? 0 : decay;
        for (int i = 0; i < ELEMENTS && !frozen; i++) {
            double d = (double)grad[i] * factor + wd * want_param[i];
            p2 += want_param[i] * want_param[i];
            d2 += d * d;
        }
        if (lars && !vector && !frozen) scale = eta * sqrt(p2) / sqrt(d2);
        for (int i = 0; i < ELEMENTS; i++) {
            if (!frozen) {
                want_buffer[i] = momentum * want_buffer[i] + scale * ((double)grad[i] * factor + wd * want_param[i]);
                want_param[i] -= lr * want_buffer[i];
            }
            want_teacher[i] = average * want_teacher[i] + (1 - average) * want_param[i];
        }
        free(grad);
    }
    assert_near(param, want_param, ELEMENTS, 1e-6, "param");
    assert_near(buffer, want_buffer, ELEMENTS, 1e-6, "buffer");
    assert_near(teacher, want_teacher, ELEMENTS, 1e-6, "teacher");
    free(param);
    free(buffer);
    free(teacher);
}

static void test_sgd_and_lars(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) check_sgd(i & 1, i & 2, i & 4);
}

/* All-zero weights or gradients: the ratio of norms means nothing, and LARS steps as SGD would. */
static void test_lars_of_nothing(void **state)
{
    (void)state;
    float param[4] = {0}, grad[4] = {1, 2, 3, 4}, buffer[4] = {0};
    double norms[1] = {5}, lr = 0.1, zero = 0, momentum = 0.9, eta = 0.001;
    struct dg_desc desc = F32(2, 2), scalar = dg_desc_scalar(DG_F64);
    struct op_run op = {.op = "lars",
                        .attrs = {ATTR("norm_index", 0), ATTR("decay", 1)},
                        .input = {{"param", desc, param},
                                  {"grad", desc, grad},
                                  {"norms", dg_desc_make(DG_F64, 1, (int64_t[]){1}), norms},
                                  {"buffer", desc, buffer},
                                  {"lr", scalar, &lr},
                                  {"weight_decay", scalar, &zero},
                                  {"clip", scalar, &zero},
                                  {"momentum", scalar, &momentum},
                                  {"eta", scalar, &eta}}};
    struct op_result none = op_run(&op);
    op_result_free(&none);
    assert_near(param, (double[]){-0.1, -0.2, -0.3, -0.4}, 4, 1e-6, "param");
}

static const struct op_test tests[] = {
    OP_TEST("sgd lars", OP_VALUE, test_sgd_and_lars),
    OP_TEST("lars", OP_VALUE, test_lars_of_nothing),
};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

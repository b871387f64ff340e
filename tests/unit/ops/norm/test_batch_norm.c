/* batch_norm and its gradient against their definitions; running statistics. */
#include "tests/support/op_harness.h"
#include "tests/support/peers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ref_batch_norm(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = dg_desc_rows(&call->input[0]), n = dg_desc_count(&call->input[0]) / rows;
    bool relu = attr_of(call, "relu") != 0;
    for (int64_t c = 0; c < n; c++) {
        double mean = 0, var = 0;
        for (int64_t r = 0; r < rows; r++) mean += in[0][r * n + c] / (double)rows;
        for (int64_t r = 0; r < rows; r++) var += pow(in[0][r * n + c] - mean, 2) / (double)rows;
        for (int64_t r = 0; r < rows; r++) {
            double y = (in[0][r * n + c] - mean) / sqrt(var + attr_of(call, "eps")) * in[1][c] + in[2][c];
            out[0][r * n + c] = relu && y < 0 ? 0 : y;
        }
    }
}

/* diff_dst, src, weight, mean, var, dst, then what is added to the gradients of weight and bias. */
static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t rows = dg_desc_rows(&call->input[0]), n = dg_desc_count(&call->input[0]) / rows;
    bool relu = attr_of(call, "relu") != 0;
    for (int64_t c = 0; c < n; c++) {
        double rstd = 1 / sqrt(in[4][c] + attr_of(call, "eps")), sum = 0, sum_x = 0;
        for (int64_t r = 0; r < rows; r++) {
            double g = relu && in[5][r * n + c] <= 0 ? 0 : in[0][r * n + c];
            sum += g;
            sum_x += g * (in[1][r * n + c] - in[3][c]) * rstd;
        }
        for (int64_t r = 0; r < rows; r++) {
            double g = relu && in[5][r * n + c] <= 0 ? 0 : in[0][r * n + c];
            double x = (in[1][r * n + c] - in[3][c]) * rstd;
            out[0][r * n + c] = in[2][c] * rstd * (g - sum / (double)rows - x * sum_x / (double)rows);
        }
        out[1][c] = (in[6] ? in[6][c] : 0) + sum_x;
        out[2][c] = (in[7] ? in[7][c] : 0) + sum;
    }
}

#define NORM(with_relu, more, grad_tolerance, ...)                                                                     \
    {                                                                                                                  \
        .op = "batch_norm", .modes = OP_VALUE | OP_GRADIENT | (more), .attrs = {ATTR("relu", with_relu)},              \
        .input = {IN("src", __VA_ARGS__)}, .reference = ref_batch_norm, .grad = {true}, .f32 = F32_SUM(101),           \
        .f32_grad = grad_tolerance, .bf16_grad = 1                                                                     \
    }
#define NORMS(...) NORM(0, OP_BF16, 4 * F32_SUM(101), __VA_ARGS__), NORM(1, OP_BF16, 4 * F32_SUM(101), __VA_ARGS__)
/* Of two rows the gradient is the difference of rounded numbers that are up to 1 / eps times as large. */
#define NORMS_OF_TWO(...) NORM(0, 0, F32_ROUNDING / 1e-5, __VA_ARGS__), NORM(1, 0, F32_ROUNDING / 1e-5, __VA_ARGS__)

#define GRAD(with_relu, ...)                                                                                           \
    {                                                                                                                  \
        .op = "batch_norm_grad", .modes = OP_VALUE | OP_BF16, .attrs = {ATTR("relu", with_relu)},                      \
        .input = {IN("diff_dst", 9, 7, 19),                                                                            \
                  IN("src", 9, 7, 19),                                                                                 \
                  IN("weight", 19),                                                                                    \
                  {F32(19), "mean", .scale = 0.1},                                                                     \
                  {F32(19), "var", .scale = 0.4, .offset = 1},                                                         \
                  __VA_ARGS__},                                                                                        \
        .reference = ref_grad, .outputs = 3, .f32 = F32_SUM(9 * 7)                                                     \
    }

static const struct op_case cases[] = {
    NORMS(5, 7, 19),
    NORMS_OF_TWO(2, 1, 1, 33),
    NORMS(101, 17),
    NORMS_OF_TWO(2, 5),
    NORMS(37, 67),
    GRAD(0, IN("acc_weight", 19)),
    GRAD(0, IN("acc_weight", 19), IN("acc_bias", 19)),
    GRAD(1, IN("dst", 9, 7, 19), IN("acc_weight", 19), IN("acc_bias", 19)),
};
/* A large common offset must not cost the variance its digits. */
static void test_batch_norm_offset(void **state)
{
    (void)state;
    enum { ROWS = 4000, COLS = 70 };
    float *src = random_f32("offset", 1, ROWS * COLS), ones[COLS], zeros[COLS] = {0};
    double mean[COLS] = {0}, var[COLS] = {0};
    for (int64_t i = 0; i < ROWS * COLS; i++) src[i] += 1000;
    for (int64_t i = 0; i < ROWS * COLS; i++) mean[i % COLS] += (double)src[i] / ROWS;
    for (int64_t i = 0; i < ROWS * COLS; i++) var[i % COLS] += pow((double)src[i] - mean[i % COLS], 2) / ROWS;
    for (int c = 0; c < COLS; c++) ones[c] = 1;
    int64_t tracked = 0;
    struct op_run op = {.op = "batch_norm",
                        .attrs = {ATTR("eps", 1e-5), ATTR("momentum", 0.1)},
                        .input = {{"src", F32(ROWS, COLS), src},
                                  {"weight", F32(COLS), ones},
                                  {"bias", F32(COLS), zeros},
                                  {"running_mean", F32(COLS), zeros},
                                  {"running_var", F32(COLS), ones},
                                  {"num_batches_tracked", dg_desc_scalar(DG_I64), &tracked}}};
    struct op_result r = op_run(&op);
    assert_near(r.data[1], mean, COLS, 1e-7, "mean");
    assert_near(r.data[2], var, COLS, 1e-5, "var");
    op_result_free(&r);
    free(src);
}

/* Running statistics: PyTorch's rule, unbiased variance, a counter; eval mode reads them. */
static void test_batch_norm_running(void **state)
{
    (void)state;
    float running_mean[] = {1, -2}, running_var[] = {4, 0.25f}, mean[] = {3, 0}, var[] = {2, 8};
    int64_t tracked = 41;
    struct op_run update = {.op = "batch_norm_update",
                            .attrs = {ATTR("momentum", 0.1), ATTR("count", 5)},
                            .input = {{"running_mean", F32(2), running_mean},
                                      {"running_var", F32(2), running_var},
                                      {"num_batches_tracked", dg_desc_scalar(DG_I64), &tracked},
                                      {"mean", F32(2), mean},
                                      {"var", F32(2), var}}};
    struct op_result none = op_run(&update);
    op_result_free(&none);
    assert_near(running_mean, (double[]){1.2, -1.8}, 2, 1e-7, "running_mean");
    assert_near(running_var, (double[]){0.9 * 4 + 0.1 * 2 * 5 / 4, 0.9 * 0.25 + 0.1 * 8 * 5 / 4}, 2, 1e-7,
                "running_var");
    assert_int_equal(tracked, 42);

    float src[] = {5, 1, -1, 2}, weight[] = {2, 3}, bias[] = {0.5f, -1};
    float m[] = {1, 0}, v[] = {4, 0.25f};
    struct op_run eval = {.op = "batch_norm",
                          .attrs = {ATTR("eps", 0), ATTR("momentum", 0.1)},
                          .input = {{"src", F32(2, 2), src},
                                    {"weight", F32(2), weight},
                                    {"bias", F32(2), bias},
                                    {"running_mean", F32(2), m},
                                    {"running_var", F32(2), v},
                                    {"num_batches_tracked", dg_desc_scalar(DG_I64), &tracked}},
                          .unwanted = 6,
                          .eval = true};
    struct op_result r = op_run(&eval);
    assert_near(r.data[0], (double[]){4.5, 5, -1.5, 11}, 4, 1e-6, "dst");
    op_result_free(&r);
    struct op_run single = eval;
    single.eval = false;
    op_input(&single, "src")->desc = F32(1, 2);
    op_refused(&single, "training needs more than one row");
}

enum { PEERS = 3, PEER_ROWS = 4, PEER_COLS = 5, PEER_COUNT = PEER_ROWS * PEER_COLS, ALL = PEERS * PEER_COUNT };

static const struct op_attr eps = ATTR("eps", 1e-3);

/* The rows of all processes, and the gradient of what they become. */
struct joined {
    float *src, *weight, *bias, *g; /* src and g [ALL], weight and bias [PEER_COLS] */
    double x[ALL], w[PEER_COLS], b[PEER_COLS];
};

/* The sum of g times batch_norm of the joined rows, in f64. */
static double sum_of(struct joined *j)
{
    double dst[ALL], sum = 0;
    union dg_attr attr[] = {{.f = eps.value}, {.f = 0.1}, {.i = 0}};
    const struct dg_desc desc = F32(PEERS * PEER_ROWS, PEER_COLS);
    const struct dg_op_call call = {.op = op_by_name("batch_norm"), .attr = attr, .input = &desc, .num_inputs = 1};
    ref_batch_norm(&call, (double *[]){j->x, j->w, j->b}, (double *[]){dst});
    for (int i = 0; i < ALL; i++) sum += (double)j->g[i] * dst[i];
    return sum;
}

/* Its derivative by one of the numbers of x, w and b. */
static double slope_of(struct joined *j, double *number)
{
    const double h = 1e-5, was = *number;
    *number = was + h;
    double up = sum_of(j);
    *number = was - h;
    double down = sum_of(j);
    *number = was;
    return (up - down) / (2 * h);
}

/* Moments are those of all rows, to the bit the same in each process; those of the first process are returned. */
static struct op_result check_moments_of_peers(const struct joined *j)
{
    float unused[PEER_COLS] = {0};
    int64_t tracked = 0;
    struct op_run run[PEERS];
    struct op_result result[PEERS];
    for (int rank = 0; rank < PEERS; rank++)
        run[rank] = (struct op_run){.op = "batch_norm",
                                    .attrs = {eps},
                                    .input = {{"src", F32(PEER_ROWS, PEER_COLS), j->src + rank * PEER_COUNT},
                                              {"weight", F32(PEER_COLS), j->weight},
                                              {"bias", F32(PEER_COLS), j->bias},
                                              {"running_mean", F32(PEER_COLS), unused},
                                              {"running_var", F32(PEER_COLS), unused},
                                              {"num_batches_tracked", dg_desc_scalar(DG_I64), &tracked}}};
    op_run_peers(run, PEERS, result);
    for (int rank = 1; rank < PEERS; rank++) {
        assert_same_output(&result[rank], 1, &result[0], 1);
        assert_same_output(&result[rank], 2, &result[0], 2);
        op_result_free(&result[rank]);
    }
    return result[0];
}

/* Where processes see each other's rows, what each makes of the gradient is the derivative of a sum over all rows, by differences
 * of the definition. Weights get their own rows' part. */
static void test_batch_norm_of_peers(void **state)
{
    (void)state;
    struct joined j = {random_f32("src", 1, ALL), random_f32("weight", 1, PEER_COLS), random_f32("bias", 1, PEER_COLS),
                       random_f32("g", 1, ALL)};
    double diff_weights[2][PEER_COLS] = {{0}};
    for (int i = 0; i < ALL; i++) j.x[i] = (double)j.src[i];
    for (int c = 0; c < PEER_COLS; c++) j.w[c] = (double)j.weight[c], j.b[c] = (double)j.bias[c];
    struct op_result first = check_moments_of_peers(&j), result[PEERS];
    struct op_run run[PEERS];
    for (int rank = 0; rank < PEERS; rank++)
        run[rank] = (struct op_run){.op = "batch_norm_grad",
                                    .attrs = {eps},
                                    .input = {{"diff_dst", F32(PEER_ROWS, PEER_COLS), j.g + rank * PEER_COUNT},
                                              {"src", F32(PEER_ROWS, PEER_COLS), j.src + rank * PEER_COUNT},
                                              {"weight", F32(PEER_COLS), j.weight},
                                              {"mean", F32(PEER_COLS), first.data[1]},
                                              {"var", F32(PEER_COLS), first.data[2]}}};
    op_run_peers(run, PEERS, result);
    for (int rank = 0; rank < PEERS; rank++) {
        double want[PEER_COUNT];
        for (int i = 0; i < PEER_COUNT; i++) want[i] = slope_of(&j, &j.x[rank * PEER_COUNT + i]);
        assert_near(result[rank].data[0], want, PEER_COUNT, 1e-5, "diff_src");
        for (int c = 0; c < PEER_COLS; c++) {
            diff_weights[0][c] += (double)((float *)result[rank].data[1])[c];
            diff_weights[1][c] += (double)((float *)result[rank].data[2])[c];
        }
        op_result_free(&result[rank]);
    }
    for (int k = 0; k < 2; k++)
        for (int c = 0; c < PEER_COLS; c++) {
            double want = slope_of(&j, k ? &j.b[c] : &j.w[c]);
            if (fabs(diff_weights[k][c] - want) > 1e-5 * (1 + fabs(want)))
                fail_msg("%g, not %g", diff_weights[k][c], want);
        }
    op_result_free(&first);
    free(j.src);
    free(j.g);
    free(j.weight);
    free(j.bias);
}

static const struct op_test tests[] = {
    OP_TEST("batch_norm", OP_VALUE, test_batch_norm_offset),
    OP_TEST("batch_norm", OP_VALUE, test_batch_norm_of_peers),
    OP_TEST("batch_norm_update", OP_VALUE, test_batch_norm_running),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

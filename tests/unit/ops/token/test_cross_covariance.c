/* cross_covariance_attention and its gradient, with heads whose width is no multiple of four. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* One head: numbers of q, k, v at `at(part, token, channel)`. */
struct head {
    int64_t tokens, width, dim;
    const double *src; /* of the image and head, rows of 3 x dim */
    double *cosine, *probs, *size[2];
};

static double at(const struct head *h, int part, int64_t t, int64_t c)
{
    return h->src[t * 3 * h->dim + part * h->dim + c];
}

static void attend(struct head *h, double temperature)
{
    int64_t w = h->width;
    for (int part = 0; part < 2; part++)
        for (int64_t c = 0; c < w; c++) {
            double sum = 0;
            for (int64_t t = 0; t < h->tokens; t++) sum += at(h, part, t, c) * at(h, part, t, c);
            h->size[part][c] = fmax(sqrt(sum), 1e-12);
        }
    for (int64_t i = 0; i < w; i++) {
        double all = 0;
        for (int64_t j = 0; j < w; j++) {
            double dot = 0;
            for (int64_t t = 0; t < h->tokens; t++) dot += at(h, 0, t, i) * at(h, 1, t, j);
            h->cosine[i * w + j] = dot / (h->size[0][i] * h->size[1][j]);
            all += h->probs[i * w + j] = exp(temperature * h->cosine[i * w + j]);
        }
        for (int64_t j = 0; j < w; j++) h->probs[i * w + j] /= all;
    }
}

static struct head head_of(const struct dg_op_call *call, const double *src, int64_t task)
{
    const struct dg_desc *d = &call->input[0];
    int64_t heads = (int64_t)attr_of(call, "heads"), dim = d->dim[2] / 3, width = dim / heads;
    struct head h = {d->dim[1], width, dim, src + task / heads * d->dim[1] * 3 * dim + task % heads * width,
                     malloc((size_t)(2 * width * width + 2 * width) * sizeof(double))};
    assert_non_null(h.cosine);
    h.probs = h.cosine + width * width;
    h.size[0] = h.probs + width * width;
    h.size[1] = h.size[0] + width;
    return h;
}

static void ref_forward(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t heads = (int64_t)attr_of(call, "heads");
    for (int64_t task = 0; task < call->input[0].dim[0] * heads; task++) {
        struct head h = head_of(call, in[0], task);
        attend(&h, in[1][task % heads]);
        for (int64_t t = 0; t < h.tokens; t++)
            for (int64_t i = 0; i < h.width; i++) {
                double *dst = &out[0][(task / heads * h.tokens + t) * h.dim + task % heads * h.width + i];
                *dst = 0;
                for (int64_t j = 0; j < h.width; j++) *dst += h.probs[i * h.width + j] * at(&h, 2, t, j);
            }
        free(h.cosine);
    }
}

/* src, diff_dst, temperature, acc. By the forward's differences in f64: four points a number. */
static void ref_grad(const struct dg_op_call *call, double *const *in, double *const *out)
{
    const struct dg_desc *src = &call->input[0];
    struct dg_desc input[] = {*src, call->input[2]};
    struct dg_op_call forward = *call;
    forward.input = input;
    int64_t numbers = dg_desc_count(src), dst = numbers / 3, heads = call->input[2].dim[0];
    static const double step[4] = {-2, -1, 1, 2}, weight[4] = {1, -8, 8, -1};
    double *made = malloc((size_t)dst * sizeof *made);
    assert_non_null(made);
    for (int64_t n = 0; n < numbers + heads; n++) {
        double *x = n < numbers ? &in[0][n] : &in[2][n - numbers], here = *x, h = 1e-4, sum = 0;
        for (int k = 0; k < 4; k++) {
            double dot = 0;
            *x = here + step[k] * h;
            ref_forward(&forward, (double *const[]){in[0], in[2]}, (double *const[]){made});
            for (int64_t i = 0; i < dst; i++) dot += made[i] * in[1][i];
            sum += weight[k] * dot;
        }
        *x = here;
        if (n < numbers)
            out[0][n] = sum / (12 * h);
        else
            out[1][n - numbers] = sum / (12 * h) + (in[3] ? in[3][n - numbers] : 0);
    }
    free(made);
}

/* Sums over 9 tokens and 7 channels; probabilities are rounded only in registers, so that bf16 adds what is stored. */
static const struct op_case cases[] = {
    {.op = "cross_covariance_attention",
     .modes = OP_VALUE | OP_GRADIENT | OP_BF16 | OP_ROWS,
     .attrs = {ATTR("heads", 2)},
     .input = {IN("src", 3, 9, 42), {F32(2, 1, 1), "temperature", .scale = 0.5, .offset = 2}},
     .reference = ref_forward,
     .grad = {true, true},
     .f32 = 2e-6,
     .f32_grad = 1e-5,
     .bf16_grad = 1},
    {.op = "cross_covariance_attention_grad",
     .modes = OP_VALUE | OP_BF16 | OP_ROWS,
     .attrs = {ATTR("heads", 2)},
     .input = {IN("src", 10, 5, 12),
               IN("diff_dst", 10, 5, 4),
               {F32(2, 1, 1), "temperature", .scale = 0.5, .offset = 2},
               IN("acc", 2, 1, 1)},
     .reference = ref_grad,
     .outputs = 2,
     .f32 = 1e-5},
};

static void test_refusals(void **state)
{
    (void)state;
    struct op_run op = {.op = "cross_covariance_attention",
                        .attrs = {ATTR("heads", 2)},
                        .input = {{"src", F32(2, 7, 9)}, {"temperature", F32(2, 1, 1)}}};
    op_refused(&op, "input width 9 is not 3 x 2 heads");
    op_input(&op, "src")->desc = F32(2, 7, 12);
    op_input(&op, "temperature")->desc = F32(2);
    op_refused(&op, "temperature must be f32 [2, 1, 1], got f32 [2]");
}

static const struct op_test tests[] = {OP_TEST("cross_covariance_attention", 0, test_refusals)};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

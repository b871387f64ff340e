/* What a step needs whose batch is cut into slices: take_images, gather_images, zeros_like, add_mean. */
#include "tests/support/op_harness.h"
#include "tests/support/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VIEWS = 3, BATCH = 4, SLICES = 2, IN_SLICE = BATCH / SLICES };

/* Of slice 1 of 2: of each view its last two images. */
static void ref_take(const struct dg_op_call *call, double *const *in, double *const *out)
{
    int64_t image = dg_desc_count(&call->output[0]) / (VIEWS * IN_SLICE);
    for (int64_t r = 0; r < VIEWS * IN_SLICE; r++)
        memcpy(out[0] + r * image, in[0] + (r / IN_SLICE * BATCH + IN_SLICE + r % IN_SLICE) * image,
               (size_t)image * sizeof(double));
}

static void ref_zeros(const struct dg_op_call *call, double *const *in, double *const *out)
{
    (void)in;
    memset(out[0], 0, (size_t)dg_desc_count(&call->output[0]) * sizeof(double));
}

static void ref_add_mean(const struct dg_op_call *call, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dg_desc_count(&call->output[0]); i++)
        out[0][i] = in[0][i] + in[1][i] / (double)dg_slices(call);
}

/* Of one process. */
static void ref_gather(const struct dg_op_call *call, double *const *in, double *const *out)
{
    memcpy(out[0], in[0], (size_t)dg_desc_count(&call->output[0]) * sizeof(double));
}

static const double sum[] = {0.1, -2}, part[] = {3, 1e-3};

static const struct op_case cases[] = {
    {.op = "take_images",
     .modes = OP_VALUE,
     .input = {IN("src", VIEWS *BATCH, 5, 7)},
     .reference = ref_take,
     .batch = IN_SLICE,
     .slices = SLICES,
     .step = {.slice = 1}},
    {.op = "gather_images",
     .modes = OP_VALUE,
     .attrs = {ATTR("views", VIEWS)},
     .input = {IN("src", VIEWS *BATCH, 7)},
     .reference = ref_gather},
    {.op = "zeros_like", .modes = OP_VALUE, .input = {IN("like", 7, 13)}, .reference = ref_zeros},
    {.op = "zeros_like", .modes = OP_VALUE, .input = {{F64(2), "like", .data = sum}}, .reference = ref_zeros},
    {.op = "add_mean",
     .modes = OP_VALUE,
     .input = {IN("sum", 7, 13), IN("part", 7, 13)},
     .reference = ref_add_mean,
     .f32 = 2e-7,
     .slices = 3},
    {.op = "add_mean",
     .modes = OP_VALUE,
     .input = {{F64(2), "sum", .data = sum}, {F64(2), "part", .data = part}},
     .reference = ref_add_mean,
     .f32 = 1e-15,
     .slices = 3},
    {.op = "add_mean",
     .modes = OP_VALUE,
     .input = {IN("sum", 5), IN("part", 5)},
     .reference = ref_add_mean,
     .f32 = 2e-7},
};

/* Slices that were taken by so many processes come together again in each of them. */
static void test_gathered(void **state)
{
    (void)state;
    enum { COLS = 7 };
    float *src = random_f32("src", 1, VIEWS * BATCH * COLS);
    struct op_run run[SLICES];
    struct op_result taken[SLICES], all[SLICES];
    for (int slice = 0; slice < SLICES; slice++) {
        const struct op_run take = {.op = "take_images",
                                    .input = {{"src", F32(VIEWS * BATCH, COLS), src}},
                                    .batch = IN_SLICE,
                                    .slices = SLICES,
                                    .step = {.slice = slice}};
        taken[slice] = op_run(&take);
        run[slice] = (struct op_run){.op = "gather_images",
                                     .attrs = {ATTR("views", VIEWS)},
                                     .input = {{"src", taken[slice].desc[0], taken[slice].data[0]}}};
    }
    op_run_peers(run, SLICES, all);
    for (int slice = 0; slice < SLICES; slice++) {
        assert_desc(all[slice].desc[0], F32(VIEWS * BATCH, COLS));
        assert_memory_equal(all[slice].data[0], src, VIEWS * BATCH * COLS * sizeof *src);
        op_result_free(&taken[slice]);
        op_result_free(&all[slice]);
    }
    free(src);
}

static void test_refused(void **state)
{
    (void)state;
    op_refused(&(struct op_run){.op = "take_images", .input = {{"src", F32(5, 3)}}, .slices = 2},
               "the rows cannot be cut into 2 slices");
    op_refused(
        &(struct op_run){.op = "gather_images", .attrs = {ATTR("views", 2)}, .input = {{"src", F32(5, 3)}}, .ranks = 2},
        "the rows are no 2 views");
    op_refused(&(struct op_run){.op = "add_mean", .input = {{"sum", F32(5)}, {"part", F32(4)}}}, "of one shape");
}

static const struct op_test tests[] = {
    OP_TEST("gather_images", OP_VALUE, test_gathered),
    OP_TEST("take_images gather_images add_mean", 0, test_refused),
};

int main(int argc, char **argv) { return op_main(argc, argv, CASES(cases), TESTS(tests)); }

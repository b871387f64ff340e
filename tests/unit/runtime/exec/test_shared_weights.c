/* Sessions of one network for images of several sizes: with shared weights each computes what it computes alone, whichever is
 * closed first, and weights are in memory once. */
#include "ops/base/rng.h"
#include "ops/dnnl/cpu.h"
#include "runtime/exec/session.h"
#include "tests/support/check.h"
#include "tests/support/compile.h"
#include "tests/support/files.h"

enum { SIZES = 3 };
static const int sizes[SIZES][2] = {{32, 32}, {48, 32}, {32, 48}}; /* height, width */

static struct dg_plan plan[SIZES];

static void open_plans(const struct dg_compile_options *options)
{
    for (int i = 0; i < SIZES; i++) {
        struct dg_compile_options one = *options;
        one.height = sizes[i][0];
        one.width = sizes[i][1];
        one.batch = 1;
        one.output = in("one.plan");
        compile_plan(&one);
        assert_ok(dg_plan_open(in("one.plan"), &plan[i], try_err));
    }
}

static struct dg_session *open_session(int i, struct dg_shared_weights *shared)
{
    struct dg_session *session;
    struct dg_session_options options = {.threads = 2, .shared = shared};
    assert_ok(dg_session_open(&plan[i], "features", &options, &session, try_err));
    assert_ok(dg_session_initialize(session, 3, try_err));
    assert_ok(dg_session_pack(session, try_err));
    return session;
}

/* The output for an image of noise; the caller frees it. */
static float *run(struct dg_session *session, size_t *bytes)
{
    const struct dg_plan *of = dg_session_plan(session);
    const struct dg_plan_entry *entry = dg_session_entry(session);
    const struct dg_plan_tensor *input = dg_plan_slot(of, entry, DG_SLOT_IMAGES),
                                *output = dg_plan_slot(of, entry, DG_SLOT_OUTPUT);
    float *images = dg_session_slot(session, DG_SLOT_IMAGES), *copy = malloc(output->bytes);
    struct dg_rng rng = dg_rng_make(5, DG_RNG_TEST, 0, 0);
    for (size_t i = 0; i < input->bytes / sizeof *images; i++) images[i] = dg_rng_uniform(&rng, -2, 2);
    assert_ok(dg_session_compute(session, &(struct dg_step_info){0}, try_err));
    assert_non_null(copy);
    memcpy(copy, dg_session_slot(session, DG_SLOT_OUTPUT), output->bytes);
    *bytes = output->bytes;
    return copy;
}

static void check_output(struct dg_session *session, const float *want)
{
    size_t bytes;
    float *got = run(session, &bytes);
    assert_memory_equal(got, want, bytes);
    free(got);
}

static int64_t weights_of(const struct dg_session *session)
{
    struct dg_session_memory memory = dg_session_memory(session);
    return memory.region[DG_REGION_PARAM] + memory.packed;
}

/* `own`: bytes of parameters that each size has of its own. */
static void check(const struct dg_compile_options *options, int64_t own)
{
    struct dg_shared_weights *shared;
    struct dg_session *session[SIZES], *again;
    float *want[SIZES];
    int64_t alone = 0;
    size_t bytes;
    open_plans(options);
    for (int i = 0; i < SIZES; i++) {
        struct dg_session *one = open_session(i, NULL);
        want[i] = run(one, &bytes);
        alone += weights_of(one);
        dg_session_close(one);
    }
    assert_ok(dg_shared_weights_open(&shared, try_err));
    int64_t together = 0;
    for (int i = 0; i < SIZES; i++) {
        session[i] = open_session(i, shared);
        together += weights_of(session[i]);
    }
    assert_int_equal(together, dg_shared_weights_bytes(shared));
    assert_true(together < alone);
    /* Packed in as many ways as there are sizes, at worst. */
    assert_true(session[1] && dg_session_memory(session[1]).region[DG_REGION_PARAM] <= own);
    for (int i = SIZES; i--;) check_output(session[i], want[i]);
    dg_session_close(session[0]); /* which the others have their weights of */
    for (int i = 1; i < SIZES; i++) check_output(session[i], want[i]);
    again = open_session(0, shared);
    check_output(again, want[0]);
    assert_ok(dg_session_set_rows(again, 1, try_err));
    for (int i = 1; i < SIZES; i++) dg_session_close(session[i]);
    check_output(again, want[0]);
    dg_session_close(again);
    assert_int_equal(dg_shared_weights_bytes(shared), 0);
    dg_shared_weights_close(shared);
    for (int i = 0; i < SIZES; i++) {
        free(want[i]);
        dg_plan_close(&plan[i]);
    }
}

static const char *const vit[] = {"dim=32", "heads=2", "depth=2", "patch=8", "image=32"};
/* [1 + 4x6, 32] */
enum { TABLE = 25 * 32 * (int)sizeof(float) };

static void test_transformer(void **state)
{
    (void)state;
    check(
        &(struct dg_compile_options){
            .file = DG_SOURCE_DIR "/graphs/vit.yaml", .name = "vit", .set = vit, .num_sets = 5},
        TABLE);
}

static void test_types(void **state)
{
    (void)state;
    if (dg_bf16_support() == DG_BF16_NONE) skip();
    struct dg_compile_options options = {
        .file = DG_SOURCE_DIR "/graphs/vit.yaml", .name = "vit", .set = vit, .num_sets = 5, .dtype = "bf16"};
    check(&options, TABLE);
    options.dtype = "f32";
    options.math = "bf16x3";
    check(&options, TABLE);
}

/* Convolutions with batch norm in their weights. */
static void test_residual_network(void **state)
{
    (void)state;
    static const char *const set[] = {"blocks=[1, 1, 1, 1]", "planes=8", "small=true"};
    check(
        &(struct dg_compile_options){
            .file = DG_SOURCE_DIR "/graphs/resnet.yaml", .name = "resnet_basic", .set = set, .num_sets = 3},
        0);
}

/* Weights of other plans are not taken for one's own. */
static void test_other_network(void **state)
{
    (void)state;
    static const char *const other[] = {"dim=32", "heads=2", "depth=2", "patch=8", "image=32", "mlp_ratio=2"};
    struct dg_shared_weights *shared;
    struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/vit.yaml", .name = "vit", .num_sets = 5};
    assert_ok(dg_shared_weights_open(&shared, try_err));
    options.set = vit;
    open_plans(&options);
    struct dg_session *first = open_session(0, shared);
    struct dg_plan of_first = plan[0];
    for (int i = 1; i < SIZES; i++) dg_plan_close(&plan[i]);
    options.set = other;
    options.num_sets = 6;
    open_plans(&options);
    struct dg_session *alone = open_session(0, NULL), *second = open_session(0, shared);
    size_t bytes;
    float *want = run(alone, &bytes);
    check_output(second, want);
    free(want);
    dg_session_close(alone);
    dg_session_close(first);
    dg_session_close(second);
    dg_shared_weights_close(shared);
    dg_plan_close(&of_first);
    for (int i = 0; i < SIZES; i++) dg_plan_close(&plan[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transformer), cmocka_unit_test(test_types),
                                       cmocka_unit_test(test_residual_network), cmocka_unit_test(test_other_network)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

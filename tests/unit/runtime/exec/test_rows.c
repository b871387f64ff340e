/* dg_session_set_rows: the first images of a batch alone have the outputs that they have in the whole batch, to
 * rounding. */
#include "ops/base/rng.h"
#include "runtime/exec/session.h"
#include "tests/support/check.h"
#include "tests/support/compile.h"
#include "tests/support/files.h"
#include "tests/support/tiny.h"

#include <float.h>
#include <math.h>

enum { BATCH = 7 };

static void run(struct dg_session *session, const float *images, size_t bytes)
{
    assert_ok(dg_session_pack(session, try_err));
    memcpy(dg_session_slot(session, DG_SLOT_IMAGES), images, bytes);
    assert_ok(dg_session_compute(session, &(struct dg_step_info){0}, try_err));
}

/* A sum has as many terms as a row of its parameters has numbers, at most; each term is off by the rounding of a
 * product and of a sum, and layers add up. Compared with the largest number of the output's row. */
static double tolerance(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    double terms = 1;
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan->tensor[t];
        if (tensor->region == DG_REGION_PARAM && tensor->ndim > 1)
            terms = fmax(terms, (double)tensor->bytes / (double)sizeof(float) / (double)tensor->dim[0]);
    }
    return 2 * FLT_EPSILON * entry->num_ops * terms;
}

static void check(const struct dg_plan *plan, enum dg_entry_role role)
{
    const struct dg_plan_entry *entry;
    struct dg_session *session;
    if (plan->header->entry[role] == DG_PLAN_NONE) return;
    assert_ok(dg_plan_find_role(plan, role, &entry, try_err));
    assert_int_equal(entry->batch, BATCH);
    assert_ok(
        dg_session_open(plan, dg_entry_name(role), &(struct dg_session_options){.threads = 2}, &session, try_err));
    assert_ok(dg_session_initialize(session, 3, try_err));
    const struct dg_plan_tensor *input = dg_plan_slot(plan, entry, DG_SLOT_IMAGES),
                                *output = dg_plan_slot(plan, entry, DG_SLOT_OUTPUT);
    float *images = malloc(input->bytes), *want = malloc(output->bytes);
    assert_true(images && want);
    struct dg_rng rng = dg_rng_make(5, DG_RNG_TEST, 0, 0);
    for (size_t i = 0; i < input->bytes / sizeof *images; i++) images[i] = dg_rng_uniform(&rng, -2, 2);
    run(session, images, input->bytes);
    memcpy(want, dg_session_slot(session, DG_SLOT_OUTPUT), output->bytes);
    int64_t dim = (int64_t)(output->bytes / sizeof *want) / BATCH;
    static const int rows[] = {1, 3, BATCH, 6};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(dg_session_set_rows(session, rows[i], try_err));
        assert_int_equal(dg_session_rows(session), rows[i]);
        run(session, images, input->bytes * (size_t)rows[i] / BATCH); /* the others are of the run before */
        const float *got = dg_session_slot(session, DG_SLOT_OUTPUT);
        for (int64_t r = 0; r < rows[i]; r++) {
            double largest = 0, apart = 0;
            for (int64_t d = r * dim; d < (r + 1) * dim; d++) {
                largest = fmax(largest, fabs(want[d]));
                apart = fmax(apart, fabs((double)got[d] - want[d]));
            }
            if (!(apart <= tolerance(plan, entry) * largest))
                fail_msg("%s, %d rows, row %d: %g of %g apart", dg_entry_name(role), rows[i], (int)r, apart, largest);
        }
    }
    free(images);
    free(want);
    dg_session_close(session);
}

static void check_plan(const char *path)
{
    struct dg_plan plan;
    assert_ok(dg_plan_open(path, &plan, try_err));
    for (int role = DG_ENTRY_FEATURES; role < DG_ENTRY_ROLES; role++) check(&plan, (enum dg_entry_role)role);
    dg_plan_close(&plan);
}

static void check_module(const char *file, const char *name, const char *const *set, int sets, const char *dtype)
{
    compile_plan(&(struct dg_compile_options){.file = file,
                                              .name = name,
                                              .set = set,
                                              .num_sets = sets,
                                              .batch = BATCH,
                                              .height = 32,
                                              .width = 32,
                                              .dtype = dtype,
                                              .output = in("module.plan")});
    check_plan(in("module.plan"));
}

static void test_transformer(void **state)
{
    (void)state;
    dg_tiny_compile(in("tiny.plan"), NULL);
    check_plan(in("tiny.plan"));
}

static void test_residual_network(void **state)
{
    (void)state;
    static const char *const set[] = {"blocks=[1, 1, 1, 1]", "planes=8", "small=true"};
    check_module(DG_SOURCE_DIR "/graphs/resnet.yaml", "resnet_basic", set, 3, "f32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transformer), cmocka_unit_test(test_residual_network)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

/* Processes whose parameters part: it is found, with rank and tensor, and nothing is saved; a process that works alone for long; a slow one. This program
 * is also what mpirun starts. */
#include "runtime/formats/safetensors.h"
#include "runtime/train/ranks.h"
#include "runtime/train/train.h"
#include "tests/support/log.h"
#include "tests/support/mpirun.h"
#include "tests/support/tiny.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOLD "hold"
#define SELF DG_BUILD_DIR "/test_replicas"
#define PLANTED "student.backbone.blocks.1.mlp.fc2.weight"

/* ---- as one process of several ---- */

static struct dg_comm *comm;

/* Flips a bit of a parameter on the last rank, and goes on as training does. Prints what is said. */
static enum dg_status plant_bit(const char *path, struct dg_error *err)
{
    struct dg_plan plan;
    struct dg_session *session;
    const struct dg_session_options options = {.ignore_memory = true, .comm = comm};
    DG_TRY(dg_plan_open(path, &plan, err));
    DG_TRY(dg_session_open(&plan, "train", &options, &session, err));
    DG_TRY(dg_session_initialize(session, 1, err));
    DG_TRY(dg_ranks_compare(comm, session, err));
    const struct dg_plan_entry *entry = dg_session_entry(session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++)
        if (dg_comm_rank(comm) == dg_comm_ranks(comm) - 1 &&
            !strcmp(dg_plan_string(&plan, plan.tensor[t].name), PLANTED))
            ((unsigned char *)dg_session_data(session, t))[4 * 13 + 3] ^= 1 << 7;
    struct dg_rank_step agreed = {.step = 1000, .records = malloc((size_t)dg_ranks_records_bytes(comm))};
    if (!agreed.records) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (; err->status == DG_OK && agreed.step < 1000 + DG_RANK_SHARES; agreed.step++)
        dg_ranks_before_step(comm, session, &agreed, DG_OK, err);
    struct dg_error all = {0};
    bool same = dg_ranks_compare(comm, session, &all) == err->status && !strcmp(all.text, err->text);
    if (!dg_comm_rank(comm)) printf("%s, apart %d: %s\n", same ? "both" : "one", agreed.apart, err->text);
    free(agreed.records);
    dg_session_close(session);
    dg_plan_close(&plan);
    return DG_OK;
}

static void print_warning(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    (void)context, (void)level, (void)topic;
    printf("%s\n", text);
}

/* Rank 1 takes half as long again as the others. */
static enum dg_status be_slow(const char *path, struct dg_error *err)
{
    struct dg_plan plan;
    struct dg_session *session;
    const struct dg_session_options options = {.ignore_memory = true, .comm = comm};
    const struct dg_log log = {.write = print_warning};
    double busy[4] = {0};
    struct dg_rank_times times = {.busy = busy};
    void *records = malloc((size_t)dg_ranks_records_bytes(comm));
    if (!records) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    DG_TRY(dg_plan_open(path, &plan, err));
    DG_TRY(dg_session_open(&plan, "train", &options, &session, err));
    DG_TRY(dg_session_initialize(session, 1, err));
    int rank = dg_comm_rank(comm);
    for (int64_t step = 0; step < 3 * DG_RANK_TIMED && err->status == DG_OK; step++) {
        struct dg_rank_step agreed = {
            .step = step, .busy = rank == 1 ? 0.3 : 0.2, .times = rank ? NULL : &times, .records = records};
        dg_ranks_before_step(comm, session, &agreed, DG_OK, err);
        if (!rank) dg_ranks_find_slow(comm, &times, &log);
    }
    free(records);
    dg_session_close(session);
    dg_plan_close(&plan);
    return err->status;
}

static struct dg_knobs knobs;
static int asked;

/* Rank 1 takes its sixth step with another learning rate than the others. */
static bool change_rate(void *context)
{
    (void)context;
    for (uint32_t k = 0; k < knobs.plan->num_knobs; k++)
        if (asked == 5 && dg_comm_rank(comm) == 1 && !strcmp(dg_plan_string(knobs.plan, knobs.knob[k].key), "lr.peak"))
            knobs.knob[k].value[0] *= 2;
    asked++;
    return false;
}

static enum dg_status plant_rate(const char *path, const char *pictures, const char *out, struct dg_error *err)
{
    struct dg_plan plan;
    DG_TRY(dg_plan_open(path, &plan, err));
    DG_TRY(dg_knobs_open(&plan, &knobs, err));
    const struct dg_train_options options = {.data = {.path = &pictures, .paths = 1},
                                             .out = out,
                                             .steps = -1,
                                             .comm = comm,
                                             .ignore_memory = true,
                                             .events = {.stop = change_rate}};
    dg_train(&plan, &knobs, &options, err);
    if (!dg_comm_rank(comm)) printf("%s\n", err->text);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return DG_OK;
}

static void work_long(void *context)
{
    (void)context;
    sleep(4);
}

static int one_of_several(int argc, char **argv)
{
    struct dg_error err = {0};
    bool holds = !strcmp(argv[1], HOLD);
    const struct dg_comm_options options = {.stall_limit = holds ? 2 : 60};
    enum dg_status status = dg_comm_open(&options, &comm, &err);
    if (status == DG_OK && holds)
        status = dg_ranks_hold(comm, work_long, NULL, &err);
    else if (status == DG_OK && argc == 3)
        status = be_slow(argv[1], &err);
    else if (status == DG_OK)
        status = argc == 2 ? plant_bit(argv[1], &err) : plant_rate(argv[1], argv[2], argv[3], &err);
    if (status != DG_OK) fprintf(stderr, "%s\n", err.text);
    dg_comm_close(comm);
    return status != DG_OK;
}

/* ---- the tests ---- */

static char plan_path[128];

static int setup(void **state)
{
    mpi_environment();
    make_test_folder(state);
    dg_tiny_pictures(in("pictures"), 4 * TINY_BATCH);
    snprintf(plan_path, sizeof plan_path, "%s/run.plan", test_folder);
    dg_tiny_compile_ranks(plan_path, NULL, 4);
    return 0;
}

/* Of four processes three say who is wrong. */
static void test_bit(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    const struct process *p = LAUNCH(&open_mpi, "4", SELF, plan_path);
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "both, apart 1: ");
    process_assert_says(p, p->out, "rank 3 (");
    process_assert_says(p, p->out, "has another " PLANTED " than rank 0 (");
    assert_null(strstr(p->out, "more"));
}

/* The run ends, and its checkpoint is that of before. */
static void test_rate(void **state)
{
    (void)state;
    struct dg_safetensors *file;
    if (!mpi_usable(&open_mpi)) skip();
    const struct process *p = LAUNCH(&open_mpi, "2", SELF, plan_path, in("pictures"), in("run"));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "the processes no longer train the same network: rank 1 (");
    process_assert_says(p, p->out, "has another teacher.backbone.cls_token than rank 0 (");
    assert_ok(dg_safetensors_open(in("run/checkpoint.safetensors"), &file, try_err));
    assert_string_equal(dg_safetensors_metadata(file, "step"), "4");
    dg_safetensors_close(file);
}

/* Rank 0 works for longer than the stall limit, and the others wait. */
static void test_hold(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    process_assert_status(LAUNCH(&open_mpi, "2", SELF, HOLD), 0);
}

/* The slowest process is named, once. */
static void test_slow(void **state)
{
    (void)state;
    static const char said[] = "has taken 0.3 s a step for its part where others took 0.2 s: all wait for it";
    if (!mpi_usable(&open_mpi)) skip();
    const struct process *p = LAUNCH(&open_mpi, "4", SELF, plan_path, "slow");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "rank 1 (");
    process_assert_says(p, p->out, said);
    assert_null(strstr(strstr(p->out, said) + 1, said));
}

int main(int argc, char **argv)
{
    if (argc > 1) return one_of_several(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bit), cmocka_unit_test(test_rate),
                                       cmocka_unit_test(test_hold), cmocka_unit_test(test_slow)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

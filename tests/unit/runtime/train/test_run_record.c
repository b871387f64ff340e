/* run.json: what a run is, its sessions, how they ended. */
#include "runtime/train/run_record.h"

#include "runtime/base/about.h"
#include "runtime/plan/open.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/tiny.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char *const command[] = {"dinorun", "train",
                                      "odd\xff"
                                      "word",
                                      NULL};
static const char *const images[] = {"/", "@/dev/null"};
static const struct dg_data data = {.path = images, .paths = 2};

static struct dg_run_record *open_record(const struct dg_plan *plan, int64_t first_step, bool goes_on)
{
    struct dg_run_record *record;
    struct dg_error err = {0};
    const struct dg_run_about about = {.kind = "train",
                                       .plan = plan,
                                       .data = &data,
                                       .batch = 8,
                                       .images = 80,
                                       .steps_per_epoch = 10,
                                       .epochs = 3,
                                       .out_dim = 64,
                                       .seed = 7,
                                       .first_step = first_step,
                                       .goes_on = goes_on,
                                       .threads = 2,
                                       .processes = 1,
                                       .command = command};
    if (dg_run_record_open(in("run.json"), &about, NULL, &record, &err) != DG_OK) fail_msg("%s", err.text);
    return record;
}

static json_t *read_record(void)
{
    json_error_t why;
    json_t *run = json_load_file(in("run.json"), 0, &why);
    if (!run) fail_msg("%s", why.text);
    return run;
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static int64_t integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void test_sessions(void **state)
{
    struct dg_plan *plan = *state;
    struct dg_error err = {0};
    struct dg_run_record *record = open_record(plan, 0, false);
    json_t *run = read_record(), *sessions = json_object_get(run, "sessions"), *first = json_array_get(sessions, 0);
    assert_int_equal(json_array_size(sessions), 1);
    assert_string_equal(text(first, "state"), "running");
    assert_true(json_is_null(json_object_get(first, "end")));
    assert_string_equal(text(first, "version"), dg_version());
    assert_true(*text(first, "cpu") && *text(first, "kernels") && *text(first, "onednn"));
    assert_string_equal(json_string_value(json_array_get(json_object_get(first, "command"), 2)), "odd\\xffword");
    assert_string_equal(json_string_value(json_array_get(json_object_get(run, "data"), 1)), "@/dev/null");
    assert_int_equal(integer(run, "out_dim"), 64);
    assert_int_equal(integer(run, "images"), 80);
    json_decref(run);
    assert_int_equal(dg_run_record_saved(record, 10, &err), DG_OK);
    dg_run_record_close(record); /* as one that is killed leaves it */

    record = open_record(plan, 10, true);
    assert_int_equal(dg_run_record_end(record, 20, "failed", "the disk is full", &err), DG_OK);
    dg_run_record_close(record);
    run = read_record();
    sessions = json_object_get(run, "sessions");
    first = json_array_get(sessions, 0);
    json_t *second = json_array_get(sessions, 1);
    assert_int_equal(json_array_size(sessions), 2);
    assert_string_equal(text(first, "state"), "killed");
    assert_int_equal(integer(first, "last_step"), 10);
    assert_int_equal(integer(second, "first_step"), 10);
    assert_int_equal(integer(second, "last_step"), 20);
    assert_string_equal(text(second, "state"), "failed");
    assert_string_equal(text(second, "error"), "the disk is full");
    assert_int_equal(strlen(text(second, "end")), strlen("2026-11-28T03:20:00Z"));
    json_decref(run);
}

/* Neither a damaged record nor one of another run ends this one. */
static void test_begun_anew(void **state)
{
    struct dg_plan *plan = *state;
    write_file(in("run.json"), "{\"sessions\": 3", 14);
    dg_run_record_close(open_record(plan, 10, true));
    dg_run_record_close(open_record(plan, 0, false));
    json_t *run = read_record();
    assert_int_equal(json_array_size(json_object_get(run, "sessions")), 1);
    json_decref(run);
}

static struct dg_plan plan;

static int set_up(void **state)
{
    make_test_folder(state);
    dg_tiny_compile(in("tiny.plan"), NULL);
    assert_ok(dg_plan_open(in("tiny.plan"), &plan, try_err));
    *state = &plan;
    return 0;
}

static int tear_down(void **state)
{
    dg_plan_close(&plan);
    return remove_test_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sessions), cmocka_unit_test(test_begun_anew)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

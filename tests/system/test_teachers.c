/* Teachers that are copies of the student: of this step, of the last one and of the last epoch. Their runs resume to the bit, as do those of
 * the other losses and targets. */
#include "runtime/train/train.h"
#include "tests/support/log.h"
#include "tests/support/runs.h"
#include "tests/support/tiny.h"

#include <string.h>

enum { PICTURES = 20, EPOCH = PICTURES / TINY_BATCH };

static void train(const char *plan_name, const char *out, int64_t steps, bool resume)
{
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_error err = {0};
    dg_test_hush();
    assert_ok(dg_plan_open(in(plan_name), &plan, try_err));
    assert_ok(dg_knobs_open(&plan, &knobs, try_err));
    struct dg_train_options o = {.data = DG_FOLDER(in("pictures")),
                                 .out = in(out),
                                 .resume = resume,
                                 .steps = steps,
                                 .threads = 2,
                                 .log = &dg_test_log};
    if (dg_train(&plan, &knobs, &o, &err) != DG_OK) fail_msg("%s: %s", plan_name, err.text);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
}

/* The teacher's parameters in `run` are those of the student in `other`, bit for bit, or differ if `same` is false. */
static void compare(const char *run, const char *other, bool same)
{
    struct dg_safetensors *of = open_checkpoint(in(run)), *with = open_checkpoint(in(other));
    int compared = 0, different = 0;
    for (int i = 0; i < dg_safetensors_count(of); i++) {
        const struct dg_safetensors_tensor *teacher = dg_safetensors_at(of, i), *student;
        char name[160];
        if (strncmp(teacher->name, "teacher.", 8)) continue;
        snprintf(name, sizeof name, "student.%s", teacher->name + 8);
        student = dg_safetensors_find(with, name);
        assert_non_null(student);
        different += memcmp(teacher->data, student->data, teacher->bytes) != 0;
        compared++;
    }
    assert_true(compared > 10);
    if (same)
        assert_int_equal(different, 0);
    else
        assert_true(different > compared / 2);
    dg_safetensors_close(of);
    dg_safetensors_close(with);
}

static int setup(void **state)
{
    make_test_folder(state);
    dg_tiny_pictures(in("pictures"), PICTURES);
    return 0;
}

static void test_copies(void **state)
{
    (void)state;
    dg_tiny_compile(in("student.plan"), "teacher={update: student}");
    train("student.plan", "student", 3, false);
    compare("student", "student", true);

    dg_tiny_compile(in("iteration.plan"), "teacher={update: iteration}");
    train("iteration.plan", "before", 2, false);
    train("iteration.plan", "after", 3, false);
    compare("after", "before", true);
    compare("after", "after", false);

    dg_tiny_compile(in("epoch.plan"), "teacher={update: epoch}");
    train("epoch.plan", "first", EPOCH, false);
    compare("first", "first", true); /* copied at the end of the epoch */
    train("epoch.plan", "second", EPOCH + 2, false);
    compare("second", "first", true);
    compare("second", "second", false);
}

/* To the bit: a run in one piece, and one that stops within an epoch. */
static void test_resume(void **state)
{
    (void)state;
    static const char *const sets[] = {"teacher={update: epoch}",
                                       "teacher={update: iteration}",
                                       "loss={kind: mse}",
                                       "loss={kind: infonce, student_temp: 0.2}",
                                       "loss={targets: sinkhorn, teacher_temp: 0.05}",
                                       "loss={targets: softmax_batch}",
                                       "loss={teacher_temp: 0}",
                                       "loss={student_temp: {curve: linear, from: 0.2, to: 0.1, over: 1 epoch}}",
                                       "optim={clip_norm: all, layer_decay: 0.7}",
                                       "crops.global={size: 32, vertical_flip: 0.5, turn: 0.5}",
                                       "crops.global.views=[{}]",
                                       "crops.global.views=[{}, {}, {blur: 1}]",
                                       "crops.local=[{size: 16, count: 1}, {size: 24, count: 2, turn: 0.5}]"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        char whole[32], parts[32];
        snprintf(whole, sizeof whole, "whole%zu", i);
        snprintf(parts, sizeof parts, "parts%zu", i);
        dg_tiny_compile(in("other.plan"), sets[i]);
        train("other.plan", whole, EPOCH + 3, false);
        train("other.plan", parts, 3, false);
        train("other.plan", parts, EPOCH + 1, true);
        train("other.plan", parts, EPOCH + 3, true);
        assert_same_state(in(whole), in(parts), 0);
    }
}

/* A batch in two slices, as processes would share it, has the losses of one in a piece. */
static void test_slices(void **state)
{
    (void)state;
    static const char *const sets[] = {
        "teacher={update: iteration}",
        "loss={kind: mse}",
        "loss={teacher_temp: 0}",
        "optim={clip_norm: all, layer_decay: 0.7}",
        "crops.global.views=[{}]",
        "crops.global.views=[{}, {}, {}]",
        "crops.local=[{size: 16, count: 1}, {size: 24, count: 2}, {size: 32, count: 1}]"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        char piece[32], slices[32];
        snprintf(piece, sizeof piece, "piece%zu", i);
        snprintf(slices, sizeof slices, "slices%zu", i);
        dg_tiny_compile(in("piece.plan"), sets[i]);
        dg_tiny_compile_ranks(in("slices.plan"), sets[i], 2);
        train("piece.plan", piece, 3, false);
        train("slices.plan", slices, 3, false);
        assert_same_losses(in(piece), in(slices), 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_copies), cmocka_unit_test(test_resume),
                                       cmocka_unit_test(test_slices)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

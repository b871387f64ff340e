/* What --set takes and refuses, and the schedules' values, computed here once more from their formulas: those of the official
 * code's cosine_scheduler and DINOLoss.teacher_temp_schedule. */
#include "runtime/exec/knobs.h"
#include "tests/support/compile.h"
#include "tests/support/tiny.h"

#include <math.h>

/* A plan of the demo's recipe with these keys (ends with NULL), open with its knobs. */
struct opened {
    struct dg_plan plan;
    struct dg_knobs knobs;
};

static struct opened *open_plan(const char *const *set)
{
    char path[96];
    snprintf(path, sizeof path, "%s/knobs.plan", test_folder);
    const char *all[TINY_SETS + 16];
    int count = TINY_SETS;
    memcpy(all, dg_tiny_sets, sizeof dg_tiny_sets);
    while (*set) all[count++] = *set++;
    struct dg_compile_options options = {
        .file = DG_SOURCE_DIR "/graphs/demo.yaml", .output = path, .set = all, .num_sets = count, .batch = TINY_BATCH};
    compile_plan(&options);
    struct opened *o = malloc(sizeof *o);
    assert_non_null(o);
    assert_ok(dg_plan_open(path, &o->plan, try_err));
    assert_ok(dg_knobs_open(&o->plan, &o->knobs, try_err));
    return o;
}
#define OPEN(...) open_plan((const char *const[]){__VA_ARGS__, NULL})

static void close_plan(struct opened *o)
{
    dg_knobs_close(&o->knobs);
    dg_plan_close(&o->plan);
    free(o);
}

/* The assignment is taken, and `key` has these values afterwards. */
static void takes(struct dg_knobs *knobs, const char *assignment, const char *key, double first, double second)
{
    assert_ok(dg_knobs_set(knobs, assignment, try_err));
    const struct dg_plan_knob *knob = dg_knobs_find(knobs, key);
    assert_non_null(knob);
    if (knob->value[0] != first || knob->value[1] != second)
        fail_msg("%s made %s %.17g, %.17g", assignment, key, knob->value[0], knob->value[1]);
}

/* The assignment is refused in just these words, and nothing is changed. */
static void refuses(const struct opened *o, const char *assignment, const char *message)
{
    struct dg_knobs knobs = o->knobs;
    size_t bytes = o->plan.num_knobs * sizeof *knobs.knob;
    struct dg_plan_knob *before = malloc(bytes);
    struct dg_error err = {0};
    assert_non_null(before);
    memcpy(before, knobs.knob, bytes);
    assert_int_equal(dg_knobs_set(&knobs, assignment, &err), DG_ERR_USAGE);
    assert_string_equal(err.text, message);
    assert_memory_equal(before, knobs.knob, bytes);
    free(before);
}

static void test_takes(void **state)
{
    (void)state;
    struct opened *o = OPEN("lr.warmup=1 epoch", "optim.freeze.for=3 steps");
    struct dg_knobs *k = &o->knobs;
    takes(k, "optim.clip=0.3", "optim.clip", 0.3, 0);
    takes(k, "optim.clip= 3e-1 ", "optim.clip", 0.3, 0);
    takes(k, "optim.clip=0", "optim.clip", 0, 0); /* the ends of a range are in it */
    takes(k, "crops.global.hue=0.5", "crops.global.hue", 0.5, 0);
    takes(k, "epochs=7", "epochs", 7, 0);
    takes(k, "epochs=1e2", "epochs", 100, 0);
    takes(k, "crops.global.solarize_threshold=256", "crops.global.solarize_threshold", 256, 0);
    takes(k, "crops.global.scale=[0.25, 1]", "crops.global.scale", 0.25, 1);
    takes(k, "crops.global.scale=[ .5,.5 ]", "crops.global.scale", 0.5, 0.5);
    takes(k, "crops.mean.1=0.5", "crops.mean.1", 0.5, 0);
    takes(k, "lr.warmup=2", "lr.warmup", 2, 0);
    takes(k, "lr.warmup=3 epochs", "lr.warmup", 3, 0);
    takes(k, "lr.warmup=1 epoch", "lr.warmup", 1, 0);
    takes(k, "lr.warmup=0.5epochs", "lr.warmup", 0.5, 0);
    takes(k, "optim.freeze.for=20 steps", "optim.freeze.for", 20, 0);
    takes(k, "optim.betas=[0.5, 0.75]", "optim.betas.0", 0.5, 0);
    assert_true(dg_knobs_value(k, "optim.betas.1", 0) == 0.75);
    takes(k, "crops.std=[1, 2, 3]", "crops.std.0", 1, 0);
    assert_true(dg_knobs_value(k, "crops.std.2", 0) == 3);
    /* The plan itself stays. */
    struct dg_knobs other;
    assert_ok(dg_knobs_open(&o->plan, &other, try_err));
    assert_true(dg_knobs_value(&other, "optim.clip", 0) == 3);
    assert_true(dg_knobs_value(&other, "no.such.knob", 42) == 42);
    dg_knobs_close(&other);
    close_plan(o);
}

static void test_refuses(void **state)
{
    (void)state;
    struct opened *o = OPEN("lr.warmup=1 epoch", "optim.freeze.for=3 steps");
    refuses(o, "optim.clip", "--set optim.clip: expected key=value, e.g. --set optim.clip=0.3");
    refuses(o, "=3", "--set =3: expected key=value, e.g. --set optim.clip=0.3");
    refuses(o, "optim.clip=", "--set optim.clip=: expected a number");
    refuses(o, "optim.clip=much", "--set optim.clip=much: expected a number");
    refuses(o, "optim.clip=3x", "--set optim.clip=3x: expected a number");
    refuses(o, "optim.clip=[1, 2]", "--set optim.clip=[1, 2]: expected a number");
    refuses(o, "optim.clip=nan", "--set optim.clip=nan: expected a number");
    refuses(o, "optim.clip=inf", "--set optim.clip=inf: expected a number");
    refuses(o, "optim.clip=-1", "--set optim.clip=-1: -1 is outside 0 .. 1e+09");
    refuses(o, "crops.global.hue=0.51", "--set crops.global.hue=0.51: 0.51 is outside 0 .. 0.5");
    refuses(o, "optim.clip=3 epochs", "--set optim.clip=3 epochs: expected a number");
    refuses(o, "epochs=2.5", "--set epochs=2.5: expected a whole number");
    refuses(o, "epochs=0", "--set epochs=0: 0 is outside 1 .. 1e+06");
    refuses(o, "lr.warmup=5 steps", "--set lr.warmup=5 steps: expected a number of epochs");
    refuses(o, "lr.warmup=epochs", "--set lr.warmup=epochs: expected a number of epochs");
    refuses(o, "lr.warmup=1 epochss", "--set lr.warmup=1 epochss: expected a number of epochs");
    refuses(o, "optim.freeze.for=1 epoch", "--set optim.freeze.for=1 epoch: expected a number of steps");
    refuses(o, "crops.global.scale=0.5", "--set crops.global.scale=0.5: expected a pair such as [0.4, 1]");
    refuses(o, "crops.global.scale=[0.5]", "--set crops.global.scale=[0.5]: expected a pair such as [0.4, 1]");
    refuses(o, "crops.global.scale=[0.5, 1, 1]",
            "--set crops.global.scale=[0.5, 1, 1]: expected a pair such as [0.4, 1]");
    refuses(o, "crops.global.scale=[0.5, 1] x",
            "--set crops.global.scale=[0.5, 1] x: expected a pair such as [0.4, 1]");
    refuses(o, "crops.global.scale=[0.5, 2]", "--set crops.global.scale=[0.5, 2]: 2 is outside 1e-06 .. 1");
    refuses(o, "crops.global.scale=[1, 0.5]", "--set crops.global.scale=[1, 0.5]: 1 is above 0.5");
    refuses(o, "optim.betas=[0.9]", "--set optim.betas=[0.9]: expected a list of 2 numbers such as [0.9, ...]");
    refuses(o, "optim.betas=[0.8, 0.9, 1]",
            "--set optim.betas=[0.8, 0.9, 1]: expected a list of 2 numbers such as [0.9, ...]");
    refuses(o, "optim.betas=[0.8, 0.9]x",
            "--set optim.betas=[0.8, 0.9]x: expected a list of 2 numbers such as [0.9, ...]");
    refuses(o, "optim.betas=[0.8, ]", "--set optim.betas=[0.8, ]: expected a list of 2 numbers such as [0.9, ...]");
    refuses(o, "optim.betas=[0.8, 1.5]", "--set optim.betas=[0.8, 1.5]: 1.5 is outside 0 .. 1");

    /* Keys that are not knobs: the command that sets what shapes the graph; the nearest knob. */
    refuses(
        o, "head.with.out_dim=128",
        "--set head.with.out_dim=128: the plan has no knob head.with.out_dim; a key that shapes the graph is set when "
        "the plan is made: dinoc demo.yaml -o PLAN --set head.with.out_dim=128");
    refuses(
        o, "optim.clp=1",
        "--set optim.clp=1: the plan has no knob optim.clp (did you mean optim.clip?); a key that shapes the graph is "
        "set when the plan is made: dinoc demo.yaml -o PLAN --set optim.clp=1");
    struct dg_error err = {0};
    static const char *const shaping[] = {
        "student.with.depth=3",    "crops.local.count=4",      "crops.global.size=64", "batch=8",
        "optim.kind=sgd",          "optim.freeze.params=head", "lr={peak: 1}",         "lr.curve=linear",
        "entries.features.batch=9"};
    for (size_t s = 0; s < sizeof shaping / sizeof *shaping; s++) {
        err = (struct dg_error){0};
        assert_int_equal(dg_knobs_set(&o->knobs, shaping[s], &err), DG_ERR_USAGE);
        if (!strstr(err.text, "dinoc demo.yaml -o PLAN --set ")) fail_msg("%s", err.text);
    }
    close_plan(o);
}

/* --- schedules --- */

/* numpy.linspace(from, to, count) */
static void linspace(double from, double to, int count, double *out)
{
    for (int i = 0; i < count; i++) out[i] = count == 1 ? from : from + (to - from) / (count - 1) * i;
    if (count > 1) out[count - 1] = to;
}

/* The official cosine_scheduler, as arrays. */
static void cosine(double base, double final, int total, int warmup, double *out)
{
    linspace(0, base, warmup, out);
    int rest = total - warmup;
    for (int k = 0; k < rest; k++) out[warmup + k] = final + 0.5 * (base - final) * (1 + cos(M_PI * k / rest));
}

enum { EPOCHS = 4, PER_EPOCH = 7, STEPS = EPOCHS * PER_EPOCH };
static const struct dg_run_length length = {.steps_per_epoch = PER_EPOCH, .epochs = EPOCHS};

/* Every step's value; `want` has one a step. The same operations in another order may differ in the last bits. */
static void follows(const struct opened *o, const char *key, const double *want)
{
    for (int s = 0; s < STEPS; s++) {
        double got = dg_control_value(&o->knobs, key, s, length);
        if (!(fabs(got - want[s]) <= 1e-15 * fmax(1, fabs(want[s]))))
            fail_msg("%s at step %d: %.17g, expected %.17g", key, s, got, want[s]);
    }
}

/* One value an epoch to one a step. */
static void spread(const double *epoch, double *out)
{
    for (int s = 0; s < STEPS; s++) out[s] = epoch[s / PER_EPOCH];
}

static void fill(double value, double *out)
{
    for (int s = 0; s < STEPS; s++) out[s] = value;
}

static void test_schedules_by_step(void **state)
{
    (void)state;
    double want[STEPS];
    struct opened *o =
        OPEN("lr={curve: cosine, peak: 2e-3, to: 1e-5, warmup: 2 epochs}",
             "weight_decay={curve: cosine, from: 0.04, to: 0.4}", "teacher.momentum=0.99",
             "loss.teacher_temp={curve: linear, from: 0.04, to: 0.07, over: 10 steps}", "optim.freeze.for=5 steps");
    cosine(2e-3, 1e-5, STEPS, 2 * PER_EPOCH, want);
    follows(o, "lr", want);
    assert_true(dg_control_value(&o->knobs, "lr", 0, length) == 0);
    /* The peak comes twice: at the end of the warm-up and at the beginning of the curve; the end is never quite there. */
    assert_true(dg_control_value(&o->knobs, "lr", 2 * PER_EPOCH - 1, length) == 2e-3);
    assert_true(dg_control_value(&o->knobs, "lr", 2 * PER_EPOCH, length) == 2e-3);
    assert_true(dg_control_value(&o->knobs, "lr", STEPS - 1, length) > 1e-5);
    cosine(0.04, 0.4, STEPS, 0, want);
    follows(o, "weight_decay", want);
    fill(0.99, want);
    follows(o, "teacher.momentum", want);
    fill(0.07, want);
    linspace(0.04, 0.07, 10, want);
    follows(o, "loss.teacher_temp", want);
    for (int s = 0; s < STEPS; s++) want[s] = s < 5;
    follows(o, "optim.freeze", want);
    /* A plain knob that an operation reads. */
    fill(0.9, want);
    follows(o, "loss.center_momentum", want);

    /* Knobs move the curves. */
    assert_ok(dg_knobs_set(&o->knobs, "lr.peak=1", try_err));
    assert_ok(dg_knobs_set(&o->knobs, "lr.to=0.5", try_err));
    assert_ok(dg_knobs_set(&o->knobs, "lr.warmup=0.5 epochs", try_err)); /* 3.5 steps, rounded half to even */
    cosine(1, 0.5, STEPS, 4, want);
    follows(o, "lr", want);
    assert_ok(dg_knobs_set(&o->knobs, "lr.warmup=0", try_err));
    cosine(1, 0.5, STEPS, 0, want);
    follows(o, "lr", want);
    assert_ok(dg_knobs_set(&o->knobs, "teacher.momentum=0.5", try_err));
    fill(0.5, want);
    follows(o, "teacher.momentum", want);
    assert_ok(
        dg_knobs_set(&o->knobs, "loss.teacher_temp.over=1", try_err)); /* linspace of one value is its beginning */
    fill(0.07, want);
    want[0] = 0.04;
    follows(o, "loss.teacher_temp", want);
    assert_ok(dg_knobs_set(&o->knobs, "optim.freeze.for=0", try_err));
    fill(0, want);
    follows(o, "optim.freeze", want);
    close_plan(o);
}

/* Curves that the published code has not: steps, a warm-up from a value, several freezes, a teacher that is copied once an epoch. */
static void test_other_schedules(void **state)
{
    (void)state;
    double want[STEPS];
    struct opened *o = OPEN("lr={curve: cosine, peak: 1, to: 0.1, warmup: 5 steps, warmup_from: 0.5}",
                            "weight_decay={curve: step, from: 0.4, by: 0.5, every: 1 epoch}", "teacher={update: epoch}",
                            "loss.student_temp={curve: linear, from: 1, to: 2, over: 4 steps}",
                            "optim.freeze=[{params: last_layer, for: 1 epoch}, {params: cls_token, for: 3 steps}]");
    cosine(1, 0.1, STEPS, 5, want);
    linspace(0.5, 1, 5, want);
    follows(o, "lr", want);
    for (int s = 0; s < STEPS; s++) want[s] = 0.4 * pow(0.5, s / PER_EPOCH);
    follows(o, "weight_decay", want);
    for (int s = 0; s < STEPS; s++) want[s] = s % PER_EPOCH != PER_EPOCH - 1;
    follows(o, "teacher.momentum", want);
    fill(2, want);
    linspace(1, 2, 4, want);
    follows(o, "loss.student_temp", want);
    for (int s = 0; s < STEPS; s++) want[s] = s < PER_EPOCH;
    follows(o, "optim.freeze.0", want);
    for (int s = 0; s < STEPS; s++) want[s] = s < 3;
    follows(o, "optim.freeze.1", want);
    assert_ok(dg_knobs_set(&o->knobs, "weight_decay.by=1", try_err));
    assert_ok(dg_knobs_set(&o->knobs, "optim.freeze.1.for=0", try_err));
    fill(0.4, want);
    follows(o, "weight_decay", want);
    fill(0, want);
    follows(o, "optim.freeze.1", want);
    close_plan(o);
}

static void test_schedules_by_epoch(void **state)
{
    (void)state;
    double want[STEPS], epoch[EPOCHS];
    struct opened *o = OPEN("lr={curve: cosine, peak: 1, to: 0, warmup: 14 steps, per: epoch}",
                            "weight_decay={curve: linear, from: 0.04, to: 0.4, over: 4 epochs, per: epoch}",
                            "teacher.momentum={curve: cosine, from: 0.996, to: 1, per: epoch}",
                            "loss.teacher_temp={curve: linear, from: 0.04, to: 0.07, over: 3 epochs, per: epoch}",
                            "optim.freeze.for=1 epoch");
    cosine(1, 0, EPOCHS, 2, epoch); /* 14 steps are two epochs */
    spread(epoch, want);
    follows(o, "lr", want);
    linspace(0.04, 0.4, EPOCHS, epoch);
    spread(epoch, want);
    follows(o, "weight_decay", want);
    cosine(0.996, 1, EPOCHS, 0, epoch);
    spread(epoch, want);
    follows(o, "teacher.momentum", want);
    linspace(0.04, 0.07, 3, epoch);
    epoch[3] = 0.07;
    spread(epoch, want);
    follows(o, "loss.teacher_temp", want);
    for (int s = 0; s < STEPS; s++) want[s] = s < PER_EPOCH;
    follows(o, "optim.freeze", want);
    close_plan(o);
}

/* The published ViT-S/16 run of 100 epochs, 2502 steps each: values of the official cosine_scheduler, whose means over an epoch
 * its published log also has, to fewer digits. */
static void test_published_run(void **state)
{
    (void)state;
    const struct dg_run_length run = {.steps_per_epoch = 2502, .epochs = 100};
    struct opened *o = OPEN("lr={curve: cosine, peak: 1e-3, to: 1e-6, warmup: 10 epochs}",
                            "weight_decay={curve: cosine, from: 0.04, to: 0.4}",
                            "teacher.momentum={curve: cosine, from: 0.996, to: 1}");
    static const struct {
        const char *key;
        int64_t step;
        double value;
    } values[] = {{"lr", 0, 0},
                  {"lr", 1, 3.996962308645429e-08},
                  {"lr", 25019, 0.001},
                  {"lr", 25020, 0.001},
                  {"lr", 250199, 1.0000000486122476e-06},
                  {"teacher.momentum", 0, 0.996},
                  {"teacher.momentum", 125100, 0.998},
                  {"teacher.momentum", 250199, 0.9999999999998423}};
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
        double got = dg_control_value(&o->knobs, values[v].key, values[v].step, run);
        if (!(fabs(got - values[v].value) <= 1e-15 * fabs(values[v].value)))
            fail_msg("%s at step %lld: %.17g, expected %.17g", values[v].key, (long long)values[v].step, got,
                     values[v].value);
    }
    static const struct {
        const char *key;
        int64_t epoch;
        double mean;
    } means[] = {{"lr", 0, 4.99820136696111e-05},         {"lr", 1, 1.4998601063191967e-04},
                 {"lr", 49, 5.958076746498755e-04},       {"lr", 57, 4.5697138762694543e-04},
                 {"weight_decay", 0, 0.0400295896048386}, {"weight_decay", 1, 0.0402071631725534},
                 {"weight_decay", 49, 0.2171716692678112}};
    for (size_t m = 0; m < sizeof means / sizeof *means; m++) {
        double sum = 0;
        for (int64_t s = 0; s < run.steps_per_epoch; s++)
            sum += dg_control_value(&o->knobs, means[m].key, means[m].epoch * run.steps_per_epoch + s, run);
        double mean = sum / (double)run.steps_per_epoch;
        if (!(fabs(mean - means[m].mean) <= 1e-12 * means[m].mean))
            fail_msg("%s in epoch %lld: %.17g, expected %.17g", means[m].key, (long long)means[m].epoch, mean,
                     means[m].mean);
    }
    close_plan(o);
}

static void test_check(void **state)
{
    (void)state;
    struct opened *o = OPEN("lr={curve: cosine, peak: 1e-3, to: 1e-5, warmup: 4 epochs}",
                            "loss.teacher_temp={curve: linear, from: 0.04, to: 0.07, over: 28 steps}");
    const struct dg_plan_entry *entry;
    struct dg_error err = {0};
    assert_ok(dg_plan_find_entry(&o->plan, "train", &entry, try_err));
    assert_ok(dg_knobs_check(&o->knobs, entry, length, try_err)); /* as long as the run is fine */
    assert_ok(dg_knobs_set(&o->knobs, "lr.warmup=4.5", try_err));
    assert_int_equal(dg_knobs_check(&o->knobs, entry, length, &err), DG_ERR_USAGE);
    assert_string_equal(err.text,
                        "lr.warmup is 4.5 epochs, longer than the run of 4 epochs (28 steps): lower lr.warmup "
                        "with --set, or raise epochs with --epochs");
    assert_ok(dg_knobs_set(&o->knobs, "lr.warmup=0", try_err));
    assert_ok(dg_knobs_set(&o->knobs, "loss.teacher_temp.over=29", try_err));
    err = (struct dg_error){0};
    assert_int_equal(dg_knobs_check(&o->knobs, entry, length, &err), DG_ERR_USAGE);
    assert_string_equal(err.text,
                        "loss.teacher_temp.over is 29 steps, longer than the run of 4 epochs (28 steps): lower "
                        "loss.teacher_temp.over with --set, or raise epochs with --epochs");
    close_plan(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_takes),
                                       cmocka_unit_test(test_refuses),
                                       cmocka_unit_test(test_schedules_by_step),
                                       cmocka_unit_test(test_other_schedules),
                                       cmocka_unit_test(test_schedules_by_epoch),
                                       cmocka_unit_test(test_published_run),
                                       cmocka_unit_test(test_check)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

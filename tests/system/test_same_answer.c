/* The same question has the same answer, byte for byte: plans, losses, checkpoints, features; and a plan opens and runs under
 * every CPU level, where numbers differ in their last bits. */
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <math.h>

#define DINOC DG_BUILD_DIR "/dinoc"
#define DINORUN DG_BUILD_DIR "/dinorun"
#define DEMO DG_SOURCE_DIR "/graphs/demo.yaml"

enum { PATHS = 16, STEPS = 6, LINES = 64 };

static int setup(void **state)
{
    (void)state;
    setenv("OMP_WAIT_POLICY", "passive", 1); /* threads that spin are slow where others compute */
    make_test_folder(state);
    dg_tiny_compile(in("tiny.plan"), NULL);
    dg_tiny_pictures(in("pictures"), 12);
    return 0;
}

static void compile(const char *description, const char *plan)
{
    process_assert_status(RUN(DINOC, description, "-o", in(plan)), 0);
}

static void test_plans(void **state)
{
    (void)state;
    static const char *const description[] = {DEMO, DG_SOURCE_DIR "/graphs/dino_resnet50_100ep.yaml",
                                              DG_SOURCE_DIR "/graphs/vit.yaml:vit_small"};
    for (int d = 0; d < 3; d++) {
        setenv("OMP_NUM_THREADS", "1", 1);
        compile(description[d], "one.plan");
        setenv("OMP_NUM_THREADS", "2", 1);
        setenv("DINOGRAPH_CPU", "v1", 1);
        compile(description[d], "two.plan");
        unsetenv("DINOGRAPH_CPU");
        assert_same_file(in("one.plan"), in("two.plan"));
    }
}

static void train(const char *out, const char *loader_threads)
{
    process_assert_status(RUN(DINORUN, "train", in("tiny.plan"), "--data", in("pictures"), "--out", in(out), "--steps",
                              "6", "--threads", "2", "--loader-threads", loader_threads, "--ignore-memory"),
                          0);
}

/* The log's lines up to the speed, which is another one each time. */
struct log {
    char line[LINES][512];
    double loss[LINES];
    int lines;
};
static void read_log(const char *run, struct log *log)
{
    char path[256];
    snprintf(path, sizeof path, "%s/log.jsonl", in(run));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (log->lines = 0; log->lines < LINES && fgets(log->line[log->lines], 512, file); log->lines++) {
        char *line = log->line[log->lines], *speed = strstr(line, "\"images_per_s\""),
             *loss = strstr(line, "\"loss\": ");
        assert_true(speed && loss);
        log->loss[log->lines] = strtod(loss + 8, NULL);
        *speed = 0;
    }
    fclose(file);
    assert_int_equal(log->lines, STEPS);
}

static void test_runs(void **state)
{
    (void)state;
    static struct log a, b;
    train("a", "1");
    train("b", "3");
    assert_same_file(in("a/checkpoint.safetensors"), in("b/checkpoint.safetensors"));
    read_log("a", &a);
    read_log("b", &b);
    for (int l = 0; l < STEPS; l++) assert_string_equal(a.line[l], b.line[l]);
    static const char *const out[] = {"a.npy", "b.npy"};
    for (int o = 0; o < 2; o++)
        process_assert_status(RUN(DINORUN, "features", in("tiny.plan"), "--weights", in("a/checkpoint.safetensors"),
                                  "--data", in("pictures"), "--out", in(out[o])),
                              0);
    assert_same_file(in("a.npy"), in("b.npy"));
    assert_same_file(in("a.npy.tsv"), in("b.npy.tsv"));
}

/* A plan made on one machine, on another CPU generation. (A level that this machine lacks falls back to what it has.) */
static void test_levels(void **state)
{
    (void)state;
    static const char *const level[] = {"v1", "v3", "v4"};
    static struct log first, other;
    for (int l = 0; l < 3; l++) {
        setenv("DINOGRAPH_CPU", level[l], 1);
        train(level[l], "2");
        unsetenv("DINOGRAPH_CPU");
        read_log(level[l], l ? &other : &first);
        for (int s = 0; l && s < STEPS; s++)
            if (fabs(other.loss[s] - first.loss[s]) > 1e-4)
                fail_msg("step %d: loss %.9g under %s, %.9g under %s", s, other.loss[s], level[l], first.loss[s],
                         *level);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plans), cmocka_unit_test(test_runs),
                                       cmocka_unit_test(test_levels)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

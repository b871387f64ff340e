/* The run of version 0.1 in fixtures/run_0.1 goes on and is evaluated as that version did: checkpoints are read for ever. */
#include "tests/support/images.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <math.h>
#include <sys/stat.h>

#define DINOC DG_BUILD_DIR "/dinoc"
#define DINORUN DG_BUILD_DIR "/dinorun"
#define OLD(name) DG_SOURCE_DIR "/tests/fixtures/run_0.1/" name

static int setup(void **state)
{
    static const char *const name[] = {"420.jpg", "422.jpg", "444.jpg", "rgb.jpg"};
    make_test_folder(state);
    assert_int_equal(mkdir(in("images"), 0777), 0);
    assert_int_equal(mkdir(in("run"), 0777), 0);
    for (int i = 0; i < 4; i++) {
        char from[256];
        snprintf(from, sizeof from, "%s%s", FIXTURE(""), name[i]);
        copy_file(from, path_in(in("images"), name[i]));
    }
    copy_file(OLD("checkpoint.safetensors"), in("run/checkpoint.safetensors"));
    copy_file(OLD("settings.txt"), in("run/settings.txt"));
    process_assert_status(RUN(DINOC, OLD("recipe.yaml"), "-o", in("run.plan")), 0);
    return 0;
}

/* What the log says of a step: the number behind the key. */
static double logged(const char *path, int step, const char *key)
{
    char line[32], name[32];
    size_t size;
    char *text = read_file(path, &size);
    snprintf(line, sizeof line, "{\"step\": %d,", step);
    snprintf(name, sizeof name, "\"%s\": ", key);
    char *end = text + size - 1, *at;
    *end = 0; /* in the place of the last line's end */
    at = strstr(text, line);
    if (!at || !(at = strstr(at, name))) fail_msg("%s says no %s of step %d", path, key, step);
    double value = strtod(at + strlen(name), NULL);
    free(text);
    return value;
}

/* Steps 2 and 3 as that version made them after the same checkpoint: weights, teacher, centre, moments of the optimiser, position in
 * the data and draws of crops are all read. Images are resized by --pillow 12, as then. The tolerance is for sums in the order of another
 * CPU; a step without the first moments, which change the least, is off by more than ten times as much. */
static void test_goes_on(void **state)
{
    static const char *const key[] = {"loss", "teacher_entropy", "kl", "grad_norm", "lr", "weight_decay", "momentum"};
    (void)state;
    const struct process *p = RUN(DINORUN, "train", in("run.plan"), "--data", in("images"), "--out", in("run"),
                                  "--resume", "--steps", "4", "--pillow", "12", "--ignore-memory");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "going on at step 2");
    for (int step = 2; step < 4; step++)
        for (size_t k = 0; k < sizeof key / sizeof *key; k++) {
            double was = logged(OLD("log.jsonl"), step, key[k]), is = logged(in("run/log.jsonl"), step, key[k]);
            if (!(fabs(is - was) <= 1e-3 * fabs(was)))
                fail_msg("%s of step %d was %.9g and is %.9g", key[k], step, was, is);
        }
}

static void test_features(void **state)
{
    enum { COUNT = 4 * 16 };
    (void)state;
    process_assert_status(RUN(DINORUN, "features", in("run.plan"), "--weights", OLD("checkpoint.safetensors"), "--data",
                              in("images"), "--pillow", "12", "--out", in("f.npy")),
                          0);
    size_t size[2];
    char *file[2] = {read_file(OLD("features.npy"), &size[0]), read_file(in("f.npy"), &size[1])};
    float was[COUNT], is[COUNT]; /* the arrays end the files */
    for (int f = 0; f < 2; f++) {
        assert_true(size[f] > sizeof was);
        memcpy(f ? is : was, file[f] + size[f] - sizeof was, sizeof was);
        free(file[f]);
    }
    for (int i = 0; i < COUNT; i++)
        if (!(fabsf(is[i] - was[i]) <= 1e-4f)) fail_msg("number %d was %.9g and is %.9g", i, was[i], is[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_features), cmocka_unit_test(test_goes_on)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

/* dinorun bundle, and the bundle in the place of a run's folder. */
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <sys/stat.h>
#include <unistd.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

static const char *bundle(void) { return in("run.bundle"); }

static int setup(void **state)
{
    setenv("OMP_WAIT_POLICY", "passive", 1);
    make_test_folder(state);
    dg_tiny_compile(in("tiny.plan"), "student.with.depth=4");
    assert_int_equal(mkdir(in("pictures"), 0777), 0);
    dg_tiny_pictures(in("pictures/a"), 5);
    dg_tiny_pictures(in("pictures/b"), 4);
    process_assert_status(RUN(DINORUN, "train", in("tiny.plan"), "--data", in("pictures"), "--out", in("run"),
                              "--steps", "2", "--pillow", "12", "--set", "entries.features.resize=40", "--set",
                              "crops.std.0=0.5", "--ignore-memory"),
                          0);
    process_assert_status(RUN(DINORUN, "linear", in("run"), "--train", in("pictures"), "--val", in("pictures"), "--set",
                              "epochs=2", "--set", "lr.from=0.1"),
                          0);
    process_assert_status(
        RUN(DINORUN, "bundle", in("run"), "-o", bundle(), "--head", in("run/linear/best.safetensors")), 0);
    return 0;
}

static void refuses(const struct process *process, int status, const char *text)
{
    process_assert_status(process, status);
    process_assert_says(process, process->err, text);
}

static void same(const char *command, const char *flag, const char *path, const char *made)
{
    char of_run[128], of_bundle[128], a[160], b[160];
    snprintf(of_run, sizeof of_run, "%s/run-%s.png", test_folder, command);
    snprintf(of_bundle, sizeof of_bundle, "%s/bundle-%s.png", test_folder, command);
    process_assert_status(RUN(DINORUN, command, in("run"), flag, path, "--out", of_run), 0);
    process_assert_status(RUN(DINORUN, command, bundle(), flag, path, "--out", of_bundle), 0);
    snprintf(a, sizeof a, "%s%s", of_run, made);
    snprintf(b, sizeof b, "%s%s", of_bundle, made);
    assert_same_file(a, b);
}

/* What the commands make of a bundle is what they make of the run, settings of images included. */
static void test_in_place_of_a_run(void **state)
{
    (void)state;
    same("features", "--data", in("pictures"), "");
    same("pca", "--image", in("pictures/a/00.png"), "");
    same("attention", "--image", in("pictures/a/00.png"), "/sheet.png");
    char of_run[PROCESS_TEXT];
    memcpy(of_run,
           RUN(DINORUN, "knn", in("run"), "--train", in("pictures"), "--val", in("pictures"), "-k", "3", "--json")->out,
           sizeof of_run);
    const struct process *knn =
        RUN(DINORUN, "knn", bundle(), "--train", in("pictures"), "--val", in("pictures"), "-k", "3", "--json");
    process_assert_status(knn, 0);
    assert_string_equal(knn->out, of_run);
    const struct process *info = RUN(DINORUN, "info", bundle());
    process_assert_status(info, 0);
    process_assert_says(info, info->out, "entry features");
    process_assert_status(RUN(DINORUN, "export", bundle(), "--onnx", in("a.onnx")), 0);
    process_assert_status(RUN(DINORUN, "export", in("run"), "--onnx", in("b.onnx")), 0);
    assert_same_file(in("a.onnx"), in("b.onnx"));
}

/* The same bytes, also from the files in place of the folder; and without the head. */
static void test_same_bytes(void **state)
{
    (void)state;
    process_assert_status(
        RUN(DINORUN, "bundle", in("run"), "--head", in("run/linear/best.safetensors"), "-o", in("again.bundle")), 0);
    assert_same_file(bundle(), in("again.bundle"));
    process_assert_status(RUN(DINORUN, "bundle", in("run"), "-o", in("bare.bundle")), 0);
    process_assert_status(RUN(DINORUN, "bundle", in("tiny.plan"), "--weights", in("run/checkpoint.safetensors"),
                              "--pillow", "12", "--set", "entries.features.resize=40", "-o", in("files.bundle")),
                          0);
    assert_same_file(in("bare.bundle"), in("files.bundle"));
    process_assert_status(RUN(DINORUN, "features", in("tiny.plan"), "--weights", in("bare.bundle"), "--data",
                              in("pictures"), "--out", in("weights.npy")),
                          0);
}

static void test_refusals(void **state)
{
    (void)state;
    refuses(RUN(DINORUN, "bundle", in("tiny.plan"), "-o", in("x")), 2, "--weights FILE is needed");
    refuses(RUN(DINORUN, "train", bundle(), "--data", in("pictures"), "--out", in("x")), 2, "is a bundle");
    refuses(RUN(DINORUN, "linear", bundle(), "--train", in("pictures"), "--val", in("pictures"), "--out", in("x")), 2,
            "the plan has no linear probe");
    refuses(RUN(DINORUN, "bundle", in("run"), "--head", in("run/checkpoint.safetensors"), "-o", in("x")), 1,
            "it has no linear.weight");
    /* The student is another backbone than the layer was trained on. */
    refuses(RUN(DINORUN, "bundle", in("run"), "--weights-from", "student", "--head", in("run/linear/best.safetensors"),
                "-o", in("x")),
            1, "the backbone's weights are not the ones that the layer was trained on");
    copy_file(in("run/linear/best.safetensors"), in("alone.safetensors")); /* without the plan beside it */
    refuses(RUN(DINORUN, "bundle", in("run"), "--head", in("alone.safetensors"), "-o", in("x")), 2,
            "is for 128 features an image, and the plan has 32");
    assert_int_not_equal(access(in("x"), F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_place_of_a_run), cmocka_unit_test(test_same_bytes),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

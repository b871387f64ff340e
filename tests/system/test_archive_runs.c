/* Archives in place of folders: training with the same order and losses, resumes to the bit, the same features, bad members by name. */
#include "tests/support/archives.h"
#include "tests/support/images.h"
#include "tests/support/process.h"
#include "tests/support/runs.h"
#include "tests/support/tiny.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

static char plan[96], npy[96], tsv[104];

static void name_picture(const char *name, int i)
{
    char from[32];
    snprintf(from, sizeof from, "pictures/%02d.%s", i, i % 4 == 3 ? "jpg" : "png");
    copy_file(in(from), in(name));
}

static int setup(void **state)
{
    setenv("OMP_WAIT_POLICY", "passive", 1);
    make_test_folder(state);
    snprintf(plan, sizeof plan, "%s/tiny.plan", test_folder);
    snprintf(npy, sizeof npy, "%s/f.npy", test_folder);
    snprintf(tsv, sizeof tsv, "%s.tsv", npy);
    dg_tiny_compile(plan, NULL);
    dg_tiny_pictures(in("pictures"), 12);
    static const char *const folder[] = {"set", "set/cats", "set/dogs", "set/dogs/old"};
    for (size_t f = 0; f < sizeof folder / sizeof *folder; f++) assert_int_equal(mkdir(in(folder[f]), 0700), 0);
    for (int i = 0; i < 12; i++) {
        char name[64];
        snprintf(name, sizeof name, "set/%s/%d.%s", i % 3 ? i % 2 ? "dogs/old" : "dogs" : "cats", i,
                 i % 4 == 3 ? "jpg" : "png");
        name_picture(name, i);
    }
    tar_folder(in("set"), in("set.tar"));
    zip_folder(in("set"), in("set.zip"), true);
    return 0;
}

static const struct process *train(const char *data, const char *out, const char *steps)
{
    return RUN(DINORUN, "train", plan, "--data", data, "--out", out, "--steps", steps, "--ignore-memory", "--threads",
               "2");
}

static void test_train(void **state)
{
    (void)state;
    process_assert_status(train(in("set"), in("of-folder"), "7"), 0);
    static const char *const archive[] = {"set.tar", "set.zip"};
    for (int a = 0; a < 2; a++) {
        char out[128];
        snprintf(out, sizeof out, "%s-run", in(archive[a]));
        process_assert_status(train(in(archive[a]), out, "7"), 0);
        assert_same_losses(out, in("of-folder"), 0);
        assert_same_state(out, in("of-folder"), 0);
    }
}

static void test_resume(void **state)
{
    (void)state;
    process_assert_status(train(in("set.tar"), in("at-once"), "7"), 0);
    process_assert_status(train(in("set.tar"), in("in-two"), "4"), 0);
    size_t size;
    free(read_file(in("in-two/archives.index"), &size));
    process_assert_status(
        RUN(DINORUN, "train", "--resume", in("in-two"), "--steps", "7", "--ignore-memory", "--threads", "2"), 0);
    assert_same_file(in("in-two/checkpoint.safetensors"), in("at-once/checkpoint.safetensors"));
    /* Another archive at its place, of the same names. */
    copy_file(in("set.tar"), in("moving.tar"));
    process_assert_status(train(in("moving.tar"), in("moved"), "4"), 0);
    name_picture("set/cats/0.png", 1);
    tar_folder(in("set"), in("moving.tar"));
    name_picture("set/cats/0.png", 0);
    const struct process *p =
        RUN(DINORUN, "train", "--resume", in("moved"), "--steps", "5", "--ignore-memory", "--threads", "2");
    process_assert_status(p, 2);
    process_assert_says(p, p->err, "moving.tar has changed since this run has read it");
    process_assert_says(p, p->err, "another archive");
    p = RUN(DINORUN, "train", "--resume", in("moved"), "--steps", "5", "--ignore-memory", "--threads", "2",
            "--new-data");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "these are not the images that the run began with");
}

static const struct process *features(const char *data, const char *limit)
{
    return RUN(DINORUN, "features", plan, "--weights", in("weights.safetensors"), "--out", npy, "--data", data,
               "--max-bad-images", limit);
}

static void test_evaluation(void **state)
{
    (void)state;
    process_assert_status(train(in("set"), in("weights"), "1"), 0);
    copy_file(in("weights/checkpoint.safetensors"), in("weights.safetensors"));
    process_assert_status(features(in("set"), "0"), 0);
    copy_file(npy, in("expected.npy"));
    copy_file(tsv, in("expected.npy.tsv"));
    static const char *const archive[] = {"set.tar", "set.zip"};
    for (int a = 0; a < 2; a++) {
        process_assert_status(features(in(archive[a]), "0"), 0);
        assert_same_file(npy, in("expected.npy"));
        assert_same_file(tsv, in("expected.npy.tsv"));
    }
    const struct process *p = RUN(DINORUN, "knn", plan, "--weights", in("weights.safetensors"), "--train",
                                  in("set.tar"), "--val", in("set"), "-k", "1");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "1-NN: top-1 100.00 %");
    char member[128];
    snprintf(member, sizeof member, "%s:cats/0.png", in("set.tar"));
    process_assert_status(RUN(DINORUN, "attention", plan, "--weights", in("weights.safetensors"), "--image",
                              in("set/cats/0.png"), "--out", in("of-file")),
                          0);
    process_assert_status(RUN(DINORUN, "attention", plan, "--weights", in("weights.safetensors"), "--image", member,
                              "--out", in("of-member")),
                          0);
    assert_same_file(in("of-file/attention.npy"), in("of-member/attention.npy"));
    p = RUN(DINORUN, "attention", plan, "--weights", in("weights.safetensors"), "--image", in("set.tar:none.png"),
            "--out", in("of-none"));
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "set.tar:none.png: No such file");
    p = RUN(DINORUN, "crops", plan, "--data", in("set.zip"), "--out", in("crops.png"));
    process_assert_status(p, 0);
}

/* A bad member has the archive's name and its own; others go on. */
static void test_bad_members(void **state)
{
    (void)state;
    struct archive_maker maker = {0};
    size_t size;
    uint8_t *png = read_file(in("pictures/00.png"), &size);
    tar_add(&maker, "a/1.png", png, size);
    tar_add(&maker, "a/2.png", png, size / 2);
    tar_add_text(&maker, "b/3.jpg", "<html>");
    tar_add(&maker, "b/4.png", png, size);
    tar_end(&maker);
    archive_write(&maker, in("bad.tar"));
    const struct process *p = features(in("bad.tar"), "1");
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "bad.tar:a/2.png: ");
    process_assert_says(p, p->err, "bad.tar:b/3.jpg: ");
    p = features(in("bad.tar"), "2");
    process_assert_status(p, 0);
    char *rows = read_file(tsv, &size);
    assert_string_equal(rows, "a/1.png\ta\nb/4.png\tb\n");
    free(rows);
    free(png);
    tar_folder(in("set"), in("cut.tar"));
    struct stat about;
    assert_int_equal(stat(in("cut.tar"), &about), 0);
    assert_int_equal(truncate(in("cut.tar"), about.st_size - 1024 - 600), 0);
    p = features(in("cut.tar"), "0");
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "cut.tar ends in the middle of its member ");
    process_assert_says(p, p->err, ", behind 11 members: it is cut short");
    p = RUN(DINORUN, "segment-score", plan, "--weights", in("weights.safetensors"), "--data", in("set.tar"), "--masks",
            in("set"));
    assert_int_not_equal(p->status, 0);
}

/* What a run's record says of members is found from any folder. */
static void test_recorded(void **state)
{
    (void)state;
    char before[512];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(test_folder), 0);
    process_assert_status(RUN(DINORUN, "train", plan, "--data", "set.tar/cats", "--data", "set.tar/dogs", "--out",
                              in("recorded"), "--steps", "1", "--ignore-memory", "--watch", "set.tar:cats/0.png"),
                          0);
    assert_int_equal(chdir("/"), 0);
    process_assert_status(RUN(DINORUN, "train", "--resume", in("recorded"), "--steps", "2", "--ignore-memory"), 0);
    assert_int_equal(access(in("recorded/watch/pca-00000002.png"), F_OK), 0);
    size_t size;
    char *record = read_file(in("recorded/run.json"), &size), *at = strstr(record, "set.tar/dogs\"");
    assert_non_null(at);
    while (*at != '"') at--;
    assert_int_equal(at[1], '/');
    free(record);
    assert_int_equal(chdir(before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_train), cmocka_unit_test(test_resume),
                                       cmocka_unit_test(test_evaluation), cmocka_unit_test(test_bad_members),
                                       cmocka_unit_test(test_recorded)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

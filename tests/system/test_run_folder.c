/* A run's folder in the place of a plan and of weights, and what evaluations leave in it. */
#include "runtime/image/write.h"

#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <sys/stat.h>
#include <unistd.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

static char run[96], plan[96], pictures[96], weights[128];

static void in_folder(char *path, size_t size, const char *name) { snprintf(path, size, "%s/%s", test_folder, name); }

static int setup(void **state)
{
    setenv("OMP_WAIT_POLICY", "passive", 1);
    make_test_folder(state);
    in_folder(run, sizeof run, "run");
    in_folder(plan, sizeof plan, "tiny.plan");
    in_folder(pictures, sizeof pictures, "pictures");
    in_folder(weights, sizeof weights, "run/checkpoint.safetensors");
    dg_tiny_compile(plan, NULL);
    mkdir(pictures, 0777);
    dg_tiny_pictures(in("pictures/a"), 5);
    dg_tiny_pictures(in("pictures/b"), 3);
    process_assert_status(RUN(DINORUN, "train", plan, "--data", pictures, "--out", run, "--steps", "2", "--pillow",
                              "12", "--set", "entries.features.resize=40", "--set", "crops.std.0=0.5",
                              "--ignore-memory"),
                          0);
    return 0;
}

static void refuses(const struct process *process, int status, const char *text)
{
    process_assert_status(process, status);
    process_assert_says(process, process->err, text);
    assert_string_equal(process->out, "");
}

/* Lines of a results.csv that have `text`. */
static int results_of(const char *path, const char *text)
{
    size_t size;
    int count = 0;
    char *all = read_file(path, &size), *rest = all;
    for (char *line; (line = strsep(&rest, "\n"));) count += strstr(line, text) != NULL;
    free(all);
    return count;
}

static int results(const char *text) { return results_of(in("run/results.csv"), text); }

/* Features of the folder are those of plan and weights with the run's own settings, and neither is typed. */
static void test_features(void **state)
{
    (void)state;
    process_assert_status(RUN(DINORUN, "features", run, "--data", pictures, "--out", in("folder.npy")), 0);
    process_assert_status(RUN(DINORUN, "features", plan, "--weights", weights, "--data", pictures, "--out",
                              in("files.npy"), "--pillow", "12"),
                          0);
    size_t size, other;
    char *a = read_file(in("folder.npy"), &size), *b = read_file(in("files.npy"), &other);
    assert_int_equal(size, other);
    assert_true(memcmp(a, b, size) != 0); /* the plan resizes otherwise */
    free(a);
    free(b);
    dg_tiny_compile(in("resized.plan"), "entries.features.resize=40");
    process_assert_status(RUN(DINORUN, "features", in("resized.plan"), "--weights", weights, "--data", pictures,
                              "--out", in("files.npy"), "--pillow", "12"),
                          0);
    assert_same_file(in("folder.npy"), in("files.npy"));
}

static void test_knn(void **state)
{
    (void)state;
#define KNN DINORUN, "knn", run, "--train", pictures, "--val", pictures, "-k", "1,3"
    const struct process *p = RUN(KNN);
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "8 images vote on 8, 2 classes; the most frequent class alone would get 62.50 %");
    assert_int_equal(results("time,step,by"), 1);
    assert_int_equal(results(",2,knn,knn1.top1,"), 1);
    assert_int_equal(results(",62.5,teacher,checkpoint.safetensors,/"), 2);
    process_assert_status(RUN(KNN, "--weights-from", "student"), 0);
    assert_int_equal(results(",62.5,student,checkpoint.safetensors,/"), 2);
    process_assert_status(RUN(DINORUN, "export", run, "-o", in("bare"), "--backbone", "teacher"), 0);
    process_assert_status(RUN(KNN, "--weights", in("bare")), 0);
    assert_int_equal(results(",62.5,teacher,bare,/"), 2);
    assert_int_equal(results(",,knn,"), 4);
    process_assert_status(RUN(DINORUN, "knn", plan, "--weights", weights, "--train", pictures, "--val", pictures), 0);
    assert_int_equal(results(",knn,"), 12); /* not of a plan */
}

static void test_drawings(void **state)
{
    (void)state;
    char image[128];
    in_folder(image, sizeof image, "pictures/a/00.png");
    process_assert_status(RUN(DINORUN, "attention", run, "--image", image, "--out", in("attention")), 0);
    process_assert_status(RUN(DINORUN, "pca", run, "--image", image, "--out", in("pca.png")), 0);
    const struct process *p = RUN(DINORUN, "info", run);
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "from demo.yaml");
}

/* The folder's description makes the same network and run. */
static void test_recipe(void **state)
{
    (void)state;
    process_assert_status(RUN(DG_BUILD_DIR "/dinoc", in("run/recipe.yaml"), "-o", in("again.plan")), 0);
    const struct process *p = RUN(DINORUN, "train", in("again.plan"), "--data", pictures, "--out", run, "--resume",
                                  "--steps", "3", "--ignore-memory");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "going on at step 2 of 3");
}

/* Backbone, images and classes are the folder's; a setting of the probe reaches dinoc. */
static void test_linear(void **state)
{
    (void)state;
#define LINEAR DINORUN, "linear", run, "--val", pictures
    const struct process *p =
        RUN(LINEAR, "--train", pictures, "--epochs", "1", "--set", "lr.from=0.5", "--set", "blocks=1");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "recipe.yaml --probe --set classes=2 --set 'lr.from=0.5' --set 'blocks=1'");
    process_assert_says(p, p->out, "8 images of 2 classes, 32 features each");
    process_assert_says(p, p->out, "the most frequent class alone would get 62.50 %");
    assert_int_equal(results(",linear,linear.top1,"), 1);
    assert_int_equal(results(",linear,linear.best_top1,"), 1);
    size_t size;
    char *log = read_file(in("run/linear/log.jsonl"), &size);
    assert_non_null(strstr(log, "\"lr\": 0.5,"));
    free(log);
    p = RUN(LINEAR, "--train", pictures, "--epochs", "2", "--resume");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "going on at epoch 2 of 2");
    refuses(RUN(DINORUN, "knn", in("run/linear"), "--train", "t", "--val", "v"), 2, "is a linear probe's folder");
    p = RUN(LINEAR, "--evaluate", in("run/linear/best.safetensors"));
    process_assert_status(p, 0);
    assert_null(strstr(p->err, "resize")); /* as in the run */
    copy_file(in("run/linear/best.safetensors"), in("head"));
    p = RUN(LINEAR, "--evaluate", in("head"));
    process_assert_status(p, 1); /* of one block, which the head alone does not say */
    process_assert_says(p, p->out, "recipe.yaml --probe --set classes=2 makes");
    assert_int_equal(setenv("TMPDIR", in("nowhere"), 1), 0);
    refuses(RUN(LINEAR, "--evaluate", in("head")), 1, "nowhere/dinorun-plan-");
    assert_int_equal(unsetenv("TMPDIR"), 0);
}

/* What the line of `by` says of a measure: behind its name, "VALUE,MOST". */
static void measured(const char *by, const char *measure, char text[64])
{
    size_t size;
    char key[64], *all = read_file(in("watched/results.csv"), &size);
    snprintf(key, sizeof key, ",4,%s,%s,", by, measure);
    const char *at = strstr(all, key);
    assert_non_null(at);
    at += strlen(key);
    snprintf(text, 64, "%.*s", (int)strcspn(at, "t"), at);
    free(all);
}

/* k-NN while training: as `dinorun knn` of the same checkpoint, in the same bits of the run, and it goes on in a run that goes on. */
static void test_knn_while_training(void **state)
{
    (void)state;
    static const char *const measures[] = {"knn8.top1", "knn8.top5"};
    char a[64], b[64];
#define WATCHED(out) DINORUN, "train", plan, "--data", pictures, "--out", in(out), "--epochs", "4", "--ignore-memory"
    const struct process *p = RUN(WATCHED("watched"), "--knn-train", pictures, "--knn-val", pictures, "--measure-every",
                                  "2 steps", "--steps", "4");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "measuring while training works in ");
    process_assert_says(p, p->out, "most frequent class 62.50 %");
    assert_int_equal(results_of(in("watched/results.csv"), ",train,knn8.top1,"), 3); /* of steps 0, 2 and 4 */
    process_assert_status(RUN(WATCHED("alone"), "--steps", "4"), 0);
    assert_same_file(in("watched/checkpoint.safetensors"), in("alone/checkpoint.safetensors"));
    process_assert_status(RUN(DINORUN, "knn", in("watched"), "--train", pictures, "--val", pictures, "-k", "8"), 0);
    for (int m = 0; m < 2; m++) {
        measured("train", measures[m], a);
        measured("knn", measures[m], b);
        assert_string_equal(a, b);
    }
    p = RUN(DINORUN, "train", "--resume", in("watched"), "--ignore-memory", "--steps", "6");
    process_assert_status(p, 0);
    assert_int_equal(results_of(in("watched/results.csv"), ",6,train,knn8.top1,"), 1);
    size_t size;
    char *log = read_file(in("watched/log.jsonl"), &size);
    assert_non_null(strstr(log, "{\"step\": 3, \"measured\": 4, \"knn8_top1\": "));
    free(log);
    process_assert_status(RUN(WATCHED("begun"), "--knn-train", pictures, "--knn-val", pictures, "--steps", "0"), 0);
    process_assert_status(RUN(DINORUN, "train", "--resume", in("begun"), "--ignore-memory", "--steps", "1"), 0);
    assert_int_equal(results_of(in("begun/results.csv"), ",0,train,knn8.top1,"), 1);
    /* Images that cannot be read: no measurement, or one without them, also in a run that goes on. */
    process_assert_status(RUN("/bin/cp", "-r", pictures, in("holes")), 0);
    write_file(in("holes/b/01.png"), "none", 4);
    p = RUN(WATCHED("holed"), "--knn-train", in("holes"), "--knn-val", pictures, "--steps", "0");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "holes/b/01.png: ");
    process_assert_says(p, p->err, "step 0 is not measured: ");
    p = RUN(WATCHED("left"), "--knn-train", in("holes"), "--knn-val", pictures, "--steps", "0", "--measure-max-bad",
            "13%");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "1 of 8 images cannot be read and are left out");
    assert_int_equal(results_of(in("left/results.csv"), ",0,train,knn7.top1,"), 1);
    process_assert_status(RUN(DINORUN, "train", "--resume", in("left"), "--ignore-memory", "--steps", "1"), 0);
    assert_int_equal(results_of(in("left/results.csv"), ",train,knn7.top1,"), 2);
    refuses(RUN(WATCHED("none"), "--knn-train", pictures), 2, "--knn-train goes with --knn-val DIR");
    refuses(RUN(WATCHED("none"), "--knn-train", pictures, "--knn-val", pictures, "--measure-every", "2 days"), 2,
            "expected epochs, or steps or minutes");
    refuses(RUN(WATCHED("none"), "--knn-train", pictures, "--knn-val", in("missing")), 1, "missing");
    assert_int_equal(access(in("none"), F_OK), -1);
}

/* The left half of an image of the set is an object. */
static void draw_mask(const char *name, int width, int height)
{
    uint8_t *pixels = calloc((size_t)width, (size_t)height);
    assert_non_null(pixels);
    for (int i = 0; i < width * height; i++) pixels[i] = i % width < width / 2 ? 255 : 0;
    assert_ok(dg_image_write_png(in(name), pixels, width, height, 1, try_err));
    free(pixels);
}

/* Objects while training: as `dinorun segment-score` of the same checkpoint, without a change of the run; also in a run that goes on. */
static void test_objects_while_training(void **state)
{
    (void)state;
    static const char *const measures[] = {"jaccard.best", "jaccard.mean", "jaccard.everything", "jaccard.all"};
    char a[64], b[64], masks[128];
    in_folder(masks, sizeof masks, "masks");
    mkdir(masks, 0777);
    mkdir(in("masks/a"), 0777);
    draw_mask("masks/a/00.png", 30, 71);
    draw_mask("masks/a/01.png", 33, 69);
    assert_int_equal(rename(in("watched"), in("measured")), 0);
    const struct process *p = RUN(WATCHED("watched"), "--segment-data", pictures, "--segment-masks", masks,
                                  "--measure-every", "2 steps", "--steps", "4");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "step 4/4  Jaccard ");
    assert_int_equal(results_of(in("watched/results.csv"), ",train,jaccard.best,"), 3); /* of steps 0, 2 and 4 */
    assert_int_equal(results_of(in("watched/results.csv"), "knn"), 0);
    assert_same_file(in("watched/checkpoint.safetensors"), in("alone/checkpoint.safetensors"));
    process_assert_status(RUN(DINORUN, "segment-score", in("watched"), "--data", pictures, "--masks", masks), 0);
    for (int m = 0; m < 4; m++) {
        measured("train", measures[m], a);
        measured("segment-score", measures[m], b);
        assert_string_equal(a, b);
    }
    process_assert_status(RUN(DINORUN, "train", "--resume", in("watched"), "--ignore-memory", "--steps", "6"), 0);
    assert_int_equal(results_of(in("watched/results.csv"), ",6,train,jaccard.best,"), 1);
    size_t size;
    char *log = read_file(in("watched/log.jsonl"), &size);
    assert_non_null(strstr(log, "{\"step\": 3, \"measured\": 4, \"jaccard_best\": "));
    free(log);
    /* Masks of another share of the attention are another measure. */
    process_assert_status(RUN(DINORUN, "train", "--resume", in("watched"), "--ignore-memory", "--segment-threshold",
                              "0.8", "--steps", "7"),
                          0);
    assert_int_equal(results_of(in("watched/results.csv"), ",7,train,jaccard80.best,"), 1);
    assert_int_equal(results_of(in("watched/results.csv"), ",7,train,jaccard.best,"), 0);
    process_assert_status(RUN(DINORUN, "train", "--resume", in("watched"), "--ignore-memory", "--steps", "8"), 0);
    assert_int_equal(results_of(in("watched/results.csv"), ",8,train,jaccard80.best,"), 1);
    process_assert_status(
        RUN(DINORUN, "segment-score", in("watched"), "--data", pictures, "--masks", masks, "--threshold", "0.8"), 0);
    assert_int_equal(results_of(in("watched/results.csv"), ",8,segment-score,jaccard80.best,"), 1);
    log = read_file(in("watched/log.jsonl"), &size);
    assert_non_null(strstr(log, "{\"step\": 7, \"measured\": 8, \"jaccard80_best\": "));
    free(log);
    refuses(RUN(WATCHED("none"), "--segment-threshold", "0.8"), 2, "--segment-threshold goes with --segment-data DIR");
    refuses(RUN(WATCHED("none"), "--segment-data", pictures), 2, "--segment-data goes with --segment-masks DIR");
    refuses(RUN(WATCHED("none"), "--segment-data", pictures, "--segment-masks", in("missing")), 1,
            "no image has a mask");
    assert_int_equal(access(in("none"), F_OK), -1);
}

/* The same images at each checkpoint, as the commands draw them, without a change of the run; also in a run that goes on. */
static void test_watch(void **state)
{
    (void)state;
    char a[128], b[128];
    in_folder(a, sizeof a, "pictures/a/00.png");
    in_folder(b, sizeof b, "pictures/b/01.png");
#define DRAWN DINORUN, "train", plan, "--data", pictures, "--out", in("drawn"), "--ignore-memory"
    process_assert_status(RUN(DRAWN, "--watch", a, "--watch", b, "--epochs", "4", "--steps", "4"), 0);
    assert_same_file(in("drawn/checkpoint.safetensors"), in("alone/checkpoint.safetensors"));
    static const char *const made[] = {"attention-01-00-00000000", "attention-02-01-00000000", "pca-00000000",
                                       "attention-01-00-00000004", "attention-02-01-00000004", "pca-00000004"};
    for (size_t m = 0; m < sizeof made / sizeof *made; m++) {
        char path[128];
        snprintf(path, sizeof path, "%s/drawn/watch/%s.png", test_folder, made[m]);
        if (access(path, F_OK)) fail_msg("%s is not there", made[m]);
    }
    process_assert_status(RUN(DINORUN, "attention", in("drawn"), "--image", a, "--out", in("shown")), 0);
    assert_same_file(in("shown/sheet.png"), in("drawn/watch/attention-01-00-00000004.png"));
    process_assert_status(RUN(DINORUN, "pca", in("drawn"), "--image", a, "--image", b, "--out", in("shown.png")), 0);
    assert_same_file(in("shown.png"), in("drawn/watch/pca-00000004.png"));
    process_assert_status(RUN(DINORUN, "train", "--resume", in("drawn"), "--ignore-memory", "--steps", "5"), 0);
    assert_int_equal(access(in("drawn/watch/pca-00000005.png"), F_OK), 0);
    refuses(RUN(DINORUN, "train", plan, "--data", pictures, "--out", in("none"), "--watch", in("none.png")), 1,
            "none.png");
    assert_int_equal(access(in("none"), F_OK), -1);
}

/* A run that goes on finds all of its folders, however many there are. */
static void test_many_folders(void **state)
{
    (void)state;
    enum { MANY = 20 };
    static char folder[MANY][160], image[MANY][160];
    char out[128];
    in_folder(out, sizeof out, "many-run");
    const char *first[MANY * 4 + 16] = {DINORUN, "train", plan, "--out", out, "--steps", "1", "--ignore-memory"};
    int words = 8;
    mkdir(in("many"), 0777);
    for (int f = 0; f < MANY; f++) {
        snprintf(folder[f], sizeof folder[f], "%s/many/%02d", test_folder, f);
        snprintf(image[f], sizeof image[f], "%s/many/%02d/0.png", test_folder, f);
        mkdir(folder[f], 0777);
        copy_file(in("pictures/a/00.png"), image[f]);
        first[words++] = "--data";
        first[words++] = folder[f];
        first[words++] = "--watch";
        first[words++] = image[f];
    }
    process_assert_status(process_run(first, NULL), 0);
    process_assert_status(RUN(DINORUN, "train", "--resume", out, "--steps", "2", "--ignore-memory"), 0);
    assert_int_equal(access(in("many-run/watch/attention-20-0-00000002.png"), F_OK), 0);
}

static void test_refused(void **state)
{
    (void)state;
    refuses(RUN(DINORUN, "knn", pictures, "--train", "t", "--val", "v"), 2,
            "pictures is a folder without run.plan: is it a run's folder?");
    refuses(RUN(DINORUN, "train", run, "--data", pictures, "--out", in("other")), 2,
            "run is a folder: --resume goes on with a run; a new one needs a plan");
    mkdir(in("early"), 0777);
    copy_file(plan, in("early/run.plan"));
    refuses(RUN(DINORUN, "features", in("early"), "--data", pictures, "--out", in("x.npy")), 2,
            "early has no checkpoint yet");
    refuses(RUN(DINORUN, "export", in("early"), "-o", in("x")), 2, "early has no checkpoint yet");
    unlink(in("early/run.plan"));
    copy_file(weights, in("early/checkpoint.safetensors"));
    refuses(RUN(DINORUN, "features", in("early"), "--data", pictures, "--out", in("x.npy")), 2,
            "has no run.plan, as runs of 0.1: give its plan, and --weights ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_features),
                                       cmocka_unit_test(test_knn),
                                       cmocka_unit_test(test_drawings),
                                       cmocka_unit_test(test_recipe),
                                       cmocka_unit_test(test_linear),
                                       cmocka_unit_test(test_knn_while_training),
                                       cmocka_unit_test(test_objects_while_training),
                                       cmocka_unit_test(test_watch),
                                       cmocka_unit_test(test_many_folders),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

/* What a run was made with is tied to what it is used with: resuming, evaluation, probes and exports under another recipe, network,
 * data or classes, each refused with what differs, carried over, or accepted when asked. */
#include "runtime/formats/safetensors.h"
#include "tests/support/compile.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <sys/stat.h>
#include <unistd.h>

#define DINOC DG_BUILD_DIR "/dinoc"
#define DINORUN DG_BUILD_DIR "/dinorun"
#define LINEAR DG_SOURCE_DIR "/graphs/linear.yaml"
#define TRAIN(plan, run) DINORUN, "train", plan, "--data", pictures, "--out", run, "--threads", "2", "--ignore-memory"
#define FEATURES(plan, file)                                                                                           \
    DINORUN, "features", plan, "--weights", weights, "--data", pictures, "--out", file, "--threads", "2"

static char plan[96], pictures[96], run_folder[96], weights[128], picture[128], before[128];

static int setup(void **state)
{
    setenv("OMP_WAIT_POLICY", "passive", 1);
    make_test_folder(state);
    snprintf(plan, sizeof plan, "%s/tiny.plan", test_folder);
    snprintf(pictures, sizeof pictures, "%s/pictures", test_folder);
    snprintf(picture, sizeof picture, "%s/pictures/00.png", test_folder);
    snprintf(run_folder, sizeof run_folder, "%s/run", test_folder);
    snprintf(weights, sizeof weights, "%s/run/checkpoint.safetensors", test_folder);
    snprintf(before, sizeof before, "%s/before.safetensors", test_folder);
    dg_tiny_compile(plan, NULL);
    dg_tiny_pictures(pictures, 8);
    process_assert_status(RUN(TRAIN(plan, run_folder), "--steps", "3", "--epochs", "4", "--set", "lr.peak=2e-3",
                              "--set", "crops.mean.0=0.5", "--seed", "5"),
                          0);
    copy_file(weights, before);
    return 0;
}

static void refuses(const struct process *process, int status, const char *text)
{
    process_assert_status(process, status);
    process_assert_says(process, process->err, text);
}

/* Every kind of key that shapes the results: named with both values, and nothing changes. */
static void test_another_recipe(void **state)
{
    (void)state;
    static const struct {
        const char *set, *says;
    } changes[] = {
        {"crops.local.count=3", "crops.local.count was 2 and is 3"},
        {"crops.local.size=24", "crops.local.size was 16 and is 24"},
        {"crops.global.scale=[0.3, 1]", "crops.global.scale was [0.5, 1] and is [0.3, 1]"},
        {"crops.global.views=[{}, {solarize: 0.4}]", "crops.global.views.1.solarize was 0.2 and is 0.4"},
        {"crops.local.flip=0", "crops.local.flip was 0.5 and is 0"},
        {"crops.std=[0.5, 0.5, 0.5]", "crops.std.0 was 0.229 and is 0.5"},
        {"student.with.heads=4", "student.with.heads was 2 and is 4"},
        {"student.with.eps=1e-5", "student.with.eps was 1e-06 and is 1e-5"},
        {"student.with.drop_path=0", "student.with.drop_path was 0.2 and is 0"},
        {"student.with.dim=48", "student.with.dim was 32 and is 48"},
        {"head.with.out_dim=80", "head.with.out_dim was 64 and is 80"},
        {"head.with.norm_last_layer=false", "head.with.norm_last_layer was true and is false"},
        {"teacher.buffers=ema", "teacher.buffers was own and is ema"},
        {"teacher.with.drop_path=0.3", "the teacher in training computes something else: teacher.with was changed"},
        {"teacher.momentum.from=0.9", "teacher.momentum.from was 0.99 and is 0.9"},
        {"loss.student_temp=0.2", "loss.student_temp was 0.1 and is 0.2"},
        {"optim.kind=sgd", "optim.kind was adamw and is sgd"},
        {"optim.betas=[0.9, 0.99]", "optim.betas.1 was 0.999 and is 0.99"},
        {"optim.clip=1", "optim.clip was 3 and is 1"},
        {"optim.freeze.params=mlp", "optim.freeze.params was last_layer and is mlp"},
        {"optim.no_decay=[bias]", "optim.no_decay.1 was 1d and is not there"},
        {"lr.peak=5e-3", "lr.peak was 0.001 and is 0.005"},
        {"lr.warmup=1 step", "lr.warmup was 1 epochs and is 1 steps"},
        {"weight_decay=0.1", "weight_decay"},
        {"batch=2", "batch was 4 and is 2"},
        {"epochs=9", "epochs was 3 and is 9"},
    };
    char other[128];
    snprintf(other, sizeof other, "%s/other.plan", test_folder);
    for (size_t c = 0; c < sizeof changes / sizeof *changes; c++) {
        const char *set[TINY_SETS + 1];
        memcpy(set, dg_tiny_sets, sizeof dg_tiny_sets);
        set[TINY_SETS] = changes[c].set;
        compile_plan(&(struct dg_compile_options){.file = DG_SOURCE_DIR "/graphs/demo.yaml",
                                                  .output = other,
                                                  .set = set,
                                                  .num_sets = TINY_SETS + 1,
                                                  .batch = strncmp(changes[c].set, "batch", 5) ? TINY_BATCH : 2});
        const struct process *p = RUN(TRAIN(other, run_folder), "--resume");
        refuses(p, 2, changes[c].says);
        process_assert_says(p, p->err, "--accept-changes");
        assert_same_file(weights, before);
    }
}

/* When and what is saved, and what is evaluated besides, are no part of the result; numbers written otherwise are the same. */
static void test_same_recipe(void **state)
{
    (void)state;
    static const char *const same[] = {"checkpoint.every=2 epochs", "entries.features.batch=3",
                                       "student.with.eps=0.000001", "optim.clip=3.0", "skip_bad_steps=1"};
    char other[128];
    snprintf(other, sizeof other, "%s/other.plan", test_folder);
    for (size_t s = 0; s < sizeof same / sizeof *same; s++) {
        dg_tiny_compile(other, same[s]);
        process_assert_status(RUN(TRAIN(other, run_folder), "--resume", "--steps", "3"), 0);
        assert_same_file(weights, before);
    }
}

/* The description that --print writes, with all defaults, is the same recipe. */
static void test_printed(void **state)
{
    (void)state;
    char command[1200], other[128];
    snprintf(other, sizeof other, "%s/printed.plan", test_folder);
    int used =
        snprintf(command, sizeof command, DINOC " " DG_SOURCE_DIR "/graphs/demo.yaml --batch %d --print", TINY_BATCH);
    for (int s = 0; s < TINY_SETS; s++)
        used += snprintf(command + used, sizeof command - (size_t)used, " --set %s", dg_tiny_sets[s]);
    snprintf(command + used, sizeof command - (size_t)used, " > %s/printed.yaml && " DINOC " %s/printed.yaml -o %s",
             test_folder, test_folder, other);
    process_assert_status(RUN("sh", "-c", command), 0);
    process_assert_status(RUN(TRAIN(other, run_folder), "--resume", "--steps", "3"), 0);
    assert_same_file(weights, before);
}

/* A run goes on with its own settings, seed and images, which the folder alone names, and ends as one that was never interrupted. */
static void test_own_settings(void **state)
{
    (void)state;
    char parts[128], whole[128], end[160], other[160];
    snprintf(parts, sizeof parts, "%s/parts", test_folder);
    snprintf(whole, sizeof whole, "%s/whole", test_folder);
    snprintf(end, sizeof end, "%s/checkpoint.safetensors", parts);
    snprintf(other, sizeof other, "%s/checkpoint.safetensors", whole);
#define SET "--epochs", "4", "--set", "lr.peak=2e-3", "--seed", "5"
    process_assert_status(RUN(TRAIN(plan, whole), SET), 0);
    process_assert_status(RUN(TRAIN(plan, parts), SET, "--steps", "3"), 0);
    const struct process *p =
        RUN(DINORUN, "train", "--resume", parts, "--threads", "2", "--ignore-memory", "--steps", "5");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "the run's own settings stay in force: epochs=4, lr.peak=0.002");
    process_assert_status(RUN(DINORUN, "train", plan, "--out", parts, "--resume", "--threads", "2", "--ignore-memory"),
                          0);
    assert_same_file(end, other);
    /* What the user says goes before it, and is said. */
    p = RUN(DINORUN, "train", "--resume", parts, "--threads", "2", "--ignore-memory", "--epochs", "5", "--steps", "1");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "epochs was 4 so far and is 5 now");
    process_assert_says(p, p->out, "the run is at step 8 already: nothing is left to do up to step 1");

    refuses(RUN(DINORUN, "train", "--resume", test_folder), 2, "has no run.plan");
    refuses(RUN(DINORUN, "train", parts, "--resume", "--out", whole), 2, "--out goes with a PLAN");
    refuses(RUN(DINORUN, "train", plan, "--resume"), 2, "--resume wants --out RUN");
    refuses(RUN(DINORUN, "train", plan, "--resume", "--out", in("nothing-here")), 2, "--data DIR is needed");
    assert_int_not_equal(access(in("nothing-here"), F_OK), 0);
}

/* What is accepted is listed, and is the run's own from there on. */
static void test_accepted(void **state)
{
    (void)state;
    char folder[128], other[128], checkpoint[160], log[160];
    snprintf(folder, sizeof folder, "%s/accepted", test_folder);
    snprintf(other, sizeof other, "%s/accepted.plan", test_folder);
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint.safetensors", folder);
    snprintf(log, sizeof log, "%s/log-00000003.jsonl", folder);
    process_assert_status(RUN(TRAIN(plan, folder), "--steps", "3"), 0);
    dg_tiny_compile(other, "crops.local.count=3");
    const struct process *p = RUN(TRAIN(other, folder), "--resume", "--accept-changes", "--steps", "4");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "crops.local.count was 2 and is 3");
    p = RUN(TRAIN(other, folder), "--resume", "--steps", "5");
    process_assert_status(p, 0);
    assert_null(strstr(p->err, "crops.local.count"));
    refuses(RUN(TRAIN(plan, folder), "--resume"), 2, "crops.local.count was 3 and is 2");
    /* What does not fit does not, whoever accepts it. */
    dg_tiny_compile(other, "head.with.out_dim=80");
    p = RUN(TRAIN(other, folder), "--resume", "--accept-changes");
    refuses(p, 1, "is [64, 1], the plan has [80, 1]");

    /* Another batch: the epoch goes on at the same image, and the lines of the log, which count otherwise, are put aside. */
    snprintf(folder, sizeof folder, "%s/batches", test_folder);
    snprintf(log, sizeof log, "%s/log-00000003.jsonl", folder);
    process_assert_status(RUN(TRAIN(plan, folder), "--steps", "3"), 0);
    process_assert_status(
        RUN(DINOC, DG_SOURCE_DIR "/graphs/demo.yaml", "-o", other, "--batch", "2", "--set", dg_tiny_sets[0], "--set",
            dg_tiny_sets[1], "--set", dg_tiny_sets[2], "--set", dg_tiny_sets[3], "--set", dg_tiny_sets[4], "--set",
            dg_tiny_sets[5], "--set", dg_tiny_sets[6], "--set", dg_tiny_sets[7], "--set", dg_tiny_sets[8], "--set",
            dg_tiny_sets[9], "--set", dg_tiny_sets[10], "--set", dg_tiny_sets[11], "--set", dg_tiny_sets[12]),
        0);
    p = RUN(TRAIN(other, folder), "--resume", "--accept-changes", "--steps", "8");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "step 3 of the run so far is step 6 from here on");
    process_assert_says(p, p->out, "going on at step 6 of 8");
    assert_int_equal(access(log, F_OK), 0);
    p = RUN(TRAIN(other, folder), "--resume", "--steps", "9");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "going on at step 8 of 9");
}

/* Weights of another network are refused by every command that reads them, and nothing is written; where nothing but names of modules
 * and what training alone needs differ, they are the same. */
static void test_another_network(void **state)
{
    (void)state;
    char other[128], out[128];
    snprintf(other, sizeof other, "%s/network.plan", test_folder);
    snprintf(out, sizeof out, "%s/network-out", test_folder);
    dg_tiny_compile(other, "student.with.heads=4");
#define EVALUATE "--weights", weights, "--threads", "2"
    refuses(RUN(DINORUN, "features", other, EVALUATE, "--data", pictures, "--out", out), 1, "heads was 2 and is 4");
    refuses(RUN(DINORUN, "attention", other, EVALUATE, "--image", picture, "--out", out), 1, "heads was 2 and is 4");
    refuses(RUN(DINORUN, "pca", other, EVALUATE, "--image", picture, "--out", out), 1, "heads was 2 and is 4");
    refuses(RUN(DINORUN, "train", other, "--init", weights, "--data", pictures, "--out", out, "--steps", "0",
                "--ignore-memory"),
            1, "heads was 2 and is 4");
    assert_int_not_equal(access(path_in(out, "checkpoint.safetensors"), F_OK), 0);
    const struct process *p =
        RUN(DINORUN, "pca", other, EVALUATE, "--image", picture, "--out", in("p.png"), "--accept-changes");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "which is accepted");

    /* An export says as much. */
    char exported[128];
    snprintf(exported, sizeof exported, "%s/exported.safetensors", test_folder);
    process_assert_status(RUN(DINORUN, "export", weights, "-o", exported, "--backbone", "teacher"), 0);
    refuses(RUN(DINORUN, "pca", other, "--weights", exported, "--image", picture, "--out", out), 1,
            "heads was 2 and is 4");

    /* The module alone, at another size, with a drop path of its own. */
    process_assert_status(RUN(DINOC, DG_SOURCE_DIR "/graphs/vit.yaml:vit", "--set", "dim=32", "--set", "depth=2",
                              "--set", "heads=2", "--set", "patch=8", "--set", "drop_path=0.1", "--image-size", "48",
                              "-o", other),
                          0);
    process_assert_status(RUN(DINORUN, "pca", other, EVALUATE, "--image", picture, "--out", in("p.png")), 0);
}

/* A module of the same name and arguments that computes something else. */
static void test_another_definition(void **state)
{
    (void)state;
    size_t size;
    char other[128], folder[96], *text = read_file(DG_SOURCE_DIR "/graphs/vit.yaml", &size),
                                 *gelu = strstr(text, "gelu");
    snprintf(other, sizeof other, "%s/definition.plan", test_folder);
    snprintf(folder, sizeof folder, "%s/graphs", test_folder);
    assert_non_null(gelu);
    memcpy(gelu, "relu", 4);
    assert_int_equal(mkdir(folder, 0777), 0);
    write_file(path_in(folder, "vit.yaml"), text, size);
    free(text);
    copy_file(DG_SOURCE_DIR "/graphs/demo.yaml", path_in(folder, "demo.yaml"));
    copy_file(DG_SOURCE_DIR "/graphs/dino_head.yaml", path_in(folder, "dino_head.yaml"));
    char demo[128];
    snprintf(demo, sizeof demo, "%s/demo.yaml", folder);
    compile_plan(&(struct dg_compile_options){
        .file = demo, .output = other, .set = dg_tiny_sets, .num_sets = TINY_SETS, .batch = TINY_BATCH});
    refuses(RUN(TRAIN(other, run_folder), "--resume"), 2, "the definition of its module was changed");
    refuses(RUN(FEATURES(other, in("none.npy"))), 1, "the definition of its module was changed");
}

/* Images are normalised as in training, also where that was set on the command line. */
static void test_pixels(void **state)
{
    (void)state;
    char same[128], a[128], b[128];
    snprintf(same, sizeof same, "%s/mean.plan", test_folder);
    snprintf(a, sizeof a, "%s/a.npy", test_folder);
    snprintf(b, sizeof b, "%s/b.npy", test_folder);
    dg_tiny_compile(same, "crops.mean=[0.5, 0.456, 0.406]");
    const struct process *p = RUN(FEATURES(plan, a));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "crops.mean.0=0.5; the plan says crops.mean.0=0.485");
    p = RUN(FEATURES(same, b));
    process_assert_status(p, 0);
    assert_null(strstr(p->out, "normalised"));
    assert_same_file(a, b);
    dg_tiny_compile(same, "entries.features.resize=40");
    p = RUN(FEATURES(same, b));
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "images are resized to 40 pixels before the crop, as the plan says");
}

/* How images are read is the run's own, and a difference is named. */
static void test_images(void **state)
{
    (void)state;
    char folder[96];
    snprintf(folder, sizeof folder, "%s/turned", test_folder);
    process_assert_status(RUN(TRAIN(plan, folder), "--steps", "1", "--exif", "--pillow", "12"), 0);
    refuses(RUN(TRAIN(plan, folder), "--resume", "--steps", "2", "--pillow", "13"), 2, "--pillow was 12 and is 13");
    process_assert_status(
        RUN(DINORUN, "train", "--resume", folder, "--steps", "2", "--threads", "2", "--ignore-memory"), 0);
    refuses(RUN(TRAIN(plan, run_folder), "--resume", "--exif"), 2, "--exif was false and is true");
    assert_same_file(weights, before);
    const struct process *p = RUN(DINORUN, "pca", plan, "--weights", path_in(folder, "checkpoint.safetensors"),
                                  "--image", picture, "--out", in("p.png"));
    process_assert_status(p, 0);
    process_assert_says(p, p->err,
                        "images are read without --exif and with --pillow 13, and were with --exif and with "
                        "--pillow 12 in the training");
}

/* The file without what newer versions say of it. */
static void make_old(const char *from, const char *to)
{
    static const char *const keys[] = {"format", "model_hash", "step",      "skipped", "steps_per_epoch",
                                       "epochs", "seed",       "data_hash", "threads", "set.lr.peak"};
    enum { KEYS = sizeof keys / sizeof *keys };
    struct dg_safetensors *file;
    struct dg_safetensors_item item[512];
    struct dg_safetensors_meta meta[KEYS];
    assert_ok(dg_safetensors_open(from, &file, try_err));
    int count = dg_safetensors_count(file);
    assert_true(count <= 512);
    for (int i = 0; i < count; i++) {
        const struct dg_safetensors_tensor *t = dg_safetensors_at(file, i);
        item[i] = (struct dg_safetensors_item){.name = t->name, .dtype = t->dtype, .ndim = t->ndim, .data = t->data};
        memcpy(item[i].dim, t->dim, sizeof t->dim);
    }
    for (int k = 0; k < KEYS; k++)
        meta[k] = (struct dg_safetensors_meta){keys[k], dg_safetensors_metadata(file, keys[k])};
    assert_ok(dg_safetensors_write(to, item, count, meta, KEYS, try_err));
    dg_safetensors_close(file);
}

/* Checkpoints of older versions go on and are evaluated; what could not be compared is said. */
static void test_old_checkpoints(void **state)
{
    (void)state;
    char folder[96], checkpoint[128], other[128];
    snprintf(folder, sizeof folder, "%s/old", test_folder);
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint.safetensors", folder);
    snprintf(other, sizeof other, "%s/old.plan", test_folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    make_old(before, checkpoint);
    const struct process *p = RUN(TRAIN(plan, folder), "--resume", "--steps", "3");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "does not say which recipe it was made with");
    process_assert_says(p, p->err, "the run's own settings stay in force: lr.peak=0.002");
    p = RUN(DINORUN, "pca", plan, "--weights", checkpoint, "--image", picture, "--out", in("p.png"));
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "does not say which network it was made with");
    dg_tiny_compile(other, "head.with.out_dim=80");
    refuses(RUN(TRAIN(other, folder), "--resume"), 2, "another model, recipe or batch");
}

/* A probe's layer is scored under the classes, on the weights and for the features that it was trained on. */
static void test_head(void **state)
{
    (void)state;
    char probe[128], other[128], train[96], renamed[96], out[96], head[128], name[64];
    snprintf(probe, sizeof probe, "%s/probe.plan", test_folder);
    snprintf(other, sizeof other, "%s/probe-other.plan", test_folder);
    snprintf(train, sizeof train, "%s/train", test_folder);
    snprintf(renamed, sizeof renamed, "%s/renamed", test_folder);
    snprintf(out, sizeof out, "%s/probe", test_folder);
    snprintf(head, sizeof head, "%s/probe/best.safetensors", test_folder);
    static const char *const classes[2][2] = {{"caf\xc3\xa9", "tea"}, {"caf\xc3\xa9", "wine"}};
    for (int r = 0; r < 2; r++) {
        assert_int_equal(mkdir(r ? renamed : train, 0777), 0);
        for (int c = 0; c < 2; c++) {
            char folder[160];
            snprintf(folder, sizeof folder, "%s/%s", r ? renamed : train, classes[r][c]);
            assert_int_equal(mkdir(folder, 0777), 0);
            for (int i = 0; i < 2; i++) {
                snprintf(name, sizeof name, "%02d.png", 4 * i + c);
                copy_file(path_in(pictures, name), path_in(folder, name));
            }
        }
    }
#define PROBE                                                                                                          \
    DINOC, LINEAR, "--set", "backbone=vit", "--set", "with.dim=32", "--set", "with.heads=2", "--set", "with.depth=2",  \
        "--set", "with.patch=8", "--set", "with.image=32", "--set", "classes=2", "--set", "crops.size=32", "--set",    \
        "blocks=1", "--batch", "2", "-o"
#define LEARN(plan) DINORUN, "linear", plan, EVALUATE, "--train", train, "--val", train, "--out", out, "--ignore-memory"
#define SCORE(plan, val) DINORUN, "linear", plan, EVALUATE, "--val", val, "--evaluate", head, "--ignore-memory"
    process_assert_status(RUN(PROBE, probe), 0);
    process_assert_status(RUN(LEARN(probe), "--epochs", "2"), 0);
    process_assert_status(RUN(SCORE(probe, train)), 0);
    refuses(RUN(SCORE(probe, renamed)), 1, "class 1 was tea and is wine");
    refuses(RUN(SCORE(probe, train), "--weights-from", "student"), 1, "the backbone's weights are not the ones");
    process_assert_status(RUN(SCORE(probe, renamed), "--accept-changes"), 0);
    process_assert_status(RUN(PROBE, other, "--set", "optim.momentum=0.5"), 0);
    refuses(RUN(LEARN(other), "--resume"), 2, "optim.momentum was 0.9 and is 0.5");
    const struct process *p = RUN(LEARN(probe), "--resume"); /* its own two epochs, which are done */
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "all 2 epochs are done");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_another_recipe),
                                       cmocka_unit_test(test_same_recipe),
                                       cmocka_unit_test(test_printed),
                                       cmocka_unit_test(test_own_settings),
                                       cmocka_unit_test(test_accepted),
                                       cmocka_unit_test(test_another_network),
                                       cmocka_unit_test(test_another_definition),
                                       cmocka_unit_test(test_pixels),
                                       cmocka_unit_test(test_images),
                                       cmocka_unit_test(test_old_checkpoints),
                                       cmocka_unit_test(test_head)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

/* Numbers that are none are neither written nor scored nor saved: weights, images, features and layers with NaN or infinities, named;
 * damaged checkpoints and saves that fail, beside which the earlier checkpoint stays and is found. */
#include "runtime/formats/npy.h"
#include "runtime/formats/safetensors.h"
#include "runtime/state/checkpoint.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#define DINOC DG_BUILD_DIR "/dinoc"
#define DINORUN DG_BUILD_DIR "/dinorun"
#define LINEAR DG_SOURCE_DIR "/graphs/linear.yaml"

static char plan[96], pictures[96], picture[128], weights[128], broken[128], classes[96];

static int setup(void **state)
{
    setenv("OMP_WAIT_POLICY", "passive", 1);
    make_test_folder(state);
    snprintf(plan, sizeof plan, "%s/tiny.plan", test_folder);
    snprintf(pictures, sizeof pictures, "%s/pictures", test_folder);
    snprintf(picture, sizeof picture, "%s/pictures/00.png", test_folder);
    snprintf(weights, sizeof weights, "%s/run/checkpoint.safetensors", test_folder);
    snprintf(broken, sizeof broken, "%s/broken.safetensors", test_folder);
    snprintf(classes, sizeof classes, "%s/classes", test_folder);
    dg_tiny_compile(plan, NULL);
    dg_tiny_pictures(pictures, 8);
    assert_int_equal(mkdir(classes, 0777), 0);
    for (int c = 0; c < 2; c++) {
        char folder[128];
        snprintf(folder, sizeof folder, "%s/%c", classes, 'a' + c);
        assert_int_equal(mkdir(folder, 0777), 0);
        for (int i = 0; i < 2; i++) {
            char name[32];
            snprintf(name, sizeof name, "%02d.png", 4 * i + c);
            copy_file(path_in(pictures, name), path_in(folder, name));
        }
    }
    process_assert_status(RUN(DINORUN, "train", plan, "--data", pictures, "--out", in("run"), "--steps", "2",
                              "--threads", "2", "--ignore-memory"),
                          0);
    return 0;
}

static void refuses(const struct process *process, const char *text)
{
    process_assert_status(process, 1);
    process_assert_says(process, process->err, text);
}

/* Nothing of that name, and nothing half-written beside it. */
static void leaves_nothing(const char *name)
{
    DIR *dir = opendir(test_folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (!strncmp(entry->d_name, name, strlen(name)) || strstr(entry->d_name, ".part"))
            fail_msg("%s was left", entry->d_name);
    closedir(dir);
}

/* Writes the checkpoint to `broken` with number `at` of a tensor replaced, and all metadata but the checksums, which would tell. */
static const char *const facts[] = {"format", "model_hash", "step", "seed", "data_hash"};
enum { FACTS = sizeof facts / sizeof *facts };

static void break_weights(const char *tensor, int64_t at, float value, const char *to)
{
    struct dg_safetensors *file;
    struct dg_safetensors_item item[512];
    struct dg_safetensors_meta meta[FACTS];
    assert_ok(dg_safetensors_open(weights, &file, try_err));
    int count = dg_safetensors_count(file);
    assert_true(count <= 512);
    float *changed = NULL;
    for (int i = 0; i < count; i++) {
        const struct dg_safetensors_tensor *t = dg_safetensors_at(file, i);
        item[i] = (struct dg_safetensors_item){.name = t->name, .dtype = t->dtype, .ndim = t->ndim, .data = t->data};
        memcpy(item[i].dim, t->dim, sizeof t->dim);
        if (strcmp(t->name, tensor)) continue;
        changed = malloc(t->bytes);
        assert_non_null(changed);
        memcpy(changed, t->data, t->bytes);
        for (int64_t n = at < 0 ? 0 : at; n < (at < 0 ? dg_safetensors_elements(t) : at + 1); n++) changed[n] = value;
        item[i].data = changed;
    }
    assert_non_null(changed);
    for (int k = 0; k < FACTS; k++)
        meta[k] = (struct dg_safetensors_meta){facts[k], dg_safetensors_metadata(file, facts[k])};
    assert_ok(dg_safetensors_write(to, item, count, meta, FACTS, try_err));
    free(changed);
    dg_safetensors_close(file);
}

#define PROBE                                                                                                          \
    DINOC, LINEAR, "--set", "backbone=vit", "--set", "with.dim=32", "--set", "with.heads=2", "--set", "with.depth=2",  \
        "--set", "with.patch=8", "--set", "with.image=32", "--set", "classes=2", "--set", "crops.size=32", "--set",    \
        "blocks=1", "--batch", "2", "-o"

/* With weights that give no features every command that reads them ends, names what is wrong, and leaves nothing. */
static void each_command(const char *file, const char *says, const char *of_class)
{
    char out[128], probe[128];
    snprintf(out, sizeof out, "%s/new", test_folder);
    snprintf(probe, sizeof probe, "%s/probe.plan", test_folder);
    process_assert_status(RUN(PROBE, probe), 0);
#define GIVEN "--weights", file, "--threads", "2"
    refuses(RUN(DINORUN, "features", plan, GIVEN, "--data", pictures, "--out", out), says);
    leaves_nothing("new");
    refuses(RUN(DINORUN, "knn", plan, GIVEN, "--train", classes, "--val", classes, "-k", "1", "--predictions", out),
            of_class);
    leaves_nothing("new");
    refuses(RUN(DINORUN, "pca", plan, GIVEN, "--image", picture, "--out", out), says);
    leaves_nothing("new");
    refuses(RUN(DINORUN, "linear", probe, GIVEN, "--train", classes, "--val", classes, "--out", in("probe-out"),
                "--ignore-memory"),
            of_class);
}

static void test_weights(void **state)
{
    (void)state;
    char out[128];
    snprintf(out, sizeof out, "%s/new", test_folder);
    break_weights("teacher.backbone.blocks.1.attn.qkv.weight", 100, NAN, broken);
    each_command(broken, "blocks.1.attn.qkv.weight has 1 NaN and 0 infinite of 3072 values",
                 "blocks.1.attn.qkv.weight has 1 NaN and 0 infinite of 3072 values");
    refuses(RUN(DINORUN, "attention", plan, "--weights", broken, "--image", picture, "--out", in("att")),
            "attn.qkv.weight has 1 NaN");
    refuses(RUN(DINORUN, "export", broken, "-o", out, "--backbone", "teacher"),
            "teacher.backbone.blocks.1.attn.qkv.weight is NaN or infinite at number 100 of 3072");
    leaves_nothing("new");
    process_assert_status(RUN(DINORUN, "export", broken, "-o", in("student.safetensors"), "--backbone", "student"), 0);
    refuses(RUN(DINORUN, "train", plan, "--init", broken, "--data", pictures, "--out", in("begun"), "--steps", "1",
                "--ignore-memory"),
            "attn.qkv.weight has 1 NaN");
    break_weights("teacher.backbone.cls_token", 3, -INFINITY, broken);
    refuses(RUN(DINORUN, "features", plan, "--weights", broken, "--data", pictures, "--out", out),
            "cls_token has 0 NaN and 1 infinite of 32 values");
}

/* Finite weights whose products are not: the image and the first operation are named. */
static void test_features(void **state)
{
    (void)state;
    break_weights("teacher.backbone.blocks.0.mlp.fc1.weight", -1, 3e38F, broken);
    char first[160];
    snprintf(first, sizeof first, "%s/a/00.png: number 0 of its 32 is", classes);
    each_command(broken, "pictures/00.png: number 0 of its ", first);
    refuses(RUN(DINORUN, "features", plan, "--weights", broken, "--data", pictures, "--out", in("new")),
            "the first bad result is that of blocks.0.mlp.fc1");
    refuses(RUN(DINORUN, "attention", plan, "--weights", broken, "--image", picture, "--out", in("att")),
            "00.png: number");
}

static void test_feature_files(void **state)
{
    (void)state;
    char name[2][128], list[300];
    for (int f = 0; f < 2; f++) {
        struct dg_npy npy;
        float rows[4][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {f ? NAN : 1, 1, 0}};
        static const char text[] = "a.png\tx\nb.png\ty\nc.png\tx\nd.png\ty\n";
        snprintf(name[f], sizeof name[f], "%s/rows%d.npy", test_folder, f);
        snprintf(list, sizeof list, "%s.tsv", name[f]);
        assert_ok(dg_npy_open(name[f], 4, 3, &npy, try_err));
        assert_ok(dg_npy_append(&npy, rows[0], 4, try_err));
        assert_ok(dg_npy_commit(&npy, try_err));
        write_file(list, text, sizeof text - 1);
    }
    process_assert_status(RUN(DINORUN, "knn", "--features", "--train", name[0], "--val", name[0], "-k", "1"), 0);
    refuses(RUN(DINORUN, "knn", "--features", "--train", name[0], "--val", name[1], "-k", "1"),
            "row 3 (d.png) has nan in it");
    refuses(RUN(DINORUN, "knn", "--features", "--train", name[1], "--val", name[0], "-k", "1"),
            "row 3 (d.png) has nan in it");
}

/* A layer with NaN has no score. */
static void test_head(void **state)
{
    (void)state;
    char probe[128], head[128];
    snprintf(probe, sizeof probe, "%s/probe.plan", test_folder);
    snprintf(head, sizeof head, "%s/head.safetensors", test_folder);
    process_assert_status(RUN(PROBE, probe), 0);
    float weight[2 * 32] = {0}, bias[2] = {0};
    for (int n = 0; n < 2; n++) {
        const struct dg_safetensors_item items[] = {{"linear.weight", DG_SAFETENSORS_F32, 2, {2, 32}, weight},
                                                    {"linear.bias", DG_SAFETENSORS_F32, 1, {2}, bias}};
        assert_ok(dg_safetensors_write(head, items, 2, NULL, 0, try_err));
        const struct process *p = RUN(DINORUN, "linear", probe, "--weights", weights, "--val", classes, "--evaluate",
                                      head, "--threads", "2", "--ignore-memory");
        if (n)
            refuses(p, "linear.weight has 1 NaN and 0 infinite of 64 values");
        else
            process_assert_status(p, 0);
        weight[5] = NAN;
    }
}

static const struct process *resume(const char *folder, const char *steps)
{
    return RUN(DINORUN, "train", plan, "--data", pictures, "--out", folder, "--threads", "2", "--ignore-memory",
               "--resume", "--steps", steps);
}

/* A state that is not finite is not saved, nor gone on from: the checkpoint before it is. */
static void test_states(void **state)
{
    (void)state;
    char folder[96], newest[128], previous[128];
    snprintf(folder, sizeof folder, "%s/states", test_folder);
    snprintf(newest, sizeof newest, "%s/checkpoint.safetensors", folder);
    snprintf(previous, sizeof previous, "%s/previous-00000002.safetensors", folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    copy_file(weights, previous);
    break_weights("student.head.mlp.0.weight", 7, NAN, newest);
    const struct process *p = resume(folder, "3");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "student.head.mlp.0.weight has 1 NaN");
    process_assert_says(p, p->err, "the run goes on from ");
    process_assert_says(p, p->out, "going on at step 2 of 3");

    /* Nor is it written: the checkpoint that is there stays. */
    struct dg_plan opened;
    struct dg_knobs knobs;
    struct dg_session *session;
    struct dg_error err = {0};
    copy_file(weights, newest);
    assert_ok(dg_plan_open(plan, &opened, try_err));
    assert_ok(dg_knobs_open(&opened, &knobs, try_err));
    assert_ok(dg_session_open(&opened, "train", &(struct dg_session_options){.threads = 1, .ignore_memory = true},
                              &session, try_err));
    assert_ok(dg_session_initialize(session, 0, try_err));
    assert_ok(dg_checkpoint_save(session, &knobs, &(struct dg_progress){0}, in("sound.safetensors"), try_err));
    ((float *)dg_session_slot(session, DG_SLOT_CENTER))[3] = NAN;
    assert_int_equal(dg_checkpoint_save(session, &knobs, &(struct dg_progress){0}, newest, &err), DG_ERR_NUMERIC);
    assert_non_null(strstr(err.text, "was not written: center has 1 NaN"));
    assert_same_file(newest, weights);
    dg_session_close(session);
    dg_knobs_close(&knobs);
    dg_plan_close(&opened);
}

/* Files that a disk has damaged: in the tensors, in the metadata. */
static void test_damage(void **state)
{
    (void)state;
    char folder[96], newest[128], previous[128];
    size_t size;
    snprintf(folder, sizeof folder, "%s/damage", test_folder);
    snprintf(newest, sizeof newest, "%s/checkpoint.safetensors", folder);
    snprintf(previous, sizeof previous, "%s/previous-00000002.safetensors", folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    for (int where = 0; where < 3; where++) {
        char *bytes = read_file(weights, &size), *at = bytes + size - 5;
        if (where == 1) at = (char *)memmem(bytes, size, "\"set.lr.peak\":\"0.001\"", 21) + 18;
        if (where == 2) at = (char *)memmem(bytes, size, "\"step\":\"2\"", 10) + 8;
        *at ^= 1;
        write_file(newest, bytes, size);
        write_file(broken, bytes, size); /* the run mends its own */
        free(bytes);
        copy_file(weights, previous);
        const struct process *p = resume(folder, "2");
        process_assert_status(p, 0);
        process_assert_says(p, p->err, "damaged (its checksum is ");
        process_assert_says(p, p->err, "the run goes on from ");
        refuses(RUN(DINORUN, "features", plan, "--weights", broken, "--data", pictures, "--out", in("new")),
                "damaged (its checksum");
        leaves_nothing("new");
    }
}

/* A save that fails half-way, here at a limit of the file size: no checkpoint is called the newest but the one that is whole, what
 * is said is true, and a resume goes on from it. A file that a crash has left half-written is passed over. */
static void test_failed_save(void **state)
{
    (void)state;
    char folder[96], newest[128], command[1200];
    snprintf(folder, sizeof folder, "%s/limited", test_folder);
    snprintf(newest, sizeof newest, "%s/checkpoint.safetensors", folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    copy_file(weights, newest);
    snprintf(command, sizeof command,
             "trap '' XFSZ; ulimit -f 64; exec " DINORUN
             " train %s --data %s --out %s --threads 2 --ignore-memory --ignore-disk "
             "--resume --steps 4",
             plan, pictures, folder);
    const struct process *p = RUN("bash", "-c", command);
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "checkpoint.safetensors: File too large");
    process_assert_says(p, p->out, "ended at step 4, which is not saved: the newest checkpoint is of step 2");
    assert_same_file(newest, weights);
    static const char half[] = "half a checkpoint";
    write_file(path_in(folder, "checkpoint.safetensors.part-123"), half, sizeof half);
    write_file(path_in(folder, "previous-00000003.safetensors.part-9"), half, sizeof half);
    p = resume(folder, "4");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "going on at step 2 of 4");
    process_assert_says(p, p->out, "ended at step 4: ");
    assert_int_not_equal(access(path_in(folder, "checkpoint.safetensors.part-123"), F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_weights),       cmocka_unit_test(test_features),
                                       cmocka_unit_test(test_feature_files), cmocka_unit_test(test_head),
                                       cmocka_unit_test(test_states),        cmocka_unit_test(test_damage),
                                       cmocka_unit_test(test_failed_save)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

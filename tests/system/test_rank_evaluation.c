/* Evaluation by several processes: the files and figures of one process, to the last digit; and a failure of one of
 * them. This program is also what mpirun starts. */
#include "ops/base/rng.h"
#include "runtime/image/write.h"
#include "runtime/plan/open.h"
#include "runtime/train/linear_probe.h"
#include "tests/support/compile.h"
#include "tests/support/images.h"
#include "tests/support/mpirun.h"
#include "tests/support/tiny.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

enum { CLASSES = 3, TRAIN = 40, VAL = 17 }; /* images; batches are of 7 */

static char run_folder[128], weights[160];

/* Noise in folders for classes. Every fifth image is the one before it under another class: equally near. */
static void draw(const char *folder, int count)
{
    assert_int_equal(mkdir(folder, 0777), 0);
    for (int c = 0; c < CLASSES; c++) {
        char name[16];
        snprintf(name, sizeof name, "class%d", c);
        assert_int_equal(mkdir(path_in(folder, name), 0777), 0);
    }
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "evaluated %d", i % 5 == 4 ? i - 1 : i);
        struct dg_image image = dg_test_noise(name, 40, 44);
        snprintf(name, sizeof name, "class%d/%02d.png", i % CLASSES, i);
        assert_ok(dg_image_write_png(path_in(folder, name), image.pixels, image.width, image.height, 3, try_err));
        dg_image_free(&image);
    }
}

static int setup(void **state)
{
    mpi_environment();
    make_test_folder(state);
    snprintf(run_folder, sizeof run_folder, "%s/run", test_folder);
    snprintf(weights, sizeof weights, "%s/checkpoint.safetensors", run_folder);
    draw(in("train"), TRAIN);
    draw(in("val"), VAL);
    dg_tiny_compile(in("tiny.plan"), NULL);
    process_assert_status(RUN(DINORUN, "train", in("tiny.plan"), "--data", in("train"), "--out", run_folder, "--steps",
                              "2", "--ignore-memory"),
                          0);
    return 0;
}

static void test_features(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    static const char *const numbers[] = {"2", "3", "8"}; /* 8: more processes than batches */
    process_assert_status(RUN(DINORUN, "features", run_folder, "--data", in("train"), "--out", in("one.npy")), 0);
    for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
        const struct process *p =
            LAUNCH(&open_mpi, numbers[n], DINORUN, "features", run_folder, "--data", in("train"), "--out", in("n.npy"));
        process_assert_status(p, 0);
        process_assert_says(p, p->out, "n.npy: [40, ");
        assert_same_file(in("one.npy"), in("n.npy"));
        assert_same_file(in("one.npy.tsv"), in("n.npy.tsv"));
    }
    if (!mpi_usable(&mpich)) return;
    process_assert_status(
        LAUNCH(&mpich, "2", DINORUN, "features", run_folder, "--data", in("train"), "--out", in("mpich.npy")), 0);
    assert_same_file(in("one.npy"), in("mpich.npy"));
}

#define KNN(train, predictions)                                                                                        \
    DINORUN, "knn", run_folder, "--train", train, "--val", in("val"), "-k", "1,2,5,20,100", "--predictions",           \
        predictions, "--max-bad-images", "2"

/* The figures from `first` on, without what a launcher's terminal adds to ends of lines; to be freed. */
static char *figures(const struct process *p, const char *first)
{
    process_assert_status(p, 0);
    process_assert_says(p, p->out, first);
    char *text = strdup(strstr(p->out, first)), *to = text;
    for (const char *c = text; *c; c++)
        if (*c != '\r') *to++ = *c;
    *to = 0;
    return text;
}

static void same_votes(const char *ranks, const char *train, const char *first)
{
    char *alone = figures(RUN(KNN(train, in("one.tsv"))), first);
    char *several = figures(LAUNCH(&open_mpi, ranks, KNN(train, in("n.tsv"))), first);
    assert_string_equal(several, alone);
    assert_same_file(in("one.tsv"), in("n.tsv"));
    free(several);
    free(alone);
}

static void test_knn(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    same_votes("2", in("train"), "40 images vote on 17, 3 classes");
    same_votes("3", in("train"), "40 images vote on 17, 3 classes");
}

/* Two images that cannot be read, of two processes: counted over both, and left out as one process leaves them out. */
static void test_bad_images(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    process_assert_status(RUN("cp", "-r", in("train"), in("damaged")), 0);
    write_file(in("damaged/class0/00.png"), "\x89PNG\r\n\x1a\nand no more", 18);
    write_file(in("damaged/class2/38.png"), "no image", 8);
#define FEATURES(out, most)                                                                                            \
    DINORUN, "features", run_folder, "--data", in("damaged"), "--out", out, "--max-bad-images", most
    const struct process *p = LAUNCH(&open_mpi, "2", FEATURES(in("bad.npy"), "1"));
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "2 of 40 images cannot be read, more than are tolerated; the first: ");
    process_assert_says(p, p->err, "class0/00.png: ");
    process_assert_says(p, p->err, "class2/38.png: ");
    assert_int_not_equal(access(in("bad.npy"), F_OK), 0);
    process_assert_status(RUN(FEATURES(in("one.npy"), "2")), 0);
    process_assert_status(LAUNCH(&open_mpi, "3", FEATURES(in("n.npy"), "2")), 0);
    assert_same_file(in("one.npy"), in("n.npy"));
    assert_same_file(in("one.npy.tsv"), in("n.npy.tsv"));
    assert_same_file(in("one.npy.left-out.tsv"), in("n.npy.left-out.tsv"));
    same_votes("3", in("damaged"), "38 images vote on 17, 3 classes");
}

#define LINEAR(weights, out)                                                                                           \
    DINORUN, "linear", in("probe.plan"), "--weights", weights, "--train", in("train"), "--val", in("val"), "--out",    \
        out, "--ignore-memory"

static void same_layers(const char *one, const char *other)
{
    char a[2][512], b[2][512];
    static const char *const file[2] = {"linear", "best"};
    for (int f = 0; f < 2; f++) {
        snprintf(a[f], sizeof a[f], "%s/%s.safetensors", one, file[f]);
        snprintf(b[f], sizeof b[f], "%s/%s.safetensors", other, file[f]);
        assert_same_file(a[f], b[f]);
    }
}

/* A layer of four epochs of five steps, so that rounds of two and three cross their ends; resumed with another number of processes; with an
 * image that cannot be read; and scored. */
static void test_linear(void **state)
{
    (void)state;
    static const char *const set[] = {"backbone=vit",  "with={dim: 32, heads: 2, depth: 2, patch: 8, image: 32}",
                                      "crops.size=32", "batch=8",
                                      "lr.from=0.1",   "classes=3",
                                      "blocks=2",      "epochs=4"};
    const struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/linear.yaml",
                                               .output = in("probe.plan"),
                                               .set = set,
                                               .num_sets = sizeof set / sizeof *set};
    if (!mpi_usable(&open_mpi)) skip();
    compile_plan(&options);
    process_assert_status(RUN(LINEAR(weights, in("alone"))), 0);
    process_assert_status(LAUNCH(&open_mpi, "2", LINEAR(weights, in("two"))), 0);
    same_layers(in("alone"), in("two"));
    size_t size;
    char *record = read_file(in("two/run.json"), &size);
    assert_non_null(strstr(record, "\"processes\": 2,"));
    free(record);
    process_assert_status(LAUNCH(&open_mpi, "3", LINEAR(weights, in("three")), "--epochs", "4"), 0);
    same_layers(in("alone"), in("three"));
    const struct process *p = LAUNCH(&open_mpi, "2", LINEAR(weights, in("three")));
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "holds a probe already: add --resume");
    process_assert_status(LAUNCH(&open_mpi, "2", LINEAR(weights, in("resumed")), "--epochs", "2"), 0);
    process_assert_status(RUN(LINEAR(weights, in("short")), "--epochs", "2"), 0);
    process_assert_status(RUN(LINEAR(weights, in("short")), "--resume", "--epochs", "4"), 0);
    process_assert_status(LAUNCH(&open_mpi, "3", LINEAR(weights, in("resumed")), "--resume", "--epochs", "4"), 0);
    same_layers(in("short"), in("resumed"));
#define SCORE                                                                                                          \
    DINORUN, "linear", in("probe.plan"), "--weights", weights, "--val", in("val"), "--evaluate",                       \
        in("alone/best.safetensors")
    char *alone = figures(RUN(SCORE), "loss "), *several = figures(LAUNCH(&open_mpi, "2", SCORE), "loss ");
    assert_string_equal(several, alone);
    free(alone);
    free(several);
}

/* Of a run's folder each process makes the probe's plan, which is said once. */
static void test_linear_of_run(void **state)
{
    (void)state;
    static const char said[] = "makes the probe's plan";
    if (!mpi_usable(&open_mpi)) skip();
#define OF_RUN(out)                                                                                                    \
    DINORUN, "linear", run_folder, "--train", in("train"), "--val", in("val"), "--out", out, "--epochs", "1", "--set", \
        "batch=8", "--ignore-memory"
    process_assert_status(RUN(OF_RUN(in("run1"))), 0);
    const struct process *p = LAUNCH(&open_mpi, "2", OF_RUN(in("run2")));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, said);
    assert_null(strstr(strstr(p->out, said) + 1, said));
    same_layers(in("run1"), in("run2"));
}

/* A process that is told its number of threads beside one that is not. */
static void test_threads(void **state)
{
    (void)state;
    static const char one_is_told[] = "[ $OMPI_COMM_WORLD_RANK = 0 ] && exec \"$@\" --threads 1\nexec \"$@\"\n";
    if (!mpi_usable(&open_mpi)) skip();
    write_file(in("told"), one_is_told, sizeof one_is_told - 1);
    process_assert_status(RUN(DINORUN, "features", run_folder, "--data", in("train"), "--out", in("threads1.npy")), 0);
    process_assert_status(LAUNCH(&open_mpi, "2", "sh", in("told"), DINORUN, "features", run_folder, "--data",
                                 in("train"), "--out", in("threads2.npy")),
                          0);
    assert_same_file(in("threads1.npy"), in("threads2.npy"));
}

/* Processes that would evaluate different things. */
static void test_refusals(void **state)
{
    (void)state;
    static const char each[] = "[ $OMPI_COMM_WORLD_RANK = 0 ] && exec $1 features $2 --data $4 --out $6\n"
                               "exec $1 features $3 --data $5 --out $6\n";
    if (!mpi_usable(&open_mpi)) skip();
    write_file(in("each"), each, sizeof each - 1);
    process_assert_status(RUN(DINORUN, "train", in("tiny.plan"), "--data", in("train"), "--out", in("another"),
                              "--seed", "7", "--steps", "0", "--ignore-memory"),
                          0);
    const struct process *p =
        LAUNCH(&open_mpi, "2", "sh", in("each"), DINORUN, run_folder, run_folder, in("train"), in("val"), in("no.npy"));
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "has other images in ");
    p = LAUNCH(&open_mpi, "2", "sh", in("each"), DINORUN, run_folder, in("another"), in("train"), in("train"),
               in("no.npy"));
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "has other weights in ");
    /* Two runs with the same weights, of which one resizes images to another size. */
    static const char *const run[] = {"plain", "resized"};
    for (int r = 0; r < 2; r++)
        process_assert_status(RUN(DINORUN, "train", in("tiny.plan"), "--data", in("train"), "--out", in(run[r]),
                                  "--steps", "0", "--ignore-memory", r ? "--set" : NULL, "entries.features.resize=40"),
                              0);
    p = LAUNCH(&open_mpi, "2", "sh", in("each"), DINORUN, in("plain"), in("resized"), in("train"), in("train"),
               in("no.npy"));
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "has other settings: entries.features.resize=40, and rank 0 the plan's");
    p = LAUNCH(&open_mpi, "2", "sh", in("each"), DINORUN, run_folder, run_folder, in("train"), in("nothing"),
               in("no.npy"));
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "rank 1 (");
    process_assert_says(p, p->err, "nothing");
    static const char voters[] = "exec $1 knn $2 --train $3 --val $4 -k $((OMPI_COMM_WORLD_RANK + 1))\n";
    write_file(in("each"), voters, sizeof voters - 1);
    p = LAUNCH(&open_mpi, "2", "sh", in("each"), DINORUN, run_folder, in("train"), in("val"));
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, ") has --k 2, and rank 0 has --k 1");
    p = LAUNCH(&open_mpi, "2", DINORUN, "knn", "--features", "--train", in("one.npy"), "--val", in("one.npy"));
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "knn --features is for one process");
    assert_int_not_equal(access(in("no.npy"), F_OK), 0);
}

/* ---- a failure of one process alone ---- */

static struct dg_comm *comm;

/* From here on OpenMP has one thread for this process, which its layer does not take. */
static void fail_alone(void *context, int64_t epoch, int64_t images, int64_t all)
{
    (void)context, (void)images, (void)all;
    if (epoch >= 0 && dg_comm_rank(comm) == 1) omp_set_max_active_levels(0);
}

/* As one process of several: PLAN WEIGHTS TRAIN VAL OUT. */
static int one_of_several(char **argv)
{
    struct dg_error err = {0};
    struct dg_plan plan = {0};
    struct dg_knobs knobs = {0};
    const struct dg_comm_options exchange = {.stall_limit = 60};
    struct dg_linear_options options = {.weights = argv[2],
                                        .choice = {.from = "teacher"},
                                        .train = {.path = (const char *const *)&argv[3], .paths = 1},
                                        .val = {.path = (const char *const *)&argv[4], .paths = 1},
                                        .out = argv[5],
                                        .threads = 2,
                                        .ignore_memory = true,
                                        .events = {.progress = fail_alone}};
    enum dg_status status = dg_comm_open(&exchange, &comm, &err);
    options.comm = comm;
    if (status == DG_OK) status = dg_plan_open(argv[1], &plan, &err);
    if (status == DG_OK) status = dg_knobs_open(&plan, &knobs, &err);
    if (status == DG_OK) status = dg_linear_train(&plan, &knobs, &options, &err);
    printf("rank %d: %s\n", dg_comm_rank(comm), err.text);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    dg_comm_close(comm);
    return 0;
}

/* The others end with it, and know why. */
static void test_failure_of_one(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    const struct process *p = LAUNCH(&open_mpi, "2", DG_BUILD_DIR "/test_rank_evaluation", in("probe.plan"), weights,
                                     in("train"), in("val"), in("failed"));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "rank 0: rank 1 (");
    process_assert_says(p, p->out, "the session was opened for 2 threads, and OpenMP gives 1");
}

int main(int argc, char **argv)
{
    if (argc > 1) return one_of_several(argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_features),       cmocka_unit_test(test_knn),
                                       cmocka_unit_test(test_bad_images),     cmocka_unit_test(test_linear),
                                       cmocka_unit_test(test_failure_of_one), cmocka_unit_test(test_linear_of_run),
                                       cmocka_unit_test(test_threads),        cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

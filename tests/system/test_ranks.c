/* Training by several processes, under the launchers of the MPI libraries that this build has plugins for; without one the tests say
 * what they leave out. */
#include "ops/kernels/level.h"
#include "runtime/data/train_source.h"
#include "tests/support/compile.h"
#include "tests/support/mpirun.h"
#include "tests/support/runs.h"
#include "tests/support/tiny.h"

#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

enum { STEPS = 4 };

/* Of a tensor's largest number: gradients are sums of at most some thousand terms, whose order differs. */
#define SUMS 1e-4
#define LOSSES 1e-5 /* of a loss, which is a mean over rows and prototypes */
/* Of targets over the batch: their logarithms are within 2 / 0.04 + ln(4 * 64) of zero, with a dozen roundings of f32. */
#define TARGETS (12 * 0x1p-24 * (2 / 0.04 + 6))

#define TRAIN(plan, out) DINORUN, "train", plan, "--data", in("pictures"), "--out", out, "--ignore-memory"

static char four[128], alone[128];

/* A small ResNet by SGD; `ranks` 0: for one process. */
static void compile_resnet(const char *path, int64_t ranks)
{
    static const char *const set[] = {"student.with.planes=8", "head.with.hidden=48", "head.with.out_dim=64",
                                      "crops.local.count=2",   "optim.kind=sgd",      "epochs=3"};
    const struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/cifar10_resnet.yaml",
                                               .output = path,
                                               .set = set,
                                               .num_sets = sizeof set / sizeof *set,
                                               .batch = TINY_BATCH,
                                               .ranks = ranks};
    compile_plan(&options);
}

/* The tiny recipe with another loss, by SGD. */
static void compile_loss(const char *path, const char *loss, int64_t ranks)
{
    const char *set[TINY_SETS + 2];
    memcpy(set, dg_tiny_sets, sizeof dg_tiny_sets);
    set[TINY_SETS] = loss;
    set[TINY_SETS + 1] = "optim.kind=sgd";
    const struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/demo.yaml",
                                               .output = path,
                                               .set = set,
                                               .num_sets = TINY_SETS + 2,
                                               .batch = TINY_BATCH,
                                               .ranks = ranks};
    compile_plan(&options);
}

static int setup(void **state)
{
    mpi_environment();
    make_test_folder(state);
    dg_tiny_pictures(in("pictures"), 4 * TINY_BATCH);
    snprintf(four, sizeof four, "%s/four.plan", test_folder);
    snprintf(alone, sizeof alone, "%s/alone.plan", test_folder);
    dg_tiny_compile_ranks(four, NULL, 4);
    dg_tiny_compile(alone, NULL);
    return 0;
}

static void train(const struct mpi *mpi, const char *ranks, const char *plan, const char *out, const char *steps)
{
    const struct process *p = LAUNCH(mpi, ranks, TRAIN(plan, out), "--steps", steps);
    process_assert_status(p, 0);
}

/* One, two and four processes compute what one does with a plan that knows of none: by SGD, whose parameters differ as little as its
 * gradients do, and by AdamW, whose steps do not depend on the size of a gradient, so that its losses are compared. */
static void test_equal_to_one(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    train(NULL, NULL, alone, in("plain"), "4");
    train(&open_mpi, "2", four, in("two"), "4");
    assert_same_losses(in("plain"), in("two"), LOSSES);
    size_t size;
    char *log = (char *)read_file(in("two/log.jsonl"), &size);
    assert_non_null(memmem(log, size, "\"waited\": ", strlen("\"waited\": ")));
    free(log);
    dg_tiny_compile_ranks(in("sgd4.plan"), "optim.kind=sgd", 4);
    dg_tiny_compile(in("sgd.plan"), "optim.kind=sgd");
    train(NULL, NULL, in("sgd.plan"), in("sgd"), "4");
    train(NULL, NULL, in("sgd4.plan"), in("sgd1"), "4");
    train(&open_mpi, "2", in("sgd4.plan"), in("sgd2"), "4");
    train(&open_mpi, "4", in("sgd4.plan"), in("sgd4"), "4");
    assert_same_state(in("sgd"), in("sgd1"), SUMS);
    assert_same_state(in("sgd"), in("sgd2"), SUMS);
    assert_same_state(in("sgd"), in("sgd4"), SUMS);
}

/* Bits depend on the number of processes alone: not on the library, not on the transport; and a resumed run goes on with them. */
static void test_same_bits(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    train(&open_mpi, "2", four, in("memory"), "4");
    const struct process *p = LAUNCH(&open_mpi_tcp, "2", TRAIN(four, in("tcp")), "--steps", "4");
    if (p->status && strstr(p->err, "reach each other")) { /* a root without /sys: Open MPI 5 finds no interface */
        print_message("left out: TCP (Open MPI finds no way between two processes here)\n");
    } else {
        process_assert_status(p, 0);
        assert_same_state(in("memory"), in("tcp"), 0);
    }
    train(&open_mpi, "2", four, in("resumed"), "2");
    process_assert_status(LAUNCH(&open_mpi, "2", TRAIN(four, in("resumed")), "--resume", "--steps", "4"), 0);
    assert_same_state(in("memory"), in("resumed"), 0);
    /* With another number of processes the run goes on, equal to rounding. */
    train(&open_mpi, "4", four, in("fewer"), "2");
    process_assert_status(LAUNCH(NULL, NULL, TRAIN(four, in("fewer")), "--resume", "--steps", "4"), 0);
    assert_same_losses(in("memory"), in("fewer"), LOSSES);
    train(&open_mpi, "2", four, in("library"), "1");
    process_assert_status(
        LAUNCH(&open_mpi, "2", TRAIN(four, in("library")), "--resume", "--reduce", "mpi", "--steps", "2"), 0);
    if (!mpi_usable(&mpich)) return;
    train(&mpich, "2", four, in("mpich"), "4");
    assert_same_state(in("memory"), in("mpich"), 0);
}

/* Batch norms see the rows of all processes, in the backbone, where each resolution has moments of its own, and in the head, which
 * has all crops at once: steps, and the running statistics that the checkpoint has, are those of one process. */
static void test_batch_norm(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    compile_resnet(in("norm.plan"), 0);
    compile_resnet(in("norm2.plan"), 2);
    compile_resnet(in("norm4.plan"), 4);
    train(NULL, NULL, in("norm.plan"), in("norm"), "4");
    train(&open_mpi, "2", in("norm2.plan"), in("norm2"), "4");
    train(&open_mpi, "4", in("norm4.plan"), in("norm4"), "4");
    assert_same_losses(in("norm"), in("norm2"), LOSSES);
    assert_same_losses(in("norm"), in("norm4"), LOSSES);
    assert_same_state(in("norm"), in("norm2"), SUMS);
    assert_same_state(in("norm"), in("norm4"), SUMS);
    train(&open_mpi, "2", in("norm2.plan"), in("norm_resumed"), "2");
    process_assert_status(
        LAUNCH(&open_mpi, "2", TRAIN(in("norm2.plan"), in("norm_resumed")), "--resume", "--steps", "4"), 0);
    assert_same_state(in("norm2"), in("norm_resumed"), 0);
    if (mpi_usable(&mpich)) {
        train(&mpich, "2", in("norm2.plan"), in("norm_mpich"), "4");
        assert_same_state(in("norm2"), in("norm_mpich"), 0);
    }
    dg_tiny_compile(in("head.plan"), "head.with.bn=true");
    dg_tiny_compile_ranks(in("head2.plan"), "head.with.bn=true", 2);
    train(NULL, NULL, in("head.plan"), in("head"), "4");
    train(&open_mpi, "2", in("head2.plan"), in("head2"), "4");
    assert_same_losses(in("head"), in("head2"), LOSSES);
    const struct process *p = LAUNCH(NULL, NULL, TRAIN(in("norm4.plan"), in("no")));
    process_assert_status(p, 2);
    process_assert_says(p, p->err, "this plan is for 4 processes");
    process_assert_says(p, p->err,
                        "and 1 was started: start 4 with mpirun, or compile it with dinoc cifar10_resnet.yaml");
    p = LAUNCH(&open_mpi, "2", TRAIN(in("norm4.plan"), in("no")));
    process_assert_says(p, p->err, "2 were started: start 4 with mpirun");
    p = RUN(DINORUN, "scale", in("norm4.plan"), "--link", "1G", "--steps", "1", "--machines", "2");
    process_assert_status(p, 2);
    process_assert_says(p, p->err, "see the rows of 4 machines");
    p = RUN(DINORUN, "info", in("norm4.plan"));
    process_assert_says(p, p->out, "4, no more and no fewer");
    /* 12 batch norms: the student's in two resolutions, forward and backward, and the teacher's in one. */
    p = RUN(DINORUN, "scale", in("norm4.plan"), "--link", "1G", "--steps", "1", "--latency", "1s");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "operations see the rows of all 4 machines: 60 times a step");
    assert_true(strtod(strstr(p->out, "\n        4 ") + 11, NULL) > 60e3);
    p = LAUNCH(&open_mpi, "2", DINORUN, "bench", in("norm2.plan"), "--steps", "2");
    process_assert_says(p, p->out, "60 exchanges in the middle of the step");
}

/* The folder of a loss and a number of processes: in("batch0_2"). */
#define RUN_OF(loss, ranks) path_of_run(loss, ranks, "")
#define PLAN_OF(loss, ranks) path_of_run(loss, ranks, ".plan")
static const char *path_of_run(size_t loss, int ranks, const char *end)
{
    char name[64];
    snprintf(name, sizeof name, "batch%zu_%d%s", loss, ranks, end);
    return in(name);
}

/* Targets and losses that see the whole batch: steps of processes are those of one, and a resumed run goes on with its bits. Such a plan
 * is for its number of processes. */
static void test_whole_batch(void **state)
{
    (void)state;
    static const char *const losses[] = {"loss={targets: sinkhorn, teacher_temp: 0.05}",
                                         "loss={targets: softmax_batch}", "loss={kind: infonce, student_temp: 0.2}"};
    if (!mpi_usable(&open_mpi)) skip();
    for (size_t l = 0; l < sizeof losses / sizeof *losses; l++) {
        for (int ranks = 0; ranks <= 4; ranks += 2) {
            compile_loss(PLAN_OF(l, ranks), losses[l], ranks);
            train(ranks ? &open_mpi : NULL, ranks == 2 ? "2" : "4", PLAN_OF(l, ranks), RUN_OF(l, ranks), "4");
            if (!ranks) continue;
            assert_same_losses(RUN_OF(l, 0), RUN_OF(l, ranks), LOSSES + TARGETS);
            assert_same_state(RUN_OF(l, 0), RUN_OF(l, ranks), SUMS + TARGETS);
        }
        const char *resumed = path_of_run(l, 2, "_resumed");
        train(&open_mpi, "2", PLAN_OF(l, 2), resumed, "2");
        process_assert_status(LAUNCH(&open_mpi, "2", TRAIN(PLAN_OF(l, 2), resumed), "--resume", "--steps", "4"), 0);
        assert_same_state(RUN_OF(l, 2), resumed, 0);
    }
    const struct process *p = LAUNCH(&open_mpi, "2", TRAIN(PLAN_OF(0, 4), in("no")));
    process_assert_says(p, p->err, "this plan is for 4 processes, whose images meet in batch norm, Sinkhorn-Knopp");
    process_assert_says(p, p->err, "and 2 were started: start 4 with mpirun");
    assert_int_not_equal(access(in("no"), F_OK), 0);
    p = LAUNCH(&open_mpi, "2", DINORUN, "bench", PLAN_OF(0, 2), "--steps", "1");
    process_assert_says(p, p->out, "\nrows of all  3 exchanges in the middle of the step");
}

static void test_replay(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    struct dg_tiny_crops recorded = dg_tiny_crops(STEPS);
    assert_ok(dg_safetensors_write(in("crops"), recorded.item, recorded.count, NULL, 0, try_err));
    dg_tiny_crops_free(&recorded);
#define REPLAY(plan, out)                                                                                              \
    DINORUN, "train", plan, "--replay", in("crops"), "--out", out, "--ignore-memory", "--epochs", "1"
    process_assert_status(LAUNCH(NULL, NULL, REPLAY(alone, in("replay1"))), 0);
    process_assert_status(LAUNCH(&open_mpi, "2", REPLAY(four, in("replay2"))), 0);
    assert_same_losses(in("replay1"), in("replay2"), LOSSES);
}

/* What the user sees, and refusals: each says what to do, and leaves no run. */
static void test_refusals(void **state)
{
    (void)state;
    /* Each process has a folder and options of its own. */
    static const char each[] = "[ $OMPI_COMM_WORLD_RANK = 0 ] && exec $1 train $2 --data $3 $5\n"
                               "exec $1 train $2 --data $4 $6\n";
    static const struct {
        const char *rank0, *rank1, *said;
    } settings[] = {
        {"--steps 2", "--steps 3", ") has --steps 3, and rank 0 has --steps 2: give all processes the same options"},
        {"", "--set lr.peak=0.1", ") has --set lr.peak=0.1, and rank 0 has no --set lr.peak=0.1"},
        {"--max-bad-images 1", "", ") has no --max-bad-images 1, and rank 0 has --max-bad-images 1"}};
    char out[512], with[2][640];
    dg_tiny_pictures(in("fewer_pictures"), 4 * TINY_BATCH - 1);
    unsetenv("OMPI_COMM_WORLD_SIZE");
    setenv("PMI_SIZE", "3", 1);
    const struct process *p = RUN(TRAIN(four, in("no")));
    process_assert_status(p, 1);
    process_assert_says(p, p->err,
                        access(mpich.plugin, F_OK) ? "libmpich-dev" : "sees 1: start it with the mpirun of MPICH");
    p = RUN(DINORUN, "info", four);
    process_assert_status(p, 2);
    process_assert_says(p, p->err, "dinorun info is for one process, and 3 were started");
    unsetenv("PMI_SIZE");
    setenv("SLURM_NTASKS", "2", 1);
    setenv("SLURM_PROCID", "0", 1);
    setenv("SLURM_STEP_ID", "0", 1);
    p = RUN(TRAIN(four, in("no")));
    process_assert_says(p, p->err, "--mpi=pmix");
    unsetenv("SLURM_NTASKS");
    unsetenv("SLURM_PROCID");
    unsetenv("SLURM_STEP_ID");
    if (!mpi_usable(&open_mpi)) skip();
    p = LAUNCH(&open_mpi, "3", TRAIN(four, in("no")));
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "start 1, 2, 4 processes, or compile with --ranks 3");
    p = LAUNCH(&open_mpi, "2", TRAIN(alone, in("no")));
    process_assert_says(p, p->err, "compile it with dinoc demo.yaml --ranks 2");
    write_file(in("each"), each, sizeof each - 1);
    snprintf(out, sizeof out, "--out %s", in("no"));
    p = LAUNCH(&open_mpi, "2", "sh", in("each"), DINORUN, four, in("pictures"), in("fewer_pictures"), out, out);
    process_assert_says(p, p->err, "rank 1 (");
    process_assert_says(p, p->err, "and rank 0 has 16");
    for (size_t s = 0; s < sizeof settings / sizeof *settings; s++) {
        snprintf(with[0], sizeof with[0], "%s %s", out, settings[s].rank0);
        snprintf(with[1], sizeof with[1], "%s %s", out, settings[s].rank1);
        p = LAUNCH(&open_mpi, "2", "sh", in("each"), DINORUN, four, in("pictures"), in("pictures"), with[0], with[1]);
        assert_int_not_equal(p->status, 0);
        process_assert_says(p, p->err, settings[s].said);
    }
    /* Rank 0 reads images as its run did, of which the other machine knows nothing. */
    process_assert_status(RUN(TRAIN(four, in("pillow")), "--pillow", "12", "--steps", "1"), 0);
    snprintf(with[0], sizeof with[0], "--ignore-memory --resume --out %s", in("pillow"));
    snprintf(with[1], sizeof with[1], "--ignore-memory --resume --out %s", in("no"));
    p = LAUNCH(&open_mpi, "2", "sh", in("each"), DINORUN, four, in("pictures"), in("pictures"), with[0], with[1]);
    process_assert_says(p, p->err, "has another way to read images: --pillow 13, and rank 0 --pillow 12");
    /* Kernels of another level on the second process; and both processes on one CPU. */
    static const char apart[] = "[ $OMPI_COMM_WORLD_RANK = 0 ] || export DINOGRAPH_CPU=v1\n"
                                "exec $1 train $2 --data $3 --out $4\n",
                      bound[] = "exec taskset -c 0 $1 train $2 --data $3 --out $4\n";
    if (dg_cpu_level() != DG_CPU_V1) {
        write_file(in("each"), apart, sizeof apart - 1);
        p = LAUNCH(&open_mpi, "2", "sh", in("each"), DINORUN, four, in("pictures"), in("no"));
        process_assert_says(p, p->err, "has kernels v1 where rank 0 has ");
    }
    if (omp_get_num_procs() > 1) {
        write_file(in("each"), bound, sizeof bound - 1);
        p = LAUNCH(&open_mpi, "2", "sh", in("each"), DINORUN, four, in("pictures"), in("no"));
        process_assert_says(p, p->err, "add --bind-to none to mpirun");
    }
    assert_int_not_equal(access(in("no"), F_OK), 0);
}

/* Starts two processes of training, which write their ids to `run`.0 and `run`.1, and waits until there is something in the file `sign`
 * of the run. To be freed. */
static struct process *start_two(const char *run, const char *sign, const char *const *command)
{
    static const char each[] = "echo $$ > $1.$OMPI_COMM_WORLD_RANK\nshift\nexec \"$@\"\n";
    enum { TURNS = 30000 }; /* of 10 ms: five minutes, on a machine that does much else */
    const char *argv[MPI_WORDS], *words[MPI_WORDS] = {"sh", in("each"), run};
    int count = 3;
    for (int i = 0; command[i]; i++) words[count++] = command[i];
    struct process *p = calloc(1, sizeof *p);
    assert_non_null(p);
    write_file(in("each"), each, sizeof each - 1);
    mpi_command(&open_mpi, "2", words, argv);
    process_start(p, argv, NULL);
    const char *path = path_in(run, sign);
    struct stat info;
    siginfo_t end = {0};
    for (int i = 0; i < TURNS && !end.si_pid && (stat(path, &info) || !info.st_size); i++) {
        usleep(10 * 1000);
        assert_int_equal(waitid(P_PID, (id_t)p->pid, &end, WEXITED | WNOHANG | WNOWAIT), 0);
    }
    if (stat(path, &info) || !info.st_size) fail_msg("there is nothing in %s", path);
    return p;
}
#define START_TWO(run, sign, ...) start_two(run, sign, (const char *const[]){__VA_ARGS__, NULL})

/* The process of start_two that is a rank. */
static pid_t rank_of(const char *run, int rank)
{
    char path[544];
    size_t size;
    snprintf(path, sizeof path, "%s.%d", run, rank);
    char *text = read_file(path, &size);
    pid_t id = (pid_t)atoi(text);
    free(text);
    assert_true(id > 0);
    return id;
}

/* One process, and not the first, or the launcher is asked to stop: all end the step, rank 0 saves, and its status says so. The run goes on by
 * its folder alone. */
static void test_stop(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    for (int launcher = 0; launcher < 2; launcher++) {
        char run[512];
        snprintf(run, sizeof run, "%s%d", in("stopped"), launcher);
        struct process *p = START_TWO(run, "log.jsonl", TRAIN(four, run), "--epochs", "100000");
        kill(launcher ? p->pid : rank_of(run, 1), SIGUSR1); /* mpirun passes it on */
        process_wait(p);
        process_assert_says(p, p->out, "stopped at step");
        assert_int_equal(p->status, 3);
        assert_int_equal(access(path_in(run, "checkpoint.safetensors"), F_OK), 0);
        free(p);
        process_assert_status(
            LAUNCH(&open_mpi, "2", DINORUN, "train", "--resume", run, "--steps", "1", "--ignore-memory"), 0);
    }
}

/* A picture that one process alone cannot read: all end, and rank 0 saves what the last whole step left. */
static void test_bad_picture(void **state)
{
    (void)state;
    static const char each[] = "[ $OMPI_COMM_WORLD_RANK = 0 ] && d=$3 || d=$4\n"
                               "exec $1 train $2 --data $d --out $5 --max-bad-images 0 --ignore-memory\n";
    if (!mpi_usable(&open_mpi)) skip();
    process_assert_status(RUN("cp", "-r", in("pictures"), in("damaged")), 0);
    write_file(in("damaged/05.png"), "\x89PNG\r\n\x1a\nand no more", 18);
    write_file(in("each"), each, sizeof each - 1);
    const struct process *p =
        LAUNCH(&open_mpi, "2", "sh", in("each"), DINORUN, four, in("pictures"), in("damaged"), in("bad"));
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "dinorun: rank ");
    process_assert_says(p, p->err, "damaged/05.png");
}

/* Two pictures that cannot be read, of which each process meets one: they are counted together. */
static void test_bad_pictures_of_all(void **state)
{
    (void)state;
    int32_t order[4 * TINY_BATCH];
    if (!mpi_usable(&open_mpi)) skip();
    process_assert_status(RUN("cp", "-r", in("pictures"), in("two_damaged")), 0);
    dg_epoch_order(0, 0, 4 * TINY_BATCH, order);
    for (int place = 0; place < TINY_BATCH; place += TINY_BATCH / 2) { /* the first of each process's rows */
        char name[64];
        snprintf(name, sizeof name, "two_damaged/%02d.%s", order[place], order[place] % 4 == 3 ? "jpg" : "png");
        write_file(in(name), "no picture", 10);
    }
#define DAMAGED(out, most)                                                                                             \
    DINORUN, "train", four, "--data", in("two_damaged"), "--out", out, "--ignore-memory", "--steps", "4",              \
        "--max-bad-images", most
    const struct process *p = LAUNCH(&open_mpi, "2", DAMAGED(in("one_too_many"), "1"));
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "more than the 1 tolerated");
    process_assert_status(LAUNCH(&open_mpi, "2", DAMAGED(in("just_enough"), "2")), 0);
}

/* Recorded crops of which one is no number: all come to the same end, and say where it was. */
static void test_not_finite(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    struct dg_tiny_crops recorded = dg_tiny_crops(STEPS);
    float *crop = (float *)(uintptr_t)recorded.item[2 * TINY_VIEWS].data; /* of the third step, the last image */
    crop[(TINY_BATCH - 1) * 3 * TINY_GLOBAL * TINY_GLOBAL] = NAN;
    assert_ok(dg_safetensors_write(in("nan"), recorded.item, recorded.count, NULL, 0, try_err));
    dg_tiny_crops_free(&recorded);
    const struct process *p = LAUNCH(&open_mpi, "2", DINORUN, "train", four, "--replay", in("nan"), "--out", in("none"),
                                     "--ignore-memory", "--epochs", "1");
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "step 2: the loss is nan");
    process_assert_says(p, p->err, "crops.global was bad before the step: it has 1 NaN");
#define SKIPPING(plan, out)                                                                                            \
    DINORUN, "train", plan, "--replay", in("nan"), "--out", out, "--ignore-memory", "--epochs", "1", "--set",          \
        "skip_bad_steps=1"
    dg_tiny_compile_ranks(in("left_out.plan"), "optim.kind=sgd", 4);
    process_assert_status(LAUNCH(NULL, NULL, SKIPPING(in("left_out.plan"), in("skipped1"))), 0);
    p = LAUNCH(&open_mpi, "2", SKIPPING(in("left_out.plan"), in("skipped2")));
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "left out (1 of at most 1): step 2");
    assert_same_state(in("skipped1"), in("skipped2"), SUMS);
    process_assert_status(LAUNCH(NULL, NULL, DINORUN, "info", four), 0);
    /* What the second process's images make of a convolution is too large; its batch norm lets the first one see that, too. */
    recorded = dg_tiny_crops(STEPS);
    crop = (float *)(uintptr_t)recorded.item[2 * TINY_VIEWS].data;
    for (int i = 0; i < 3 * TINY_GLOBAL * TINY_GLOBAL; i++)
        crop[(TINY_BATCH - 1) * 3 * TINY_GLOBAL * TINY_GLOBAL + i] = 3e38F;
    assert_ok(dg_safetensors_write(in("large"), recorded.item, recorded.count, NULL, 0, try_err));
    dg_tiny_crops_free(&recorded);
    compile_resnet(in("large.plan"), 2);
    p = LAUNCH(&open_mpi, "2", DINORUN, "train", in("large.plan"), "--replay", in("large"), "--out", in("none_large"),
               "--ignore-memory", "--epochs", "1");
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "on rank 1 (");
    process_assert_says(p, p->err, "that of conv1 (conv2d in teacher.backbone(global)");
}

/* A process dies in the middle of a run that would go on for long: the launcher ends all, the newest checkpoint resumes, and some steps
 * later the run is where one that nobody interrupted is, to the bit. */
static void test_killed(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
#define LONG(out) TRAIN(four, out), "--set", "checkpoint.every=0.25", "--epochs", "100000", "--ignore-disk"
    for (int victim = 0; victim < 2; victim++) {
        char run[512], whole[512], steps[16];
        snprintf(run, sizeof run, "%s%d", in("killed"), victim);
        snprintf(whole, sizeof whole, "%s%d", in("whole"), victim);
        struct process *p = START_TWO(run, "checkpoint.safetensors", LONG(run));
        kill(rank_of(run, victim), SIGKILL);
        process_wait(p);
        assert_int_not_equal(p->status, 0);
        free(p);
        snprintf(steps, sizeof steps, "%d", count_lines(path_in(run, "log.jsonl")) + STEPS);
        process_assert_status(LAUNCH(&open_mpi, "2", LONG(run), "--resume", "--steps", steps), 0);
        process_assert_status(LAUNCH(&open_mpi, "2", LONG(whole), "--steps", steps), 0);
        assert_same_state(whole, run, 0);
    }
}

/* A process stands still: the other gives up after the limit, and the newest checkpoint goes on. */
static void stall(const char *plan, const char *run)
{
    struct process *p = START_TWO(run, "checkpoint.safetensors", TRAIN(plan, run), "--epochs", "100000",
                                  "--ignore-disk", "--stall-limit", "2s");
    pid_t still = rank_of(run, 1);
    kill(still, SIGSTOP);
    process_wait(p);
    kill(still, SIGKILL); /* where the launcher has left it */
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "other processes did not come for ");
    free(p);
    process_assert_status(LAUNCH(&open_mpi, "2", TRAIN(plan, run), "--resume", "--steps", "1"), 0);
}

static void test_stall(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    stall(four, in("stalled"));
    compile_resnet(in("stalled.plan"), 2); /* in the middle of a step, too */
    stall(in("stalled.plan"), in("stalled_norms"));
}

/* Several links from one measurement; and one machine needs as many cores as it is too slow by. */
static void check_days(void)
{
    const struct process *p = RUN(DINORUN, "scale", four, "--link", "1G,100G", "--steps", "1", "--measured", "2s",
                                  "--batch", "8", "--days", "0.5", "--threads", "1");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "a step here: 2000.0 ms");
    process_assert_says(p, p->out, "taken for a batch of 8: slices of 2 images");
    process_assert_says(p, p->out, "links of 1 Gbit/s");
    process_assert_says(p, p->out, "links of 100 Gbit/s");
    const char *row = strstr(p->out, "\n        1 ");
    double ms, computing, rate, days, cores;
    assert_non_null(row);
    assert_int_equal(sscanf(row, " 1 %lf ms %lf %% %lf %lf %lf", &ms, &computing, &rate, &days, &cores), 5);
    assert_true(cores >= 0.99 * days / 0.5 && cores - 1 <= 1.01 * days / 0.5);
    p = RUN(DINORUN, "scale", four, "--link", "1G", "--steps", "1", "--batch", "7");
    process_assert_status(p, 2);
    process_assert_says(p, p->err, "--batch 7 is not a multiple of the plan's 4 slices");
}

/* What several machines would make of a step: with a slow link more of it is waiting, and all rows are there. */
static void test_scale(void **state)
{
    (void)state;
    double step[2][3];
    static const char *const links[2] = {"10M", "1000G"};
    for (int l = 0; l < 2; l++) {
        const struct process *p = RUN(DINORUN, "scale", four, "--link", links[l], "--machines", "4", "--latency", "0us",
                                      "--steps", "2", l ? NULL : "--measured", "20ms");
        process_assert_status(p, 0);
        static const char *const rows[] = {"\n        1 ", "\n        2 ", "\n        4 "};
        for (int r = 0; r < 3; r++) {
            process_assert_says(p, p->out, rows[r]);
            step[l][r] = strtod(strstr(p->out, rows[r]) + strlen(rows[r]), NULL);
            assert_true(step[l][r] > 0);
        }
    }
    assert_true(step[1][1] < step[1][0] && step[1][2] < step[1][1]); /* nothing but slices to share */
    assert_true(step[0][1] > step[0][0]);                            /* 10 Mbit/s cost more than half of 20 ms */
    check_days();
    const struct process *p = RUN(DINORUN, "scale", alone, "--link", "1G");
    process_assert_status(p, 2);
    process_assert_says(p, p->err, "compile it with dinoc demo.yaml --ranks N");
    p = RUN(DINORUN, "scale", four, "--link", "fast");
    process_assert_status(p, 2);
    process_assert_says(p, p->err, "expected bits a second, as in 10G or 800M");
    if (!mpi_usable(&open_mpi)) skip();
    p = LAUNCH(&open_mpi, "2", DINORUN, "bench", four, "--steps", "2");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "sent by each a step, ");
    process_assert_says(p, p->out, "  rank 1 ");
    p = LAUNCH(&open_mpi, "2", DINORUN, "bench", four, "--entry", "features");
    assert_int_not_equal(p->status, 0);
    process_assert_says(p, p->err, "processes share no step of entry features");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scale),        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_bad_picture),  cmocka_unit_test(test_bad_pictures_of_all),
        cmocka_unit_test(test_not_finite),   cmocka_unit_test(test_killed),
        cmocka_unit_test(test_equal_to_one), cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_replay),       cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_stop),         cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_whole_batch),
    };
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

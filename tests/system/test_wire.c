/* Other sums than those in the order of ranks: gradients as bf16 on the wire, and machine by machine. What they change is bounded, what
 * they must not change stays, and a run goes on as it began. Every run compares the parameters of its processes itself, bit by bit. */
#include "tests/support/compile.h"
#include "tests/support/mpirun.h"
#include "tests/support/runs.h"
#include "tests/support/tiny.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

enum { SAME = 6 }; /* images of a batch, all the same */

static char four[128], six[128];

/* A step of SGD that is the gradient times a rate, of six images. */
static void compile_six(void)
{
    static const char *const more[] = {"student.with.drop_path=0", "lr=0.5", "weight_decay=0",
                                       "optim={kind: sgd, clip: 0, freeze: {params: last_layer, for: 0 epochs}}"};
    enum { MORE = sizeof more / sizeof *more };
    const char *set[TINY_SETS + MORE];
    memcpy(set, dg_tiny_sets, sizeof dg_tiny_sets);
    memcpy(set + TINY_SETS, more, sizeof more);
    compile_plan(&(struct dg_compile_options){.file = DG_SOURCE_DIR "/graphs/demo.yaml",
                                              .output = six,
                                              .set = set,
                                              .num_sets = TINY_SETS + MORE,
                                              .batch = SAME,
                                              .ranks = SAME});
}

/* Crops of one step, in which all images are the first one. */
static void write_same_crops(const char *path)
{
    struct dg_tiny_crops crops = dg_tiny_crops(1);
    for (int v = 0; v < crops.count; v++) {
        struct dg_safetensors_item *item = &crops.item[v];
        size_t image = (size_t)(3 * item->dim[2] * item->dim[3]) * sizeof(float);
        char *all = malloc(SAME * image);
        assert_non_null(all);
        for (int i = 0; i < SAME; i++) memcpy(all + (size_t)i * image, item->data, image);
        free((void *)(uintptr_t)item->data);
        item->data = all;
        item->dim[0] = SAME;
    }
    assert_ok(dg_safetensors_write(path, crops.item, crops.count, NULL, 0, try_err));
    dg_tiny_crops_free(&crops);
}

static int setup(void **state)
{
    mpi_environment();
    make_test_folder(state);
    dg_tiny_pictures(in("pictures"), 4 * TINY_BATCH);
    snprintf(four, sizeof four, "%s/four.plan", test_folder);
    snprintf(six, sizeof six, "%s/six.plan", test_folder);
    dg_tiny_compile_ranks(four, NULL, 4);
    compile_six();
    write_same_crops(in("same"));
    return 0;
}

static bool begins(const char *name, const char *with) { return !strncmp(name, with, strlen(with)); }

/* Where all processes have the same gradient x, sums of P x by bf16 are off by two roundings of the sum. What a step moves a parameter by is
 * that, and some roundings of f32. Returns how many parameters have moved otherwise. */
static int64_t check_moved(const struct dg_safetensors *start, const struct dg_safetensors *exact,
                           const struct dg_safetensors *rounded)
{
    const double u = 0x1p-8, f32 = FLT_EPSILON / 2, share = ((1 + u) * (1 + u) - 1) * (1 + 8 * f32);
    int64_t different = 0;
    for (int i = 0; i < dg_safetensors_count(exact); i++) {
        const struct dg_safetensors_tensor *x = dg_safetensors_at(exact, i), *y = dg_safetensors_find(rounded, x->name),
                                           *s = dg_safetensors_find(start, x->name);
        if (!begins(x->name, "student.")) continue;
        const float *a = x->data, *b = y->data, *from = s->data;
        for (size_t e = 0; e < x->bytes / sizeof *a; e++) {
            double moved = fabs((double)a[e] - (double)from[e]), apart = fabs((double)a[e] - (double)b[e]),
                   size = fmax(fabs((double)a[e]), fabs((double)from[e])), limit = share * moved + 8 * f32 * size;
            if (!(apart <= limit)) fail_msg("%s[%zu]: %g apart, it moved by %g", x->name, e, apart, moved);
            different += apart > 0;
        }
    }
    return different;
}

static void test_bound(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
#define SAME_CROPS(out) DINORUN, "train", six, "--replay", in("same"), "--epochs", "1", "--ignore-memory", "--out", out
    process_assert_status(LAUNCH(NULL, NULL, SAME_CROPS(in("start")), "--steps", "0"), 0);
    struct dg_safetensors *start = open_checkpoint(in("start"));
    static const char *const ranks[] = {"2", "3"};
    for (int i = 0; i < 2; i++) {
        char exact[512], rounded[512];
        snprintf(exact, sizeof exact, "%s/f32.%s", test_folder, ranks[i]);
        snprintf(rounded, sizeof rounded, "%s/bf16.%s", test_folder, ranks[i]);
        process_assert_status(LAUNCH(&open_mpi, ranks[i], SAME_CROPS(exact)), 0);
        const struct process *p = LAUNCH(&open_mpi, ranks[i], SAME_CROPS(rounded), "--wire", "bf16");
        process_assert_status(p, 0);
        process_assert_says(p, p->out, "sums in the order of ranks; gradients travel as bf16");
        struct dg_safetensors *a = open_checkpoint(exact), *b = open_checkpoint(rounded);
        assert_string_equal(dg_safetensors_metadata(a, "machine.wire"), "f32");
        assert_string_equal(dg_safetensors_metadata(b, "machine.wire"), "bf16");
        assert_true(check_moved(start, a, b) > 0);
        /* The loss and the centre are no gradients. */
        assert_same_losses(exact, rounded, 0);
        const struct dg_safetensors_tensor *center = dg_safetensors_find(a, "center");
        assert_memory_equal(center->data, dg_safetensors_find(b, "center")->data, center->bytes);
        dg_safetensors_close(a);
        dg_safetensors_close(b);
    }
    dg_safetensors_close(start);
}

#define TRAIN(out, steps)                                                                                              \
    DINORUN, "train", four, "--data", in("pictures"), "--out", out, "--ignore-memory", "--steps", steps
#define RESUME(out, steps) TRAIN(out, steps), "--resume"

/* A resumed run goes on as it began, and says where it does not; another library makes the same bits. */
static void test_resumed(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
    process_assert_status(LAUNCH(&open_mpi, "2", TRAIN(in("long"), "4"), "--wire", "bf16"), 0);
    process_assert_status(LAUNCH(&open_mpi, "2", TRAIN(in("parts"), "2"), "--wire", "bf16"), 0);
    /* One process alone rounds nothing, and keeps what the run was asked for. */
    process_assert_status(LAUNCH(NULL, NULL, RESUME(in("parts"), "2")), 0);
    const struct process *p = LAUNCH(&open_mpi, "2", RESUME(in("parts"), "4"));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "gradients travel as bf16");
    assert_same_state(in("long"), in("parts"), 0);
    if (mpi_usable(&mpich)) {
        process_assert_status(LAUNCH(&mpich, "2", TRAIN(in("mpich"), "4"), "--wire", "bf16"), 0);
        assert_same_state(in("long"), in("mpich"), 0);
    }
    p = LAUNCH(&open_mpi, "2", RESUME(in("parts"), "5"), "--wire", "f32");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "--wire was bf16 so far and is f32 now: gradients are no longer rounded as before");
}

static void test_machines(void **state)
{
    (void)state;
    if (!mpi_usable(&open_mpi)) skip();
#define MACHINES "--reduce", "machines", "--together", "2"
    const struct process *p = LAUNCH(&open_mpi, "4", TRAIN(in("machines"), "4"), MACHINES);
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "sums of each 2 neighbouring ranks first, then of 2 such groups");
    process_assert_status(LAUNCH(&open_mpi, "4", TRAIN(in("again"), "2"), MACHINES), 0);
    process_assert_status(LAUNCH(&open_mpi, "4", RESUME(in("again"), "4"), MACHINES), 0);
    assert_same_state(in("machines"), in("again"), 0);
    /* All processes of this test share memory. The first step's loss does not know how gradients are added. */
    p = LAUNCH(&open_mpi, "4", TRAIN(in("shared"), "1"), "--reduce", "machines");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "sums of each 4 processes of a machine first, then of 1 machines");
    process_assert_status(LAUNCH(&open_mpi, "4", TRAIN(in("ranks"), "1")), 0);
    assert_same_state(in("shared"), in("ranks"), 0);
    p = LAUNCH(&open_mpi, "4", RESUME(in("ranks"), "2"), MACHINES, "--wire", "bf16");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "gradients travel as bf16 between them");
    process_assert_says(p, p->err, "--reduce was ranks so far and is machines now");
    p = LAUNCH(&open_mpi, "4", DINORUN, "bench", four, "--steps", "1", MACHINES);
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "of them between machines");
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *reduce, *wire, *together, *said;
    } cases[] = {{"mpi", "bf16", NULL, "MPI adds no bf16: --reduce mpi goes with --wire f32"},
                 {"ranks", "f32", "2", "--together goes with --reduce machines"},
                 {"machines", "f32", "3", "--together 3 does not divide 4 processes"}};
    if (!mpi_usable(&open_mpi)) skip();
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const struct process *p = LAUNCH(&open_mpi, "4", TRAIN(in("no"), "1"), "--reduce", cases[c].reduce, "--wire",
                                         cases[c].wire, cases[c].together ? "--together" : NULL, cases[c].together);
        assert_int_not_equal(p->status, 0);
        process_assert_says(p, p->err, cases[c].said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bound), cmocka_unit_test(test_resumed),
                                       cmocka_unit_test(test_machines), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

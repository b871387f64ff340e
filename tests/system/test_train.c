/* Training runs from beginning to end, on a tiny recipe: resuming, stopping, starting weights, and what goes wrong. */
#include "ops/dnnl/cpu.h"
#include "runtime/base/disk.h"
#include "runtime/eval/evaluator.h"
#include "runtime/state/checkpoint.h"
#include "runtime/train/collapse.h"
#include "runtime/train/train.h"
#include "tests/support/compile.h"
#include "tests/support/log.h"
#include "tests/support/runs.h"
#include "tests/support/tiny.h"

#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t stop_after; /* steps; 0: never */
static int64_t steps_seen;
static const char *ballast; /* a file to fill its disk with after two steps; NULL: none */

static void fill_disk(const char *path)
{
    static char block[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof block) > 0) {
    }
    close(fd);
}

static void on_step(void *context, const struct dg_step_report *report, double seconds, double waited)
{
    (void)context;
    (void)seconds;
    (void)waited;
    steps_seen = report->step + 1;
    if (ballast && steps_seen == 2) fill_disk(ballast);
}

static bool on_stop(void *context)
{
    (void)context;
    return stop_after && steps_seen >= stop_after;
}

struct asked {
    const char *plan, *data, *replay, *out, *init, *set[4];
    bool resume, new_data, ignore_disk;
    int64_t steps, max_bad;
    uint64_t seed;
    bool seed_given;
    int loader_threads;
};

static enum dg_status run(struct asked asked, struct dg_error *err)
{
    struct dg_plan plan;
    struct dg_knobs knobs;
    dg_test_hush();
    steps_seen = 0;
    assert_ok(dg_plan_open(in(asked.plan ? asked.plan : "tiny.plan"), &plan, try_err));
    assert_ok(dg_knobs_open(&plan, &knobs, try_err));
    for (int s = 0; s < 4 && asked.set[s]; s++) assert_ok(dg_knobs_set(&knobs, asked.set[s], try_err));
    struct dg_train_options o = {.data = asked.replay ? (struct dg_data){0}
                                                      : DG_FOLDER(in(asked.data ? asked.data : "pictures")),
                                 .replay = asked.replay ? in(asked.replay) : NULL,
                                 .out = in(asked.out),
                                 .init = asked.init ? in(asked.init) : NULL,
                                 .resume = asked.resume,
                                 .new_data = asked.new_data,
                                 .ignore_disk = asked.ignore_disk,
                                 .steps = asked.steps,
                                 .seed = asked.seed,
                                 .seed_given = asked.seed_given,
                                 .threads = 2,
                                 .loader_threads = asked.loader_threads,
                                 .max_bad = {.images = asked.max_bad},
                                 .log = &dg_test_log,
                                 .events = {.step = on_step, .stop = on_stop}};
    *err = (struct dg_error){0};
    enum dg_status status = dg_train(&plan, &knobs, &o, err);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return status;
}

static void runs(struct asked asked)
{
    struct dg_error err;
    if (run(asked, &err) != DG_OK) fail_msg("%s", err.text);
}

static void fails(struct asked asked, enum dg_status status, const char *text)
{
    struct dg_error err;
    assert_int_equal(run(asked, &err), status);
    assert_int_equal(err.status, status);
    if (!strstr(err.text, text)) fail_msg("\"%s\" does not say \"%s\"", err.text, text);
}

static void says(const char *text)
{
    if (!strstr(dg_test_said, text)) fail_msg("\"%s\" does not say \"%s\"", dg_test_said, text);
}

static int log_lines(const char *path) { return count_lines(in(path)); }

static bool there(const char *name) { return !access(in(name), F_OK); }

static int previous_files(const char *out)
{
    int count = 0;
    char name[96];
    for (int step = 0; step < 20; step++) {
        snprintf(name, sizeof name, "%s/previous-%08d.safetensors", out, step);
        count += there(name);
    }
    return count;
}

static void flip_a_bit(const char *name)
{
    FILE *file = fopen(in(name), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -1000, SEEK_END), 0);
    int byte = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(byte ^ 4, file);
    fclose(file);
}

static int setup(void **state)
{
    make_test_folder(state);
    dg_tiny_compile(in("tiny.plan"), NULL);
    dg_tiny_compile(in("other.plan"), "head.with.out_dim=80");
    dg_tiny_pictures(in("pictures"), 20);
    runs((struct asked){.out = "whole", .steps = 12});
    return 0;
}

static void test_resume(void **state)
{
    (void)state;
    runs((struct asked){.out = "parts", .steps = 5, .loader_threads = 1});
    /* A run that died after its checkpoint has logged more than it saved. */
    FILE *log = fopen(in("parts/log.jsonl"), "a");
    fprintf(log, "{\"step\": 5, \"epoch\": 1}\n{\"step\": 6, \"ep");
    fclose(log);
    runs((struct asked){.out = "parts", .steps = 12, .resume = true, .loader_threads = 3});
    assert_same_state(in("whole"), in("parts"), 0);
    assert_int_equal(log_lines("parts/log.jsonl"), 12);
    assert_string_equal(dg_test_said, "");

    runs((struct asked){.out = "fresh", .steps = 1, .resume = true});
    says("there is no checkpoint yet");
    runs((struct asked){.out = "fresh", .steps = 2, .resume = true, .set = {"optim.clip=1"}});
    says("optim.clip was 3 so far and is 1 now");
    fails((struct asked){.out = "whole", .steps = 13}, DG_ERR_USAGE, "add --resume");
    fails((struct asked){.out = "whole", .steps = 13, .resume = true, .seed = 7, .seed_given = true}, DG_ERR_USAGE,
          "has seed 0");
    fails((struct asked){.plan = "other.plan", .out = "whole", .steps = 13, .resume = true}, DG_ERR_USAGE,
          "made with another recipe than the plan's");
}

/* What import makes of a full checkpoint of the published code: tensors, and how many epochs are done. The run goes on behind
 * them to the bit, since its seed and recipe are those of before. */
static void test_resume_imported(void **state)
{
    (void)state;
    struct dg_safetensors *file;
    runs((struct asked){.out = "epoch", .steps = 0});
    assert_ok(dg_safetensors_open(in("epoch/checkpoint.safetensors"), &file, try_err));
    int steps = atoi(dg_safetensors_metadata(file, "steps_per_epoch"));
    dg_safetensors_close(file);
    assert_true(steps > 0 && steps < 12);
    runs((struct asked){.out = "epoch", .steps = steps, .resume = true});
    assert_ok(dg_safetensors_open(in("epoch/checkpoint.safetensors"), &file, try_err));
    int count = dg_safetensors_count(file);
    struct dg_safetensors_item *item = calloc((size_t)count, sizeof *item);
    assert_non_null(item);
    for (int i = 0; i < count; i++) {
        const struct dg_safetensors_tensor *tensor = dg_safetensors_at(file, i);
        item[i] = (struct dg_safetensors_item){tensor->name, tensor->dtype, tensor->ndim, {0}, tensor->data};
        memcpy(item[i].dim, tensor->dim, sizeof tensor->dim);
    }
    struct dg_safetensors_meta meta[] = {{"format", "pt"}, {"imported_from", "checkpoint.pth"}, {"epoch", "1"}};
    assert_int_equal(mkdir(in("official"), 0777), 0);
    assert_ok(dg_safetensors_write(in("official/checkpoint.safetensors"), item, count, meta, 3, try_err));
    runs((struct asked){.out = "official", .steps = 12, .resume = true});
    says("was imported from checkpoint.pth, after epoch 1: the run goes on at step ");
    assert_same_state(in("whole"), in("official"), 0);
    meta[2].value = "1000000";
    assert_int_equal(mkdir(in("later"), 0777), 0);
    assert_ok(dg_safetensors_write(in("later/checkpoint.safetensors"), item, count, meta, 3, try_err));
    fails((struct asked){.out = "later", .steps = 12, .resume = true}, DG_ERR_INPUT, "1000000 epochs are done");
    dg_safetensors_close(file);
    free(item);
}

/* A batch cut into slices, with activations computed again: the losses are those of the whole batch, to rounding, and such a
 * run repeats and resumes to the bit. Its checkpoints are those of the same model. */
static void test_a_small_plan(void **state)
{
    (void)state;
    struct dg_plan plan;
    int64_t planned = 0;
    assert_ok(dg_plan_open(in("tiny.plan"), &plan, try_err));
    for (int r = 0; r < DG_REGIONS; r++) planned += (int64_t)plan.entry[0].region_bytes[r];
    assert_int_equal(plan.entry[0].slices, 1);
    dg_plan_close(&plan);
    dg_tiny_compile_within(in("small.plan"), NULL, planned - planned / 16);
    assert_ok(dg_plan_open(in("small.plan"), &plan, try_err));
    assert_true(plan.entry[0].slices > 1);
    dg_plan_close(&plan);

    struct dg_tiny_crops crops = dg_tiny_crops(6);
    assert_ok(dg_safetensors_write(in("six"), crops.item, crops.count, NULL, 0, try_err));
    dg_tiny_crops_free(&crops);
    runs((struct asked){.replay = "six", .out = "one_piece", .steps = 5});
    runs((struct asked){.plan = "small.plan", .replay = "six", .out = "sliced", .steps = 5});
    runs((struct asked){.plan = "small.plan", .replay = "six", .out = "sliced_again", .steps = 2});
    runs((struct asked){.plan = "small.plan", .replay = "six", .out = "sliced_again", .steps = 5, .resume = true});
    assert_same_state(in("sliced"), in("sliced_again"), 0);
    assert_same_losses(in("one_piece"), in("sliced"), 1e-4);
    runs((struct asked){.replay = "six", .out = "sliced", .steps = 6, .resume = true});
    says("another memory plan");
}

static void test_damaged_checkpoint(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = read_file(in("whole/checkpoint.safetensors"), &size);
    assert_int_equal(mkdir(in("damaged"), 0777), 0);
    write_file(in("damaged/checkpoint.safetensors"), bytes, size - 100);
    fails((struct asked){.out = "damaged", .steps = 13, .resume = true}, DG_ERR_INPUT,
          "no other checkpoint is there: put a copy of it back, or start a new run with another --out");
    free(bytes);
}

static void test_init(void **state)
{
    (void)state;
    runs((struct asked){.out = "full", .steps = 0, .init = "whole/checkpoint.safetensors"});
    says("student's backbone, student's head, teacher's backbone, teacher's head, centre");
    fails((struct asked){.plan = "other.plan", .out = "shape_run", .steps = 0, .init = "whole/checkpoint.safetensors"},
          DG_ERR_INPUT, "compile a description that fits the weights");

    /* The backbone alone, under bare names; and a head that is not whole. */
    struct dg_safetensors *file;
    struct dg_safetensors_item item[256];
    int bare = 0;
    assert_ok(dg_safetensors_open(in("whole/checkpoint.safetensors"), &file, try_err));
    for (int i = 0; i < dg_safetensors_count(file); i++) {
        const struct dg_safetensors_tensor *t = dg_safetensors_at(file, i);
        if (strncmp(t->name, "student.backbone.", 17)) continue;
        item[bare] = (struct dg_safetensors_item){t->name + 17, t->dtype, t->ndim, {0}, t->data};
        memcpy(item[bare++].dim, t->dim, sizeof t->dim);
    }
    assert_ok(dg_safetensors_write(in("bare"), item, bare, NULL, 0, try_err));
    const struct dg_safetensors_tensor *t = dg_safetensors_find(file, "student.head.mlp.0.bias");
    item[bare] = (struct dg_safetensors_item){t->name, t->dtype, t->ndim, {t->dim[0]}, t->data};
    assert_ok(dg_safetensors_write(in("part"), item, bare + 1, NULL, 0, try_err));
    assert_ok(dg_safetensors_write(in("less"), item, bare - 1, NULL, 0, try_err));
    dg_safetensors_close(file);
    runs((struct asked){.out = "from_bare", .steps = 0, .init = "bare"});
    says("student's backbone; the rest is new");
    fails((struct asked){.out = "from_part", .steps = 0, .init = "part"}, DG_ERR_INPUT,
          "missing from the file: student.head.");
    fails((struct asked){.out = "from_less", .steps = 0, .init = "less"}, DG_ERR_INPUT,
          "missing from the file: student.backbone.");
}

static void test_replay(void **state)
{
    (void)state;
    struct dg_tiny_crops crops = dg_tiny_crops(5);
    assert_ok(dg_safetensors_write(in("good"), crops.item, crops.count, NULL, 0, try_err));
    ((float *)(uintptr_t)crops.item[3 * TINY_VIEWS].data)[7] = NAN;
    assert_ok(dg_safetensors_write(in("nan"), crops.item, crops.count, NULL, 0, try_err));
    ((float *)(uintptr_t)crops.item[1 * TINY_VIEWS].data)[7] = NAN;
    assert_ok(dg_safetensors_write(in("nans"), crops.item, crops.count, NULL, 0, try_err));
    assert_ok(dg_safetensors_write(in("short"), crops.item, crops.count - 1, NULL, 0, try_err));
    crops.item[1].dim[2] = 1;
    crops.item[1].dim[3] = 1;
    assert_ok(dg_safetensors_write(in("shape"), crops.item, crops.count, NULL, 0, try_err));
    dg_tiny_crops_free(&crops);
    /* The step that fails leaves no trace: the state is that of a run of three steps. */
    fails((struct asked){.replay = "nan", .out = "nan_run", .steps = -1}, DG_ERR_NUMERIC, "step 3");
    runs((struct asked){.replay = "good", .out = "three", .steps = 3});
    assert_same_state(in("nan_run"), in("three"), 0);
    assert_int_equal(log_lines("nan_run/log.jsonl"), 3);
    /* The message names what was bad first. Left out, the step is counted and the run goes on from the state before it. */
    fails((struct asked){.replay = "nan", .out = "nan_told", .steps = -1}, DG_ERR_NUMERIC,
          "crops.global was bad before the step: it has 1 NaN and 0 infinite of");
    runs((struct asked){.replay = "nan", .out = "nan_skipped", .steps = 5, .set = {"skip_bad_steps=1"}});
    says("left out (1 of at most 1): step 3");
    assert_int_equal(log_lines("nan_skipped/log.jsonl"), 4);
    /* The count is the run's, not the process's: a resumed run has no more of them. */
    struct asked twice = {
        .replay = "nans", .out = "nans_run", .steps = 3, .set = {"skip_bad_steps=1", "checkpoint.every=0.4"}};
    runs(twice);
    says("left out (1 of at most 1): step 1");
    assert_true(there("nans_run/previous-00000002.safetensors")); /* saved when due, although that step was left out */
    twice.resume = true;
    twice.steps = 5;
    fails(twice, DG_ERR_NUMERIC, "--set skip_bad_steps=2 or more (1 were left out so far)");
    twice.set[0] = "skip_bad_steps=2";
    runs(twice);
    says("left out (2 of at most 2): step 3");
    assert_int_equal(log_lines("nans_run/log.jsonl"), 3);
    /* A weight too large for f32's products: the first operation it spoils is named with its line. */
    fails((struct asked){.replay = "good", .out = "hot", .steps = -1, .set = {"lr.peak=900", "lr.warmup=0 epochs"}},
          DG_ERR_NUMERIC, "the first bad result is that of ");
    fails((struct asked){.replay = "short", .out = "r1", .steps = -1}, DG_ERR_INPUT, "step4.crop3");
    fails((struct asked){.replay = "shape", .out = "r2", .steps = -1}, DG_ERR_INPUT, "step0.crop1 must be F32");
    fails((struct asked){.replay = "bare", .out = "r3", .steps = -1}, DG_ERR_INPUT, "holds no crops");
}

/* A result is bad where it is stored: the largest f32 is no bf16, so that a bias of that makes an infinite bf16 on any CPU. */
static void test_bad_bf16(void **state)
{
    (void)state;
    if (dg_bf16_support() == DG_BF16_NONE) {
        print_message("skipped: this CPU has no bf16\n");
        skip();
    }
    struct dg_safetensors *file;
    struct dg_safetensors_item item[256];
    int count = 0;
    float *bias = NULL;
    assert_ok(dg_safetensors_open(in("whole/checkpoint.safetensors"), &file, try_err));
    for (int i = 0; i < dg_safetensors_count(file); i++) {
        const struct dg_safetensors_tensor *t = dg_safetensors_at(file, i);
        if (strncmp(t->name, "student.", 8) && strncmp(t->name, "teacher.", 8)) continue;
        item[count] = (struct dg_safetensors_item){t->name, t->dtype, t->ndim, {0}, t->data};
        memcpy(item[count].dim, t->dim, sizeof t->dim);
        if (!strcmp(t->name, "student.backbone.blocks.0.attn.qkv.bias")) {
            bias = malloc(t->bytes);
            assert_non_null(bias);
            memcpy(bias, t->data, t->bytes);
            bias[0] = FLT_MAX;
            item[count].data = bias;
        }
        count++;
    }
    assert_non_null(bias);
    assert_ok(dg_safetensors_write(in("hot_weights"), item, count, NULL, 0, try_err));
    dg_safetensors_close(file);
    free(bias);
    dg_tiny_compile(in("bf16.plan"), "dtype=bf16");
    fails((struct asked){.plan = "bf16.plan", .replay = "good", .out = "hot_bf16", .steps = -1, .init = "hot_weights"},
          DG_ERR_NUMERIC, "the first bad result is that of blocks.0.attn.qkv (linear in student.backbone(");
}

static void test_stop_and_checkpoints(void **state)
{
    (void)state;
    stop_after = 4;
    runs((struct asked){.out = "stopped", .steps = -1});
    stop_after = 0;
    assert_int_equal(log_lines("stopped/log.jsonl"), 4);
    runs((struct asked){.out = "stopped", .steps = 12, .resume = true});
    assert_same_state(in("whole"), in("stopped"), 0);

    runs((struct asked){.out = "kept", .steps = 12, .set = {"checkpoint.keep=1"}}); /* epochs, of five steps */
    assert_true(there("kept/checkpoint-00000005.safetensors") && there("kept/checkpoint-00000010.safetensors"));
    assert_same_state(in("kept"), in("whole"), 0);

    /* The newest is cut, and the one before it is of another seed than was asked for: both are said. */
    size_t size;
    uint8_t *bytes = read_file(in("kept/checkpoint.safetensors"), &size);
    write_file(in("kept/checkpoint.safetensors"), bytes, size - 100);
    fails((struct asked){.out = "kept", .steps = 12, .resume = true, .seed = 7, .seed_given = true}, DG_ERR_USAGE,
          "has seed 0");
    says("is the file cut short?");
    write_file(in("kept/checkpoint.safetensors"), bytes, size);
    free(bytes);

    /* One bit of the newest flips: the run goes on from the one kept before it, and ends as it should. */
    flip_a_bit("kept/checkpoint.safetensors");
    runs((struct asked){.out = "kept", .steps = 12, .resume = true, .set = {"checkpoint.keep=1"}});
    says("is damaged (its checksum is ");
    says("goes on from ");
    says("checkpoint-00000010.safetensors");
    assert_same_state(in("kept"), in("whole"), 0);
    assert_int_equal(log_lines("kept/log.jsonl"), 12);
}

/* checkpoint.last: how many before the newest are there, also after resumes, and with damaged ones among them. */
static void test_last_checkpoints(void **state)
{
    (void)state;
    struct asked asked = {.out = "last", .steps = 3, .set = {"checkpoint.every=0.2", "checkpoint.last=2"}};
    runs(asked); /* saved after each step */
    assert_true(there("last/previous-00000001.safetensors") && there("last/previous-00000002.safetensors"));
    asked.resume = true;
    asked.steps = 5;
    runs(asked);
    assert_int_equal(previous_files("last"), 2);
    assert_true(there("last/previous-00000003.safetensors") && there("last/previous-00000004.safetensors"));

    /* Two damaged: the run goes on from the third, and neither counts as one to go on from. */
    flip_a_bit("last/checkpoint.safetensors");
    flip_a_bit("last/previous-00000004.safetensors");
    asked.steps = 4;
    runs(asked);
    says("last/checkpoint.safetensors: ");
    says("last/previous-00000004.safetensors: ");
    says("goes on from ");
    says("last/previous-00000003.safetensors");
    assert_int_equal(previous_files("last"), 1);
    assert_true(there("last/previous-00000003.safetensors"));
    asked.steps = 12;
    runs(asked);
    assert_same_state(in("last"), in("whole"), 0);
    assert_int_equal(log_lines("last/log.jsonl"), 12);

    /* By the clock: each step takes longer than 0.6 microseconds. */
    runs((struct asked){.out = "clock",
                        .steps = 4,
                        .set = {"checkpoint.every=0", "checkpoint.minutes=0.00000001", "checkpoint.last=2"}});
    assert_true(there("clock/previous-00000002.safetensors") && there("clock/previous-00000003.safetensors"));
    runs((struct asked){
        .out = "unclocked", .steps = 4, .set = {"checkpoint.every=0", "checkpoint.minutes=0", "checkpoint.last=2"}});
    assert_int_equal(previous_files("unclocked"), 0);
    assert_same_state(in("clock"), in("unclocked"), 0);

    /* Kept ones are not of those that go, whatever the intervals were. */
    runs((struct asked){.out = "both", .steps = 4, .set = {"checkpoint.every=0.2", "checkpoint.keep=0.4"}});
    runs((struct asked){.out = "both",
                        .steps = 7,
                        .resume = true,
                        .set = {"checkpoint.every=0.2", "checkpoint.keep=0", "checkpoint.last=0"}});
    assert_true(there("both/checkpoint-00000002.safetensors") && there("both/checkpoint-00000004.safetensors"));
    assert_int_equal(previous_files("both"), 0);

    /* The newest is lost altogether: what is left is a run all the same. */
    assert_int_equal(unlink(in("last/checkpoint.safetensors")), 0);
    fails((struct asked){.out = "last", .steps = 12}, DG_ERR_USAGE, "holds a run already");
    runs((struct asked){.out = "last", .steps = 12, .resume = true});
    says("last/previous-00000011.safetensors");
    assert_same_state(in("last"), in("whole"), 0);
}

static void test_bad_data(void **state)
{
    (void)state;
    dg_tiny_pictures(in("some"), 9);
    write_file(in("some/03b.jpg"), (const uint8_t *)"no picture", 10);
    runs((struct asked){.data = "some", .out = "bad1", .steps = 4, .max_bad = 1});
    says("03b.jpg");
    fails((struct asked){.data = "some", .out = "bad2", .steps = 4}, DG_ERR_INPUT, "03b.jpg");
    assert_int_equal(mkdir(in("three_pictures"), 0777), 0);
    dg_tiny_pictures(in("three_pictures/a"), 3);
    fails((struct asked){.data = "three_pictures", .out = "bad3", .steps = 4}, DG_ERR_INPUT, "fewer than one batch");
    fails((struct asked){.out = "bad4", .steps = 4, .set = {"lr.warmup=9"}}, DG_ERR_USAGE, "lr.warmup");
    fails((struct asked){.out = "no/such/folder", .steps = 4}, DG_ERR_IO, "no/such/folder");
}

/* Other pictures than before: said before the first step; --new-data goes on all the same. */
static void test_other_data(void **state)
{
    (void)state;
    dg_tiny_pictures(in("grows"), 8);
    runs((struct asked){.data = "grows", .out = "grown", .steps = 1});
    assert_int_equal(rename(in("grows/00.png"), in("grows/00a.png")), 0);
    fails((struct asked){.data = "grows", .out = "grown", .steps = 2, .resume = true}, DG_ERR_USAGE,
          "put them back, or go on with --new-data");
    assert_int_equal(log_lines("grown/log.jsonl"), 1);
    runs((struct asked){.data = "grows", .out = "grown", .steps = 2, .resume = true, .new_data = true});
    says("these are not the images that the run began with");
    assert_int_equal(log_lines("grown/log.jsonl"), 2);
    runs((struct asked){.data = "grows", .out = "grown", .steps = 3, .resume = true}); /* they are now */
}

/* The run's folder: of one run at a time, and without what a killed one left. */
static void test_run_folder(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in("mine"), 0777), 0);
    write_file(in("mine/checkpoint.safetensors.part-123"), "half", 4);
    write_file(in("mine/notes.part-one"), "of the user", 11);
    int lock = open(in("mine"), O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
    fails((struct asked){.out = "mine", .steps = 1}, DG_ERR_USAGE, "another run is writing there");
    assert_int_equal(access(in("mine/checkpoint.safetensors.part-123"), F_OK), 0); /* it may be that run's */
    close(lock);
    runs((struct asked){.out = "mine", .steps = 1});
    assert_int_not_equal(access(in("mine/checkpoint.safetensors.part-123"), F_OK), 0);
    assert_int_equal(access(in("mine/notes.part-one"), F_OK), 0);
}

static int64_t need_last(int64_t first, int64_t end, int64_t every, int64_t keep, int64_t last, int64_t present)
{
    struct dg_disk_run run = {1000, 1, first, end, every, keep, last, present};
    return dg_disk_need(&run);
}

static int64_t need(int64_t first, int64_t end, int64_t every, int64_t keep, int64_t present)
{
    return need_last(first, end, every, keep, 0, present);
}

static void test_disk_need(void **state)
{
    (void)state;
    assert_int_equal(need(0, 10, 0, 0, 0), 1010); /* the end's */
    assert_int_equal(need(0, 10, 5, 0, 0), 2010); /* and the one it replaces */
    assert_int_equal(need(5, 10, 5, 0, 1), 1005); /* which may be there already */
    assert_int_equal(need(0, 10, 0, 5, 0), 2010); /* or a copy: at 10 it is another name of the end's */
    assert_int_equal(need(0, 11, 0, 5, 0), 3011); /* 5, 10, 11 */
    assert_int_equal(need(0, 10, 3, 4, 0), 4010); /* 4, 8, 9, 10 */
    assert_int_equal(need(8, 12, 3, 4, 1), 1004); /* 9 in place of 8's, 12 */
    assert_int_equal(need(10, 10, 1, 1, 1), 0);
    assert_int_equal(need(0, INT64_MAX, 1, 1, 0), INT64_MAX);
    assert_int_equal(need_last(0, 10, 5, 0, 1, 0), 2010); /* 5 and 10 */
    assert_int_equal(need_last(0, 10, 3, 0, 1, 0), 3010); /* 6, 9, 10; 3 has gone */
    assert_int_equal(need_last(0, 10, 1, 0, 4, 0), 6010); /* 5 to 9, 10 */
    assert_int_equal(need_last(0, 10, 3, 9, 1, 0), 3010); /* 9 is a copy: 6, 9, 10 */
    assert_int_equal(need_last(0, 10, 3, 6, 1, 0), 3010); /* 6 is one */
    assert_int_equal(need_last(0, 10, 3, 3, 2, 0), 4010); /* all are */
    assert_int_equal(need_last(9, 12, 3, 0, 1, 2), 1003); /* 12, beside 9 and 6 */
    assert_int_equal(need_last(9, 18, 3, 0, 1, 2), 1009); /* in place of older ones all along */
    assert_int_equal(need_last(9, 18, 3, 0, 3, 1), 3009); /* 12, 15, 18 beside 9 */
    assert_int_equal(need_last(9, 18, 3, 0, 1, 9), 1009); /* more than are to stay: worst at first */
}

/* More copies than any disk holds. */
static void test_too_little_disk(void **state)
{
    (void)state;
    struct asked much = {.out = "much", .steps = -1, .set = {"epochs=900000", "checkpoint.keep=0.2"}};
    stop_after = 1;
    fails(much, DG_ERR_IO, "the run will write ");
    assert_int_equal(access(in("much/log.jsonl"), F_OK), -1);
    much.ignore_disk = true;
    runs(much);
    stop_after = 0;
}

/* The disk fills up in the middle: an error, what was saved stands, and once there is room the run goes on as if nothing had
 * happened. Needs the right to mount a small disk. */
static void test_full_disk(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in("small"), 0777), 0);
    if (mount("tmpfs", in("small"), "tmpfs", 0, "size=8m")) {
        print_message("not root: no disk to fill, skipped\n");
        skip();
    }
    struct asked asked = {.out = "small/run", .steps = 12, .set = {"checkpoint.every=0.2"}};
    ballast = in("small/ballast");
    struct dg_error err;
    enum dg_status status = run(asked, &err);
    ballast = NULL;
    bool saved = !access(in("small/run/checkpoint.safetensors"), F_OK);
    unlink(in("small/ballast"));
    int64_t reached = steps_seen;
    asked.resume = true;
    struct dg_error again;
    enum dg_status resumed = run(asked, &again);
    if (resumed == DG_OK) assert_same_state(in("small/run"), in("whole"), 0);
    int lines = resumed == DG_OK ? log_lines("small/run/log.jsonl") : 0;
    umount(in("small"));
    assert_int_equal(status, DG_ERR_IO);
    if (!strstr(err.text, "No space left on device") || !strstr(err.text, "small/run/")) fail_msg("%s", err.text);
    assert_true(saved && reached < 12);
    if (resumed != DG_OK) fail_msg("%s", again.text);
    assert_int_equal(lines, 12);
}

static void test_too_little_memory(void **state)
{
    (void)state;
    struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/dino_vitb8_300ep.yaml",
                                         .output = in("huge.plan")};
    compile_plan(&options);
    struct dg_plan plan;
    struct dg_session *session;
    struct dg_error err = {0};
    assert_ok(dg_plan_open(in("huge.plan"), &plan, try_err));
    struct dg_session_options open = {.threads = 2};
    assert_int_equal(dg_session_open(&plan, "train", &open, &session, &err), DG_ERR_MEMORY);
    assert_null(session);
    assert_non_null(strstr(err.text, "smaller --batch"));
    dg_plan_close(&plan);
}

static enum dg_status collect(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                              struct dg_error *err)
{
    float **at = context;
    (void)done;
    (void)all;
    (void)err;
    memcpy(*at, output, (size_t)rows * 32 * sizeof **at);
    *at += rows * 32;
    return DG_OK;
}

/* What is counted besides the session is what the loader of two threads and two batches ahead takes. */
static void check_memory(const struct dg_knobs *knobs, const struct dg_evaluator *evaluator)
{
    struct dg_session_memory memory = dg_session_memory(dg_evaluator_session(evaluator));
    struct dg_loader_config config = {.batch = 7, .threads = 2, .prefetch = 2};
    struct dg_eval_crop crop = dg_evaluate_crop(knobs, dg_evaluator_images(evaluator));
    int64_t bytes;
    assert_ok(dg_loader_eval_bytes(&config, &crop, &bytes, try_err));
    for (int r = 0; r < DG_REGIONS; r++) bytes += memory.region[r];
    assert_int_equal(memory.total, bytes + memory.scratch + memory.packed + memory.allowance);
}

static void features(const char *from, float *out)
{
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_dataset *dataset;
    struct dg_evaluator *evaluator;
    assert_ok(dg_plan_open(in("tiny.plan"), &plan, try_err));
    assert_ok(dg_knobs_open(&plan, &knobs, try_err));
    assert_ok(dg_dataset_open(&DG_FOLDER(in("pictures")), DG_LABELS_IF_ANY, NULL, &dataset, try_err));
    struct dg_evaluator_options o = {.role = DG_ENTRY_FEATURES,
                                     .weights = in("whole/checkpoint.safetensors"),
                                     .choice = {.from = from},
                                     .threads = 2};
    assert_ok(dg_evaluator_open(&plan, &knobs, &o, &evaluator, try_err));
    assert_int_equal(dg_evaluator_dim(evaluator), 32);
    check_memory(&knobs, evaluator);
    assert_ok(dg_evaluate(evaluator, dataset, collect, &out, try_err));
    dg_evaluator_close(evaluator);
    dg_dataset_close(dataset);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
}

static void test_features(void **state)
{
    (void)state;
    float teacher[21 * 32] = {0}, again[21 * 32] = {0}, student[21 * 32] = {0}; /* 20 images, 7 a batch */
    features("teacher", teacher);
    features("teacher", again);
    features("student", student);
    assert_memory_equal(teacher, again, sizeof teacher);
    assert_memory_not_equal(teacher, student, sizeof teacher);
    for (int i = 0; i < 20 * 32; i++) assert_true(isfinite(teacher[i]) && isfinite(student[i]));
    for (int i = 20 * 32; i < 21 * 32; i++) assert_true(teacher[i] == 0); /* the padding is not given out */
}

static void test_collapse(void **state)
{
    (void)state;
    struct dg_collapse_watch watch = {.log_out_dim = log(64)};
    struct dg_step_report healthy = {.loss = 3, .teacher_entropy = 2, .teacher_temp = 0.04, .lr = 1}, flat = healthy,
                          peaked = healthy;
    flat.teacher_entropy = log(64);
    peaked.teacher_entropy = 0;
    for (int i = 0; i < 200; i++) assert_null(dg_collapse_step(&watch, &healthy));
    for (int i = 0; i < 99; i++) assert_null(dg_collapse_step(&watch, &flat));
    assert_non_null(strstr(dg_collapse_step(&watch, &flat), "lower loss.teacher_temp"));
    struct dg_step_report nearly = healthy;
    nearly.teacher_entropy = 0.98 * watch.log_out_dim;
    for (int i = 0; i < 99; i++) assert_null(dg_collapse_step(&watch, &healthy));
    for (int i = 0; i < 99; i++) assert_null(dg_collapse_step(&watch, &nearly));
    assert_non_null(strstr(dg_collapse_step(&watch, &nearly), "above 97 % of ln(out_dim)"));
    for (int i = 0; i < 99; i++) assert_null(dg_collapse_step(&watch, &peaked)); /* said once */
    assert_non_null(strstr(dg_collapse_step(&watch, &peaked), "loss.center_momentum"));
    watch = (struct dg_collapse_watch){.log_out_dim = log(64)};
    peaked.teacher_temp = 0; /* hard targets, and losses without a softmax, have no entropy */
    for (int i = 0; i < 200; i++) assert_null(dg_collapse_step(&watch, &peaked));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resume_imported),
        cmocka_unit_test(test_a_small_plan),
        cmocka_unit_test(test_damaged_checkpoint),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_bad_bf16),
        cmocka_unit_test(test_stop_and_checkpoints),
        cmocka_unit_test(test_last_checkpoints),
        cmocka_unit_test(test_bad_data),
        cmocka_unit_test(test_other_data),
        cmocka_unit_test(test_run_folder),
        cmocka_unit_test(test_disk_need),
        cmocka_unit_test(test_too_little_disk),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_too_little_memory),
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_collapse),
    };
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

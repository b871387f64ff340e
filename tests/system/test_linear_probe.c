/* The linear probe: which features it takes, whole runs on a tiny backbone, and what goes wrong. */
#include "runtime/eval/evaluator.h"
#include "runtime/layouts/import.h"
#include "runtime/state/checkpoint.h"
#include "runtime/train/linear_probe.h"
#include "runtime/train/train.h"
#include "tests/support/compile.h"
#include "tests/support/log.h"
#include "tests/support/tiny.h"
#include "tests/support/values.h"

#include <jansson.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EPOCHS = 4, MAX_SETS = 12 };

static struct dg_linear_report report[16];
static int reports, copy_after; /* copy_after: epochs, after which the run's files are copied; 0: never */
static int64_t best_epoch;

static const char *part(const char *name, int number)
{
    char text[64];
    snprintf(text, sizeof text, "%s%d", name, number);
    return in(text);
}

/* --- plans --- */

static const char *const tiny_backbone[] = {"backbone=vit", "with={dim: 32, heads: 2, depth: 2, patch: 8, image: 32}",
                                            "crops.size=32", "batch=8", "lr.from=0.1"};
enum { TINY_BACKBONE = sizeof tiny_backbone / sizeof *tiny_backbone };

static void compile_file(const char *file, const char *name, const char *path, const char *const *set, int num_sets)
{
    char description[512];
    snprintf(description, sizeof description, "%s/graphs/%s", DG_SOURCE_DIR, file);
    struct dg_compile_options options = {
        .file = description, .name = name, .output = path, .set = set, .num_sets = num_sets};
    compile_plan(&options);
}

/* The probe of the tiny backbone; up to three more settings. */
static void compile_probe(const char *path, const char *a, const char *b, const char *c)
{
    const char *set[MAX_SETS];
    int count = TINY_BACKBONE;
    memcpy(set, tiny_backbone, sizeof tiny_backbone);
    if (a) set[count++] = a;
    if (b) set[count++] = b;
    if (c) set[count++] = c;
    compile_file("linear.yaml", NULL, path, set, count);
}

static int setup(void **state)
{
    make_test_folder(state);
    dg_tiny_pictures(in("pictures"), 8);
    dg_tiny_compile(in("tiny.plan"), NULL);
    /* An untrained checkpoint is a backbone like any other. */
    dg_tiny_run(in("tiny.plan"), in("pictures"), in("backbone"));
    /* 21 images: a rest of 5. Validation has one class less. */
    static const int train[] = {9, 7, 5}, val[] = {4, 0, 6};
    assert_int_equal(mkdir(in("train"), 0777), 0);
    assert_int_equal(mkdir(in("val"), 0777), 0);
    for (int c = 0; c < 3; c++) {
        dg_tiny_pictures(part("train/class", c), train[c]);
        if (val[c]) dg_tiny_pictures(part("val/class", c), val[c]);
    }
    compile_probe(in("probe.plan"), "classes=3", "blocks=2", "epochs=4");
    return 0;
}

/* --- features --- */

/* An entry's output of all images in order, `dim` numbers each; the numbers are to be freed. */
struct collected {
    float *value;
    int64_t filled, dim;
};

static enum dg_status collect(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                              struct dg_error *err)
{
    struct collected *c = context;
    (void)done;
    (void)all;
    (void)err;
    memcpy(c->value + c->filled * c->dim, output, sizeof(float) * (size_t)(rows * c->dim));
    c->filled += rows;
    return DG_OK;
}

static struct collected outputs_of(const char *path, enum dg_entry_role role, const char *weights, const char *images)
{
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_evaluator *evaluator;
    struct dg_dataset *dataset;
    assert_ok(dg_plan_open(path, &plan, try_err));
    assert_ok(dg_knobs_open(&plan, &knobs, try_err));
    assert_ok(dg_dataset_open(&DG_FOLDER(images), DG_LABELS_IF_ANY, NULL, &dataset, try_err));
    struct dg_evaluator_options o = {
        .role = role, .weights = weights, .choice = {.from = "teacher"}, .threads = 2, .ignore_memory = true};
    assert_ok(dg_evaluator_open(&plan, &knobs, &o, &evaluator, try_err));
    struct collected c = {.dim = dg_evaluator_dim(evaluator)};
    c.value = malloc(sizeof(float) * (size_t)(dg_dataset_count(dataset) * c.dim));
    assert_ok(dg_evaluate(evaluator, dataset, collect, &c, try_err));
    assert_int_equal(c.filled, dg_dataset_count(dataset));
    dg_evaluator_close(evaluator);
    dg_dataset_close(dataset);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return c;
}

static struct collected outputs(const char *path, enum dg_entry_role role)
{
    return outputs_of(path, role, in("backbone/checkpoint.safetensors"), in("pictures"));
}

static void near(double got, double want, const char *what, int64_t i)
{
    if (!(fabs(got - want) <= 1e-5))
        fail_msg("%s, number %lld: got %.9g, expected %.9g", what, (long long)i, got, want);
}

/* One block: the backbone's own features. Two: the one before, then these. With the mean: a column of each in turn. */
static void test_features(void **state)
{
    (void)state;
    static const char *const set[] = {"dim=32", "heads=2", "depth=2", "patch=8", "image=32"};
    compile_file("vit.yaml", "vit", in("vit.plan"), set, 5);
    compile_probe(in("one.plan"), "blocks=1", NULL, NULL);
    compile_probe(in("two.plan"), "blocks=2", NULL, NULL);
    compile_probe(in("mean.plan"), "blocks=1", "avgpool=true", NULL);
    struct collected plain = outputs(in("vit.plan"), DG_ENTRY_FEATURES),
                     tokens = outputs(in("vit.plan"), DG_ENTRY_TOKENS),
                     one = outputs(in("one.plan"), DG_ENTRY_FEATURES), two = outputs(in("two.plan"), DG_ENTRY_FEATURES),
                     mean = outputs(in("mean.plan"), DG_ENTRY_FEATURES);
    enum { D = 32, TOKENS = 17 };
    assert_int_equal(one.dim, D);
    assert_int_equal(two.dim, 2 * D);
    assert_int_equal(mean.dim, 2 * D);
    assert_int_equal(tokens.dim, TOKENS * D);
    double older = 0;
    for (int64_t i = 0; i < 8 * D; i++) {
        int64_t row = i / D, c = i % D;
        double sum = 0;
        for (int64_t t = 1; t < TOKENS; t++) sum += (double)tokens.value[(row * TOKENS + t) * D + c];
        near(one.value[i], plain.value[i], "one block", i);
        near(two.value[row * 2 * D + D + c], plain.value[i], "the last of two blocks", i);
        near(mean.value[row * 2 * D + 2 * c], plain.value[i], "[CLS] beside the mean", i);
        near(mean.value[row * 2 * D + 2 * c + 1], sum / (TOKENS - 1), "the mean", i);
        older = fmax(older, fabs((double)two.value[row * 2 * D + c] - (double)plain.value[i]));
    }
    assert_true(older > 1e-2); /* the block before says something else */
    free(plain.value);
    free(tokens.value);
    free(one.value);
    free(two.value);
    free(mean.value);
}

/* The block before the last is what a network of one block less gives. */
static void test_older_block(void **state)
{
    (void)state;
    static const char *const set[] = {"dim=32", "heads=2", "depth=1", "patch=8", "image=32"};
    compile_file("vit.yaml", "vit", in("short.plan"), set, 5);
    compile_probe(in("two.plan"), "blocks=2", NULL, NULL);
    struct dg_plan plan[2];
    struct dg_session *session[2];
    const char *const path[] = {in("short.plan"), in("two.plan")};
    for (int s = 0; s < 2; s++) {
        assert_ok(dg_plan_open(path[s], &plan[s], try_err));
        struct dg_session_options options = {.threads = 2, .ignore_memory = true};
        assert_ok(dg_session_open(&plan[s], "features", &options, &session[s], try_err));
        const struct dg_plan_entry *entry = dg_session_entry(session[s]);
        for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
            const struct dg_plan_tensor *tensor = &plan[s].tensor[t];
            char name[256];
            snprintf(name, sizeof name, "student.backbone.%s", dg_plan_string(&plan[s], tensor->name));
            if (tensor->region == DG_REGION_PARAM)
                dg_initial_value(name, tensor->ndim, tensor->dim, dg_session_data(session[s], t));
        }
        assert_ok(dg_session_pack(session[s], try_err));
        float *images = dg_session_input(session[s], "images", NULL);
        dg_named_uniform("images", 32 * 32 * 3, -2, 2, images);
        assert_ok(dg_session_compute(session[s], &(struct dg_step_info){0}, try_err));
    }
    const float *a = dg_session_output(session[0], "features", NULL),
                *b = dg_session_output(session[1], "features", NULL);
    for (int i = 0; i < 32; i++) near(b[i], a[i], "the first of two blocks", i);
    for (int s = 0; s < 2; s++) {
        dg_session_close(session[s]);
        dg_plan_close(&plan[s]);
    }
}

/* --- whole runs --- */

static const char *const files[] = {"linear.safetensors", "best.safetensors", "log.jsonl"};

static void on_epoch(void *context, const struct dg_linear_report *r)
{
    (void)context;
    report[reports++] = *r;
    best_epoch = r->best_epoch;
    if (reports != copy_after) return;
    assert_int_equal(mkdir(in("half"), 0777), 0);
    for (int f = 0; f < 3; f++) {
        char from[64], to[64];
        snprintf(from, sizeof from, "whole/%s", files[f]);
        snprintf(to, sizeof to, "half/%s", files[f]);
        copy_file(in(from), in(to));
    }
}

struct asked {
    const char *plan, *weights, *train, *val, *out, *head;
    bool resume;
    int threads;
    uint64_t seed;
    bool seed_given;
    int64_t max_bad, max_bad_val;
    const char *classes_from; /* of val */
};

static enum dg_status run(struct asked asked, struct dg_linear_score *score, struct dg_error *err)
{
    struct dg_plan plan;
    struct dg_knobs knobs;
    dg_test_hush();
    reports = 0;
    assert_ok(dg_plan_open(in(asked.plan ? asked.plan : "probe.plan"), &plan, try_err));
    assert_ok(dg_knobs_open(&plan, &knobs, try_err));
    struct dg_linear_options o = {.weights = in(asked.weights ? asked.weights : "backbone/checkpoint.safetensors"),
                                  .choice = {.from = "teacher"},
                                  .train = DG_FOLDER(in(asked.train ? asked.train : "train")),
                                  .val = DG_FOLDER(in(asked.val ? asked.val : "val")),
                                  .out = in(asked.out ? asked.out : "out"),
                                  .resume = asked.resume,
                                  .seed = asked.seed,
                                  .seed_given = asked.seed_given,
                                  .threads = asked.threads ? asked.threads : 2,
                                  .max_bad = {.images = asked.max_bad},
                                  .max_bad_val = {.images = asked.max_bad_val},
                                  .ignore_memory = true,
                                  .log = &dg_test_log,
                                  .events = {.epoch = on_epoch}};
    if (asked.classes_from) o.val.classes_from = in(asked.classes_from);
    *err = (struct dg_error){0};
    enum dg_status status = asked.head ? dg_linear_evaluate(&plan, &knobs, &o, asked.head, score, err)
                                       : dg_linear_train(&plan, &knobs, &o, err);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return status;
}

static void runs(struct asked asked)
{
    struct dg_error err;
    if (run(asked, NULL, &err) != DG_OK) fail_msg("%s", err.text);
}

static void refuses(struct asked asked, enum dg_status status, const char *text)
{
    struct dg_error err;
    struct dg_linear_score score;
    assert_int_equal(run(asked, &score, &err), status);
    if (!strstr(err.text, text)) fail_msg("\"%s\" does not say \"%s\"", err.text, text);
}

static void same(const char *folder_a, const char *folder_b)
{
    for (int f = 0; f < 2; f++) {
        char a[64], b[64];
        snprintf(a, sizeof a, "%s/%s", folder_a, files[f]);
        snprintf(b, sizeof b, "%s/%s", folder_b, files[f]);
        assert_same_file(in(a), in(b));
    }
}

/* The log without its last field, the speed. */
static json_t *read_log(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    json_t *lines = json_array();
    char line[1024];
    while (fgets(line, sizeof line, file)) {
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        assert_int_equal(json_object_del(object, "images_per_s"), 0);
        assert_int_equal(json_object_del(object, "time"), 0);
        json_array_append_new(lines, object);
    }
    fclose(file);
    return lines;
}

/* A run that was stopped after two epochs and goes on leaves the files of the one that was not. */
static void test_resume(void **state)
{
    (void)state;
    copy_after = 2;
    runs((struct asked){.out = "whole"});
    copy_after = 0;
    assert_int_equal(reports, EPOCHS);
    struct dg_linear_report last = report[EPOCHS - 1];
    int64_t best = best_epoch;
    assert_true(report[0].loss > 0 && isfinite(last.loss) && last.val.top5 == 100); /* of three classes */
    assert_true(report[0].lr == 0.1 && report[2].lr < 0.0501 && report[2].lr > 0.0499);
    runs((struct asked){.out = "half", .resume = true});
    assert_int_equal(reports, EPOCHS - 2);
    assert_memory_equal(&report[1].val, &last.val, sizeof last.val);
    assert_int_equal(best_epoch, best);
    assert_true(report[1].best == last.best);
    same("whole", "half");
    json_t *a = read_log(in("whole/log.jsonl")), *b = read_log(in("half/log.jsonl"));
    assert_int_equal(json_array_size(a), EPOCHS);
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
    assert_non_null(strstr(dg_test_said, "tensors, the teacher's backbone"));
    assert_non_null(strstr(dg_test_said, "1 of 3 classes without an image to validate with: class1\n"));
    int lines = 0;
    for (const char *c = dg_test_said; *c; c++) lines += *c == '\n';
    assert_int_equal(lines, 2); /* and nothing else */

    runs((struct asked){.out = "half", .resume = true}); /* nothing is left to do */
    assert_int_equal(reports, 0);
    same("whole", "half");
    refuses((struct asked){.out = "half"}, DG_ERR_USAGE, "add --resume");
    refuses((struct asked){.out = "half", .resume = true, .seed = 5, .seed_given = true}, DG_ERR_USAGE, "has seed 0");
    runs((struct asked){.out = "fresh", .resume = true, .seed = 5, .seed_given = true});
    assert_non_null(strstr(dg_test_said, "there is no probe yet"));
    assert_true(report[0].loss != last.loss);
}

/* The files' tensors have the published names; another run is the same. */
static void test_files(void **state)
{
    (void)state;
    runs((struct asked){.out = "files"});
    struct dg_safetensors *file;
    assert_ok(dg_safetensors_open(in("files/linear.safetensors"), &file, try_err));
    const struct dg_safetensors_tensor *weight = dg_safetensors_find(file, "linear.weight"),
                                       *bias = dg_safetensors_find(file, "linear.bias");
    assert_true(weight && bias && dg_safetensors_find(file, "optim.momentum.linear.weight"));
    assert_true(weight->ndim == 2 && weight->dim[0] == 3 && weight->dim[1] == 64 && bias->dim[0] == 3);
    dg_safetensors_close(file);
    runs((struct asked){.out = "again"});
    same("files", "again");
}

/* A head's score is that of the epoch it is from. */
static void test_evaluate(void **state)
{
    (void)state;
    struct dg_error err;
    struct dg_linear_score score;
    runs((struct asked){.out = "evaluated"});
    struct dg_linear_score last = report[EPOCHS - 1].val;
    /* Without training images, the classes are those of the validation folder: two. */
    refuses((struct asked){.head = in("evaluated/linear.safetensors")}, DG_ERR_INPUT,
            "val has 2 classes, and the plan 3");
    if (run((struct asked){.head = in("evaluated/linear.safetensors"), .classes_from = "train"}, &score, &err) != DG_OK)
        fail_msg("%s", err.text);
    assert_memory_equal(&score, &last, sizeof last);

    /* A published head, as it is and as the importer leaves it: of other shapes here. */
    assert_int_equal(symlink(DG_SOURCE_DIR "/tests/fixtures/torch/linear_zip.pth", in("published.pth")), 0);
    refuses((struct asked){.head = in("published.pth"), .classes_from = "train"}, DG_ERR_INPUT, "linear.weight is [");
    assert_ok(dg_import(DG_SOURCE_DIR "/tests/fixtures/torch/linear_zip.pth", NULL, in("published.safetensors"), NULL,
                        try_err));
    refuses((struct asked){.head = in("published.safetensors"), .classes_from = "train"}, DG_ERR_INPUT,
            "linear.weight is [");
    refuses((struct asked){.head = in("backbone/checkpoint.safetensors"), .classes_from = "train"}, DG_ERR_INPUT,
            "has no linear.");
}

/* The backbone with a norm that is no number. */
static void break_backbone(const char *path)
{
    struct dg_safetensors *file;
    struct dg_safetensors_item item[512];
    float wrong[32];
    assert_ok(dg_safetensors_open(in("backbone/checkpoint.safetensors"), &file, try_err));
    int count = dg_safetensors_count(file);
    assert_true(count <= 512);
    for (int d = 0; d < 32; d++) wrong[d] = NAN;
    for (int i = 0; i < count; i++) {
        const struct dg_safetensors_tensor *tensor = dg_safetensors_at(file, i);
        bool norm = !strcmp(tensor->name, "teacher.backbone.norm.weight");
        item[i] = (struct dg_safetensors_item){
            .name = tensor->name, .dtype = tensor->dtype, .ndim = tensor->ndim, .data = norm ? wrong : tensor->data};
        memcpy(item[i].dim, tensor->dim, sizeof item[i].dim);
    }
    assert_ok(dg_safetensors_write(path, item, count, NULL, 0, try_err));
    dg_safetensors_close(file);
}

/* The backbone of a plan's features with made-up weights, as a file. */
static void write_backbone(const char *plan_path, const char *path)
{
    struct dg_plan plan;
    const struct dg_plan_entry *entry;
    assert_ok(dg_plan_open(plan_path, &plan, try_err));
    assert_ok(dg_plan_find_entry(&plan, "features", &entry, try_err));
    struct dg_safetensors_item item[64];
    int count = 0;
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan.tensor[t];
        if (tensor->region != DG_REGION_PARAM) continue;
        assert_true(count < 64);
        float *values = malloc(tensor->bytes);
        char name[256];
        snprintf(name, sizeof name, "student.backbone.%s", dg_plan_string(&plan, tensor->name));
        dg_initial_value(name, tensor->ndim, tensor->dim, values);
        item[count] = (struct dg_safetensors_item){.name = dg_plan_string(&plan, tensor->name),
                                                   .dtype = DG_SAFETENSORS_F32,
                                                   .ndim = tensor->ndim,
                                                   .data = values};
        memcpy(item[count++].dim, tensor->dim, sizeof(int64_t) * tensor->ndim);
    }
    assert_ok(dg_safetensors_write(path, item, count, NULL, 0, try_err));
    for (int i = 0; i < count; i++) free((void *)(uintptr_t)item[i].data);
    dg_plan_close(&plan);
}

/* A published head, imported from what torch.save wrote: its score is that of its weights on the features, by hand. */
static void test_published_head(void **state)
{
    (void)state;
    static const char *const set[] = {"backbone=vit",  "with={dim: 6, heads: 2, depth: 1, patch: 8, image: 16}",
                                      "crops.size=16", "blocks=1",
                                      "classes=3",     "batch=4"};
    compile_file("linear.yaml", NULL, in("six.plan"), set, sizeof set / sizeof *set);
    write_backbone(in("six.plan"), in("six.safetensors"));
    assert_ok(
        dg_import(DG_SOURCE_DIR "/tests/fixtures/torch/linear_zip.pth", NULL, in("head.safetensors"), NULL, try_err));
    struct dg_safetensors *file;
    float weight[3 * 6], bias[3];
    assert_ok(dg_safetensors_open(in("head.safetensors"), &file, try_err));
    assert_ok(dg_safetensors_read_f32(dg_safetensors_find(file, "linear.weight"), weight));
    assert_ok(dg_safetensors_read_f32(dg_safetensors_find(file, "linear.bias"), bias));
    dg_safetensors_close(file);
    struct collected features = outputs_of(in("six.plan"), DG_ENTRY_FEATURES, in("six.safetensors"), in("train"));
    struct dg_dataset *images;
    assert_ok(dg_dataset_open(&DG_FOLDER(in("train")), DG_LABELS_IF_ANY, NULL, &images, try_err));
    double loss = 0, hits = 0;
    for (int64_t i = 0; i < features.filled; i++) {
        double logits[3], total = 0;
        int label = dg_dataset_label(images, i), before = 0;
        for (int c = 0; c < 3; c++) {
            logits[c] = bias[c];
            for (int d = 0; d < 6; d++) logits[c] += (double)weight[c * 6 + d] * (double)features.value[i * 6 + d];
            total += exp(logits[c]);
        }
        for (int c = 0; c < 3; c++) before += logits[c] > logits[label];
        loss += log(total) - logits[label];
        hits += !before;
    }
    struct dg_linear_score score;
    struct dg_error err;
    struct asked asked = {
        .plan = "six.plan", .weights = "six.safetensors", .val = "train", .head = in("head.safetensors")};
    if (run(asked, &score, &err) != DG_OK) fail_msg("%s", err.text);
    near(score.loss, loss / (double)features.filled, "the loss", 0);
    near(score.top1, 100 * hits / (double)features.filled, "top-1", 0);
    assert_true(score.top5 == 100);
    free(features.value);
    dg_dataset_close(images);
}

static void test_refusals(void **state)
{
    (void)state;
    compile_probe(in("five.plan"), "classes=5", "blocks=2", NULL);
    refuses((struct asked){.plan = "five.plan"}, DG_ERR_INPUT,
            "train has 3 classes, and the plan 5: dinoc linear.yaml --set backbone=vit --set 'with={dim: 32, heads: 2, "
            "depth: 2, patch: 8, image: 32}' --set crops.size=32 --set batch=8 --set lr.from=0.1 --set blocks=2 --set "
            "classes=3 -o PLAN");
    assert_int_equal(access(in("out"), F_OK), -1); /* nothing was left */
    refuses((struct asked){.plan = "tiny.plan"}, DG_ERR_USAGE, "the plan has no linear probe");
    refuses((struct asked){.train = "pictures"}, DG_ERR_INPUT, "one folder per class");
    refuses((struct asked){.val = "pictures"}, DG_ERR_INPUT, "one folder per class");
    assert_int_equal(rename(in("val/class2"), in("val/other")), 0);
    refuses((struct asked){.out = "out"}, DG_ERR_INPUT, "class other is not among the training classes");
    assert_int_equal(rename(in("val/other"), in("val/class2")), 0);
    break_backbone(in("broken.safetensors"));
    refuses((struct asked){.out = "wild", .weights = "broken.safetensors"}, DG_ERR_NUMERIC, "are its weights sound?");

    /* Such a plan trains no network. */
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_error err = {0};
    assert_ok(dg_plan_open(in("probe.plan"), &plan, try_err));
    assert_ok(dg_knobs_open(&plan, &knobs, try_err));
    struct dg_train_options o = {.data = DG_FOLDER(in("pictures")), .out = in("network"), .steps = 0, .threads = 2};
    assert_int_equal(dg_train(&plan, &knobs, &o, &err), DG_ERR_USAGE);
    assert_non_null(strstr(err.text, "dinorun linear"));
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
}

/* Damaged training pictures are replaced, as in every run; validation needs all of its. */
static void test_damaged(void **state)
{
    (void)state;
    const char *bad = "\x89PNG\r\n\x1a\n";
    write_file(in("train/class0/zz.png"), bad, 8);
    refuses((struct asked){.out = "bad"}, DG_ERR_INPUT, "zz.png");
    runs((struct asked){.out = "mended", .max_bad = 1});
    assert_non_null(strstr(dg_test_said, "zz.png"));
    assert_int_equal(remove(in("train/class0/zz.png")), 0);
    write_file(in("val/class0/zz.png"), bad, 8);
    refuses((struct asked){.out = "bad val"}, DG_ERR_INPUT, "1 of 11 images cannot be read; the first: ");
    runs((struct asked){.out = "without it", .max_bad_val = 1});
    assert_non_null(strstr(dg_test_said, "1 of 11 images cannot be read and are left out"));
    struct dg_linear_score without = report[EPOCHS - 1].val;
    assert_int_equal(remove(in("val/class0/zz.png")), 0);
    runs((struct asked){.out = "as if it were not there"});
    assert_memory_equal(&report[EPOCHS - 1].val, &without, sizeof without);
    write_file(in("val/class0/zz.png"), bad, 8);
    assert_int_equal(remove(in("val/class0/zz.png")), 0);
}

/* Residual networks have one vector an image, and running statistics that stay as they are. */
static void test_resnet(void **state)
{
    (void)state;
    static const char *const set[] = {"backbone=resnet18", "blocks=1",      "classes=3", "with.planes=8",
                                      "with.small=true",   "crops.size=32", "batch=4"};
    compile_file("linear.yaml", NULL, in("resnet.plan"), set, sizeof set / sizeof *set);
    struct dg_plan plan;
    assert_ok(dg_plan_open(in("resnet.plan"), &plan, try_err));
    const struct dg_plan_entry *entry;
    assert_ok(dg_plan_find_entry(&plan, "features", &entry, try_err));
    const struct dg_plan_tensor *features = &plan.tensor[plan.operand[entry->first_output]];
    assert_true(features->ndim == 2 && features->dim[0] == 4 && features->dim[1] == 64);
    assert_string_equal(dg_plan_string(&plan, entry->bind), "teacher.backbone.");
    dg_plan_close(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features), cmocka_unit_test(test_older_block), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_resume),   cmocka_unit_test(test_files),       cmocka_unit_test(test_evaluate),
        cmocka_unit_test(test_damaged),  cmocka_unit_test(test_resnet),      cmocka_unit_test(test_published_head),
    };
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

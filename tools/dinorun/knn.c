#include "tools/dinorun/command.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/memory.h"
#include "runtime/eval/evaluator.h"
#include "runtime/eval/knn.h"
#include "runtime/formats/feature_file.h"
#include "runtime/state/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_K = 32 };

/* A split's features and labels: of images, or of a file that has them. */
struct split {
    struct dg_dataset *dataset; /* NULL: of a file */
    struct dg_feature_file file;
    int64_t count, dim, filled;
    int classes;
    float *features; /* with labels the split's own, or the file's */
    int *label;
    bool terminal;
};

static const char *path_of(const struct split *split, int64_t image)
{
    return split->dataset ? dg_dataset_relative(split->dataset, image) : split->file.path[image];
}

static const char *class_of(const struct split *split, int number)
{
    return split->dataset ? dg_dataset_class_name(split->dataset, number) : split->file.class_name[number];
}

static void close_split(struct split *split)
{
    if (split->dataset) {
        free(split->features);
        free(split->label);
    }
    dg_dataset_close(split->dataset);
    dg_feature_file_free(&split->file);
}

/* ---- from images ---- */

static enum dg_status on_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                              struct dg_error *err)
{
    struct split *split = context;
    (void)err;
    memcpy(split->features + split->filled * split->dim, output, sizeof(float) * (size_t)(rows * split->dim));
    split->filled += rows;
    if (split->terminal) show_images(done, all);
    return DG_OK;
}

static enum dg_status open_split(struct split *split, const char *path, struct dg_error *err)
{
    DG_TRY(dg_dataset_open(path, &split->dataset, err));
    split->count = dg_dataset_count(split->dataset);
    split->classes = dg_dataset_classes(split->dataset);
    return DG_OK;
}

/* Labels by class name, as the training split numbers them. */
static enum dg_status read_labels(struct split *split, const struct split *train, const char *path,
                                  struct dg_error *err)
{
    if (!split->classes) return dg_fail(err, DG_ERR_INPUT, "%s: k-NN needs labels: a folder a class", path);
    int *number = malloc(sizeof *number * (size_t)split->classes);
    split->label = malloc(sizeof *split->label * (size_t)split->count);
    if (!number || !split->label) {
        free(number);
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    enum dg_status status = dg_dataset_match_classes(split->dataset, train->dataset, number, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", path);
    for (int64_t i = 0; status == DG_OK && i < split->count; i++)
        split->label[i] = number[dg_dataset_label(split->dataset, i)];
    free(number);
    return status;
}

/* Of both splits, before the first image is read. */
static enum dg_status take_memory(struct split *train, struct split *val, int64_t dim, struct dg_error *err)
{
    int64_t bytes = (train->count + val->count) * dim * (int64_t)sizeof(float), available = dg_memory_available();
    char need[32], have[32];
    if (bytes > available)
        return dg_fail(err, DG_ERR_MEMORY, "the features of %" PRId64 " images take %s, and %s are free",
                       train->count + val->count, dg_format_bytes(need, sizeof need, (double)bytes),
                       dg_format_bytes(have, sizeof have, (double)available));
    train->dim = val->dim = dim;
    train->features = malloc(sizeof(float) * (size_t)(train->count * dim));
    val->features = malloc(sizeof(float) * (size_t)(val->count * dim));
    return train->features && val->features ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "no memory for the features");
}

static enum dg_status extract(struct split *split, struct dg_evaluator *evaluator, struct dg_error *err)
{
    enum dg_status status = dg_evaluate(evaluator, split->dataset, on_rows, split, err);
    if (split->terminal) clear_images();
    return status;
}

/* ---- from what `dinorun features` wrote ---- */

static enum dg_status read_split(struct split *split, const char *path, struct dg_error *err)
{
    DG_TRY(dg_feature_file_read(path, &split->file, err));
    split->features = split->file.features;
    split->label = split->file.label;
    split->count = split->file.rows;
    split->dim = split->file.dim;
    split->classes = split->file.classes;
    return DG_OK;
}

/* ---- votes ---- */

static bool read_list(const char *text, int *k, int *count)
{
    for (*count = 0; *count < MAX_K;) {
        char *end;
        long value = strtol(text, &end, 10);
        if (end == text || value < 1 || value > 1000000) return false;
        k[(*count)++] = (int)value;
        if (!*end) return true;
        if (*end != ',') return false;
        text = end + 1;
    }
    return false;
}

struct vote {
    int k[MAX_K], num_k;
    double temperature;
    struct dg_knn_result result[MAX_K];
    const char *out; /* the file of predictions, or NULL */
    struct dg_atomic_file file;
    int *predicted; /* [test images, num_k] */
};

/* What has to be right before the work begins. */
static enum dg_status prepare(struct vote *vote, const struct split *train, const struct split *val, const char *path,
                              struct dg_error *err)
{
    if (train->classes < 2)
        return dg_fail(err, DG_ERR_INPUT, "%s: k-NN needs images of at least two classes to choose from", path);
    if (vote->out) {
        vote->predicted = malloc(sizeof *vote->predicted * (size_t)(val->count * vote->num_k));
        if (!vote->predicted) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
        DG_TRY(dg_atomic_open(vote->out, &vote->file, err));
    }
    for (int i = 0; i < vote->num_k; i++)
        if (vote->k[i] > train->count) { /* of a small training set, all of it */
            printf("%d-NN of %" PRId64 " images is %" PRId64 "-NN\n", vote->k[i], train->count, train->count);
            vote->k[i] = (int)train->count;
        }
    return DG_OK;
}

static void write_predictions(const struct vote *vote, const struct split *train, const struct split *val)
{
    FILE *out = vote->file.stream;
    fputs("path\tlabel", out);
    for (int i = 0; i < vote->num_k; i++) fprintf(out, "\t%d-NN", vote->k[i]);
    for (int64_t v = 0; v < val->count; v++) {
        fprintf(out, "\n%s\t%s", path_of(val, v), class_of(train, val->label[v]));
        for (int i = 0; i < vote->num_k; i++)
            fprintf(out, "\t%s", class_of(train, vote->predicted[v * vote->num_k + i]));
    }
    fputc('\n', out);
}

static enum dg_status answer(struct vote *vote, struct split *train, struct split *val, int threads,
                             struct dg_error *err)
{
    dg_knn_normalize(train->features, train->count, train->dim, threads);
    dg_knn_normalize(val->features, val->count, val->dim, threads);
    DG_TRY(dg_knn(train->features, train->label, train->count, val->features, val->label, val->count, train->dim,
                  train->classes, vote->k, vote->num_k, vote->temperature, threads, vote->result, vote->predicted,
                  err));
    if (vote->out) {
        write_predictions(vote, train, val);
        DG_TRY(dg_atomic_commit(&vote->file, err));
    }
    printf("%" PRId64 " images vote on %" PRId64 ", %d classes\n", train->count, val->count, train->classes);
    for (int i = 0; i < vote->num_k; i++)
        printf("%d-NN: top-1 %.2f %%, top-5 %.2f %%\n", vote->k[i], vote->result[i].top1, vote->result[i].top5);
    return DG_OK;
}

static enum dg_status vote_of_files(struct vote *vote, const char *const path[2], struct split *train,
                                    struct split *val, int threads, struct dg_error *err)
{
    DG_TRY(read_split(train, path[0], err));
    DG_TRY(read_split(val, path[1], err));
    DG_TRY(dg_feature_file_match(&val->file, &train->file, err));
    DG_TRY(prepare(vote, train, val, path[0], err));
    return answer(vote, train, val, threads, err);
}

static enum dg_status vote_of_images(struct vote *vote, const char *const path[2], struct split *train,
                                     struct split *val, const char *plan_path, const struct dg_evaluator_options *o,
                                     struct dg_error *err)
{
    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    struct dg_evaluator *evaluator = NULL;
    enum dg_status status = open_plan(plan_path, NULL, 0, 0, &plan, &knobs, err);
    if (status == DG_OK) status = open_split(train, path[0], err);
    if (status == DG_OK) status = open_split(val, path[1], err);
    if (status == DG_OK) status = read_labels(train, train, path[0], err);
    if (status == DG_OK) status = read_labels(val, train, path[1], err);
    if (status == DG_OK) status = prepare(vote, train, val, path[0], err);
    if (status == DG_OK) status = dg_evaluator_open(&plan, &knobs, o, &evaluator, err);
    if (status == DG_OK) status = take_memory(train, val, dg_evaluator_dim(evaluator), err);
    if (status == DG_OK) status = extract(train, evaluator, err);
    if (status == DG_OK) status = extract(val, evaluator, err);
    if (status == DG_OK) status = answer(vote, train, val, dg_session_threads(dg_evaluator_session(evaluator)), err);
    dg_evaluator_close(evaluator);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return status;
}

static int knn(int argc, char **argv)
{
    enum { WEIGHTS = 256, FROM, PARTIAL, FEATURES, TRAIN, VAL, TEMPERATURE, PREDICTIONS, THREADS };
    static const struct option flags[] = {{"weights", required_argument, NULL, WEIGHTS},
                                          {"weights-from", required_argument, NULL, FROM},
                                          {"partial", no_argument, NULL, PARTIAL},
                                          {"features", no_argument, NULL, FEATURES},
                                          {"train", required_argument, NULL, TRAIN},
                                          {"val", required_argument, NULL, VAL},
                                          {"k", required_argument, NULL, 'k'},
                                          {"temperature", required_argument, NULL, TEMPERATURE},
                                          {"predictions", required_argument, NULL, PREDICTIONS},
                                          {"threads", required_argument, NULL, THREADS},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct command *me = &command_knn;
    struct dg_evaluator_options o = {.entry = "features", .from = "teacher", .log = &console};
    struct split train = {.terminal = isatty(STDOUT_FILENO)}, val = train;
    const char *path[2] = {NULL, NULL}; /* of the split that votes, and of the other */
    struct vote vote = {.k = {10, 20, 100, 200}, .num_k = 4, .temperature = 0.07};
    bool of_files = false;
    int64_t threads = 0;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        switch (flag) {
        case WEIGHTS: o.weights = optarg; break;
        case FROM: o.from = optarg; break;
        case PARTIAL: o.partial = true; break;
        case FEATURES: of_files = true; break;
        case TRAIN: path[0] = optarg; break;
        case VAL: path[1] = optarg; break;
        case 'k':
            if (!read_list(optarg, vote.k, &vote.num_k))
                return usage_error(me, "-k %s: expected numbers as in 10,20", optarg);
            break;
        case TEMPERATURE: {
            char *end;
            vote.temperature = strtod(optarg, &end);
            if (end == optarg || *end || !(vote.temperature > 0) || !isfinite(vote.temperature))
                return usage_error(me, "--temperature %s: expected a number above 0", optarg);
            break;
        }
        case PREDICTIONS: vote.out = optarg; break;
        case THREADS:
            if (!flag_whole(me, "--threads", optarg, 1, 1024, &threads)) return 2;
            break;
        default: return flag == 'h' ? 0 : 2;
        }
    }
    const char *plan_path = NULL;
    if (of_files) {
        if (!path[0] || !path[1] || o.weights || optind < argc)
            return usage_error(me, "--features takes --train FILE.npy and --val FILE.npy, and no plan and no weights");
    } else {
        if (!(plan_path = plan_argument(me, argc, argv))) return 2;
        if (!o.weights || !path[0] || !path[1])
            return usage_error(me, "--weights FILE, --train DIR and --val DIR are needed");
        if (!flag_from(me, o.from)) return 2;
    }
    o.threads = (int)threads;

    struct dg_error err = {0};
    enum dg_status status =
        of_files ? vote_of_files(&vote, path, &train, &val, threads ? (int)threads : dg_usable_cpus(), &err)
                 : vote_of_images(&vote, path, &train, &val, plan_path, &o, &err);
    dg_atomic_abandon(&vote.file);
    free(vote.predicted);
    close_split(&train);
    close_split(&val);
    return status == DG_OK ? 0 : fail(&err);
}

const struct command command_knn = {
    .name = "knn",
    .arguments = "PLAN --weights FILE --train DIR --val DIR [flags], or --features --train FILE --val FILE",
    .summary = "classifies images by their nearest neighbours among the features, without any training",
    .flags =
        "  --weights FILE        checkpoint of a run, or a backbone's safetensors file\n"
        "  --weights-from NET    teacher or student (teacher)\n"
        "  --partial             go on with weights that fit the plan only in part\n"
        "  --features            --train and --val are files that `dinorun features` wrote: nothing is computed anew\n"
        "  --train DIR           labelled images that vote: a folder a class\n"
        "  --val DIR             labelled images to classify\n"
        "  -k, --k LIST          neighbours that vote (10,20,100,200)\n"
        "  --temperature T       of the votes, exp(similarity / T) (0.07)\n"
        "  --predictions FILE    a line an image: path, label, and the class that each k predicts, with tabs between\n"
        "  --threads N           (all)\n",
    .run = knn};

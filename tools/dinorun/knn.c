#include "tools/dinorun/command.h"

#include "runtime/evaluate.h"
#include "runtime/feature_file.h"
#include "runtime/knn.h"
#include "runtime/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_K = 32 };

/* A split: its images, features and labels. */
struct split {
    struct dg_dataset *dataset;
    float *features;
    int *label;
    int64_t dim, filled;
    bool terminal;
};

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
    if (dg_dataset_classes(split->dataset) >= 2) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%s: k-NN needs labels: a folder a class, at least two", path);
}

/* Labels by class name, as the training split numbers them. */
static enum dg_status read_labels(struct split *split, const struct split *train, const char *path,
                                  struct dg_error *err)
{
    int64_t count = dg_dataset_count(split->dataset);
    int *number = malloc(sizeof *number * (size_t)dg_dataset_classes(split->dataset));
    split->label = malloc(sizeof *split->label * (size_t)count);
    if (!number || !split->label) {
        free(number);
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    enum dg_status status = dg_dataset_match_classes(split->dataset, train->dataset, number, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", path);
    for (int64_t i = 0; status == DG_OK && i < count; i++)
        split->label[i] = number[dg_dataset_label(split->dataset, i)];
    free(number);
    return status;
}

static enum dg_status extract(struct split *split, struct dg_evaluator *evaluator, int threads, struct dg_error *err)
{
    int64_t count = dg_dataset_count(split->dataset);
    split->dim = dg_evaluator_dim(evaluator);
    split->features = malloc(sizeof(float) * (size_t)(count * split->dim));
    if (!split->features) return dg_fail(err, DG_ERR_MEMORY, "no memory for the features of %" PRId64 " images", count);
    enum dg_status status = dg_evaluate(evaluator, split->dataset, on_rows, split, err);
    if (split->terminal) clear_images();
    if (status == DG_OK) dg_knn_normalize(split->features, count, split->dim, threads);
    return status;
}

static void close_split(struct split *split)
{
    dg_dataset_close(split->dataset);
    free(split->features);
    free(split->label);
}

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
};

/* Of a small training set, all of it. */
static void limit_k(struct vote *vote, int64_t all)
{
    for (int i = 0; i < vote->num_k; i++)
        if (vote->k[i] > all) {
            printf("%d-NN of %" PRId64 " images is %" PRId64 "-NN\n", vote->k[i], all, all);
            vote->k[i] = (int)all;
        }
}

static void print_votes(const struct vote *vote, int64_t train, int64_t val, int classes)
{
    printf("%" PRId64 " images vote on %" PRId64 ", %d classes\n", train, val, classes);
    for (int i = 0; i < vote->num_k; i++)
        printf("%d-NN: top-1 %.2f %%, top-5 %.2f %%\n", vote->k[i], vote->result[i].top1, vote->result[i].top5);
}

/* --features: what `dinorun features` wrote, without plan and weights. */
static enum dg_status vote_of_files(const char *train_path, const char *val_path, int threads, struct vote *vote,
                                    struct dg_error *err)
{
    struct dg_feature_file train = {0}, val = {0};
    enum dg_status status = dg_feature_file_read(train_path, &train, err);
    if (status == DG_OK) status = dg_feature_file_read(val_path, &val, err);
    if (status == DG_OK) status = dg_feature_file_match(&val, &train, err);
    if (status == DG_OK && train.classes < 2)
        status = dg_fail(err, DG_ERR_INPUT, "%s: k-NN needs labels of at least two classes", train_path);
    if (status == DG_OK) {
        limit_k(vote, train.rows);
        dg_knn_normalize(train.features, train.rows, train.dim, threads);
        dg_knn_normalize(val.features, val.rows, val.dim, threads);
        status = dg_knn(train.features, train.label, train.rows, val.features, val.label, val.rows, train.dim,
                        train.classes, vote->k, vote->num_k, vote->temperature, threads, vote->result, err);
    }
    if (status == DG_OK) print_votes(vote, train.rows, val.rows, train.classes);
    dg_feature_file_free(&train);
    dg_feature_file_free(&val);
    return status;
}

static int knn(int argc, char **argv)
{
    enum { WEIGHTS = 256, FROM, PARTIAL, FEATURES, TRAIN, VAL, TEMPERATURE, THREADS };
    static const struct option flags[] = {{"weights", required_argument, NULL, WEIGHTS},
                                          {"weights-from", required_argument, NULL, FROM},
                                          {"partial", no_argument, NULL, PARTIAL},
                                          {"features", no_argument, NULL, FEATURES},
                                          {"train", required_argument, NULL, TRAIN},
                                          {"val", required_argument, NULL, VAL},
                                          {"k", required_argument, NULL, 'k'},
                                          {"temperature", required_argument, NULL, TEMPERATURE},
                                          {"threads", required_argument, NULL, THREADS},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct command *me = &command_knn;
    struct dg_evaluator_options o = {.entry = "features", .from = "teacher"};
    struct split train = {.terminal = isatty(STDOUT_FILENO)}, val = train;
    const char *train_path = NULL, *val_path = NULL;
    struct vote vote = {.k = {10, 20, 100, 200}, .num_k = 4, .temperature = 0.07};
    bool of_files = false;
    int64_t threads = 0;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        switch (flag) {
        case WEIGHTS: o.weights = optarg; break;
        case FROM: o.from = optarg; break;
        case PARTIAL: o.partial = true; break;
        case FEATURES: of_files = true; break;
        case TRAIN: train_path = optarg; break;
        case VAL: val_path = optarg; break;
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
        case THREADS:
            if (!flag_whole(me, "--threads", optarg, 1, 1024, &threads)) return 2;
            break;
        default: return flag == 'h' ? 0 : 2;
        }
    }
    struct dg_error err = {0};
    if (of_files) {
        if (!train_path || !val_path || o.weights || optind < argc)
            return usage_error(me, "--features takes --train FILE.npy and --val FILE.npy, and no plan and no weights");
        int n = threads ? (int)threads : dg_usable_cpus();
        return vote_of_files(train_path, val_path, n, &vote, &err) == DG_OK ? 0 : fail(&err);
    }
    const char *path = plan_argument(me, argc, argv);
    if (!path) return 2;
    if (!o.weights || !train_path || !val_path)
        return usage_error(me, "--weights FILE, --train DIR and --val DIR are needed");
    if (!flag_from(me, o.from)) return 2;
    o.threads = (int)threads;

    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    struct dg_evaluator *evaluator = NULL;
    char note[DG_WEIGHTS_NOTE];
    enum dg_status status = open_plan(path, NULL, 0, 0, &plan, &knobs, &err);
    if (status == DG_OK) status = open_split(&train, train_path, &err);
    if (status == DG_OK) status = open_split(&val, val_path, &err);
    if (status == DG_OK) status = read_labels(&train, &train, train_path, &err);
    if (status == DG_OK) status = read_labels(&val, &train, val_path, &err);
    if (status == DG_OK) status = dg_evaluator_open(&plan, &knobs, &o, &evaluator, note, sizeof note, &err);
    if (status == DG_OK) {
        puts(note);
        int n = dg_session_threads(dg_evaluator_session(evaluator));
        limit_k(&vote, dg_dataset_count(train.dataset));
        status = extract(&train, evaluator, n, &err);
        if (status == DG_OK) status = extract(&val, evaluator, n, &err);
        if (status == DG_OK)
            status = dg_knn(train.features, train.label, dg_dataset_count(train.dataset), val.features, val.label,
                            dg_dataset_count(val.dataset), train.dim, dg_dataset_classes(train.dataset), vote.k,
                            vote.num_k, vote.temperature, n, vote.result, &err);
    }
    if (status == DG_OK)
        print_votes(&vote, dg_dataset_count(train.dataset), dg_dataset_count(val.dataset),
                    dg_dataset_classes(train.dataset));
    close_split(&train);
    close_split(&val);
    dg_evaluator_close(evaluator);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
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
        "  --threads N           (all)\n",
    .run = knn};

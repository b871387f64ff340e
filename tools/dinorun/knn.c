/* dinorun knn: classifies the images of one data set by their nearest neighbours in another, by features. */
#include "tools/dinorun/command.h"
#include "tools/dinorun/json.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/memory.h"
#include "runtime/base/name.h"
#include "runtime/comm/agree.h"
#include "runtime/eval/knn.h"
#include "runtime/eval/labelled.h"
#include "runtime/eval/most_frequent.h"
#include "runtime/eval/nearest.h"
#include "runtime/formats/feature_file.h"
#include "runtime/formats/feature_origin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_K = 32 };

struct k_list {
    int value[MAX_K], count;
};

static struct {
    struct evaluation evaluation;
    bool of_files;
    struct dg_flag_values train, val; /* folders and lists of images, or a file of features each */
    const char *classes_from;
    struct k_list k;
    double temperature;
    const char *predictions;
    struct json_output json;
} given = {.evaluation.options = {.role = DG_ENTRY_FEATURES, .choice = {.from = "teacher"}},
           .k = {.value = {10, 20, 100, 200}, .count = 4},
           .temperature = 0.07};

/* A split's features and labels: of images, or of a file that has them. */
struct split {
    struct dg_labelled of;       /* without images: `features` and `label` are the file's */
    struct dg_feature_file file; /* of images: empty */
};

static const char *path_of(const struct split *split, int64_t image)
{
    return split->of.images ? dg_dataset_relative(split->of.images, image) : split->file.path[image];
}

static const char *class_of(const struct split *split, int number)
{
    return split->of.images ? dg_dataset_class_name(split->of.images, number) : split->file.class_name[number];
}

static void close_split(struct split *split)
{
    if (split->of.images) {
        free(split->of.features);
        free(split->of.row);
        dg_labelled_close(&split->of);
    }
    dg_feature_file_free(&split->file);
}

/* ---- from images ---- */

static enum dg_status open_split(struct split *split, const struct dg_flag_values *path, const struct split *train,
                                 struct dg_error *err)
{
    const struct dg_data data = data_of(path, given.classes_from, &given.evaluation.images);
    if (leads(given.evaluation.options.comm)) split->of.progress = show_images;
    return dg_labelled_open(&split->of, &data, train ? &train->of : NULL, &console, err);
}

static enum dg_status compute_features(struct split *split, const struct split *train, struct dg_error *err)
{
    DG_TRY(dg_labelled_compute(&split->of, &train->of, given.evaluation.evaluator, err));
    clear_images();
    return DG_OK;
}

/* Training images of this process: those of its batches. */
static int64_t own_rows(const struct dg_labelled *train)
{
    const struct evaluation *e = &given.evaluation;
    int64_t batch = dg_evaluator_images(e->evaluator)->dim[0], batches = (train->count + batch - 1) / batch;
    int64_t ranks = dg_comm_ranks(e->options.comm), rank = dg_comm_rank(e->options.comm);
    return dg_min_i64(train->count, (batches + ranks - 1 - rank) / ranks * batch);
}

/* Of both splits, before the first image is read. */
static enum dg_status take_memory(struct dg_labelled *train, struct dg_labelled *val, int64_t dim, struct dg_error *err)
{
    struct dg_comm *comm = given.evaluation.options.comm;
    int64_t own = own_rows(train), bytes = (own + val->count) * dim * (int64_t)sizeof(float);
    int64_t available = dg_memory_available();
    char need[32], have[32];
    if (bytes > available)
        return dg_fail(err, DG_ERR_MEMORY, "the features of %" PRId64 " images take %s, and %s are free",
                       own + val->count, dg_format_bytes(need, sizeof need, (double)bytes),
                       dg_format_bytes(have, sizeof have, (double)available));
    train->dim = val->dim = dim;
    train->features = malloc(sizeof(float) * (size_t)(own * dim) + 1);
    val->features = malloc(sizeof(float) * (size_t)(val->count * dim));
    if (comm) train->row = malloc(sizeof *train->row * (size_t)own + 1);
    return train->features && val->features && (train->row || !comm)
               ? DG_OK
               : dg_fail(err, DG_ERR_MEMORY, "no memory for the features");
}

/* ---- from what `dinorun features` wrote ---- */

static enum dg_status read_split(struct split *split, const char *path, struct dg_error *err)
{
    DG_TRY(dg_feature_file_read(path, &split->file, err));
    split->of = (struct dg_labelled){.features = split->file.features,
                                     .label = split->file.label,
                                     .count = split->file.rows,
                                     .dim = split->file.dim,
                                     .classes = split->file.classes};
    return DG_OK;
}

/* ---- votes ---- */

/* "10,20" into a struct k_list. */
static bool read_list(const char *text, void *parsed)
{
    struct k_list *k = parsed;
    for (k->count = 0; k->count < MAX_K;) {
        char *end;
        long value = strtol(text, &end, 10);
        if (end == text || value < 1 || value > 1000000) return false;
        k->value[k->count++] = (int)value;
        if (!*end) return true;
        if (*end != ',') return false;
        text = end + 1;
    }
    return false;
}

struct vote {
    struct dg_knn_result result[MAX_K]; /* of given.k */
    struct dg_atomic_file file;         /* of the predictions */
    int *predicted;                     /* [val images, k]; NULL: not asked for */
};

static enum dg_status check_train(const struct dg_labelled *train, struct dg_error *err)
{
    if (train->classes >= 2) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%s: k-NN needs images of at least two classes to choose from",
                   given.train.value[0]);
}

/* Before the work begins. */
static enum dg_status open_predictions(struct vote *vote, struct dg_error *err)
{
    return given.predictions ? dg_atomic_open(given.predictions, &vote->file, err) : DG_OK;
}

static enum dg_status prepare(struct vote *vote, const struct dg_labelled *train, const struct dg_labelled *val,
                              struct dg_error *err)
{
    struct k_list *k = &given.k;
    int asked = k->count;
    k->count = 0;
    for (int i = 0; i < asked; i++) {
        int value = k->value[i];
        bool all = value > train->count, there = false; /* of a small training set, all of it, once */
        if (all && leads(given.evaluation.options.comm))
            printf("%d-NN of %" PRId64 " images is %" PRId64 "-NN\n", value, train->count, train->count);
        if (all) value = (int)train->count;
        for (int j = 0; j < k->count; j++) there |= k->value[j] == value;
        if (!there) k->value[k->count++] = value;
    }
    if (!given.predictions) return DG_OK;
    vote->predicted = malloc(sizeof *vote->predicted * (size_t)(val->count * k->count));
    return vote->predicted ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

static void write_predictions(const struct vote *vote, const struct split *train, const struct split *val)
{
    FILE *out = vote->file.stream;
    fputs("path\tlabel", out);
    for (int i = 0; i < given.k.count; i++) fprintf(out, "\t%d-NN", given.k.value[i]);
    for (int64_t v = 0; v < val->of.count; v++) {
        fputc('\n', out);
        dg_name_write(out, path_of(val, v));
        fputc('\t', out);
        dg_name_write(out, class_of(train, val->of.label[v]));
        for (int i = 0; i < given.k.count; i++) {
            fputc('\t', out);
            dg_name_write(out, class_of(train, vote->predicted[v * given.k.count + i]));
        }
    }
    fputc('\n', out);
}

/* Of a run's folder, to its results.csv. */
static enum dg_status write_results(const struct vote *vote, const struct dg_labelled *val, double most,
                                    struct dg_error *err)
{
    struct dg_result result[2 * MAX_K];
    const struct dg_data images = data_of(&given.train, NULL, &given.evaluation.images),
                         measured = data_of(&given.val, NULL, &given.evaluation.images);
    dg_results_set_knn(result, given.k.value, given.k.count, vote->result, most);
    struct dg_results results = {.by = "knn",
                                 .train = &images,
                                 .val = &measured,
                                 .images = val->count,
                                 .result = result,
                                 .count = 2 * given.k.count};
    return add_results(&given.evaluation.of, &given.evaluation.options, &results, err);
}

static json_t *result_of(const struct vote *vote, const struct dg_labelled *train, const struct dg_labelled *val,
                         double most)
{
    json_t *results = json_array();
    for (int i = 0; i < given.k.count; i++)
        json_array_append_new(results, json_pack("{s:i, s:f, s:f}", "k", given.k.value[i], "top1", vote->result[i].top1,
                                                 "top5", vote->result[i].top5));
    return json_pack("{s:o, s:I, s:I, s:i, s:f, s:o}", "machine", json_machine(), "train_images",
                     (json_int_t)train->count, "val_images", (json_int_t)val->count, "classes", train->classes,
                     "most_frequent", most, "results", results);
}

static enum dg_status answer(struct vote *vote, const struct split *of_train, const struct split *of_val, int threads,
                             struct dg_error *err)
{
    const struct dg_labelled *train = &of_train->of, *val = &of_val->of;
    int64_t here = train->row ? train->filled : train->count;
    struct dg_comm *comm = given.evaluation.options.comm;
    dg_features_normalize(train->features, here, train->dim, threads);
    dg_features_normalize(val->features, val->count, val->dim, threads);
    const struct dg_knn_question question = {
        .train = {train->features, train->label, here, train->row, train->rows},
        .test = {.features = val->features, .label = val->label, .count = val->count},
        .dim = train->dim,
        .classes = train->classes,
        .k = given.k.value,
        .num_k = given.k.count,
        .temperature = given.temperature,
        .threads = threads,
        .comm = comm};
    DG_TRY(dg_knn(&question, vote->result, vote->predicted, err));
    if (!leads(comm)) return DG_OK;
    if (given.predictions) {
        write_predictions(vote, of_train, of_val);
        if (val->images) DG_TRY(write_left_out(val->images, given.predictions, err));
        DG_TRY(dg_atomic_commit(&vote->file, err));
    }
    double most = dg_most_frequent(val->label, val->count, train->classes);
    fprintf(results(),
            "%" PRId64 " images vote on %" PRId64 ", %d classes; the most frequent class alone would get %.2f %%\n",
            train->count, val->count, train->classes, most);
    for (int i = 0; i < given.k.count; i++)
        fprintf(results(), "%d-NN: top-1 %.2f %%, top-5 %.2f %%\n", given.k.value[i], vote->result[i].top1,
                vote->result[i].top5);
    DG_TRY(json_write(&given.json, result_of(vote, train, val, most), err));
    return given.of_files ? DG_OK : write_results(vote, val, most, err);
}

static enum dg_status vote_of_files(struct vote *vote, struct split *train, struct split *val, struct dg_error *err)
{
    int threads = given.evaluation.options.threads ? given.evaluation.options.threads : dg_default_threads();
    if (dg_comm_launched() > 1)
        return dg_fail(err, DG_ERR_USAGE, "knn --features is for one process: start it without mpirun");
    dg_threads_check(threads, &console);
    if (given.train.count > 1 || given.val.count > 1)
        return dg_fail(err, DG_ERR_USAGE, "--features: --train and --val are one file each");
    DG_TRY(read_split(train, given.train.value[0], err));
    DG_TRY(read_split(val, given.val.value[0], err));
    DG_TRY(dg_feature_file_match(&val->file, &train->file, &console, err));
    DG_TRY(dg_feature_origin_compare(given.train.value[0], given.val.value[0], given.evaluation.options.accept_changes,
                                     &console, err));
    DG_TRY(check_train(&train->of, err));
    DG_TRY(open_predictions(vote, err));
    DG_TRY(prepare(vote, &train->of, &val->of, err));
    return answer(vote, train, val, threads, err);
}

/* What a process does without the others, before the first image is read. */
static enum dg_status open_all(struct vote *vote, struct split *train, struct split *val, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    DG_TRY(open_weights_plan(e, err));
    DG_TRY(open_split(train, &given.train, NULL, err));
    DG_TRY(open_split(val, &given.val, train, err));
    DG_TRY(check_train(&train->of, err));
    if (leads(e->options.comm)) DG_TRY(open_predictions(vote, err));
    DG_TRY(open_evaluator(e, err));
    return take_memory(&train->of, &val->of, dg_evaluator_dim(e->evaluator), err);
}

static enum dg_status vote_of_images(struct vote *vote, struct split *train, struct split *val, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    struct dg_comm **comm = &e->options.comm;
    DG_TRY(open_ranks(comm, &e->options.threads, err));
    DG_TRY(dg_comm_agree(*comm, open_all(vote, train, val, err), err));
    DG_TRY(check_ranks(e, train->of.images, given.train.value[0], err));
    DG_TRY(check_ranks(e, val->of.images, given.val.value[0], err));
    DG_TRY(dg_comm_agree(*comm, compute_features(train, train, err), err));
    DG_TRY(dg_comm_agree(*comm, compute_features(val, train, err), err));
    DG_TRY(dg_comm_agree(*comm, prepare(vote, &train->of, &val->of, err), err));
    return answer(vote, train, val, evaluation_threads(e), err);
}

static int knn(void)
{
    struct dg_error err = {0};
    struct split train = {0}, val = {0};
    struct vote vote = {0};
    if (json_open(&given.json, &err) == DG_OK)
        (given.of_files ? vote_of_files : vote_of_images)(&vote, &train, &val, &err);
    dg_atomic_abandon(&vote.file);
    free(vote.predicted);
    close_split(&train);
    close_split(&val);
    close_evaluation(&given.evaluation);
    json_close(&given.json);
    return end_ranks(given.evaluation.options.comm, &err);
}

static const struct dg_flag flags[] = {
    {FLAG_WEIGHTS, .text = &given.evaluation.options.weights, .unless = "features"},
    ROWS_CHOOSE_WEIGHTS(given.evaluation.options),
    {"features", NULL,
     "--train and --val are files that `dinorun features` wrote: nothing is computed again, and there is no PLAN",
     .given = &given.of_files, .without = "weights weights-from key prefix positions partial"},
    {"train", "DIR", "labelled images that vote: one folder per class, or @LIST with classes", .texts = &given.train,
     .required = true, .sharing = DG_FLAG_OWN_VALUE},
    {"val", "DIR", "labelled images to classify", .texts = &given.val, .required = true, .sharing = DG_FLAG_OWN_VALUE},
    {FLAG_CLASSES_FROM, .text = &given.classes_from, .without = "features"},
    ROWS_IMAGE_RULES(given.evaluation.images),
    {"k", "LIST", "numbers of neighbours that vote", .letter = 'k', .parse = read_list, .parsed = &given.k,
     .expected = "numbers as in 10,20", .unset = "10,20,100,200"},
    {"temperature", "T", "of the votes, exp(similarity / T)", .number = &given.temperature},
    {"predictions", "FILE",
     "write one line per image: path, label, and the class that each k predicts, with tabs between",
     .text = &given.predictions, .sharing = DG_FLAG_OWN_VALUE},
    {FLAG_MAX_BAD_IMAGES("unreadable images of --train and of --val to leave out before giving up"),
     .parsed = &given.evaluation.options.max_bad, .unset = "0", .without = "features"},
    {FLAG_THREADS, .count = &given.evaluation.options.threads},
    {FLAG_JSON, .given = &given.json.asked},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_knn = {
    .program = "dinorun",
    .name = "knn",
    .summary = "classifies images by their nearest neighbours among the features, without any training",
    .file = {.name = NETWORK, .value = &given.evaluation.of.path, .unless = "features"},
    .flags = flags,
    .run = knn};

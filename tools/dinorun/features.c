/* dinorun features: writes the features of a data set as a NumPy array, and the path and label of each row beside
 * it. */
#include "tools/dinorun/command.h"
#include "tools/dinorun/json.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/name.h"
#include "runtime/comm/agree.h"
#include "runtime/eval/pooling.h"
#include "runtime/formats/feature_origin.h"
#include "runtime/formats/npy.h"
#include "runtime/state/facts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    struct evaluation evaluation;
    struct dg_flag_values data;
    const char *out, *classes_from, *output;
    bool flat;
    struct dg_fit fit;
    struct json_output json;
} given = {.evaluation.options = {.choice = {.from = "teacher"}}, .output = "cls"};

/* The files; each is complete or absent. */
struct output {
    struct dg_npy array;
    struct dg_atomic_file list, origin;
    enum dg_token_pooling pooling;
    struct dg_patches patches; /* unless it is DG_POOLING_CLS */
    int64_t dim, row;          /* of a token; numbers an image that the entry computes */
    float *pooled;             /* of an image */
};

static enum dg_status on_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                              struct dg_error *err)
{
    struct output *out = context;
    if (!leads(given.evaluation.options.comm)) return DG_OK; /* rank 0 writes */
    show_images(done, all);
    for (int64_t r = 0; r < rows; r++) {
        dg_pooling_apply(out->pooling, &out->patches, out->dim, output + r * out->row, out->pooled);
        DG_TRY(dg_npy_append(&out->array, out->pooled, 1, err));
    }
    return DG_OK;
}

static enum dg_status on_sized(void *context, const struct dg_sized_output *output, int64_t index, int64_t done,
                               int64_t all, struct dg_error *err)
{
    struct output *out = context;
    (void)index;
    show_images(done, all);
    if (out->pooling != DG_POOLING_CLS) DG_TRY(dg_patches_init(output->plan, DG_ENTRY_TOKENS, &out->patches, err));
    dg_pooling_apply(out->pooling, &out->patches, out->dim, output->output, out->pooled);
    return dg_npy_append(&out->array, out->pooled, 1, err);
}

/* Writes OUT.tsv: path, tab, label; the label of an image without classes is empty. The caller commits the file. */
static enum dg_status write_list(const struct dg_dataset *dataset, struct dg_atomic_file *file, struct dg_error *err)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s.tsv", given.out) >= (int)sizeof path)
        return dg_fail(err, DG_ERR_USAGE, "--out: the path is too long");
    DG_TRY(dg_atomic_open(path, file, err));
    for (int64_t i = 0; i < dg_dataset_count(dataset); i++) {
        int label = dg_dataset_label(dataset, i);
        dg_name_write(file->stream, dg_dataset_relative(dataset, i));
        fputc('\t', file->stream);
        dg_name_write(file->stream, label < 0 ? "" : dg_dataset_class_name(dataset, label));
        fputc('\n', file->stream);
    }
    if (!fflush(file->stream) && !ferror(file->stream)) return DG_OK;
    return dg_fail(err, DG_ERR_IO, "cannot write %s: %s", path, strerror(errno));
}

/* What features must have in common to be compared, as FILE.npy.json. To be called when the weights are loaded. */
static enum dg_status write_origin(struct dg_atomic_file *file, struct dg_error *err)
{
    const struct evaluation *e = &given.evaluation;
    static const char *const taken[] = {"computes.evaluated", "set.crops.mean.0", "set.crops.mean.1",
                                        "set.crops.mean.2",   "set.crops.std.0",  "set.crops.std.1",
                                        "set.crops.std.2"};
    const struct dg_image_rules rules = image_rules(&e->images);
    uint64_t weights =
        e->sizes ? dg_sizes_use(e->sizes).weights : dg_weights_hash(dg_evaluator_session(e->evaluator), DG_FNV_BASIS);
    struct dg_facts all = {0}, facts = {0};
    char text[32];
    dg_facts_add_plan(&all, &e->of.knobs);
    for (size_t t = 0; t < sizeof taken / sizeof *taken; t++) {
        const char *value = dg_facts_find(&all, taken[t]);
        if (value) dg_facts_add(&facts, taken[t], "%s", value);
    }
    dg_facts_add(&facts, "weights", "%016" PRIx64, weights);
    if (e->sizes)
        dg_facts_add(&facts, "image size", "%s", dg_fit_text(given.fit, text, sizeof text));
    else
        dg_facts_add(&facts, "image size", "%" PRId64 "x%" PRId64, dg_evaluator_images(e->evaluator)->dim[1],
                     dg_evaluator_images(e->evaluator)->dim[2]);
    dg_facts_add(&facts, "output", "%s", given.output);
    dg_facts_add(&facts, "--exif", "%s", rules.exif ? "true" : "false");
    dg_facts_add(&facts, "--pillow", "%d", dg_image_rules_pillow(rules));
    enum dg_status status = all.lost || facts.lost
                                ? dg_fail(err, DG_ERR_MEMORY, "out of memory")
                                : dg_feature_origin_write(given.out, facts.fact, facts.count, file, err);
    dg_facts_free(&all);
    dg_facts_free(&facts);
    return status;
}

/* Sets the length of a token, which is the same for images of each size, and of images of one size the patches. */
static enum dg_status size_up(struct output *out, struct dg_error *err)
{
    const struct dg_plan *plan = &given.evaluation.of.plan;
    const struct dg_plan_entry *entry;
    struct dg_sized_output first = {0};
    bool varies = out->pooling == DG_POOLING_TOKENS || out->pooling == DG_POOLING_PATCHES;
    DG_TRY(dg_plan_find_role(plan, given.evaluation.options.role, &entry, err));
    const struct dg_plan_tensor *output = dg_plan_slot(plan, entry, DG_SLOT_OUTPUT);
    out->dim = 1;
    for (int d = out->pooling == DG_POOLING_CLS ? 1 : output->ndim - 1; d < output->ndim; d++)
        out->dim *= output->dim[d];
    if (!given.evaluation.sizes || !varies) return DG_OK;
    if (given.fit.kind != DG_FIT_STRETCH)
        return dg_fail(err, DG_ERR_USAGE,
                       "--output %s of images of different sizes has no common shape: --resize 'square N' gives one",
                       given.output);
    DG_TRY(dg_sizes_prepare(given.evaluation.sizes, given.fit.height, given.fit.width, &first, err));
    return dg_patches_init(first.plan, DG_ENTRY_TOKENS, &out->patches, err);
}

/* Opens the array, of the shape that --output says. */
static enum dg_status open_array(int64_t images, struct output *out, struct dg_error *err)
{
    int64_t shape[1 + DG_POOLING_MAX_DIMS] = {images};
    DG_TRY(size_up(out, err));
    if (given.evaluation.evaluator) out->row = dg_evaluator_dim(given.evaluation.evaluator);
    int ndim = 1 + dg_pooling_shape(out->pooling, &out->patches, out->dim, shape + 1);
    DG_TRY(dg_npy_open_shape(given.out, ndim, shape, &out->array, err));
    out->pooled = malloc(sizeof *out->pooled * (size_t)out->array.columns);
    return out->pooled ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

/* What a process does without the others, before the first image is read. */
static enum dg_status open_all(struct dg_dataset **dataset, struct output *out, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    out->pooling = dg_pooling_find(given.output);
    e->options.role = dg_pooling_role(out->pooling);
    DG_TRY(open_weights_plan(e, err));
    if (out->pooling != DG_POOLING_CLS) DG_TRY(dg_patches_init(&e->of.plan, e->options.role, &out->patches, err));
    const struct dg_data data = data_of(&given.data, given.classes_from, &e->images);
    DG_TRY(dg_dataset_open(&data, given.flat ? DG_LABELS_UNUSED : DG_LABELS_IF_ANY, &console, dataset, err));
    if (given.fit.kind == DG_FIT_NONE)
        DG_TRY(open_evaluator(e, err));
    else if (dg_comm_ranks(e->options.comm) > 1)
        return dg_fail(err, DG_ERR_USAGE, "--resize is for one process");
    else
        DG_TRY(open_sizes(e, NULL, err));
    if (!leads(e->options.comm)) return DG_OK;
    return open_array(dg_dataset_count(*dataset), out, err);
}

static json_t *result_of(const struct dg_dataset *dataset, const struct dg_npy *array)
{
    json_int_t rows = (json_int_t)dg_dataset_count(dataset);
    json_t *shape = json_pack("[I]", rows);
    for (int d = 1; d < array->ndim; d++) json_array_append_new(shape, json_integer((json_int_t)array->dim[d]));
    return json_pack("{s:o, s:o, s:s, s:I, s:I, s:o, s:s}", "machine", json_machine(), "array", dg_json_text(given.out),
                     "output", given.output, "rows", rows, "dim", (json_int_t)array->dim[array->ndim - 1], "shape",
                     shape, "type", "f32");
}

/* The list is written before the array takes its place, so that both are there or neither. */
static enum dg_status commit(const struct dg_dataset *dataset, struct output *out, struct dg_error *err)
{
    const struct dg_npy array = out->array;
    clear_images();
    DG_TRY(dg_npy_end(&out->array, err));
    DG_TRY(write_list(dataset, &out->list, err));
    DG_TRY(write_left_out(dataset, given.out, err));
    DG_TRY(write_origin(&out->origin, err));
    DG_TRY(dg_npy_commit(&out->array, err));
    DG_TRY(dg_atomic_commit(&out->list, err));
    DG_TRY(dg_atomic_commit(&out->origin, err));
    printf("%s: [%" PRId64, given.out, dg_dataset_count(dataset));
    for (int d = 1; d < array.ndim; d++) printf(", %" PRId64, array.dim[d]);
    printf("] f32; %s.tsv: path, label\n", given.out);
    return json_write(&given.json, result_of(dataset, &array), err);
}

static enum dg_status write_features(struct dg_dataset **dataset, struct output *out, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    struct dg_comm **comm = &e->options.comm;
    DG_TRY(open_ranks(comm, &e->options.threads, err));
    DG_TRY(dg_comm_agree(*comm, open_all(dataset, out, err), err));
    if (e->sizes) {
        const struct dg_sized_images images = {.dataset = *dataset, .fit = given.fit, .filter = DG_FILTER_BICUBIC};
        DG_TRY(dg_sizes_evaluate(e->sizes, &images, on_sized, out, err));
        clear_images();
        print_sizes(e);
        return commit(*dataset, out, err);
    }
    DG_TRY(check_ranks(e, *dataset, given.data.value[0], err));
    DG_TRY(dg_evaluate(e->evaluator, *dataset, on_rows, out, err));
    return leads(*comm) ? commit(*dataset, out, err) : DG_OK;
}

static int features(void)
{
    struct dg_error err = {0};
    struct dg_dataset *dataset = NULL;
    struct output out = {0};
    if (json_open(&given.json, &err) == DG_OK) write_features(&dataset, &out, &err);
    free(out.pooled);
    dg_npy_abandon(&out.array);
    dg_atomic_abandon(&out.list);
    dg_atomic_abandon(&out.origin);
    dg_dataset_close(dataset);
    close_evaluation(&given.evaluation);
    json_close(&given.json);
    return end_ranks(given.evaluation.options.comm, &err);
}

static const struct dg_flag flags[] = {
    {FLAG_WEIGHTS, .text = &given.evaluation.options.weights},
    ROWS_CHOOSE_WEIGHTS(given.evaluation.options),
    {FLAG_DATA, .texts = &given.data, .required = true},
    {"flat", NULL, "take all images below --data, and no folder for a class", .given = &given.flat},
    {FLAG_RESIZE(", bicubic"), .parsed = &given.fit, .unset = "the plan's size, and the crop of evaluation"},
    {FLAG_MEMORY, .parsed = &given.evaluation.options.memory, .with = "resize"},
    {FLAG_CLASSES_FROM, .text = &given.classes_from, .without = "flat"},
    ROWS_IMAGE_RULES(given.evaluation.images),
    {"out", "FILE.npy",
     "the array to write, f32, an image after the other in the order of the paths; FILE.npy.tsv has path and label",
     .text = &given.out, .required = true, .sharing = DG_FLAG_OWN_VALUE},
    {"output", "KIND",
     "of an image. cls: the class token, or what the backbone returns, [dim]; tokens: [tokens, dim], the class token "
     "first, then registers if there are any, and patches; patches: [rows, cols, dim]; patch-mean: [dim]; gem: [dim], "
     "the generalised mean of the patches with exponent 4; cls+gem and cls+patch-mean: one behind the other, [2 dim]",
     .text = &given.output, .choices = DG_POOLING_NAMES},
    {FLAG_MAX_BAD_IMAGES("unreadable images to leave out before giving up; FILE.npy.left-out.tsv names them"),
     .parsed = &given.evaluation.options.max_bad, .unset = "0"},
    {FLAG_THREADS, .count = &given.evaluation.options.threads},
    {FLAG_JSON, .given = &given.json.asked},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_features = {.program = "dinorun",
                                            .name = "features",
                                            .summary = "writes the backbone's features of images as a NumPy array",
                                            .file = {.name = NETWORK, .value = &given.evaluation.of.path},
                                            .flags = flags,
                                            .run = features};

/* dinorun segment-score: compares the masks of the attention with the true masks of objects. */
#include "runtime/eval/segment_score.h"

#include "tools/dinorun/command.h"
#include "tools/dinorun/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static struct {
    struct evaluation evaluation;
    const char *data, *masks;
    double threshold;
    struct json_output json;
} given = {.evaluation.options = {.role = DG_ENTRY_ATTENTION, .choice = {.from = "teacher"}},
           .threshold = DG_ATTENTION_KEEP};

static void print_score(const struct dg_segment_score *score)
{
    fprintf(results(), "%" PRId64 " images with %" PRId64 " objects", score->images, score->objects);
    if (score->unmasked) fprintf(results(), "; %" PRId64 " without a mask left out", score->unmasked);
    if (score->empty) fprintf(results(), "; %" PRId64 " whose mask shows no object left out", score->empty);
    if (score->unread) fprintf(results(), "; %" PRId64 " that cannot be read left out", score->unread);
    fprintf(results(), "\nJaccard of masks that keep %g %% of the attention, object by object\n",
            100 * given.threshold);
    for (int h = 0; h < score->heads; h++) fprintf(results(), "  head %-12d %6.2f %%\n", h, 100 * score->head[h]);
    fprintf(results(), "  mean of heads     %6.2f %%\n", 100 * score->mean);
    fprintf(results(), "  everything        %6.2f %%\n", 100 * score->all);
    fprintf(results(), "best head of each object: Jaccard %.2f %% (the published measure)\n", 100 * score->best);
    fprintf(results(), "all objects of an image as one, its best head: %.2f %% (not comparable with the paper)\n",
            100 * score->together);
}

/* Jaccard indices in percent. */
static json_t *result_of(const struct dg_segment_score *score)
{
    json_t *heads = json_array();
    for (int h = 0; h < score->heads; h++) json_array_append_new(heads, json_number(100 * score->head[h]));
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:o, s:o, s:o, s:o}", "machine", json_machine(),
                     "images", (json_int_t)score->images, "objects", (json_int_t)score->objects, "without_mask",
                     (json_int_t)score->unmasked, "empty", (json_int_t)score->empty, "unreadable",
                     (json_int_t)score->unread, "threshold", given.threshold, "best", json_number(100 * score->best),
                     "mean", json_number(100 * score->mean), "everything", json_number(100 * score->all), "all",
                     json_number(100 * score->together), "heads", heads);
}

/* Of a run's folder, to its results.csv. */
static enum dg_status write_results(const struct dg_segment_score *score, struct dg_error *err)
{
    struct dg_result result[DG_JACCARD_RESULTS];
    dg_results_set_jaccard(result, score, given.threshold);
    struct dg_results results = {.by = "segment-score",
                                 .val = &DG_FOLDER(given.data),
                                 .images = score->images,
                                 .result = result,
                                 .count = DG_JACCARD_RESULTS};
    return add_results(&given.evaluation.of, &given.evaluation.options, &results, err);
}

static enum dg_status compare(struct dg_dataset **dataset, struct dg_segment_score *score, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    struct dg_patches patches;
    DG_TRY(open_patches(e, NULL, &patches, err));
    DG_TRY(dg_dataset_open(&DG_FOLDER(given.data), DG_LABELS_UNUSED, &console, dataset, err));
    DG_TRY(open_evaluator(e, err));
    const struct dg_segment_options options = {.patches = &patches,
                                               .masks = given.masks,
                                               .keep = given.threshold,
                                               .rules = image_rules(&e->images),
                                               .max_bad = e->options.max_bad,
                                               .progress = show_images};
    DG_TRY(dg_segment_score(e->evaluator, *dataset, &options, score, err));
    clear_images();
    print_score(score);
    DG_TRY(json_write(&given.json, result_of(score), err));
    return write_results(score, err);
}

static int segment_score(void)
{
    struct dg_error err = {0};
    struct dg_dataset *dataset = NULL;
    struct dg_segment_score score = {0};
    if (json_open(&given.json, &err) == DG_OK) compare(&dataset, &score, &err);
    dg_segment_free(&score);
    dg_dataset_close(dataset);
    close_evaluation(&given.evaluation);
    json_close(&given.json);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {FLAG_WEIGHTS, .text = &given.evaluation.options.weights},
    ROWS_CHOOSE_WEIGHTS(given.evaluation.options),
    {"data", "DIR", "images, resized to the plan's image size", .text = &given.data, .required = true},
    {"masks", "DIR",
     "their masks, under the same names and of the same size: of a/b.jpg a/b.png. Gray: the object is 128 or brighter; "
     "in PASCAL VOC's colours: each colour but black is an object, (224, 224, 192) is none",
     .text = &given.masks, .required = true},
    {FLAG_THRESHOLD, .number = &given.threshold},
    {FLAG_MAX_BAD_IMAGES("unreadable images, or masks, to leave out before giving up"),
     .parsed = &given.evaluation.options.max_bad, .unset = "0"},
    ROWS_IMAGE_RULES(given.evaluation.images),
    {FLAG_THREADS, .count = &given.evaluation.options.threads},
    {FLAG_JSON, .given = &given.json.asked},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_segment_score = {
    .program = "dinorun",
    .name = "segment-score",
    .summary = "compares what the attention picks out with the true masks of objects",
    .more = "\nThe published measure takes each object by itself: the Jaccard index of the head that fits it best, the "
            "mean over\n"
            "the objects of an image, the mean over images.\n",
    .file = {.name = NETWORK, .value = &given.evaluation.of.path},
    .flags = flags,
    .run = segment_score};

/* dinorun copy-detect: finds the originals of changed images, and scores that on Copydays. */
#include "tools/dinorun/command.h"
#include "tools/dinorun/json.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/csv.h"
#include "runtime/eval/copy_detection.h"
#include "runtime/eval/whitening.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    struct evaluation evaluation;
    const char *data, *out;
    struct dg_flag_values whitening, distractors;
    struct dg_fit fit;
    struct json_output json;
} given = {.evaluation.options = {.role = DG_ENTRY_TOKENS, .choice = {.from = "teacher"}},
           .fit = {DG_FIT_STRETCH, 320, 320}};

/* Images with their features: a block, distractors, or what whitening is learnt from. */
struct set {
    struct dg_dataset *images; /* NULL: they are not there */
    struct dg_image_features features;
};

struct detection {
    struct set block[DG_COPYDAYS_BLOCKS], distractors, whitening;
    struct dg_image_features database; /* originals, then distractors */
    double map[DG_COPYDAYS_BLOCKS];
    struct dg_atomic_file list;
};

/* ---- images and features ---- */

static enum dg_status open_block(struct detection *d, int b, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    DG_TRY(dg_path_join(path, given.data, dg_copydays_block[b], err));
    if (!dg_is_folder(path)) {
        if (b) return DG_OK;
        return dg_fail(err, DG_ERR_USAGE, "%s has no folder original: is it Copydays' folder?", given.data);
    }
    const char *const paths[] = {path};
    const struct dg_data data = {.path = paths, .paths = 1, .rules = image_rules(&given.evaluation.images)};
    return dg_dataset_open(&data, DG_LABELS_UNUSED, &console, &d->block[b].images, err);
}

static enum dg_status open_set(struct set *set, const struct dg_flag_values *path, struct dg_error *err)
{
    const struct dg_data data = data_of(path, NULL, &given.evaluation.images);
    return path->count ? dg_dataset_open(&data, DG_LABELS_UNUSED, &console, &set->images, err) : DG_OK;
}

static enum dg_status open_sets(struct detection *d, struct dg_error *err)
{
    int missing = 0;
    for (int b = 0; b < DG_COPYDAYS_BLOCKS; b++) {
        DG_TRY(open_block(d, b, err));
        missing += !d->block[b].images;
    }
    if (missing)
        dg_log(&console, DG_LOG_WARNING, DG_LOG_LOAD, "%d of Copydays' %d blocks are not in %s, and are left out",
               missing, DG_COPYDAYS_BLOCKS, given.data);
    DG_TRY(open_set(&d->distractors, &given.distractors, err));
    return open_set(&d->whitening, &given.whitening, err);
}

/* Of a block each image must be readable: which is whose copy is told by places. */
static enum dg_status compute(struct set *set, bool all, struct dg_error *err)
{
    if (!set->images) return DG_OK;
    int64_t count = dg_dataset_count(set->images);
    int64_t *index = all ? malloc((size_t)count * sizeof *index) : NULL;
    if (all && !index) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; all && i < count; i++) index[i] = i;
    const struct dg_sized_images images = {
        .dataset = set->images, .index = index, .count = count, .fit = given.fit, .filter = DG_FILTER_BICUBIC};
    set->features.pooling = DG_POOLING_CLS_GEM;
    set->features.progress = show_images;
    enum dg_status status = dg_image_features_compute(&set->features, given.evaluation.sizes, &images, err);
    free(index);
    clear_images();
    return status;
}

static enum dg_status compute_all(struct detection *d, struct dg_error *err)
{
    for (int b = 0; b < DG_COPYDAYS_BLOCKS; b++) DG_TRY(compute(&d->block[b], true, err));
    DG_TRY(compute(&d->distractors, false, err));
    return compute(&d->whitening, false, err);
}

/* ---- the search ---- */

static enum dg_status join_database(struct detection *d, struct dg_error *err)
{
    const struct dg_image_features *originals = &d->block[0].features, *others = &d->distractors.features;
    struct dg_image_features *all = &d->database;
    int64_t own = originals->count * originals->dim, more = others->count * originals->dim;
    *all = (struct dg_image_features){.count = originals->count + others->count, .dim = originals->dim};
    all->features = malloc((size_t)(own + more) * sizeof *all->features);
    if (!all->features) return dg_fail(err, DG_ERR_MEMORY, "no memory for the features");
    memcpy(all->features, originals->features, (size_t)own * sizeof *all->features);
    if (more) memcpy(all->features + own, others->features, (size_t)more * sizeof *all->features);
    return DG_OK;
}

static enum dg_status whiten(struct detection *d, struct dg_error *err)
{
    const struct dg_image_features *learnt = &d->whitening.features;
    struct dg_whitening whitening = {0};
    if (!d->whitening.images) return DG_OK;
    DG_TRY(dg_whitening_fit(learnt->features, learnt->count, learnt->dim, dg_sizes_use(given.evaluation.sizes).threads,
                            &whitening, err));
    enum dg_status status = dg_whitening_apply(&whitening, d->database.features, d->database.count, err);
    for (int b = 0; b < DG_COPYDAYS_BLOCKS && status == DG_OK; b++)
        status = dg_whitening_apply(&whitening, d->block[b].features.features, d->block[b].features.count, err);
    dg_whitening_free(&whitening);
    return status;
}

static void write_list(struct detection *d, int b, const struct dg_ranking *ranking)
{
    FILE *out = d->list.stream;
    int64_t originals = dg_dataset_count(d->block[0].images);
    for (int64_t q = 0; q < ranking->queries; q++)
        for (int n = 0; n < ranking->k; n++) {
            const struct dg_neighbor *found = &ranking->nearest[q * ranking->k + n];
            bool original = found->index < originals;
            fprintf(out, "%s,", dg_copydays_block[b]);
            dg_csv_text(out, dg_dataset_relative(d->block[b].images, q));
            fprintf(out, ",%d,%s,", n + 1, original ? "original" : "distractor");
            dg_csv_text(out, dg_dataset_relative(original ? d->block[0].images : d->distractors.images,
                                                 original ? found->index : found->index - originals));
            fprintf(out, ",%.6f\n", (double)found->similarity);
        }
}

static enum dg_status score_block(struct detection *d, int b, struct dg_error *err)
{
    struct set *block = &d->block[b];
    struct dg_ranking ranking = {0};
    if (!block->images) return DG_OK;
    enum dg_status status = dg_ranking_compute(&block->features, &d->database, DG_COPYDAYS_FOUND,
                                               dg_sizes_use(given.evaluation.sizes).threads, &ranking, err);
    if (status == DG_OK) {
        status = dg_copydays_score(d->block[0].images, block->images, !strcmp(dg_copydays_block[b], "strong"), &ranking,
                                   &d->map[b], err);
        if (status != DG_OK) dg_error_prefix(err, "%s", dg_copydays_block[b]);
    }
    if (status == DG_OK && given.out) write_list(d, b, &ranking);
    dg_ranking_free(&ranking);
    return status;
}

/* ---- what is written ---- */

static void print_scores(const struct detection *d)
{
    fprintf(results(), "searched among %" PRId64 " originals and %" PRId64 " distractors, features %s\n",
            dg_dataset_count(d->block[0].images), d->distractors.features.count,
            d->whitening.images ? "whitened" : "as they are, without whitening");
    for (int b = 0; b < DG_COPYDAYS_BLOCKS; b++)
        if (d->block[b].images)
            fprintf(results(), "%-12s mAP %.3f  %" PRId64 " images\n", dg_copydays_block[b], d->map[b],
                    d->block[b].features.count);
}

/* Of a run's folder, to its results.csv. */
static enum dg_status write_results(const struct detection *d, struct dg_error *err)
{
    struct dg_result result[DG_COPYDAYS_BLOCKS];
    struct dg_results results = {.by = "copy-detect", .val = &DG_FOLDER(given.data), .result = result};
    const struct dg_data whitening = data_of(&given.whitening, NULL, &given.evaluation.images);
    if (d->whitening.images) results.train = &whitening;
    for (int b = 0; b < DG_COPYDAYS_BLOCKS; b++) {
        if (!d->block[b].images) continue;
        struct dg_result *one = &result[results.count++];
        *one = (struct dg_result){.value = 100 * d->map[b], .most_frequent = NAN};
        snprintf(one->measure, sizeof one->measure, "copydays.%s.map", dg_copydays_block[b]);
        results.images += d->block[b].features.count;
    }
    return add_results(&given.evaluation.of, &given.evaluation.options, &results, err);
}

/* mAP in percent. */
static json_t *result_of(const struct detection *d)
{
    json_t *blocks = json_object();
    for (int b = 0; b < DG_COPYDAYS_BLOCKS; b++)
        if (d->block[b].images)
            json_object_set_new(
                blocks, dg_copydays_block[b],
                json_pack("{s:f, s:I}", "map", 100 * d->map[b], "images", (json_int_t)d->block[b].features.count));
    return json_pack("{s:o, s:I, s:I, s:I, s:o}", "machine", json_machine(), "originals",
                     (json_int_t)dg_dataset_count(d->block[0].images), "distractors",
                     (json_int_t)d->distractors.features.count, "whitening_images",
                     (json_int_t)d->whitening.features.count, "blocks", blocks);
}

/* ---- the command ---- */

static enum dg_status detect(struct detection *d, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    struct dg_patches patches;
    DG_TRY(open_patches(e, NULL, &patches, err));
    DG_TRY(open_sets(d, err));
    if (given.out) DG_TRY(dg_atomic_open(given.out, &d->list, err));
    DG_TRY(open_sizes(e, NULL, err));
    DG_TRY(prepare_sizes(e, given.fit, err));
    DG_TRY(compute_all(d, err));
    DG_TRY(join_database(d, err));
    DG_TRY(whiten(d, err));
    if (given.out) fputs("block,query,rank,from,image,similarity\n", d->list.stream);
    for (int b = 0; b < DG_COPYDAYS_BLOCKS; b++) DG_TRY(score_block(d, b, err));
    if (given.out) DG_TRY(dg_atomic_commit(&d->list, err));
    print_sizes(e);
    print_scores(d);
    DG_TRY(json_write(&given.json, result_of(d), err));
    return write_results(d, err);
}

static void close_set(struct set *set)
{
    dg_image_features_free(&set->features);
    dg_dataset_close(set->images);
}

static int copy_detect(void)
{
    struct dg_error err = {0};
    struct detection d = {0};
    if (json_open(&given.json, &err) == DG_OK) detect(&d, &err);
    dg_atomic_abandon(&d.list);
    for (int b = 0; b < DG_COPYDAYS_BLOCKS; b++) close_set(&d.block[b]);
    close_set(&d.distractors);
    close_set(&d.whitening);
    dg_image_features_free(&d.database);
    close_evaluation(&given.evaluation);
    json_close(&given.json);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {FLAG_WEIGHTS, .text = &given.evaluation.options.weights},
    ROWS_CHOOSE_WEIGHTS(given.evaluation.options),
    {"data", "DIR",
     "Copydays' folder: original, strong, jpegqual/3 to 75, crops/10 to 80. Blocks that are not there are left out",
     .text = &given.data, .required = true},
    {"distractors", "DIR", "images to search in besides the originals", .texts = &given.distractors},
    {"whitening", "DIR", "images whose features say how all features are whitened", .texts = &given.whitening,
     .unset = "features stay as they are"},
    {"out", "FILE.csv", "write a line for each image and what was found: block, query, rank, from, image, similarity",
     .text = &given.out},
    {FLAG_RESIZE(", bicubic but for long sides"), .parsed = &given.fit, .unset = "'square 320'"},
    {FLAG_MEMORY, .parsed = &given.evaluation.options.memory},
    {FLAG_MAX_BAD_IMAGES("unreadable images of --distractors and of --whitening to leave out before giving up"),
     .parsed = &given.evaluation.options.max_bad, .unset = "0"},
    ROWS_IMAGE_RULES(given.evaluation.images),
    {FLAG_THREADS, .count = &given.evaluation.options.threads},
    {FLAG_JSON, .given = &given.json.asked},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_copy_detect = {.program = "dinorun",
                                               .name = "copy-detect",
                                               .summary =
                                                   "finds the originals of changed images, and scores it on Copydays",
                                               .file = {.name = NETWORK, .value = &given.evaluation.of.path},
                                               .flags = flags,
                                               .run = copy_detect};

/* dinorun retrieve: ranks the images of a database by their similarity to each query, and scores the ranking where a
 * ground truth says what belongs to a query. */
#include "tools/dinorun/command.h"
#include "tools/dinorun/json.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/csv.h"
#include "runtime/draw/neighbors_sheet.h"
#include "runtime/eval/retrieval.h"
#include "runtime/report/neighbors_page.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MEASURES = 1 + DG_RETRIEVAL_CUTS };

static struct {
    struct evaluation evaluation;
    struct dg_flag_values queries, database;
    const char *truth, *out, *sheet;
    int64_t k;
    int sheet_queries;
    struct dg_fit fit;
    struct json_output json;
} given = {.evaluation.options = {.role = DG_ENTRY_FEATURES, .choice = {.from = "teacher"}},
           .k = 10,
           .sheet_queries = 20,
           .fit = {DG_FIT_LONG_SIDE, 224, 224}};

/* A set of images, with a feature a row. */
struct side {
    struct dg_dataset *images;
    const int64_t *index; /* [count], image of each row; NULL: its number */
    int64_t count;
    struct dg_image_features features;
};

struct search {
    struct dg_ground_truth truth; /* with --ground-truth */
    struct dg_truth_places places;
    struct dg_dataset *opened[2];
    struct side queries, database;
    struct dg_ranking ranking; /* of --k images, or of all where there is a truth */
    struct dg_retrieval_score score[DG_RETRIEVAL_LEVELS];
    struct dg_atomic_file list;
};

static int64_t image_of(const struct side *side, int64_t row) { return side->index ? side->index[row] : row; }

static const char *path_of(const struct side *side, int64_t row)
{
    return dg_dataset_relative(side->images, image_of(side, row));
}

/* Neighbours of a query that are shown. */
static int shown(const struct search *s) { return (int)dg_min_i64(given.k, s->ranking.k); }

/* ---- the search ---- */

static enum dg_status open_sides(struct search *s, struct dg_error *err)
{
    const struct dg_data database = data_of(&given.database, NULL, &given.evaluation.images);
    DG_TRY(dg_dataset_open(&database, DG_LABELS_UNUSED, &console, &s->opened[0], err));
    s->database.images = s->queries.images = s->opened[0];
    if (given.queries.count) {
        const struct dg_data queries = data_of(&given.queries, NULL, &given.evaluation.images);
        DG_TRY(dg_dataset_open(&queries, DG_LABELS_UNUSED, &console, &s->opened[1], err));
        s->queries.images = s->opened[1];
    }
    if (!given.truth) return DG_OK;
    DG_TRY(dg_ground_truth_read(given.truth, &s->truth, err));
    DG_TRY(dg_truth_find(&s->truth, s->database.images, s->queries.images, &s->places, err));
    s->database.index = s->places.image;
    s->database.count = s->truth.images;
    s->queries.index = s->places.query;
    s->queries.count = s->truth.queries;
    return DG_OK;
}

static enum dg_status compute_side(struct side *side, struct dg_error *err)
{
    const struct dg_sized_images images = {.dataset = side->images,
                                           .index = side->index,
                                           .count = side->count,
                                           .fit = given.fit,
                                           .filter = DG_FILTER_BICUBIC};
    side->features.progress = show_images;
    DG_TRY(dg_image_features_compute(&side->features, given.evaluation.sizes, &images, err));
    clear_images();
    side->count = side->features.count;
    return DG_OK;
}

/* ---- what is written ---- */

static enum dg_status write_list(struct search *s, struct dg_error *err)
{
    FILE *out = s->list.stream;
    if (!given.out) return DG_OK;
    fputs("query,rank,image,similarity\n", out);
    for (int64_t q = 0; q < s->queries.count; q++)
        for (int n = 0; n < shown(s); n++) {
            const struct dg_neighbor *found = &s->ranking.nearest[q * s->ranking.k + n];
            dg_csv_text(out, path_of(&s->queries, q));
            fprintf(out, ",%d,", n + 1);
            dg_csv_text(out, path_of(&s->database, found->index));
            fprintf(out, ",%.6f\n", (double)found->similarity);
        }
    return dg_atomic_commit(&s->list, err);
}

static bool is_page(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (!strcasecmp(dot, ".html") || !strcasecmp(dot, ".htm"));
}

static enum dg_status draw_sheet(const struct search *s, struct dg_error *err)
{
    int rows = (int)dg_min_i64(given.sheet_queries, s->queries.count), cols = shown(s);
    if (!given.sheet) return DG_OK;
    int64_t *image = malloc((size_t)(rows * (cols + 1)) * sizeof *image), *found = image ? image + rows : NULL;
    float *similarity = malloc((size_t)(rows * cols) * sizeof *similarity);
    enum dg_status status = image && similarity ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int row = 0; status == DG_OK && row < rows; row++) {
        image[row] = image_of(&s->queries, row);
        for (int col = 0; col < cols; col++) {
            const struct dg_neighbor *neighbor = &s->ranking.nearest[(int64_t)row * s->ranking.k + col];
            found[row * cols + col] = image_of(&s->database, neighbor->index);
            similarity[row * cols + col] = neighbor->similarity;
        }
    }
    const struct dg_neighbors_sheet sheet = {.queries = s->queries.images,
                                             .database = s->database.images,
                                             .query = image,
                                             .found = found,
                                             .similarity = similarity,
                                             .rows = rows,
                                             .cols = cols};
    if (status == DG_OK)
        status = (is_page(given.sheet) ? dg_neighbors_page_write : dg_neighbors_sheet_write)(&sheet, given.sheet, err);
    free(image);
    free(similarity);
    if (status == DG_OK)
        printf("%s: %d of %" PRId64 " queries, and the %d most similar images of each\n", given.sheet, rows,
               s->queries.count, cols);
    return status;
}

static void print_lists(const struct search *s)
{
    for (int64_t q = 0; q < s->queries.count; q++) {
        fprintf(results(), "%s\n", path_of(&s->queries, q));
        for (int n = 0; n < shown(s); n++) {
            const struct dg_neighbor *found = &s->ranking.nearest[q * s->ranking.k + n];
            fprintf(results(), "  %.4f  %s\n", (double)found->similarity, path_of(&s->database, found->index));
        }
    }
}

static void print_scores(const struct search *s)
{
    fprintf(results(), "%-8s%8s%8s%8s%8s  queries\n", "", "mAP", "mP@1", "mP@5", "mP@10");
    for (int l = 0; l < DG_RETRIEVAL_LEVELS; l++) {
        const struct dg_retrieval_score *score = &s->score[l];
        fprintf(results(), "%-8s%8.2f", dg_retrieval_level_name[l], 100 * score->map);
        for (int c = 0; c < DG_RETRIEVAL_CUTS; c++) fprintf(results(), "%8.2f", 100 * score->precision[c]);
        fprintf(results(), "  %" PRId64 "\n", score->queries);
    }
}

/* Of a run's folder, to its results.csv. */
static enum dg_status write_results(const struct search *s, struct dg_error *err)
{
    struct dg_result result[DG_RETRIEVAL_LEVELS * MEASURES];
    const struct dg_data database = data_of(&given.database, NULL, &given.evaluation.images),
                         queries = data_of(&given.queries, NULL, &given.evaluation.images);
    int count = 0;
    for (int l = 0; l < DG_RETRIEVAL_LEVELS; l++)
        for (int m = 0; m < MEASURES; m++) {
            struct dg_result *one = &result[count++];
            const char *level = dg_retrieval_level_name[l];
            double value = m ? s->score[l].precision[m - 1] : s->score[l].map;
            *one = (struct dg_result){.value = 100 * value, .most_frequent = NAN};
            if (m)
                snprintf(one->measure, sizeof one->measure, "retrieval.%s.mp%d", level, dg_retrieval_cut[m - 1]);
            else
                snprintf(one->measure, sizeof one->measure, "retrieval.%s.map", level);
        }
    struct dg_results results = {.by = "retrieve",
                                 .train = &database,
                                 .val = given.queries.count ? &queries : &database,
                                 .images = s->queries.count,
                                 .result = result,
                                 .count = count};
    return add_results(&given.evaluation.of, &given.evaluation.options, &results, err);
}

/* Scores in percent; null without a ground truth. */
static json_t *scores_of(const struct search *s)
{
    json_t *all = given.truth ? json_object() : json_null();
    for (int l = 0; given.truth && l < DG_RETRIEVAL_LEVELS; l++) {
        const struct dg_retrieval_score *score = &s->score[l];
        json_object_set_new(all, dg_retrieval_level_name[l],
                            json_pack("{s:f, s:f, s:f, s:f, s:I}", "map", 100 * score->map, "mp1",
                                      100 * score->precision[0], "mp5", 100 * score->precision[1], "mp10",
                                      100 * score->precision[2], "queries", (json_int_t)score->queries));
    }
    return all;
}

static json_t *result_of(const struct search *s)
{
    json_t *lists = json_array();
    for (int64_t q = 0; q < s->queries.count; q++) {
        json_t *nearest = json_array();
        for (int n = 0; n < shown(s); n++) {
            const struct dg_neighbor *found = &s->ranking.nearest[q * s->ranking.k + n];
            json_array_append_new(nearest,
                                  json_pack("{s:o, s:f}", "image", dg_json_text(path_of(&s->database, found->index)),
                                            "similarity", (double)found->similarity));
        }
        json_array_append_new(
            lists, json_pack("{s:o, s:o}", "query", dg_json_text(path_of(&s->queries, q)), "nearest", nearest));
    }
    return json_pack("{s:o, s:I, s:I, s:o, s:o}", "machine", json_machine(), "queries", (json_int_t)s->queries.count,
                     "images", (json_int_t)s->database.count, "scores", scores_of(s), "results", lists);
}

/* ---- the command ---- */

static enum dg_status search(struct search *s, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    if (given.sheet && !is_page(given.sheet)) DG_TRY(check_png_name(given.sheet, err));
    DG_TRY(open_weights_plan(e, err));
    DG_TRY(open_sides(s, err));
    if (given.out) DG_TRY(dg_atomic_open(given.out, &s->list, err));
    DG_TRY(open_sizes(e, NULL, err));
    DG_TRY(prepare_sizes(e, given.fit, err));
    DG_TRY(compute_side(&s->database, err));
    DG_TRY(compute_side(&s->queries, err));
    DG_TRY(dg_ranking_compute(&s->queries.features, &s->database.features, given.truth ? 0 : given.k,
                              dg_sizes_use(e->sizes).threads, &s->ranking, err));
    DG_TRY(write_list(s, err));
    DG_TRY(draw_sheet(s, err));
    if (!given.truth && !given.out && !given.json.asked) print_lists(s);
    print_sizes(e);
    fprintf(results(), "%" PRId64 " queries, %" PRId64 " images\n", s->queries.count, s->database.count);
    if (given.truth) {
        DG_TRY(dg_truth_score(&s->truth, &s->ranking, s->score, err));
        print_scores(s);
    }
    DG_TRY(json_write(&given.json, result_of(s), err));
    return given.truth ? write_results(s, err) : DG_OK;
}

static int retrieve(void)
{
    struct dg_error err = {0};
    struct search s = {0};
    if (json_open(&given.json, &err) == DG_OK) search(&s, &err);
    dg_atomic_abandon(&s.list);
    dg_ranking_free(&s.ranking);
    dg_image_features_free(&s.queries.features);
    dg_image_features_free(&s.database.features);
    dg_truth_places_free(&s.places);
    dg_ground_truth_free(&s.truth);
    for (int i = 0; i < 2; i++) dg_dataset_close(s.opened[i]);
    close_evaluation(&given.evaluation);
    json_close(&given.json);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {FLAG_WEIGHTS, .text = &given.evaluation.options.weights},
    ROWS_CHOOSE_WEIGHTS(given.evaluation.options),
    {"database", "DIR", "images to search in: a folder with all below it, a tar or zip, or @LIST",
     .texts = &given.database, .required = true},
    {"queries", "DIR|FILE", "images to search for, likewise, or one image", .texts = &given.queries, .required = true,
     .unless = "ground-truth", .unset = "with --ground-truth: those of --database that it names"},
    {"ground-truth", "FILE.pkl",
     "which images belong to a query: gnd_roxford5k.pkl or gnd_rparis6k.pkl. The images that it names are searched "
     "for and in, and the ranking is scored: mAP, and the precision among the first 1, 5 and 10",
     .text = &given.truth},
    {"k", "N", "images of each query to list and to show", .letter = 'k', .integer = &given.k, .min = 1,
     .max = 1000000},
    {"out", "FILE.csv", "write a line for each query and image found: query, rank, image, similarity",
     .text = &given.out, .unset = "they are printed, but with --ground-truth"},
    {"sheet", "FILE.png|FILE.html",
     "draw a contact sheet: each query, and what was found with its similarity; as a page with the names, too",
     .text = &given.sheet},
    {"sheet-queries", "N", "queries on the sheet, the first ones", .count = &given.sheet_queries, .min = 1, .max = 1000,
     .with = "sheet"},
    {FLAG_RESIZE(", bicubic but for long sides"), .parsed = &given.fit, .unset = "'long-side 224'"},
    {"multiscale", NULL, "take the mean of features at three scales, 1, 1/sqrt(2) and 1/2",
     .given = &given.evaluation.multiscale},
    {FLAG_MEMORY, .parsed = &given.evaluation.options.memory},
    {FLAG_MAX_BAD_IMAGES("unreadable images to leave out before giving up; none with --ground-truth"),
     .parsed = &given.evaluation.options.max_bad, .unset = "0", .without = "ground-truth"},
    ROWS_IMAGE_RULES(given.evaluation.images),
    {FLAG_THREADS, .count = &given.evaluation.options.threads},
    {FLAG_JSON, .given = &given.json.asked},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_retrieve = {
    .program = "dinorun",
    .name = "retrieve",
    .summary = "finds the images of a database that are most similar to each query, and scores it",
    .file = {.name = NETWORK, .value = &given.evaluation.of.path},
    .flags = flags,
    .run = retrieve};

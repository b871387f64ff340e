/* dinorun pca: colours the patches of images by the first three principal components of their features. */
#include "tools/dinorun/command.h"

#include "runtime/draw/draw.h"
#include "runtime/draw/sheet.h"
#include "runtime/eval/pca.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPONENTS = 3 };

static struct {
    struct evaluation evaluation;
    struct dg_flag_values image;
    const char *out;
    struct dg_flag_size size;
} given = {.evaluation.options = {.role = DG_ENTRY_TOKENS, .choice = {.from = "teacher"}}};

/* The patch features of all images, and what is drawn of them. */
struct features {
    struct dg_patches patches;
    int64_t images, dim, filled;     /* filled: images */
    float *rows;                     /* [images, patches, dim] */
    uint8_t *image, *drawn, *colour; /* what the network is shown; its patches coloured; their colours */
    struct dg_sheet sheet;
};

/* Stores the tokens of the patches. */
static enum dg_status on_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                              struct dg_error *err)
{
    struct features *f = context;
    int64_t size = dg_patches_count(&f->patches) * f->dim, before = f->patches.first * f->dim;
    for (int64_t r = 0; r < rows; r++)
        memcpy(f->rows + f->filled++ * size, output + r * (before + size) + before, sizeof(float) * (size_t)size);
    if (all > 1) show_images(done, all);
    (void)err;
    return DG_OK;
}

static enum dg_status make_room(struct features *f, struct dg_error *err)
{
    int64_t numbers, bytes, patches = dg_patches_count(&f->patches);
    if (dg_mul_i64(patches * f->dim, f->images, &numbers) && dg_mul_i64(numbers, sizeof(float), &bytes))
        f->rows = malloc((size_t)bytes);
    if (!f->rows) return dg_fail(err, DG_ERR_MEMORY, "no memory for the features of %" PRId64 " images", f->images);
    f->image = malloc(3 * (size_t)f->patches.width * (size_t)f->patches.height);
    f->drawn = malloc(3 * (size_t)f->patches.width * (size_t)f->patches.height);
    f->colour = malloc(3 * (size_t)patches);
    if (!f->image || !f->drawn || !f->colour) return dg_fail(err, DG_ERR_MEMORY, "no memory for an image");
    return DG_OK;
}

static void free_features(struct features *f)
{
    free(f->rows);
    free(f->image);
    free(f->drawn);
    free(f->colour);
    dg_sheet_free(&f->sheet);
}

/* Two and a half standard deviations to either side fill a channel, so that a few odd patches do not darken all others. A
 * component without variance is gray. */
static uint8_t channel(double coordinate, double variance)
{
    double at = variance > 0 ? 0.5 + coordinate / (5 * sqrt(variance)) : 0.5;
    return (uint8_t)(fmin(fmax(at, 0), 1) * 255 + 0.5);
}

static enum dg_status draw(struct features *f, const char *const *path, const struct dg_pca *pca, const char *out,
                           struct dg_error *err)
{
    const struct dg_patches *p = &f->patches;
    int64_t count = dg_patches_count(p);
    int across = (int)ceil(sqrt((double)f->images / 2)); /* pairs a row: the sheet is about as wide as it is high */
    int down = (int)((f->images + across - 1) / across);
    DG_TRY(dg_sheet_open(&f->sheet, down, 2 * across, dg_patches_width(p), dg_patches_height(p), err));
    for (int64_t i = 0; i < f->images; i++) {
        int row = (int)(i / across), col = 2 * (int)(i % across);
        DG_TRY(dg_read_whole(path[i], image_rules(&given.evaluation.images), p->width, p->height, f->image, err));
        dg_draw_seen(f->image, p, f->drawn);
        DG_TRY(dg_sheet_put(&f->sheet, row, col, f->drawn, err));
        for (int64_t n = 0; n < count; n++) {
            double at[COMPONENTS] = {0};
            dg_pca_project(pca, f->rows + (i * count + n) * f->dim, at);
            for (int c = 0; c < COMPONENTS; c++)
                f->colour[3 * n + c] = channel(at[c], c < pca->components ? pca->variance[c] : 0);
        }
        dg_draw_colours(f->colour, p, f->drawn);
        DG_TRY(dg_sheet_put(&f->sheet, row, col + 1, f->drawn, err));
    }
    return dg_sheet_write(&f->sheet, out, err);
}

static void print_shares(const struct features *f, const struct dg_pca *pca)
{
    printf("%s: %" PRId64 " x %dx%d patches; red, green and blue have", given.out, f->images, f->patches.rows,
           f->patches.cols);
    for (int c = 0; c < pca->components; c++)
        printf("%s %.1f %%", c ? "," : "", pca->total > 0 ? 100 * pca->variance[c] / pca->total : 0);
    printf(" of the variance\n");
}

static enum dg_status colour_patches(struct features *f, struct dg_pca *fit, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    DG_TRY(open_patches(e, given.size, &f->patches, err));
    DG_TRY(open_evaluator(e, err));
    int64_t patches = dg_patches_count(&f->patches);
    f->images = given.image.count;
    f->dim = dg_evaluator_dim(e->evaluator) / dg_patches_tokens(&f->patches);
    DG_TRY(make_room(f, err));
    DG_TRY(dg_evaluate_whole(e->evaluator, given.image.value, f->images, on_rows, f, err));
    clear_images();
    DG_TRY(dg_pca_fit(f->rows, f->images * patches, f->dim, (int)dg_min_i64(COMPONENTS, f->dim), evaluation_threads(e),
                      fit, err));
    DG_TRY(draw(f, given.image.value, fit, given.out, err));
    print_shares(f, fit);
    return DG_OK;
}

static int pca(void)
{
    struct dg_error err = {0};
    struct features features = {0};
    struct dg_pca fit = {0};
    colour_patches(&features, &fit, &err);
    dg_pca_free(&fit);
    free_features(&features);
    close_evaluation(&given.evaluation);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {{FLAG_WEIGHTS, .text = &given.evaluation.options.weights},
                                       ROWS_CHOOSE_WEIGHTS(given.evaluation.options),
                                       {"image", "FILE",
                                        "an image, resized to the plan's image size; all images have the components "
                                        "in common: what is alike to the network has one colour",
                                        .texts = &given.image, .required = true},
                                       {"out", "FILE.png", "the sheet to draw: each image, and beside it its patches",
                                        .text = &given.out, .required = true},
                                       {FLAG_IMAGE_SIZE, .size = &given.size},
                                       {FLAG_EXIF, .given = &given.evaluation.images.exif},
                                       {FLAG_PILLOW, .text = &given.evaluation.images.pillow},
                                       {FLAG_THREADS, .count = &given.evaluation.options.threads},
                                       {0}};

const struct dg_command command_pca = {
    .program = "dinorun",
    .name = "pca",
    .summary = "colours images by the first three principal components of their patches' features",
    .file = {.name = PLAN_OR_RUN, .value = &given.evaluation.of.path},
    .flags = flags,
    .run = pca};

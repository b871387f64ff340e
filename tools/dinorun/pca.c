/* dinorun pca: colours the patches of images by the first three principal components of their features. */
#include "tools/dinorun/command.h"

#include "runtime/eval/pca_drawing.h"

#include <inttypes.h>
#include <stdio.h>

static struct {
    struct evaluation evaluation;
    struct dg_flag_values image;
    const char *out;
    struct dg_fit fit;
} given = {.evaluation.options = {.role = DG_ENTRY_TOKENS, .choice = {.from = "teacher"}}};

static void print_shares(const struct dg_pca_drawing *f)
{
    const struct dg_pca *pca = &f->fit;
    printf("%s: %" PRId64 " x %dx%d patches; red, green and blue have", given.out, f->images, f->patches.rows,
           f->patches.cols);
    for (int c = 0; c < pca->components; c++)
        printf("%s %.1f %%", c ? "," : "", pca->total > 0 ? 100 * pca->variance[c] / pca->total : 0);
    printf(" of the variance\n");
}

static enum dg_status colour_patches(struct dg_pca_drawing *f, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    DG_TRY(check_png_name(given.out, err));
    const struct whole_images images = {given.fit, given.image.value, given.image.count};
    DG_TRY(open_patches(e, &images, &f->patches, err));
    f->resized = e->options.resized;
    DG_TRY(open_evaluator(e, err));
    DG_TRY(dg_pca_compute(f, e->evaluator, given.image.value, given.image.count, err));
    clear_images();
    DG_TRY(dg_pca_draw(f, given.image.value, image_rules(&e->images), given.out, err));
    print_shares(f);
    return DG_OK;
}

static int pca(void)
{
    struct dg_error err = {0};
    struct dg_pca_drawing drawing = {.progress = show_images};
    colour_patches(&drawing, &err);
    dg_pca_drawing_free(&drawing);
    close_evaluation(&given.evaluation);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {FLAG_WEIGHTS, .text = &given.evaluation.options.weights},
    ROWS_CHOOSE_WEIGHTS(given.evaluation.options),
    {"image", "FILE",
     "an image, resized to the plan's image size (bilinear); all images have the components "
     "in common: what is alike to the network has one colour",
     .texts = &given.image, .required = true},
    {"out", "FILE.png", "the sheet to draw: each image, and beside it its patches", .text = &given.out,
     .required = true},
    {FLAG_IMAGE_SIZE, .parsed = &given.fit, .without = "resize"},
    {FLAG_RESIZE(", bilinear; all must come to one size"), .parsed = &given.fit, .unset = "the plan's size"},
    ROWS_IMAGE_RULES(given.evaluation.images),
    {FLAG_THREADS, .count = &given.evaluation.options.threads},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_pca = {
    .program = "dinorun",
    .name = "pca",
    .summary = "colours images by the first three principal components of their patches' features",
    .file = {.name = NETWORK, .value = &given.evaluation.of.path},
    .flags = flags,
    .run = pca};

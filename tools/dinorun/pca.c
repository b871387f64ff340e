#include "tools/dinorun/command.h"

#include "runtime/draw/draw.h"
#include "runtime/draw/sheet.h"
#include "runtime/eval/evaluator.h"
#include "runtime/eval/pca.h"
#include "runtime/state/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMPONENTS = 3 };

/* The patch features of all images, and what is drawn of them. */
struct features {
    struct dg_patches patches;
    int64_t images, dim, filled; /* filled: images */
    float *rows;                 /* [images, patches, dim] */
    uint8_t *picture, *drawn, *colour;
    struct dg_sheet sheet;
    bool terminal;
};

/* Keeps the tokens but the class token. */
static enum dg_status on_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                              struct dg_error *err)
{
    struct features *f = context;
    int64_t size = dg_patches_count(&f->patches) * f->dim;
    for (int64_t r = 0; r < rows; r++)
        memcpy(f->rows + f->filled++ * size, output + r * (size + f->dim) + f->dim, sizeof(float) * (size_t)size);
    if (f->terminal && all > 1) show_images(done, all);
    (void)err;
    return DG_OK;
}

static enum dg_status make_room(struct features *f, struct dg_error *err)
{
    int64_t numbers, bytes, patches = dg_patches_count(&f->patches);
    if (dg_mul_i64(patches * f->dim, f->images, &numbers) && dg_mul_i64(numbers, sizeof(float), &bytes))
        f->rows = malloc((size_t)bytes);
    if (!f->rows) return dg_fail(err, DG_ERR_MEMORY, "no memory for the features of %" PRId64 " images", f->images);
    f->picture = malloc(3 * (size_t)f->patches.width * (size_t)f->patches.height);
    f->drawn = malloc(3 * (size_t)f->patches.width * (size_t)f->patches.height);
    f->colour = malloc(3 * (size_t)patches);
    if (!f->picture || !f->drawn || !f->colour) return dg_fail(err, DG_ERR_MEMORY, "no memory for a picture");
    return DG_OK;
}

static void free_features(struct features *f)
{
    free(f->rows);
    free(f->picture);
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
        DG_TRY(dg_read_whole(path[i], p->width, p->height, f->picture, err));
        dg_draw_seen(f->picture, p, f->drawn);
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

static int pca(int argc, char **argv)
{
    enum { WEIGHTS = 256, FROM, PARTIAL, IMAGE, OUT, SIZE, THREADS };
    static const struct option flags[] = {{"weights", required_argument, NULL, WEIGHTS},
                                          {"weights-from", required_argument, NULL, FROM},
                                          {"partial", no_argument, NULL, PARTIAL},
                                          {"image", required_argument, NULL, IMAGE},
                                          {"out", required_argument, NULL, OUT},
                                          {"image-size", required_argument, NULL, SIZE},
                                          {"threads", required_argument, NULL, THREADS},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct command *me = &command_pca;
    struct dg_evaluator_options o = {.entry = "tokens", .from = "teacher", .log = &console};
    struct features features = {.terminal = isatty(STDOUT_FILENO)};
    const char *out = NULL, **image = calloc((size_t)argc, sizeof *image);
    int64_t threads = 0, height = 0, width = 0;
    int result = 2;
    if (!image) return 1;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        bool good = true;
        switch (flag) {
        case WEIGHTS: o.weights = optarg; break;
        case FROM: o.from = optarg; break;
        case PARTIAL: o.partial = true; break;
        case IMAGE: image[features.images++] = optarg; break;
        case OUT: out = optarg; break;
        case SIZE: good = flag_size(me, "--image-size", optarg, &height, &width); break;
        case THREADS: good = flag_whole(me, "--threads", optarg, 1, 1024, &threads); break;
        default: result = flag == 'h' ? 0 : 2; good = false;
        }
        if (good) continue;
        free(image);
        return result;
    }
    const char *path = plan_argument(me, argc, argv);
    bool asked = path != NULL;
    if (asked && (!o.weights || !features.images || !out)) {
        usage_error(me, "--weights FILE, --image FILE and --out FILE.png are needed");
        asked = false;
    } else if (asked) {
        asked = flag_from(me, o.from);
    }
    if (!asked) {
        free(image);
        return 2;
    }
    o.threads = (int)threads;

    struct dg_error err = {0};
    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    struct dg_evaluator *evaluator = NULL;
    struct dg_pca fit = {0};
    struct dg_patches *patches = &features.patches;
    enum dg_status status = open_plan(path, NULL, 0, 0, &plan, &knobs, &err);
    if (status == DG_OK) status = dg_patches_open(&plan, o.entry, patches, &err);
    if (status == DG_OK && height) status = dg_patches_want_size(&plan, patches, height, width, &err);
    if (status == DG_OK) status = dg_evaluator_open(&plan, &knobs, &o, &evaluator, &err);
    if (status == DG_OK) {
        features.dim = dg_evaluator_dim(evaluator) / (dg_patches_count(patches) + 1);
        status = make_room(&features, &err);
    }
    if (status == DG_OK) status = dg_evaluate_whole(evaluator, image, features.images, on_rows, &features, &err);
    if (features.terminal && features.filled > 1) clear_images();
    if (status == DG_OK)
        status = dg_pca_fit(features.rows, features.images * dg_patches_count(patches), features.dim,
                            (int)dg_min_i64(COMPONENTS, features.dim),
                            dg_session_threads(dg_evaluator_session(evaluator)), &fit, &err);
    if (status == DG_OK) status = draw(&features, image, &fit, out, &err);
    if (status == DG_OK) {
        printf("%s: %" PRId64 " x %dx%d patches; red, green and blue have", out, features.images, patches->rows,
               patches->cols);
        for (int c = 0; c < fit.components; c++)
            printf("%s %.1f %%", c ? "," : "", fit.total > 0 ? 100 * fit.variance[c] / fit.total : 0);
        printf(" of the variance\n");
    }
    dg_pca_free(&fit);
    free_features(&features);
    dg_evaluator_close(evaluator);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    free(image);
    return status == DG_OK ? 0 : fail(&err);
}

const struct command command_pca = {
    .name = "pca",
    .arguments = "PLAN --weights FILE --image FILE... --out FILE.png [flags]",
    .summary = "colours images by the first three principal components of their patches' features",
    .flags =
        "  --weights FILE        checkpoint of a run, or a backbone's safetensors file\n"
        "  --weights-from NET    teacher or student (teacher)\n"
        "  --partial             go on with weights that fit the plan only in part\n"
        "  --image FILE          JPEG or PNG, resized to the plan's image size; give it again for more images, whose\n"
        "                        components are then the same: what looks alike to the network has one colour\n"
        "  --out FILE.png        each image, and beside it its patches\n"
        "  --image-size N|HxW    asks that the plan be of this size\n"
        "  --threads N           (all)\n",
    .run = pca};

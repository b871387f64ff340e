#include "runtime/eval/pca_drawing.h"

#include "runtime/draw/draw.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COMPONENTS = 3 };

/* Stores the tokens of the patches. */
static enum dg_status on_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                              struct dg_error *err)
{
    struct dg_pca_drawing *f = context;
    int64_t size = dg_patches_count(&f->patches) * f->dim, before = f->patches.first * f->dim;
    for (int64_t r = 0; r < rows; r++)
        memcpy(f->rows + f->filled++ * size, output + r * (before + size) + before, sizeof(float) * (size_t)size);
    if (all > 1 && f->progress) f->progress(done, all);
    (void)err;
    return DG_OK;
}

static enum dg_status make_room(struct dg_pca_drawing *f, struct dg_error *err)
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

void dg_pca_drawing_free(struct dg_pca_drawing *f)
{
    free(f->rows);
    free(f->image);
    free(f->drawn);
    free(f->colour);
    dg_sheet_free(&f->sheet);
    dg_pca_free(&f->fit);
}

/* Two and a half standard deviations to either side fill a channel, so that a few odd patches do not darken all
 * others. A component without variance is gray. */
static uint8_t channel(double coordinate, double variance)
{
    double at = variance > 0 ? 0.5 + coordinate / (5 * sqrt(variance)) : 0.5;
    return (uint8_t)(fmin(fmax(at, 0), 1) * 255 + 0.5);
}

enum dg_status dg_pca_compute(struct dg_pca_drawing *f, struct dg_evaluator *evaluator, const char *const *path,
                              int64_t images, struct dg_error *err)
{
    int64_t patches = dg_patches_count(&f->patches);
    f->images = images;
    f->dim = dg_evaluator_dim(evaluator) / dg_patches_tokens(&f->patches);
    DG_TRY(make_room(f, err));
    DG_TRY(dg_evaluate_whole(evaluator, path, images, on_rows, f, err));
    return dg_pca_fit(f->rows, images * patches, f->dim, (int)dg_min_i64(COMPONENTS, f->dim),
                      dg_session_threads(dg_evaluator_session(evaluator)), &f->fit, err);
}

enum dg_status dg_pca_draw(struct dg_pca_drawing *f, const char *const *path, struct dg_image_rules rules,
                           const char *sheet, struct dg_error *err)
{
    const struct dg_pca *pca = &f->fit;
    const struct dg_patches *p = &f->patches;
    int64_t count = dg_patches_count(p);
    int across = (int)ceil(sqrt((double)f->images / 2)); /* pairs a row: the sheet is about as wide as it is high */
    int down = (int)((f->images + across - 1) / across);
    DG_TRY(dg_sheet_open(&f->sheet, down, 2 * across, dg_patches_width(p), dg_patches_height(p), err));
    for (int64_t i = 0; i < f->images; i++) {
        int row = (int)(i / across), col = 2 * (int)(i % across);
        DG_TRY(dg_read_whole(path[i], rules, f->resized, p->width, p->height, f->image, err));
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
    return dg_sheet_write(&f->sheet, sheet, err);
}

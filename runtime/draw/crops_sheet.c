#include "runtime/draw/crops_sheet.h"

#include "runtime/data/train_source.h"
#include "runtime/draw/sheet.h"
#include "runtime/image/decode.h"
#include "runtime/image/write.h"

#include <math.h>
#include <stdlib.h>

enum { MARGIN = 12, GAP = 4 };

struct sheet {
    struct dg_view_spec views[DG_MAX_VIEWS];
    int view_count;
    int row_height;         /* of the tallest view */
    int thumbnail_width;    /* at most */
    int left[DG_MAX_VIEWS]; /* of each view; from the sheet's edge */
    int top[DG_MAX_VIEWS];  /* from the row's top */
    struct dg_image canvas;
    struct dg_image_decoder decoder;
    struct dg_image image;
    struct dg_scratch pixels, floats, work;
    const struct dg_log *log;
};

/* Places the views of a row from left to right; equal views share a column as long as they fit in the row's height. */
static int place_views(struct sheet *sheet)
{
    int x = MARGIN + sheet->thumbnail_width + MARGIN, y = 0;
    for (int v = 0; v < sheet->view_count; v++) {
        const struct dg_view_spec *spec = &sheet->views[v];
        sheet->left[v] = x;
        sheet->top[v] = y;
        const struct dg_view_spec *next = v + 1 < sheet->view_count ? spec + 1 : NULL;
        y += spec->height + GAP;
        if (next && next->width == spec->width && next->height == spec->height && y + next->height <= sheet->row_height)
            continue;
        bool new_kind = next && (next->width != spec->width || next->height != spec->height);
        x += spec->width + (new_kind ? MARGIN : GAP);
        y = 0;
    }
    const struct dg_view_spec *last = &sheet->views[sheet->view_count - 1];
    return sheet->left[sheet->view_count - 1] + last->width + MARGIN;
}

static enum dg_status draw_thumbnail(struct sheet *sheet, int top, struct dg_error *err)
{
    const struct dg_image *image = &sheet->image;
    double fit = fmin((double)sheet->thumbnail_width / image->width, (double)sheet->row_height / image->height);
    if (fit > 1) fit = 1;
    int width = (int)(image->width * fit), height = (int)(image->height * fit);
    width = width < 1 ? 1 : width;
    height = height < 1 ? 1 : height;
    struct dg_box whole = {0, 0, image->width, image->height};
    DG_TRY(dg_scratch_reserve(&sheet->pixels, 3 * (size_t)width * (size_t)height, err));
    DG_TRY(dg_image_resize(image, whole, (struct dg_resampling){DG_FILTER_BICUBIC}, width, height, sheet->pixels.bytes,
                           &sheet->work, err));
    dg_paper_put(&sheet->canvas, sheet->pixels.bytes, width, height, 1, MARGIN, top);
    return DG_OK;
}

static enum dg_status draw_view(struct sheet *sheet, int view, uint64_t seed, int64_t image, int top,
                                struct dg_error *err)
{
    const struct dg_view_spec *spec = &sheet->views[view];
    int64_t count = (int64_t)spec->width * spec->height;
    DG_TRY(dg_scratch_reserve(&sheet->pixels, 3 * (size_t)count, err));
    DG_TRY(dg_scratch_reserve(&sheet->floats, 3 * (size_t)count * sizeof(float), err));
    uint8_t *pixels = sheet->pixels.bytes;
    float *floats = sheet->floats.bytes;
    struct dg_view_draw draw = dg_view_sample(spec, sheet->image.width, sheet->image.height, seed, 0, image, view);
    DG_TRY(dg_view_apply(spec, &draw, &sheet->image, pixels, &sheet->work, err));
    struct dg_normalizer normalizer = dg_normalizer_make(spec->mean, spec->std);
    dg_normalize(&normalizer, pixels, count, floats);
    for (int64_t i = 0; i < 3 * count; i++) {
        double value = (floats[i] * spec->std[i % 3] + spec->mean[i % 3]) * 255;
        pixels[i] = (uint8_t)(fmin(fmax(value, 0), 255) + 0.5);
    }
    dg_paper_put(&sheet->canvas, pixels, spec->width, spec->height, 1, sheet->left[view], top + sheet->top[view]);
    return DG_OK;
}

static enum dg_status draw_rows(struct sheet *sheet, const struct dg_dataset *dataset, const int32_t *order, int rows,
                                uint64_t seed, struct dg_error *err)
{
    int64_t count = dg_dataset_count(dataset), place = 0;
    for (int row = 0; row < rows; row++) {
        enum dg_status status = DG_ERR_INPUT;
        int64_t image = 0;
        struct dg_error reason = {0};
        while (status != DG_OK && place < count) {
            image = order[place++];
            reason = (struct dg_error){0};
            const char *path = dg_dataset_path(dataset, image);
            status = dg_dataset_decode(dataset, image, &sheet->decoder, &sheet->image, &reason);
            if (status == DG_OK) break;
            dg_error_escape_path(&reason, path);
            dg_log(sheet->log, DG_LOG_WARNING, DG_LOG_LOAD, "left out: %s", reason.text);
        }
        if (status != DG_OK && row > 0) return DG_OK; /* all readable images are drawn */
        if (status != DG_OK) return dg_fail(err, status, "no image can be read; the last one: %s", reason.text);
        int top = MARGIN + row * (sheet->row_height + MARGIN);
        DG_TRY(draw_thumbnail(sheet, top, err));
        for (int v = 0; v < sheet->view_count; v++) DG_TRY(draw_view(sheet, v, seed, image, top, err));
    }
    return DG_OK;
}

enum dg_status dg_crops_sheet(const struct dg_dataset *dataset, const struct dg_view_spec *views, int view_count,
                              int images, uint64_t seed, const char *path, const struct dg_log *log,
                              struct dg_error *err)
{
    if (view_count < 1 || view_count > DG_MAX_VIEWS || images < 1)
        return dg_fail(err, DG_ERR_USAGE, "a sheet of %d images with %d views; at least 1, and 1 to %d views", images,
                       view_count, DG_MAX_VIEWS);
    struct sheet sheet = {.view_count = view_count, .log = log};
    dg_dataset_set_decoder(dataset, &sheet.decoder);
    for (int v = 0; v < view_count; v++) {
        DG_TRY(dg_view_spec_check(&views[v], "of the sheet", err));
        sheet.views[v] = views[v];
        sheet.views[v].how.pillow = dg_dataset_rules(dataset).pillow;
        if (views[v].height > sheet.row_height) sheet.row_height = views[v].height;
    }
    sheet.thumbnail_width = sheet.row_height * 3 / 2;
    int64_t count = dg_dataset_count(dataset);
    int rows = (int)dg_min_i64(images, count);
    int width = place_views(&sheet);
    int64_t height = MARGIN + (int64_t)rows * (sheet.row_height + MARGIN);

    enum dg_status status = dg_paper_open(&sheet.canvas, width, height, err);
    int32_t *order = malloc((size_t)count * sizeof *order);
    if (status == DG_OK && !order)
        status = dg_fail(err, DG_ERR_MEMORY, "no memory for the order of %lld images", (long long)count);
    if (status == DG_OK) {
        dg_epoch_order(seed, 0, count, order);
        status = draw_rows(&sheet, dataset, order, rows, seed, err);
    }
    if (status == DG_OK) status = dg_image_write_drawing(path, sheet.canvas.pixels, width, (int)height, err);
    dg_dataset_say_notes(dataset, log);
    free(order);
    dg_image_free(&sheet.canvas);
    dg_image_free(&sheet.image);
    dg_image_decoder_free(&sheet.decoder);
    dg_scratch_free(&sheet.pixels);
    dg_scratch_free(&sheet.floats);
    dg_scratch_free(&sheet.work);
    return status;
}

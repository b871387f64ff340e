#include "runtime/draw/sheet.h"

#include "runtime/image/resample.h"
#include "runtime/image/write.h"

#include <string.h>

enum { GAP = 6, WHITE = 255, SMALL = 160, LARGE = 320 }; /* pixels, shade; an image's longer side */

enum dg_status dg_paper_open(struct dg_image *paper, int64_t width, int64_t height, struct dg_error *err)
{
    DG_TRY(dg_image_reserve(paper, width, height, err));
    memset(paper->pixels, WHITE, 3 * (size_t)width * (size_t)height);
    return DG_OK;
}

void dg_paper_put(struct dg_image *paper, const uint8_t *pixels, int width, int height, int factor, int left, int top)
{
    for (int y = 0; y < height * factor; y++) {
        const uint8_t *from = pixels + 3 * (size_t)(y / factor) * (size_t)width;
        uint8_t *to = paper->pixels + 3 * ((size_t)(top + y) * (size_t)paper->width + (size_t)left);
        for (int x = 0; x < width * factor; x++) memcpy(to + 3 * x, from + 3 * (x / factor), 3);
    }
}

enum dg_status dg_sheet_open(struct dg_sheet *sheet, int rows, int cols, int width, int height, struct dg_error *err)
{
    *sheet = (struct dg_sheet){.rows = rows, .cols = cols, .width = width, .height = height};
    int64_t longer = dg_max_i64(width, height), w = width, h = height;
    if (longer < SMALL) {
        int64_t factor = (SMALL + longer - 1) / longer;
        w *= factor;
        h *= factor;
    } else if (longer > LARGE) {
        w = dg_max_i64(1, (w * LARGE + longer / 2) / longer);
        h = dg_max_i64(1, (h * LARGE + longer / 2) / longer);
    }
    sheet->cell_width = (int)w;
    sheet->cell_height = (int)h;
    enum dg_status status = dg_paper_open(&sheet->canvas, cols * (w + GAP) + GAP, rows * (h + GAP) + GAP, err);
    if (status == DG_OK && longer > LARGE) status = dg_image_reserve(&sheet->reduced, w, h, err);
    if (status != DG_OK) dg_sheet_free(sheet);
    return status;
}

enum dg_status dg_sheet_put(struct dg_sheet *sheet, int row, int col, const uint8_t *pixels, struct dg_error *err)
{
    int left = GAP + col * (sheet->cell_width + GAP), top = GAP + row * (sheet->cell_height + GAP);
    if (!sheet->reduced.pixels) {
        dg_paper_put(&sheet->canvas, pixels, sheet->width, sheet->height, sheet->cell_width / sheet->width, left, top);
        return DG_OK;
    }
    struct dg_image whole = {.width = sheet->width, .height = sheet->height, .pixels = (uint8_t *)(uintptr_t)pixels};
    DG_TRY(dg_image_resize(&whole, (struct dg_box){0, 0, whole.width, whole.height},
                           (struct dg_resampling){DG_FILTER_BICUBIC}, sheet->cell_width, sheet->cell_height,
                           sheet->reduced.pixels, &sheet->work, err));
    dg_paper_put(&sheet->canvas, sheet->reduced.pixels, sheet->cell_width, sheet->cell_height, 1, left, top);
    return DG_OK;
}

enum dg_status dg_sheet_write(const struct dg_sheet *sheet, const char *path, struct dg_error *err)
{
    return dg_image_write_drawing(path, sheet->canvas.pixels, sheet->canvas.width, sheet->canvas.height, err);
}

void dg_sheet_free(struct dg_sheet *sheet)
{
    dg_image_free(&sheet->canvas);
    dg_image_free(&sheet->reduced);
    dg_scratch_free(&sheet->work);
    *sheet = (struct dg_sheet){0};
}

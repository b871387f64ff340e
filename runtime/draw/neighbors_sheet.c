#include "runtime/draw/neighbors_sheet.h"

#include "runtime/draw/digits.h"
#include "runtime/draw/sheet.h"
#include "runtime/image/thumbnail.h"
#include "runtime/image/write.h"

#include <stdio.h>
#include <string.h>

enum { SIDE = 160, GAP = 8, FRAME = 3, CELL = SIDE + GAP, ROW = SIDE + GAP + DG_DIGIT_HEIGHT + GAP };

struct drawing {
    struct dg_image paper, image, thumbnail;
    struct dg_image_decoder decoder;
    struct dg_scratch work;
};

/* Draws an image into a cell, in its middle; returns where it is. */
static enum dg_status put_image(struct drawing *d, const struct dg_dataset *dataset, int64_t image, int row, int col,
                                struct dg_box *place, struct dg_error *err)
{
    dg_dataset_set_decoder(dataset, &d->decoder);
    DG_TRY(dg_dataset_decode(dataset, image, &d->decoder, &d->image, err));
    DG_TRY(dg_image_thumbnail(&d->image, SIDE, dg_dataset_rules(dataset).pillow, &d->thumbnail, &d->work, err));
    int width = d->thumbnail.width, height = d->thumbnail.height;
    *place =
        (struct dg_box){GAP + col * CELL + (SIDE - width) / 2, GAP + row * ROW + (SIDE - height) / 2, width, height};
    dg_paper_put(&d->paper, d->thumbnail.pixels, width, height, 1, place->left, place->top);
    return DG_OK;
}

static void put_frame(struct dg_image *paper, struct dg_box box)
{
    for (int y = box.top - FRAME; y < box.top + box.height + FRAME; y++) {
        uint8_t *row = paper->pixels + 3 * (size_t)y * (size_t)paper->width;
        bool across = y < box.top || y >= box.top + box.height;
        memset(row + 3 * (box.left - FRAME), 0, 3 * (size_t)(across ? box.width + 2 * FRAME : FRAME));
        memset(row + 3 * (box.left + box.width), 0, 3 * (size_t)FRAME);
    }
}

static enum dg_status draw(struct drawing *d, const struct dg_neighbors_sheet *sheet, struct dg_error *err)
{
    struct dg_box place;
    DG_TRY(dg_paper_open(&d->paper, GAP + (int64_t)CELL * (sheet->cols + 1), GAP + (int64_t)ROW * sheet->rows, err));
    for (int row = 0; row < sheet->rows; row++) {
        DG_TRY(put_image(d, sheet->queries, sheet->query[row], row, 0, &place, err));
        put_frame(&d->paper, place);
        for (int col = 0; col < sheet->cols; col++) {
            char text[16];
            int at = row * sheet->cols + col;
            DG_TRY(put_image(d, sheet->database, sheet->found[at], row, col + 1, &place, err));
            snprintf(text, sizeof text, "%.3f", (double)sheet->similarity[at]);
            int width = (int)strlen(text) * DG_DIGIT_WIDTH;
            dg_draw_digits(&d->paper, text, GAP + (col + 1) * CELL + (SIDE - width) / 2, 2 * GAP + row * ROW + SIDE);
        }
    }
    return DG_OK;
}

enum dg_status dg_neighbors_sheet_write(const struct dg_neighbors_sheet *sheet, const char *path, struct dg_error *err)
{
    struct drawing d = {0};
    enum dg_status status = draw(&d, sheet, err);
    if (status == DG_OK) status = dg_image_write_drawing(path, d.paper.pixels, d.paper.width, d.paper.height, err);
    dg_image_free(&d.paper);
    dg_image_free(&d.image);
    dg_image_free(&d.thumbnail);
    dg_image_decoder_free(&d.decoder);
    dg_scratch_free(&d.work);
    return status;
}

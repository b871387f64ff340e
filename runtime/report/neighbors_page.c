#include "runtime/report/neighbors_page.h"

#include "runtime/base/atomic_file.h"
#include "runtime/image/thumbnail.h"
#include "runtime/image/write.h"
#include "runtime/report/style.h"
#include "runtime/report/text.h"

#include <stdlib.h>

enum { SIDE = 180 }; /* pixels of a picture */

struct writing {
    FILE *out;
    struct dg_image image, thumbnail;
    struct dg_image_decoder decoder;
    struct dg_scratch work;
};

/* A figure with the image, of which `class` is the looks, and the beginning of its caption. */
static enum dg_status put_image(struct writing *w, const struct dg_dataset *dataset, int64_t image, const char *class,
                                struct dg_error *err)
{
    char *bytes;
    size_t size;
    dg_dataset_set_decoder(dataset, &w->decoder);
    DG_TRY(dg_dataset_decode(dataset, image, &w->decoder, &w->image, err));
    DG_TRY(dg_image_thumbnail(&w->image, SIDE, dg_dataset_rules(dataset).pillow, &w->thumbnail, &w->work, err));
    DG_TRY(dg_image_encode_png(w->thumbnail.pixels, w->thumbnail.width, w->thumbnail.height, 3, &bytes, &size, err));
    fprintf(w->out, "<figure><img class=\"%s\" alt=\"", class);
    dg_html_text(w->out, dg_dataset_relative(dataset, image));
    fputs("\" src=\"data:image/png;base64,", w->out);
    dg_base64(w->out, bytes, size);
    fputs("\"><figcaption>", w->out);
    free(bytes);
    return DG_OK;
}

static enum dg_status put_row(struct writing *w, const struct dg_neighbors_sheet *sheet, int row, struct dg_error *err)
{
    fputs("<h3>", w->out);
    dg_html_text(w->out, dg_dataset_relative(sheet->queries, sheet->query[row]));
    fputs("</h3>\n<div class=\"found\">\n", w->out);
    DG_TRY(put_image(w, sheet->queries, sheet->query[row], "query", err));
    fputs("query</figcaption></figure>\n", w->out);
    for (int col = 0; col < sheet->cols; col++) {
        int at = row * sheet->cols + col;
        DG_TRY(put_image(w, sheet->database, sheet->found[at], "", err));
        fprintf(w->out, "<b>%.3f</b> ", (double)sheet->similarity[at]);
        dg_html_text(w->out, dg_dataset_relative(sheet->database, sheet->found[at]));
        fputs("</figcaption></figure>\n", w->out);
    }
    fputs("</div>\n", w->out);
    return DG_OK;
}

enum dg_status dg_neighbors_page_write(const struct dg_neighbors_sheet *sheet, const char *path, struct dg_error *err)
{
    struct dg_atomic_file file;
    struct writing w = {0};
    DG_TRY(dg_atomic_open(path, &file, err));
    w.out = file.stream;
    dg_page_begin(w.out);
    fputs("Found", w.out);
    dg_page_body(w.out);
    fputs("<h1>Found</h1>\n<p class=\"soft\">Of each query the most similar images, by dinorun retrieve; 1 is the "
          "same.</p>\n",
          w.out);
    enum dg_status status = DG_OK;
    for (int row = 0; row < sheet->rows && status == DG_OK; row++) status = put_row(&w, sheet, row, err);
    fputs("</body>\n</html>\n", w.out);
    dg_image_free(&w.image);
    dg_image_free(&w.thumbnail);
    dg_image_decoder_free(&w.decoder);
    dg_scratch_free(&w.work);
    if (status == DG_OK) return dg_atomic_commit(&file, err);
    dg_atomic_abandon(&file);
    return status;
}

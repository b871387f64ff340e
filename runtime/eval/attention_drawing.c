#include "runtime/eval/attention_drawing.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/path.h"
#include "runtime/draw/draw.h"
#include "runtime/eval/attention_maps.h"
#include "runtime/image/write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum dg_status make_room(struct dg_attention_drawing *m, struct dg_error *err)
{
    int64_t count = dg_patches_count(&m->patches) * (m->heads + 1);
    int width = dg_patches_width(&m->patches), height = dg_patches_height(&m->patches);
    m->map = malloc((size_t)count * sizeof *m->map);
    m->mask = malloc((size_t)count);
    m->owner = malloc((size_t)count * sizeof *m->owner);
    m->seen = malloc(3 * (size_t)width * (size_t)height);
    m->drawn = malloc(3 * (size_t)width * (size_t)height);
    if (!m->map || !m->mask || !m->owner || !m->seen || !m->drawn)
        return dg_fail(err, DG_ERR_MEMORY, "no memory for maps of %d heads", m->heads);
    return dg_sheet_open(&m->sheet, 2, m->heads + 2, width, height, err);
}

enum dg_status dg_attention_read(struct dg_attention_drawing *m, const char *path, struct dg_image_rules rules,
                                 struct dg_error *err)
{
    int width = m->patches.width, height = m->patches.height;
    if (!m->image) m->image = malloc(3 * (size_t)width * (size_t)height);
    if (!m->image) return dg_fail(err, DG_ERR_MEMORY, "no memory for an image of %d x %d pixels", width, height);
    return dg_read_whole(path, rules, m->resized, width, height, m->image, err);
}

void dg_attention_drawing_free(struct dg_attention_drawing *m)
{
    free(m->map);
    free(m->mask);
    free(m->owner);
    free(m->image);
    free(m->seen);
    free(m->drawn);
    dg_sheet_free(&m->sheet);
}

static enum dg_status on_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                              struct dg_error *err)
{
    struct dg_attention_drawing *m = context;
    int64_t count = dg_patches_count(&m->patches);
    (void)rows;
    (void)done;
    (void)all;
    DG_TRY(dg_attention_maps(output, m->heads, dg_patches_tokens(&m->patches), m->patches.first, m->map, err));
    dg_attention_mean(m->map, m->heads, count, m->map + m->heads * count);
    for (int h = 0; h <= m->heads; h++)
        DG_TRY(dg_attention_mask(m->map + h * count, count, m->threshold, m->mask + h * count, err));
    return DG_OK;
}

/* Writes FOLDER/what, if there is a folder, and puts the same image at its place on the sheet. */
static enum dg_status put(struct dg_attention_drawing *m, int row, int col, const uint8_t *pixels, const char *what,
                          struct dg_error *err)
{
    char path[DG_MAX_PATH];
    if (m->folder) {
        DG_TRY(dg_path_join(path, m->folder, what, err));
        DG_TRY(
            dg_image_write_drawing(path, pixels, dg_patches_width(&m->patches), dg_patches_height(&m->patches), err));
    }
    return dg_sheet_put(&m->sheet, row, col, pixels, err);
}

/* Of heads whose masks overlap at a patch, the owner is the one that gives it the largest share of its attention. */
static void find_owners(struct dg_attention_drawing *m)
{
    int64_t count = dg_patches_count(&m->patches);
    for (int64_t i = 0; i < count; i++) m->owner[i] = -1;
    float *best = m->map + m->heads * count; /* in place of the mean, which has been drawn */
    memset(best, 0, (size_t)count * sizeof *best);
    for (int h = 0; h < m->heads; h++) {
        double sum = 0;
        for (int64_t i = 0; i < count; i++) sum += m->map[h * count + i];
        for (int64_t i = 0; i < count; i++) {
            float share = (float)(m->map[h * count + i] / sum);
            if (!m->mask[h * count + i] || share <= best[i]) continue;
            best[i] = share;
            m->owner[i] = h;
        }
    }
}

/* The name of an image of the sheet; `head` may be m->heads, the mean, or one more, all heads' masks in one. */
static const char *name_of(const struct dg_attention_drawing *m, bool mask, int head, char *name, size_t size)
{
    char of[16];
    snprintf(of, sizeof of, "head%d", head);
    if (head >= m->heads) snprintf(of, sizeof of, "%s", head == m->heads ? "mean" : "all");
    if (mask)
        snprintf(name, size, "mask_th%g_%s.png", m->threshold, of);
    else
        snprintf(name, size, "attn-%s.png", of);
    return name;
}

static void write_cell(FILE *out, const char *file) { fprintf(out, "<td><img src=\"%s\" alt=\"\">", file); }

/* Writes FOLDER/sheet.html, which has what the sheet has, with labels. */
static enum dg_status write_page(const struct dg_attention_drawing *m, struct dg_error *err)
{
    static const char top[] =
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Attention</title>\n"
        "<style>body{font:14px sans-serif}th{font-weight:normal;padding:2px 6px}"
        "img{display:block;min-width:160px;max-width:320px;image-rendering:pixelated}</style>\n";
    char path[DG_MAX_PATH], name[64];
    struct dg_atomic_file file;
    if (!m->folder) return DG_OK;
    DG_TRY(dg_path_join(path, m->folder, "sheet.html", err));
    DG_TRY(dg_atomic_open(path, &file, err));
    FILE *out = file.stream;
    fprintf(
        out,
        "%s<p>What the heads of the last block attend to: above how much, below the patches that take %g %% of it.\n",
        top, 100 * m->threshold);
    fputs("<table>\n<tr><th><th>image", out);
    for (int h = 0; h < m->heads; h++) fprintf(out, "<th>head %d", h);
    fputs("<th>mean of the heads\n<tr><th>attention", out);
    write_cell(out, "img.png");
    for (int h = 0; h <= m->heads; h++) write_cell(out, name_of(m, false, h, name, sizeof name));
    fprintf(out, "\n<tr><th>%g %% of it", 100 * m->threshold);
    write_cell(out, name_of(m, true, m->heads + 1, name, sizeof name));
    for (int h = 0; h <= m->heads; h++) write_cell(out, name_of(m, true, h, name, sizeof name));
    fputs("\n</table>\n</html>\n", out);
    return dg_atomic_commit(&file, err);
}

enum dg_status dg_attention_draw(struct dg_attention_drawing *m, const char *sheet, struct dg_error *err)
{
    int64_t count = dg_patches_count(&m->patches);
    char name[64];
    dg_draw_seen(m->image, &m->patches, m->seen);
    DG_TRY(put(m, 0, 0, m->seen, "img.png", err));
    for (int h = 0; h <= m->heads; h++) {
        dg_draw_heat(m->map + h * count, &m->patches, m->drawn);
        DG_TRY(put(m, 0, h + 1, m->drawn, name_of(m, false, h, name, sizeof name), err));
        for (int64_t i = 0; i < count; i++) m->owner[i] = m->mask[h * count + i] ? h : -1;
        dg_draw_regions(m->seen, m->owner, &m->patches, m->drawn);
        DG_TRY(put(m, 1, h + 1, m->drawn, name_of(m, true, h, name, sizeof name), err));
    }
    find_owners(m);
    dg_draw_regions(m->seen, m->owner, &m->patches, m->drawn);
    DG_TRY(put(m, 1, 0, m->drawn, name_of(m, true, m->heads + 1, name, sizeof name), err));
    DG_TRY(write_page(m, err));
    return dg_sheet_write(&m->sheet, sheet, err);
}

enum dg_status dg_attention_compute(struct dg_attention_drawing *m, struct dg_evaluator *evaluator, const char *image,
                                    struct dg_error *err)
{
    int64_t tokens = dg_patches_tokens(&m->patches);
    m->heads = (int)(dg_evaluator_dim(evaluator) / (tokens * tokens));
    if (!m->map) DG_TRY(make_room(m, err));
    return dg_evaluate_whole(evaluator, &image, 1, on_rows, m, err);
}

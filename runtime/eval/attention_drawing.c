#include "runtime/eval/attention_drawing.h"

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
    return dg_read_whole(path, rules, width, height, m->image, err);
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

enum dg_status dg_attention_draw(struct dg_attention_drawing *m, const char *sheet, struct dg_error *err)
{
    int64_t count = dg_patches_count(&m->patches);
    char name[64];
    dg_draw_seen(m->image, &m->patches, m->seen);
    DG_TRY(put(m, 0, 0, m->seen, "img.png", err));
    for (int h = 0; h <= m->heads; h++) {
        bool mean = h == m->heads;
        dg_draw_heat(m->map + h * count, &m->patches, m->drawn);
        snprintf(name, sizeof name, mean ? "attn-mean.png" : "attn-head%d.png", h);
        DG_TRY(put(m, 0, h + 1, m->drawn, name, err));
        for (int64_t i = 0; i < count; i++) m->owner[i] = m->mask[h * count + i] ? h : -1;
        dg_draw_regions(m->seen, m->owner, &m->patches, m->drawn);
        snprintf(name, sizeof name, mean ? "mask_th%g_mean.png" : "mask_th%g_head%d.png", m->threshold, h);
        DG_TRY(put(m, 1, h + 1, m->drawn, name, err));
    }
    find_owners(m);
    dg_draw_regions(m->seen, m->owner, &m->patches, m->drawn);
    snprintf(name, sizeof name, "mask_th%g_all.png", m->threshold);
    DG_TRY(put(m, 1, 0, m->drawn, name, err));
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

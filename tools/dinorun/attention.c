/* dinorun attention: draws the heat map and the mask of each head of the last block for one image, and writes the numbers. */
#include "tools/dinorun/command.h"

#include "runtime/draw/draw.h"
#include "runtime/draw/sheet.h"
#include "runtime/eval/attention_maps.h"
#include "runtime/formats/npy.h"
#include "runtime/image/write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    struct evaluation evaluation;
    const char *image, *out;
    double threshold;
    struct dg_flag_size size;
} given = {.evaluation.options = {.role = DG_ENTRY_ATTENTION, .choice = {.from = "teacher"}}, .threshold = 0.6};

/* What is drawn, and the buffers to draw it. */
struct maps {
    struct dg_patches patches;
    int heads;
    float *map;            /* [heads + 1, patches]: the heads, then their mean */
    uint8_t *mask;         /* [heads + 1, patches] */
    int *owner;            /* [patches] */
    uint8_t *image;        /* what the network is shown */
    uint8_t *seen, *drawn; /* the part of it that the patches see; an image of the sheet */
    struct dg_sheet sheet; /* above: image, heads, mean; below: all masks, those of the heads, that of the mean */
};

static enum dg_status make_room(struct maps *m, struct dg_error *err)
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

static enum dg_status read_image(struct maps *m, const char *path, struct dg_error *err)
{
    int width = m->patches.width, height = m->patches.height;
    m->image = malloc(3 * (size_t)width * (size_t)height);
    if (!m->image) return dg_fail(err, DG_ERR_MEMORY, "no memory for an image of %d x %d pixels", width, height);
    return dg_read_whole(path, image_rules(&given.evaluation.images), width, height, m->image, err);
}

static void free_maps(struct maps *m)
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
    struct maps *m = context;
    int64_t count = dg_patches_count(&m->patches);
    (void)rows;
    (void)done;
    (void)all;
    DG_TRY(dg_attention_maps(output, m->heads, dg_patches_tokens(&m->patches), m->patches.first, m->map, err));
    dg_attention_mean(m->map, m->heads, count, m->map + m->heads * count);
    for (int h = 0; h <= m->heads; h++)
        DG_TRY(dg_attention_mask(m->map + h * count, count, given.threshold, m->mask + h * count, err));
    return DG_OK;
}

static enum dg_status path_in_out(const char *name, char path[4096], struct dg_error *err)
{
    if (snprintf(path, 4096, "%s/%s", given.out, name) < 4096) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "--out: the path is too long");
}

/* Writes OUT/what, and puts the same image at its place on the sheet. */
static enum dg_status put(struct maps *m, int row, int col, const uint8_t *pixels, const char *what,
                          struct dg_error *err)
{
    char path[4096];
    DG_TRY(path_in_out(what, path, err));
    DG_TRY(dg_image_write_drawing(path, pixels, dg_patches_width(&m->patches), dg_patches_height(&m->patches), err));
    return dg_sheet_put(&m->sheet, row, col, pixels, err);
}

/* Of heads whose masks overlap at a patch, the owner is the one that gives it the largest share of its attention. */
static void find_owners(struct maps *m)
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

static enum dg_status draw(struct maps *m, struct dg_error *err)
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
        snprintf(name, sizeof name, mean ? "mask_th%g_mean.png" : "mask_th%g_head%d.png", given.threshold, h);
        DG_TRY(put(m, 1, h + 1, m->drawn, name, err));
    }
    find_owners(m);
    dg_draw_regions(m->seen, m->owner, &m->patches, m->drawn);
    snprintf(name, sizeof name, "mask_th%g_all.png", given.threshold);
    DG_TRY(put(m, 1, 0, m->drawn, name, err));
    char path[4096];
    DG_TRY(path_in_out("sheet.png", path, err));
    return dg_sheet_write(&m->sheet, path, err);
}

static enum dg_status write_numbers(const struct maps *m, struct dg_error *err)
{
    char path[4096];
    struct dg_npy npy;
    DG_TRY(path_in_out("attention.npy", path, err));
    DG_TRY(dg_npy_open_shape(path, 3, (int64_t[]){m->heads, m->patches.rows, m->patches.cols}, &npy, err));
    enum dg_status status = dg_npy_append(&npy, m->map, m->heads, err);
    if (status == DG_OK) return dg_npy_commit(&npy, err);
    dg_npy_abandon(&npy);
    return status;
}

/* What the user may have mistyped is opened before the long work begins. */
static enum dg_status draw_attention(struct maps *m, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    DG_TRY(open_patches(e, given.size, &m->patches, err));
    DG_TRY(read_image(m, given.image, err));
    DG_TRY(dg_make_folder(given.out, err));
    DG_TRY(open_evaluator(e, err));
    int64_t tokens = dg_patches_tokens(&m->patches);
    m->heads = (int)(dg_evaluator_dim(e->evaluator) / (tokens * tokens));
    DG_TRY(make_room(m, err));
    DG_TRY(dg_evaluate_whole(e->evaluator, &given.image, 1, on_rows, m, err));
    DG_TRY(write_numbers(m, err));
    DG_TRY(draw(m, err));
    printf("%s: attention.npy [%d, %d, %d] f32, img.png, a heat map and a mask of %g %% of the mass for each of %d "
           "heads and their mean; all of it side by side in sheet.png\n",
           given.out, m->heads, m->patches.rows, m->patches.cols, 100 * given.threshold, m->heads);
    return DG_OK;
}

static int attention(void)
{
    struct dg_error err = {0};
    struct maps maps = {0};
    draw_attention(&maps, &err);
    free_maps(&maps);
    close_evaluation(&given.evaluation);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {FLAG_WEIGHTS, .text = &given.evaluation.options.weights},
    ROWS_CHOOSE_WEIGHTS(given.evaluation.options),
    {"image", "FILE", "an image, resized to the plan's image size (bilinear)", .text = &given.image, .required = true},
    {"out", "DIR",
     "the folder to write: attention.npy [heads, rows, cols], the class token's attention to the patches; img.png; "
     "attn-head0.png ..., attn-mean.png; mask_th0.6_head0.png ...; and sheet.png, above image, heads and mean, below "
     "their masks, at the left all in one",
     .text = &given.out, .required = true},
    {FLAG_THRESHOLD, .number = &given.threshold},
    {FLAG_IMAGE_SIZE, .size = &given.size},
    {FLAG_EXIF, .given = &given.evaluation.images.exif},
    {FLAG_PILLOW, .text = &given.evaluation.images.pillow},
    {FLAG_THREADS, .count = &given.evaluation.options.threads},
    {0}};

const struct dg_command command_attention = {
    .program = "dinorun",
    .name = "attention",
    .summary = "draws what each head of the last block looks at in an image",
    .more = "Size and batch are the plan's. One for a single large image, say of ViT-S/8 at 480 pixels:\n"
            "  dinoc graphs/vit.yaml:vit_small --set patch=8 --image-size 480 -o vits8-480.plan\n",
    .file = {.name = PLAN_OR_RUN, .value = &given.evaluation.of.path},
    .flags = flags,
    .run = attention};

#include "tools/dinorun/command.h"

#include "runtime/draw/draw.h"
#include "runtime/draw/sheet.h"
#include "runtime/eval/attention_maps.h"
#include "runtime/eval/evaluator.h"
#include "runtime/formats/npy.h"
#include "runtime/image/write.h"
#include "runtime/state/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What is drawn, and the buffers to draw it. */
struct maps {
    struct dg_patches patches;
    int heads;
    double keep;
    float *map;       /* [heads + 1, patches]: the heads, then their mean */
    uint8_t *mask;    /* [heads + 1, patches] */
    int *owner;       /* [patches] */
    uint8_t *picture; /* what the network is shown */
    uint8_t *seen, *drawn;
    struct dg_sheet sheet; /* above: picture, heads, mean; below: all masks, those of the heads, that of the mean */
    const char *folder;
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

static enum dg_status read_picture(struct maps *m, const char *path, struct dg_error *err)
{
    int width = m->patches.width, height = m->patches.height;
    m->picture = malloc(3 * (size_t)width * (size_t)height);
    if (!m->picture) return dg_fail(err, DG_ERR_MEMORY, "no memory for a picture of %d x %d pixels", width, height);
    return dg_read_whole(path, width, height, m->picture, err);
}

static void free_maps(struct maps *m)
{
    free(m->map);
    free(m->mask);
    free(m->owner);
    free(m->picture);
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
    DG_TRY(dg_attention_maps(output, m->heads, count + 1, m->map, err));
    dg_attention_mean(m->map, m->heads, count, m->map + m->heads * count);
    for (int h = 0; h <= m->heads; h++)
        DG_TRY(dg_attention_mask(m->map + h * count, count, m->keep, m->mask + h * count, err));
    return DG_OK;
}

static enum dg_status path_in(const struct maps *m, const char *name, char path[4096], struct dg_error *err)
{
    if (snprintf(path, 4096, "%s/%s", m->folder, name) < 4096) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "--out: the path is too long");
}

/* FOLDER/what, and its place on the sheet. */
static enum dg_status put(struct maps *m, int row, int col, const uint8_t *pixels, const char *what,
                          struct dg_error *err)
{
    char path[4096];
    DG_TRY(path_in(m, what, path, err));
    DG_TRY(dg_image_write_png(path, pixels, dg_patches_width(&m->patches), dg_patches_height(&m->patches), 3, err));
    return dg_sheet_put(&m->sheet, row, col, pixels, err);
}

/* Where masks overlap, the patch is the head's that looks at it with the largest share of what it looks at. */
static void find_owners(struct maps *m)
{
    int64_t count = dg_patches_count(&m->patches);
    for (int64_t i = 0; i < count; i++) m->owner[i] = -1;
    float *best = m->map + m->heads * count; /* the mean's place; it has been drawn */
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
    dg_draw_seen(m->picture, &m->patches, m->seen);
    DG_TRY(put(m, 0, 0, m->seen, "img.png", err));
    for (int h = 0; h <= m->heads; h++) {
        bool mean = h == m->heads;
        dg_draw_heat(m->map + h * count, &m->patches, m->drawn);
        snprintf(name, sizeof name, mean ? "attn-mean.png" : "attn-head%d.png", h);
        DG_TRY(put(m, 0, h + 1, m->drawn, name, err));
        for (int64_t i = 0; i < count; i++) m->owner[i] = m->mask[h * count + i] ? h : -1;
        dg_draw_regions(m->seen, m->owner, &m->patches, m->drawn);
        snprintf(name, sizeof name, mean ? "mask_th%g_mean.png" : "mask_th%g_head%d.png", m->keep, h);
        DG_TRY(put(m, 1, h + 1, m->drawn, name, err));
    }
    find_owners(m);
    dg_draw_regions(m->seen, m->owner, &m->patches, m->drawn);
    snprintf(name, sizeof name, "mask_th%g_all.png", m->keep);
    DG_TRY(put(m, 1, 0, m->drawn, name, err));
    char path[4096];
    DG_TRY(path_in(m, "sheet.png", path, err));
    return dg_sheet_write(&m->sheet, path, err);
}

static enum dg_status write_numbers(const struct maps *m, struct dg_error *err)
{
    char path[4096];
    struct dg_npy npy;
    DG_TRY(path_in(m, "attention.npy", path, err));
    DG_TRY(dg_npy_open_shape(path, 3, (int64_t[]){m->heads, m->patches.rows, m->patches.cols}, &npy, err));
    enum dg_status status = dg_npy_append(&npy, m->map, m->heads, err);
    if (status == DG_OK) return dg_npy_commit(&npy, err);
    dg_npy_abandon(&npy);
    return status;
}

static int attention(int argc, char **argv)
{
    enum { WEIGHTS = 256, FROM, PARTIAL, IMAGE, OUT, THRESHOLD, SIZE, THREADS };
    static const struct option flags[] = {{"weights", required_argument, NULL, WEIGHTS},
                                          {"weights-from", required_argument, NULL, FROM},
                                          {"partial", no_argument, NULL, PARTIAL},
                                          {"image", required_argument, NULL, IMAGE},
                                          {"out", required_argument, NULL, OUT},
                                          {"threshold", required_argument, NULL, THRESHOLD},
                                          {"image-size", required_argument, NULL, SIZE},
                                          {"threads", required_argument, NULL, THREADS},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct command *me = &command_attention;
    struct dg_evaluator_options o = {.entry = "attention", .from = "teacher", .log = &console};
    struct maps maps = {.keep = 0.6};
    const char *image = NULL;
    int64_t threads = 0, height = 0, width = 0;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        switch (flag) {
        case WEIGHTS: o.weights = optarg; break;
        case FROM: o.from = optarg; break;
        case PARTIAL: o.partial = true; break;
        case IMAGE: image = optarg; break;
        case OUT: maps.folder = optarg; break;
        case THRESHOLD:
            if (!flag_share(me, "--threshold", optarg, &maps.keep)) return 2;
            break;
        case SIZE:
            if (!flag_size(me, "--image-size", optarg, &height, &width)) return 2;
            break;
        case THREADS:
            if (!flag_whole(me, "--threads", optarg, 1, 1024, &threads)) return 2;
            break;
        default: return flag == 'h' ? 0 : 2;
        }
    }
    const char *path = plan_argument(me, argc, argv);
    if (!path) return 2;
    if (!o.weights || !image || !maps.folder)
        return usage_error(me, "--weights FILE, --image FILE and --out DIR are needed");
    if (!flag_from(me, o.from)) return 2;
    o.threads = (int)threads;

    struct dg_error err = {0};
    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    struct dg_evaluator *evaluator = NULL;
    struct dg_patches *patches = &maps.patches;
    enum dg_status status = open_plan(path, NULL, 0, 0, &plan, &knobs, &err);
    if (status == DG_OK) status = dg_patches_open(&plan, "attention", patches, &err);
    if (status == DG_OK && height) status = dg_patches_want_size(&plan, patches, height, width, &err);
    if (status == DG_OK) status = read_picture(&maps, image, &err); /* before the long work: what may be mistyped */
    if (status == DG_OK) status = dg_make_folder(maps.folder, &err);
    if (status == DG_OK) status = dg_evaluator_open(&plan, &knobs, &o, &evaluator, &err);
    if (status == DG_OK) {
        int64_t tokens = dg_patches_count(patches) + 1;
        maps.heads = (int)(dg_evaluator_dim(evaluator) / (tokens * tokens));
        status = make_room(&maps, &err);
    }
    if (status == DG_OK) status = dg_evaluate_whole(evaluator, &image, 1, on_rows, &maps, &err);
    if (status == DG_OK) status = write_numbers(&maps, &err);
    if (status == DG_OK) status = draw(&maps, &err);
    if (status == DG_OK)
        printf("%s: attention.npy [%d, %d, %d] f32, img.png, a heat map and a mask of %g %% of the mass for each of %d "
               "heads and their mean; all of it side by side in sheet.png\n",
               maps.folder, maps.heads, patches->rows, patches->cols, 100 * maps.keep, maps.heads);
    free_maps(&maps);
    dg_evaluator_close(evaluator);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return status == DG_OK ? 0 : fail(&err);
}

const struct command command_attention = {
    .name = "attention",
    .arguments = "PLAN --weights FILE --image FILE --out DIR [flags]",
    .summary = "draws what each head of the last block looks at in an image",
    .flags =
        "  --weights FILE        checkpoint of a run, or a backbone's safetensors file\n"
        "  --weights-from NET    teacher or student (teacher)\n"
        "  --partial             go on with weights that fit the plan only in part\n"
        "  --image FILE          JPEG or PNG; it is resized to the plan's image size, bilinear\n"
        "  --out DIR             attention.npy [heads, rows, cols]: the class token's attention to the patches;\n"
        "                        img.png; attn-head0.png ..., attn-mean.png; mask_th0.6_head0.png ...; sheet.png:\n"
        "                        above image, heads and mean, below their masks, at the left all in one\n"
        "  --threshold T         the share of a head's attention that its mask keeps, 0 to 1 (0.6)\n"
        "  --image-size N|HxW    asks that the plan be of this size\n"
        "  --threads N           (all)\n"
        "\n"
        "Size and batch are the plan's. One for a single large image, say of ViT-S/8 at 480 pixels:\n"
        "  dinoc graphs/vit.yaml:vit_small --set patch=8 --image-size 480 -o vits8-480.plan\n",
    .run = attention};

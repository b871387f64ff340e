/* dinorun attention: draws the heat map and the mask of each head of the last block for one image, and writes the
 * numbers; or draws the mean of the heads for each frame of a video. */
#include "tools/dinorun/attention_video.h"

#include "runtime/base/atomic_file.h"
#include "runtime/eval/attention_drawing.h"
#include "runtime/formats/npy.h"

#include <stdio.h>

static struct {
    struct evaluation evaluation;
    const char *image, *out, *video;
    double threshold, rate;
    struct dg_fit fit;
} given = {.evaluation.options = {.role = DG_ENTRY_ATTENTION, .choice = {.from = "teacher"}},
           .threshold = DG_ATTENTION_KEEP,
           .rate = 30};

static enum dg_status path_in_out(const char *name, char path[4096], struct dg_error *err)
{
    if (snprintf(path, 4096, "%s/%s", given.out, name) < 4096) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "--out: the path is too long");
}

static enum dg_status write_numbers(const struct dg_attention_drawing *m, struct dg_error *err)
{
    char path[4096];
    DG_TRY(path_in_out("attention.npy", path, err));
    return dg_npy_write(path, 3, (int64_t[]){m->heads, m->patches.rows, m->patches.cols}, m->map, err);
}

/* What the user may have mistyped is opened before the long work begins. */
static enum dg_status draw_attention(struct dg_attention_drawing *m, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    const struct whole_images images = {given.fit, &given.image, 1};
    DG_TRY(open_patches(e, &images, &m->patches, err));
    char sheet[4096];
    m->resized = e->options.resized;
    m->threshold = given.threshold;
    m->folder = given.out;
    DG_TRY(dg_attention_read(m, given.image, image_rules(&e->images), err));
    DG_TRY(dg_make_folder(given.out, err));
    DG_TRY(path_in_out("sheet.png", sheet, err));
    DG_TRY(open_evaluator(e, err));
    DG_TRY(dg_attention_compute(m, e->evaluator, given.image, err));
    DG_TRY(write_numbers(m, err));
    DG_TRY(dg_attention_draw(m, sheet, err));
    printf("%s: attention.npy [%d, %d, %d] f32, img.png, a heat map and a mask of %g %% of the mass for each of %d "
           "heads and their mean; all of it side by side in sheet.png, with labels in sheet.html\n",
           given.out, m->heads, m->patches.rows, m->patches.cols, 100 * given.threshold, m->heads);
    return DG_OK;
}

static int attention(void)
{
    struct dg_error err = {0};
    struct dg_attention_drawing maps = {0};
    const struct attention_video video = {&given.evaluation, given.video, given.out, given.fit, given.rate};
    if (given.video)
        draw_attention_video(&video, &err);
    else
        draw_attention(&maps, &err);
    dg_attention_drawing_free(&maps);
    close_evaluation(&given.evaluation);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {FLAG_WEIGHTS, .text = &given.evaluation.options.weights},
    ROWS_CHOOSE_WEIGHTS(given.evaluation.options),
    {"image", "FILE", "an image, or ARCHIVE:MEMBER, resized to the plan's image size (bilinear)", .text = &given.image,
     .required = true, .unless = "video"},
    {"video", "DIR|-",
     "in place of an image, the frames of a video: a folder of them, or PPM or PNG from standard input. For each the "
     "mean "
     "of the heads is drawn, attn-FRAME.png, in colours that all frames have in common, and attention.npy is [frames, "
     "rows, cols]; where ffmpeg is installed, attention.mp4 is the film",
     .text = &given.video, .without = "image threshold"},
    {"fps", "N", "frames a second of the film", .number = &given.rate, .max = 1000, .with = "video"},
    {"out", "DIR",
     "the folder to write: attention.npy [heads, rows, cols], the class token's attention to the patches; img.png; "
     "attn-head0.png ..., attn-mean.png; mask_th0.6_head0.png ...; sheet.png, above image, heads and mean, below "
     "their masks, at the left all in one; and sheet.html, the same with labels",
     .text = &given.out, .required = true},
    {FLAG_THRESHOLD, .number = &given.threshold},
    {FLAG_IMAGE_SIZE, .parsed = &given.fit, .without = "resize"},
    {FLAG_RESIZE(", bilinear"), .parsed = &given.fit, .unset = "the plan's size; of a video, exact"},
    {FLAG_MEMORY, .parsed = &given.evaluation.options.memory, .with = "video"},
    ROWS_IMAGE_RULES(given.evaluation.images),
    {FLAG_THREADS, .count = &given.evaluation.options.threads},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_attention = {
    .program = "dinorun",
    .name = "attention",
    .summary = "draws what each head of the last block looks at in an image",
    .more = "As in the published figures, of a run:\n"
            "  dinorun attention RUN --image hen.jpg --image-size 480 --out hen\n"
            "Of a film, by ffmpeg:\n"
            "  ffmpeg -i film.mp4 -f image2pipe -c:v ppm - | dinorun attention RUN --video - --out film\n",
    .file = {.name = NETWORK, .value = &given.evaluation.of.path},
    .flags = flags,
    .run = attention};

#include "runtime/image/augment.h"

#include "ops/base/rng.h"
#include "runtime/image/simd.h"

#include <math.h>
#include <string.h>

/* ---- what a view is ---- */

enum dg_status dg_view_spec_check(const struct dg_view_spec *spec, const char *name, struct dg_error *err)
{
    const struct {
        const char *field;
        double value, low, high;
    } limits[] = {
        {"height", spec->height, 1, 16384},
        {"width", spec->width, 1, 16384},
        {"scale's low end", spec->scale[0], 1e-6, 1},
        {"scale's high end", spec->scale[1], spec->scale[0], 1},
        {"ratio's low end", spec->ratio[0], 1e-3, 1e3},
        {"ratio's high end", spec->ratio[1], spec->ratio[0], 1e3},
        {"flip", spec->flip, 0, 1},
        {"vertical_flip", spec->vertical_flip, 0, 1},
        {"turn", spec->turn, 0, 1},
        {"jitter", spec->jitter, 0, 1},
        {"brightness", spec->brightness, 0, 100},
        {"contrast", spec->contrast, 0, 100},
        {"saturation", spec->saturation, 0, 100},
        {"hue", spec->hue, 0, 0.5},
        {"gray", spec->gray, 0, 1},
        {"blur", spec->blur, 0, 1},
        {"blur_sigma's low end", spec->blur > 0 ? spec->blur_sigma[0] : 1, 1e-3, 1000},
        {"blur_sigma's high end", spec->blur > 0 ? spec->blur_sigma[1] : 1, spec->blur > 0 ? spec->blur_sigma[0] : 1,
         1000},
        {"solarize", spec->solarize, 0, 1},
        {"solarize_threshold", spec->solarize_threshold, 0, 256},
        {"std of red", spec->std[0], 1e-6, 1e6},
        {"std of green", spec->std[1], 1e-6, 1e6},
        {"std of blue", spec->std[2], 1e-6, 1e6},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (!(limits[i].value >= limits[i].low && limits[i].value <= limits[i].high))
            return dg_fail(err, DG_ERR_USAGE, "view %s: %s is %g; it must be from %g to %g", name, limits[i].field,
                           limits[i].value, limits[i].low, limits[i].high);
    }
    if (spec->turn > 0 && spec->height != spec->width)
        return dg_fail(err, DG_ERR_USAGE, "view %s: turn is for square views, and it is %dx%d", name, spec->height,
                       spec->width);
    return DG_OK;
}

/* ---- the random decisions ---- */

/* torchvision's RandomResizedCrop. Reads a varying number of words, so only what few views have is drawn after it. */
static struct dg_box sample_crop(const struct dg_view_spec *spec, int width, int height, struct dg_rng *rng)
{
    enum { ATTEMPTS = 10 };
    double area = (double)width * height;
    float log_low = logf((float)spec->ratio[0]), log_high = logf((float)spec->ratio[1]);
    for (int i = 0; i < ATTEMPTS; i++) {
        double target = area * (double)dg_rng_uniform(rng, (float)spec->scale[0], (float)spec->scale[1]);
        double ratio = (double)expf(dg_rng_uniform(rng, log_low, log_high));
        double w = rint(sqrt(target * ratio)), h = rint(sqrt(target / ratio)); /* half to even */
        if (w < 1 || w > width || h < 1 || h > height) continue;
        int64_t top = dg_rng_int(rng, 0, height - (int64_t)h + 1), left = dg_rng_int(rng, 0, width - (int64_t)w + 1);
        return (struct dg_box){(int)left, (int)top, (int)w, (int)h};
    }
    /* The fallback: the centre of the image, cut to the nearest allowed shape. */
    struct dg_box box = {0, 0, width, height};
    double ratio = (double)width / height;
    if (ratio < spec->ratio[0]) box.height = (int)rint(width / spec->ratio[0]);
    if (ratio > spec->ratio[1]) box.width = (int)rint(height * spec->ratio[1]);
    box.height = box.height < 1 ? 1 : box.height > height ? height : box.height;
    box.width = box.width < 1 ? 1 : box.width > width ? width : box.width;
    box.left = (width - box.width) / 2;
    box.top = (height - box.height) / 2;
    return box;
}

static float sample_factor(struct dg_rng *rng, double strength)
{
    return dg_rng_uniform(rng, (float)fmax(0.0, 1.0 - strength), (float)(1.0 + strength));
}

struct dg_view_draw dg_view_sample(const struct dg_view_spec *spec, int width, int height, uint64_t seed, int64_t epoch,
                                   int64_t image, int view)
{
    struct dg_rng rng = dg_rng_make(seed, DG_RNG_CROPS, (uint64_t)epoch << 40 | (uint64_t)image, (uint32_t)view);
    struct dg_view_draw draw = {0};

    /* Every word is drawn even if it is not used, so that no decision depends on another. */
    draw.flip = dg_rng_float(&rng) < (float)spec->flip;
    bool jitter = dg_rng_float(&rng) < (float)spec->jitter;
    enum dg_jitter order[DG_JITTER_COUNT] = {DG_JITTER_BRIGHTNESS, DG_JITTER_CONTRAST, DG_JITTER_SATURATION,
                                             DG_JITTER_HUE};
    for (int i = 0; i + 1 < DG_JITTER_COUNT; i++) {
        int64_t j = dg_rng_int(&rng, i, DG_JITTER_COUNT);
        enum dg_jitter swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
    draw.factor[DG_JITTER_BRIGHTNESS] = sample_factor(&rng, spec->brightness);
    draw.factor[DG_JITTER_CONTRAST] = sample_factor(&rng, spec->contrast);
    draw.factor[DG_JITTER_SATURATION] = sample_factor(&rng, spec->saturation);
    draw.factor[DG_JITTER_HUE] = dg_rng_uniform(&rng, (float)-spec->hue, (float)spec->hue);
    const double strength[DG_JITTER_COUNT] = {spec->brightness, spec->contrast, spec->saturation, spec->hue};
    for (int i = 0; jitter && i < DG_JITTER_COUNT; i++) {
        if (strength[order[i]] > 0) draw.jitter[draw.jitter_count++] = order[i];
    }
    draw.gray = dg_rng_float(&rng) < (float)spec->gray;
    bool blur = dg_rng_float(&rng) < (float)spec->blur;
    float sigma = dg_rng_uniform(&rng, (float)spec->blur_sigma[0], (float)spec->blur_sigma[1]);
    draw.blur_sigma = blur ? sigma : 0;
    draw.solarize = dg_rng_float(&rng) < (float)spec->solarize;
    draw.crop = sample_crop(spec, width, height, &rng);
    /* Behind the crop, so that views without these are drawn as if there were none. */
    draw.vertical_flip = dg_rng_float(&rng) < (float)spec->vertical_flip;
    bool turn = dg_rng_float(&rng) < (float)spec->turn;
    draw.turns = turn ? (int)dg_rng_int(&rng, 1, 4) : 0;
    return draw;
}

/* ---- colour ---- */

static void map_values(uint8_t *pixels, int64_t count, const uint8_t table[256])
{
    for (int64_t i = 0; i < 3 * count; i++) pixels[i] = table[pixels[i]];
}

static inline int luma(const uint8_t *rgb) { return (19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 32768) >> 16; }

/* Image.blend of one value: truncated, never rounded; clamped where it can leave 0..255. */
static inline uint8_t blend(int base, int value, float factor)
{
    float mixed = (float)base + factor * (float)(value - base);
    return (uint8_t)(mixed <= 0.0f ? 0.0f : mixed >= 255.0f ? 255.0f : mixed);
}

static void blend_with_constant(uint8_t *pixels, int64_t count, int base, float factor)
{
    uint8_t table[256];
    for (int v = 0; v < 256; v++) table[v] = blend(base, v, factor);
    map_values(pixels, count, table);
}

void dg_image_brightness(uint8_t *pixels, int64_t count, float factor)
{
    blend_with_constant(pixels, count, 0, factor);
}

void dg_image_contrast(uint8_t *pixels, int64_t count, float factor)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < count; i++) sum += luma(pixels + 3 * i);
    blend_with_constant(pixels, count, (int)((double)sum / (double)count + 0.5), factor);
}

void dg_image_saturation(uint8_t *pixels, int64_t count, float factor)
{
    for (int64_t i = 0; i < count; i++) {
        uint8_t *rgb = pixels + 3 * i;
        int base = luma(rgb);
        for (int c = 0; c < 3; c++) rgb[c] = blend(base, rgb[c], factor);
    }
}

void dg_image_gray(uint8_t *pixels, int64_t count)
{
    for (int64_t i = 0; i < count; i++) memset(pixels + 3 * i, luma(pixels + 3 * i), 3);
}

void dg_image_solarize(uint8_t *pixels, int64_t count, int threshold)
{
    for (int64_t i = 0; i < 3 * count; i++) {
        if (pixels[i] >= threshold) pixels[i] = (uint8_t)(255 - pixels[i]);
    }
}

/* Hue 0..255 -> its sector of the colour wheel and its place in it, as Pillow's hsv2rgb. */
struct hue_place {
    int sector;
    float into;
};

static inline uint8_t round_positive(double x) { return (uint8_t)(x + 0.5); }

/* RGB -> HSV in 8 bits, hue moved, -> RGB. The mixture of f32 and f64 is Pillow's, and so is its rounding. */
void dg_image_hue(uint8_t *pixels, int64_t count, float shift)
{
    struct hue_place place[256];
    uint8_t moved = (uint8_t)(int)((double)shift * 255); /* towards zero, then modulo 256 */
    for (int h = 0; h < 256; h++) {
        uint8_t hue = (uint8_t)(h + moved);
        double turn = (float)hue * 6.0 / 255.0;
        place[h] = (struct hue_place){(int)turn % 6, (float)(turn - (int)turn)};
    }
    for (int64_t i = 0; i < count; i++) {
        uint8_t *rgb = pixels + 3 * i;
        int r = rgb[0], g = rgb[1], b = rgb[2];
        int high = r > g ? r : g, low = r > g ? g : r;
        high = high > b ? high : b;
        low = low < b ? low : b;
        if (high == low) continue; /* gray: hue and saturation are 0, so it stays */

        /* Of (high - r, high - g, high - b) / chroma one is exactly 0 and one exactly 1: one division is enough. */
        float chroma = (float)(high - low), middle = (float)(high - (r + g + b - high - low)) / chroma;
        float rc = r == high ? 0.0f : r == low ? 1.0f : middle;
        float gc = g == high ? 0.0f : g == low ? 1.0f : middle;
        float bc = b == high ? 0.0f : b == low ? 1.0f : middle;
        float angle = r == high ? bc - gc : g == high ? (float)(2.0 + rc - bc) : (float)(4.0 + gc - rc);
        double turn = angle / 6.0 + 1.0;
        float wrapped = (float)(turn >= 1.0 ? turn - 1.0 : turn);
        int hue = (int)(wrapped * 255.0), saturation = (int)(chroma / (float)high * 255.0);

        if (saturation == 0) {
            memset(rgb, high, 3);
            continue;
        }
        struct hue_place at = place[hue];
        float fs = (float)(saturation / 255.0);
        uint8_t v = (uint8_t)high, p = round_positive(v * (1.0 - fs)), q = round_positive(v * (1.0 - fs * at.into)),
                t = round_positive(v * (1.0 - fs * (1.0 - at.into)));
        switch (at.sector) {
        case 0: rgb[0] = v, rgb[1] = t, rgb[2] = p; break;
        case 1: rgb[0] = q, rgb[1] = v, rgb[2] = p; break;
        case 2: rgb[0] = p, rgb[1] = v, rgb[2] = t; break;
        case 3: rgb[0] = p, rgb[1] = q, rgb[2] = v; break;
        case 4: rgb[0] = t, rgb[1] = p, rgb[2] = v; break;
        case 5: rgb[0] = v, rgb[1] = p, rgb[2] = q; break;
        }
    }
}

/* ---- blur ---- */

/* An extended box: `reach` whole neighbours a side and a fraction of the next, in 24-bit fixed point. */
struct box_filter {
    int reach;
    uint32_t whole, fraction;
};

static struct box_filter box_of_sigma(float sigma)
{
    const int passes = 3;
    float sigma2 = sigma * sigma / passes;
    float length = (float)sqrt(12.0 * sigma2 + 1.0);
    float l = (float)floor((length - 1.0) / 2.0);
    float a = (2 * l + 1) * (l * (l + 1) - 3 * sigma2);
    a /= 6 * (sigma2 - (l + 1) * (l + 1));
    float radius = l + a;
    struct box_filter box = {.reach = (int)radius};
    box.whole = (uint32_t)((float)(1u << 24) / (radius * 2 + 1));
    box.fraction = ((1u << 24) - (uint32_t)(box.reach * 2 + 1) * box.whole) / 2;
    return box;
}

/* `count` values whose neighbours are `step` bytes apart, reach + 1 of them on each side. */
DG_IMAGE_BODY box_pass_body(const uint8_t *in, ptrdiff_t step, struct box_filter box, int count, uint8_t *out)
{
    enum { BLOCK = 64 };
    uint32_t sum[BLOCK];
    for (int x = 0; x < count; x += BLOCK) {
        int n = count - x < BLOCK ? count - x : BLOCK;
        const uint8_t *at = in + x, *before = at - (box.reach + 1) * step, *after = at + (box.reach + 1) * step;
        for (int i = 0; i < n; i++) sum[i] = at[i];
        for (int k = 1; k <= box.reach; k++) {
            for (int i = 0; i < n; i++) sum[i] += (uint32_t)at[i - k * step] + at[i + k * step];
        }
        for (int i = 0; i < n; i++) {
            uint32_t edges = (uint32_t)before[i] + after[i];
            out[x + i] = (uint8_t)((sum[i] * box.whole + edges * box.fraction + (1u << 23)) >> 24);
        }
    }
}
DG_IMAGE_LEVELS(box_pass, (const uint8_t *in, ptrdiff_t step, struct box_filter box, int count, uint8_t *out),
                (in, step, box, count, out))

/* Repeats the first and the last element of `size` bytes `margin` times outside `line`. */
static void repeat_edges(uint8_t *line, size_t size, size_t count, int margin)
{
    uint8_t *end = line + size * count;
    for (int k = 0; k < margin; k++) {
        memcpy(line - (size_t)(k + 1) * size, line, size);
        memcpy(end + (size_t)k * size, end - size, size);
    }
}

enum dg_status dg_image_blur(uint8_t *pixels, int width, int height, float sigma, struct dg_scratch *work,
                             struct dg_error *err)
{
    struct box_filter box = box_of_sigma(sigma);
    int margin = box.reach + 1;
    size_t row = (size_t)width * 3, padded_row = row + 6 * (size_t)margin;
    size_t plane = row * ((size_t)height + 2 * (size_t)margin);
    DG_TRY(dg_scratch_reserve(work, 2 * padded_row + 2 * plane, err));
    uint8_t *line[2], *rows[2];
    for (int i = 0; i < 2; i++) {
        line[i] = (uint8_t *)work->bytes + (size_t)i * padded_row + 3 * (size_t)margin;
        rows[i] = (uint8_t *)work->bytes + 2 * padded_row + (size_t)i * plane + row * (size_t)margin;
    }
    for (int y = 0; y < height; y++) {
        memcpy(line[0], pixels + (size_t)y * row, row);
        repeat_edges(line[0], 3, (size_t)width, margin);
        box_pass(line[0], 3, box, (int)row, line[1]);
        repeat_edges(line[1], 3, (size_t)width, margin);
        box_pass(line[1], 3, box, (int)row, line[0]);
        repeat_edges(line[0], 3, (size_t)width, margin);
        box_pass(line[0], 3, box, (int)row, rows[0] + (size_t)y * row);
    }
    for (int pass = 0; pass < 3; pass++) {
        uint8_t *in = rows[pass % 2], *out = pass == 2 ? pixels : rows[(pass + 1) % 2];
        repeat_edges(in, row, (size_t)height, margin);
        for (int y = 0; y < height; y++)
            box_pass(in + (size_t)y * row, (ptrdiff_t)row, box, (int)row, out + (size_t)y * row);
    }
    return DG_OK;
}

/* ---- flips and turns ---- */

void dg_image_flip_vertically(uint8_t *pixels, int width, int height)
{
    size_t row = (size_t)width * 3;
    for (int y = 0; y < height / 2; y++) {
        uint8_t *a = pixels + (size_t)y * row, *b = pixels + (size_t)(height - 1 - y) * row;
        for (size_t i = 0; i < row; i++) {
            uint8_t value = a[i];
            a[i] = b[i];
            b[i] = value;
        }
    }
}

enum dg_status dg_image_turn(uint8_t *pixels, int side, int turns, struct dg_scratch *work, struct dg_error *err)
{
    /* By turns: the pixel that becomes the first, and how far from one to the next, down and across. */
    const ptrdiff_t n = side, count = n * n;
    const ptrdiff_t first[] = {0, count - n, count - 1, n - 1}, down[] = {n, 1, -n, -1}, across[] = {1, -n, -1, n};
    DG_TRY(dg_scratch_reserve(work, 3 * (size_t)count, err));
    const uint8_t *from = memcpy(work->bytes, pixels, 3 * (size_t)count);
    for (ptrdiff_t y = 0; y < n; y++)
        for (ptrdiff_t x = 0; x < n; x++, pixels += 3)
            memcpy(pixels, from + 3 * (first[turns] + y * down[turns] + x * across[turns]), 3);
    return DG_OK;
}

/* ---- the view ---- */

enum dg_status dg_view_apply(const struct dg_view_spec *spec, const struct dg_view_draw *draw,
                             const struct dg_image *image, uint8_t *out, struct dg_scratch *work, struct dg_error *err)
{
    static void (*const jitter[DG_JITTER_COUNT])(uint8_t * pixels, int64_t count, float factor) = {
        dg_image_brightness, dg_image_contrast, dg_image_saturation, dg_image_hue};
    int64_t count = (int64_t)spec->height * spec->width;
    DG_TRY(dg_image_resize(image, draw->crop, spec->how, spec->width, spec->height, out, work, err));
    if (draw->flip) dg_image_flip(out, spec->width, spec->height);
    if (draw->vertical_flip) dg_image_flip_vertically(out, spec->width, spec->height);
    if (draw->turns) DG_TRY(dg_image_turn(out, spec->width, draw->turns, work, err));
    for (int i = 0; i < draw->jitter_count; i++) jitter[draw->jitter[i]](out, count, draw->factor[draw->jitter[i]]);
    if (draw->gray) dg_image_gray(out, count);
    if (draw->blur_sigma > 0) DG_TRY(dg_image_blur(out, spec->width, spec->height, draw->blur_sigma, work, err));
    if (draw->solarize) dg_image_solarize(out, count, spec->solarize_threshold);
    return DG_OK;
}

struct dg_normalizer dg_normalizer_make(const double mean[3], const double std[3])
{
    struct dg_normalizer normalizer;
    for (int c = 0; c < 3; c++) {
        for (int v = 0; v < 256; v++) normalizer.value[c][v] = ((float)v / 255.0f - (float)mean[c]) / (float)std[c];
    }
    return normalizer;
}

void dg_normalize(const struct dg_normalizer *normalizer, const uint8_t *in, int64_t pixels, float *out)
{
    for (int64_t i = 0; i < pixels; i++) {
        for (int c = 0; c < 3; c++) out[3 * i + c] = normalizer->value[c][in[3 * i + c]];
    }
}

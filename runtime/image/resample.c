#include "runtime/image/resample.h"

#include "runtime/image/simd.h"

#include <math.h>
#include <string.h>

enum { WEIGHT_BITS = 22 };

/* ---- weights ---- */

/* The weights of one axis: output x is the sum of weight[x][j] * in[first[x] + j]. */
struct axis {
    int from, to;    /* the input positions that any output uses */
    int taps;        /* row length of `weight`; unused weights are 0 */
    int *first;      /* [outputs] */
    int *count;      /* [outputs] */
    int32_t *weight; /* [outputs, taps], 22 fractional bits */
};

static double filter_bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double filter_bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double sinc(double x)
{
    if (x == 0.0) return 1.0;
    x *= M_PI;
    return sin(x) / x;
}

static double filter_lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

static const struct {
    double support;
    double (*shape)(double);
} filters[] = {[DG_FILTER_BICUBIC] = {2.0, filter_bicubic},
               [DG_FILTER_BILINEAR] = {1.0, filter_bilinear},
               [DG_FILTER_LANCZOS] = {3.0, filter_lanczos}};

static int axis_taps(enum dg_filter filter, float extent, int out)
{
    double scale = (double)extent / out;
    return (int)ceil(filters[filter].support * (scale < 1.0 ? 1.0 : scale)) * 2 + 1;
}

/* Bytes of the three arrays and of one row of weights before rounding. */
static size_t axis_bytes(int taps, int outputs)
{
    return (size_t)outputs * (2 * sizeof(int) + (size_t)taps * sizeof(int32_t)) + (size_t)taps * sizeof(double) + 64;
}

/* Pixels of an axis, and how many of them are resized: a whole number but for reduced images. */
struct input {
    int pixels;
    float extent;
};

/* Computes the weights of outputs offset .. offset + outputs - 1 of an axis resized to `out`. `place` has axis_bytes
 * bytes. */
static struct axis axis_build(enum dg_filter filter, struct input in, int out, int offset, int outputs, char *place)
{
    struct axis axis = {.from = in.pixels, .taps = axis_taps(filter, in.extent, out)};
    double *row = (double *)place;
    axis.weight = (int32_t *)(row + axis.taps);
    axis.first = axis.weight + (size_t)outputs * (size_t)axis.taps;
    axis.count = axis.first + outputs;

    double (*shape)(double) = filters[filter].shape;
    double scale = (double)in.extent / out, stretch = scale < 1.0 ? 1.0 : scale;
    double support = filters[filter].support * stretch, shrink = 1.0 / stretch;
    for (int i = 0; i < outputs; i++) {
        double center = (offset + i + 0.5) * scale, sum = 0;
        int lo = (int)(center - support + 0.5), hi = (int)(center + support + 0.5);
        if (lo < 0) lo = 0;
        if (hi > in.pixels) hi = in.pixels;
        for (int j = lo; j < hi; j++) sum += row[j - lo] = shape((j - center + 0.5) * shrink);
        int32_t *weight = axis.weight + (size_t)i * (size_t)axis.taps;
        memset(weight, 0, (size_t)axis.taps * sizeof *weight);
        for (int j = 0; j < hi - lo; j++) {
            double scaled = (sum != 0.0 ? row[j] / sum : row[j]) * (1 << WEIGHT_BITS);
            weight[j] = (int32_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
        }
        axis.first[i] = lo;
        axis.count[i] = hi - lo;
        if (lo < axis.from) axis.from = lo;
        if (hi > axis.to) axis.to = hi;
    }
    return axis;
}

/* ---- the two passes ---- */

typedef int32_t i32x4 __attribute__((vector_size(16)));

static inline uint8_t from_fixed(int32_t sum)
{
    sum >>= WEIGHT_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Resizes one row of `pixels` pixels, which are first converted to 32 bits in `wide`, since four outputs or more read
 * each. */
DG_IMAGE_BODY resize_row_body(const uint8_t *in, int pixels, i32x4 *wide, const struct axis *axis, int outputs,
                              uint8_t *out)
{
    for (int x = 0; x < pixels; x++) wide[x] = (i32x4){in[3 * x], in[3 * x + 1], in[3 * x + 2]};
    for (int x = 0; x < outputs; x++) {
        const i32x4 *pixel = wide + axis->first[x];
        const int32_t *weight = axis->weight + (size_t)x * (size_t)axis->taps;
        const int32_t half = 1 << (WEIGHT_BITS - 1);
        i32x4 sum = {half, half, half};
        for (int j = 0; j < axis->count[x]; j++) sum += pixel[j] * weight[j];
        for (int c = 0; c < 3; c++) out[3 * x + c] = from_fixed(sum[c]);
    }
}

DG_IMAGE_LEVELS(resize_row,
                (const uint8_t *in, int pixels, i32x4 *wide, const struct axis *axis, int outputs, uint8_t *out),
                (in, pixels, wide, axis, outputs, out))

/* Computes one output row from `count` input rows, `stride` bytes apart. */
DG_IMAGE_BODY resize_column_body(const uint8_t *in, size_t stride, const int32_t *weight, int count, int bytes,
                                 uint8_t *out)
{
    enum { BLOCK = 64 };
    int x = 0;
    for (; x + BLOCK <= bytes; x += BLOCK) {
        int32_t sum[BLOCK];
        for (int i = 0; i < BLOCK; i++) sum[i] = 1 << (WEIGHT_BITS - 1);
        for (int j = 0; j < count; j++) {
            const uint8_t *row = in + (size_t)j * stride + x;
            for (int i = 0; i < BLOCK; i++) sum[i] += row[i] * weight[j];
        }
        for (int i = 0; i < BLOCK; i++) out[x + i] = from_fixed(sum[i]);
    }
    for (; x < bytes; x++) {
        int32_t sum = 1 << (WEIGHT_BITS - 1);
        for (int j = 0; j < count; j++) sum += in[(size_t)j * stride + x] * weight[j];
        out[x] = from_fixed(sum);
    }
}

DG_IMAGE_LEVELS(resize_column,
                (const uint8_t *in, size_t stride, const int32_t *weight, int count, int bytes, uint8_t *out),
                (in, stride, weight, count, bytes, out))

/* ---- resizing ---- */

/* A box of an image on its way to width x height, of which the window is computed. */
struct resizing {
    const uint8_t *corner; /* the box's first pixel */
    size_t stride;         /* bytes from row to row of the image */
    struct dg_box box, window;
    bool resize_x, resize_y;
    struct axis x, y;
    i32x4 *wide;      /* [box.width] */
    uint8_t *between; /* what the first pass makes */
    uint8_t *out;     /* [window.height, window.width, 3] */
};

static bool vertical_is_first(struct dg_box box, struct dg_resampling how, int width, int height)
{
    if (how.pillow == 12) return false;
    int64_t lost = (int64_t)box.height - height;
    return lost > 0 && lost > 2 * ((int64_t)box.width - width);
}

static void resize_x_then_y(struct resizing *r)
{
    size_t row_bytes = (size_t)r->window.width * 3;
    if (!r->resize_y) {
        r->y.from = r->window.top;
        r->y.to = r->window.top + r->window.height;
        r->between = r->out;
    }
    for (int row = r->y.from; row < r->y.to; row++) {
        const uint8_t *in = r->corner + (size_t)row * r->stride;
        uint8_t *to = r->between + (size_t)(row - r->y.from) * row_bytes;
        if (r->resize_x)
            resize_row(in, r->box.width, r->wide, &r->x, r->window.width, to);
        else
            memcpy(to, in + (size_t)r->window.left * 3, row_bytes);
    }
    for (int row = 0; r->resize_y && row < r->window.height; row++) {
        resize_column(r->between + (size_t)(r->y.first[row] - r->y.from) * row_bytes, row_bytes,
                      r->y.weight + (size_t)row * (size_t)r->y.taps, r->y.count[row], (int)row_bytes,
                      r->out + (size_t)row * row_bytes);
    }
}

/* Each row of the window at once: the row between the passes is as wide as the box. */
static void resize_y_then_x(struct resizing *r)
{
    for (int row = 0; row < r->window.height; row++) {
        resize_column(r->corner + (size_t)r->y.first[row] * r->stride, r->stride,
                      r->y.weight + (size_t)row * (size_t)r->y.taps, r->y.count[row], 3 * r->box.width, r->between);
        uint8_t *to = r->out + (size_t)row * (size_t)r->window.width * 3;
        if (r->resize_x)
            resize_row(r->between, r->box.width, r->wide, &r->x, r->window.width, to);
        else
            memcpy(to, r->between + (size_t)r->window.left * 3, (size_t)r->window.width * 3);
    }
}

/* What is resized to width x height: `across` x `down` pixels of a box, from its upper left corner. What is computed of
 * that: the window. */
struct part {
    struct dg_box box;
    float across, down;
    int width, height;
    struct dg_box window;
};

static enum dg_status resize_part(const struct dg_image *image, const struct part *p, struct dg_resampling how,
                                  uint8_t *out, struct dg_scratch *work, struct dg_error *err)
{
    const struct dg_box box = p->box, window = p->window;
    if (box.width < 1 || box.height < 1 || box.left < 0 || box.top < 0 || box.left > image->width - box.width ||
        box.top > image->height - box.height || p->width < 1 || p->height < 1) {
        return dg_fail(err, DG_ERR_USAGE, "cannot resize the box %d x %d at (%d, %d) of an image of %d x %d to %d x %d",
                       box.width, box.height, box.left, box.top, image->width, image->height, p->width, p->height);
    }
    const struct input columns = {box.width, p->across}, rows = {box.height, p->down};
    size_t x_bytes = axis_bytes(axis_taps(how.filter, p->across, p->width), window.width);
    size_t y_bytes = axis_bytes(axis_taps(how.filter, p->down, p->height), window.height);
    x_bytes = (x_bytes + 63) / 64 * 64;
    y_bytes = (y_bytes + 63) / 64 * 64;
    bool y_first = p->height != box.height && vertical_is_first(box, how, p->width, p->height);
    size_t wide_bytes = (size_t)box.width * sizeof(i32x4);
    size_t between_bytes = y_first ? (size_t)box.width * 3 : (size_t)window.width * 3 * (size_t)box.height;
    DG_TRY(dg_scratch_reserve(work, x_bytes + y_bytes + wide_bytes + between_bytes, err));
    char *place = work->bytes;
    struct resizing r = {.stride = (size_t)image->width * 3,
                         .box = box,
                         .window = window,
                         .resize_x = (float)p->width != p->across,
                         .resize_y = (float)p->height != p->down,
                         .x = axis_build(how.filter, columns, p->width, window.left, window.width, place),
                         .y = axis_build(how.filter, rows, p->height, window.top, window.height, place + x_bytes),
                         .wide = (i32x4 *)(place + x_bytes + y_bytes),
                         .between = (uint8_t *)place + x_bytes + y_bytes + wide_bytes,
                         .out = out};
    r.corner = image->pixels + (size_t)box.top * r.stride + (size_t)box.left * 3;
    (y_first ? resize_y_then_x : resize_x_then_y)(&r);
    return DG_OK;
}

enum dg_status dg_image_resize_extent(const struct dg_image *image, float across, float down, struct dg_resampling how,
                                      int width, int height, uint8_t *out, struct dg_scratch *work,
                                      struct dg_error *err)
{
    const struct part part = {{0, 0, image->width, image->height}, across, down, width, height, {0, 0, width, height}};
    return resize_part(image, &part, how, out, work, err);
}

enum dg_status dg_image_resize(const struct dg_image *image, struct dg_box box, struct dg_resampling how, int width,
                               int height, uint8_t *out, struct dg_scratch *work, struct dg_error *err)
{
    const struct part part = {box, (float)box.width, (float)box.height, width, height, {0, 0, width, height}};
    return resize_part(image, &part, how, out, work, err);
}

static int center_offset(int outer, int inner) { return (int)rint((outer - inner) / 2.0); }

enum dg_status dg_image_resize_center_crop(const struct dg_image *image, struct dg_resampling how, int resize,
                                           int width, int height, uint8_t *out, struct dg_scratch *work,
                                           struct dg_error *err)
{
    int64_t cover_w = resize, cover_h = (2 * (int64_t)resize * height + width) / (2 * (int64_t)width);
    int64_t in_w = image->width, in_h = image->height, full_w, full_h;
    if (in_w * cover_h <= in_h * cover_w) { /* relatively narrow: the width is the tight side */
        full_w = cover_w;
        full_h = cover_w * in_h / in_w;
    } else {
        full_h = cover_h;
        full_w = cover_h * in_w / in_h;
    }
    if (full_w < width || full_h < height || full_w * full_h > DG_IMAGE_MAX_PIXELS) {
        return dg_fail(err, DG_ERR_INPUT,
                       "an image of %lld x %lld pixels cannot be resized to %lld x %lld and cut to %d x %d",
                       (long long)in_w, (long long)in_h, (long long)full_w, (long long)full_h, width, height);
    }
    const struct part part = {
        .box = {0, 0, image->width, image->height},
        .across = (float)image->width,
        .down = (float)image->height,
        .width = (int)full_w,
        .height = (int)full_h,
        .window = {center_offset((int)full_w, width), center_offset((int)full_h, height), width, height}};
    return resize_part(image, &part, how, out, work, err);
}

void dg_image_flip(uint8_t *pixels, int width, int height)
{
    for (int y = 0; y < height; y++) {
        uint8_t *left = pixels + (size_t)y * (size_t)width * 3, *right = left + ((size_t)width - 1) * 3;
        for (; left < right; left += 3, right -= 3) {
            uint8_t swapped[3];
            memcpy(swapped, left, 3);
            memcpy(left, right, 3);
            memcpy(right, swapped, 3);
        }
    }
}

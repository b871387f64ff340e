#include "runtime/video/segment.h"

#include "runtime/eval/nearest.h"
#include "runtime/image/opencv.h"
#include "runtime/video/propagate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MULTIPLE = 64 }; /* of the long side */

const double dg_video_std[3] = {0.228, 0.224, 0.225};

static enum dg_status no_memory(struct dg_error *err)
{
    return dg_fail(err, DG_ERR_MEMORY, "no memory for the labels of a video");
}

struct dg_fit_size dg_video_frame_size(int height, int width, int short_side)
{
    int64_t side = short_side;
    if (height > width) return (struct dg_fit_size){(int)(side * height / width / MULTIPLE * MULTIPLE), short_side};
    return (struct dg_fit_size){short_side, (int)(side * width / height / MULTIPLE * MULTIPLE)};
}

/* ---- from soft labels to a mask ---- */

/* Between which two patches a pixel lies, and how far from the first. */
struct between {
    int first, second;
    float part;
};

static struct between between_of(int i, int patch, int count)
{
    float at = ((float)i + 0.5f) / (float)patch - 0.5f;
    if (at < 0) at = 0;
    int first = (int)at;
    return (struct between){first, first + (first + 1 < count), at - (float)first};
}

/* Resizes a channel [rows, cols] by `patch`, and stretches it to 0 .. 1. */
static void enlarge(const float *label, int rows, int cols, int patch, float *out)
{
    int64_t pixels = (int64_t)rows * cols * patch * patch;
    float least = INFINITY, most = -INFINITY;
    for (int y = 0, i = 0; y < rows * patch; y++) {
        struct between v = between_of(y, patch, rows);
        const float *above = label + (ptrdiff_t)v.first * cols, *below = label + (ptrdiff_t)v.second * cols;
        for (int x = 0; x < cols * patch; x++, i++) {
            struct between h = between_of(x, patch, cols);
            out[i] = (1 - v.part) * ((1 - h.part) * above[h.first] + h.part * above[h.second]) +
                     v.part * ((1 - h.part) * below[h.first] + h.part * below[h.second]);
            least = fminf(least, out[i]);
            most = fmaxf(most, out[i]);
        }
    }
    if (!(most > 0)) return;
    float range = most - least; /* 0: a channel that is equal everywhere becomes NaN, which wins, as in PyTorch */
    for (int64_t i = 0; i < pixels; i++) out[i] = (out[i] - least) / range;
}

enum dg_status dg_video_mask_of(const float *labels, int channels, int rows, int cols, int patch, int height, int width,
                                uint8_t *out, struct dg_error *err)
{
    int64_t pixels = (int64_t)rows * cols * patch * patch;
    float *channel = malloc((size_t)pixels * sizeof *channel), *best = malloc((size_t)pixels * sizeof *best);
    uint8_t *mask = calloc((size_t)pixels, 1);
    bool memory = !channel || !best || !mask;
    for (int c = 0; c < channels && !memory; c++) {
        float *to = c ? channel : best;
        enlarge(labels + (ptrdiff_t)c * rows * cols, rows, cols, patch, to);
        for (int64_t i = 0; i < pixels && c; i++)
            if (!isnan(best[i]) && !(channel[i] <= best[i])) {
                best[i] = channel[i];
                mask[i] = (uint8_t)c;
            }
    }
    if (!memory) dg_label_image_resize(mask, cols * patch, rows * patch, width, height, out);
    free(channel);
    free(best);
    free(mask);
    return memory ? no_memory(err) : DG_OK;
}

/* ---- a video ---- */

/* A frame that labels come from. */
struct source {
    float *features; /* [patches, dim] */
    float *labels;   /* [channels, patches] */
};

struct work {
    const struct dg_davis *davis;
    const struct dg_video *video;
    const struct dg_video_options *options;
    struct dg_video_result *result;
    struct dg_image_decoder decoder;
    struct dg_image image, resized;
    struct dg_scratch scratch;
    struct dg_patches patches;
    int64_t dim;
    int channels;
    struct source *source; /* [last_frames + 2]: the first frame, the last ones in a ring, and the frame itself */
    int sources;           /* of the ring that are filled */
};

/* Reads a frame, and runs the network on it: features [patches, dim] of length 1. */
static enum dg_status see(struct work *w, int frame, struct dg_sized_output *output, struct dg_error *err)
{
    char *path = dg_video_frame(w->davis, w->video, frame);
    enum dg_status status = path ? dg_image_decode_file(&w->decoder, path, &w->image, err) : no_memory(err);
    struct dg_video_result *r = w->result;
    if (status == DG_OK && !frame) {
        r->height = w->image.height;
        r->width = w->image.width;
    }
    if (status == DG_OK && (w->image.height != r->height || w->image.width != r->width))
        status = dg_fail(err, DG_ERR_INPUT, "%s has %dx%d pixels, and the video's first frame %dx%d", path,
                         w->image.width, w->image.height, r->width, r->height);
    struct dg_fit_size size = dg_video_frame_size(r->height, r->width, w->options->short_side);
    if (status == DG_OK && (size.height < 1 || size.width < 1))
        status = dg_fail(err, DG_ERR_INPUT, "%s: %dx%d pixels leave no 64 of the long side", path, r->width, r->height);
    if (status == DG_OK) status = dg_opencv_resize(&w->image, size.width, size.height, &w->resized, &w->scratch, err);
    if (status == DG_OK)
        status = dg_sizes_run(w->options->sizes, w->resized.pixels, size.height, size.width, path, output, err);
    free(path);
    return status;
}

static void take_features(const struct work *w, const struct dg_sized_output *output, float *features)
{
    int64_t count = dg_patches_count(&w->patches);
    memcpy(features, output->output + w->patches.first * w->dim, (size_t)(count * w->dim) * sizeof *features);
    dg_features_normalize(features, count, w->dim, w->options->threads);
}

static enum dg_status open_sources(struct work *w, struct dg_error *err)
{
    int64_t count = dg_patches_count(&w->patches);
    int all = w->options->last_frames + 2;
    w->source = calloc((size_t)all, sizeof *w->source);
    for (int s = 0; w->source && s < all; s++) {
        w->source[s].features = malloc((size_t)(count * w->dim) * sizeof(float));
        w->source[s].labels = malloc((size_t)(count * w->channels) * sizeof(float));
        if (!w->source[s].features || !w->source[s].labels) return no_memory(err);
    }
    return w->source ? DG_OK : no_memory(err);
}

/* One channel for the ground and one for each object, 1 where the nearest pixel of the annotation has it. */
static enum dg_status label_first(struct work *w, const struct dg_label_image *annotation, struct dg_error *err)
{
    int64_t count = dg_patches_count(&w->patches);
    uint8_t *small = malloc((size_t)count);
    if (!small) return no_memory(err);
    dg_label_image_resize(annotation->label, annotation->width, annotation->height, w->patches.cols, w->patches.rows,
                          small);
    for (int64_t i = 0; i < count; i++) w->channels = small[i] + 1 > w->channels ? small[i] + 1 : w->channels;
    enum dg_status status = open_sources(w, err);
    for (int64_t i = 0; i < count && status == DG_OK; i++)
        for (int c = 0; c < w->channels; c++) w->source[0].labels[c * count + i] = small[i] == c;
    free(small);
    return status;
}

static struct dg_propagation propagation_of(const struct work *w)
{
    const struct dg_video_options *o = w->options;
    return (struct dg_propagation){.rows = w->patches.rows,
                                   .cols = w->patches.cols,
                                   .dim = w->dim,
                                   .radius = o->radius,
                                   .top = o->top,
                                   .temperature = o->temperature,
                                   .channels = w->channels,
                                   .threads = o->threads};
}

static void say_start(const struct work *w)
{
    const struct dg_video_options *o = w->options;
    const struct dg_propagation p = propagation_of(w);
    int64_t count = dg_patches_count(&w->patches);
    const struct dg_video_start start = {
        .video = w->video,
        .height = w->resized.height,
        .width = w->resized.width,
        .rows = p.rows,
        .cols = p.cols,
        .objects = w->result->objects,
        .propagation = (o->last_frames + 2) * count * (w->dim + w->channels) * (int64_t)sizeof(float) +
                       dg_propagation_bytes(&p, o->last_frames + 1) +
                       (int64_t)w->video->frames * w->result->height * w->result->width};
    if (o->start) o->start(o->context, &start);
}

static enum dg_status begin(struct work *w, struct dg_error *err)
{
    struct dg_video_result *r = w->result;
    struct dg_label_image annotation = {0};
    struct dg_sized_output output = {0};
    DG_TRY(see(w, 0, &output, err));
    DG_TRY(dg_patches_init(output.plan, DG_ENTRY_TOKENS, &w->patches, err));
    w->dim = output.dim / dg_patches_tokens(&w->patches);
    enum dg_status status = dg_video_read_annotation(w->davis, w->video, 0, &annotation, err);
    if (status == DG_OK && (annotation.width != r->width || annotation.height != r->height))
        status = dg_fail(err, DG_ERR_INPUT, "%s: its first annotation has %dx%d pixels, and the frame %dx%d",
                         w->video->name, annotation.width, annotation.height, r->width, r->height);
    if (status == DG_OK) {
        r->objects = dg_label_image_largest(&annotation);
        memcpy(r->palette, annotation.palette, sizeof r->palette);
        status = label_first(w, &annotation, err);
    }
    if (status == DG_OK) take_features(w, &output, w->source[0].features);
    if (status == DG_OK) {
        r->mask[0] = annotation.label;
        annotation.label = NULL;
        say_start(w);
    }
    dg_label_image_free(&annotation);
    return status;
}

/* The frame's own place is behind the ring. Its features and labels take the place of the oldest frame's. */
static enum dg_status follow(struct work *w, int frame, struct dg_error *err)
{
    struct dg_video_result *r = w->result;
    int ring = w->options->last_frames;
    struct dg_propagation_source *from = calloc((size_t)ring + 1, sizeof *from);
    struct source *own = &w->source[ring + 1];
    struct dg_sized_output output = {0};
    if (!from) return no_memory(err);
    enum dg_status status = see(w, frame, &output, err);
    if (status == DG_OK) {
        const struct dg_propagation p = propagation_of(w);
        take_features(w, &output, own->features);
        for (int s = 0; s <= w->sources; s++)
            from[s] = (struct dg_propagation_source){w->source[s].features, w->source[s].labels};
        status = dg_propagate(&p, own->features, from, w->sources + 1, own->labels, err);
    }
    free(from);
    DG_TRY(status);
    r->mask[frame] = malloc((size_t)r->width * (size_t)r->height);
    if (!r->mask[frame]) return no_memory(err);
    DG_TRY(dg_video_mask_of(own->labels, w->channels, w->patches.rows, w->patches.cols, w->patches.size, r->height,
                            r->width, r->mask[frame], err));
    if (!ring) return DG_OK;
    struct source *oldest = &w->source[1 + (frame - 1) % ring], swapped = *oldest;
    *oldest = *own;
    *own = swapped;
    if (w->sources < ring) w->sources++;
    return DG_OK;
}

static void close_work(struct work *w)
{
    for (int s = 0; w->source && s < w->options->last_frames + 2; s++) {
        free(w->source[s].features);
        free(w->source[s].labels);
    }
    free(w->source);
    dg_image_decoder_free(&w->decoder);
    dg_image_free(&w->image);
    dg_image_free(&w->resized);
    dg_scratch_free(&w->scratch);
}

enum dg_status dg_video_segment(const struct dg_davis *davis, const struct dg_video *video,
                                const struct dg_video_options *options, struct dg_video_result *result,
                                struct dg_error *err)
{
    struct work w = {.davis = davis, .video = video, .options = options, .result = result};
    result->mask = calloc((size_t)video->frames, sizeof *result->mask);
    if (!result->mask) return no_memory(err);
    result->frames = video->frames;
    enum dg_status status = begin(&w, err);
    for (int frame = 1; frame < video->frames && status == DG_OK; frame++) {
        status = follow(&w, frame, err);
        if (status == DG_OK && options->progress) options->progress(options->context, frame + 1, video->frames);
    }
    close_work(&w);
    return status;
}

void dg_video_result_free(struct dg_video_result *result)
{
    for (int i = 0; result->mask && i < result->frames; i++) free(result->mask[i]);
    free(result->mask);
    *result = (struct dg_video_result){0};
}

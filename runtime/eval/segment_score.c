#include "runtime/eval/segment_score.h"

#include "runtime/image/decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is scored: each head, the heads' mean, everything; and behind them, of the best head. */
enum { MEAN, ALL, BEST, TOGETHER, EXTRA };

struct scoring {
    const struct dg_patches *patches;
    double keep;
    bool exif;
    int heads, threads;
    const char **path; /* [count] images that have masks */
    char **mask;       /* [count] paths */
    int64_t count;
    int *objects;             /* [count]; UNREAD: the image or its mask could not be read */
    double *score;            /* [count, heads + EXTRA] */
    struct dg_bad_images bad; /* masks that cannot be used */
    void (*progress)(int64_t done, int64_t all);
};

enum { UNREAD = -1 };

/* Buffers for scoring one image. */
struct room {
    struct dg_image_decoder decoder;
    struct dg_image image; /* the mask's */
    uint8_t *label;        /* [height, width] of the image */
    uint8_t *patches;      /* [heads + 2, patches]: masks of the heads, of their mean, of everything */
    float *map;            /* [heads + 1, patches] */
};

/* A mask of another size belongs to another picture, or has been resized: its labels are then somewhere else. */
static enum dg_status check_size(struct room *room, bool exif, const char *picture, const char *mask,
                                 struct dg_error *err)
{
    room->decoder.turns = exif;
    DG_TRY(dg_image_decode_file(&room->decoder, picture, &room->image, err));
    int width = room->image.width, height = room->image.height;
    room->decoder.turns = false;
    DG_TRY(dg_image_decode_file(&room->decoder, mask, &room->image, err));
    if (room->image.width == width && room->image.height == height) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "the mask %s has %dx%d pixels and its image %s has %dx%d: they must be equal",
                   mask, room->image.width, room->image.height, picture, width, height);
}

static enum dg_status make_masks(const struct scoring *s, struct room *room, const float *probs, struct dg_error *err)
{
    int64_t count = dg_patches_count(s->patches);
    DG_TRY(dg_attention_maps(probs, s->heads, dg_patches_tokens(s->patches), s->patches->first, room->map, err));
    dg_attention_mean(room->map, s->heads, count, room->map + s->heads * count);
    for (int h = 0; h < s->heads + 1; h++)
        DG_TRY(dg_attention_mask(room->map + h * count, count, s->keep, room->patches + h * count, err));
    memset(room->patches + (s->heads + 1) * count, 1, (size_t)count);
    return DG_OK;
}

/* Means over the objects, and the best heads. */
static void score_masks(const struct scoring *s, const struct room *room, int objects, double *score)
{
    int64_t count = dg_patches_count(s->patches);
    int height = room->image.height, width = room->image.width;
    memset(score, 0, (size_t)(s->heads + EXTRA) * sizeof *score);
    double *extra = score + s->heads;
    for (int object = 1; object <= objects; object++) {
        double best = 0;
        for (int h = 0; h < s->heads + 2; h++) {
            double one = dg_jaccard(room->label, height, width, object, room->patches + h * count, s->patches);
            score[h] += one / objects;
            if (h < s->heads && one > best) best = one;
        }
        extra[BEST] += best / objects;
    }
    for (int h = 0; h < s->heads; h++) {
        double one = dg_jaccard_together(room->label, height, width, room->patches + h * count, s->patches);
        if (one > extra[TOGETHER]) extra[TOGETHER] = one;
    }
}

static enum dg_status score_in(const struct scoring *s, struct room *room, int64_t i, const float *probs,
                               struct dg_error *err)
{
    int64_t count = dg_patches_count(s->patches);
    DG_TRY(check_size(room, s->exif, s->path[i], s->mask[i], err));
    room->label = malloc((size_t)room->image.width * (size_t)room->image.height);
    room->patches = malloc((size_t)(count * (s->heads + 2)));
    room->map = malloc((size_t)(count * (s->heads + 1)) * sizeof *room->map);
    if (!room->label || !room->patches || !room->map)
        return dg_fail(err, DG_ERR_MEMORY, "no memory for the mask %s", s->mask[i]);
    enum dg_status status = dg_mask_read(&room->image, room->label, &s->objects[i], err);
    if (status != DG_OK) dg_error_prefix(err, "%s", s->mask[i]);
    if (status != DG_OK || !s->objects[i]) return status;
    DG_TRY(make_masks(s, room, probs, err));
    score_masks(s, room, s->objects[i], s->score + i * (s->heads + EXTRA));
    return DG_OK;
}

static enum dg_status score_one(const struct scoring *s, int64_t i, const float *probs, struct dg_error *err)
{
    struct room room = {0};
    enum dg_status status = score_in(s, &room, i, probs, err);
    dg_image_decoder_free(&room.decoder);
    dg_image_free(&room.image);
    free(room.label);
    free(room.patches);
    free(room.map);
    return status;
}

static enum dg_status on_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                              struct dg_error *err)
{
    struct scoring *s = context;
    int64_t tokens = dg_patches_tokens(s->patches), size = s->heads * tokens * tokens, first = done - rows;
    int worst = DG_OK;
#pragma omp parallel for schedule(dynamic) num_threads(s->threads) reduction(max : worst)
    for (int64_t r = 0; r < rows; r++) {
        struct dg_error reason = {0};
        enum dg_status status = score_one(s, first + r, output + r * size, &reason);
        if (status == DG_OK) continue;
        s->objects[first + r] = UNREAD;
        if (status != DG_ERR_MEMORY) status = dg_bad_images_add(&s->bad, first + r, s->mask[first + r], &reason, NULL);
        if (status == DG_ERR_MEMORY) worst = DG_ERR_MEMORY;
    }
    if (worst != DG_OK) return dg_fail(err, DG_ERR_MEMORY, "no memory for the masks");
    if (s->progress) s->progress(done, all);
    return DG_OK;
}

/* masks/a/b.png for the image a/b.jpg; NULL: out of memory. */
static char *mask_path(const char *masks, const char *relative)
{
    char *path;
    const char *dot = strrchr(relative, '.');
    int stem = (int)(dot && !strchr(dot, '/') ? (size_t)(dot - relative) : strlen(relative));
    return asprintf(&path, "%s/%.*s.png", masks, stem, relative) < 0 ? NULL : path;
}

static enum dg_status find_masks(struct scoring *s, const struct dg_dataset *dataset, const char *masks,
                                 struct dg_segment_score *score, struct dg_error *err)
{
    int64_t all = dg_dataset_count(dataset);
    if (dg_dataset_has_archives(dataset))
        return dg_fail(err, DG_ERR_USAGE, "images are compared with masks as files: unpack the archive %s",
                       dg_dataset_path(dataset, 0));
    s->path = calloc((size_t)all, sizeof *s->path);
    s->mask = calloc((size_t)all, sizeof *s->mask);
    if (!s->path || !s->mask) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < all; i++) {
        char *mask = mask_path(masks, dg_dataset_relative(dataset, i));
        if (!mask) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
        if (access(mask, F_OK)) {
            free(mask);
            score->unmasked++;
            continue;
        }
        s->path[s->count] = dg_dataset_path(dataset, i);
        s->mask[s->count++] = mask;
    }
    if (s->count) return DG_OK;
    char *expected = mask_path(masks, dg_dataset_relative(dataset, 0));
    enum dg_status status = dg_fail(err, DG_ERR_INPUT, "no image has a mask: expected that of %s at %s, for example",
                                    dg_dataset_path(dataset, 0), expected ? expected : masks);
    free(expected);
    return status;
}

static void free_masks(struct scoring *s)
{
    for (int64_t i = 0; i < s->count; i++) free(s->mask[i]);
    free(s->path);
    free(s->mask);
}

enum dg_status dg_segment_count(const struct dg_dataset *dataset, const char *masks, int64_t *count,
                                struct dg_error *err)
{
    struct scoring s = {0};
    struct dg_segment_score score = {0};
    enum dg_status status = find_masks(&s, dataset, masks, &score, err);
    *count = s.count;
    free_masks(&s);
    return status;
}

int64_t dg_segment_bytes(int64_t images, int64_t heads)
{
    return images * ((heads + EXTRA) * (int64_t)sizeof(double) + (int64_t)(sizeof(int) + 2 * sizeof(char *)));
}

/* Adds up in the order of the images: the result does not depend on threads. */
static enum dg_status add_up(const struct scoring *s, const char *masks, struct dg_segment_score *score,
                             struct dg_error *err)
{
    score->heads = s->heads;
    score->head = calloc((size_t)s->heads, sizeof *score->head);
    if (!score->head) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < s->count; i++) {
        const double *one = s->score + i * (s->heads + EXTRA), *extra = one + s->heads;
        if (s->objects[i] <= 0) {
            score->empty += !s->objects[i];
            score->unread += s->objects[i] == UNREAD;
            continue;
        }
        for (int h = 0; h < s->heads; h++) score->head[h] += one[h];
        score->best += extra[BEST];
        score->mean += extra[MEAN];
        score->all += extra[ALL];
        score->together += extra[TOGETHER];
        score->objects += s->objects[i];
        score->images++;
    }
    if (!score->images)
        return dg_fail(err, DG_ERR_INPUT,
                       "no mask in %s shows an object: expected gray images, 128 or more on it, or coloured ones as "
                       "PASCAL VOC's",
                       masks);
    for (int h = 0; h < s->heads; h++) score->head[h] /= (double)score->images;
    score->best /= (double)score->images;
    score->mean /= (double)score->images;
    score->all /= (double)score->images;
    score->together /= (double)score->images;
    return DG_OK;
}

enum dg_status dg_segment_score(struct dg_evaluator *evaluator, const struct dg_dataset *dataset,
                                const struct dg_segment_options *options, struct dg_segment_score *score,
                                struct dg_error *err)
{
    int64_t tokens = dg_patches_tokens(options->patches);
    struct scoring s = {.patches = options->patches,
                        .keep = options->keep,
                        .exif = options->rules.exif,
                        .heads = (int)(dg_evaluator_dim(evaluator) / (tokens * tokens)),
                        .threads = dg_session_threads(dg_evaluator_session(evaluator)),
                        .progress = options->progress};
    *score = (struct dg_segment_score){0};
    dg_bad_images_init(&s.bad);
    enum dg_status status = find_masks(&s, dataset, options->masks, score, err);
    if (status == DG_OK) {
        s.score = malloc((size_t)s.count * (size_t)(s.heads + EXTRA) * sizeof *s.score);
        s.objects = malloc((size_t)s.count * sizeof *s.objects);
        for (int64_t i = 0; s.objects && i < s.count; i++) s.objects[i] = UNREAD;
        if (!s.score || !s.objects) status = dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    if (status == DG_OK) status = dg_evaluate_whole(evaluator, s.path, s.count, on_rows, &s, err);
    if (status == DG_OK)
        status = dg_bad_images_settle(&s.bad, s.count, dg_bad_limit_of(options->max_bad, s.count),
                                      dg_session_log(dg_evaluator_session(evaluator)), err);
    if (status == DG_OK) status = add_up(&s, options->masks, score, err);
    dg_bad_images_free(&s.bad);
    free_masks(&s);
    free(s.objects);
    free(s.score);
    if (status != DG_OK) dg_segment_free(score);
    return status;
}

void dg_segment_free(struct dg_segment_score *score)
{
    free(score->head);
    *score = (struct dg_segment_score){0};
}

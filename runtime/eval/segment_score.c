#include "runtime/eval/segment_score.h"

#include "runtime/image/decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scoring {
    const struct dg_patches *patches;
    double keep;
    int heads, threads;
    const char **path; /* [count] images that have masks */
    char **mask;       /* [count] paths */
    int64_t count;
    double *score; /* [count, heads + 2]: each head, their mean, everything; the first < 0: no object */
    void (*progress)(int64_t done, int64_t all);
};

/* Buffers for scoring one image. */
struct room {
    struct dg_image_decoder decoder;
    struct dg_image image;
    uint8_t *object;  /* [height, width] of the image: its mask, enum dg_mask */
    uint8_t *patches; /* [patches]: the mask of one head */
    float *map;       /* [heads + 1, patches] */
};

static enum dg_status score_in(const struct scoring *s, struct room *room, const char *path, const float *probs,
                               double *score, struct dg_error *err)
{
    int64_t count = dg_patches_count(s->patches);
    DG_TRY(dg_image_decode_file(&room->decoder, path, &room->image, err));
    room->object = malloc((size_t)room->image.width * (size_t)room->image.height);
    room->patches = malloc((size_t)count);
    room->map = malloc((size_t)(count * (s->heads + 1)) * sizeof *room->map);
    if (!room->object || !room->patches || !room->map)
        return dg_fail(err, DG_ERR_MEMORY, "no memory for the mask %s", path);
    score[0] = -1;
    if (!dg_mask_read(&room->image, room->object)) return DG_OK;
    DG_TRY(dg_attention_maps(probs, s->heads, count + 1, room->map, err));
    dg_attention_mean(room->map, s->heads, count, room->map + s->heads * count);
    for (int h = 0; h < s->heads + 2; h++) {
        if (h <= s->heads)
            DG_TRY(dg_attention_mask(room->map + h * count, count, s->keep, room->patches, err));
        else
            memset(room->patches, 1, (size_t)count);
        score[h] = dg_jaccard(room->object, room->image.height, room->image.width, room->patches, s->patches);
    }
    return DG_OK;
}

static enum dg_status score_one(const struct scoring *s, int64_t i, const float *probs, struct dg_error *err)
{
    struct room room = {0};
    enum dg_status status = score_in(s, &room, s->mask[i], probs, s->score + i * (s->heads + 2), err);
    dg_image_decoder_free(&room.decoder);
    dg_image_free(&room.image);
    free(room.object);
    free(room.patches);
    free(room.map);
    return status;
}

static enum dg_status on_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                              struct dg_error *err)
{
    struct scoring *s = context;
    int64_t tokens = dg_patches_count(s->patches) + 1, size = s->heads * tokens * tokens, first = done - rows,
            bad = rows;
#pragma omp parallel for schedule(dynamic) num_threads(s->threads) reduction(min : bad)
    for (int64_t r = 0; r < rows; r++)
        if (score_one(s, first + r, output + r * size, NULL) != DG_OK) bad = dg_min_i64(bad, r);
    if (bad < rows) DG_TRY(score_one(s, first + bad, output + bad * size, err)); /* the first one's reason */
    if (s->progress) s->progress(done, all);
    return DG_OK;
}

/* masks/a/b.png for the image a/b.jpg; NULL: out of memory. */
static char *mask_path(const char *masks, const char *relative)
{
    char *path;
    int stem = (int)(strrchr(relative, '.') - relative); /* the name of an image has an extension (dg_dataset_open) */
    return asprintf(&path, "%s/%.*s.png", masks, stem, relative) < 0 ? NULL : path;
}

static enum dg_status find_masks(struct scoring *s, const struct dg_dataset *dataset, const char *masks,
                                 struct dg_segment_score *score, struct dg_error *err)
{
    int64_t all = dg_dataset_count(dataset);
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

/* Adds up in the order of the images: the result does not depend on threads. */
static enum dg_status add_up(const struct scoring *s, const char *masks, struct dg_segment_score *score,
                             struct dg_error *err)
{
    score->heads = s->heads;
    score->head = calloc((size_t)s->heads, sizeof *score->head);
    if (!score->head) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < s->count; i++) {
        const double *one = s->score + i * (s->heads + 2);
        double best = one[0];
        if (best < 0) {
            score->empty++;
            continue;
        }
        for (int h = 0; h < s->heads; h++) {
            score->head[h] += one[h];
            best = one[h] > best ? one[h] : best;
        }
        score->best += best;
        score->mean += one[s->heads];
        score->all += one[s->heads + 1];
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
    return DG_OK;
}

enum dg_status dg_segment_score(struct dg_evaluator *evaluator, const struct dg_dataset *dataset,
                                const struct dg_segment_options *options, struct dg_segment_score *score,
                                struct dg_error *err)
{
    int64_t tokens = dg_patches_count(options->patches) + 1;
    struct scoring s = {.patches = options->patches,
                        .keep = options->keep,
                        .heads = (int)(dg_evaluator_dim(evaluator) / (tokens * tokens)),
                        .threads = dg_session_threads(dg_evaluator_session(evaluator)),
                        .progress = options->progress};
    *score = (struct dg_segment_score){0};
    enum dg_status status = find_masks(&s, dataset, options->masks, score, err);
    if (status == DG_OK) {
        s.score = malloc((size_t)s.count * (size_t)(s.heads + 2) * sizeof *s.score);
        if (!s.score) status = dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    if (status == DG_OK) status = dg_evaluate_whole(evaluator, s.path, s.count, on_rows, &s, err);
    if (status == DG_OK) status = add_up(&s, options->masks, score, err);
    for (int64_t i = 0; i < s.count; i++) free(s.mask[i]);
    free(s.path);
    free(s.mask);
    free(s.score);
    if (status != DG_OK) dg_segment_free(score);
    return status;
}

void dg_segment_free(struct dg_segment_score *score)
{
    free(score->head);
    *score = (struct dg_segment_score){0};
}

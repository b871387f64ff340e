#include "runtime/video/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum dg_status no_memory(struct dg_error *err) { return dg_fail(err, DG_ERR_MEMORY, "no memory for masks"); }

void dg_video_scores_free(struct dg_video_scores *s)
{
    for (int i = 0; i < s->count; i++) free(s->name[i]);
    free(s->name);
    free(s->object);
    *s = (struct dg_video_scores){0};
}

bool dg_video_has_truth(const struct dg_davis *davis, const struct dg_video *video)
{
    for (int f = 1; f < video->frames; f++)
        if (dg_video_is_annotated(davis, video, f)) return true;
    return false;
}

/* Makes room for `objects` more, and names them. */
static enum dg_status add_objects(struct dg_video_scores *s, const char *video, int objects, struct dg_error *err)
{
    struct dg_video_score *object = realloc(s->object, (size_t)(s->count + objects + 1) * sizeof *object);
    if (object) s->object = object;
    char **name = realloc(s->name, (size_t)(s->count + objects + 1) * sizeof *name);
    if (name) s->name = name;
    if (!object || !name) return no_memory(err);
    for (int o = 1; o <= objects; o++) {
        if (asprintf(&s->name[s->count], "%s_%d", video, o) < 0) return no_memory(err);
        s->object[s->count++] = (struct dg_video_score){{0}, {0}};
    }
    return DG_OK;
}

/* The annotations of the frames that count, [frames - 2], to be freed; and the number of objects. */
static enum dg_status read_truth(const struct dg_davis *davis, const struct dg_video *video, uint8_t **truth,
                                 const int size[2], int *objects, struct dg_error *err)
{
    struct dg_label_image labels = {0};
    enum dg_status status = DG_OK;
    for (int f = 0; f < video->frames - 1 && status == DG_OK; f++) {
        status = dg_video_read_annotation(davis, video, f, &labels, err);
        if (status != DG_OK) break;
        if (labels.height != size[0] || labels.width != size[1])
            status = dg_fail(err, DG_ERR_INPUT, "%s: the annotation of %s has %dx%d pixels, and the masks %dx%d",
                             video->name, video->frame[f], labels.width, labels.height, size[1], size[0]);
        if (!f) *objects = dg_label_image_largest(&labels);
        if (!f || status != DG_OK) continue;
        truth[f - 1] = labels.label;
        labels.label = NULL;
    }
    dg_label_image_free(&labels);
    return status;
}

static enum dg_status check_masks(const struct dg_video *video, uint8_t *const *mask, int64_t pixels, int objects,
                                  struct dg_error *err)
{
    for (int f = 1; f < video->frames - 1; f++)
        for (int64_t i = 0; i < pixels; i++)
            if (mask[f][i] > objects)
                return dg_fail(err, DG_ERR_INPUT,
                               "%s: the mask of %s has object %d, and the first annotation has no more than %d",
                               video->name, video->frame[f], mask[f][i], objects);
    return DG_OK;
}

enum dg_status dg_video_compare(const struct dg_davis *davis, const struct dg_video *video, uint8_t *const *mask,
                                int height, int width, int threads, struct dg_video_scores *s, struct dg_error *err)
{
    int count = video->frames - 2, objects = 0, before = s->count;
    if (count < 1)
        return dg_fail(err, DG_ERR_INPUT,
                       "%s: a video needs three frames to be scored, since the first and the last do not count",
                       video->name);
    uint8_t **truth = calloc((size_t)count, sizeof *truth);
    if (!truth) return no_memory(err);
    enum dg_status status = read_truth(davis, video, truth, (const int[]){height, width}, &objects, err);
    if (status == DG_OK) status = check_masks(video, mask, (int64_t)height * width, objects, err);
    if (status == DG_OK) status = add_objects(s, video->name, objects, err);
    const struct dg_video_masks masks = {height, width, count, truth, mask + 1};
    if (status == DG_OK) status = dg_video_score(&masks, objects, threads, s->object + before, err);
    for (int f = 0; f < count; f++) free(truth[f]);
    free(truth);
    return status;
}

enum dg_status dg_video_read_masks(const char *folder, const struct dg_video *video, uint8_t **mask, int *height,
                                   int *width, struct dg_error *err)
{
    struct dg_label_image labels = {0};
    enum dg_status status = DG_OK;
    for (int f = 1; f < video->frames - 1 && status == DG_OK; f++) {
        char *path = dg_video_mask(folder, video, f);
        status = path ? dg_label_image_read(path, &labels, err) : no_memory(err);
        if (status == DG_OK && f == 1) {
            *height = labels.height;
            *width = labels.width;
        }
        if (status == DG_OK && (labels.height != *height || labels.width != *width))
            status = dg_fail(err, DG_ERR_INPUT, "%s has %dx%d pixels, and the mask before it %dx%d", path, labels.width,
                             labels.height, *width, *height);
        free(path);
        if (status != DG_OK) break;
        mask[f] = labels.label;
        labels.label = NULL;
    }
    dg_label_image_free(&labels);
    return status;
}

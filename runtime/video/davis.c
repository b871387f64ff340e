#include "runtime/video/davis.h"

#include "runtime/video/frames.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VOID = 255 };

static enum dg_status no_memory(struct dg_error *err) { return dg_fail(err, DG_ERR_MEMORY, "out of memory"); }

/* The text without spaces around it. */
static char *trim(char *text)
{
    text += strspn(text, " \t\r\n");
    size_t size = strlen(text);
    while (size && strchr(" \t\r\n", text[size - 1])) text[--size] = 0;
    return text;
}

static enum dg_status add_video(struct dg_davis *d, const char *name, const char *list, struct dg_error *err)
{
    if (strchr(name, '/') || !strcmp(name, ".."))
        return dg_fail(err, DG_ERR_INPUT, "%s: %s is no name of a video", list, name);
    for (int v = 0; v < d->videos; v++)
        if (!strcmp(d->video[v], name)) return dg_fail(err, DG_ERR_INPUT, "%s names %s twice", list, name);
    char **grown = realloc(d->video, (size_t)(d->videos + 1) * sizeof *grown);
    if (!grown) return no_memory(err);
    d->video = grown;
    d->video[d->videos] = strdup(name);
    return d->video[d->videos] && ++d->videos ? DG_OK : no_memory(err);
}

static enum dg_status read_list(struct dg_davis *d, const char *path, struct dg_error *err)
{
    char *line = NULL;
    size_t size = 0;
    enum dg_status status = DG_OK;
    FILE *in = fopen(path, "r");
    if (!in)
        return dg_fail(err, DG_ERR_IO,
                       "%s: %s; expected the layout of DAVIS 2017: ImageSets/2017/SET.txt with the names of videos, "
                       "JPEGImages/480p/VIDEO/*.jpg, Annotations/480p/VIDEO/*.png",
                       path, strerror(errno));
    while (status == DG_OK && getline(&line, &size, in) >= 0) {
        const char *name = trim(line);
        if (*name) status = add_video(d, name, path, err);
    }
    if (status == DG_OK && ferror(in)) status = dg_fail(err, DG_ERR_IO, "%s: %s", path, strerror(errno));
    if (status == DG_OK && !d->videos) status = dg_fail(err, DG_ERR_INPUT, "%s names no video", path);
    free(line);
    fclose(in);
    return status;
}

enum dg_status dg_davis_open(struct dg_davis *d, const char *root, const char *set, struct dg_error *err)
{
    char *path;
    if (asprintf(&path, "%s/ImageSets/2017/%s.txt", root, set) < 0) return no_memory(err);
    d->root = strdup(root);
    enum dg_status status = d->root ? read_list(d, path, err) : no_memory(err);
    free(path);
    return status;
}

void dg_davis_free(struct dg_davis *d)
{
    for (int v = 0; v < d->videos; v++) free(d->video[v]);
    free(d->video);
    free(d->root);
    *d = (struct dg_davis){0};
}

/* ---- frames ---- */

enum dg_status dg_video_open(struct dg_video *video, const struct dg_davis *d, int index, struct dg_error *err)
{
    char *folder;
    video->name = d->video[index];
    if (asprintf(&folder, "%s/JPEGImages/480p/%s", d->root, video->name) < 0) return no_memory(err);
    enum dg_status status = dg_list_frames(folder, &video->frame, &video->frames, err);
    free(folder);
    return status;
}

void dg_video_free(struct dg_video *video)
{
    for (int i = 0; i < video->frames; i++) free(video->frame[i]);
    free(video->frame);
    *video = (struct dg_video){0};
}

char *dg_video_frame(const struct dg_davis *d, const struct dg_video *video, int frame)
{
    char *path;
    return asprintf(&path, "%s/JPEGImages/480p/%s/%s", d->root, video->name, video->frame[frame]) < 0 ? NULL : path;
}

static int stem(const char *name) { return (int)(strrchr(name, '.') - name); }

char *dg_video_annotation(const struct dg_davis *d, const struct dg_video *video, int frame)
{
    char *path;
    const char *name = video->frame[frame];
    return asprintf(&path, "%s/Annotations/480p/%s/%.*s.png", d->root, video->name, stem(name), name) < 0 ? NULL : path;
}

char *dg_video_mask(const char *folder, const struct dg_video *video, int frame)
{
    char *path;
    const char *name = video->frame[frame];
    return asprintf(&path, "%s/%s/%.*s.png", folder, video->name, stem(name), name) < 0 ? NULL : path;
}

bool dg_video_is_annotated(const struct dg_davis *d, const struct dg_video *video, int frame)
{
    char *path = dg_video_annotation(d, video, frame);
    bool there = path && !access(path, F_OK);
    free(path);
    return there;
}

enum dg_status dg_video_read_annotation(const struct dg_davis *d, const struct dg_video *video, int frame,
                                        struct dg_label_image *labels, struct dg_error *err)
{
    char *path = dg_video_annotation(d, video, frame);
    enum dg_status status = path ? dg_label_image_read(path, labels, err) : no_memory(err);
    free(path);
    int64_t pixels = status == DG_OK ? (int64_t)labels->width * labels->height : 0;
    for (int64_t i = 0; i < pixels; i++)
        if (labels->label[i] == VOID) labels->label[i] = 0;
    return status;
}

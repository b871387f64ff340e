/* Lists the images of archives, and whether folders in them, or the archives themselves, are classes. */
#include "runtime/data/listing.h"

#include "runtime/base/name.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One archive whose images are added. */
struct archive_list {
    struct dg_source *source;
    int number;         /* in dataset->archives */
    int64_t first, end; /* entries: all, or those of the folder in it that is asked for */
    size_t skip;        /* bytes of their names to the end of that folder */
    char *prefix;       /* "ARCHIVE:" or "ARCHIVE:FOLDER/"; owned */
    uint32_t root_size; /* bytes of it before the relative part */
    const char *hidden; /* the folder that was passed over last; not ended by a zero */
    size_t hidden_size;
    bool by_label; /* the class of an image is its label */
    int64_t unlabelled;
    char *example; /* the first without a label; owned */
};

static struct dg_archive *archive_of(const struct archive_list *l)
{
    return &l->source->dataset->archives.archive[l->number];
}

/* Below the folder that is asked for. */
static const char *name_of(const struct archive_list *l, const struct dg_archive_entry *e)
{
    return archive_of(l)->text + e->name + l->skip;
}

/* ---- entries ---- */

/* Counts the folder that is passed over by its name, once for all that is below it. */
static void pass_over_hidden(struct archive_list *l, const struct dg_archive_entry *e, const char *relative)
{
    const char *name = name_of(l, e);
    enum dg_pass_reason reason;
    size_t size = dg_pass_by_path(name, &reason), before = strlen(relative) - strlen(name);
    if (l->hidden && size == l->hidden_size && !strncmp(name, l->hidden, size)) return;
    l->hidden = name;
    l->hidden_size = size;
    char *folder = strndup(relative, before + size);
    dg_passed_over_add(&l->source->dataset->over, (enum dg_pass_reason)e->pass, folder ? folder : relative);
    free(folder);
}

static void pass_over(struct archive_list *l, const struct dg_archive_entry *e, const char *relative)
{
    struct dg_passed_over *over = &l->source->dataset->over;
    if (e->pass == DG_PASS_HIDDEN || e->pass == DG_PASS_LEFTOVER) {
        pass_over_hidden(l, e, relative);
        return;
    }
    if (e->pass == DG_PASS_SAMPLE && l->by_label && e->label) return; /* it is used */
    if (!e->pass) {
        dg_passed_over_add_format(over, (enum dg_image_format)e->format, relative);
        return;
    }
    dg_passed_over_add(over, (enum dg_pass_reason)e->pass, relative);
    if (e->pass == DG_PASS_OTHER) dg_passed_over_add_known(over, (enum dg_image_format)e->format, relative);
}

/* Sets the class of the image by its label. False: it is passed over. */
static enum dg_status find_label(struct archive_list *l, const struct dg_archive_entry *e, const char *relative,
                                 int32_t *label, bool *taken, struct dg_error *err)
{
    struct dg_dataset *d = l->source->dataset;
    *taken = true;
    if (!l->by_label) return DG_OK;
    if (!e->label) {
        if (!l->unlabelled++) l->example = strdup(relative);
        return DG_OK;
    }
    DG_TRY(dg_classes_number(&d->classes, archive_of(l)->text + e->label, label, err));
    *taken = *label >= 0;
    if (!*taken) dg_passed_over_add(&d->over, DG_PASS_NO_CLASS, relative);
    return DG_OK;
}

static enum dg_status add_entry(struct archive_list *l, const struct dg_archive_entry *e, struct dg_error *err)
{
    struct dg_dataset *d = l->source->dataset;
    struct dg_listed image = {.root_size = l->root_size, .label = -1, .source = l->source->number};
    if (e->is_folder && !e->pass) return DG_OK;
    if (asprintf(&image.path, "%s%s", l->prefix, name_of(l, e)) < 0) return dg_listing_no_memory(err);
    const char *member = image.path + strlen(l->prefix), *slash = strrchr(member, '/');
    image.folder_size = (uint32_t)((slash ? slash : member - 1) - image.path);
    if (e->is_folder && e->pass == DG_PASS_OWN) image.path[strlen(image.path) - 1] = 0;
    bool taken = dg_archive_is_image(e);
    enum dg_status status = DG_OK;
    if (!taken)
        pass_over(l, e, dg_listing_relative(&image));
    else
        status = find_label(l, e, dg_listing_relative(&image), &image.label, &taken, err);
    if (status == DG_OK && taken)
        status = dg_archives_add_member(&d->archives, l->number, &e->place, &image.member, err);
    if (status == DG_OK && taken) return dg_listing_add(d, &image, err);
    free(image.path);
    return status;
}

static enum dg_status add_range(struct archive_list *l, int64_t first, int64_t end, struct dg_error *err)
{
    for (int64_t i = first; i < end; i++) DG_TRY(add_entry(l, &archive_of(l)->entry[i], err));
    return DG_OK;
}

/* ---- an archive as a folder: images beside folders, and folders ---- */

struct group { /* the entries of a folder of the top level */
    char *name;
    struct archive_list *list;
    int64_t first, end;
};

static int compare_groups(const void *a, const void *b)
{
    return strcmp(((const struct group *)a)->name, ((const struct group *)b)->name);
}

static enum dg_status add_group(struct dg_source *source, const void *context, struct dg_error *err)
{
    const struct group *g = context;
    (void)source;
    return add_range(g->list, g->first, g->end, err);
}

/* The folders of the top level by name; *group has room for them all. */
static enum dg_status find_groups(struct archive_list *l, struct group **group, int64_t *count, struct dg_error *err)
{
    const struct dg_archive *a = archive_of(l);
    int64_t capacity = 0;
    for (int64_t i = l->first; i < l->end;) {
        const char *name = name_of(l, &a->entry[i]);
        size_t size = strcspn(name, "/");
        int64_t first = i++;
        if (!name[size]) continue;
        while (i < l->end && !strncmp(name_of(l, &a->entry[i]), name, size + 1)) i++;
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            struct group *grown = realloc(*group, (size_t)capacity * sizeof *grown);
            if (!grown) return dg_listing_no_memory(err);
            *group = grown;
        }
        (*group)[*count] = (struct group){strndup(name, size), l, first, i};
        if (!(*group)[(*count)++].name) return dg_listing_no_memory(err);
    }
    if (*count) qsort(*group, (size_t)*count, sizeof **group, compare_groups);
    return DG_OK;
}

static enum dg_status add_tree(struct archive_list *l, const struct group *group, int64_t count, struct dg_error *err)
{
    const struct dg_archive *a = archive_of(l);
    struct dg_source *s = l->source;
    struct dg_top top = dg_top_make(s);
    for (int64_t i = l->first; i < l->end; i++)
        if (!strchr(name_of(l, &a->entry[i]), '/')) DG_TRY(add_entry(l, &a->entry[i], err));
    dg_top_end_strays(s, &top);
    for (int64_t g = 0; g < count; g++)
        DG_TRY(dg_pass_by_name(group[g].name) ? add_group(s, &group[g], err)
                                              : dg_top_add(s, &top, group[g].name, add_group, &group[g], err));
    return dg_top_settle(s, &top, err);
}

static enum dg_status add_as_folder(struct archive_list *l, struct dg_error *err)
{
    struct dg_source *s = l->source;
    const char *path = s->path;
    struct group *group = NULL;
    int64_t count = 0;
    if (!l->skip) s->path = archive_of(l)->path; /* for messages */
    enum dg_status status = find_groups(l, &group, &count, err);
    if (status == DG_OK) status = add_tree(l, group, count, err);
    s->path = path;
    for (int64_t g = 0; g < count; g++) free(group[g].name);
    free(group);
    return status;
}

/* ---- archives as classes ---- */

static enum dg_status add_whole(struct dg_source *source, const void *context, struct dg_error *err)
{
    struct archive_list *l = *(struct archive_list *const *)context;
    (void)source;
    return add_range(l, l->first, l->end, err);
}

static enum dg_status add_as_classes(struct archive_list *list, char *const *stem, int count, struct dg_error *err)
{
    struct dg_source *s = list->source;
    struct dg_top top = dg_top_make(s);
    for (int i = 0; i < count; i++) {
        struct archive_list *l = &list[i];
        DG_TRY(dg_top_add(s, &top, stem[i], add_whole, &l, err));
    }
    return dg_top_settle(s, &top, err);
}

/* ---- the archives of a source ---- */

static bool is_below(const struct archive_list *l, int64_t i, const char *folder, size_t size)
{
    const struct dg_archive *a = archive_of(l);
    const char *name = a->text + a->entry[i].name;
    return !strncmp(name, folder, size) && name[size] == '/';
}

/* Takes the entries of a folder of the archive; "": all. */
static enum dg_status find_folder(struct archive_list *l, const char *folder, struct dg_error *err)
{
    int64_t count = archive_of(l)->count;
    size_t size = strlen(folder);
    l->end = count;
    if (!size) return DG_OK;
    l->skip = size + 1;
    while (l->first < count && !is_below(l, l->first, folder, size)) l->first++;
    l->end = l->first;
    while (l->end < count && is_below(l, l->end, folder, size)) l->end++;
    if (l->end > l->first) return DG_OK;
    return dg_fail(err, DG_ERR_IO, "the archive %s has no folder %s", archive_of(l)->path, folder);
}

static enum dg_status open_list(struct dg_source *s, const char *path, uint32_t root_size, struct archive_list *l,
                                bool *labelled, struct dg_error *err)
{
    bool labels = s->labels != DG_LABELS_UNUSED;
    size_t size = dg_data_file_size(path);
    const char *folder = path + size + (path[size] == '/');
    char *archive = strndup(path, size);
    *l = (struct archive_list){.source = s, .root_size = root_size};
    if (!archive || asprintf(&l->prefix, "%s:%s%s", archive, folder, *folder ? "/" : "") < 0) l->prefix = NULL;
    enum dg_status status = l->prefix ? dg_archives_add(&s->dataset->archives, archive, labels, s->log, &l->number, err)
                                      : dg_listing_no_memory(err);
    free(archive);
    if (status == DG_OK) status = find_folder(l, folder, err);
    if (status == DG_OK) *labelled |= dg_archive_settle_samples(archive_of(l), l->first, l->end) && labels;
    return status;
}

static enum dg_status check_labels(const struct archive_list *list, int count, struct dg_error *err)
{
    int64_t without = 0;
    const char *example = NULL;
    for (int i = 0; i < count; i++) {
        without += list[i].unlabelled;
        if (!example) example = list[i].example;
    }
    if (!without) return DG_OK;
    char name[256];
    return dg_fail(err, DG_ERR_INPUT,
                   "%s: images without a label in a .cls or .json beside them (%" PRId64
                   ": %s), and others have one: either all or none",
                   list->source->path, without, dg_name_escape(example ? example : "", name, sizeof name));
}

static enum dg_status add_lists(struct archive_list *list, char *const *stem, int count, bool labelled,
                                struct dg_error *err)
{
    struct dg_source *s = list->source;
    if (count > 1 && s->labels != DG_LABELS_UNUSED && !labelled && !dg_are_shards(stem, count))
        return add_as_classes(list, stem, count, err);
    s->dataset->labels_apart |= labelled;
    for (int i = 0; i < count; i++) {
        int64_t first = s->dataset->count;
        list[i].by_label = labelled;
        if (!labelled) {
            DG_TRY(add_as_folder(&list[i], err));
            continue;
        }
        DG_TRY(add_range(&list[i], list[i].first, list[i].end, err));
        dg_listing_sort_from(s->dataset, first);
    }
    return check_labels(list, count, err);
}

/* Lists the archives at these paths, the names of which from `root_size` on are relative. */
static enum dg_status add_paths(struct dg_source *s, char *const *path, char *const *stem, int count,
                                uint32_t root_size, struct dg_error *err)
{
    struct archive_list *list = calloc((size_t)count, sizeof *list);
    enum dg_status status = list ? DG_OK : dg_listing_no_memory(err);
    bool labelled = false;
    for (int i = 0; i < count && status == DG_OK; i++)
        status = open_list(s, path[i], root_size, &list[i], &labelled, err);
    if (status == DG_OK) status = add_lists(list, stem, count, labelled, err);
    for (int i = 0; list && i < count; i++) {
        free(list[i].prefix);
        free(list[i].example);
    }
    free(list);
    return status;
}

static enum dg_status add_one(struct dg_source *s, const char *name, uint32_t root_size, struct dg_error *err)
{
    char *path = strdup(name), *stem = dg_archive_stem(name);
    enum dg_status status = path && stem ? add_paths(s, &path, &stem, 1, root_size, err) : dg_listing_no_memory(err);
    free(path);
    free(stem);
    return status;
}

enum dg_status dg_listing_add_archive(struct dg_source *s, struct dg_error *err)
{
    return add_one(s, s->path, (uint32_t)strlen(s->path) + 1, err);
}

enum dg_status dg_listing_add_listed_archive(struct dg_source *s, const char *path, uint32_t root_size, int32_t label,
                                             struct dg_error *err)
{
    int64_t first = s->dataset->count;
    struct dg_source within = *s;
    if (label >= 0) within.labels = DG_LABELS_UNUSED;
    DG_TRY(add_one(&within, path, root_size, err));
    for (int64_t i = first; i < s->dataset->count && label >= 0; i++) s->dataset->image[i].label = label;
    return DG_OK;
}

/* The number of the archive at this path, which is added if it is not there yet. */
static enum dg_status find_archive(struct dg_source *s, const char *path, int *number, struct dg_error *err)
{
    struct dg_archives *archives = &s->dataset->archives;
    for (*number = archives->count - 1; *number >= 0; --*number)
        if (!strcmp(archives->archive[*number].path, path)) return DG_OK;
    return dg_archives_add(archives, path, false, s->log, number, err);
}

enum dg_status dg_listing_add_member(struct dg_source *s, struct dg_listed *image, bool *found, struct dg_error *err)
{
    int number = -1;
    const char *colon = image->path;
    char *archive = NULL;
    *found = false;
    while ((colon = strchr(colon + 1, ':'))) { /* the first behind the name of an archive that is there */
        free(archive);
        archive = strndup(image->path, (size_t)(colon - image->path));
        if (!archive) return dg_listing_no_memory(err);
        if (dg_is_archive_name(archive) && !access(archive, F_OK)) break;
    }
    enum dg_status status = colon ? find_archive(s, archive, &number, err) : DG_OK;
    free(archive);
    if (!colon || status != DG_OK) return status;
    const struct dg_archive_entry *e = dg_archive_find(&s->dataset->archives.archive[number], colon + 1);
    if (!e) return DG_OK;
    const char *slash = strrchr(colon, '/');
    image->folder_size = (uint32_t)((slash ? slash : colon) - image->path);
    *found = true;
    status = dg_archives_add_member(&s->dataset->archives, number, &e->place, &image->member, err);
    if (status == DG_OK) return dg_listing_add(s->dataset, image, err);
    free(image->path);
    return status;
}

enum dg_status dg_listing_add_archives(struct dg_source *s, const char *const *name, int count, struct dg_error *err)
{
    char **path = calloc((size_t)count, sizeof *path), **stem = calloc((size_t)count, sizeof *stem);
    size_t size = strlen(s->path);
    bool slash = s->path[size - 1] == '/', made = path && stem;
    for (int i = 0; i < count && made; i++) {
        stem[i] = dg_archive_stem(name[i]);
        if (asprintf(&path[i], "%s%s%s", s->path, slash ? "" : "/", name[i]) < 0) path[i] = NULL;
        made = stem[i] && path[i];
    }
    enum dg_status status = made ? dg_check_shards(s, stem, count, err) : dg_listing_no_memory(err);
    if (status == DG_OK) status = add_paths(s, path, stem, count, (uint32_t)size + !slash, err);
    for (int i = 0; i < count && path && stem; i++) {
        free(path[i]);
        free(stem[i]);
    }
    free(path);
    free(stem);
    return status;
}

/* The top level of a folder or an archive, and whether its folders are classes. */
#include "runtime/data/listing.h"

#include "runtime/base/name.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int compare_images(const void *left, const void *right)
{
    const struct dg_listed *a = left, *b = right;
    uint32_t common = a->folder_size < b->folder_size ? a->folder_size : b->folder_size;
    int order = memcmp(a->path, b->path, common);
    if (order) return order;
    if (a->folder_size != b->folder_size) return a->folder_size < b->folder_size ? -1 : 1;
    return strcmp(a->path + common, b->path + common);
}

void dg_listing_sort_from(struct dg_dataset *dataset, int64_t first)
{
    if (dataset->count > first)
        qsort(dataset->image + first, (size_t)(dataset->count - first), sizeof *dataset->image, compare_images);
}

/* ---- classes or not ---- */

struct dg_top dg_top_make(const struct dg_source *s) { return (struct dg_top){.first = s->dataset->count}; }

void dg_top_end_strays(const struct dg_source *s, struct dg_top *top)
{
    dg_listing_sort_from(s->dataset, top->first);
    top->strays = s->dataset->count - top->first;
}

static int64_t entries_passed(const struct dg_passed_over *over)
{
    return over->count[DG_PASS_OWN] + over->count[DG_PASS_CLOSED] + over->count[DG_PASS_LOOP] +
           over->count[DG_PASS_LINKED];
}

enum dg_status dg_top_add(struct dg_source *s, struct dg_top *top, const char *name, dg_top_images *add,
                          const void *context, struct dg_error *err)
{
    struct dg_dataset *d = s->dataset;
    int64_t first = d->count, passed = entries_passed(&d->over);
    int number = -1;
    bool used = s->labels != DG_LABELS_UNUSED;
    if (used && d->classes.fixed) {
        DG_TRY(dg_classes_number(&d->classes, name, &number, err));
        if (number < 0) dg_passed_over_add(&d->over, DG_PASS_NO_CLASS, name);
        if (number < 0) return DG_OK;
    }
    DG_TRY(add(s, context, err));
    dg_listing_sort_from(d, first);
    top->below += d->count - first;
    if (d->count > first) {
        if (!top->folder) top->folder = name;
        top->splits += dg_is_split(name);
        if (used && number < 0) DG_TRY(dg_classes_number(&d->classes, name, &number, err));
        for (int64_t i = first; i < d->count; i++) d->image[i].label = number;
    } else if (entries_passed(&d->over) == passed) {
        if (!top->no_images) top->no_images = name;
        top->without++;
        if (s->labels != DG_LABELS_NEEDED || d->classes.fixed) dg_passed_over_add(&d->over, DG_PASS_NO_IMAGES, name);
    }
    return DG_OK;
}

/* Images beside folders that are classes. */
static enum dg_status settle_strays(struct dg_source *s, struct dg_top *top, struct dg_error *err)
{
    struct dg_dataset *d = s->dataset;
    char folder[256], stray[256];
    if (!top->strays || !top->below) return DG_OK;
    dg_name_escape(top->folder, folder, sizeof folder);
    dg_name_escape(dg_listing_relative(&d->image[top->first]), stray, sizeof stray);
    if (s->labels == DG_LABELS_UNUSED) {
        dg_log(s->log, DG_LOG_WARNING, DG_LOG_LOAD,
               "%s: images lie beside its folders (%" PRId64 ": %s) and in them (%" PRId64 ": %s/): all are taken",
               s->path, top->strays, stray, top->below, folder);
        return DG_OK;
    }
    if (!d->classes.fixed)
        return dg_fail(err, DG_ERR_INPUT,
                       "%s: images lie beside its folders (%" PRId64 ": %s) and in them (%" PRId64
                       ": %s/), so it is not plain whether the folders are classes. %sMove the images beside the "
                       "folders into folders or away; or name the classes, --classes-from FILE; or the images, @FILE",
                       s->path, top->strays, stray, top->below, folder,
                       s->labels == DG_LABELS_NEEDED ? "" : "--flat takes all without classes. ");
    for (int64_t i = top->first; i < top->first + top->strays; i++) {
        dg_passed_over_add(&d->over, DG_PASS_NO_CLASS, dg_listing_relative(&d->image[i]));
        free(d->image[i].path);
    }
    d->count -= top->strays;
    memmove(d->image + top->first, d->image + top->first + top->strays,
            (size_t)(d->count - top->first) * sizeof *d->image);
    return DG_OK;
}

static enum dg_status settle_classes(struct dg_source *s, const struct dg_top *top, struct dg_error *err)
{
    char name[256];
    if (s->labels != DG_LABELS_NEEDED || s->dataset->classes.fixed) return DG_OK;
    dg_name_escape(top->no_images ? top->no_images : "", name, sizeof name);
    if (top->below && top->without)
        return dg_fail(err, DG_ERR_INPUT,
                       "%s: %" PRId64 " of its folders (%s/) would be a class without an image: remove it, or name the "
                       "classes, --classes-from FILE",
                       s->path, top->without, name);
    if (top->strays && !top->below)
        return dg_fail(
            err, DG_ERR_INPUT,
            "%s: its images have no classes, which are needed here: one folder per class, or a list with classes, "
            "@FILE",
            s->path);
    return DG_OK;
}

enum dg_status dg_top_settle(struct dg_source *s, struct dg_top *top, struct dg_error *err)
{
    if (top->splits > 1 && s->labels == DG_LABELS_UNUSED)
        dg_log(s->log, DG_LOG_WARNING, DG_LOG_LOAD,
               "%s has the folders of splits, such as %s/: the images of all are taken", s->path, top->folder);
    DG_TRY(settle_strays(s, top, err));
    return settle_classes(s, top, err);
}

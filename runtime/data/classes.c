/* The classes of a data set: their numbers, and what is wrong with them. */
#include "runtime/data/dataset.h"
#include "runtime/data/listing.h"

#include "runtime/base/class_names.h"
#include "runtime/base/name.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* ---- names and numbers ---- */

void dg_classes_free(struct dg_classes *classes)
{
    for (int c = 0; c < classes->count; c++) free(classes->name[c]);
    free(classes->name);
    free(classes->by_name);
    *classes = (struct dg_classes){0};
}

/* The place of the name in by_name, or where it would be; *found says which. */
static int place_of(const struct dg_classes *classes, const char *name, bool *found)
{
    int low = 0, high = classes->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strcmp(classes->name[classes->by_name[middle]], name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < classes->count && !strcmp(classes->name[classes->by_name[low]], name);
    return low;
}

static enum dg_status make_room(struct dg_classes *classes, struct dg_error *err)
{
    if (classes->count < classes->capacity) return DG_OK;
    int capacity = classes->capacity ? 2 * classes->capacity : 64;
    char **name = realloc(classes->name, (size_t)capacity * sizeof *name);
    if (name) classes->name = name;
    int *by_name = name ? realloc(classes->by_name, (size_t)capacity * sizeof *by_name) : NULL;
    if (!by_name) return dg_listing_no_memory(err);
    classes->by_name = by_name;
    classes->capacity = capacity;
    return DG_OK;
}

enum dg_status dg_classes_number(struct dg_classes *classes, const char *name, int *number, struct dg_error *err)
{
    bool found;
    int place = place_of(classes, name, &found);
    *number = found ? classes->by_name[place] : -1;
    if (found || classes->fixed) return DG_OK;
    DG_TRY(make_room(classes, err));
    char *copy = strdup(name);
    if (!copy) return dg_listing_no_memory(err);
    *number = classes->count++;
    classes->name[*number] = copy;
    memmove(classes->by_name + place + 1, classes->by_name + place,
            (size_t)(*number - place) * sizeof *classes->by_name);
    classes->by_name[place] = *number;
    return DG_OK;
}

enum dg_status dg_classes_sort(struct dg_dataset *dataset, struct dg_error *err)
{
    struct dg_classes *classes = &dataset->classes;
    if (classes->fixed || !classes->count) return DG_OK;
    char **sorted = malloc((size_t)classes->count * sizeof *sorted);
    int *number = malloc((size_t)classes->count * sizeof *number);
    if (!sorted || !number) {
        free(sorted);
        free(number);
        return dg_listing_no_memory(err);
    }
    for (int c = 0; c < classes->count; c++) {
        sorted[c] = classes->name[classes->by_name[c]];
        number[classes->by_name[c]] = c;
    }
    for (int64_t i = 0; i < dataset->count; i++)
        if (dataset->image[i].label >= 0) dataset->image[i].label = number[dataset->image[i].label];
    for (int c = 0; c < classes->count; c++) classes->by_name[c] = c;
    free(classes->name);
    free(number);
    classes->name = sorted;
    classes->capacity = classes->count;
    return DG_OK;
}

/* ---- those that are asked for ---- */

static enum dg_status add_asked(struct dg_classes *classes, const char *name, const char *path, struct dg_error *err)
{
    int before = classes->count, number;
    char text[256];
    DG_TRY(dg_classes_number(classes, name, &number, err));
    if (classes->count > before) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%s names the class %s twice", path, dg_name_escape(name, text, sizeof text));
}

static int is_class_folder(const struct dirent *item) { return !dg_pass_by_name(item->d_name); }

static int by_bytes(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static enum dg_status read_folders(const char *path, struct dg_classes *classes, struct dg_error *err)
{
    struct dirent **item;
    int count = scandir(path, &item, is_class_folder, by_bytes);
    if (count < 0) return dg_fail(err, DG_ERR_IO, "cannot read the folder %s: %s", path, strerror(errno));
    enum dg_status status = DG_OK;
    for (int i = 0; i < count; i++) {
        struct stat about;
        char *folder = NULL;
        if (status == DG_OK && asprintf(&folder, "%s/%s", path, item[i]->d_name) < 0)
            status = dg_listing_no_memory(err);
        if (status == DG_OK && !stat(folder, &about) && S_ISDIR(about.st_mode))
            status = add_asked(classes, item[i]->d_name, path, err);
        free(folder);
        free(item[i]);
    }
    free(item);
    return status;
}

static enum dg_status read_lines(const char *path, struct dg_classes *classes, struct dg_error *err)
{
    FILE *file = fopen(path, "re");
    if (!file) return dg_fail(err, DG_ERR_IO, "cannot read the classes in %s: %s", path, strerror(errno));
    char *line = NULL;
    size_t room = 0;
    enum dg_status status = DG_OK;
    int64_t number = 0;
    for (ssize_t n; status == DG_OK && (n = getline(&line, &room, file)) > 0;) {
        number++;
        while (n && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = 0;
        if (!n) continue;
        if (strlen(line) != (size_t)n || !dg_name_unescape(line))
            status = dg_fail(err, DG_ERR_INPUT, "%s, line %" PRId64 ": no name of a class; a backslash is written \\\\",
                             path, number);
        else
            status = add_asked(classes, line, path, err);
    }
    free(line);
    fclose(file);
    return status;
}

enum dg_status dg_classes_read(const char *path, struct dg_classes *classes, struct dg_error *err)
{
    struct stat about;
    if (stat(path, &about)) return dg_fail(err, DG_ERR_IO, "cannot read the classes in %s: %s", path, strerror(errno));
    DG_TRY(S_ISDIR(about.st_mode) ? read_folders(path, classes, err) : read_lines(path, classes, err));
    if (!classes->count) return dg_fail(err, DG_ERR_INPUT, "%s names no class", path);
    classes->fixed = true;
    return DG_OK;
}

/* ---- names that look the same ---- */

struct key {
    char *text;
    int number;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key *in_a = a, *in_b = b;
    int order = strcmp(in_a->text, in_b->text);
    return order ? order : in_a->number - in_b->number;
}

static enum dg_status check_keys(const struct dg_classes *classes, struct key *key, struct dg_error *err)
{
    char one[256], other[256];
    for (int c = 0; c < classes->count; c++) {
        key[c] = (struct key){dg_name_key(classes->name[c]), c};
        if (!key[c].text) return dg_listing_no_memory(err);
    }
    qsort(key, (size_t)classes->count, sizeof *key, compare_keys);
    for (int c = 1; c < classes->count; c++) {
        if (strcmp(key[c].text, key[c - 1].text)) continue;
        return dg_fail(
            err, DG_ERR_INPUT,
            "the classes %s and %s differ only in case, blanks at the ends or Unicode's forms of a letter: give "
            "them other names, or put their images together",
            dg_name_spell(classes->name[key[c - 1].number], one, sizeof one),
            dg_name_spell(classes->name[key[c].number], other, sizeof other));
    }
    return DG_OK;
}

static enum dg_status check_alike(const struct dg_classes *classes, struct dg_error *err)
{
    struct key *key = calloc((size_t)classes->count, sizeof *key);
    enum dg_status status = key ? check_keys(classes, key, err) : dg_listing_no_memory(err);
    for (int c = 0; key && c < classes->count; c++) free(key[c].text);
    free(key);
    return status;
}

/* ---- folders that are no classes ---- */

bool dg_is_split(const char *name)
{
    static const char *const split[] = {"train", "training", "val", "valid", "validation",
                                        "test",  "testing",  "dev", "eval"};
    for (size_t s = 0; s < sizeof split / sizeof *split; s++)
        if (!strcasecmp(name, split[s])) return true;
    return false;
}

static enum dg_status check_splits(const struct dg_classes *classes, const char *path, struct dg_error *err)
{
    for (int c = 0; c < classes->count; c++)
        if (!dg_is_split(classes->name[c])) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%s holds splits (%s), and they would be the classes: name one of them, as %s/%s",
                   path, classes->name[0], path, classes->name[0]);
}

/* One class alone, all of whose images lie in folders below it: the classes are a level further down. */
static enum dg_status check_level(const struct dg_dataset *dataset, const char *path, struct dg_error *err)
{
    const struct dg_classes *classes = &dataset->classes;
    char name[256];
    if (classes->count != 1) return DG_OK;
    size_t size = strlen(classes->name[0]);
    for (int64_t i = 0; i < dataset->count; i++) {
        const struct dg_listed *image = &dataset->image[i];
        if (image->folder_size <= image->root_size + size) return DG_OK;
    }
    dg_name_escape(classes->name[0], name, sizeof name);
    return dg_fail(
        err, DG_ERR_INPUT,
        "%s has one class alone, %s, whose images lie in folders of its own: are those the classes? Then name "
        "%s/%s",
        path, name, path, name);
}

/* ---- classes that nothing can be read of ---- */

static enum dg_pass_reason look_into(const struct dg_dataset *dataset, const struct dg_listed *image,
                                     enum dg_image_format *format)
{
    char head[DG_IMAGE_FORMAT_BYTES];
    if (!image->member) return dg_look_into(image->path, format);
    int64_t size = dg_min_i64(dataset->archives.member[image->member - 1].place.size, sizeof head);
    if (!size) return DG_PASS_EMPTY;
    if (dg_archives_read(&dataset->archives, image->member, image->path, head, (size_t)size, NULL) != DG_OK)
        return DG_PASS_CLOSED;
    return dg_look_at(head, (size_t)size, format);
}

/* Sets what is wrong with the first image of a class none of whose files is an image. */
static enum dg_status check_contents(const struct dg_dataset *dataset, struct dg_error *err)
{
    int count = dataset->classes.count;
    int64_t *images = calloc((size_t)count, sizeof *images);
    bool *good = calloc((size_t)count, sizeof *good);
    enum dg_status status = images && good ? DG_OK : dg_listing_no_memory(err);
    for (int64_t i = 0; i < dataset->count && status == DG_OK; i++) {
        int label = dataset->image[i].label;
        enum dg_image_format format = DG_FORMAT_UNKNOWN;
        images[label]++;
        if (!good[label])
            good[label] = !look_into(dataset, &dataset->image[i], &format) && dg_image_format_is_read(format);
    }
    char name[256];
    for (int c = 0; c < count && status == DG_OK; c++)
        if (images[c] && !good[c])
            status = dg_fail(err, DG_ERR_INPUT,
                             "of the class %s no image can be read (%" PRId64
                             " files): remove the class, mend its files, or name the classes, --classes-from FILE",
                             dg_name_escape(dataset->classes.name[c], name, sizeof name), images[c]);
    free(images);
    free(good);
    return status;
}

enum dg_status dg_classes_check(const struct dg_dataset *dataset, const struct dg_data *data, enum dg_labels labels,
                                struct dg_error *err)
{
    const struct dg_classes *classes = &dataset->classes;
    enum dg_status status = DG_OK;
    if (!classes->count) return DG_OK;
    if (!classes->fixed && !dataset->labels_apart) status = check_splits(classes, data->path[0], err);
    if (status == DG_OK && !classes->fixed && !dataset->labels_apart && labels == DG_LABELS_NEEDED)
        status = check_level(dataset, data->path[0], err);
    if (status != DG_OK) {
        if (err && labels != DG_LABELS_NEEDED)
            snprintf(err->text + strlen(err->text), sizeof err->text - strlen(err->text),
                     "; or --flat takes all without classes");
        return status;
    }
    status = check_alike(classes, err);
    if (status == DG_OK && labels == DG_LABELS_NEEDED) status = check_contents(dataset, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", data->path[0]);
    return status;
}

/* ---- two data sets ---- */

enum dg_status dg_dataset_match_classes(const struct dg_dataset *dataset, const struct dg_dataset *reference,
                                        int *number, const struct dg_log *log, struct dg_error *err)
{
    const struct dg_class_names names = {dataset->classes.name, dataset->classes.count},
                                training = {reference->classes.name, reference->classes.count};
    enum dg_status status = dg_class_names_match(&names, &training, number, err);
    if (status == DG_ERR_INPUT && err)
        snprintf(err->text + strlen(err->text), sizeof err->text - strlen(err->text),
                 "; --classes-from names the classes to take");
    DG_TRY(status);
    bool *present = calloc((size_t)training.count + 1, sizeof *present);
    if (!present) return dg_listing_no_memory(err);
    for (int64_t i = 0; i < dataset->count; i++) present[number[dataset->image[i].label]] = true;
    dg_class_names_tell_absent(&training, present, dataset == reference ? "" : " to validate with", log);
    free(present);
    return DG_OK;
}

#include "runtime/data/dataset.h"

#include "runtime/data/listing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum dg_status dg_listing_no_memory(struct dg_error *err)
{
    return dg_fail(err, DG_ERR_MEMORY, "no memory for the list of images");
}

enum dg_status dg_listing_add(struct dg_dataset *dataset, const struct dg_listed *image, struct dg_error *err)
{
    enum dg_status status = image->path ? DG_OK : dg_listing_no_memory(err);
    if (status == DG_OK && dataset->count == DG_DATASET_MAX_IMAGES)
        status = dg_fail(err, DG_ERR_INPUT, "more than %" PRId64 " images", DG_DATASET_MAX_IMAGES);
    if (status == DG_OK && dataset->count == dataset->capacity) {
        int64_t capacity = dataset->capacity ? 2 * dataset->capacity : 1024;
        struct dg_listed *grown = realloc(dataset->image, (size_t)capacity * sizeof *grown);
        if (!grown) {
            status = dg_listing_no_memory(err);
        } else {
            dataset->image = grown;
            dataset->capacity = capacity;
        }
    }
    if (status == DG_OK)
        dataset->image[dataset->count++] = *image;
    else
        free(image->path);
    return status;
}

/* ---- opening ---- */

size_t dg_data_file_size(const char *path)
{
    struct stat about;
    size_t size = strlen(path);
    char *part = strdup(path);
    for (char *slash; part && stat(part, &about) && errno == ENOTDIR && (slash = strrchr(part, '/')); *slash = 0) {
    }
    if (part && !stat(part, &about)) size = strlen(part);
    free(part);
    return size;
}

char *dg_data_real_path(const char *path)
{
    size_t size = dg_data_file_size(path);
    char *file = strndup(path, size), *real = file ? realpath(file, NULL) : NULL, *joined = NULL;
    for (char *colon = file; !real && colon && (colon = strchr(colon, ':')); colon++) { /* ARCHIVE:MEMBER */
        *colon = 0;
        if (dg_is_archive_name(file)) real = realpath(file, NULL);
        if (real) size = (size_t)(colon - file);
        *colon = ':';
    }
    if (real && asprintf(&joined, "%s%s", real, path + size) < 0) joined = NULL;
    for (size_t end = joined ? strlen(joined) : 0; end > 1 && joined[end - 1] == '/';) joined[--end] = 0;
    free(real);
    free(file);
    return joined;
}

char *dg_data_absolute_path(const char *path)
{
    bool list = *path == '@';
    char *real = dg_data_real_path(path + list), *text;
    if (asprintf(&text, "%s%s", list ? "@" : "", real ? real : path + list) < 0) text = NULL;
    free(real);
    return text;
}

/* The images of one folder twice would be taken for so many more. */
static enum dg_status check_apart(const struct dg_data *data, struct dg_error *err)
{
    enum dg_status status = DG_OK;
    char *last = NULL;
    for (int a = 0; a < data->paths && status == DG_OK; a++) {
        if (data->path[a][0] == '@') continue;
        free(last);
        last = dg_data_real_path(data->path[a]);
        size_t size = last ? strlen(last) : 0;
        for (int b = 0; b < data->paths && size && status == DG_OK; b++) {
            char *other = b == a || data->path[b][0] == '@' ? NULL : dg_data_real_path(data->path[b]);
            if (other && !strncmp(last, other, size) && (other[size] == '/' || !other[size] || last[size - 1] == '/'))
                status =
                    dg_fail(err, DG_ERR_USAGE, "%s lies in %s: its images would be taken twice; name one of the two",
                            data->path[b], data->path[a]);
            free(other);
        }
    }
    free(last);
    return status;
}

/* Adds the file as the only image of its source, if it is one and needs no class; else *found is false. */
static enum dg_status add_image(struct dg_source *source, bool *found, struct dg_error *err)
{
    enum dg_image_format format;
    *found = source->labels != DG_LABELS_NEEDED && dg_look_into(source->path, &format) == DG_PASS_NONE;
    if (!*found) return DG_OK;
    const char *slash = strrchr(source->path, '/');
    struct dg_listed image = {.path = strdup(source->path), .label = -1, .source = source->number};
    if (!image.path) return dg_listing_no_memory(err);
    image.folder_size = slash ? (uint32_t)(slash - source->path) : 0;
    image.root_size = slash ? image.folder_size + 1 : 0;
    return dg_listing_add(source->dataset, &image, err);
}

static enum dg_status add_source(struct dg_source *source, const char *path, struct dg_error *err)
{
    if (path[0] == '@') {
        source->path = path + 1;
        source->dataset->labels_apart = true;
        return dg_listing_add_file_list(source, err);
    }
    if (!*path)
        return dg_fail(err, DG_ERR_USAGE, "the name of the data directory is empty; the one that you are in is .");
    char *folder = strdup(path), *real = realpath(path, NULL);
    if (!folder) {
        free(real);
        return dg_listing_no_memory(err);
    }
    size_t size = strlen(folder);
    while (size > 1 && folder[size - 1] == '/') folder[--size] = 0;
    source->path = folder;
    source->real = real;
    struct stat about;
    bool is_file = stat(folder, &about) ? errno == ENOTDIR : !S_ISDIR(about.st_mode);
    bool is_image = false;
    enum dg_status status = is_file ? add_image(source, &is_image, err) : dg_listing_add_folder(source, err);
    if (status == DG_OK && is_file && !is_image) status = dg_listing_add_archive(source, err);
    free(folder);
    free(real);
    return status;
}

/* Some of the images have classes and others not. */
static enum dg_status check_mixture(const struct dg_dataset *d, const struct dg_data *data, struct dg_error *err)
{
    int64_t with = 0, first = 0;
    for (int64_t i = 0; i < d->count; i++) with += d->image[i].label >= 0;
    if (!with || with == d->count) return DG_OK;
    while (d->image[first].label >= 0) first++;
    return dg_fail(err, DG_ERR_INPUT,
                   "the images of %s have no classes, and those of other folders have: --flat takes all "
                   "without classes",
                   data->path[d->image[first].source]);
}

static enum dg_status no_images(const struct dg_dataset *d, const struct dg_data *data, struct dg_error *err)
{
    char over[1024];
    dg_passed_over_text(&d->over, over, sizeof over);
    return dg_fail(err, DG_ERR_INPUT, "no images in %s%s and in the folders below it%s%s", data->path[0],
                   data->paths > 1 ? ", the other sources" : "", *over ? "; passed over: " : "", over);
}

static enum dg_status list_images(struct dg_dataset *d, const struct dg_data *data, enum dg_labels labels,
                                  const struct dg_log *log, struct dg_error *err)
{
    for (int p = 0; p < data->paths; p++) {
        struct dg_source source = {.dataset = d, .data = data, .labels = labels, .log = log, .number = p};
        DG_TRY(add_source(&source, data->path[p], err));
    }
    if (!d->count) return no_images(d, data, err);
    DG_TRY(dg_classes_sort(d, err));
    DG_TRY(check_mixture(d, data, err));
    return dg_classes_check(d, data, labels, err);
}

static enum dg_status open_images(struct dg_dataset *d, const struct dg_data *data, enum dg_labels labels,
                                  const struct dg_log *log, struct dg_error *err)
{
    d->sources = data->paths;
    d->rules = data->rules;
    DG_TRY(check_apart(data, err));
    if (data->index) dg_archives_read_index(&d->archives, data->index);
    if (data->classes_from && labels != DG_LABELS_UNUSED) DG_TRY(dg_classes_read(data->classes_from, &d->classes, err));
    enum dg_status status = list_images(d, data, labels, log, err);
    if (d->count) dg_passed_over_say(&d->over, data->path[0], log); /* it may be the reason of a failure */
    if (!data->index) dg_archives_free_entries(&d->archives);
    return status;
}

enum dg_status dg_dataset_open(const struct dg_data *data, enum dg_labels labels, const struct dg_log *log,
                               struct dg_dataset **dataset, struct dg_error *err)
{
    struct dg_dataset *opened = calloc(1, sizeof *opened);
    if (opened) opened->notes = malloc(sizeof *opened->notes);
    if (opened && opened->notes) dg_image_notes_init(opened->notes);
    enum dg_status status =
        opened && opened->notes ? open_images(opened, data, labels, log, err) : dg_listing_no_memory(err);
    *dataset = status == DG_OK ? opened : NULL;
    if (status != DG_OK) dg_dataset_close(opened);
    return status;
}

void dg_dataset_close(struct dg_dataset *dataset)
{
    if (!dataset) return;
    for (int64_t i = 0; i < dataset->count; i++) free(dataset->image[i].path);
    for (int64_t i = 0; i < dataset->left_out_count; i++) {
        free(dataset->left_out[i].relative);
        free(dataset->left_out[i].reason);
    }
    free(dataset->image);
    free(dataset->left_out);
    dg_classes_free(&dataset->classes);
    dg_passed_over_free(&dataset->over);
    dg_archives_free(&dataset->archives);
    if (dataset->notes) dg_image_notes_free(dataset->notes);
    free(dataset->notes);
    free(dataset);
}

/* ---- what is in it ---- */

int64_t dg_dataset_count(const struct dg_dataset *dataset) { return dataset->count; }

const char *dg_dataset_path(const struct dg_dataset *dataset, int64_t i) { return dataset->image[i].path; }

const char *dg_dataset_relative(const struct dg_dataset *dataset, int64_t i)
{
    const struct dg_listed *image = &dataset->image[i];
    return image->path + (dataset->sources > 1 ? 0 : image->root_size);
}

const char *dg_listing_relative(const struct dg_listed *image) { return image->path + image->root_size; }

int dg_dataset_label(const struct dg_dataset *dataset, int64_t i) { return dataset->image[i].label; }

int dg_dataset_classes(const struct dg_dataset *dataset) { return dataset->classes.count; }

const char *dg_dataset_class_name(const struct dg_dataset *dataset, int label) { return dataset->classes.name[label]; }

uint64_t dg_dataset_hash(const struct dg_dataset *dataset)
{
    uint64_t hash = DG_FNV_BASIS;
    for (int64_t i = 0; i < dataset->count; i++) {
        const struct dg_listed *image = &dataset->image[i];
        const char *relative = dg_listing_relative(image);
        if (dataset->sources > 1) hash = dg_fnv1a(hash, &image->source, sizeof image->source);
        hash = dg_fnv1a(hash, relative, strlen(relative) + 1);
        if (image->member) {
            const struct dg_member_place *place = &dataset->archives.member[image->member - 1].place;
            hash = dg_fnv1a(dg_fnv1a(hash, &place->size, sizeof place->size), &place->crc, sizeof place->crc);
        }
        if (image->label < 0 || !(dataset->labels_apart || dataset->classes.fixed)) continue;
        const char *name = dataset->classes.name[image->label];
        hash = dg_fnv1a(dg_fnv1a(hash, name, strlen(name) + 1), &image->label, sizeof image->label);
    }
    return hash;
}

bool dg_dataset_has_archives(const struct dg_dataset *dataset) { return dataset->archives.count > 0; }

enum dg_status dg_dataset_save_index(struct dg_dataset *dataset, const char *path, struct dg_error *err)
{
    enum dg_status status = path ? dg_archives_write_index(&dataset->archives, path, err) : DG_OK;
    dg_archives_free_entries(&dataset->archives);
    return status;
}

/* ---- how its images are read ---- */

struct dg_image_rules dg_dataset_rules(const struct dg_dataset *dataset) { return dataset->rules; }

void dg_dataset_set_decoder(const struct dg_dataset *dataset, struct dg_image_decoder *decoder)
{
    decoder->turns = dataset->rules.exif;
    decoder->noted = dataset->notes;
}

enum dg_status dg_dataset_decode(const struct dg_dataset *dataset, int64_t i, struct dg_image_decoder *decoder,
                                 struct dg_image *image, struct dg_error *err)
{
    const struct dg_listed *one = &dataset->image[i];
    if (!one->member) return dg_image_decode_file(decoder, one->path, image, err);
    int64_t size = dataset->archives.member[one->member - 1].place.size;
    DG_TRY(dg_image_decoder_reserve(decoder, one->path, size, err));
    DG_TRY(dg_archives_read(&dataset->archives, one->member, one->path, decoder->file.bytes, (size_t)size, err));
    return dg_image_decode_memory(decoder, one->path, decoder->file.bytes, (size_t)size, image, err);
}

enum dg_status dg_data_decode(const char *path, struct dg_image_decoder *decoder, struct dg_image *image,
                              struct dg_error *err)
{
    if (!access(path, F_OK)) return dg_image_decode_file(decoder, path, image, err);
    struct dg_dataset alone = {0};
    struct dg_source source = {.dataset = &alone};
    struct dg_listed member = {.path = strdup(path)};
    bool found = false;
    enum dg_status status =
        member.path ? dg_listing_add_member(&source, &member, &found, err) : dg_listing_no_memory(err);
    if (!found) free(member.path);
    if (status == DG_OK)
        status = found ? dg_dataset_decode(&alone, 0, decoder, image, err)
                       : dg_image_decode_file(decoder, path, image, err); /* which says why it cannot */
    for (int64_t i = 0; i < alone.count; i++) free(alone.image[i].path);
    free(alone.image);
    dg_archives_free(&alone.archives);
    return status;
}

void dg_dataset_say_notes(const struct dg_dataset *dataset, const struct dg_log *log)
{
    dg_image_notes_say(dataset->notes, log);
}

/* ---- images that turn out to be unreadable ---- */

enum dg_status dg_dataset_leave_out(struct dg_dataset *d, const struct dg_bad_images *bad, struct dg_error *err)
{
    struct dg_left_out *grown = realloc(d->left_out, (size_t)(d->left_out_count + bad->count + 1) * sizeof *grown);
    if (!grown) return dg_listing_no_memory(err);
    d->left_out = grown;
    for (int64_t n = 0; n < bad->count; n++) {
        struct dg_left_out *one = &grown[d->left_out_count++];
        *one = (struct dg_left_out){strdup(dg_dataset_relative(d, bad->image[n].index)), strdup(bad->image[n].reason)};
        if (!one->relative || !one->reason) return dg_listing_no_memory(err);
    }
    int64_t next = 0, to = 0;
    for (int64_t i = 0; i < d->count; i++) {
        bool out = next < bad->count && bad->image[next].index == i;
        next += out;
        if (out)
            free(d->image[i].path);
        else
            d->image[to++] = d->image[i];
    }
    d->count = to;
    return DG_OK;
}

const struct dg_left_out *dg_dataset_left_out(const struct dg_dataset *dataset, int64_t *count)
{
    *count = dataset->left_out_count;
    return dataset->left_out;
}

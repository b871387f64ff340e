#include "runtime/data/dataset.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

struct entry {
    char *path;
    uint32_t folder_size; /* bytes of `path` before its last slash */
    int32_t label;
};

struct dg_dataset {
    struct entry *entry;
    int64_t count, capacity;
    char **class_name;
    int classes;
    size_t root_size; /* bytes of every path before the relative part */
    struct dg_dataset_skipped skipped;
};

static enum dg_status out_of_memory(struct dg_error *err)
{
    return dg_fail(err, DG_ERR_MEMORY, "no memory for the list of images");
}

/* ---- one folder ---- */

enum kind { KIND_FOLDER, KIND_FILE, KIND_SPECIAL };

struct name {
    char *text;
    enum kind kind;
};

struct names {
    struct name *name;
    size_t count, capacity;
};

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->name[i].text);
    free(names->name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static enum kind kind_of_mode(mode_t mode)
{
    return S_ISDIR(mode) ? KIND_FOLDER : S_ISREG(mode) ? KIND_FILE : KIND_SPECIAL;
}

/* readdir's type saves a stat for each of a million files. */
static enum kind kind_of(DIR *folder, const struct dirent *item)
{
    struct stat about;
    switch (item->d_type) {
    case DT_REG: return KIND_FILE;
    case DT_DIR: return KIND_FOLDER;
    case DT_LNK:
    case DT_UNKNOWN:
        return fstatat(dirfd(folder), item->d_name, &about, 0) ? KIND_SPECIAL : kind_of_mode(about.st_mode);
    default: return KIND_SPECIAL;
    }
}

static enum dg_status add_name(struct names *names, const char *text, enum kind kind, struct dg_error *err)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 64;
        struct name *grown = realloc(names->name, capacity * sizeof *grown);
        if (!grown) return out_of_memory(err);
        names->name = grown;
        names->capacity = capacity;
    }
    char *copy = strdup(text);
    if (!copy) return out_of_memory(err);
    names->name[names->count++] = (struct name){copy, kind};
    return DG_OK;
}

/* Lists the names in a folder that do not begin with a dot, sorted. The folder is closed before its subfolders are
 * opened, so that depth costs no descriptors. */
static enum dg_status list_folder(const char *path, struct names *names, struct dg_error *err)
{
    DIR *folder = opendir(path);
    if (!folder) return dg_fail(err, DG_ERR_IO, "cannot read the folder %s: %s", path, strerror(errno));
    enum dg_status status = DG_OK;
    struct dirent *item;
    errno = 0;
    while (status == DG_OK && (item = readdir(folder))) {
        if (item->d_name[0] != '.') status = add_name(names, item->d_name, kind_of(folder, item), err);
        errno = 0;
    }
    if (status == DG_OK && errno)
        status = dg_fail(err, DG_ERR_IO, "cannot read the folder %s: %s", path, strerror(errno));
    closedir(folder);
    if (names->count) qsort(names->name, names->count, sizeof *names->name, compare_names);
    return status;
}

/* ---- the list ---- */

static bool is_image_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") || !strcasecmp(dot, ".png"));
}

static enum dg_status join(const char *folder, const char *name, char **path, struct dg_error *err)
{
    if (asprintf(path, "%s/%s", folder, name) >= 0) return DG_OK;
    *path = NULL;
    return out_of_memory(err);
}

static enum dg_status add_image(struct dg_dataset *dataset, const char *folder, const char *name, int label,
                                struct dg_error *err)
{
    if (dataset->count == DG_DATASET_MAX_IMAGES)
        return dg_fail(err, DG_ERR_INPUT, "more than %lld images", (long long)DG_DATASET_MAX_IMAGES);
    if (dataset->count == dataset->capacity) {
        int64_t capacity = dataset->capacity ? 2 * dataset->capacity : 1024;
        struct entry *grown = realloc(dataset->entry, (size_t)capacity * sizeof *grown);
        if (!grown) return out_of_memory(err);
        dataset->entry = grown;
        dataset->capacity = capacity;
    }
    char *path;
    DG_TRY(join(folder, name, &path, err));
    dataset->entry[dataset->count++] = (struct entry){path, (uint32_t)strlen(folder), label};
    return DG_OK;
}

/* The folders on the way down, to detect a link back to one of them. */
struct above {
    const struct above *up;
    dev_t device;
    ino_t inode;
};

static enum dg_status scan(struct dg_dataset *dataset, const char *folder, int label, const struct above *up,
                           struct dg_error *err);

static enum dg_status scan_names(struct dg_dataset *dataset, const char *folder, const struct names *names, int label,
                                 const struct above *up, struct dg_error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct name *name = &names->name[i];
        if (name->kind == KIND_SPECIAL) {
            dataset->skipped.special++;
        } else if (name->kind == KIND_FOLDER) {
            char *path;
            DG_TRY(join(folder, name->text, &path, err));
            enum dg_status status = scan(dataset, path, label, up, err);
            free(path);
            if (status != DG_OK) return status;
        } else if (!is_image_name(name->text)) {
            dataset->skipped.other++;
        } else {
            DG_TRY(add_image(dataset, folder, name->text, label, err));
        }
    }
    return DG_OK;
}

/* Adds all images below `folder`. */
static enum dg_status scan(struct dg_dataset *dataset, const char *folder, int label, const struct above *up,
                           struct dg_error *err)
{
    struct stat about;
    if (stat(folder, &about)) return dg_fail(err, DG_ERR_IO, "cannot read the folder %s: %s", folder, strerror(errno));
    for (const struct above *a = up; a; a = a->up) {
        if (a->device == about.st_dev && a->inode == about.st_ino) {
            dataset->skipped.loops++;
            return DG_OK;
        }
    }
    struct above here = {up, about.st_dev, about.st_ino};
    struct names names = {0};
    enum dg_status status = list_folder(folder, &names, err);
    if (status == DG_OK) status = scan_names(dataset, folder, &names, label, &here, err);
    names_free(&names);
    return status;
}

/* Adds the images of all folders of the top level, each of which is a class. */
static enum dg_status scan_classes(struct dg_dataset *dataset, const char *root, const struct names *names,
                                   const struct above *here, struct dg_error *err)
{
    dataset->class_name = calloc(names->count ? names->count : 1, sizeof *dataset->class_name);
    if (!dataset->class_name) return out_of_memory(err);
    for (size_t i = 0; i < names->count; i++) {
        if (names->name[i].kind != KIND_FOLDER) continue;
        int label = dataset->classes;
        dataset->class_name[label] = strdup(names->name[i].text);
        if (!dataset->class_name[label]) return out_of_memory(err);
        dataset->classes++;
        const struct names one = {&names->name[i], 1, 1};
        DG_TRY(scan_names(dataset, root, &one, label, here, err));
    }
    return DG_OK;
}

static void forget_classes(struct dg_dataset *dataset)
{
    for (int i = 0; i < dataset->classes; i++) free(dataset->class_name[i]);
    free(dataset->class_name);
    dataset->class_name = NULL;
    dataset->classes = 0;
}

/* Handles files of the top level: the images of a flat directory, strays of a class tree. */
static enum dg_status scan_top_files(struct dg_dataset *dataset, const char *root, const struct names *names,
                                     struct dg_error *err)
{
    bool tree = dataset->count > 0;
    if (!tree) forget_classes(dataset);
    for (size_t i = 0; i < names->count; i++) {
        if (names->name[i].kind == KIND_FOLDER) continue;
        if (tree && names->name[i].kind == KIND_FILE && is_image_name(names->name[i].text)) {
            dataset->skipped.stray++;
            continue;
        }
        const struct names one = {&names->name[i], 1, 1};
        DG_TRY(scan_names(dataset, root, &one, -1, NULL, err));
    }
    return DG_OK;
}

static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    if (a->label != b->label) return a->label < b->label ? -1 : 1;
    uint32_t common = a->folder_size < b->folder_size ? a->folder_size : b->folder_size;
    int order = memcmp(a->path, b->path, common);
    if (order) return order;
    if (a->folder_size != b->folder_size) return a->folder_size < b->folder_size ? -1 : 1;
    return strcmp(a->path + common, b->path + common);
}

static enum dg_status scan_root(struct dg_dataset *dataset, const char *root, struct names *names, struct dg_error *err)
{
    struct stat about;
    if (stat(root, &about))
        return dg_fail(err, DG_ERR_IO, "cannot read the data directory %s: %s", root, strerror(errno));
    if (!S_ISDIR(about.st_mode))
        return dg_fail(err, DG_ERR_USAGE, "%s is not a directory; expected a folder of images or of class folders",
                       root);
    struct above here = {NULL, about.st_dev, about.st_ino};
    DG_TRY(list_folder(root, names, err));
    DG_TRY(scan_classes(dataset, root, names, &here, err));
    DG_TRY(scan_top_files(dataset, root, names, err));
    if (dataset->count == 0)
        return dg_fail(err, DG_ERR_INPUT,
                       "no images in %s: looked for *.jpg, *.jpeg and *.png in it and in the folders below it "
                       "(%lld other files there)",
                       root, (long long)(dataset->skipped.other + dataset->skipped.special));
    qsort(dataset->entry, (size_t)dataset->count, sizeof *dataset->entry, compare_entries);
    return DG_OK;
}

enum dg_status dg_dataset_open(const char *directory, struct dg_dataset **dataset, struct dg_error *err)
{
    *dataset = NULL;
    struct dg_dataset *opened = calloc(1, sizeof *opened);
    char *root = strdup(*directory ? directory : ".");
    enum dg_status status = DG_OK;
    if (!opened || !root) {
        status = out_of_memory(err);
    } else {
        size_t size = strlen(root);
        while (size > 1 && root[size - 1] == '/') root[--size] = 0;
        opened->root_size = size + 1;
        struct names names = {0};
        status = scan_root(opened, root, &names, err);
        names_free(&names);
    }
    free(root);
    if (status == DG_OK)
        *dataset = opened;
    else
        dg_dataset_close(opened);
    return status;
}

void dg_dataset_close(struct dg_dataset *dataset)
{
    if (!dataset) return;
    for (int64_t i = 0; i < dataset->count; i++) free(dataset->entry[i].path);
    free(dataset->entry);
    forget_classes(dataset);
    free(dataset);
}

int64_t dg_dataset_count(const struct dg_dataset *dataset) { return dataset->count; }

const char *dg_dataset_path(const struct dg_dataset *dataset, int64_t i) { return dataset->entry[i].path; }

const char *dg_dataset_relative(const struct dg_dataset *dataset, int64_t i)
{
    return dataset->entry[i].path + dataset->root_size;
}

int dg_dataset_label(const struct dg_dataset *dataset, int64_t i) { return dataset->entry[i].label; }

int dg_dataset_classes(const struct dg_dataset *dataset) { return dataset->classes; }

const char *dg_dataset_class_name(const struct dg_dataset *dataset, int label) { return dataset->class_name[label]; }

enum dg_status dg_dataset_match_classes(const struct dg_dataset *dataset, const struct dg_dataset *reference,
                                        int *number, struct dg_error *err)
{
    for (int c = 0; c < dataset->classes; c++) {
        int n = 0;
        while (n < reference->classes && strcmp(reference->class_name[n], dataset->class_name[c])) n++;
        if (n == reference->classes)
            return dg_fail(err, DG_ERR_INPUT, "class %s is not among the training classes", dataset->class_name[c]);
        number[c] = n;
    }
    return DG_OK;
}

struct dg_dataset_skipped dg_dataset_skipped(const struct dg_dataset *dataset) { return dataset->skipped; }

uint64_t dg_dataset_hash(const struct dg_dataset *dataset)
{
    uint64_t hash = DG_FNV_BASIS;
    for (int64_t i = 0; i < dataset->count; i++) {
        const char *relative = dg_dataset_relative(dataset, i);
        hash = dg_fnv1a(hash, relative, strlen(relative) + 1);
    }
    return hash;
}

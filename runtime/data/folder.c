/* Lists the images of a folder. */
#include "runtime/data/listing.h"

#include "runtime/image/write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what a file is ---- */

enum dg_pass_reason dg_look_at(const void *head, size_t size, enum dg_image_format *format)
{
    *format = dg_image_format(head, size);
    if (dg_image_is_drawing(head, size)) return DG_PASS_OWN;
    return *format == DG_FORMAT_UNKNOWN || *format >= DG_FORMAT_VIDEO ? DG_PASS_OTHER : DG_PASS_NONE;
}

enum dg_pass_reason dg_look_into(const char *path, enum dg_image_format *format)
{
    char head[DG_IMAGE_FORMAT_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return DG_PASS_CLOSED;
    ssize_t size = read(fd, head, sizeof head);
    close(fd);
    if (size < 0) return DG_PASS_CLOSED;
    return size ? dg_look_at(head, (size_t)size, format) : DG_PASS_EMPTY;
}

/* The format that a name says by its ending. */
static enum dg_image_format format_of_name(const char *name)
{
    static const struct {
        const char *ending;
        enum dg_image_format format;
    } known[] = {{".jpg", DG_FORMAT_JPEG},  {".jpeg", DG_FORMAT_JPEG}, {".jpe", DG_FORMAT_JPEG},
                 {".jfif", DG_FORMAT_JPEG}, {".png", DG_FORMAT_PNG},   {".webp", DG_FORMAT_WEBP},
                 {".tif", DG_FORMAT_TIFF},  {".tiff", DG_FORMAT_TIFF}, {".bmp", DG_FORMAT_BMP},
                 {".ppm", DG_FORMAT_PNM},   {".pgm", DG_FORMAT_PNM},   {".pbm", DG_FORMAT_PNM},
                 {".pnm", DG_FORMAT_PNM},   {".gif", DG_FORMAT_GIF}};
    const char *dot = strrchr(name, '.');
    for (size_t k = 0; dot && k < sizeof known / sizeof *known; k++)
        if (!strcasecmp(dot, known[k].ending)) return known[k].format;
    return DG_FORMAT_UNKNOWN;
}

enum dg_pass_reason dg_find_kind(const char *name, bool top, dg_look *look, const void *context,
                                 enum dg_image_format *format)
{
    enum dg_image_format named = format_of_name(name), content = DG_FORMAT_UNKNOWN;
    *format = DG_FORMAT_UNKNOWN;
    if (named == DG_FORMAT_PNG && top && look(context, &content) == DG_PASS_OWN) return DG_PASS_OWN;
    if (dg_image_format_is_read(named)) return DG_PASS_NONE;
    *format = named;
    return look(context, format);
}

/* ---- one folder ---- */

struct name {
    char *text;
    bool is_folder, is_link;
    enum dg_pass_reason pass;
};

struct names {
    struct name *name;
    size_t count, capacity;
};

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->name[i].text);
    free(names->name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static bool has_name(const void *context, const char *file)
{
    const struct names *names = context;
    const struct name key = {.text = (char *)(uintptr_t)file};
    return names->count && bsearch(&key, names->name, names->count, sizeof key, compare_names);
}

bool dg_is_own_folder(bool (*has)(const void *context, const char *name), const void *context)
{
    if (has(context, "attention.npy") && has(context, "sheet.png")) return true;
    return has(context, "log.jsonl") && (has(context, "settings.txt") || has(context, "linear.safetensors") ||
                                         has(context, "checkpoint.safetensors"));
}

/* Sets is_folder or pass by what the name stands for. readdir's type saves a stat for each of a million files. */
static void find_kind(DIR *folder, const struct dirent *item, struct name *name)
{
    unsigned char type = item->d_type;
    struct stat about;
    name->pass = dg_pass_by_name(item->d_name);
    if (name->pass) return;
    if (type == DT_LNK || type == DT_UNKNOWN) {
        if (fstatat(dirfd(folder), item->d_name, &about, 0)) {
            name->pass = errno == ELOOP ? DG_PASS_LOOP : errno == EACCES ? DG_PASS_CLOSED : DG_PASS_DANGLING;
            return;
        }
        name->is_link = item->d_type == DT_LNK || item->d_type == DT_UNKNOWN;
        type = S_ISDIR(about.st_mode) ? DT_DIR : S_ISREG(about.st_mode) ? DT_REG : DT_FIFO;
    }
    name->is_folder = type == DT_DIR;
    if (type != DT_DIR && type != DT_REG) name->pass = DG_PASS_SPECIAL;
    if (type == DT_REG && dg_is_unfinished(item->d_name)) name->pass = DG_PASS_UNFINISHED;
}

static enum dg_status add_name(struct names *names, DIR *folder, const struct dirent *item, struct dg_error *err)
{
    if (!strcmp(item->d_name, ".") || !strcmp(item->d_name, "..")) return DG_OK;
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 64;
        struct name *grown = realloc(names->name, capacity * sizeof *grown);
        if (!grown) return dg_listing_no_memory(err);
        names->name = grown;
        names->capacity = capacity;
    }
    struct name name = {.text = strdup(item->d_name)};
    if (!name.text) return dg_listing_no_memory(err);
    find_kind(folder, item, &name);
    names->name[names->count++] = name;
    return DG_OK;
}

/* Lists the names in a folder, sorted. The folder is closed before its subfolders are opened, so that depth costs no
 * descriptors. *closed: it may not be read. */
static enum dg_status list_names(const char *path, struct names *names, bool *closed, struct dg_error *err)
{
    DIR *folder = opendir(path);
    *closed = !folder && errno == EACCES;
    if (*closed) return DG_OK;
    if (!folder) return dg_fail(err, DG_ERR_IO, "cannot read the folder %s: %s", path, strerror(errno));
    enum dg_status status = DG_OK;
    struct dirent *item;
    errno = 0;
    while (status == DG_OK && (item = readdir(folder))) {
        status = add_name(names, folder, item, err);
        errno = 0;
    }
    if (status == DG_OK && errno)
        status = dg_fail(err, DG_ERR_IO, "cannot read the folder %s: %s", path, strerror(errno));
    closedir(folder);
    if (names->count) qsort(names->name, names->count, sizeof *names->name, compare_names);
    return status;
}

/* ---- all that is below a folder ---- */

/* The folders on the way down, to detect a link back to one of them. */
struct above {
    const struct above *up;
    dev_t device;
    ino_t inode;
};

static enum dg_status join(const char *folder, const char *name, char **path, struct dg_error *err)
{
    if (asprintf(path, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/", name) >= 0) return DG_OK;
    *path = NULL;
    return dg_listing_no_memory(err);
}

static size_t root_size(const struct dg_source *s)
{
    size_t size = strlen(s->path);
    return size + (s->path[size - 1] != '/');
}

static void pass_over(struct dg_source *s, enum dg_pass_reason reason, const char *path)
{
    dg_passed_over_add(&s->dataset->over, reason, path + root_size(s));
}

static enum dg_pass_reason look_into_file(const void *path, enum dg_image_format *format)
{
    return dg_look_into(path, format);
}

/* Adds the file if it is an image. */
static enum dg_status add_file(struct dg_source *s, const char *path, struct dg_error *err)
{
    const char *slash = strrchr(path, '/'), *relative = path + root_size(s);
    enum dg_image_format format;
    enum dg_pass_reason reason = dg_find_kind(slash + 1, slash + 1 == relative, look_into_file, path, &format);
    bool unread = !reason && format && !dg_image_format_is_read(format);
    if (reason) pass_over(s, reason, path);
    if (reason == DG_PASS_OTHER) dg_passed_over_add_known(&s->dataset->over, format, relative);
    if (unread) dg_passed_over_add_format(&s->dataset->over, format, relative);
    if (reason || unread) return DG_OK;
    const struct dg_listed image = {.path = strdup(path),
                                    .folder_size = (uint32_t)(slash - path),
                                    .root_size = (uint32_t)root_size(s),
                                    .label = -1,
                                    .source = s->number};
    return dg_listing_add(s->dataset, &image, err);
}

/* True if the folder that a link leads to is in the source by itself: its images would be taken twice. */
static bool leads_inside(const struct dg_source *s, const char *link)
{
    char *target = realpath(link, NULL);
    enum dg_pass_reason reason = DG_PASS_NONE;
    size_t size = s->real ? strlen(s->real) : 0;
    bool inside = target && size && strlen(target) > size && !strncmp(target, s->real, size) &&
                  (target[size] == '/' || s->real[size - 1] == '/');
    if (inside)
        inside = strcmp(target + size + (target[size] == '/'), link + root_size(s)) != 0; /* not a link at all */
    if (inside) dg_pass_by_path(target + size, &reason);
    free(target);
    return inside && !reason; /* with a reason it is passed over there */
}

static enum dg_status scan(struct dg_source *s, const char *folder, const struct above *up, struct dg_error *err);

static enum dg_status scan_name(struct dg_source *s, const char *folder, const struct name *name,
                                const struct above *here, struct dg_error *err)
{
    char *path;
    enum dg_status status = join(folder, name->text, &path, err);
    if (status != DG_OK) return status;
    if (name->pass || (name->is_folder && name->is_link && leads_inside(s, path)))
        pass_over(s, name->pass ? name->pass : DG_PASS_LINKED, path);
    else if (name->is_folder)
        status = scan(s, path, here, err);
    else
        status = add_file(s, path, err);
    free(path);
    return status;
}

/* Adds all images below `folder`, unless it is passed over. */
static enum dg_status scan(struct dg_source *s, const char *folder, const struct above *up, struct dg_error *err)
{
    struct stat about;
    if (stat(folder, &about)) return dg_fail(err, DG_ERR_IO, "cannot read the folder %s: %s", folder, strerror(errno));
    for (const struct above *a = up; a; a = a->up) {
        if (a->device != about.st_dev || a->inode != about.st_ino) continue;
        pass_over(s, DG_PASS_LOOP, folder);
        return DG_OK;
    }
    const struct above here = {up, about.st_dev, about.st_ino};
    struct names names = {0};
    bool closed;
    enum dg_status status = list_names(folder, &names, &closed, err);
    bool own = status == DG_OK && dg_is_own_folder(has_name, &names);
    if (closed || own) pass_over(s, own ? DG_PASS_OWN : DG_PASS_CLOSED, folder);
    for (size_t n = 0; n < names.count && status == DG_OK && !own; n++)
        status = scan_name(s, folder, &names.name[n], &here, err);
    free_names(&names);
    return status;
}

/* ---- the top level ---- */

struct top_folder {
    const struct name *name;
    const struct above *root;
};

static enum dg_status add_below(struct dg_source *s, const void *context, struct dg_error *err)
{
    const struct top_folder *folder = context;
    return scan_name(s, s->path, folder->name, folder->root, err);
}

/* An archive beside images is what they came from, or something else: it is no data. */
static bool is_archive(const struct name *name)
{
    return !name->is_folder && !name->pass && dg_is_archive_name(name->text);
}

static enum dg_status add_beside(struct dg_source *s, const struct names *names, const struct above *root,
                                 bool archives, struct dg_error *err)
{
    for (size_t n = 0; n < names->count; n++)
        if (!names->name[n].is_folder && is_archive(&names->name[n]) == archives)
            DG_TRY(scan_name(s, s->path, &names->name[n], root, err));
    return DG_OK;
}

/* Takes the archives of a folder that has no images besides. */
static enum dg_status add_archives(struct dg_source *s, const struct names *names, struct dg_error *err)
{
    const char **name = malloc((names->count + 1) * sizeof *name);
    int count = 0;
    for (size_t n = 0; n < names->count && name; n++)
        if (is_archive(&names->name[n])) name[count++] = names->name[n].text;
    enum dg_status status = name ? dg_listing_add_archives(s, name, count, err) : dg_listing_no_memory(err);
    free(name);
    return status;
}

static enum dg_status add_top(struct dg_source *s, const struct above *root, struct names *names, struct dg_error *err)
{
    bool closed;
    int archives = 0;
    DG_TRY(list_names(s->path, names, &closed, err));
    if (closed) return dg_fail(err, DG_ERR_IO, "cannot read the folder %s: %s", s->path, strerror(EACCES));
    struct dg_top top = dg_top_make(s);
    DG_TRY(add_beside(s, names, root, false, err));
    dg_top_end_strays(s, &top);
    for (size_t n = 0; n < names->count; n++) {
        const struct top_folder folder = {&names->name[n], root};
        archives += is_archive(folder.name);
        if (folder.name->is_folder) DG_TRY(dg_top_add(s, &top, folder.name->text, add_below, &folder, err));
    }
    if (archives && !top.strays && !top.below) return add_archives(s, names, err);
    DG_TRY(add_beside(s, names, root, true, err));
    return dg_top_settle(s, &top, err);
}

enum dg_status dg_listing_add_folder(struct dg_source *s, struct dg_error *err)
{
    struct stat about;
    if (stat(s->path, &about))
        return dg_fail(err, DG_ERR_IO, "cannot read the data directory %s: %s", s->path, strerror(errno));
    const struct above root = {NULL, about.st_dev, about.st_ino};
    struct names names = {0};
    enum dg_status status = add_top(s, &root, &names, err);
    free_names(&names);
    return status;
}

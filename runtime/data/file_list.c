/* Lists the images that a text file names: a path of an image or of an archive a line, and behind a tab its class. runtime/data/README.md has the
 * format. */
#include "runtime/data/listing.h"

#include "runtime/base/name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_list {
    struct dg_source *source;
    char *folder; /* of the list, with a slash behind it, or "" */
    int64_t line; /* of the entry, from 1 */
    int64_t entries, with_class, missing;
    char *first_missing; /* "line 3: a.jpg: No such file" */
};

/* The whole file and a zero behind it. */
static enum dg_status read_text(const char *path, char **text, size_t *size, struct dg_error *err)
{
    FILE *file = fopen(path, "rbe");
    size_t room = 0;
    ssize_t got = -1;
    *text = NULL;
    if (file) {
        errno = 0;
        struct stat about;
        if (!fstat(fileno(file), &about) && !S_ISREG(about.st_mode)) {
            fclose(file);
            return dg_fail(err, DG_ERR_USAGE, "%s is not a file; expected a list of images", path);
        }
        room = (size_t)about.st_size;
        *text = malloc(room + 1);
        if (*text) got = (ssize_t)fread(*text, 1, room, file);
    }
    int reason = errno;
    bool failed = !file || !*text || ferror(file);
    if (file) fclose(file);
    if (failed) return dg_fail(err, DG_ERR_IO, "cannot read the list %s: %s", path, strerror(reason));
    *size = (size_t)got;
    (*text)[*size] = 0;
    return DG_OK;
}

/* What may be meant by a path that is not there: the text up to its last blank, comma or semicolon. */
static const char *guess(const char *path)
{
    struct stat about;
    char *cut = strdup(path), *at = cut ? strpbrk(cut, " ,;") : NULL;
    const char *text = "";
    for (; at && !*text; at = strpbrk(at + 1, " ,;")) {
        char was = *at;
        *at = 0;
        if (!stat(cut, &about)) text = "; between a path and its class stands a tab";
        *at = was;
    }
    free(cut);
    return text;
}

/* Returns whether it can be opened; counts it if not. */
static bool check_file(struct file_list *l, const char *path, const char *entry)
{
    struct stat about;
    char name[512];
    const char *reason = stat(path, &about) ? strerror(errno) : S_ISREG(about.st_mode) ? NULL : "not a regular file";
    if (!reason || l->missing++) return !reason;
    dg_name_escape(entry, name, sizeof name);
    if (asprintf(&l->first_missing, "line %" PRId64 ": %s: %s%s", l->line, name, reason, guess(path)) < 0)
        l->first_missing = NULL;
    return false;
}

static enum dg_status add_entry(struct file_list *l, const char *entry, const char *class_name, struct dg_error *err)
{
    struct dg_source *s = l->source;
    bool absolute = *entry == '/';
    struct dg_listed image = {
        .root_size = absolute ? 0 : (uint32_t)strlen(l->folder), .label = -1, .source = s->number};
    l->entries++;
    l->with_class += *class_name != 0;
    if (*class_name && s->labels != DG_LABELS_UNUSED) {
        DG_TRY(dg_classes_number(&s->dataset->classes, class_name, &image.label, err));
        if (image.label < 0) {
            dg_passed_over_add(&s->dataset->over, DG_PASS_NO_CLASS, entry);
            return DG_OK;
        }
    }
    if (asprintf(&image.path, "%s%s", absolute ? "" : l->folder, entry) < 0) return dg_listing_no_memory(err);
    const char *slash = strrchr(image.path, '/');
    image.folder_size = slash ? (uint32_t)(slash - image.path) : 0;
    bool is_member = false;
    enum dg_status status = DG_OK;
    if (access(image.path, F_OK)) status = dg_listing_add_member(s, &image, &is_member, err);
    if (status != DG_OK && !is_member) free(image.path);
    if (status != DG_OK || is_member) return status;
    if (check_file(l, image.path, entry) && dg_is_archive_name(entry)) {
        status = dg_listing_add_listed_archive(s, image.path, image.root_size, image.label, err);
        free(image.path);
        return status;
    }
    return dg_listing_add(s->dataset, &image, err);
}

static enum dg_status read_line(struct file_list *l, char *line, struct dg_error *err)
{
    static char none[] = "";
    size_t size = strlen(line);
    if (size && line[size - 1] == '\r') line[size - 1] = 0;
    if (!*line) return DG_OK;
    char *class_name = strchr(line, '\t');
    if (class_name) *class_name++ = 0;
    if (class_name && strchr(class_name, '\t'))
        return dg_fail(err, DG_ERR_INPUT, "%s, line %" PRId64 ": more than one tab; one in a name is written \\t",
                       l->source->path, l->line);
    if (!class_name) class_name = none;
    if (!*line || !dg_name_unescape(line) || !dg_name_unescape(class_name))
        return dg_fail(
            err, DG_ERR_INPUT, "%s, line %" PRId64 ": %s", l->source->path, l->line,
            *line ? "a backslash that begins neither \\\\, \\t, \\n, \\r nor \\xHH; one in a name is written \\\\"
                  : "no path before the tab");
    return add_entry(l, line, class_name, err);
}

static enum dg_status read_entries(struct file_list *l, char *text, size_t size, struct dg_error *err)
{
    bool zeros = memchr(text, 0, size); /* as find -print0 writes: names as they are */
    char *end = text + size;
    if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3;
    while (text < end) {
        char *stop = memchr(text, zeros ? 0 : '\n', (size_t)(end - text));
        if (!stop) stop = end;
        *stop = 0;
        l->line++;
        if (!zeros)
            DG_TRY(read_line(l, text, err));
        else if (*text)
            DG_TRY(add_entry(l, text, "", err));
        text = stop + 1;
    }
    return DG_OK;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Tells of images that are named more than once. */
static enum dg_status tell_repeated(const struct dg_source *s, int64_t first, struct dg_error *err)
{
    const struct dg_dataset *d = s->dataset;
    size_t count = (size_t)(d->count - first), repeated = 0;
    const char **path = malloc((count + 1) * sizeof *path), *example = NULL;
    if (!path) return dg_listing_no_memory(err);
    for (size_t i = 0; i < count; i++) path[i] = d->image[first + (int64_t)i].path;
    qsort(path, count, sizeof *path, compare_paths);
    for (size_t i = 1; i < count; i++)
        if (!strcmp(path[i], path[i - 1])) {
            if (!repeated++) example = path[i];
        }
    char name[512];
    if (repeated)
        dg_log(s->log, DG_LOG_WARNING, DG_LOG_LOAD, "%s names images again (%zu: %s), and they count each time",
               s->path, repeated, dg_name_escape(example, name, sizeof name));
    free(path);
    return DG_OK;
}

static enum dg_status check_list(const struct file_list *l, int64_t first, struct dg_error *err)
{
    const struct dg_source *s = l->source;
    while (first < s->dataset->count && s->dataset->image[first].label >= 0) first++;
    if (l->missing)
        return dg_fail(err, DG_ERR_INPUT, "%s: %" PRId64 " of its %" PRId64 " files cannot be opened, the first on %s",
                       s->path, l->missing, l->entries, l->first_missing ? l->first_missing : "?");
    if (!l->entries) return dg_fail(err, DG_ERR_INPUT, "no images in %s: the list is empty", s->path);
    if (s->labels == DG_LABELS_UNUSED) return DG_OK;
    if (l->with_class && l->with_class < l->entries)
        return dg_fail(err, DG_ERR_INPUT, "%s: %" PRId64 " of its %" PRId64 " files have no class: either all or none",
                       s->path, l->entries - l->with_class, l->entries);
    if (first < s->dataset->count && s->labels == DG_LABELS_NEEDED)
        return dg_fail(err, DG_ERR_INPUT,
                       "%s: its files have no classes, which are needed here: a tab and the class behind each path",
                       s->path);
    return DG_OK;
}

enum dg_status dg_listing_add_file_list(struct dg_source *s, struct dg_error *err)
{
    struct file_list l = {.source = s};
    const char *slash = strrchr(s->path, '/');
    char *text = NULL;
    size_t size = 0;
    int64_t first = s->dataset->count;
    l.folder = strndup(s->path, slash ? (size_t)(slash - s->path) + 1 : 0);
    enum dg_status status = l.folder ? read_text(s->path, &text, &size, err) : dg_listing_no_memory(err);
    if (status == DG_OK) status = read_entries(&l, text, size, err);
    if (status == DG_OK) status = check_list(&l, first, err);
    if (status == DG_OK) status = tell_repeated(s, first, err);
    free(text);
    free(l.folder);
    free(l.first_missing);
    return status;
}

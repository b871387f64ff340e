/* Reads through an archive: which of its members are images by name or content, and the labels of WebDataset's layout. */
#include "runtime/data/archives.h"
#include "runtime/data/listing.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LABEL_FILE = 1 << 20 /* bytes of one, at most */ };

struct scan {
    struct dg_archive *archive;
    const struct dg_log *log;
    bool labels;
    const char *within; /* of an archive in the archive: its name without .tar, with a slash behind it; else "" */
    bool ends;
};

static const char *name_of(const struct dg_archive *a, const struct dg_archive_entry *e) { return a->text + e->name; }

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

/* ---- one member ---- */

/* `within` and the name's parts that are neither empty nor ".", with a slash behind a folder, into `text`, which has room for
 * both. */
static size_t tidy(const char *within, const char *name, bool folder, char *text)
{
    size_t size = strlen(within), before = size;
    memcpy(text, within, size);
    while (*name) {
        size_t part = strcspn(name, "/");
        if (part && !(part == 1 && *name == '.')) {
            memcpy(text + size, name, part);
            size += part;
            text[size++] = '/';
        }
        name += part + (name[part] == '/');
    }
    if (size > before && !folder) size--;
    text[size] = 0;
    return size;
}

static enum dg_pass_reason pass_by_name(const char *name)
{
    enum dg_pass_reason reason;
    dg_pass_by_path(name, &reason);
    return reason ? reason : dg_is_unfinished(last_part(name)) ? DG_PASS_UNFINISHED : DG_PASS_NONE;
}

/* A member that is looked into. */
struct looked_at {
    const struct dg_archive *archive;
    const struct dg_member_place *place;
    const char *name;
};

static enum dg_pass_reason look_into(const void *context, enum dg_image_format *format)
{
    const struct looked_at *m = context;
    char head[DG_IMAGE_FORMAT_BYTES];
    size_t count = (size_t)dg_min_i64(m->place->size, sizeof head);
    if (!count) return DG_PASS_EMPTY;
    if (dg_member_read(m->archive->fd, m->place, m->name, head, count, NULL) != DG_OK) return DG_PASS_OTHER;
    return dg_look_at(head, count, format);
}

/* Sets pass and format. */
static void find_kind(const struct dg_archive *a, const char *name, struct dg_archive_entry *e)
{
    const struct looked_at member = {a, &e->place, name};
    enum dg_image_format format;
    e->pass = (uint8_t)dg_find_kind(last_part(name), !strchr(name, '/'), look_into, &member, &format);
    e->format = (uint8_t)format;
}

static enum dg_status add_entry(struct dg_archive *a, const struct dg_archive_entry *e, struct dg_error *err)
{
    if (a->count == a->capacity) {
        int64_t capacity = a->capacity ? 2 * a->capacity : 256;
        struct dg_archive_entry *grown = realloc(a->entry, (size_t)capacity * sizeof *grown);
        if (!grown) return dg_listing_no_memory(err);
        a->entry = grown;
        a->capacity = capacity;
    }
    a->entry[a->count++] = *e;
    return DG_OK;
}

/* ---- labels ---- */

/* The text of the number or text under one of these keys; NULL: there is none. The caller frees it. */
static char *label_of_json(const char *text, size_t size)
{
    static const char *const key[] = {"label", "class", "cls", "class_id", "class_name"};
    json_t *all = json_loadb(text, size, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL);
    char *label = NULL;
    for (size_t k = 0; k < sizeof key / sizeof *key && !label; k++) {
        const json_t *value = json_object_get(all, key[k]);
        if (json_is_string(value) && *json_string_value(value)) label = strdup(json_string_value(value));
        if (json_is_integer(value) && asprintf(&label, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) < 0)
            label = NULL;
    }
    json_decref(all);
    return label;
}

/* The text without blanks at its ends; NULL: there is none, or several lines. */
static char *label_of_text(const char *text)
{
    text += strspn(text, " \t\r\n");
    size_t size = strcspn(text, "\r\n");
    if (!size || text[size + strspn(text + size, " \t\r\n")]) return NULL;
    while (size && (text[size - 1] == ' ' || text[size - 1] == '\t')) size--;
    return strndup(text, size);
}

static bool is_label_file(const char *name, bool *json)
{
    const char *dot = strchr(last_part(name), '.');
    *json = dot && !strcasecmp(dot, ".json");
    return dot && (*json || !strcasecmp(dot, ".cls"));
}

/* Sets the label that a file of labels has. */
static enum dg_status read_label(struct dg_archive *a, const char *name, struct dg_archive_entry *e,
                                 struct dg_error *err)
{
    bool json;
    if (!is_label_file(name, &json) || !e->place.size || e->place.size > LABEL_FILE) return DG_OK;
    size_t size = (size_t)e->place.size;
    char *bytes = malloc(size + 1), *label = NULL;
    if (!bytes) return dg_listing_no_memory(err);
    bytes[size] = 0;
    enum dg_status status = dg_member_read(a->fd, &e->place, name, bytes, size, err);
    if (status != DG_OK)
        dg_error_prefix(err, "%s", a->path);
    else if (strlen(bytes) == size)
        label = json ? label_of_json(bytes, size) : label_of_text(bytes);
    if (label) status = dg_archive_add_text(a, label, strlen(label), &e->label, err);
    free(label);
    free(bytes);
    return status;
}

/* ---- all members ---- */

static enum dg_status on_member(void *context, const struct dg_member *member, struct dg_error *err);

/* `inner`: the name of an archive in the archive, or "". */
static void say_no_end(const struct scan *s, const char *inner)
{
    dg_log(s->log, DG_LOG_WARNING, DG_LOG_LOAD,
           "%s%s%s has no mark of its end: if it was cut short, it was between two members", s->archive->path,
           *inner ? ":" : "", inner);
}

/* A tar in the tar, whose members come as those of a folder of its name. */
static enum dg_status read_inner(struct scan *s, const struct dg_member *m, const char *name, struct dg_error *err)
{
    const struct dg_archive *a = s->archive;
    const struct dg_archive_span span = {a->fd, a->path, m->place.offset, m->place.offset + m->place.size};
    struct scan inner = *s;
    char *stem = dg_archive_stem(name), *within = NULL;
    bool ends = true;
    if (!stem || asprintf(&within, "%s/", stem) < 0) within = NULL;
    inner.within = within;
    enum dg_status status = within ? dg_tar_read(&span, on_member, &inner, &ends, err) : dg_listing_no_memory(err);
    if (status != DG_OK)
        dg_error_prefix(err, "in the archive %s", name);
    else if (!ends)
        say_no_end(s, name);
    free(stem);
    free(within);
    return status;
}

static bool is_inner(const struct scan *s, const struct dg_member *m, const char *name)
{
    const struct dg_archive_span span = {s->archive->fd, s->archive->path, m->place.offset,
                                         m->place.offset + m->place.size};
    const char *dot = strrchr(name, '.');
    return !*s->within && m->kind == DG_MEMBER_FILE && m->place.packing == DG_PACKING_TAR && dot &&
           !strcasecmp(dot, ".tar") && dg_archive_kind(&span) == DG_ARCHIVE_TAR;
}

static enum dg_status take_member(struct scan *s, const struct dg_member *m, const char *name, size_t size,
                                  struct dg_error *err)
{
    struct dg_archive *a = s->archive;
    struct dg_archive_entry e = {.place = m->place, .is_folder = m->kind == DG_MEMBER_FOLDER};
    if (a->count == DG_DATASET_MAX_IMAGES)
        return dg_fail(err, DG_ERR_INPUT, "%s has more than %lld members", a->path, (long long)DG_DATASET_MAX_IMAGES);
    e.pass = (uint8_t)pass_by_name(name);
    if (!e.pass && is_inner(s, m, name)) return read_inner(s, m, name, err);
    if (m->place.packing == DG_PACKING_TAR) e.place.crc = (uint32_t)dg_fnv1a(DG_FNV_BASIS, &m->time, sizeof m->time);
    if (!e.pass && m->kind == DG_MEMBER_SPECIAL) e.pass = DG_PASS_SPECIAL;
    if (!e.pass && m->kind == DG_MEMBER_SYMBOLIC_LINK) e.pass = DG_PASS_ARCHIVED_LINK;
    if (!e.pass && m->kind == DG_MEMBER_FILE) find_kind(a, name, &e);
    if (e.pass && s->labels && m->kind == DG_MEMBER_FILE && e.pass == DG_PASS_OTHER)
        DG_TRY(read_label(a, name, &e, err));
    DG_TRY(dg_archive_add_text(a, name, size, &e.name, err));
    if (!e.pass && m->kind == DG_MEMBER_HARD_LINK) {
        /* Passed over until the member that it names is found (follow_links); the label is that name so far. */
        e.pass = DG_PASS_ARCHIVED_LINK;
        char *target = malloc(strlen(s->within) + strlen(m->target) + 2);
        if (!target) return dg_listing_no_memory(err);
        size_t length = tidy(s->within, m->target, false, target);
        enum dg_status status = dg_archive_add_text(a, target, length, &e.label, err);
        free(target);
        DG_TRY(status);
    }
    return add_entry(a, &e, err);
}

static enum dg_status on_member(void *context, const struct dg_member *m, struct dg_error *err)
{
    struct scan *s = context;
    char *name = malloc(strlen(s->within) + strlen(m->name) + 2);
    if (!name) return dg_listing_no_memory(err);
    size_t size = tidy(s->within, m->name, m->kind == DG_MEMBER_FOLDER, name);
    enum dg_status status = size > strlen(s->within) ? take_member(s, m, name, size, err) : DG_OK;
    free(name);
    return status;
}

/* ---- when all are read ---- */

static int compare_entries(const void *left, const void *right, void *text)
{
    const struct dg_archive_entry *a = left, *b = right;
    int order = strcmp((const char *)text + a->name, (const char *)text + b->name);
    return order ? order : a->name < b->name ? -1 : a->name > b->name; /* the text is in the archive's order */
}

/* Of members of one name the last counts, as when they are unpacked. */
static void drop_replaced(struct scan *s)
{
    struct dg_archive *a = s->archive;
    int64_t to = 0, replaced = 0, example = 0;
    for (int64_t i = 0; i < a->count; i++) {
        if (i + 1 < a->count && !strcmp(name_of(a, &a->entry[i]), name_of(a, &a->entry[i + 1]))) {
            if (!a->entry[i].is_folder && !replaced++) example = (int64_t)a->entry[i].name;
            continue;
        }
        a->entry[to++] = a->entry[i];
    }
    a->count = to;
    if (replaced)
        dg_log(s->log, DG_LOG_WARNING, DG_LOG_LOAD, "%s has members again (%lld: %s), of which the last ones count",
               a->path, (long long)replaced, a->text + example);
}

const struct dg_archive_entry *dg_archive_find(const struct dg_archive *a, const char *name)
{
    int64_t low = 0, high = a->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(name_of(a, &a->entry[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    const struct dg_archive_entry *e = &a->entry[low];
    return low < a->count && !e->is_folder && !strcmp(name_of(a, e), name) ? e : NULL;
}

/* A hard link is the member that it names. Those to links stay passed over. */
static void follow_links(struct dg_archive *a)
{
    for (int64_t i = 0; i < a->count; i++) {
        struct dg_archive_entry *e = &a->entry[i];
        if (e->pass != DG_PASS_ARCHIVED_LINK || !e->label) continue;
        const struct dg_archive_entry *target = dg_archive_find(a, a->text + e->label);
        e->label = 0;
        if (!target || target->pass == DG_PASS_ARCHIVED_LINK) continue;
        e->place = target->place;
        e->pass = DG_PASS_NONE;
        find_kind(a, name_of(a, e), e);
    }
}

/* A folder in an archive, by its name with the slash. */
struct folder {
    const struct dg_archive *archive;
    const char *name;
    size_t size;
};

static bool has_member(const void *context, const char *name)
{
    const struct folder *f = context;
    char *path;
    if (asprintf(&path, "%.*s%s", (int)f->size, f->name, name) < 0) return false;
    bool has = dg_archive_find(f->archive, path) != NULL;
    free(path);
    return has;
}

static bool is_in(const struct folder *f, int64_t entry)
{
    return !strncmp(name_of(f->archive, &f->archive->entry[entry]), f->name, f->size);
}

/* Puts the folder, passed over, in the place of its entries, of which `at` is one. Returns where it is. */
static enum dg_status replace_by_folder(struct dg_archive *a, const struct folder *f, int64_t *at, struct dg_error *err)
{
    struct dg_archive_entry own = {.is_folder = 1, .pass = DG_PASS_OWN};
    int64_t first = *at, end = *at + 1;
    while (first > 0 && is_in(f, first - 1)) first--;
    while (end < a->count && is_in(f, end)) end++;
    char *name = strndup(f->name, f->size);
    enum dg_status status = name ? dg_archive_add_text(a, name, f->size, &own.name, err) : dg_listing_no_memory(err);
    free(name);
    DG_TRY(status);
    a->entry[first] = own;
    memmove(a->entry + first + 1, a->entry + end, (size_t)(a->count - end) * sizeof *a->entry);
    a->count -= end - first - 1;
    *at = first;
    return DG_OK;
}

/* Passes over what dinorun has written, as folder.c does; below the top level, where a folder may be named as the data. Only folders
 * with files that are no images are looked at. */
static enum dg_status pass_over_own(struct dg_archive *a, struct dg_error *err)
{
    struct folder last = {.archive = a, .name = ""};
    for (int64_t i = 0; i < a->count; i++) {
        const char *name = name_of(a, &a->entry[i]);
        const struct folder f = {a, name, (size_t)(last_part(name) - name)};
        if (a->entry[i].pass != DG_PASS_OTHER || !f.size || (f.size == last.size && !strncmp(name, last.name, f.size)))
            continue;
        last = f;
        if (!dg_is_own_folder(has_member, &f)) continue;
        DG_TRY(replace_by_folder(a, &f, &i, err));
        last.size = 0; /* the text may have moved */
    }
    return DG_OK;
}

enum dg_status dg_archive_scan(struct dg_archive *a, bool labels, const struct dg_log *log, struct dg_error *err)
{
    const struct dg_archive_span span = {a->fd, a->path, 0, a->stamp.size};
    struct scan s = {.archive = a, .log = log, .labels = labels, .within = "", .ends = true};
    switch (dg_archive_kind(&span)) {
    case DG_ARCHIVE_TAR: DG_TRY(dg_tar_read(&span, on_member, &s, &s.ends, err)); break;
    case DG_ARCHIVE_ZIP: DG_TRY(dg_zip_read(&span, on_member, &s, err)); break;
    case DG_ARCHIVE_PACKED:
        return dg_fail(
            err, DG_ERR_USAGE,
            "%s is compressed as a whole, so that no image in it can be read by itself: unpack it, or pack it "
            "again as a tar without compression",
            a->path);
    case DG_ARCHIVE_NONE:
        return dg_fail(
            err, DG_ERR_USAGE,
            "%s is not a directory; expected a folder of images or of class folders, a tar or zip archive, or "
            "@FILE for a list",
            a->path);
    }
    if (!s.ends) say_no_end(&s, "");
    if (a->count) qsort_r(a->entry, (size_t)a->count, sizeof *a->entry, compare_entries, a->text);
    drop_replaced(&s);
    follow_links(a);
    DG_TRY(pass_over_own(a, err));
    uint64_t unused;
    return a->text_size ? DG_OK : dg_archive_add_text(a, "", 0, &unused, err);
}

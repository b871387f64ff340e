/* The entries of a run's archives in a file, so that an archive is read through once and not at every resume. */
#include "runtime/data/archives.h"

#include "runtime/base/atomic_file.h"

#include <stdlib.h>
#include <string.h>

/* The file: a head, then for each archive a record, its path with a zero, its entries, its text; at the end a hash of all. It
 * is read where it was written, by the same version; another one reads the archives anew. */
static const char magic[8] = "DGARCH1";

struct head {
    char magic[8];
    uint32_t entry_bytes, archives;
};

struct record {
    struct dg_archive_stamp stamp;
    uint64_t path_size, count, text_size, has_labels;
};

/* One archive of an index in memory. */
struct indexed {
    struct record record;
    const char *path, *entries, *text;
};

/* The archive at *at, behind which *at is set. False: there is none, or the file is not what it should be. */
static bool next_archive(const char **at, const char *end, struct indexed *found)
{
    uint64_t left = (uint64_t)(end - *at);
    const uint64_t entry_bytes = sizeof(struct dg_archive_entry);
    struct record *r = &found->record;
    if (left < sizeof *r) return false;
    memcpy(r, *at, sizeof *r);
    left -= sizeof *r;
    if (!r->path_size || !r->text_size || r->path_size > left || r->text_size > left - r->path_size) return false;
    left -= r->path_size + r->text_size;
    if (r->count > left / entry_bytes) return false;
    found->path = *at + sizeof *r;
    found->entries = found->path + r->path_size;
    found->text = found->entries + r->count * entry_bytes;
    *at = found->text + r->text_size;
    return !found->path[r->path_size - 1] && !found->text[0] && !found->text[r->text_size - 1];
}

void dg_archives_read_index(struct dg_archives *archives, const char *path)
{
    struct dg_file_map *map = &archives->index;
    struct head head;
    uint64_t said;
    if (dg_file_map_open(path, "an index of archives", map, NULL) != DG_OK) return;
    bool usable = map->size >= sizeof head + sizeof said;
    if (usable) {
        size_t size = map->size - sizeof said;
        memcpy(&head, map->bytes, sizeof head);
        memcpy(&said, (const char *)map->bytes + size, sizeof said);
        usable = dg_fnv1a(DG_FNV_BASIS, map->bytes, size) == said && !memcmp(head.magic, magic, sizeof magic) &&
                 head.entry_bytes == sizeof(struct dg_archive_entry);
    }
    if (!usable) dg_file_map_close(map);
}

/* Whether an entry is one that a scan could have made. */
static bool is_sound(const struct dg_archive_entry *e, const struct record *r)
{
    const struct dg_member_place *p = &e->place;
    return e->name < r->text_size && e->label < r->text_size && e->pass < DG_PASS_REASONS &&
           e->format < DG_FORMAT_COUNT && e->is_folder <= 1 && p->packing <= DG_PACKING_DEFLATED && p->offset >= 0 &&
           p->size >= 0 && p->packed >= 0 && p->offset <= r->stamp.size && p->packed <= r->stamp.size - p->offset;
}

static bool take(struct dg_archive *a, const struct indexed *found)
{
    const struct record *r = &found->record;
    a->entry = malloc((r->count + 1) * sizeof *a->entry);
    a->text = malloc(r->text_size);
    bool sound = a->entry && a->text;
    if (sound) memcpy(a->entry, found->entries, r->count * sizeof *a->entry);
    if (sound) memcpy(a->text, found->text, r->text_size);
    for (uint64_t i = 0; i < r->count && sound; i++) sound = is_sound(&a->entry[i], r);
    if (sound) {
        a->count = a->capacity = (int64_t)r->count;
        a->text_size = a->text_capacity = r->text_size;
        a->has_labels = r->has_labels;
        return true;
    }
    free(a->entry);
    free(a->text);
    a->entry = NULL;
    a->text = NULL;
    return false;
}

/* Looks for the archive from `at` on to `end`. *changed: it is there, and was another one. */
static bool find_from(const char *at, const char *end, const struct dg_archive *a, bool labels, struct indexed *found,
                      bool *changed)
{
    while (next_archive(&at, end, found)) {
        bool same = !memcmp(&found->record.stamp, &a->stamp, sizeof a->stamp);
        if (same && (found->record.has_labels || !labels)) return true;
        *changed |= !same && !strcmp(found->path, a->path);
    }
    return false;
}

bool dg_archives_find_indexed(struct dg_archives *archives, struct dg_archive *a, bool labels, const struct dg_log *log)
{
    struct indexed found;
    bool changed = false;
    const char *index = archives->index.bytes;
    if (!index) return false;
    /* Archives are asked for in the order in which they were written, as a rule. Behind the last one is the hash. */
    const char *first = index + sizeof(struct head), *end = index + archives->index.size - sizeof(uint64_t),
               *next = archives->index_next ? index + archives->index_next : first;
    if (find_from(next, end, a, labels, &found, &changed) ||
        (next > first && find_from(first, next, a, labels, &found, &changed))) {
        archives->index_next = (size_t)(found.text + found.record.text_size - index);
        return take(a, &found);
    }
    if (changed)
        dg_log(log, DG_LOG_WARNING, DG_LOG_LOAD,
               "the archive %s has changed since this run has read it: its members are listed again", a->path);
    return false;
}

static void put(struct dg_atomic_file *file, uint64_t *hash, const void *bytes, size_t size)
{
    *hash = dg_fnv1a(*hash, bytes, size);
    fwrite(bytes, 1, size, file->stream);
}

enum dg_status dg_archives_write_index(const struct dg_archives *archives, const char *path, struct dg_error *err)
{
    struct dg_atomic_file file;
    bool any_new = false;
    for (int i = 0; i < archives->count; i++) any_new |= archives->archive[i].is_new;
    if (!any_new) return DG_OK;
    struct head head = {.entry_bytes = sizeof(struct dg_archive_entry), .archives = (uint32_t)archives->count};
    uint64_t hash = DG_FNV_BASIS;
    memcpy(head.magic, magic, sizeof magic);
    DG_TRY(dg_atomic_open(path, &file, err));
    put(&file, &hash, &head, sizeof head);
    for (int i = 0; i < archives->count; i++) {
        const struct dg_archive *a = &archives->archive[i];
        const struct record r = {a->stamp, strlen(a->path) + 1, (uint64_t)a->count, a->text_size, a->has_labels};
        put(&file, &hash, &r, sizeof r);
        put(&file, &hash, a->path, r.path_size);
        put(&file, &hash, a->entry, r.count * sizeof *a->entry);
        put(&file, &hash, a->text, r.text_size);
    }
    fwrite(&hash, sizeof hash, 1, file.stream);
    return dg_atomic_commit(&file, err);
}

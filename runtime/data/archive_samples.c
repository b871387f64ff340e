/* Samples of WebDataset's layout: members of one name up to its first dot, one of which is a file of labels. */
#include "runtime/data/archives.h"

#include <string.h>
#include <strings.h>

bool dg_archive_is_image(const struct dg_archive_entry *e)
{
    return !e->pass && !e->is_folder && (!e->format || dg_image_format_is_read((enum dg_image_format)e->format));
}

/* Bytes of the name before the first dot of its last part. */
static size_t key_size(const char *name)
{
    const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name;
    return (size_t)(last - name) + strcspn(last, ".");
}

static bool has_ending(const struct dg_archive *a, const struct dg_archive_entry *e, const char *ending)
{
    const char *name = a->text + e->name;
    return !strcasecmp(name + key_size(name), ending);
}

/* Settles entries [first, end), which have one key: the label is that of the .cls, or else of the .json; the image is the first
 * with one ending alone, or else the first; all others are passed over. Returns whether the image has a label. */
static bool settle_sample(struct dg_archive *a, int64_t first, int64_t end)
{
    struct dg_archive_entry *image = NULL;
    uint64_t label = 0;
    bool is_sample = false, plain = false;
    for (int64_t i = first; i < end; i++) {
        struct dg_archive_entry *e = &a->entry[i];
        bool cls = has_ending(a, e, ".cls"), json = has_ending(a, e, ".json");
        is_sample |= cls || json;
        if (e->label && (cls || !label) && !dg_archive_is_image(e)) label = e->label;
        const char *ending = a->text + e->name + key_size(a->text + e->name);
        bool one = *ending && !strchr(ending + 1, '.');
        if (!dg_archive_is_image(e) || (image && (plain || !one))) continue;
        image = e;
        plain = one;
    }
    if (!is_sample || !image) return false;
    for (struct dg_archive_entry *e = a->entry + first; e < a->entry + end; e++)
        if (e != image && !e->is_folder && (dg_archive_is_image(e) || e->pass == DG_PASS_OTHER))
            e->pass = DG_PASS_SAMPLE;
    image->label = label;
    return label;
}

bool dg_archive_settle_samples(struct dg_archive *a, int64_t first, int64_t end)
{
    bool labelled = false;
    for (int64_t next; first < end; first = next) {
        const char *name = a->text + a->entry[first].name;
        size_t size = key_size(name);
        for (next = first + 1; next < end; next++) {
            const char *other = a->text + a->entry[next].name;
            if (strncmp(name, other, size) || key_size(other) != size) break;
        }
        labelled |= settle_sample(a, first, next);
    }
    return labelled;
}

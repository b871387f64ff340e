#include "runtime/image/notes.h"

#include "runtime/base/name.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dg_image_notes_init(struct dg_image_notes *notes)
{
    *notes = (struct dg_image_notes){0};
    pthread_mutex_init(&notes->lock, NULL);
}

void dg_image_notes_free(struct dg_image_notes *notes)
{
    pthread_mutex_destroy(&notes->lock);
    free(notes->seen);
}

/* The place of a hash in a table, or the empty one where it belongs. */
static uint64_t *place_of(uint64_t *table, size_t capacity, uint64_t hash)
{
    size_t i = (size_t)hash & (capacity - 1);
    while (table[i] && table[i] != hash) i = (i + 1) & (capacity - 1);
    return &table[i];
}

/* True if the hash is new. Without memory for the table all are: the counts are then too high. */
static bool is_new(struct dg_image_notes *notes, uint64_t hash)
{
    if (2 * notes->seen_count >= notes->seen_capacity) {
        size_t capacity = notes->seen_capacity ? 2 * notes->seen_capacity : 64;
        uint64_t *grown = calloc(capacity, sizeof *grown);
        if (!grown) return true;
        for (size_t i = 0; i < notes->seen_capacity; i++)
            if (notes->seen[i]) *place_of(grown, capacity, notes->seen[i]) = notes->seen[i];
        free(notes->seen);
        notes->seen = grown;
        notes->seen_capacity = capacity;
    }
    uint64_t *place = place_of(notes->seen, notes->seen_capacity, hash);
    if (*place) return false;
    *place = hash;
    notes->seen_count++;
    return true;
}

void dg_image_notes_add(struct dg_image_notes *notes, const char *path, unsigned bits)
{
    pthread_mutex_lock(&notes->lock);
    for (int n = 0; n < DG_IMAGE_NOTES; n++) {
        if (!(bits >> n & 1)) continue;
        uint64_t hash = dg_fnv1a(dg_fnv1a(DG_FNV_BASIS, &n, sizeof n), path, strlen(path));
        if (!is_new(notes, hash ? hash : 1)) continue;
        int64_t count = notes->count[n]++;
        if (count < DG_NOTE_EXAMPLES) dg_name_escape(path, notes->example[n][count], DG_NOTE_EXAMPLE_BYTES);
    }
    pthread_mutex_unlock(&notes->lock);
}

/* After "N images (the first of them): ". */
static const char *const texts[DG_IMAGE_NOTES] = {
    "gray of more than 8 bits; values above 255 are white, as with Pillow. Scale such images to 8 bits first",
    "damaged; what is lost of them is gray or black, as with Pillow. Copy or download them again",
    "with a wrong or missing checksum; they are read all the same, as with Pillow, and may be damaged",
    "with pixels of colours that their palette lacks, which are black, as since Pillow 10.1",
    "to be shown turned, by EXIF's orientation, and read as they are stored, as with Pillow. --exif turns them",
    "files of several pictures, of which the first is read, as with Pillow",
    "with transparent parts; the colours under them show, as with Pillow. Put such images on a background first",
};

static void say(const struct dg_image_notes *notes, int n, const struct dg_log *log)
{
    char examples[DG_NOTE_EXAMPLES * (DG_NOTE_EXAMPLE_BYTES + 2) + 8] = "";
    int64_t count = notes->count[n];
    size_t at = 0;
    for (int64_t i = 0; i < count && i < DG_NOTE_EXAMPLES; i++)
        at += (size_t)snprintf(examples + at, sizeof examples - at, "%s%s", i ? ", " : "", notes->example[n][i]);
    dg_log(log, DG_LOG_WARNING, DG_LOG_LOAD, "%" PRId64 " image%s (%s%s): %s", count, count == 1 ? "" : "s", examples,
           count > DG_NOTE_EXAMPLES ? ", ..." : "", texts[n]);
}

void dg_image_notes_say(struct dg_image_notes *notes, const struct dg_log *log)
{
    pthread_mutex_lock(&notes->lock);
    for (int n = 0; n < DG_IMAGE_NOTES; n++) {
        if (notes->count[n] == notes->said[n]) continue;
        notes->said[n] = notes->count[n];
        say(notes, n, log);
    }
    pthread_mutex_unlock(&notes->lock);
}

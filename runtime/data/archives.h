/* The archives of a data set: what is in them, an index of that in a file, and their members' bytes. For the files of this
 * room. */
#ifndef DG_RUNTIME_DATA_ARCHIVES_H
#define DG_RUNTIME_DATA_ARCHIVES_H

#include "runtime/base/file_map.h"
#include "runtime/base/log.h"
#include "runtime/data/passed_over.h"
#include "runtime/formats/archive.h"

/* A member, in the order of names. */
struct dg_archive_entry {
    uint64_t name;  /* in the text; without ./ before it; of a folder with a slash behind it */
    uint64_t label; /* in the text; 0: none */
    struct dg_member_place place;
    uint8_t pass;   /* enum dg_pass_reason by name and content; 0: an image, or a folder */
    uint8_t format; /* enum dg_image_format by content; 0: an image by name alone */
    uint8_t is_folder, unused[5];
};

/* By which an archive is known to be the same. */
struct dg_archive_stamp {
    int64_t size, time; /* time: of the last change, in ns */
    uint64_t bytes;     /* hash of the first, the middle and the last of them */
};

struct dg_archive {
    char *path; /* owned */
    int fd;     /* -1: opened for each member that is read */
    struct dg_archive_stamp stamp;
    struct dg_archive_entry *entry; /* [count]; freed when the list is made, unless an index is wanted */
    int64_t count, capacity;
    char *text; /* names and labels with zeros behind them, after one zero */
    uint64_t text_size, text_capacity;
    bool has_labels; /* labels were looked for */
    bool is_new;     /* not from an index */
};

/* An image that is a member: 40 bytes, and its path. */
struct dg_archived {
    struct dg_member_place place;
    int32_t archive;
};

struct dg_archives {
    struct dg_archive *archive; /* [count] */
    int count, capacity;
    int open, most_open; /* descriptors that are held, and may be */
    struct dg_archived *member;
    int64_t members, member_capacity;
    struct dg_file_map index; /* the file that opening was told of; closed: none, or none that can be used */
    size_t index_next;        /* where in it the archive after the last one found is */
};

/* True for a name that ends in .tar or .zip. */
bool dg_is_archive_name(const char *name);
/* Without that ending, in a new string; NULL: out of memory. */
char *dg_archive_stem(const char *name);

/* Adds the archive at `path`, of which the index or a scan makes the entries; *number says which it is. With `labels` those
 * of WebDataset's layout are looked for. DG_ERR_USAGE: no archive, or one that has to be unpacked; the errors of
 * formats/archive.h. */
enum dg_status dg_archives_add(struct dg_archives *archives, const char *path, bool labels, const struct dg_log *log,
                               int *number, struct dg_error *err);
/* The file of that name; NULL: there is none. */
const struct dg_archive_entry *dg_archive_find(const struct dg_archive *archive, const char *name);
/* Fills the entries by reading the archive (archive_scan.c); its descriptor is open. */
enum dg_status dg_archive_scan(struct dg_archive *archive, bool labels, const struct dg_log *log, struct dg_error *err);
bool dg_archive_is_image(const struct dg_archive_entry *entry);
/* Settles which of entries [first, end) are samples (archive_samples.c): their images have the labels, and what is beside them is passed
 * over. Returns whether there are images with labels. */
bool dg_archive_settle_samples(struct dg_archive *archive, int64_t first, int64_t end);
/* Appends to the text; *at says where. */
enum dg_status dg_archive_add_text(struct dg_archive *archive, const char *text, size_t size, uint64_t *at,
                                   struct dg_error *err);

/* Appends an image that is a member; *number counts from 1. */
enum dg_status dg_archives_add_member(struct dg_archives *archives, int archive, const struct dg_member_place *place,
                                      uint32_t *number, struct dg_error *err);
/* The first `count` bytes of it, at most its size. `path` is for messages. Several threads may read. */
enum dg_status dg_archives_read(const struct dg_archives *archives, uint32_t number, const char *path, void *bytes,
                                size_t count, struct dg_error *err);

/* Reads an index (archive_index.c): what is damaged, or of another version, is as if it were not there. */
void dg_archives_read_index(struct dg_archives *archives, const char *path);
/* Takes the entries from the index if it has this archive, unchanged; tells the log of one that was changed. */
bool dg_archives_find_indexed(struct dg_archives *archives, struct dg_archive *archive, bool labels,
                              const struct dg_log *log);
/* Writes the entries of all archives, unless all of them came from there. DG_ERR_IO. */
enum dg_status dg_archives_write_index(const struct dg_archives *archives, const char *path, struct dg_error *err);

void dg_archives_free_entries(struct dg_archives *archives);
void dg_archives_free(struct dg_archives *archives);

#endif

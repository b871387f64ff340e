/* Archives of files that are read where they lie: which members a tar or a zip has and where their bytes are, and those
 * bytes. Nothing is unpacked, and no name is ever opened.
 *
 * Tar: v7, ustar, GNU's (long names, base-256 numbers) and pax (path, size, linkpath), also several one behind another.
 * Sparse members are refused. Zip: stored and deflated members, zip64; not encrypted ones, other methods, several
 * volumes. */
#ifndef DG_RUNTIME_FORMATS_ARCHIVE_H
#define DG_RUNTIME_FORMATS_ARCHIVE_H

#include "ops/base/base.h"

enum dg_archive_kind {
    DG_ARCHIVE_NONE,
    DG_ARCHIVE_TAR,
    DG_ARCHIVE_ZIP,
    DG_ARCHIVE_PACKED, /* gzip, bzip2, xz, zstd, 7z, rar: has to be unpacked from its beginning */
};

enum dg_member_kind {
    DG_MEMBER_FILE,
    DG_MEMBER_FOLDER,
    DG_MEMBER_HARD_LINK, /* to another member */
    DG_MEMBER_SYMBOLIC_LINK,
    DG_MEMBER_SPECIAL, /* a device, a pipe */
};

/* How a member's bytes lie in the archive. */
enum dg_packing { DG_PACKING_TAR, DG_PACKING_STORED, DG_PACKING_DEFLATED };

struct dg_member_place {
    int64_t offset;       /* in the file: of the bytes, of a zip's member of its local header */
    int64_t size, packed; /* of the bytes, and as they lie there */
    uint32_t crc;         /* a zip's: of the bytes */
    uint8_t packing;      /* enum dg_packing */
};

struct dg_member {
    const char *name;   /* as the archive has it; valid during the call */
    const char *target; /* of a link; else NULL */
    enum dg_member_kind kind;
    struct dg_member_place place;
    int64_t time; /* as the archive has it, in no unit that matters: another one is another file */
};

/* An open archive, or one within another: bytes begin to end of a file that can be read at any place. */
struct dg_archive_span {
    int fd;
    const char *path; /* for messages */
    int64_t begin, end;
};

/* Receives the members in the archive's order. */
typedef enum dg_status dg_member_sink(void *context, const struct dg_member *member, struct dg_error *err);

/* By the first bytes. */
enum dg_archive_kind dg_archive_kind(const struct dg_archive_span *span);

/* DG_ERR_INPUT: the archive is damaged or cut short, with the member where, or has what is not read. DG_ERR_IO. The
 * sink's errors. *ends: false where a tar has no mark of its end, as one that was cut between two members. */
enum dg_status dg_tar_read(const struct dg_archive_span *span, dg_member_sink *sink, void *context, bool *ends,
                           struct dg_error *err);
enum dg_status dg_zip_read(const struct dg_archive_span *span, dg_member_sink *sink, void *context,
                           struct dg_error *err);

/* The first `count` bytes of a member, count <= size. Several threads may read one archive. DG_ERR_INPUT: damaged; of a
 * zip's member that is read to its end also by its checksum. `name` is the member's, for messages. */
enum dg_status dg_member_read(int fd, const struct dg_member_place *place, const char *name, void *bytes, size_t count,
                              struct dg_error *err);

/* ---- for the files of this room ---- */

/* True if the 512 bytes have the checksum of a tar's header. */
bool dg_tar_is_header(const unsigned char *block);
/* Reads exactly so many bytes. False: there are fewer, or an error (errno, else 0). */
bool dg_read_at(int fd, int64_t offset, void *bytes, size_t count);
/* Its error: DG_ERR_IO. */
enum dg_status dg_archive_cannot_read(const struct dg_archive_span *span, struct dg_error *err);

#endif

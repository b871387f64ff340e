/* Tar and zip archives for tests, made in memory. Any failure fails the running CMocka test. */
#ifndef DG_TESTS_ARCHIVES_H
#define DG_TESTS_ARCHIVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialise; free `bytes`. */
struct archive_maker {
    uint8_t *bytes;
    size_t size, capacity;
    uint8_t *directory; /* a zip's, until its end */
    size_t directory_size;
    unsigned members;
};

void archive_put(struct archive_maker *maker, const void *bytes, size_t size);

/* A tar's header alone: `type` as in ustar ('0' a file, '5' a folder, '1' a hard link to `target`, 'x' pax, 'L' GNU's long name). */
void tar_put_header(struct archive_maker *maker, const char *name, size_t size, char type, const char *target);
/* A member with its bytes. */
void tar_add(struct archive_maker *maker, const char *name, const void *bytes, size_t size);
void tar_add_text(struct archive_maker *maker, const char *name, const char *text);
/* The mark of its end. */
void tar_end(struct archive_maker *maker);
/* Sets the checksum of the header at `at`, which was changed. */
void tar_mend_header(struct archive_maker *maker, size_t at);

/* With zip64's fields in place of the sizes of 32 bits, if asked for. */
void zip_add(struct archive_maker *maker, const char *name, const void *bytes, size_t size, bool deflated, bool zip64);
void zip_end(struct archive_maker *maker);

/* Writes the bytes, and frees them. */
void archive_write(struct archive_maker *maker, const char *path);

/* Packs all files below a folder, in the order in which the file system lists them. */
void tar_folder(const char *folder, const char *path);
void zip_folder(const char *folder, const char *path, bool deflated);

#endif

/* Folders and files of tests. Any failure fails the running CMocka test. */
#ifndef DG_TESTS_FILES_H
#define DG_TESTS_FILES_H

#include <stddef.h>
#include <stdint.h>

/* A new folder; `path` holds it. Then that folder with all that is in it. */
void make_folder(char path[64]);
void remove_folder(const char *folder);

/* The folder of a program's tests, as set-up and tear-down of its group; in("run/log.jsonl") is a path in it. */
extern char test_folder[64];
int make_test_folder(void **state);
int remove_test_folder(void **state);

/* "folder/name"; the last four are valid, and of in() the last sixteen. */
const char *path_in(const char *folder, const char *name);
const char *in(const char *name);

void write_file(const char *path, const void *bytes, size_t size);
/* The whole file and a zero behind it; the caller frees it. */
void *read_file(const char *path, size_t *size);
int count_lines(const char *path);
void copy_file(const char *from, const char *to);
void assert_same_file(const char *a, const char *b);

#endif

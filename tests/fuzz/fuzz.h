/* What fuzzers share: libFuzzer's entry, and what they promise and need. */
#ifndef DG_TESTS_FUZZ_H
#define DG_TESTS_FUZZ_H

#include "ops/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whoever fails says why. */
static inline void check_said(enum dg_status status, const struct dg_error *err)
{
    if ((status == DG_OK) != !err->text[0]) abort();
}

/* The path of a file in memory that has the bytes, until the next call. */
static inline const char *memory_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) fd = memfd_create("fuzz", 0);
    if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

#endif

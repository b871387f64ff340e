/* Numbers of bytes on command lines. */
#ifndef DG_TOOLS_CLI_BYTES_H
#define DG_TOOLS_CLI_BYTES_H

#include "ops/base/base.h"

/* Reads "2G", "1.5GiB", "800M" or "4096", in powers of 1024, into an int64_t: `parse` of struct dg_flag. */
bool dg_read_bytes(const char *text, void *bytes);

#endif

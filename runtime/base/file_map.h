/* A file in memory, mapped read-only. */
#ifndef DG_RUNTIME_BASE_FILE_MAP_H
#define DG_RUNTIME_BASE_FILE_MAP_H

#include "ops/base/base.h"

/* A zeroed one is closed. The file may be replaced meanwhile, not cut. */
struct dg_file_map {
    const void *bytes; /* page-aligned */
    size_t size;
};

/* `kind` is what is expected, for messages: "a plan", "a safetensors file". DG_ERR_IO: the file cannot be opened or
 * mapped; DG_ERR_INPUT: it is empty, or no regular file. */
enum dg_status dg_file_map_open(const char *path, const char *kind, struct dg_file_map *map, struct dg_error *err);
void dg_file_map_close(struct dg_file_map *map); /* a closed one is fine */

#endif

/* Checksums of what a safetensors file holds, in its own metadata: "crc32.NAME" of each tensor's bytes, "crc32" of all other
 * metadata. They show what a disk or a copy has damaged. */
#ifndef DG_RUNTIME_FORMATS_CHECKSUM_H
#define DG_RUNTIME_FORMATS_CHECKSUM_H

#include "runtime/formats/safetensors.h"

#define DG_CHECKSUM "crc32"

uint32_t dg_checksum(const void *data, uint64_t bytes);
/* Of metadata, in any order, but for what is called DG_CHECKSUM. */
uint32_t dg_checksum_meta(const struct dg_safetensors_meta *meta, int count);

/* DG_ERR_INPUT: a checksum that the file has is another one; the text names the tensor. Files without them are fine. */
enum dg_status dg_checksum_check_meta(const struct dg_safetensors *file, const char *path, struct dg_error *err);
enum dg_status dg_checksum_check_tensor(const struct dg_safetensors *file, const struct dg_safetensors_tensor *tensor,
                                        const char *path, struct dg_error *err);
/* All of both. */
enum dg_status dg_checksum_check(const struct dg_safetensors *file, const char *path, struct dg_error *err);

#endif

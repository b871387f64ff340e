/* Event files, in which TensorBoard looks for a run's numbers over steps: records (length, masked CRC-32C of it, bytes, masked CRC-32C of them), each
 * a message Event of tensorflow/core/util/event.proto. */
#ifndef DG_RUNTIME_FORMATS_EVENT_FILE_H
#define DG_RUNTIME_FORMATS_EVENT_FILE_H

#include "ops/base/base.h"

struct dg_event_file;

struct dg_event_scalar {
    const char *tag; /* "training/loss": what stands before the slash is its group */
    double value;
};

/* Begins a new file FOLDER/events.out.tfevents.*, which sorts behind those that are there, and makes the folder. What the folder says of `step` and
 * later no longer counts: the file's first event says so. DG_ERR_IO. */
enum dg_status dg_event_file_open(const char *folder, int64_t step, struct dg_event_file **file, struct dg_error *err);
/* Writes the numbers of a step, which are in the file when this returns. DG_ERR_IO, DG_ERR_MEMORY. */
enum dg_status dg_event_file_add(struct dg_event_file *file, int64_t step, const struct dg_event_scalar *scalar,
                                 int count, struct dg_error *err);
void dg_event_file_close(struct dg_event_file *file); /* NULL is fine */

/* CRC-32C (Castagnoli), rotated and added to as these files have it. */
uint32_t dg_masked_crc(const void *bytes, size_t size);

#endif

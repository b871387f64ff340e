/* Messages in the wire format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding/), written field by field. */
#ifndef DG_RUNTIME_FORMATS_PROTOBUF_H
#define DG_RUNTIME_FORMATS_PROTOBUF_H

#include "ops/base/base.h"

/* A message; zero-initialise it. Where memory runs out, `lost` is set and what follows is left out. */
struct dg_protobuf {
    uint8_t *data;
    size_t size, capacity;
    bool lost;
};

void dg_protobuf_add_int(struct dg_protobuf *message, int field, int64_t value); /* int32, int64, enum */
void dg_protobuf_add_float(struct dg_protobuf *message, int field, float value);
void dg_protobuf_add_double(struct dg_protobuf *message, int field, double value);
void dg_protobuf_add_bytes(struct dg_protobuf *message, int field, const void *bytes, size_t size);
void dg_protobuf_add_string(struct dg_protobuf *message, int field, const char *text);
/* Adds `inner` as a field, and frees it. */
void dg_protobuf_add_message(struct dg_protobuf *message, int field, struct dg_protobuf *inner);
/* Adds all fields of `other`. */
void dg_protobuf_add_fields(struct dg_protobuf *message, const struct dg_protobuf *other);
/* Adds the beginning of a field of `size` bytes, which the caller writes behind the message. */
void dg_protobuf_add_beginning(struct dg_protobuf *message, int field, uint64_t size);
void dg_protobuf_free(struct dg_protobuf *message);

#endif

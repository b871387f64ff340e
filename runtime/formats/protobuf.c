#include "runtime/formats/protobuf.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats are written as they lie in memory");

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 }; /* wire types */

static void append(struct dg_protobuf *m, const void *bytes, size_t size)
{
    if (m->lost || !size) return;
    if (m->capacity - m->size < size) {
        size_t capacity = 2 * m->capacity + size + 64;
        uint8_t *data = realloc(m->data, capacity);
        if (!data) {
            m->lost = true;
            return;
        }
        m->data = data;
        m->capacity = capacity;
    }
    memcpy(m->data + m->size, bytes, size);
    m->size += size;
}

/* Seven bits a byte, the lowest first; all but the last have the top bit. */
static void append_varint(struct dg_protobuf *m, uint64_t value)
{
    uint8_t byte[10];
    size_t count = 0;
    do {
        byte[count] = value & 0x7f;
        value >>= 7;
        if (value) byte[count] |= 0x80;
        count++;
    } while (value);
    append(m, byte, count);
}

static void append_tag(struct dg_protobuf *m, int field, int wire)
{
    append_varint(m, (uint64_t)field << 3 | (uint64_t)wire);
}

void dg_protobuf_add_int(struct dg_protobuf *m, int field, int64_t value)
{
    append_tag(m, field, VARINT);
    append_varint(m, (uint64_t)value);
}

void dg_protobuf_add_float(struct dg_protobuf *m, int field, float value)
{
    append_tag(m, field, FIXED32);
    append(m, &value, sizeof value);
}

void dg_protobuf_add_double(struct dg_protobuf *m, int field, double value)
{
    append_tag(m, field, FIXED64);
    append(m, &value, sizeof value);
}

void dg_protobuf_add_beginning(struct dg_protobuf *m, int field, uint64_t size)
{
    append_tag(m, field, LENGTH);
    append_varint(m, size);
}

void dg_protobuf_add_bytes(struct dg_protobuf *m, int field, const void *bytes, size_t size)
{
    dg_protobuf_add_beginning(m, field, size);
    append(m, bytes, size);
}

void dg_protobuf_add_string(struct dg_protobuf *m, int field, const char *text)
{
    dg_protobuf_add_bytes(m, field, text, strlen(text));
}

void dg_protobuf_add_message(struct dg_protobuf *m, int field, struct dg_protobuf *inner)
{
    m->lost |= inner->lost;
    dg_protobuf_add_bytes(m, field, inner->data, inner->size);
    dg_protobuf_free(inner);
}

void dg_protobuf_add_fields(struct dg_protobuf *m, const struct dg_protobuf *other)
{
    m->lost |= other->lost;
    append(m, other->data, other->size);
}

void dg_protobuf_free(struct dg_protobuf *m)
{
    free(m->data);
    *m = (struct dg_protobuf){0};
}

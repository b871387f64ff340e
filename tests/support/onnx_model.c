#include "tests/support/onnx_model.h"

#include "tests/support/check.h"
#include "tests/support/files.h"

/* ---- the wire format ---- */

struct part {
    const uint8_t *at, *end;
};

struct field {
    int number, wire;
    uint64_t value; /* of a varint */
    float f;        /* of four bytes */
    struct part part;
};

static uint64_t read_varint(struct part *p)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(p->at < p->end && shift < 64);
        value |= (uint64_t)(*p->at & 0x7f) << shift;
        if (!(*p->at++ & 0x80)) return value;
    }
}

static bool next(struct part *p, struct field *field)
{
    if (p->at == p->end) return false;
    uint64_t tag = read_varint(p);
    *field = (struct field){.number = (int)(tag >> 3), .wire = tag & 7};
    size_t left;
    switch (field->wire) {
    case 0: field->value = read_varint(p); return true;
    case 5:
        assert_true(p->end - p->at >= 4);
        memcpy(&field->f, p->at, 4);
        p->at += 4;
        return true;
    case 2:
        field->value = read_varint(p);
        left = (size_t)(p->end - p->at);
        assert_true(field->value <= left);
        field->part = (struct part){p->at, p->at + field->value};
        p->at += field->value;
        return true;
    }
    fail_msg("wire type %d", field->wire);
    return false;
}

static char *text_of(const struct field *field)
{
    assert_int_equal(field->wire, 2);
    return strndup((const char *)field->part.at, (size_t)(field->part.end - field->part.at));
}

/* ---- the messages ---- */

static void read_attr(struct part p, struct onnx_attr *attr)
{
    int64_t type = 0;
    for (struct field f; next(&p, &f);) {
        if (f.number == 1) attr->name = text_of(&f);
        if (f.number == 2) attr->f = f.f;
        if (f.number == 3 || f.number == 8) attr->i[attr->count++] = (int64_t)f.value;
        if (f.number == 20) type = (int64_t)f.value;
        assert_true(attr->count < ONNX_ATTRS);
    }
    assert_true(attr->name && (type == 1 ? !attr->count : type == 2 ? attr->count == 1 : type == 7));
}

static void read_node(struct part p, struct onnx_node *node)
{
    for (struct field f; next(&p, &f);) {
        assert_true(node->inputs < ONNX_INPUTS && node->attrs < ONNX_ATTRS);
        if (f.number == 1) node->input[node->inputs++] = text_of(&f);
        if (f.number == 2) node->output = text_of(&f);
        if (f.number == 3) node->name = text_of(&f);
        if (f.number == 4) node->type = text_of(&f);
        if (f.number == 5) read_attr(f.part, &node->attr[node->attrs++]);
    }
    assert_true(node->type && node->output && node->name);
}

int64_t onnx_elements(const struct onnx_tensor *t)
{
    int64_t count = 1;
    for (int d = 0; d < t->ndim; d++) count *= t->dim[d];
    return count;
}

/* The numbers of external data: { key, value } of location, offset and length. `bytes` is the file, for the caller to free. */
static void read_entry(struct part p, const char *path, uint8_t **bytes, struct part *raw)
{
    struct field key, value;
    size_t size;
    assert_true(next(&p, &key) && next(&p, &value));
    char *name = text_of(&key), *text = text_of(&value);
    if (!strcmp(name, "location")) {
        char file[4096];
        const char *slash = strrchr(path, '/');
        snprintf(file, sizeof file, "%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, text);
        *bytes = read_file(file, &size);
        *raw = (struct part){*bytes, *bytes + size};
    }
    if (!strcmp(name, "offset")) raw->at += atoll(text);
    if (!strcmp(name, "length")) {
        assert_true(atoll(text) <= raw->end - raw->at);
        raw->end = raw->at + atoll(text);
    }
    free(name);
    free(text);
}

static void read_tensor(struct part p, const char *path, struct onnx_tensor *tensor)
{
    struct part raw = {0};
    int type = 0;
    uint8_t *beside = NULL;
    for (struct field f; next(&p, &f);) {
        if (f.number == 13) read_entry(f.part, path, &beside, &raw);
        if (f.number == 14) assert_true(f.value == 1 && beside);
        if (f.number == 1) tensor->dim[tensor->ndim++] = (int64_t)f.value;
        if (f.number == 2) type = (int)f.value;
        if (f.number == 8) tensor->name = text_of(&f);
        if (f.number == 9) raw = f.part;
        assert_true(tensor->ndim < ONNX_DIMS);
    }
    int64_t count = onnx_elements(tensor), size = type == 1 ? 4 : 8;
    assert_true(tensor->name && (type == 1 || type == 7) && raw.end - raw.at == count * size);
    tensor->data = calloc((size_t)count, sizeof *tensor->data);
    for (int64_t i = 0; i < count; i++) {
        float number;
        int64_t whole;
        memcpy(&whole, raw.at + i * size, (size_t)size);
        memcpy(&number, raw.at + i * size, sizeof number);
        tensor->data[i] = type == 1 ? (double)number : (double)whole;
    }
    free(beside);
}

/* ValueInfoProto: name, and type { tensor_type { elem_type, shape { dim { value or name } } } }. */
static void read_end(struct part p, struct onnx_tensor *end)
{
    struct field f, type, tensor, shape, dim;
    while (next(&p, &f)) {
        if (f.number == 1) end->name = text_of(&f);
        if (f.number != 2) continue;
        assert_true(next(&f.part, &type) && type.number == 1);
        assert_true(next(&type.part, &tensor) && tensor.number == 1 && tensor.value == 1);
        assert_true(next(&type.part, &shape) && shape.number == 2);
        while (next(&shape.part, &tensor)) {
            assert_true(next(&tensor.part, &dim) && end->ndim < ONNX_DIMS);
            end->dim[end->ndim++] = dim.number == 1 ? (int64_t)dim.value : -1;
        }
    }
    assert_true(end->name && end->dim[0] == -1);
}

static void read_graph(struct part p, const char *path, struct onnx_model *m)
{
    int ends = 0;
    for (struct field f; next(&p, &f);) {
        assert_true(m->nodes < ONNX_MAX && m->constants < ONNX_MAX);
        if (f.number == 1) read_node(f.part, &m->node[m->nodes++]);
        if (f.number == 5) read_tensor(f.part, path, &m->constant[m->constants++]);
        if (f.number == 11) read_end(f.part, &m->input);
        if (f.number == 12) read_end(f.part, &m->output);
        ends += f.number == 11 || f.number == 12;
    }
    assert_int_equal(ends, 2);
}

void onnx_read(const char *path, struct onnx_model *m)
{
    size_t size;
    uint8_t *bytes = read_file(path, &size);
    *m = (struct onnx_model){.node = calloc(ONNX_MAX, sizeof *m->node),
                             .constant = calloc(ONNX_MAX, sizeof *m->constant)};
    struct part p = {bytes, bytes + size};
    for (struct field f, inner; next(&p, &f);) {
        if (f.number == 1) m->ir_version = (int64_t)f.value;
        if (f.number == 2) m->producer = text_of(&f);
        if (f.number == 7) read_graph(f.part, path, m);
        if (f.number == 8)
            while (next(&f.part, &inner))
                if (inner.number == 2) m->opset = (int64_t)inner.value;
        if (f.number != 14) continue;
        assert_true(next(&f.part, &inner) && m->keys < 64);
        m->key[m->keys] = text_of(&inner);
        assert_true(next(&f.part, &inner));
        m->value[m->keys++] = text_of(&inner);
    }
    free(bytes);
}

static void free_node(struct onnx_node *node)
{
    free(node->type);
    free(node->name);
    free(node->output);
    for (int i = 0; i < node->inputs; i++) free(node->input[i]);
    for (int a = 0; a < node->attrs; a++) free(node->attr[a].name);
}

void onnx_free(struct onnx_model *m)
{
    for (int n = 0; n < m->nodes; n++) free_node(&m->node[n]);
    for (int c = 0; c < m->constants; c++) {
        free(m->constant[c].name);
        free(m->constant[c].data);
    }
    for (int k = 0; k < m->keys; k++) {
        free(m->key[k]);
        free(m->value[k]);
    }
    free(m->node);
    free(m->constant);
    free(m->producer);
    free(m->input.name);
    free(m->output.name);
}

int onnx_count(const struct onnx_model *m, const char *type)
{
    int count = 0;
    for (int n = 0; n < m->nodes; n++) count += !strcmp(m->node[n].type, type);
    return count;
}

const struct onnx_tensor *onnx_find_constant(const struct onnx_model *m, const char *name)
{
    for (int c = 0; c < m->constants; c++)
        if (!strcmp(m->constant[c].name, name)) return &m->constant[c];
    return NULL;
}

const char *onnx_metadata(const struct onnx_model *m, const char *key)
{
    for (int k = 0; k < m->keys; k++)
        if (!strcmp(m->key[k], key)) return m->value[k];
    return NULL;
}

#include "tests/support/onnx_model.h"

#include "tests/support/check.h"
#include "tests/support/files.h"

#include <math.h>

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

static int64_t count_of(const struct onnx_tensor *t)
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
    int64_t count = count_of(tensor), size = type == 1 ? 4 : 8;
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

/* ---- the operators ---- */

/* A node and its inputs. */
struct call {
    const struct onnx_node *node;
    const struct onnx_tensor *in[ONNX_INPUTS];
};

static const struct onnx_attr *attr_of(const struct call *c, const char *name)
{
    for (int a = 0; a < c->node->attrs; a++)
        if (!strcmp(c->node->attr[a].name, name)) return &c->node->attr[a];
    return NULL;
}

static int64_t int_of(const struct call *c, const char *name, int place, int64_t otherwise)
{
    const struct onnx_attr *attr = attr_of(c, name);
    return attr ? attr->i[place] : otherwise;
}

static struct onnx_tensor make(int ndim, const int64_t *dim)
{
    struct onnx_tensor t = {.ndim = ndim};
    for (int d = 0; d < ndim; d++) t.dim[d] = dim[d];
    t.data = calloc((size_t)count_of(&t), sizeof *t.data);
    return t;
}

/* Product of the dimensions from `first` to before `end`. */
static int64_t span(const struct onnx_tensor *t, int first, int end)
{
    int64_t product = 1;
    for (int d = first; d < end; d++) product *= t->dim[d];
    return product;
}

/* The shape to which two are repeated, leaving out their last `skip` dimensions. */
static void broadcast(const struct onnx_tensor *a, const struct onnx_tensor *b, int skip, int64_t *dim, int *ndim)
{
    int na = a->ndim - skip, nb = b->ndim - skip;
    *ndim = na > nb ? na : nb;
    for (int d = 0; d < *ndim; d++) {
        int64_t x = d < *ndim - na ? 1 : a->dim[d - (*ndim - na)], y = d < *ndim - nb ? 1 : b->dim[d - (*ndim - nb)];
        assert_true(x == y || x == 1 || y == 1);
        dim[d] = x > y ? x : y;
    }
}

/* Where element `i` of the shape dim[ndim] lies in `t`, which is repeated to it. */
static int64_t place_of(int64_t i, int ndim, const int64_t *dim, const struct onnx_tensor *t, int skip)
{
    int64_t place = 0, stride = 1;
    for (int d = ndim - 1; d >= 0; d--) {
        int64_t at = i % dim[d];
        int own = d - (ndim - (t->ndim - skip));
        i /= dim[d];
        if (own < 0) continue;
        place += (t->dim[own] == 1 ? 0 : at) * stride;
        stride *= t->dim[own];
    }
    return place;
}

static struct onnx_tensor binary(const struct call *c, const char *type)
{
    int64_t dim[ONNX_DIMS] = {0};
    int ndim;
    broadcast(c->in[0], c->in[1], 0, dim, &ndim);
    struct onnx_tensor out = make(ndim, dim);
    for (int64_t i = 0; i < count_of(&out); i++) {
        double x = c->in[0]->data[place_of(i, ndim, dim, c->in[0], 0)],
               y = c->in[1]->data[place_of(i, ndim, dim, c->in[1], 0)];
        out.data[i] = *type == 'A'     ? x + y
                      : *type == 'D'   ? x / y
                      : type[1] == 'u' ? x * y
                      : type[1] == 'i' ? fmin(x, y)
                                       : fmax(x, y);
    }
    return out;
}

static struct onnx_tensor mat_mul(const struct call *c)
{
    const struct onnx_tensor *a = c->in[0], *b = c->in[1];
    int64_t dim[ONNX_DIMS] = {0}, rows = a->dim[a->ndim - 2], inner = a->dim[a->ndim - 1],
            columns = b->dim[b->ndim - 1];
    int ndim;
    assert_int_equal(b->dim[b->ndim - 2], inner);
    broadcast(a, b, 2, dim, &ndim);
    dim[ndim] = rows;
    dim[ndim + 1] = columns;
    struct onnx_tensor out = make(ndim + 2, dim);
    for (int64_t n = 0; n < span(&out, 0, ndim); n++) {
        const double *x = a->data + place_of(n, ndim, dim, a, 2) * rows * inner,
                     *y = b->data + place_of(n, ndim, dim, b, 2) * inner * columns;
        for (int64_t i = 0; i < rows * columns; i++)
            for (int64_t k = 0; k < inner; k++)
                out.data[n * rows * columns + i] += x[i / columns * inner + k] * y[k * columns + i % columns];
    }
    return out;
}

static struct onnx_tensor gemm(const struct call *c)
{
    const struct onnx_tensor *a = c->in[0], *b = c->in[1], *bias = c->in[2];
    assert_true(int_of(c, "transB", 0, 0) == 1 && c->node->attrs == 1 && a->dim[1] == b->dim[1]);
    struct onnx_tensor out = make(2, (int64_t[]){a->dim[0], b->dim[0]});
    for (int64_t i = 0; i < count_of(&out); i++) {
        int64_t row = i / b->dim[0], column = i % b->dim[0];
        out.data[i] = bias ? bias->data[column] : 0;
        for (int64_t k = 0; k < a->dim[1]; k++)
            out.data[i] += a->data[row * a->dim[1] + k] * b->data[column * a->dim[1] + k];
    }
    return out;
}

/* One window of a convolution or of pooling. */
struct window {
    int64_t kernel, stride, pad, dilation, height, width, out_height, out_width;
};

static struct window window_of(const struct call *c)
{
    struct window w = {.kernel = int_of(c, "kernel_shape", 0, 0),
                       .stride = int_of(c, "strides", 0, 1),
                       .pad = int_of(c, "pads", 0, 0),
                       .dilation = int_of(c, "dilations", 0, 1),
                       .height = c->in[0]->dim[2],
                       .width = c->in[0]->dim[3]};
    for (int d = 1; d < 4; d++) assert_int_equal(int_of(c, "pads", d, w.pad), w.pad);
    int64_t reach = w.dilation * (w.kernel - 1) + 1;
    w.out_height = (w.height + 2 * w.pad - reach) / w.stride + 1;
    w.out_width = (w.width + 2 * w.pad - reach) / w.stride + 1;
    return w;
}

/* Where tap `k` of output `o` lies in the image; -1: in the border. */
static int64_t tap(const struct window *w, int64_t o, int64_t k)
{
    int64_t y = o / w->out_width * w->stride - w->pad + k / w->kernel * w->dilation,
            x = o % w->out_width * w->stride - w->pad + k % w->kernel * w->dilation;
    return y < 0 || x < 0 || y >= w->height || x >= w->width ? -1 : y * w->width + x;
}

static struct onnx_tensor conv(const struct call *c)
{
    const struct onnx_tensor *x = c->in[0], *weight = c->in[1];
    struct window w = window_of(c);
    int64_t group = int_of(c, "group", 0, 1), out_channels = weight->dim[0], in = weight->dim[1],
            taps = w.kernel * w.kernel, pixels = w.height * w.width;
    assert_true(in * group == x->dim[1] && weight->dim[2] == w.kernel && weight->dim[3] == w.kernel);
    struct onnx_tensor out = make(4, (int64_t[]){x->dim[0], out_channels, w.out_height, w.out_width});
    for (int64_t i = 0; i < count_of(&out); i++) {
        int64_t o = i % (w.out_height * w.out_width), plane = i / (w.out_height * w.out_width);
        int64_t channel = plane % out_channels, first = channel / (out_channels / group) * in;
        double sum = c->in[2] ? c->in[2]->data[channel] : 0;
        for (int64_t k = 0; k < in * taps; k++) {
            int64_t at = tap(&w, o, k % taps);
            if (at < 0) continue;
            sum += weight->data[channel * in * taps + k] *
                   x->data[((plane / out_channels) * x->dim[1] + first + k / taps) * pixels + at];
        }
        out.data[i] = sum;
    }
    return out;
}

static struct onnx_tensor pool(const struct call *c, bool mean)
{
    const struct onnx_tensor *x = c->in[0];
    struct window w = window_of(c);
    bool all = int_of(c, "count_include_pad", 0, 0);
    struct onnx_tensor out = make(4, (int64_t[]){x->dim[0], x->dim[1], w.out_height, w.out_width});
    for (int64_t i = 0; i < count_of(&out); i++) {
        const double *image = x->data + i / (w.out_height * w.out_width) * w.height * w.width;
        double sum = 0, largest = -INFINITY;
        int64_t taps = 0;
        for (int64_t k = 0; k < w.kernel * w.kernel; k++) {
            int64_t at = tap(&w, i % (w.out_height * w.out_width), k);
            taps += at >= 0 || all;
            if (at < 0) continue;
            sum += image[at];
            largest = fmax(largest, image[at]);
        }
        out.data[i] = mean ? sum / (double)taps : largest;
    }
    return out;
}

static struct onnx_tensor global_average_pool(const struct call *c)
{
    const struct onnx_tensor *x = c->in[0];
    struct onnx_tensor out = make(4, (int64_t[]){x->dim[0], x->dim[1], 1, 1});
    int64_t pixels = x->dim[2] * x->dim[3];
    for (int64_t i = 0; i < count_of(x); i++) out.data[i / pixels] += x->data[i] / (double)pixels;
    return out;
}

static struct onnx_tensor batch_norm(const struct call *c)
{
    const struct onnx_tensor *x = c->in[0];
    struct onnx_tensor out = make(x->ndim, x->dim);
    int64_t each = span(x, 2, x->ndim);
    double eps = (double)attr_of(c, "epsilon")->f;
    for (int64_t i = 0; i < count_of(x); i++) {
        int64_t k = i / each % x->dim[1];
        out.data[i] =
            (x->data[i] - c->in[3]->data[k]) / sqrt(c->in[4]->data[k] + eps) * c->in[1]->data[k] + c->in[2]->data[k];
    }
    return out;
}

static struct onnx_tensor layer_norm(const struct call *c)
{
    const struct onnx_tensor *x = c->in[0];
    struct onnx_tensor out = make(x->ndim, x->dim);
    int64_t columns = x->dim[x->ndim - 1];
    double eps = (double)attr_of(c, "epsilon")->f;
    assert_int_equal(int_of(c, "axis", 0, 0), -1);
    for (int64_t r = 0; r < count_of(x) / columns; r++) {
        const double *row = x->data + r * columns;
        double mean = 0, var = 0;
        for (int64_t i = 0; i < columns; i++) mean += row[i] / (double)columns;
        for (int64_t i = 0; i < columns; i++) var += (row[i] - mean) * (row[i] - mean) / (double)columns;
        for (int64_t i = 0; i < columns; i++)
            out.data[r * columns + i] = (row[i] - mean) / sqrt(var + eps) * c->in[1]->data[i] + c->in[2]->data[i];
    }
    return out;
}

static struct onnx_tensor softmax(const struct call *c)
{
    const struct onnx_tensor *x = c->in[0];
    int axis = (int)int_of(c, "axis", 0, -1);
    if (axis < 0) axis += x->ndim;
    struct onnx_tensor out = make(x->ndim, x->dim);
    int64_t inner = span(x, axis + 1, x->ndim), count = x->dim[axis];
    for (int64_t i = 0; i < count_of(x); i++) {
        if (i / inner % count) continue;
        double largest = -INFINITY, sum = 0;
        for (int64_t k = 0; k < count; k++) largest = fmax(largest, x->data[i + k * inner]);
        for (int64_t k = 0; k < count; k++) sum += out.data[i + k * inner] = exp(x->data[i + k * inner] - largest);
        for (int64_t k = 0; k < count; k++) out.data[i + k * inner] /= sum;
    }
    return out;
}

static struct onnx_tensor reshape(const struct call *c)
{
    const struct onnx_tensor *x = c->in[0], *shape = c->in[1];
    int64_t dim[ONNX_DIMS] = {0};
    int ndim = (int)shape->dim[0];
    for (int d = 0; d < ndim; d++) dim[d] = shape->data[d] == 0 ? x->dim[d] : (int64_t)shape->data[d];
    struct onnx_tensor out = make(ndim, dim);
    assert_int_equal(count_of(&out), count_of(x));
    memcpy(out.data, x->data, (size_t)count_of(x) * sizeof *x->data);
    return out;
}

static struct onnx_tensor transpose(const struct call *c)
{
    const struct onnx_tensor *x = c->in[0];
    const struct onnx_attr *order = attr_of(c, "perm");
    int64_t dim[ONNX_DIMS] = {0};
    assert_int_equal(order->count, x->ndim);
    for (int d = 0; d < x->ndim; d++) dim[d] = x->dim[order->i[d]];
    struct onnx_tensor out = make(x->ndim, dim);
    for (int64_t i = 0; i < count_of(x); i++) {
        int64_t at[ONNX_DIMS] = {0}, rest = i, place = 0;
        for (int d = x->ndim - 1; d >= 0; d--, rest /= dim[d + 1]) at[order->i[d]] = rest % dim[d];
        for (int d = 0; d < x->ndim; d++) place = place * x->dim[d] + at[d];
        out.data[i] = x->data[place];
    }
    return out;
}

static struct onnx_tensor gather(const struct call *c)
{
    const struct onnx_tensor *x = c->in[0];
    int axis = (int)int_of(c, "axis", 0, 0), ndim = 0;
    int64_t dim[ONNX_DIMS] = {0}, inner = span(x, axis + 1, x->ndim), place = (int64_t)c->in[1]->data[0];
    assert_true(c->in[1]->ndim == 0 && place < x->dim[axis]);
    for (int d = 0; d < x->ndim; d++)
        if (d != axis) dim[ndim++] = x->dim[d];
    struct onnx_tensor out = make(ndim, dim);
    for (int64_t i = 0; i < count_of(&out); i++)
        out.data[i] = x->data[(i / inner * x->dim[axis] + place) * inner + i % inner];
    return out;
}

static struct onnx_tensor concat(const struct call *c)
{
    int axis = (int)int_of(c, "axis", 0, 0);
    int64_t dim[ONNX_DIMS] = {0}, before = 0;
    memcpy(dim, c->in[0]->dim, sizeof dim);
    for (int i = 1; i < c->node->inputs; i++) dim[axis] += c->in[i]->dim[axis];
    struct onnx_tensor out = make(c->in[0]->ndim, dim);
    int64_t outer = span(&out, 0, axis), all = span(&out, axis, out.ndim);
    for (int i = 0; i < c->node->inputs; i++) {
        int64_t each = span(c->in[i], axis, out.ndim);
        for (int64_t o = 0; o < outer; o++)
            memcpy(out.data + o * all + before, c->in[i]->data + o * each, (size_t)each * sizeof *out.data);
        before += each;
    }
    return out;
}

static struct onnx_tensor expand(const struct call *c)
{
    struct onnx_tensor shape = {.ndim = (int)c->in[1]->dim[0]};
    int64_t dim[ONNX_DIMS] = {0};
    int ndim;
    for (int d = 0; d < shape.ndim; d++) shape.dim[d] = (int64_t)c->in[1]->data[d];
    broadcast(c->in[0], &shape, 0, dim, &ndim);
    struct onnx_tensor out = make(ndim, dim);
    for (int64_t i = 0; i < count_of(&out); i++) out.data[i] = c->in[0]->data[place_of(i, ndim, dim, c->in[0], 0)];
    return out;
}

static struct onnx_tensor shape(const struct call *c)
{
    int64_t first = int_of(c, "start", 0, 0), end = int_of(c, "end", 0, c->in[0]->ndim), count = end - first;
    struct onnx_tensor out = make(1, &count);
    for (int64_t d = first; d < end; d++) out.data[d - first] = (double)c->in[0]->dim[d];
    return out;
}

static struct onnx_tensor slice(const struct call *c)
{
    const struct onnx_tensor *x = c->in[0];
    int64_t first = (int64_t)c->in[1]->data[0], end = (int64_t)c->in[2]->data[0], dim[ONNX_DIMS] = {0};
    int64_t step = c->in[4] ? (int64_t)c->in[4]->data[0] : 1;
    int axis = (int)c->in[3]->data[0];
    assert_true(first >= 0 && first < end && end <= x->dim[axis] && step > 0);
    memcpy(dim, x->dim, sizeof dim);
    dim[axis] = (end - first + step - 1) / step;
    struct onnx_tensor out = make(x->ndim, dim);
    int64_t inner = span(x, axis + 1, x->ndim);
    for (int64_t i = 0; i < count_of(&out); i++) {
        int64_t at = i / inner % dim[axis] * step + first, outer = i / inner / dim[axis];
        out.data[i] = x->data[(outer * x->dim[axis] + at) * inner + i % inner];
    }
    return out;
}

/* ReduceMean and ReduceL2, over one axis. */
static struct onnx_tensor reduce(const struct call *c, bool mean)
{
    const struct onnx_tensor *x = c->in[0];
    int axis = (int)int_of(c, "axes", 0, 0);
    if (axis < 0) axis += x->ndim;
    int64_t dim[ONNX_DIMS] = {0}, inner = span(x, axis + 1, x->ndim);
    int ndim = 0;
    for (int d = 0; d < x->ndim; d++)
        if (d != axis || int_of(c, "keepdims", 0, 1)) dim[ndim++] = d == axis ? 1 : x->dim[d];
    struct onnx_tensor out = make(ndim, dim);
    for (int64_t i = 0; i < count_of(x); i++)
        out.data[i / inner / x->dim[axis] * inner + i % inner] +=
            mean ? x->data[i] / (double)x->dim[axis] : x->data[i] * x->data[i];
    for (int64_t i = 0; i < count_of(&out) && !mean; i++) out.data[i] = sqrt(out.data[i]);
    return out;
}

static struct onnx_tensor unary(const struct call *c, const char *type)
{
    const struct onnx_tensor *x = c->in[0];
    struct onnx_tensor out = make(x->ndim, x->dim);
    for (int64_t i = 0; i < count_of(x); i++)
        out.data[i] = *type == 'E'     ? erf(x->data[i])
                      : *type == 'R'   ? fmax(x->data[i], 0)
                      : type[1] == 'q' ? sqrt(x->data[i])
                      : *type == 'S'   ? 1 / (1 + exp(-x->data[i]))
                                       : x->data[i];
    if (*type == 'F') { /* Flatten */
        out.ndim = 2;
        out.dim[1] = span(x, 1, x->ndim);
    }
    return out;
}

static bool is(const struct call *c, const char *type) { return !strcmp(c->node->type, type); }

static struct onnx_tensor compute(const struct call *c)
{
    if (is(c, "Add") || is(c, "Mul") || is(c, "Div") || is(c, "Max") || is(c, "Min")) return binary(c, c->node->type);
    if (is(c, "Erf") || is(c, "Sigmoid") || is(c, "Sqrt") || is(c, "Relu") || is(c, "Identity") || is(c, "Flatten"))
        return unary(c, c->node->type);
    if (is(c, "MatMul")) return mat_mul(c);
    if (is(c, "Gemm")) return gemm(c);
    if (is(c, "Conv")) return conv(c);
    if (is(c, "MaxPool")) return pool(c, false);
    if (is(c, "AveragePool")) return pool(c, true);
    if (is(c, "GlobalAveragePool")) return global_average_pool(c);
    if (is(c, "BatchNormalization")) return batch_norm(c);
    if (is(c, "LayerNormalization")) return layer_norm(c);
    if (is(c, "Softmax")) return softmax(c);
    if (is(c, "Reshape")) return reshape(c);
    if (is(c, "Transpose")) return transpose(c);
    if (is(c, "Gather")) return gather(c);
    if (is(c, "Concat")) return concat(c);
    if (is(c, "Expand")) return expand(c);
    if (is(c, "Shape")) return shape(c);
    if (is(c, "Slice")) return slice(c);
    if (is(c, "ReduceMean")) return reduce(c, true);
    if (is(c, "ReduceL2")) return reduce(c, false);
    fail_msg("%s: there is no operator %s here", c->node->name, c->node->type);
    return (struct onnx_tensor){0};
}

/* A constant, the input, or what an earlier node made; NULL for an input that is left out. */
static const struct onnx_tensor *find(const struct onnx_model *m, const struct onnx_tensor *made, int nodes,
                                      const char *name)
{
    const struct onnx_tensor *constant = onnx_find_constant(m, name);
    if (constant || !*name) return constant;
    for (int n = 0; n <= nodes; n++)
        if (!strcmp(made[n].name, name)) return &made[n];
    fail_msg("%s is read before it is made", name);
    return NULL;
}

struct onnx_tensor onnx_run(const struct onnx_model *m, int64_t images, const float *input)
{
    struct onnx_tensor *made = calloc((size_t)m->nodes + 1, sizeof *made), result;
    int64_t dim[ONNX_DIMS] = {0};
    memcpy(dim, m->input.dim, sizeof dim);
    dim[0] = images;
    made[0] = make(m->input.ndim, dim);
    made[0].name = m->input.name;
    for (int64_t i = 0; i < count_of(&made[0]); i++) made[0].data[i] = (double)input[i];
    for (int n = 0; n < m->nodes; n++) {
        struct call c = {.node = &m->node[n]};
        for (int i = 0; i < m->node[n].inputs; i++) c.in[i] = find(m, made, n, m->node[n].input[i]);
        made[n + 1] = compute(&c);
        made[n + 1].name = m->node[n].output;
    }
    result = made[m->nodes];
    assert_string_equal(result.name, m->output.name);
    assert_int_equal(result.ndim, m->output.ndim);
    for (int d = 1; d < result.ndim; d++) assert_int_equal(result.dim[d], m->output.dim[d]);
    assert_int_equal(result.dim[0], images);
    for (int n = 0; n < m->nodes; n++) free(made[n].data);
    free(made);
    return result;
}

/* ONNX's operators, by their definitions. */
#include "tests/support/onnx_model.h"

#include "tests/support/check.h"

#include <math.h>

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
    t.data = calloc((size_t)onnx_elements(&t), sizeof *t.data);
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
    for (int64_t i = 0; i < onnx_elements(&out); i++) {
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
    for (int64_t i = 0; i < onnx_elements(&out); i++) {
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
    for (int64_t i = 0; i < onnx_elements(&out); i++) {
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
    for (int64_t i = 0; i < onnx_elements(&out); i++) {
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
    for (int64_t i = 0; i < onnx_elements(x); i++) out.data[i / pixels] += x->data[i] / (double)pixels;
    return out;
}

static struct onnx_tensor batch_norm(const struct call *c)
{
    const struct onnx_tensor *x = c->in[0];
    struct onnx_tensor out = make(x->ndim, x->dim);
    int64_t each = span(x, 2, x->ndim);
    double eps = (double)attr_of(c, "epsilon")->f;
    for (int64_t i = 0; i < onnx_elements(x); i++) {
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
    for (int64_t r = 0; r < onnx_elements(x) / columns; r++) {
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
    for (int64_t i = 0; i < onnx_elements(x); i++) {
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
    assert_int_equal(onnx_elements(&out), onnx_elements(x));
    memcpy(out.data, x->data, (size_t)onnx_elements(x) * sizeof *x->data);
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
    for (int64_t i = 0; i < onnx_elements(x); i++) {
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
    for (int64_t i = 0; i < onnx_elements(&out); i++)
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
    for (int64_t i = 0; i < onnx_elements(&out); i++) out.data[i] = c->in[0]->data[place_of(i, ndim, dim, c->in[0], 0)];
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
    for (int64_t i = 0; i < onnx_elements(&out); i++) {
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
    for (int64_t i = 0; i < onnx_elements(x); i++)
        out.data[i / inner / x->dim[axis] * inner + i % inner] +=
            mean ? x->data[i] / (double)x->dim[axis] : x->data[i] * x->data[i];
    for (int64_t i = 0; i < onnx_elements(&out) && !mean; i++) out.data[i] = sqrt(out.data[i]);
    return out;
}

static struct onnx_tensor unary(const struct call *c, const char *type)
{
    const struct onnx_tensor *x = c->in[0];
    struct onnx_tensor out = make(x->ndim, x->dim);
    for (int64_t i = 0; i < onnx_elements(x); i++)
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
    for (int64_t i = 0; i < onnx_elements(&made[0]); i++) made[0].data[i] = (double)input[i];
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

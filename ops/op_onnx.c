/* What ops share in writing themselves as ONNX. */
#include "ops/op_onnx.h"

#include <stdlib.h>

float *dg_onnx_room(struct dg_onnx_builder *b, int64_t count)
{
    float *room = malloc((size_t)count * sizeof *room);
    if (!room) dg_fail(b->err, DG_ERR_MEMORY, "out of memory");
    return room;
}

dg_onnx_value dg_onnx_unary(struct dg_onnx_builder *b, const char *type, dg_onnx_value x)
{
    return b->add_node(b, type, NULL, &x, 1);
}

dg_onnx_value dg_onnx_binary(struct dg_onnx_builder *b, const char *type, dg_onnx_value x, dg_onnx_value y)
{
    return b->add_node(b, type, NULL, (dg_onnx_value[]){x, y}, 2);
}

dg_onnx_value dg_onnx_reshape(struct dg_onnx_builder *b, dg_onnx_value x, int ndim, const int64_t *dim)
{
    return dg_onnx_binary(b, "Reshape", x, b->add_ints(b, 1, ndim, dim));
}

dg_onnx_value dg_onnx_transpose(struct dg_onnx_builder *b, dg_onnx_value x, int ndim, const int64_t *order)
{
    struct dg_onnx_attr attr[] = {{.name = "perm", .type = DG_ONNX_ATTR_INTS, .count = ndim}, {0}};
    for (int d = 0; d < ndim; d++) attr[0].i[d] = order[d];
    return b->add_node(b, "Transpose", attr, &x, 1);
}

dg_onnx_value dg_onnx_softmax(struct dg_onnx_builder *b, dg_onnx_value x, int64_t axis)
{
    const struct dg_onnx_attr attr[] = {DG_ONNX_INT("axis", axis), {0}};
    return b->add_node(b, "Softmax", attr, &x, 1);
}

dg_onnx_value dg_onnx_take(struct dg_onnx_builder *b, dg_onnx_value x, int64_t axis, int64_t place)
{
    const struct dg_onnx_attr attr[] = {DG_ONNX_INT("axis", axis), {0}};
    dg_onnx_value input[] = {x, b->add_ints(b, 0, 1, &place)};
    return b->add_node(b, "Gather", attr, input, 2);
}

dg_onnx_value dg_onnx_slice(struct dg_onnx_builder *b, dg_onnx_value x, int64_t axis, int64_t first, int64_t end)
{
    dg_onnx_value input[] = {x, b->add_ints(b, 1, 1, &first), b->add_ints(b, 1, 1, &end), b->add_ints(b, 1, 1, &axis)};
    return b->add_node(b, "Slice", NULL, input, 4);
}

dg_onnx_value dg_onnx_replace(struct dg_onnx_builder *b, dg_onnx_value x, int64_t size, int64_t first, int64_t end,
                              dg_onnx_value part)
{
    const struct dg_onnx_attr axis[] = {DG_ONNX_INT("axis", 1), {0}};
    dg_onnx_value parts[3];
    int count = 0;
    if (first) parts[count++] = dg_onnx_slice(b, x, 1, 0, first);
    parts[count++] = part;
    if (end < size) parts[count++] = end ? dg_onnx_slice(b, x, 1, end, size) : x;
    return b->add_node(b, "Concat", axis, parts, count);
}

dg_onnx_value dg_onnx_for_each(struct dg_onnx_builder *b, dg_onnx_value x, int ndim, dg_onnx_value images)
{
    static const int64_t ones[DG_ONNX_LIST] = {1, 1, 1, 1, 1, 1, 1, 1};
    const struct dg_onnx_attr first[] = {DG_ONNX_INT("start", 0), DG_ONNX_INT("end", 1), {0}},
                              axis[] = {DG_ONNX_INT("axis", 0), {0}};
    dg_onnx_value shape[2];
    shape[0] = b->add_node(b, "Shape", first, &images, 1);
    shape[1] = b->add_ints(b, 1, ndim - 1, ones);
    return dg_onnx_binary(b, "Expand", x, b->add_node(b, "Concat", axis, shape, 2));
}

dg_onnx_value dg_onnx_scalar(struct dg_onnx_builder *b, const char *what, double value)
{
    return b->add_floats(b, what, 0, NULL, &(float){(float)value});
}

dg_onnx_value dg_onnx_channels_last(struct dg_onnx_builder *b, dg_onnx_value x, int ndim)
{
    return ndim == 4 ? dg_onnx_transpose(b, x, 4, (int64_t[]){0, 2, 3, 1}) : x;
}

dg_onnx_value dg_onnx_channels_first(struct dg_onnx_builder *b, dg_onnx_value x, int ndim)
{
    return ndim == 4 ? dg_onnx_transpose(b, x, 4, (int64_t[]){0, 3, 1, 2}) : x;
}

dg_onnx_value dg_onnx_transposed(struct dg_onnx_builder *b, const char *what, const float *matrix, int64_t rows,
                                 int64_t columns)
{
    float *turned = dg_onnx_room(b, rows * columns);
    if (!turned) return DG_ONNX_NONE;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) turned[c * rows + r] = matrix[r * columns + c];
    dg_onnx_value made = b->add_floats(b, what, 2, (int64_t[]){columns, rows}, turned);
    free(turned);
    return made;
}

dg_onnx_value dg_onnx_l2_normalize(struct dg_onnx_builder *b, dg_onnx_value x, double eps)
{
    const struct dg_onnx_attr attr[] = {DG_ONNX_INTS("axes", 1, -1), DG_ONNX_INT("keepdims", 1), {0}};
    dg_onnx_value norm = b->add_node(b, "ReduceL2", attr, &x, 1);
    norm = dg_onnx_binary(b, "Max", norm, dg_onnx_scalar(b, "eps", eps));
    return dg_onnx_binary(b, "Div", x, norm);
}

dg_onnx_value dg_onnx_layer_norm(struct dg_onnx_builder *b, dg_onnx_value x, int ndim, dg_onnx_value weight,
                                 dg_onnx_value bias, double eps)
{
    const struct dg_onnx_attr attr[] = {DG_ONNX_INT("axis", -1), DG_ONNX_FLOAT("epsilon", eps), {0}};
    dg_onnx_value input[] = {dg_onnx_channels_last(b, x, ndim), weight, bias};
    return dg_onnx_channels_first(b, b->add_node(b, "LayerNormalization", attr, input, 3), ndim);
}

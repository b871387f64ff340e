/* How an op is written as nodes of ONNX (https://onnx.ai/onnx/operators/), for other programs to run.
 *
 * Images are [N,C,H,W] there: a value of ours of four dimensions, [N,H,W,C], is written so, and ops on the last dimension turn it
 * (dg_onnx_channels_last). The number of images is not fixed: shapes take dimension 0 over from an input. */
#ifndef DG_OPS_OP_ONNX_H
#define DG_OPS_OP_ONNX_H

#include "ops/op_call.h"

/* Version 17 is the first with LayerNormalization; ONNX Runtime reads it from 1.12 on, OpenVINO from 2023. */
enum { DG_ONNX_OPSET = 17, DG_ONNX_LIST = 8 };

typedef int32_t dg_onnx_value; /* a value of the ONNX graph */
#define DG_ONNX_NONE (-1)

enum dg_onnx_attr_type { DG_ONNX_ATTR_INT, DG_ONNX_ATTR_FLOAT, DG_ONNX_ATTR_INTS };
struct dg_onnx_attr {
    const char *name; /* NULL ends a list of attributes */
    enum dg_onnx_attr_type type;
    double f;
    int count; /* of integers */
    int64_t i[DG_ONNX_LIST];
};
#define DG_ONNX_INT(attr, value)                                                                                       \
    {                                                                                                                  \
        .name = attr, .type = DG_ONNX_ATTR_INT, .count = 1, .i = { value }                                             \
    }
#define DG_ONNX_FLOAT(attr, value)                                                                                     \
    {                                                                                                                  \
        .name = attr, .type = DG_ONNX_ATTR_FLOAT, .f = value                                                           \
    }
#define DG_ONNX_INTS(attr, number, ...)                                                                                \
    {                                                                                                                  \
        .name = attr, .type = DG_ONNX_ATTR_INTS, .count = number, .i = { __VA_ARGS__ }                                 \
    }

/* An op's `onnx` adds nodes and sets `output`. What fails is in `err`, and everything after it does nothing. */
struct dg_onnx_builder {
    const struct dg_op_call *call;
    const dg_onnx_value *input;
    const void *const *data; /* numbers of an input that is a parameter, f32; NULL of other inputs */
    dg_onnx_value *output;   /* DG_ONNX_NONE before */
    void *graph;
    /* Adds a node with one output, which is returned. `attr` may be NULL. */
    dg_onnx_value (*add_node)(struct dg_onnx_builder *b, const char *type, const struct dg_onnx_attr *attr,
                              const dg_onnx_value *input, int num_inputs);
    /* Adds constants; the numbers are copied. `what` names the first within the op's node: "weight.T". */
    dg_onnx_value (*add_floats)(struct dg_onnx_builder *b, const char *what, int ndim, const int64_t *dim,
                                const float *data);
    dg_onnx_value (*add_ints)(struct dg_onnx_builder *b, int ndim, int64_t count, const int64_t *data);
    struct dg_error *err;
};

/* Room for the numbers of a constant, for the caller to free; NULL with `err` set when memory is out. */
float *dg_onnx_room(struct dg_onnx_builder *b, int64_t count);
/* A node of one or two inputs, without attributes. */
dg_onnx_value dg_onnx_unary(struct dg_onnx_builder *b, const char *type, dg_onnx_value x);
dg_onnx_value dg_onnx_binary(struct dg_onnx_builder *b, const char *type, dg_onnx_value x, dg_onnx_value y);
/* 0 in `dim` takes that dimension over. */
dg_onnx_value dg_onnx_reshape(struct dg_onnx_builder *b, dg_onnx_value x, int ndim, const int64_t *dim);
dg_onnx_value dg_onnx_transpose(struct dg_onnx_builder *b, dg_onnx_value x, int ndim, const int64_t *order);
dg_onnx_value dg_onnx_softmax(struct dg_onnx_builder *b, dg_onnx_value x, int64_t axis);
/* The slice of one place along an axis, without that axis. */
dg_onnx_value dg_onnx_take(struct dg_onnx_builder *b, dg_onnx_value x, int64_t axis, int64_t place);
/* The slice of places `first` to before `end` along an axis. */
dg_onnx_value dg_onnx_slice(struct dg_onnx_builder *b, dg_onnx_value x, int64_t axis, int64_t first, int64_t end);
/* Of x [N, size, ...] the places `first` to before `end` along axis 1 replaced by `part` [N, any number, ...]. */
dg_onnx_value dg_onnx_replace(struct dg_onnx_builder *b, dg_onnx_value x, int64_t size, int64_t first, int64_t end,
                              dg_onnx_value part);
/* x [1, ...], of `ndim` dimensions, once for each of `images` [N, ...]. */
dg_onnx_value dg_onnx_for_each(struct dg_onnx_builder *b, dg_onnx_value x, int ndim, dg_onnx_value images);
dg_onnx_value dg_onnx_scalar(struct dg_onnx_builder *b, const char *what, double value);
/* A value of ours of `ndim` dimensions with its last one last, and the way back. Only images are turned. */
dg_onnx_value dg_onnx_channels_last(struct dg_onnx_builder *b, dg_onnx_value x, int ndim);
dg_onnx_value dg_onnx_channels_first(struct dg_onnx_builder *b, dg_onnx_value x, int ndim);
/* The transpose of a matrix [rows, columns] as a constant. */
dg_onnx_value dg_onnx_transposed(struct dg_onnx_builder *b, const char *what, const float *matrix, int64_t rows,
                                 int64_t columns);
/* x divided by its L2 norm, or by eps if that is more, along the last axis. */
dg_onnx_value dg_onnx_l2_normalize(struct dg_onnx_builder *b, dg_onnx_value x, double eps);
/* Layer norm of a value of ours of `ndim` dimensions over its last one. */
dg_onnx_value dg_onnx_layer_norm(struct dg_onnx_builder *b, dg_onnx_value x, int ndim, dg_onnx_value weight,
                                 dg_onnx_value bias, double eps);

#endif

/* A graph of ONNX that is built up and written as a file (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). */
#ifndef DG_RUNTIME_EXPORT_ONNX_FILE_H
#define DG_RUNTIME_EXPORT_ONNX_FILE_H

#include "ops/op_onnx.h"
#include "runtime/formats/protobuf.h"

struct dg_onnx_constant {
    dg_onnx_value value;
    bool i64; /* else f32 */
    int ndim;
    int64_t dim[DG_MAX_DIMS];
    const void *data;
    void *owned; /* NULL: the caller's */
    bool used;   /* others are not written */
};

struct dg_onnx_graph { /* zero-initialise */
    char **name;       /* of the values */
    int values, value_capacity;
    struct dg_onnx_constant *constant;
    int constants, constant_capacity;
    struct dg_protobuf nodes, ends, metadata; /* fields of GraphProto, GraphProto and ModelProto */
    int num_nodes;
};

/* All of these return DG_ONNX_NONE, with err, where memory is out. A name that there is gets a number behind it. */
dg_onnx_value dg_onnx_graph_add_value(struct dg_onnx_graph *graph, const char *name, struct dg_error *err);
/* The numbers are copied with `copy`; else they must outlive the graph. `i64`: of int64_t, else of float. */
dg_onnx_value dg_onnx_graph_add_constant(struct dg_onnx_graph *graph, const char *name, bool i64,
                                         const struct dg_desc *shape, const void *data, bool copy,
                                         struct dg_error *err);
/* Adds a node called `name`, which computes the value that is returned and is called `result`. */
dg_onnx_value dg_onnx_graph_add_node(struct dg_onnx_graph *graph, const char *name, const char *type,
                                     const struct dg_onnx_attr *attr, const dg_onnx_value *input, int num_inputs,
                                     struct dg_error *err);

/* States an input or an output of the graph, f32; dimension 0 is called "batch" and not fixed. */
void dg_onnx_graph_add_input(struct dg_onnx_graph *graph, dg_onnx_value value, int ndim, const int64_t *dim);
void dg_onnx_graph_add_output(struct dg_onnx_graph *graph, dg_onnx_value value, int ndim, const int64_t *dim);
void dg_onnx_graph_add_metadata(struct dg_onnx_graph *graph, const char *key, const char *text);

struct dg_onnx_model {
    const char *name, *doc, *version; /* of the graph; of this program */
    int64_t limit;                    /* bytes of a file; 0: those that a message can have, 2 GiB */
};
struct dg_onnx_written {
    int64_t bytes, data_bytes; /* of the file, and of the one beside it; 0: there is none */
};

/* Where the file would be larger than the limit, the numbers of large constants go to a file beside it, PATH.data, which must stay there
 * (ONNX's external data). Each file is complete or absent. */
enum dg_status dg_onnx_graph_write(const struct dg_onnx_graph *graph, const struct dg_onnx_model *model,
                                   const char *path, struct dg_onnx_written *written, struct dg_error *err);
void dg_onnx_graph_free(struct dg_onnx_graph *graph);

#endif

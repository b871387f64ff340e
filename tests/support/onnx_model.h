/* Reads ONNX files that this program writes, and computes what they say: slowly, in f64, by ONNX's definitions of its operators. Any
 * failure fails the running CMocka test. */
#ifndef DG_TESTS_ONNX_MODEL_H
#define DG_TESTS_ONNX_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ONNX_DIMS = 6, ONNX_ATTRS = 8, ONNX_INPUTS = 16, ONNX_MAX = 4096 };

struct onnx_tensor {
    char *name;
    int ndim;
    int64_t dim[ONNX_DIMS];
    double *data; /* of i64 too; NULL of an input or output of the graph */
};

struct onnx_attr {
    char *name;
    float f;
    int64_t i[ONNX_ATTRS];
    int count;
};

struct onnx_node {
    char *type, *name, *input[ONNX_INPUTS], *output;
    int inputs, attrs;
    struct onnx_attr attr[ONNX_ATTRS];
};

struct onnx_model {
    int64_t ir_version, opset;
    char *producer;
    struct onnx_node *node;
    int nodes;
    struct onnx_tensor *constant;
    int constants;
    struct onnx_tensor input, output; /* dim 0 is -1: "batch" */
    char *key[64], *value[64];        /* metadata */
    int keys;
};

void onnx_read(const char *path, struct onnx_model *model);
void onnx_free(struct onnx_model *model);
int64_t onnx_elements(const struct onnx_tensor *tensor);
int onnx_count(const struct onnx_model *model, const char *type);                               /* nodes of a type */
const struct onnx_tensor *onnx_find_constant(const struct onnx_model *model, const char *name); /* NULL: none */
const char *onnx_metadata(const struct onnx_model *model, const char *key);                     /* likewise */

/* The output for `images` of the input's shape, freed by the caller. */
struct onnx_tensor onnx_run(const struct onnx_model *model, int64_t images, const float *input);

#endif

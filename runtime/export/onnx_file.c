#include "runtime/export/onnx_file.h"

#include "runtime/base/atomic_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IR_VERSION = 8 }; /* the one that came with opset 17 */

/* Numbers of fields. */
enum { MODEL_IR = 1, MODEL_PRODUCER, MODEL_PRODUCER_VERSION, MODEL_GRAPH = 7, MODEL_OPSET, MODEL_METADATA = 14 };
enum { OPSET_VERSION = 2, ENTRY_KEY = 1, ENTRY_VALUE };
enum { GRAPH_NODE = 1, GRAPH_NAME, GRAPH_CONSTANT = 5, GRAPH_DOC = 10, GRAPH_INPUT, GRAPH_OUTPUT };
enum { NODE_INPUT = 1, NODE_OUTPUT, NODE_NAME, NODE_TYPE, NODE_ATTR };
enum { ATTR_NAME = 1, ATTR_F, ATTR_I, ATTR_INTS = 8, ATTR_TYPE = 20, TYPE_FLOAT = 1, TYPE_INT = 2, TYPE_INTS = 7 };
enum {
    TENSOR_DIM = 1,
    TENSOR_TYPE,
    TENSOR_NAME = 8,
    TENSOR_RAW,
    TENSOR_EXTERNAL = 13,
    TENSOR_PLACE,
    PLACE_EXTERNAL = 1,
    ELEMENT_F32 = 1,
    ELEMENT_I64 = 7
};
enum {
    VALUE_NAME = 1,
    VALUE_TYPE,
    TYPE_TENSOR = 1,
    TYPE_ELEMENT = 1,
    TYPE_SHAPE,
    SHAPE_DIM = 1,
    DIM_VALUE = 1,
    DIM_NAME
};

/* Makes room for one more element; false: memory is out. */
static bool grow(void **array, int count, int *capacity, size_t size)
{
    if (count < *capacity) return true;
    int more = 2 * *capacity + 64;
    void *grown = realloc(*array, (size_t)more * size);
    if (!grown) return false;
    *array = grown;
    *capacity = more;
    return true;
}

static bool is_taken(const struct dg_onnx_graph *graph, const char *name)
{
    for (int v = 0; v < graph->values; v++)
        if (!strcmp(graph->name[v], name)) return true;
    return false;
}

dg_onnx_value dg_onnx_graph_add_value(struct dg_onnx_graph *graph, const char *name, struct dg_error *err)
{
    char *unique = malloc(strlen(name) + 16);
    if (!unique || !grow((void **)&graph->name, graph->values, &graph->value_capacity, sizeof *graph->name)) {
        free(unique);
        dg_fail(err, DG_ERR_MEMORY, "out of memory");
        return DG_ONNX_NONE;
    }
    strcpy(unique, name);
    for (int number = 2; is_taken(graph, unique); number++) sprintf(unique, "%s.%d", name, number);
    graph->name[graph->values] = unique;
    return graph->values++;
}

dg_onnx_value dg_onnx_graph_add_constant(struct dg_onnx_graph *graph, const char *name, bool i64,
                                         const struct dg_desc *shape, const void *data, bool copy, struct dg_error *err)
{
    size_t bytes = (size_t)dg_desc_count(shape) * (i64 ? sizeof(int64_t) : sizeof(float));
    void *owned = copy ? malloc(bytes) : NULL;
    bool room = (!copy || owned) &&
                grow((void **)&graph->constant, graph->constants, &graph->constant_capacity, sizeof *graph->constant);
    if (!room) dg_fail(err, DG_ERR_MEMORY, "out of memory");
    dg_onnx_value value = room ? dg_onnx_graph_add_value(graph, name, err) : DG_ONNX_NONE;
    if (value == DG_ONNX_NONE) {
        free(owned);
        return value;
    }
    if (copy) memcpy(owned, data, bytes);
    struct dg_onnx_constant *made = &graph->constant[graph->constants++];
    *made = (struct dg_onnx_constant){
        .value = value, .i64 = i64, .ndim = shape->ndim, .data = copy ? owned : data, .owned = owned};
    memcpy(made->dim, shape->dim, sizeof made->dim);
    return value;
}

static void add_attr(struct dg_protobuf *node, const struct dg_onnx_attr *attr)
{
    static const int type[] = {
        [DG_ONNX_ATTR_INT] = TYPE_INT, [DG_ONNX_ATTR_FLOAT] = TYPE_FLOAT, [DG_ONNX_ATTR_INTS] = TYPE_INTS};
    struct dg_protobuf made = {0};
    dg_protobuf_add_string(&made, ATTR_NAME, attr->name);
    if (attr->type == DG_ONNX_ATTR_FLOAT) dg_protobuf_add_float(&made, ATTR_F, (float)attr->f);
    for (int i = 0; i < attr->count; i++)
        dg_protobuf_add_int(&made, attr->type == DG_ONNX_ATTR_INT ? ATTR_I : ATTR_INTS, attr->i[i]);
    dg_protobuf_add_int(&made, ATTR_TYPE, type[attr->type]);
    dg_protobuf_add_message(node, NODE_ATTR, &made);
}

static void note_use(struct dg_onnx_graph *graph, dg_onnx_value value)
{
    for (int c = 0; c < graph->constants; c++)
        if (graph->constant[c].value == value) graph->constant[c].used = true;
}

dg_onnx_value dg_onnx_graph_add_node(struct dg_onnx_graph *graph, const char *name, const char *type,
                                     const struct dg_onnx_attr *attr, const dg_onnx_value *input, int num_inputs,
                                     struct dg_error *err)
{
    dg_onnx_value result = dg_onnx_graph_add_value(graph, name, err);
    if (result == DG_ONNX_NONE) return result;
    struct dg_protobuf node = {0};
    for (int i = 0; i < num_inputs; i++) {
        dg_protobuf_add_string(&node, NODE_INPUT, input[i] == DG_ONNX_NONE ? "" : graph->name[input[i]]);
        note_use(graph, input[i]);
    }
    dg_protobuf_add_string(&node, NODE_OUTPUT, graph->name[result]);
    dg_protobuf_add_string(&node, NODE_NAME, graph->name[result]);
    dg_protobuf_add_string(&node, NODE_TYPE, type);
    for (; attr && attr->name; attr++) add_attr(&node, attr);
    dg_protobuf_add_message(&graph->nodes, GRAPH_NODE, &node);
    graph->num_nodes++;
    return result;
}

static void add_end(struct dg_onnx_graph *graph, int field, dg_onnx_value value, int ndim, const int64_t *dim)
{
    struct dg_protobuf shape = {0}, tensor = {0}, type = {0}, end = {0};
    for (int d = 0; d < ndim; d++) {
        struct dg_protobuf one = {0};
        if (d)
            dg_protobuf_add_int(&one, DIM_VALUE, dim[d]);
        else
            dg_protobuf_add_string(&one, DIM_NAME, "batch");
        dg_protobuf_add_message(&shape, SHAPE_DIM, &one);
    }
    dg_protobuf_add_int(&tensor, TYPE_ELEMENT, ELEMENT_F32);
    dg_protobuf_add_message(&tensor, TYPE_SHAPE, &shape);
    dg_protobuf_add_message(&type, TYPE_TENSOR, &tensor);
    dg_protobuf_add_string(&end, VALUE_NAME, graph->name[value]);
    dg_protobuf_add_message(&end, VALUE_TYPE, &type);
    dg_protobuf_add_message(&graph->ends, field, &end);
}

void dg_onnx_graph_add_input(struct dg_onnx_graph *graph, dg_onnx_value value, int ndim, const int64_t *dim)
{
    add_end(graph, GRAPH_INPUT, value, ndim, dim);
}

void dg_onnx_graph_add_output(struct dg_onnx_graph *graph, dg_onnx_value value, int ndim, const int64_t *dim)
{
    add_end(graph, GRAPH_OUTPUT, value, ndim, dim);
}

void dg_onnx_graph_add_metadata(struct dg_onnx_graph *graph, const char *key, const char *text)
{
    struct dg_protobuf entry = {0};
    dg_protobuf_add_string(&entry, ENTRY_KEY, key);
    dg_protobuf_add_string(&entry, ENTRY_VALUE, text);
    dg_protobuf_add_message(&graph->metadata, MODEL_METADATA, &entry);
}

static size_t bytes_of(const struct dg_onnx_constant *c)
{
    size_t count = 1;
    for (int d = 0; d < c->ndim; d++) count *= (size_t)c->dim[d];
    return count * (c->i64 ? sizeof(int64_t) : sizeof(float));
}

/* Where the numbers of constants go: into the file, or those of large ones into the file `name` beside it, up to `at` so far. */
struct placing {
    const char *name; /* NULL: all into the file */
    uint64_t at;
    FILE *file, *beside; /* NULL: nothing is written, sizes are added up */
};

enum { LARGE = 1024, ALIGN = 4096 }; /* bytes; numbers beside begin at pages, as runtimes map them */

static bool is_beside(const struct placing *p, const struct dg_onnx_constant *c)
{
    return p->name && bytes_of(c) >= LARGE;
}

static void add_entry(struct dg_protobuf *tensor, const char *key, const char *text)
{
    struct dg_protobuf entry = {0};
    dg_protobuf_add_string(&entry, ENTRY_KEY, key);
    dg_protobuf_add_string(&entry, ENTRY_VALUE, text);
    dg_protobuf_add_message(tensor, TENSOR_EXTERNAL, &entry);
}

static void add_place(struct dg_protobuf *tensor, const struct placing *p, const struct dg_onnx_constant *c)
{
    char text[32];
    add_entry(tensor, "location", p->name);
    snprintf(text, sizeof text, "%" PRIu64, p->at);
    add_entry(tensor, "offset", text);
    snprintf(text, sizeof text, "%zu", bytes_of(c));
    add_entry(tensor, "length", text);
    dg_protobuf_add_int(tensor, TENSOR_PLACE, PLACE_EXTERNAL);
}

/* What comes before a constant's numbers: the tensor's other fields, and before those its tag in the graph. */
static struct dg_protobuf head_of(const struct dg_onnx_graph *graph, const struct placing *p,
                                  const struct dg_onnx_constant *c)
{
    struct dg_protobuf tensor = {0}, head = {0};
    size_t inside = is_beside(p, c) ? 0 : bytes_of(c);
    for (int d = 0; d < c->ndim; d++) dg_protobuf_add_int(&tensor, TENSOR_DIM, c->dim[d]);
    dg_protobuf_add_int(&tensor, TENSOR_TYPE, c->i64 ? ELEMENT_I64 : ELEMENT_F32);
    dg_protobuf_add_string(&tensor, TENSOR_NAME, graph->name[c->value]);
    if (is_beside(p, c))
        add_place(&tensor, p, c);
    else
        dg_protobuf_add_beginning(&tensor, TENSOR_RAW, inside);
    dg_protobuf_add_beginning(&head, GRAPH_CONSTANT, tensor.size + inside);
    dg_protobuf_add_fields(&head, &tensor);
    dg_protobuf_free(&tensor);
    return head;
}

/* Errors of writing are seen when the files are committed. */
static void write_numbers(const struct placing *p, const struct dg_onnx_constant *c)
{
    FILE *file = is_beside(p, c) ? p->beside : p->file;
    fwrite(c->data, 1, bytes_of(c), file);
    if (file == p->beside)
        for (size_t pad = bytes_of(c); pad % ALIGN; pad++) fputc(0, file);
}

/* Writes the constants that are used, and adds up their bytes in the file. False: memory is out. */
static bool write_constants(const struct dg_onnx_graph *graph, struct placing *p, size_t *size)
{
    bool lost = false;
    *size = 0;
    p->at = 0;
    for (int c = 0; c < graph->constants && !lost; c++) {
        const struct dg_onnx_constant *constant = &graph->constant[c];
        if (!constant->used) continue;
        struct dg_protobuf head = head_of(graph, p, constant);
        lost = head.lost;
        *size += head.size + (is_beside(p, constant) ? 0 : bytes_of(constant));
        if (p->file && !lost) {
            fwrite(head.data, 1, head.size, p->file);
            write_numbers(p, constant);
        }
        if (is_beside(p, constant)) p->at += (bytes_of(constant) + ALIGN - 1) / ALIGN * ALIGN;
        dg_protobuf_free(&head);
    }
    return !lost;
}

/* The messages around the constants. */
struct parts {
    struct dg_protobuf head, last;
};

/* Makes them for constants that go where `p` says. False: memory is out. */
static bool make_parts(const struct dg_onnx_graph *graph, const struct dg_onnx_model *model, struct placing *p,
                       struct parts *parts, int64_t *bytes)
{
    struct dg_protobuf opset = {0};
    size_t constants;
    *parts = (struct parts){0};
    dg_protobuf_add_string(&parts->last, GRAPH_NAME, model->name);
    dg_protobuf_add_string(&parts->last, GRAPH_DOC, model->doc);
    dg_protobuf_add_int(&opset, OPSET_VERSION, DG_ONNX_OPSET);
    dg_protobuf_add_int(&parts->head, MODEL_IR, IR_VERSION);
    dg_protobuf_add_string(&parts->head, MODEL_PRODUCER, "dinograph");
    dg_protobuf_add_string(&parts->head, MODEL_PRODUCER_VERSION, model->version);
    dg_protobuf_add_message(&parts->head, MODEL_OPSET, &opset);
    bool fine = write_constants(graph, p, &constants);
    uint64_t inside = graph->nodes.size + parts->last.size + graph->ends.size + constants;
    dg_protobuf_add_beginning(&parts->head, MODEL_GRAPH, inside);
    *bytes = (int64_t)(parts->head.size + inside + graph->metadata.size);
    return fine &&
           !(graph->nodes.lost || graph->ends.lost || graph->metadata.lost || parts->last.lost || parts->head.lost);
}

static void free_parts(struct parts *parts)
{
    dg_protobuf_free(&parts->head);
    dg_protobuf_free(&parts->last);
}

static void write_message(const struct dg_protobuf *message, FILE *file)
{
    if (message->size) fwrite(message->data, 1, message->size, file);
}

/* Writes the file, and `beside` if that is no NULL, which is committed first: a file that needs another is never there without it. */
static enum dg_status write_files(const struct dg_onnx_graph *graph, const struct parts *parts, struct placing *p,
                                  const char *path, const char *beside, struct dg_error *err)
{
    struct dg_atomic_file file = {0}, data = {0};
    size_t constants;
    enum dg_status status = dg_atomic_open(path, &file, err);
    if (status == DG_OK && beside) status = dg_atomic_open(beside, &data, err);
    if (status == DG_OK) {
        const struct dg_protobuf *part[] = {&parts->head, &graph->nodes, &parts->last, &graph->ends};
        for (size_t i = 0; i < sizeof part / sizeof *part; i++) write_message(part[i], file.stream);
        p->file = file.stream;
        p->beside = data.stream;
        bool fine = write_constants(graph, p, &constants);
        write_message(&graph->metadata, file.stream);
        status = fine ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    if (status == DG_OK && beside) status = dg_atomic_commit(&data, err);
    if (status == DG_OK) {
        status = dg_atomic_commit(&file, err);
        if (status != DG_OK && beside) unlink(beside);
    }
    dg_atomic_abandon(&data);
    dg_atomic_abandon(&file);
    return status;
}

enum dg_status dg_onnx_graph_write(const struct dg_onnx_graph *graph, const struct dg_onnx_model *model,
                                   const char *path, struct dg_onnx_written *written, struct dg_error *err)
{
    struct placing p = {0};
    struct parts parts;
    char *beside = NULL;
    bool fine = make_parts(graph, model, &p, &parts, &written->bytes);
    if (fine && written->bytes > (model->limit ? model->limit : INT32_MAX)) {
        free_parts(&parts);
        if (asprintf(&beside, "%s.data", path) < 0) beside = NULL;
        const char *slash = beside ? strrchr(beside, '/') : NULL;
        p.name = slash ? slash + 1 : beside;
        fine = beside && make_parts(graph, model, &p, &parts, &written->bytes);
    }
    written->data_bytes = (int64_t)p.at;
    enum dg_status status =
        fine ? write_files(graph, &parts, &p, path, beside, err) : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    free_parts(&parts);
    free(beside);
    return status;
}

void dg_onnx_graph_free(struct dg_onnx_graph *graph)
{
    for (int v = 0; v < graph->values; v++) free(graph->name[v]);
    for (int c = 0; c < graph->constants; c++) free(graph->constant[c].owned);
    free(graph->name);
    free(graph->constant);
    dg_protobuf_free(&graph->nodes);
    dg_protobuf_free(&graph->ends);
    dg_protobuf_free(&graph->metadata);
    *graph = (struct dg_onnx_graph){0};
}

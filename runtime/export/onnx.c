#include "runtime/export/onnx.h"

#include "runtime/eval/evaluator.h"
#include "runtime/export/onnx_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An entry on its way into a graph. */
struct writing {
    const struct dg_export_source *source;
    const struct dg_plan *plan;
    const struct dg_plan_entry *entry;
    const struct dg_plan_op *record; /* the op that is being written */
    struct dg_onnx_graph graph;
    dg_onnx_value *value; /* of the entry's tensors; DG_ONNX_NONE: not made yet */
};

/* Operands of one op, of its inputs and then its outputs. */
enum { MAX_OPERANDS = 64 };

static struct writing *writing_of(struct dg_onnx_builder *b) { return b->graph; }

/* A name within the op's node. */
static const char *name_of(struct dg_onnx_builder *b, const char *what, char separator, char *text, size_t size)
{
    struct writing *w = writing_of(b);
    snprintf(text, size, "%s%c%s", dg_plan_string(w->plan, w->record->name), separator, what);
    return text;
}

static dg_onnx_value add_node(struct dg_onnx_builder *b, const char *type, const struct dg_onnx_attr *attr,
                              const dg_onnx_value *input, int num_inputs)
{
    char name[512];
    if (b->err->status != DG_OK) return DG_ONNX_NONE;
    return dg_onnx_graph_add_node(&writing_of(b)->graph, name_of(b, type, '/', name, sizeof name), type, attr, input,
                                  num_inputs, b->err);
}

static dg_onnx_value add_floats(struct dg_onnx_builder *b, const char *what, int ndim, const int64_t *dim,
                                const float *data)
{
    char name[512];
    struct dg_desc shape = ndim ? dg_desc_make(DG_F32, ndim, dim) : dg_desc_scalar(DG_F32);
    if (b->err->status != DG_OK) return DG_ONNX_NONE;
    return dg_onnx_graph_add_constant(&writing_of(b)->graph, name_of(b, what, '.', name, sizeof name), false, &shape,
                                      data, true, b->err);
}

static dg_onnx_value add_ints(struct dg_onnx_builder *b, int ndim, int64_t count, const int64_t *data)
{
    char name[512];
    struct dg_desc shape = ndim ? dg_desc_make(DG_I64, 1, &count) : dg_desc_scalar(DG_I64);
    if (b->err->status != DG_OK) return DG_ONNX_NONE;
    return dg_onnx_graph_add_constant(&writing_of(b)->graph, name_of(b, "whole", '.', name, sizeof name), true, &shape,
                                      data, true, b->err);
}

static struct dg_desc desc_of(const struct dg_plan_tensor *tensor)
{
    struct dg_desc desc = dg_desc_make((enum dg_dtype)tensor->dtype, tensor->ndim, tensor->dim);
    return dg_desc_wide(&desc);
}

/* Makes constants of the parameters that the op reads first. They stay where they are. */
static enum dg_status add_parameters(struct writing *w, struct dg_error *err)
{
    for (uint32_t i = 0; i < w->record->num_inputs; i++) {
        uint32_t t = w->plan->operand[w->record->first_operand + i];
        if (t == DG_PLAN_NONE) continue;
        const struct dg_plan_tensor *tensor = &w->plan->tensor[t];
        dg_onnx_value *value = &w->value[t - w->entry->first_tensor];
        if (tensor->region != DG_REGION_PARAM || *value != DG_ONNX_NONE) continue;
        struct dg_desc desc = desc_of(tensor);
        *value = dg_onnx_graph_add_constant(&w->graph, dg_plan_string(w->plan, tensor->name), desc.dtype == DG_I64,
                                            &desc, dg_session_data(w->source->session, t), false, err);
        if (*value == DG_ONNX_NONE) return err->status;
    }
    return DG_OK;
}

static enum dg_status write_op(struct writing *w, const struct dg_op *op, struct dg_error *err)
{
    const struct dg_plan_op *record = w->record;
    struct dg_desc desc[MAX_OPERANDS];
    dg_onnx_value value[MAX_OPERANDS];
    const void *data[MAX_OPERANDS] = {0};
    bool wanted[DG_MAX_OUTPUTS] = {0};
    uint32_t count = record->num_inputs + record->num_outputs;
    if (count > MAX_OPERANDS) return dg_fail(err, DG_ERR_UNSUPPORTED, "%u operands are too many", count);
    DG_TRY(add_parameters(w, err));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t t = w->plan->operand[record->first_operand + i];
        bool input = i < record->num_inputs;
        desc[i] = t == DG_PLAN_NONE ? DG_ABSENT_DESC : desc_of(&w->plan->tensor[t]);
        value[i] = input && t != DG_PLAN_NONE ? w->value[t - w->entry->first_tensor] : DG_ONNX_NONE;
        if (!input) wanted[i - record->num_inputs] = t != DG_PLAN_NONE;
        if (input && t != DG_PLAN_NONE && w->plan->tensor[t].region == DG_REGION_PARAM)
            data[i] = dg_session_data(w->source->session, t);
    }
    struct dg_op_call call = {.op = op,
                              .attr = w->plan->attr + record->first_attr,
                              .num_inputs = (int)record->num_inputs,
                              .input = desc,
                              .num_outputs = (int)record->num_outputs,
                              .output = desc + record->num_inputs,
                              .output_wanted = wanted};
    struct dg_onnx_builder b = {.call = &call,
                                .input = value,
                                .data = data,
                                .output = value + record->num_inputs,
                                .graph = w,
                                .add_node = add_node,
                                .add_floats = add_floats,
                                .add_ints = add_ints,
                                .err = err};
    for (uint32_t i = 0; i < record->num_inputs; i++) /* a parameter in the place of images is turned as they are */
        if (data[i] && desc[i].ndim == 4 && !dg_op_input_has(op, (int)record->num_inputs, (int)i, DG_PARAM))
            value[i] = dg_onnx_channels_first(&b, value[i], 4);
    op->onnx(&b);
    for (uint32_t o = 0; o < record->num_outputs && err->status == DG_OK; o++) {
        uint32_t t = w->plan->operand[record->first_operand + record->num_inputs + o];
        if (t == DG_PLAN_NONE) continue;
        if (b.output[o] == DG_ONNX_NONE)
            return dg_fail(err, DG_ERR_UNSUPPORTED, "its output %s has no form in ONNX", op->outputs[o].name);
        w->value[t - w->entry->first_tensor] = b.output[o];
    }
    return err->status;
}

static enum dg_status write_ops(struct writing *w, struct dg_error *err)
{
    for (uint32_t n = 0; n < w->entry->num_ops; n++) {
        w->record = &w->plan->op[w->entry->first_op + n];
        const struct dg_op *op = dg_op_find(dg_plan_string(w->plan, w->record->op));
        enum dg_status status = op->onnx && !(w->record->flags & DG_PLAN_OP_TRAIN)
                                    ? write_op(w, op, err)
                                    : dg_fail(err, DG_ERR_UNSUPPORTED, "the op has no form in ONNX");
        if (status == DG_OK) continue;
        dg_error_prefix(err, "%s (%s, %s line %d)", dg_plan_string(w->plan, w->record->name), op->name,
                        dg_plan_string(w->plan, w->record->file), w->record->line);
        return status;
    }
    return DG_OK;
}

/* The output has the entry's name for it: a node that does nothing else gives it. */
static enum dg_status add_ends(struct writing *w, uint32_t in, uint32_t out, struct dg_error *err)
{
    const struct dg_plan_tensor *images = &w->plan->tensor[in], *features = &w->plan->tensor[out];
    int64_t shape[] = {images->dim[0], images->dim[3], images->dim[1], images->dim[2]}, turned[DG_MAX_DIMS];
    dg_onnx_graph_add_input(&w->graph, w->value[in - w->entry->first_tensor], 4, shape);
    memcpy(turned, features->dim, sizeof turned);
    if (features->ndim == 4) {
        turned[1] = features->dim[3];
        turned[2] = features->dim[1];
        turned[3] = features->dim[2];
    }
    dg_onnx_value named = dg_onnx_graph_add_node(&w->graph, "features", "Identity", NULL,
                                                 &w->value[out - w->entry->first_tensor], 1, err);
    if (named == DG_ONNX_NONE) return err->status;
    dg_onnx_graph_add_output(&w->graph, named, features->ndim, turned);
    return DG_OK;
}

static const char *triple(const double v[3], char *text, size_t size)
{
    snprintf(text, size, "%.9g, %.9g, %.9g", v[0], v[1], v[2]);
    return text;
}

/* How an image becomes an input, and what the network is. */
static void add_metadata(struct writing *w, const struct dg_eval_crop *crop)
{
    char text[128];
    struct dg_onnx_graph *g = &w->graph;
    snprintf(text, sizeof text, "%d", crop->resize);
    dg_onnx_graph_add_metadata(g, "image.resize_short_side", text);
    dg_onnx_graph_add_metadata(g, "image.interpolation", "bicubic");
    snprintf(text, sizeof text, "%dx%d", crop->height, crop->width);
    dg_onnx_graph_add_metadata(g, "image.center_crop", text);
    dg_onnx_graph_add_metadata(g, "image.channels", "RGB");
    dg_onnx_graph_add_metadata(g, "image.scale", "1/255");
    dg_onnx_graph_add_metadata(g, "image.mean", triple(crop->mean, text, sizeof text));
    dg_onnx_graph_add_metadata(g, "image.std", triple(crop->std, text, sizeof text));
    struct dg_plan_fact fact;
    for (const char *at = dg_plan_string(w->plan, w->plan->header->facts); (at = dg_plan_next_fact(at, &fact));) {
        char key[128], value[256];
        if (strncmp(fact.key, "network.", 8) && strncmp(fact.key, "computes.module", 15)) continue;
        snprintf(key, sizeof key, "%.*s", fact.key_size, fact.key);
        snprintf(value, sizeof value, "%.*s", fact.value_size, fact.value);
        dg_onnx_graph_add_metadata(g, key, value);
    }
}

static void say(const struct writing *w, const char *path, const struct dg_onnx_written *written,
                const struct dg_eval_crop *crop)
{
    const struct dg_log *log = w->source->log;
    char size[32], mean[128], std[128];
    dg_log(log, DG_LOG_INFO, DG_LOG_LOAD, "%s: ONNX of opset %d, %d nodes, %s; images [batch, 3, %d, %d] to features",
           path, DG_ONNX_OPSET, w->graph.num_nodes, dg_format_bytes(size, sizeof size, (double)written->bytes),
           crop->height, crop->width);
    dg_log(
        log, DG_LOG_INFO, DG_LOG_LOAD,
        "its images: short side resized to %d (bicubic), centre crop, RGB / 255, less the mean %s, divided by %s; the "
        "file's metadata says so",
        crop->resize, triple(crop->mean, mean, sizeof mean), triple(crop->std, std, sizeof std));
    if (written->data_bytes)
        dg_log(log, DG_LOG_INFO, DG_LOG_LOAD,
               "%s.data: its weights, %s, which a file of ONNX cannot hold; keep both together", path,
               dg_format_bytes(size, sizeof size, (double)written->data_bytes));
    if (w->entry->dtype == DG_BF16 || w->entry->math != DG_MATH_F32)
        dg_log(log, DG_LOG_INFO, DG_LOG_LOAD, "the plan computes in %s, the file in f32", dg_plan_type(w->entry));
}

static enum dg_status write_graph(struct writing *w, const char *path, struct dg_error *err)
{
    uint32_t images = w->entry->slot[DG_SLOT_IMAGES], output = w->entry->slot[DG_SLOT_OUTPUT];
    dg_onnx_value input = dg_onnx_graph_add_value(&w->graph, "images", err);
    if (input == DG_ONNX_NONE) return err->status;
    w->value[images - w->entry->first_tensor] = input;
    DG_TRY(write_ops(w, err));
    DG_TRY(add_ends(w, images, output, err));
    struct dg_eval_crop crop = dg_evaluate_crop(w->source->knobs, &w->plan->tensor[images]);
    add_metadata(w, &crop);
    struct dg_onnx_model model = {.name = dg_plan_string(w->plan, w->plan->header->recipe),
                                  .doc =
                                      "images: f32 [batch, 3, height, width], pixels / 255 in RGB, less image.mean and "
                                      "divided by image.std of the metadata.",
                                  .version = w->source->version};
    struct dg_onnx_written written;
    DG_TRY(dg_onnx_graph_write(&w->graph, &model, path, &written, err));
    say(w, path, &written, &crop);
    return DG_OK;
}

enum dg_status dg_export_onnx(const struct dg_export_source *source, const char *path, struct dg_error *err)
{
    struct writing w = {.source = source, .plan = source->plan, .entry = dg_session_entry(source->session)};
    w.value = malloc(w.entry->num_tensors * sizeof *w.value);
    enum dg_status status = w.value ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (uint32_t t = 0; status == DG_OK && t < w.entry->num_tensors; t++) w.value[t] = DG_ONNX_NONE;
    if (status == DG_OK) status = write_graph(&w, path, err);
    dg_onnx_graph_free(&w.graph);
    free(w.value);
    return status;
}

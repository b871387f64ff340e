#include "compiler/plan/emit.h"

#include "compiler/base/string_map.h"
#include "compiler/graph/cost.h"
#include "runtime/base/atomic_file.h"
#include "runtime/plan/view.h"

#include <string.h>

/* A section under construction. */
struct section {
    char *bytes;
    size_t count, capacity, element;
};

struct emitter {
    struct dg_arena *arena;
    struct section section[DG_SECTIONS];
    struct dg_string_map strings; /* to their offsets */
    uint64_t model_hash;
};

/* The entry being written. */
struct writing {
    const struct dg_entry *entry;
    const struct dg_layout *layout;
    uint32_t *tensor; /* by value: its number in the plan, or DG_PLAN_NONE */
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static uint32_t append(struct emitter *e, enum dg_plan_section id, const void *record)
{
    struct section *s = &e->section[id];
    s->bytes = dg_arena_grow(e->arena, s->bytes, s->count * s->element, &s->capacity, 1);
    while (s->capacity < (s->count + 1) * s->element)
        s->bytes = dg_arena_grow(e->arena, s->bytes, s->capacity, &s->capacity, 1);
    memcpy(s->bytes + s->count * s->element, record, s->element);
    return (uint32_t)s->count++;
}

/* Offset of `text` in the string section; equal strings are stored once, "" first. */
static uint32_t string(struct emitter *e, const char *text)
{
    if (!text) text = "";
    const uint32_t *known = dg_string_map_find(&e->strings, text);
    if (known) return *known;
    uint32_t offset = (uint32_t)e->section[DG_SECTION_STRINGS].count;
    dg_string_map_add(e->arena, &e->strings, dg_arena_strdup(e->arena, text), offset);
    for (size_t i = 0; i <= strlen(text); i++) append(e, DG_SECTION_STRINGS, &text[i]);
    return offset;
}

static void emit_tensors(struct emitter *e, const struct writing *w, struct dg_plan_entry *record)
{
    const struct dg_graph *graph = w->entry->graph;
    const struct dg_life *life = w->layout->life;
    const bool *used = w->layout->used;
    record->first_tensor = (uint32_t)e->section[DG_SECTION_TENSORS].count;
    for (uint32_t v = 0, next = record->first_tensor; v < graph->num_values; v++)
        w->tensor[v] = used[v] ? next++ : DG_PLAN_NONE;
    uint32_t end = graph->num_nodes ? graph->num_nodes - 1 : 0;
    for (uint32_t v = 0; v < graph->num_values; v++) {
        if (!used[v]) continue;
        const struct dg_graph_value *value = &graph->value[v];
        const struct dg_life *root = &life[life[v].root];
        struct dg_plan_tensor t = {.name = string(e, dg_value_title(graph, v)),
                                   .dtype = (uint8_t)value->desc.dtype,
                                   .ndim = (uint8_t)value->desc.ndim,
                                   .region = (uint8_t)value->region,
                                   .flags = (uint8_t)(value->flags | (life[v].output ? DG_TENSOR_OUTPUT : 0)),
                                   .offset = root->offset,
                                   .bytes = (uint64_t)dg_desc_bytes(&value->desc),
                                   .first = life[v].first,
                                   .last = life[v].last,
                                   .root = w->tensor[life[v].root],
                                   .init_kind = value->init_kind,
                                   .init_from =
                                       value->init_from == DG_PLAN_NONE ? DG_PLAN_NONE : w->tensor[value->init_from],
                                   .init_value = value->init_value,
                                   .control = string(e, value->control)};
        if (graph->value[life[v].root].region != DG_REGION_STEP) { /* a view of an input lives where that does */
            t.region = (uint8_t)graph->value[life[v].root].region;
            t.first = 0;
            t.last = end;
        }
        memcpy(t.dim, value->desc.dim, sizeof(int64_t) * (size_t)value->desc.ndim);
        append(e, DG_SECTION_TENSORS, &t);
        record->num_tensors++;
        if (value->region == DG_REGION_PARAM) {
            e->model_hash = dg_fnv1a(e->model_hash, value->name, strlen(value->name) + 1);
            e->model_hash = dg_fnv1a(e->model_hash, t.dim, sizeof t.dim);
        }
    }
}

static void emit_ops(struct emitter *e, const struct writing *w, struct dg_plan_entry *record)
{
    struct dg_graph *graph = w->entry->graph;
    const struct dg_life *life = w->layout->life;
    record->first_op = (uint32_t)e->section[DG_SECTION_OPS].count;
    record->num_ops = graph->num_nodes;
    record->first_commit = graph->num_nodes;
    record->slices = (uint32_t)graph->slices;
    dg_graph_loop(graph, &record->loop_first, &record->loop_ops);
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        if (node->role == DG_ROLE_COMMIT && record->first_commit == graph->num_nodes) record->first_commit = n;
        struct dg_plan_op op = {.op = string(e, node->op->name),
                                .name = string(e, dg_node_title(graph, node)),
                                .label = string(e, dg_node_label(graph, node)),
                                .file = string(e, node->origin.file ? base_name(node->origin.file) : ""),
                                .line = node->origin.line,
                                .column = node->origin.column,
                                .first_operand = (uint32_t)e->section[DG_SECTION_OPERANDS].count,
                                .num_inputs = (uint32_t)node->num_inputs,
                                .num_outputs = (uint32_t)node->num_outputs,
                                .first_attr = (uint32_t)e->section[DG_SECTION_ATTRS].count,
                                .num_attrs = (uint32_t)dg_op_num_attrs(node->op),
                                .flags = (node->train ? DG_PLAN_OP_TRAIN : 0) |
                                         (dg_node_ranks(graph, node) > 1 ? DG_PLAN_OP_JOINED : 0) |
                                         (w->entry->constant_params ? DG_PLAN_OP_CONSTANT_PARAMS : 0),
                                .stream = node->stream,
                                .view0 = node->rows.view0,
                                .batch = node->rows.batch};
        for (int i = 0; i < node->num_inputs + node->num_outputs; i++) {
            int o = i - node->num_inputs;
            dg_value v = o < 0 ? node->input[i] : node->output[o];
            bool gone = v == DG_NO_VALUE || (o >= 0 && dg_output_absent(node, o, life));
            uint32_t tensor = gone ? DG_PLAN_NONE : w->tensor[v];
            if (!gone) op.bytes += dg_graph_bytes(graph, node, i);
            append(e, DG_SECTION_OPERANDS, &tensor);
        }
        for (uint32_t a = 0; a < op.num_attrs; a++) append(e, DG_SECTION_ATTRS, &node->attr[a]);
        struct dg_cost cost = dg_graph_cost(graph, node);
        op.flops = cost.flops;
        op.useful = node->role == DG_ROLE_RECOMPUTED ? 0 : cost.useful;
        if (node->phase == DG_PHASE_LOOP) op.bytes *= (double)graph->slices;
        append(e, DG_SECTION_OPS, &op);
    }
}

static uint32_t emit_values(struct emitter *e, const struct writing *w, const dg_value *value, int count)
{
    uint32_t first = (uint32_t)e->section[DG_SECTION_OPERANDS].count;
    for (int i = 0; i < count; i++) append(e, DG_SECTION_OPERANDS, &w->tensor[value[i]]);
    return first;
}

static void emit_slots(struct emitter *e, const struct writing *w, struct dg_plan_entry *record)
{
    dg_value list[DG_SLOTS];
    record->num_inputs = (uint32_t)dg_entry_inputs(w->entry, list);
    record->first_input = emit_values(e, w, list, (int)record->num_inputs);
    record->num_outputs = (uint32_t)dg_entry_outputs(w->entry, list);
    record->first_output = emit_values(e, w, list, (int)record->num_outputs);
    for (int s = 0; s < DG_SLOTS; s++) {
        dg_value value = w->entry->slots.of[s];
        record->slot[s] = value == DG_NO_VALUE ? DG_PLAN_NONE : w->tensor[value];
    }
}

static void emit_entry(struct emitter *e, const struct dg_entry *entry, const struct dg_layout *layout)
{
    struct writing w = {entry, layout,
                        dg_arena_alloc(e->arena, ((size_t)entry->graph->num_values + 1) * sizeof *w.tensor)};
    struct dg_plan_entry record = {.name = string(e, dg_entry_name(entry->role)),
                                   .bind = string(e, entry->bind),
                                   .batch = (uint32_t)entry->batch,
                                   .ranks = (uint32_t)entry->ranks,
                                   .dtype = entry->bf16 ? DG_BF16 : DG_F32,
                                   .math = entry->math,
                                   .step_bound = layout->step.bound,
                                   .step_naive = layout->step.naive};
    memcpy(record.region_bytes, layout->bytes, sizeof record.region_bytes);
    emit_tensors(e, &w, &record);
    emit_ops(e, &w, &record);
    emit_slots(e, &w, &record);
    append(e, DG_SECTION_ENTRIES, &record);
    e->model_hash = dg_fnv1a(e->model_hash, &record.batch, sizeof record.batch);
}

static enum dg_status write_file(struct emitter *e, const struct dg_emit_input *in, const char *path,
                                 uint64_t *file_size, struct dg_error *err)
{
    struct dg_plan_header header = {
        .version = DG_PLAN_VERSION,
        .endian = DG_PLAN_ENDIAN,
        .recipe = string(e, in->recipe),
        .source = string(e, dg_arena_printf(e->arena, "%s%s", base_name(in->source), in->settings ? in->settings : "")),
        .facts = string(e, in->facts),
        .description = string(e, in->description),
        .model_hash = e->model_hash,
        .kind = (uint32_t)in->kind};
    for (int r = 0; r < DG_ENTRY_ROLES; r++) header.entry[r] = DG_PLAN_NONE;
    for (int i = 0; i < in->num_entries; i++) header.entry[in->entry[i].role] = (uint32_t)i;
    memcpy(header.magic, DG_PLAN_MAGIC, sizeof header.magic);
    uint64_t size = sizeof header;
    for (int s = 0; s < DG_SECTIONS; s++) {
        header.section[s].offset = size;
        header.section[s].count = e->section[s].count;
        size = (uint64_t)dg_round_up((int64_t)(size + e->section[s].count * e->section[s].element), 8);
    }
    header.size = *file_size = size;
    if (!path) return DG_OK;
    char *bytes = dg_arena_alloc(e->arena, size);
    for (int s = 0; s < DG_SECTIONS; s++)
        if (e->section[s].count)
            memcpy(bytes + header.section[s].offset, e->section[s].bytes, e->section[s].count * e->section[s].element);
    memcpy(bytes, &header, sizeof header);
    header.checksum = dg_fnv1a(DG_FNV_BASIS, bytes, size); /* with the field still zero */
    memcpy(bytes, &header, sizeof header);

    struct dg_atomic_file file;
    DG_TRY(dg_atomic_open(path, &file, err));
    fwrite(bytes, 1, size, file.stream);
    return dg_atomic_commit(&file, err);
}

enum dg_status dg_plan_emit(struct dg_arena *arena, const struct dg_emit_input *in, const char *path, uint64_t *size,
                            struct dg_error *err)
{
    static const size_t element[DG_SECTIONS] = {1,
                                                sizeof(struct dg_plan_entry),
                                                sizeof(struct dg_plan_tensor),
                                                sizeof(struct dg_plan_op),
                                                sizeof(uint32_t),
                                                sizeof(union dg_attr),
                                                sizeof(struct dg_plan_knob),
                                                sizeof(struct dg_plan_schedule)};
    struct emitter e = {.arena = arena, .model_hash = DG_FNV_BASIS};
    for (int s = 0; s < DG_SECTIONS; s++) e.section[s].element = element[s];
    string(&e, "");
    for (int i = 0; i < in->num_entries; i++) {
        uint64_t hash = e.model_hash;
        emit_entry(&e, &in->entry[i], &in->layout[i]);
        if (i) e.model_hash = hash; /* the first entry is the model; others only look at it */
    }
    for (int k = 0; k < in->num_knobs; k++) {
        struct dg_plan_knob knob = in->knob[k];
        knob.key = string(&e, in->knob_key[k]);
        append(&e, DG_SECTION_KNOBS, &knob);
    }
    for (int s = 0; s < in->num_schedules; s++) {
        struct dg_plan_schedule schedule = in->schedule[s];
        schedule.key = string(&e, in->schedule_key[s]);
        append(&e, DG_SECTION_SCHEDULES, &schedule);
        e.model_hash = dg_fnv1a(e.model_hash, &schedule.curve, sizeof schedule.curve);
    }
    return write_file(&e, in, path, size, err);
}

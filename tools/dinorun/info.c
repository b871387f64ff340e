/* dinorun info: prints the entries, shapes, memory, operations and knobs of a plan. */
#include "tools/dinorun/command.h"
#include "tools/dinorun/json.h"

#include "runtime/draw/memory_map.h"

#include <inttypes.h>
#include <stdio.h>

static struct {
    const char *plan, *entry, *memory_map;
    bool ops, layout;
    struct json_output json;
} given;

struct totals {
    int64_t params, tensors; /* numbers of all parameters; how many there are */
    double flops;
};

static struct totals totals_of(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    struct totals totals = {0};
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan->tensor[t];
        if (tensor->region != DG_REGION_PARAM) continue;
        totals.tensors++;
        totals.params += (int64_t)(tensor->bytes / (uint64_t)dg_dtype_size((enum dg_dtype)tensor->dtype));
    }
    for (uint32_t n = entry->first_op; n < entry->first_op + entry->num_ops; n++) totals.flops += plan->op[n].flops;
    return totals;
}

static void print_entry(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    char text[32];
    struct totals totals = totals_of(plan, entry);
    printf("entry %s: batch %u, %s, %u operations, %.1f GFLOP\n", dg_plan_string(plan, entry->name), entry->batch,
           dg_plan_type(entry), entry->num_ops, totals.flops / 1e9);
    if (entry->slices > 1)
        printf("  %-14s %u of %u images: operations %u to %u run once for each\n", "slices", entry->slices,
               entry->batch / entry->slices, entry->loop_first, entry->loop_first + entry->loop_ops - 1);
    if (dg_plan_is_coupled(plan, entry))
        printf("  %-14s %u, no more and no fewer: operations see the rows of all\n", "processes", entry->ranks);
    for (int side = 0; side < 2; side++) {
        uint32_t first = side ? entry->first_output : entry->first_input,
                 count = side ? entry->num_outputs : entry->num_inputs;
        for (uint32_t i = 0; i < count; i++) {
            const struct dg_plan_tensor *tensor = &plan->tensor[plan->operand[first + i]];
            struct dg_desc desc = dg_desc_make((enum dg_dtype)tensor->dtype, tensor->ndim, tensor->dim);
            char shape[96];
            printf("  %-14s %-24s %s\n", side ? "output" : "input", dg_plan_string(plan, tensor->name),
                   dg_desc_text(shape, sizeof shape, &desc));
        }
    }
    printf("  %-14s %" PRId64 " numbers in %" PRId64 " tensors, %s\n", "parameters", totals.params, totals.tensors,
           dg_format_bytes(text, sizeof text, (double)entry->region_bytes[DG_REGION_PARAM]));
    if (entry->region_bytes[DG_REGION_STATE])
        printf("  %-14s %s\n", "optimiser",
               dg_format_bytes(text, sizeof text, (double)entry->region_bytes[DG_REGION_STATE]));
    printf("  %-14s %s", "activations",
           dg_format_bytes(text, sizeof text, (double)entry->region_bytes[DG_REGION_STEP]));
    printf(" (lower bound %s", dg_format_bytes(text, sizeof text, (double)entry->step_bound));
    printf(", without sharing %s)\n", dg_format_bytes(text, sizeof text, (double)entry->step_naive));
    printf("  %-14s %s\n", "inputs", dg_format_bytes(text, sizeof text, (double)entry->region_bytes[DG_REGION_INPUT]));
}

static void print_knobs(const struct dg_plan *plan)
{
    static const char *const curves[] = {"", "constant", "cosine", "linear", "until", "once an epoch", "step"};
    if (plan->num_schedules) printf("schedules\n");
    for (uint32_t s = 0; s < plan->num_schedules; s++)
        if (plan->schedule[s].curve != DG_CURVE_CONSTANT)
            printf("  %-36s %s, per %s\n", dg_plan_string(plan, plan->schedule[s].key), curves[plan->schedule[s].curve],
                   plan->schedule[s].per_epoch ? "epoch" : "step");
    if (plan->num_knobs) printf("knobs (--set key=value)\n");
    for (uint32_t k = 0; k < plan->num_knobs; k++) {
        const struct dg_plan_knob *knob = &plan->knob[k];
        char value[64];
        printf("  %-36s %-24s %g .. %g\n", dg_plan_string(plan, knob->key),
               dg_knob_text(value, sizeof value, knob, 10, true), knob->min, knob->max);
    }
}

static void print_ops(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    printf("\n%5s  %-40s %-24s %-26s %10s %10s  %s\n", "op", "node", "operation", "in", "GFLOP", "MB", "from");
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        const struct dg_plan_op *op = &plan->op[entry->first_op + n];
        printf("%5u  %-40s %-24s %-26s %10.3f %10.2f  %s:%d\n", n, dg_plan_string(plan, op->name),
               dg_plan_string(plan, op->op), dg_plan_string(plan, op->label), op->flops / 1e9, op->bytes / 1e6,
               dg_plan_string(plan, op->file), op->line);
    }
}

static void print_attributes(const struct dg_plan *plan, const struct dg_plan_op *record)
{
    const struct dg_op *op = dg_op_find(dg_plan_string(plan, record->op));
    for (uint32_t a = 0; a < record->num_attrs; a++) {
        const union dg_attr *attr = &plan->attr[record->first_attr + a];
        if (op->attrs[a].type == DG_ATTR_FLOAT)
            printf(" %s=%.17g", op->attrs[a].name, attr->f);
        else
            printf(" %s=%" PRId64, op->attrs[a].name, attr->i);
    }
}

static void print_operand(const struct dg_plan *plan, const char *role, uint32_t t)
{
    static const char *const regions[] = {"param", "state", "step", "input"};
    if (t == DG_PLAN_NONE) {
        printf("    %-3s -\n", role);
        return;
    }
    const struct dg_plan_tensor *tensor = &plan->tensor[t];
    struct dg_desc desc = dg_desc_make((enum dg_dtype)tensor->dtype, tensor->ndim, tensor->dim);
    char shape[96];
    printf("    %-3s %-5s %12" PRIu64 " + %-11" PRIu64 " %s %s\n", role, regions[tensor->region], tensor->offset,
           tensor->bytes, dg_desc_text(shape, sizeof shape, &desc), dg_plan_string(plan, tensor->name));
}

/* Every operation with its attributes, and where in memory its inputs and outputs lie. */
static void print_layout(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    printf("\nentry %s: bytes of parameters %" PRIu64 ", state %" PRIu64 ", step (its peak) %" PRIu64
           ", inputs %" PRIu64 "\n",
           dg_plan_string(plan, entry->name), entry->region_bytes[DG_REGION_PARAM],
           entry->region_bytes[DG_REGION_STATE], entry->region_bytes[DG_REGION_STEP],
           entry->region_bytes[DG_REGION_INPUT]);
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        const struct dg_plan_op *op = &plan->op[entry->first_op + n];
        printf("%5u %s, %s, %s;", n, dg_plan_string(plan, op->op), dg_plan_string(plan, op->name),
               dg_plan_string(plan, op->label));
        print_attributes(plan, op);
        printf(" stream=%016" PRIx64 " view0=%d batch=%d slices=%" PRId64 "\n", op->stream, op->view0, op->batch,
               dg_plan_slices(entry, n));
        for (uint32_t i = 0; i < op->num_inputs + op->num_outputs; i++)
            print_operand(plan, i < op->num_inputs ? "in" : "out", plan->operand[op->first_operand + i]);
    }
}

/* ---- --json ---- */

static json_t *tensors_of(const struct dg_plan *plan, uint32_t first, uint32_t count)
{
    json_t *tensors = json_array();
    for (uint32_t i = 0; i < count; i++) {
        const struct dg_plan_tensor *tensor = &plan->tensor[plan->operand[first + i]];
        json_t *shape = json_array();
        for (int d = 0; d < tensor->ndim; d++) json_array_append_new(shape, json_integer(tensor->dim[d]));
        json_array_append_new(tensors,
                              json_pack("{s:o, s:s, s:o}", "name", dg_json_text(dg_plan_string(plan, tensor->name)),
                                        "type", dg_dtype_name((enum dg_dtype)tensor->dtype), "shape", shape));
    }
    return tensors;
}

static json_t *ops_of(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    json_t *ops = json_array();
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        const struct dg_plan_op *op = &plan->op[entry->first_op + n];
        json_array_append_new(ops, json_pack("{s:o, s:o, s:o, s:o, s:i, s:f, s:f}", "op",
                                             dg_json_text(dg_plan_string(plan, op->op)), "node",
                                             dg_json_text(dg_plan_string(plan, op->name)), "application",
                                             dg_json_text(dg_plan_string(plan, op->label)), "file",
                                             dg_json_text(dg_plan_string(plan, op->file)), "line", op->line, "flops",
                                             op->flops, "bytes", op->bytes));
    }
    return ops;
}

/* The numbers that print_entry prints; memory in bytes. */
static json_t *entry_of(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    struct totals totals = totals_of(plan, entry);
    json_t *memory = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I}", "parameters", (json_int_t)entry->region_bytes[DG_REGION_PARAM], "optimiser",
        (json_int_t)entry->region_bytes[DG_REGION_STATE], "activations",
        (json_int_t)entry->region_bytes[DG_REGION_STEP], "lower_bound", (json_int_t)entry->step_bound,
        "without_sharing", (json_int_t)entry->step_naive, "inputs", (json_int_t)entry->region_bytes[DG_REGION_INPUT]);
    json_t *object = json_pack("{s:o, s:i, s:i, s:s, s:i, s:f, s:I, s:I, s:o, s:o, s:o}", "name",
                               dg_json_text(dg_plan_string(plan, entry->name)), "batch", (int)entry->batch, "slices",
                               (int)entry->slices, "type", dg_plan_type(entry), "operations", (int)entry->num_ops,
                               "flops", totals.flops, "parameters", (json_int_t)totals.params, "parameter_tensors",
                               (json_int_t)totals.tensors, "memory", memory, "inputs",
                               tensors_of(plan, entry->first_input, entry->num_inputs), "outputs",
                               tensors_of(plan, entry->first_output, entry->num_outputs));
    if (given.ops) json_object_set_new(object, "ops", ops_of(plan, entry));
    return object;
}

static json_t *knobs_of(const struct dg_plan *plan)
{
    json_t *knobs = json_array();
    for (uint32_t k = 0; k < plan->num_knobs; k++) {
        const struct dg_plan_knob *knob = &plan->knob[k];
        char value[64];
        json_array_append_new(knobs,
                              json_pack("{s:o, s:s, s:o, s:o}", "key", dg_json_text(dg_plan_string(plan, knob->key)),
                                        "value", dg_knob_text(value, sizeof value, knob, 17, true), "min",
                                        json_number(knob->min), "max", json_number(knob->max)));
    }
    return knobs;
}

static json_t *plan_of(const struct dg_plan *plan, const struct dg_plan_entry *only)
{
    char model[32];
    json_t *entries = json_array();
    for (uint32_t e = 0; e < plan->num_entries; e++)
        if (!only || only == &plan->entry[e]) json_array_append_new(entries, entry_of(plan, &plan->entry[e]));
    snprintf(model, sizeof model, "%016" PRIx64, plan->header->model_hash);
    return json_pack("{s:o, s:o, s:s, s:o, s:o}", "recipe", dg_json_text(dg_plan_string(plan, plan->header->recipe)),
                     "source", dg_json_text(dg_plan_string(plan, plan->header->source)), "model", model, "entries",
                     entries, "knobs", knobs_of(plan));
}

static void print_text(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    printf("%s, from %s; model %016" PRIx64 "\n", dg_plan_string(plan, plan->header->recipe),
           dg_plan_string(plan, plan->header->source), plan->header->model_hash);
    for (uint32_t e = 0; e < plan->num_entries; e++)
        if (!given.entry || entry == &plan->entry[e]) print_entry(plan, &plan->entry[e]);
    if (!given.entry) print_knobs(plan);
    if (given.ops) print_ops(plan, entry);
    for (uint32_t e = 0; given.layout && e < plan->num_entries; e++)
        if (!given.entry || entry == &plan->entry[e]) print_layout(plan, &plan->entry[e]);
}

static enum dg_status print_plan(struct dg_model_source *source, struct dg_plan *plan, struct dg_error *err)
{
    DG_TRY(dg_model_source_open(given.plan, source, err));
    DG_TRY(dg_model_open_plan(source, plan, err));
    const struct dg_plan_entry *entry = plan->entry;
    if (given.entry) DG_TRY(dg_plan_find_entry(plan, given.entry, &entry, err));
    if (given.json.asked)
        DG_TRY(json_write(&given.json, plan_of(plan, given.entry ? entry : NULL), err));
    else
        print_text(plan, entry);
    if (!given.memory_map) return DG_OK;
    DG_TRY(dg_memory_map(plan, entry, given.memory_map, err));
    printf("%s: the step's memory over time\n", given.memory_map);
    return DG_OK;
}

static int info(void)
{
    struct dg_error err = {0};
    struct dg_model_source source = {0};
    struct dg_plan plan = {0};
    if (json_open(&given.json, &err) == DG_OK) print_plan(&source, &plan, &err);
    dg_plan_close(&plan);
    dg_model_source_close(&source);
    json_close(&given.json);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {"entry", "NAME", "describe only this entry", .text = &given.entry, .unset = "all"},
    {"ops", NULL, "all operations of the entry (else of the plan's first) in their order", .given = &given.ops},
    {"layout", NULL, "all operations with their inputs and outputs: region, offset + bytes, shape, name",
     .given = &given.layout, .without = "json"},
    {"memory-map", "F.svg", "draw the entry's planned memory: operations to the right, bytes upwards",
     .text = &given.memory_map},
    {"json", NULL, "print it as JSON", .given = &given.json.asked},
    {0}};

const struct dg_command command_info = {.program = "dinorun",
                                        .name = "info",
                                        .summary = "says what is in a plan: entries, shapes, memory, knobs",
                                        .file = {.name = NETWORK, .value = &given.plan},
                                        .flags = flags,
                                        .run = info};

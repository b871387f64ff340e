/* Verifies the records of a plan. Every count, index, string, enum and byte range is checked here, in the order in which later
 * checks rely on earlier ones; a failing check names the record and what is wrong with it. */
#include "runtime/plan/verify.h"

#include "runtime/plan/overlap.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum dg_status bad(struct dg_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
static enum dg_status bad(struct dg_error *err, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return dg_fail(err, DG_ERR_INPUT, "damaged plan: %s; compile it again", text);
}

static bool string_ok(const struct dg_plan *plan, uint32_t offset) { return offset < plan->num_string_bytes; }

/* [first, first + count) within total, without overflow. */
static bool range_ok(uint64_t first, uint64_t count, uint64_t total)
{
    return first <= total && count <= total - first;
}

/* --- one tensor --- */

static enum dg_status check_tensor(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t index,
                                   struct dg_error *err)
{
    const struct dg_plan_tensor *t = &plan->tensor[index];
    if (!string_ok(plan, t->name) || !string_ok(plan, t->control)) return bad(err, "tensor %u has no name", index);
    const char *name = dg_plan_string(plan, t->name);
    if (t->region >= DG_REGIONS || t->ndim > DG_MAX_DIMS)
        return bad(err, "tensor %u (%s): bad region or rank", index, name);
    struct dg_desc desc = dg_desc_make((enum dg_dtype)t->dtype, t->ndim, t->dim);
    if (!dg_desc_valid(&desc) || (uint64_t)dg_desc_bytes(&desc) > t->bytes)
        return bad(err, "tensor %u (%s): bad shape", index, name);
    if (t->offset % DG_PLAN_ALIGN || !range_ok(t->offset, t->bytes, entry->region_bytes[t->region]))
        return bad(err, "tensor %u (%s) lies outside its region", index, name);
    if (t->first > t->last || (entry->num_ops && t->last >= entry->num_ops))
        return bad(err, "tensor %u (%s): bad lifetime", index, name);
    if (t->root < entry->first_tensor || t->root - entry->first_tensor >= entry->num_tensors)
        return bad(err, "tensor %u (%s): bad root", index, name);
    const struct dg_plan_tensor *root = &plan->tensor[t->root];
    if (root->root != t->root || root->region != t->region || root->offset != t->offset || root->bytes < t->bytes ||
        (t->root != index && (t->region != DG_REGION_STEP && t->region != DG_REGION_INPUT)))
        return bad(err, "tensor %u (%s) does not lie where its root does", index, name);
    bool random = t->init_kind >= DG_INIT_UNIFORM && t->init_kind <= DG_INIT_TRUNC_NORMAL;
    if (!isfinite(t->init_value)) return bad(err, "tensor %u (%s): bad initial value", index, name);
    if (t->region == DG_REGION_PARAM || t->region == DG_REGION_STATE) {
        if (t->init_kind == DG_INIT_COPY) {
            if (t->init_from < entry->first_tensor || t->init_from - entry->first_tensor >= entry->num_tensors ||
                plan->tensor[t->init_from].bytes != t->bytes || plan->tensor[t->init_from].region != DG_REGION_PARAM)
                return bad(err, "tensor %u (%s): bad source of its initial value", index, name);
        } else if (t->init_kind != DG_INIT_CONSTANT && !random) {
            return bad(err, "tensor %u (%s): bad initialiser", index, name);
        }
        if ((random || (t->init_value != 0 && t->init_kind == DG_INIT_CONSTANT)) && t->dtype != DG_F32)
            return bad(err, "tensor %u (%s): bad initialiser for its type", index, name);
    }
    if (t->control && (t->region != DG_REGION_INPUT || t->dtype != DG_F64 || t->ndim))
        return bad(err, "tensor %u (%s): a control must be an f64 scalar", index, name);
    return DG_OK;
}

/* --- one op --- */

/* An op of an entry with what its checks look at; operands are inputs, then outputs. */
struct op_view {
    const struct dg_plan *plan;
    const struct dg_plan_entry *entry;
    uint32_t n; /* counted from the entry's first op */
    const struct dg_plan_op *record;
    const struct dg_op *op;
    struct dg_desc *input; /* of the inputs; ndim -1 for absent ones */
    struct dg_op_call call;
};

static enum dg_status bad_op(const struct op_view *v, struct dg_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static enum dg_status bad_op(const struct op_view *v, struct dg_error *err, const char *format, ...)
{
    char text[384];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return bad(err, "op %u (%s, %s): %s", v->n, dg_plan_string(v->plan, v->record->name), v->op->name, text);
}

static uint32_t operand_of(const struct op_view *v, uint32_t i)
{
    return v->plan->operand[v->record->first_operand + i];
}

static struct dg_desc desc_of(const struct dg_plan_tensor *t)
{
    return dg_desc_make((enum dg_dtype)t->dtype, t->ndim, t->dim);
}

static enum dg_status check_names(const struct op_view *v, struct dg_error *err)
{
    const struct dg_plan *plan = v->plan;
    const struct dg_plan_op *record = v->record;
    if (!string_ok(plan, record->op) || !string_ok(plan, record->name) || !string_ok(plan, record->label) ||
        !string_ok(plan, record->file))
        return bad(err, "op %u has no name", v->n);
    if (!v->op)
        return bad(err, "op %u (%s): no op is called %s", v->n, dg_plan_string(plan, record->name),
                   dg_plan_string(plan, record->op));
    return DG_OK;
}

static enum dg_status check_counts(const struct op_view *v, struct dg_error *err)
{
    const struct dg_plan_op *record = v->record;
    uint64_t operands = (uint64_t)record->num_inputs + record->num_outputs;
    if (!range_ok(record->first_operand, operands, v->plan->num_operands) || record->num_inputs > 1u << 20 ||
        !dg_op_takes(v->op, (int)record->num_inputs) || record->num_outputs != (uint32_t)dg_op_num_outputs(v->op))
        return bad_op(v, err, "wrong number of operands");
    if (!range_ok(record->first_attr, record->num_attrs, v->plan->num_attrs) ||
        record->num_attrs != (uint32_t)dg_op_num_attrs(v->op))
        return bad_op(v, err, "wrong number of attributes");
    if (record->batch < 0 || record->view0 < 0 || record->flags > DG_PLAN_OP_ALL) return bad_op(v, err, "bad position");
    if (record->flags & DG_PLAN_OP_JOINED &&
        (!v->op->joins || !(record->flags & DG_PLAN_OP_TRAIN) || v->entry->ranks < 2 ||
         v->entry->ranks != v->entry->slices || dg_plan_slices(v->entry, v->n) < 2))
        return bad_op(v, err, "it cannot see rows of other processes");
    return DG_OK;
}

static enum dg_status check_attributes(const struct op_view *v, struct dg_error *err)
{
    for (uint32_t a = 0; a < v->record->num_attrs; a++) {
        const struct dg_attr_spec *spec = &v->op->attrs[a];
        union dg_attr attr = v->plan->attr[v->record->first_attr + a];
        double value = spec->type == DG_ATTR_FLOAT ? attr.f : (double)attr.i;
        if (spec->type != DG_ATTR_PARAM && !(value >= spec->min && value <= spec->max))
            return bad_op(v, err, "attribute %s is out of bounds", spec->name);
    }
    return DG_OK;
}

/* May the op write operand i, which lies in `region`? */
static bool may_write(const struct op_view *v, uint32_t i, uint32_t region)
{
    bool lasting = region == DG_REGION_PARAM || region == DG_REGION_STATE;
    if (i < v->record->num_inputs)
        return !dg_op_input_has(v->op, v->call.num_inputs, (int)i, DG_UPDATED) ||
               (lasting && v->n >= v->entry->first_commit);
    bool view = dg_is_view(&v->op->outputs[i - v->record->num_inputs]);
    return region == DG_REGION_STEP || (region == DG_REGION_INPUT && view);
}

/* Each operand belongs to the entry, is in memory while the op runs, and is written only where that is allowed. */
static enum dg_status check_operands(const struct op_view *v, struct dg_error *err)
{
    const struct dg_plan *plan = v->plan;
    for (uint32_t i = 0; i < v->record->num_inputs + v->record->num_outputs; i++) {
        uint32_t t = operand_of(v, i);
        bool is_input = i < v->record->num_inputs;
        if (t == DG_PLAN_NONE) { /* inputs that must be there: dg_op_infer */
            const struct dg_operand *output = is_input ? NULL : &v->op->outputs[i - v->record->num_inputs];
            if (output && !dg_is_optional_output(output)) return bad_op(v, err, "output %s is missing", output->name);
            continue;
        }
        if (t < v->entry->first_tensor || t - v->entry->first_tensor >= v->entry->num_tensors)
            return bad_op(v, err, "operand of another entry");
        const struct dg_plan_tensor *tensor = &plan->tensor[t], *root = &plan->tensor[tensor->root];
        const char *name = dg_plan_string(plan, tensor->name);
        if (root->first > v->n || root->last < v->n) return bad_op(v, err, "it uses %s outside its lifetime", name);
        if (!may_write(v, i, tensor->region)) return bad_op(v, err, "it writes %s where it must not", name);
        if (is_input) v->input[i] = desc_of(tensor);
    }
    return DG_OK;
}

/* The op infers its outputs from its inputs again; the plan must say the same. */
static enum dg_status check_shapes(const struct op_view *v, struct dg_error *err)
{
    struct dg_desc output[DG_MAX_OUTPUTS] = {{0}};
    struct dg_error why = {0};
    if (dg_op_infer(&v->call, output, &why) != DG_OK) return bad_op(v, err, "%s", why.text);
    for (uint32_t o = 0; o < v->record->num_outputs; o++) {
        uint32_t t = operand_of(v, v->record->num_inputs + o);
        if (!dg_desc_valid(&output[o])) return bad_op(v, err, "output too large");
        if (t == DG_PLAN_NONE) continue;
        struct dg_desc stored = desc_of(&v->plan->tensor[t]);
        if (!dg_op_stores(&v->call, (int)o, &output[o], &stored))
            return bad_op(v, err, "output %s has the wrong shape or type", v->op->outputs[o].name);
    }
    return DG_OK;
}

static bool has_row_map(const struct op_view *v)
{
    int i = dg_op_row_map(v->op);
    return i >= 0 && !dg_absent(&v->input[i]);
}

/* A view does no work, so its bytes must be its source's. Any other output shares bytes only with the input that its op can
 * overwrite. */
static enum dg_status check_sharing(const struct op_view *v, struct dg_error *err)
{
    for (uint32_t o = 0; o < v->record->num_outputs; o++) {
        const struct dg_operand *output = &v->op->outputs[o];
        uint32_t t = operand_of(v, v->record->num_inputs + o), from = DG_PLAN_NONE;
        if (t == DG_PLAN_NONE) continue;
        const struct dg_plan_tensor *tensor = &v->plan->tensor[t];
        int source = dg_reused_input(output);
        if (source >= 0 && source < v->call.num_inputs) from = operand_of(v, (uint32_t)source);
        bool shares = from != DG_PLAN_NONE && !dg_op_moves(v->op, has_row_map(v), source, (int)o) &&
                      v->plan->tensor[from].root == tensor->root && v->plan->tensor[from].dtype == tensor->dtype;
        if ((dg_is_view(output) || tensor->root != t) && !shares)
            return bad_op(v, err, "output %s lies in the wrong place", output->name);
    }
    return DG_OK;
}

static enum dg_status check_one(struct op_view *v, struct dg_error *err)
{
    DG_TRY(check_attributes(v, err));
    DG_TRY(check_operands(v, err));
    DG_TRY(check_shapes(v, err));
    return check_sharing(v, err);
}

static enum dg_status check_op(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t n,
                               struct dg_error *err)
{
    const struct dg_plan_op *record = &plan->op[entry->first_op + n];
    struct op_view v = {.plan = plan, .entry = entry, .n = n, .record = record};
    if (string_ok(plan, record->op)) v.op = dg_op_find(dg_plan_string(plan, record->op));
    DG_TRY(check_names(&v, err));
    DG_TRY(check_counts(&v, err));
    v.input = calloc(record->num_inputs + 1, sizeof *v.input);
    if (!v.input) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; i < record->num_inputs; i++) v.input[i] = DG_ABSENT_DESC;
    v.call = (struct dg_op_call){.op = v.op,
                                 .attr = plan->attr + record->first_attr,
                                 .num_inputs = (int)record->num_inputs,
                                 .input = v.input,
                                 .train = record->flags & DG_PLAN_OP_TRAIN,
                                 .slices = dg_plan_slices(entry, n),
                                 .ranks = dg_plan_op_ranks(entry, record),
                                 .bf16 = entry->dtype == DG_BF16,
                                 .math = (enum dg_math)entry->math};
    enum dg_status status = check_one(&v, err);
    free(v.input);
    return status;
}

/* --- one entry --- */

/* What the ops of an entry have made so far, by a tensor's place in the entry. */
struct makers {
    const struct dg_plan *plan;
    const struct dg_plan_entry *entry;
    const struct dg_op **of; /* the op; NULL: none yet */
    uint32_t *rows;          /* the row map by whose images the tensor is packed; DG_PLAN_NONE: it has all */
};

/* The row map by which an operand of the op is packed; DG_PLAN_NONE: it has all images. */
static uint32_t row_map_of(const struct dg_plan *plan, const struct dg_plan_op *record, const struct dg_op *op,
                           const struct dg_operand *operand)
{
    int i = dg_operand_row_map(op, operand);
    return i < 0 ? DG_PLAN_NONE : plan->operand[record->first_operand + (uint32_t)i];
}

/* An op reads tensors that were made before it, by the row map by which they were packed. A row map indexes memory, so only an op
 * that draws one may have made it. */
static enum dg_status check_reads(const struct makers *made, uint32_t n, struct dg_error *err)
{
    const struct dg_plan *plan = made->plan;
    const struct dg_plan_op *record = &plan->op[made->entry->first_op + n];
    const struct dg_op *op = dg_op_find(dg_plan_string(plan, record->op));
    for (uint32_t i = 0; i < record->num_inputs; i++) {
        uint32_t t = plan->operand[record->first_operand + i];
        if (t == DG_PLAN_NONE) continue;
        const struct dg_op *maker = made->of[t - made->entry->first_tensor];
        const char *name = dg_plan_string(plan, plan->tensor[t].name);
        if (plan->tensor[t].region == DG_REGION_STEP && !maker)
            return bad(err, "op %u (%s) reads %s before it is made", n, op->name, name);
        if (dg_op_input_has(op, (int)record->num_inputs, (int)i, DG_ROW_MAP) && !(maker && dg_op_draws_rows(maker)))
            return bad(err, "op %u (%s): %s is not a row map", n, op->name, name);
        const struct dg_operand *operand = dg_op_input(op, (int)record->num_inputs, (int)i);
        if (plan->tensor[t].region == DG_REGION_PARAM) continue; /* it has no images */
        if (made->rows[t - made->entry->first_tensor] != row_map_of(plan, record, op, operand))
            return bad(err, "op %u (%s) reads images of %s that are not there", n, op->name, name);
    }
    return DG_OK;
}

/* A tensor is made once. */
static enum dg_status note_outputs(struct makers *made, uint32_t n, struct dg_error *err)
{
    const struct dg_plan *plan = made->plan;
    const struct dg_plan_op *record = &plan->op[made->entry->first_op + n];
    const struct dg_op *op = dg_op_find(dg_plan_string(plan, record->op));
    for (uint32_t o = 0; o < record->num_outputs; o++) {
        uint32_t t = plan->operand[record->first_operand + record->num_inputs + o];
        if (t == DG_PLAN_NONE) continue;
        const struct dg_op **maker = &made->of[t - made->entry->first_tensor];
        if (*maker)
            return bad(err, "op %u (%s) makes %s, which is made already", n, op->name,
                       dg_plan_string(plan, plan->tensor[t].name));
        *maker = op;
        made->rows[t - made->entry->first_tensor] = row_map_of(plan, record, op, &op->outputs[o]);
    }
    return DG_OK;
}

static enum dg_status check_outputs_made(const struct makers *made, struct dg_error *err)
{
    const struct dg_plan *plan = made->plan;
    for (uint32_t i = 0; i < made->entry->num_outputs; i++) {
        uint32_t t = plan->operand[made->entry->first_output + i];
        const char *name = dg_plan_string(plan, plan->tensor[t].name);
        if (plan->tensor[t].region == DG_REGION_STEP && !made->of[t - made->entry->first_tensor])
            return bad(err, "nothing makes the output %s", name);
        if (made->rows[t - made->entry->first_tensor] != DG_PLAN_NONE)
            return bad(err, "the output %s lacks images", name);
    }
    return DG_OK;
}

static enum dg_status check_makers(struct makers *made, struct dg_error *err)
{
    for (uint32_t t = 0; t < made->entry->num_tensors; t++) made->rows[t] = DG_PLAN_NONE;
    for (uint32_t n = 0; n < made->entry->num_ops; n++) {
        DG_TRY(check_reads(made, n, err));
        DG_TRY(note_outputs(made, n, err));
    }
    return check_outputs_made(made, err);
}

static enum dg_status check_order(const struct dg_plan *plan, const struct dg_plan_entry *entry, struct dg_error *err)
{
    struct makers made = {plan, entry, calloc(entry->num_tensors + 1, sizeof *made.of),
                          calloc(entry->num_tensors + 1, sizeof *made.rows)};
    enum dg_status status =
        made.of && made.rows ? check_makers(&made, err) : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    free(made.of);
    free(made.rows);
    return status;
}

/* --- slots --- */

static bool has_type(const struct dg_plan *plan, const struct dg_plan_entry *entry, enum dg_slot slot,
                     enum dg_dtype dtype, int ndim)
{
    const struct dg_plan_tensor *t = dg_plan_slot(plan, entry, slot);
    return t && t->dtype == dtype && t->ndim == ndim;
}

/* Rows are whole batches; batch, height and width fit into an int. */
static bool are_images(const struct dg_plan *plan, const struct dg_plan_entry *entry, enum dg_slot slot)
{
    const struct dg_plan_tensor *t = dg_plan_slot(plan, entry, slot);
    return has_type(plan, entry, slot, DG_F32, 4) && t->dim[3] == 3 && entry->batch && entry->batch <= INT_MAX &&
           t->dim[0] % entry->batch == 0 && t->dim[1] <= INT_MAX && t->dim[2] <= INT_MAX;
}

static bool has_report(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    return has_type(plan, entry, DG_SLOT_LOSS, DG_F64, 0) && has_type(plan, entry, DG_SLOT_GRAD_SUMMARY, DG_F64, 1) &&
           dg_plan_slot(plan, entry, DG_SLOT_GRAD_SUMMARY)->dim[0] == 2;
}

static bool has_recipe_slots(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    bool local = true;
    for (int g = 0; g < DG_LOCAL_GROUPS; g++)
        local &= entry->slot[DG_SLOT_CROPS_LOCAL + g] == DG_PLAN_NONE ||
                 are_images(plan, entry, (enum dg_slot)(DG_SLOT_CROPS_LOCAL + g));
    return are_images(plan, entry, DG_SLOT_CROPS_GLOBAL) && local && has_report(plan, entry) &&
           has_type(plan, entry, DG_SLOT_ENTROPY, DG_F64, 0) && has_type(plan, entry, DG_SLOT_CENTER, DG_F32, 2);
}

static bool has_probe_slots(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    if (!has_type(plan, entry, DG_SLOT_WEIGHT, DG_F32, 2) || !has_type(plan, entry, DG_SLOT_BIAS, DG_F32, 1) ||
        !has_type(plan, entry, DG_SLOT_FEATURES, DG_F32, 2) || !has_type(plan, entry, DG_SLOT_LABELS, DG_I64, 1) ||
        !has_type(plan, entry, DG_SLOT_LOGITS, DG_F32, 2) || !has_report(plan, entry))
        return false;
    const int64_t *weight = dg_plan_slot(plan, entry, DG_SLOT_WEIGHT)->dim,
                  *features = dg_plan_slot(plan, entry, DG_SLOT_FEATURES)->dim,
                  *logits = dg_plan_slot(plan, entry, DG_SLOT_LOGITS)->dim;
    return dg_plan_slot(plan, entry, DG_SLOT_BIAS)->dim[0] == weight[0] && logits[1] == weight[0] &&
           features[1] == weight[1] && features[0] == entry->batch && logits[0] == entry->batch &&
           dg_plan_slot(plan, entry, DG_SLOT_LABELS)->dim[0] == entry->batch;
}

#define SLOT(name) (UINT32_C(1) << DG_SLOT_##name)
enum {
    EVALUATION_SLOTS = SLOT(IMAGES) | SLOT(OUTPUT),
    STEP_SLOTS = SLOT(LOSS) | SLOT(GRAD_SUMMARY),
    LOCAL_SLOTS = ((UINT32_C(1) << DG_LOCAL_GROUPS) - 1) << DG_SLOT_CROPS_LOCAL,
    RECIPE_SLOTS = STEP_SLOTS | SLOT(CROPS_GLOBAL) | LOCAL_SLOTS | SLOT(ENTROPY) | SLOT(CENTER),
    PROBE_SLOTS = STEP_SLOTS | SLOT(FEATURES) | SLOT(LABELS) | SLOT(LOGITS) | SLOT(WEIGHT) | SLOT(BIAS),
};
#undef SLOT

/* The output has a row or more for each image: as many are read. */
static bool has_evaluation_slots(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    const struct dg_plan_tensor *images = dg_plan_slot(plan, entry, DG_SLOT_IMAGES),
                                *output = dg_plan_slot(plan, entry, DG_SLOT_OUTPUT);
    return are_images(plan, entry, DG_SLOT_IMAGES) && output && output->dtype == DG_F32 && output->ndim &&
           images->dim[0] == entry->batch && output->dim[0] >= entry->batch;
}

/* A slot's tensor is of the entry, lies where such a tensor must, and an output is there until the entry ends. */
static enum dg_status check_slot(const struct dg_plan *plan, uint32_t index, int slot, struct dg_error *err)
{
    const struct dg_plan_entry *entry = &plan->entry[index];
    uint32_t t = entry->slot[slot];
    if (t < entry->first_tensor || t - entry->first_tensor >= entry->num_tensors)
        return bad(err, "slot %d of entry %u belongs to another entry", slot, index);
    const struct dg_plan_tensor *tensor = &plan->tensor[t];
    bool ends_early = tensor->region == DG_REGION_STEP && plan->tensor[tensor->root].last + 1 < entry->num_ops;
    if (slot < DG_FIRST_OUTPUT  ? tensor->region == DG_REGION_INPUT
        : slot < DG_FIRST_PARAM ? tensor->flags & DG_TENSOR_OUTPUT && !ends_early
                                : tensor->region == DG_REGION_PARAM)
        return DG_OK;
    return bad(err, "slot %d of entry %u does not live where it must", slot, index);
}

/* The entry has the slots of its role, and no others. */
static enum dg_status check_slots(const struct dg_plan *plan, uint32_t index, struct dg_error *err)
{
    const struct dg_plan_entry *entry = &plan->entry[index];
    bool trains = index == plan->header->entry[DG_ENTRY_TRAIN], probe = plan->header->kind == DG_PLAN_PROBE;
    uint32_t may = !trains ? EVALUATION_SLOTS : probe ? PROBE_SLOTS : RECIPE_SLOTS;
    for (int s = 0; s < DG_SLOTS; s++) {
        if (entry->slot[s] == DG_PLAN_NONE) continue;
        if (!(may >> s & 1)) return bad(err, "entry %u has a slot %d, which is another kind's", index, s);
        DG_TRY(check_slot(plan, index, s, err));
    }
    if (!trains) return has_evaluation_slots(plan, entry) ? DG_OK : bad(err, "entry %u does not take images", index);
    return (probe ? has_probe_slots(plan, entry) : has_recipe_slots(plan, entry))
               ? DG_OK
               : bad(err, "entry %u is not a training step", index);
}

/* The entry's inputs, or outputs, are its slots from `slot` on, in order. */
static enum dg_status check_listed(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t first,
                                   uint32_t count, enum dg_slot slot, enum dg_slot end, struct dg_error *err)
{
    uint32_t i = 0;
    if (!range_ok(first, count, plan->num_operands)) return bad(err, "inputs or outputs lie outside the operands");
    for (int s = slot; s < (int)end; s++)
        if (entry->slot[s] != DG_PLAN_NONE && (i == count || plan->operand[first + i++] != entry->slot[s]))
            return bad(err, "inputs or outputs are not the slots of their entry");
    return i == count ? DG_OK : bad(err, "inputs or outputs are not the slots of their entry");
}

static enum dg_status check_memory(const struct dg_plan *plan, const struct dg_plan_entry *entry, struct dg_error *err)
{
    struct dg_placed *placed = calloc(entry->num_tensors + 1, sizeof *placed);
    if (!placed) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = DG_OK;
    for (int region = 0; region < DG_REGIONS && status == DG_OK; region++) {
        uint32_t count = 0, clash[2];
        for (uint32_t i = 0; i < entry->num_tensors; i++) {
            const struct dg_plan_tensor *t = &plan->tensor[entry->first_tensor + i];
            bool always = region != DG_REGION_STEP; /* lasts across steps */
            if (t->region == region && t->root == entry->first_tensor + i)
                placed[count++] = (struct dg_placed){always ? 0 : t->first, always ? UINT32_MAX : t->last, t->offset,
                                                     t->bytes, entry->first_tensor + i};
        }
        if (!dg_plan_check(placed, count, clash))
            status = bad(err, "tensors %s and %s share bytes while both are in use",
                         dg_plan_string(plan, plan->tensor[clash[0]].name),
                         dg_plan_string(plan, plan->tensor[clash[1]].name));
    }
    free(placed);
    return status;
}

/* The loop over slices. A step tensor that was made before the loop and is used in it lives beyond the loop; one that is made in
 * the loop dies in it. If an op of the loop writes a tensor that was made before, the tensor is a sum: ops of the loop may read
 * it only to add to it in place, so that the next slice adds to what this one left. */
static enum dg_status check_loop(const struct dg_plan *plan, const struct dg_plan_entry *entry, struct dg_error *err)
{
    uint32_t first = entry->loop_first, end = first + entry->loop_ops;
    bool *sum = calloc(entry->num_tensors + 1, sizeof *sum); /* by root */
    bool once = dg_plan_is_coupled(plan, entry);
    if (!sum) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = DG_OK;
    for (int reading = 0; reading < 2; reading++)
        for (uint32_t n = first; n < end && status == DG_OK; n++) {
            const struct dg_plan_op *op = &plan->op[entry->first_op + n];
            for (uint32_t i = 0; i < op->num_inputs + op->num_outputs && status == DG_OK; i++) {
                uint32_t t = plan->operand[op->first_operand + i];
                if (t == DG_PLAN_NONE) continue;
                uint32_t r = plan->tensor[t].root;
                const struct dg_plan_tensor *root = &plan->tensor[r];
                if (root->region != DG_REGION_STEP) continue;
                const char *name = dg_plan_string(plan, root->name);
                bool before = root->first < first, lasts = root->last >= end, adds = false;
                if (before != lasts && !(once && lasts))
                    status = bad(err, "tensor %s is used in the loop over slices, and %s", name,
                                 before ? "ends in it" : "lasts beyond it");
                if (!reading && before && i >= op->num_inputs) sum[r - entry->first_tensor] = true;
                if (!reading || i >= op->num_inputs || !sum[r - entry->first_tensor]) continue;
                for (uint32_t o = op->num_inputs; o < op->num_inputs + op->num_outputs; o++) {
                    uint32_t made = plan->operand[op->first_operand + o];
                    adds |= made != DG_PLAN_NONE && plan->tensor[made].root == r;
                }
                if (!adds && status == DG_OK)
                    status = bad(err, "op %u reads %s while the loop over slices adds to it", n, name);
            }
        }
    free(sum);
    return status;
}

static enum dg_status check_entry(const struct dg_plan *plan, uint32_t index, struct dg_error *err)
{
    const struct dg_plan_entry *entry = &plan->entry[index];
    if (!string_ok(plan, entry->name) || !string_ok(plan, entry->bind)) return bad(err, "entry %u has no name", index);
    if (!range_ok(entry->first_tensor, entry->num_tensors, plan->num_tensors) ||
        !range_ok(entry->first_op, entry->num_ops, plan->num_ops) || entry->first_commit > entry->num_ops)
        return bad(err, "entry %u lies outside the plan", index);
    if (!entry->slices || entry->slices > 1u << 24 ||
        !range_ok(entry->loop_first, entry->loop_ops, entry->first_commit) ||
        (entry->slices > 1) != (entry->loop_ops > 0))
        return bad(err, "entry %u: bad loop over slices", index);
    if (entry->ranks > 1 && entry->slices % entry->ranks)
        return bad(err, "entry %u: its slices cannot be shared by %u processes", index, entry->ranks);
    if (entry->dtype != DG_F32 && entry->dtype != DG_BF16) return bad(err, "entry %u is of no type", index);
    if (entry->math >= DG_MATHS || (entry->math && entry->dtype != DG_F32))
        return bad(err, "entry %u: unknown products", index);
    for (int r = 0; r < DG_REGIONS; r++)
        if (entry->region_bytes[r] > UINT64_C(1) << 46)
            return bad(err, "entry %u: a region of more than 64 TiB", index);
    for (uint32_t t = 0; t < entry->num_tensors; t++) DG_TRY(check_tensor(plan, entry, entry->first_tensor + t, err));
    DG_TRY(check_slots(plan, index, err));
    DG_TRY(check_listed(plan, entry, entry->first_input, entry->num_inputs, 0, DG_FIRST_OUTPUT, err));
    DG_TRY(check_listed(plan, entry, entry->first_output, entry->num_outputs, DG_FIRST_OUTPUT, DG_FIRST_PARAM, err));
    for (uint32_t n = 0; n < entry->num_ops; n++) DG_TRY(check_op(plan, entry, n, err));
    DG_TRY(check_order(plan, entry, err));
    DG_TRY(check_loop(plan, entry, err));
    return check_memory(plan, entry, err);
}

/* --- the plan --- */

static enum dg_status check_knobs(const struct dg_plan *plan, struct dg_error *err)
{
    for (uint32_t k = 0; k < plan->num_knobs; k++) {
        const struct dg_plan_knob *knob = &plan->knob[k];
        if (!string_ok(plan, knob->key) || knob->type < DG_KNOB_FLOAT || knob->type > DG_KNOB_PAIR ||
            knob->unit > DG_UNIT_EPOCHS || !isfinite(knob->value[0]) || !isfinite(knob->value[1]) ||
            !(knob->min <= knob->max))
            return bad(err, "knob %u", k);
        for (int i = 0; i < (knob->type == DG_KNOB_PAIR ? 2 : 1); i++)
            if (!(knob->value[i] >= knob->min && knob->value[i] <= knob->max))
                return bad(err, "knob %u is out of bounds", k);
    }
    for (uint32_t s = 0; s < plan->num_schedules; s++)
        if (!string_ok(plan, plan->schedule[s].key) || plan->schedule[s].curve < DG_CURVE_CONSTANT ||
            plan->schedule[s].curve >= DG_CURVE_END || plan->schedule[s].per_epoch > 1)
            return bad(err, "schedule %u", s);
    return DG_OK;
}

/* Each entry has one role and is called by it: some callers find it by role, others by name. */
static enum dg_status check_roles(const struct dg_plan *plan, struct dg_error *err)
{
    const struct dg_plan_header *header = plan->header;
    uint32_t count = 0;
    if (header->kind >= DG_PLAN_KINDS) return bad(err, "it is of no kind");
    for (int r = 0; r < DG_ENTRY_ROLES; r++) {
        uint32_t e = header->entry[r];
        const char *name = dg_entry_name((enum dg_entry_role)r);
        if (e == DG_PLAN_NONE) continue;
        if (e >= plan->num_entries) return bad(err, "it has no entry %s", name);
        if (!string_ok(plan, plan->entry[e].name) || strcmp(dg_plan_string(plan, plan->entry[e].name), name))
            return bad(err, "entry %u is not called %s", e, name);
        count++;
    }
    if (count != plan->num_entries) return bad(err, "it has an entry without a role");
    if ((header->kind == DG_PLAN_MODULE) != (header->entry[DG_ENTRY_TRAIN] == DG_PLAN_NONE))
        return bad(err, "its entry for training and its kind disagree");
    return DG_OK;
}

enum dg_status dg_plan_verify(const struct dg_plan *plan, struct dg_error *err)
{
    if (!string_ok(plan, plan->header->recipe) || !string_ok(plan, plan->header->source))
        return bad(err, "it has no name");
    if (!string_ok(plan, plan->header->facts)) return bad(err, "its facts are not in it");
    if (!string_ok(plan, plan->header->description)) return bad(err, "its description is not in it");
    if (!plan->num_entries) return bad(err, "it has no entry");
    DG_TRY(check_roles(plan, err));
    DG_TRY(check_knobs(plan, err));
    for (uint32_t e = 0; e < plan->num_entries; e++) DG_TRY(check_entry(plan, e, err));
    return DG_OK;
}

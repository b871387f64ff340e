/* Opens and verifies plans. Every count, index, string, enum and byte range is checked here, in the order in which later
 * checks rely on earlier ones; a failing check names the record and what is wrong with it. */
#include "runtime/plan/open.h"

#include "runtime/plan/overlap.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

static const size_t record_size[DG_SECTIONS] = {1,
                                                sizeof(struct dg_plan_entry),
                                                sizeof(struct dg_plan_tensor),
                                                sizeof(struct dg_plan_op),
                                                sizeof(uint32_t),
                                                sizeof(union dg_attr),
                                                sizeof(struct dg_plan_knob),
                                                sizeof(struct dg_plan_schedule)};

static uint64_t checksum(const unsigned char *bytes, uint64_t size)
{
    static const unsigned char zero[8];
    size_t at = offsetof(struct dg_plan_header, checksum);
    uint64_t hash = dg_fnv1a(DG_FNV_BASIS, bytes, at);
    hash = dg_fnv1a(hash, zero, sizeof zero);
    return dg_fnv1a(hash, bytes + at + sizeof zero, size - at - sizeof zero);
}

static enum dg_status check_header(const unsigned char *bytes, uint64_t size, struct dg_error *err)
{
    const struct dg_plan_header *header = (const void *)bytes;
    if (size < sizeof *header || memcmp(header->magic, DG_PLAN_MAGIC, 8))
        return dg_fail(err, DG_ERR_INPUT, "this is no plan (plans are made by dinoc)");
    if (header->endian != DG_PLAN_ENDIAN)
        return dg_fail(err, DG_ERR_INPUT, "plan of a machine with another byte order");
    if (header->version != DG_PLAN_VERSION)
        return dg_fail(err, DG_ERR_INPUT, "plan version %u, this program reads version %u: compile it again",
                       header->version, DG_PLAN_VERSION);
    if (header->size != size)
        return bad(err, "it says %llu bytes and has %llu", (unsigned long long)header->size, (unsigned long long)size);
    if (checksum(bytes, size) != header->checksum) return bad(err, "checksum differs");
    for (int s = 0; s < DG_SECTIONS; s++) {
        uint64_t offset = header->section[s].offset, count = header->section[s].count;
        if (offset % 8 || offset > size || count > (size - offset) / record_size[s] || count > UINT32_MAX / 2)
            return bad(err, "section %d lies outside the file", s);
    }
    if (!header->section[DG_SECTION_STRINGS].count ||
        bytes[header->section[DG_SECTION_STRINGS].offset + header->section[DG_SECTION_STRINGS].count - 1])
        return bad(err, "strings do not end");
    return DG_OK;
}

static bool string_ok(const struct dg_plan *plan, uint32_t offset) { return offset < plan->num_string_bytes; }

/* [first, first + count) within total, without overflow. */
static bool range_ok(uint64_t first, uint64_t count, uint64_t total)
{
    return first <= total && count <= total - first;
}

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

static enum dg_status check_op(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t n,
                               struct dg_error *err)
{
    const struct dg_plan_op *record = &plan->op[entry->first_op + n];
    if (!string_ok(plan, record->op) || !string_ok(plan, record->name) || !string_ok(plan, record->label) ||
        !string_ok(plan, record->file))
        return bad(err, "op %u has no name", n);
    const char *name = dg_plan_string(plan, record->name), *op_name = dg_plan_string(plan, record->op);
    const struct dg_op *op = dg_op_find(op_name);
    if (!op) return bad(err, "op %u (%s): no op is called %s", n, name, op_name);
    uint64_t operands = (uint64_t)record->num_inputs + record->num_outputs;
    if (!range_ok(record->first_operand, operands, plan->num_operands) ||
        !range_ok(record->first_attr, record->num_attrs, plan->num_attrs) ||
        record->num_attrs != (uint32_t)dg_op_num_attrs(op) || record->num_outputs != (uint32_t)dg_op_num_outputs(op) ||
        record->num_inputs < !!(record->flags & DG_PLAN_OP_KEPT) ||
        dg_plan_own_inputs(record) < (uint32_t)op->min_inputs || record->num_inputs > 1u << 20 ||
        (op->max_inputs >= 0 && dg_plan_own_inputs(record) > (uint32_t)(op->max_inputs + op->num_params_attr +
                                                                        (op->params ? DG_MAX_PARAMS : 0))))
        return bad(err, "op %u (%s, %s): wrong number of operands or attributes", n, name, op_name);
    if (record->batch < 0 || record->view0 < 0 || record->flags > DG_PLAN_OP_ALL)
        return bad(err, "op %u (%s): bad position", n, name);
    for (uint32_t a = 0; a < record->num_attrs; a++) {
        const struct dg_attr_spec *spec = &op->attrs[a];
        union dg_attr attr = plan->attr[record->first_attr + a];
        double value = spec->type == DG_ATTR_FLOAT ? attr.f : (double)attr.i;
        if (spec->type != DG_ATTR_PARAM && !(value >= spec->min && value <= spec->max))
            return bad(err, "op %u (%s, %s): attribute %s is out of bounds", n, name, op_name, spec->name);
    }

    struct dg_desc *input = calloc(record->num_inputs + 1, sizeof *input);
    struct dg_desc output[DG_MAX_OUTPUTS] = {{0}};
    if (!input) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = DG_OK;
    bool kept_fits = false;
    for (uint64_t i = 0; i < operands && status == DG_OK; i++) {
        uint32_t t = plan->operand[record->first_operand + i];
        bool is_input = i < record->num_inputs;
        if (is_input) input[i] = DG_ABSENT_DESC;
        if (t == DG_PLAN_NONE) {
            /* An op says by its infer which inputs may be absent; an absent output must be optional. */
            if (!is_input && !op->output[i - record->num_inputs].flags)
                status = bad(err, "op %u (%s, %s): output %s is missing", n, name, op_name,
                             op->output[i - record->num_inputs].name);
            continue;
        }
        if (t < entry->first_tensor || t - entry->first_tensor >= entry->num_tensors) {
            status = bad(err, "op %u (%s, %s): operand of another entry", n, name, op_name);
            break;
        }
        const struct dg_plan_tensor *tensor = &plan->tensor[t], *root = &plan->tensor[tensor->root];
        if (root->first > n || root->last < n) {
            status = bad(err, "op %u (%s, %s) uses %s outside its lifetime", n, name, op_name,
                         dg_plan_string(plan, tensor->name));
            break;
        }
        bool lasting = tensor->region == DG_REGION_PARAM || tensor->region == DG_REGION_STATE;
        bool writes = is_input && i < 64 && op->writes >> i & 1;
        if ((writes && (!lasting || n < entry->first_commit)) ||
            (!is_input && tensor->region != DG_REGION_STEP &&
             !(tensor->region == DG_REGION_INPUT && op->view >> (i - record->num_inputs) & 1)))
            status = bad(err, "op %u (%s, %s) writes %s where it must not", n, name, op_name,
                         dg_plan_string(plan, tensor->name));
        if (is_input) input[i] = dg_desc_make((enum dg_dtype)tensor->dtype, tensor->ndim, tensor->dim);
        if (record->flags & DG_PLAN_OP_KEPT && i == dg_plan_own_inputs(record))
            kept_fits = input[0].ndim > 0 && input[i].ndim == 1 && input[i].dim[0] == dg_kept_size(input[0].dim[0]);
    }
    if (status == DG_OK && record->flags & DG_PLAN_OP_KEPT && (!kept_fits || !(op->kept_inputs | op->kept_outputs)))
        status = bad(err, "op %u (%s, %s): what is kept does not fit", n, name, op_name);
    struct dg_op_call call = {.op = op,
                              .attr = plan->attr + record->first_attr,
                              .num_inputs = (int)dg_plan_own_inputs(record),
                              .kept = record->flags & DG_PLAN_OP_KEPT,
                              .input = input,
                              .train = record->flags & DG_PLAN_OP_TRAIN,
                              .slices = dg_plan_slices(entry, n),
                              .bf16 = entry->dtype == DG_BF16};
    if (status == DG_OK) {
        struct dg_error why = {0};
        if (dg_op_infer(&call, output, &why) != DG_OK)
            status = bad(err, "op %u (%s, %s): %s", n, name, op_name, why.text);
    }
    for (uint32_t o = 0; o < record->num_outputs && status == DG_OK; o++) {
        uint32_t t = plan->operand[record->first_operand + record->num_inputs + o];
        if (!dg_desc_valid(&output[o])) status = bad(err, "op %u (%s, %s): output too large", n, name, op_name);
        if (t == DG_PLAN_NONE) continue;
        const struct dg_plan_tensor *tensor = &plan->tensor[t];
        struct dg_desc desc = dg_desc_make((enum dg_dtype)tensor->dtype, tensor->ndim, tensor->dim);
        if (!dg_op_stores(&call, (int)o, &output[o], &desc))
            status =
                bad(err, "op %u (%s, %s): output %s has the wrong shape or type", n, name, op_name, op->output[o].name);
        /* A view does no work: its bytes must be its source's. Anything else that shares bytes may do so in place only. */
        int source = op->inplace[o] - 1;
        bool view = op->view >> o & 1;
        uint32_t from = source >= 0 && source < (int)record->num_inputs
                            ? plan->operand[record->first_operand + (uint32_t)source]
                            : DG_PLAN_NONE;
        bool shares = from != DG_PLAN_NONE && !dg_op_moves(op, call.kept, source, (int)o) &&
                      plan->tensor[from].root == tensor->root && plan->tensor[from].dtype == tensor->dtype;
        if ((view && !shares) || (tensor->root != t && !shares))
            status =
                bad(err, "op %u (%s, %s): output %s lies in the wrong place", n, name, op_name, op->output[o].name);
    }
    free(input);
    return status;
}

/* A step tensor is made once, before it is read. What says which images are kept is made by an op that draws it and by nobody
 * else: ops go by the places that it gives. */
static enum dg_status check_makers(const struct dg_plan *plan, const struct dg_plan_entry *entry, struct dg_error *err)
{
    const struct dg_op **maker = calloc(entry->num_tensors + 1, sizeof *maker);
    if (!maker) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = DG_OK;
    for (uint32_t n = 0; n < entry->num_ops && status == DG_OK; n++) {
        const struct dg_plan_op *record = &plan->op[entry->first_op + n];
        const struct dg_op *op = dg_op_find(dg_plan_string(plan, record->op));
        for (uint32_t i = 0; i < record->num_inputs + record->num_outputs && status == DG_OK; i++) {
            uint32_t t = plan->operand[record->first_operand + i];
            if (t == DG_PLAN_NONE) continue;
            const char *name = dg_plan_string(plan, plan->tensor[t].name);
            const struct dg_op **made_by = &maker[t - entry->first_tensor];
            bool kept =
                i < record->num_inputs && (i >= dg_plan_own_inputs(record) || (i < 32 && op->kept_lists >> i & 1));
            if (i >= record->num_inputs && *made_by)
                status = bad(err, "op %u (%s) makes %s, which is made already", n, op->name, name);
            else if (i >= record->num_inputs)
                *made_by = op;
            else if (plan->tensor[t].region == DG_REGION_STEP && !*made_by)
                status = bad(err, "op %u (%s) reads %s before it is made", n, op->name, name);
            else if (kept && !(*made_by && (*made_by)->says_kept))
                status = bad(err, "op %u (%s): %s does not say which images are kept", n, op->name, name);
        }
    }
    for (uint32_t i = 0; i < entry->num_outputs && status == DG_OK; i++) {
        uint32_t t = plan->operand[entry->first_output + i];
        if (plan->tensor[t].region == DG_REGION_STEP && !maker[t - entry->first_tensor])
            status = bad(err, "nothing makes the output %s", dg_plan_string(plan, plan->tensor[t].name));
    }
    free(maker);
    return status;
}

static enum dg_status check_named(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t first,
                                  uint32_t count, struct dg_error *err)
{
    if (!range_ok(first, count, plan->num_operands)) return bad(err, "inputs or outputs lie outside the operands");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t t = plan->operand[first + i];
        if (t < entry->first_tensor || t - entry->first_tensor >= entry->num_tensors)
            return bad(err, "an input or output belongs to another entry");
    }
    return DG_OK;
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

/* The loop over slices: a step tensor that is there before it and used in it lasts beyond it, and what a slice makes dies with
 * it. What is there before and written is a sum: no op of the loop reads it but to add to it where it stands, so that the
 * next slice finds what this one left. */
static enum dg_status check_loop(const struct dg_plan *plan, const struct dg_plan_entry *entry, struct dg_error *err)
{
    uint32_t first = entry->loop_first, end = first + entry->loop_ops;
    bool *sum = calloc(entry->num_tensors + 1, sizeof *sum); /* by root */
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
                bool before = root->first < first, adds = false;
                if (before != (root->last >= end))
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
    if (entry->dtype != DG_F32 && entry->dtype != DG_BF16) return bad(err, "entry %u is of no type", index);
    for (int r = 0; r < DG_REGIONS; r++)
        if (entry->region_bytes[r] > UINT64_C(1) << 46)
            return bad(err, "entry %u: a region of more than 64 TiB", index);
    for (uint32_t t = 0; t < entry->num_tensors; t++) DG_TRY(check_tensor(plan, entry, entry->first_tensor + t, err));
    DG_TRY(check_named(plan, entry, entry->first_input, entry->num_inputs, err));
    DG_TRY(check_named(plan, entry, entry->first_output, entry->num_outputs, err));
    for (uint32_t n = 0; n < entry->num_ops; n++) DG_TRY(check_op(plan, entry, n, err));
    DG_TRY(check_makers(plan, entry, err));
    DG_TRY(check_loop(plan, entry, err));
    return check_memory(plan, entry, err);
}

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
            plan->schedule[s].curve > DG_CURVE_UNTIL || plan->schedule[s].per_epoch > 1)
            return bad(err, "schedule %u", s);
    return DG_OK;
}

enum dg_status dg_plan_open_bytes(const void *bytes, uint64_t size, struct dg_plan *plan, struct dg_error *err)
{
    *plan = (struct dg_plan){0};
    DG_TRY(check_header(bytes, size, err));
    const struct dg_plan_header *header = bytes;
    const char *base = bytes;
    struct dg_plan p = {.header = header};
    p.strings = base + header->section[DG_SECTION_STRINGS].offset;
    p.num_string_bytes = header->section[DG_SECTION_STRINGS].count;
#define SECTION(field, number, id)                                                                                     \
    p.field = (const void *)(base + header->section[id].offset);                                                       \
    p.number = (uint32_t)header->section[id].count
    SECTION(entry, num_entries, DG_SECTION_ENTRIES);
    SECTION(tensor, num_tensors, DG_SECTION_TENSORS);
    SECTION(op, num_ops, DG_SECTION_OPS);
    SECTION(operand, num_operands, DG_SECTION_OPERANDS);
    SECTION(attr, num_attrs, DG_SECTION_ATTRS);
    SECTION(knob, num_knobs, DG_SECTION_KNOBS);
    SECTION(schedule, num_schedules, DG_SECTION_SCHEDULES);
#undef SECTION
    if (!string_ok(&p, header->recipe) || !string_ok(&p, header->source)) return bad(err, "it has no name");
    if (!p.num_entries) return bad(err, "it has no entry");
    DG_TRY(check_knobs(&p, err));
    for (uint32_t e = 0; e < p.num_entries; e++) DG_TRY(check_entry(&p, e, err));
    *plan = p;
    return DG_OK;
}

enum dg_status dg_plan_open(const char *path, struct dg_plan *plan, struct dg_error *err)
{
    *plan = (struct dg_plan){0};
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    if (file < 0) return dg_fail(err, DG_ERR_IO, "cannot open plan %s: %s", path, strerror(errno));
    if (fstat(file, &info) || !S_ISREG(info.st_mode) || info.st_size == 0) {
        close(file);
        return dg_fail(err, DG_ERR_INPUT, "%s: not a plan, but an empty or special file", path);
    }
    void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (bytes == MAP_FAILED) return dg_fail(err, DG_ERR_IO, "cannot map plan %s: %s", path, strerror(errno));
    enum dg_status status = dg_plan_open_bytes(bytes, (uint64_t)info.st_size, plan, err);
    if (status != DG_OK) {
        munmap(bytes, (size_t)info.st_size);
        dg_error_prefix(err, "%s", path);
        return status;
    }
    plan->mapped = (size_t)info.st_size;
    return DG_OK;
}

void dg_plan_close(struct dg_plan *plan)
{
    if (plan->mapped) munmap((void *)(uintptr_t)plan->header, plan->mapped);
    *plan = (struct dg_plan){0};
}

enum dg_status dg_plan_find_entry(const struct dg_plan *plan, const char *name, const struct dg_plan_entry **entry,
                                  struct dg_error *err)
{
    char list[256] = "";
    for (uint32_t e = 0; e < plan->num_entries; e++) {
        const char *other = dg_plan_string(plan, plan->entry[e].name);
        if (!strcmp(other, name)) {
            *entry = &plan->entry[e];
            return DG_OK;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", other);
    }
    return dg_fail(err, DG_ERR_USAGE, "the plan has no entry %s; it has: %s", name, list);
}

bool dg_plan_is_probe(const struct dg_plan *plan)
{
    for (uint32_t e = 0; e < plan->num_entries; e++) {
        const struct dg_plan_entry *entry = &plan->entry[e];
        if (strcmp(dg_plan_string(plan, entry->name), "train")) continue;
        for (uint32_t i = 0; i < entry->num_inputs; i++)
            if (!strcmp(dg_plan_string(plan, plan->tensor[plan->operand[entry->first_input + i]].name), "labels"))
                return true;
    }
    return false;
}

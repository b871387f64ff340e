#include "runtime/exec/fault.h"

#include "ops/kernels/bf16.h"
#include "runtime/base/finite.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

struct search {
    const struct dg_session *session;
    const struct dg_plan *plan;
    int64_t place;
    char *text;
    size_t size;
};

struct statistics {
    int64_t nan, infinite, count;
    double least, most; /* of the finite ones */
};

static double element(const struct dg_plan_tensor *tensor, const void *data, int64_t i)
{
    return tensor->dtype == DG_F64 ? ((const double *)data)[i] : (double)dg_get(data, tensor->dtype == DG_BF16, i);
}

/* Numbers of output o that the op made: with a row map, what lies behind the survivors is what was there before. */
static int64_t count_of(const struct search *search, const struct dg_plan_op *record, uint32_t o)
{
    const struct dg_plan *plan = search->plan;
    const struct dg_op *op = dg_op_find(dg_plan_string(plan, record->op));
    const struct dg_plan_tensor *output = &plan->tensor[plan->operand[record->first_operand + record->num_inputs + o]];
    int64_t count = (int64_t)output->bytes / dg_dtype_size((enum dg_dtype)output->dtype);
    int input = dg_op_row_map(op);
    uint32_t t = input < 0 ? DG_PLAN_NONE : plan->operand[record->first_operand + (uint32_t)input];
    if (t == DG_PLAN_NONE || !(op->outputs[o].flags & DG_COMPACT)) return count;
    int64_t images = dg_row_map_images(plan->tensor[t].dim[0]);
    return count / images * dg_survivors(dg_session_data(search->session, t), images);
}

static struct statistics look(const struct dg_plan_tensor *tensor, const void *data, int64_t count)
{
    struct statistics s = {.least = INFINITY, .most = -INFINITY};
    if (!data || (tensor->dtype != DG_F32 && tensor->dtype != DG_F64 && tensor->dtype != DG_BF16)) return s;
    s.count = count;
    for (int64_t i = 0; i < s.count; i++) {
        double x = element(tensor, data, i);
        if (isnan(x)) {
            s.nan++;
        } else if (isinf(x)) {
            s.infinite++;
        } else {
            s.least = fmin(s.least, x);
            s.most = fmax(s.most, x);
        }
    }
    return s;
}

static void describe(const struct search *search, const struct statistics *s, const char *what)
{
    char rest[96] = "none is finite";
    if (s->nan + s->infinite < s->count)
        snprintf(rest, sizeof rest, "the others lie in %.4g .. %.4g", s->least, s->most);
    snprintf(search->text, search->size, "%s has %" PRId64 " NaN and %" PRId64 " infinite of %" PRId64 " values; %s",
             what, s->nan, s->infinite, s->count, rest);
}

/* Looks at the outputs of an operation after it ran, and describes the first bad one. */
static void on_op(void *context, uint32_t n, double seconds)
{
    struct search *search = context;
    (void)seconds;
    if (search->place != DG_FAULT_NOWHERE) return;
    const struct dg_plan *plan = search->plan;
    const struct dg_plan_op *op = &plan->op[dg_session_entry(search->session)->first_op + n];
    const struct dg_op *kind = dg_op_find(dg_plan_string(plan, op->op));
    for (uint32_t o = 0; o < op->num_outputs; o++) {
        uint32_t t = plan->operand[op->first_operand + op->num_inputs + o];
        if (t == DG_PLAN_NONE || kind->outputs[o].flags & DG_OPAQUE) continue;
        struct statistics s = look(&plan->tensor[t], dg_session_data(search->session, t), count_of(search, op, o));
        if (!s.nan && !s.infinite) continue;
        char what[512];
        search->place = DG_FAULT_BEFORE + 1 + (int64_t)n;
        snprintf(what, sizeof what, "the first bad result is that of %s (%s in %s, %s line %d): it",
                 dg_plan_string(plan, op->name), dg_plan_string(plan, op->op), dg_plan_string(plan, op->label),
                 dg_plan_string(plan, op->file), op->line);
        describe(search, &s, what);
        return;
    }
}

/* Looks at what lies in memory before a step, where `in` is true of its region; `was` follows its name. Parameters of
 * another session were looked at there. */
static void look_at_given(struct search *search, const bool in[DG_REGIONS], const char *was)
{
    const struct dg_plan *plan = search->plan;
    const struct dg_plan_entry *entry = dg_session_entry(search->session);
    for (uint32_t t = entry->first_tensor;
         t < entry->first_tensor + entry->num_tensors && search->place == DG_FAULT_NOWHERE; t++) {
        const struct dg_plan_tensor *tensor = &plan->tensor[t];
        if (!in[tensor->region] || dg_session_found(search->session, t)) continue;
        const void *data = dg_session_data(search->session, t);
        int64_t count = (int64_t)tensor->bytes / dg_dtype_size((enum dg_dtype)tensor->dtype);
        if (tensor->dtype == DG_F32 && data && dg_first_not_finite(data, count) < 0) continue;
        struct statistics s = look(tensor, data, count);
        if (!s.nan && !s.infinite) continue;
        char what[512];
        search->place = DG_FAULT_BEFORE;
        snprintf(what, sizeof what, "%s%s", dg_plan_string(plan, tensor->name), was);
        describe(search, &s, what);
    }
}

bool dg_fault_in_stored(const struct dg_session *session, const struct dg_plan *plan, char *text, size_t size)
{
    static const bool stored[DG_REGIONS] = {[DG_REGION_PARAM] = true, [DG_REGION_STATE] = true};
    struct search search = {.session = session, .plan = plan, .place = DG_FAULT_NOWHERE, .text = text, .size = size};
    look_at_given(&search, stored, "");
    return search.place != DG_FAULT_NOWHERE;
}

enum dg_status dg_fault_find(struct dg_session *session, const struct dg_plan *plan, const struct dg_step_info *step,
                             int64_t *place, char *text, size_t size, struct dg_error *err)
{
    struct search search = {.session = session, .plan = plan, .place = DG_FAULT_NOWHERE, .text = text, .size = size};
    static const bool given[DG_REGIONS] = {
        [DG_REGION_PARAM] = true, [DG_REGION_STATE] = true, [DG_REGION_INPUT] = true};
    look_at_given(&search, given, " was bad before the step: it");
    /* Also where it is found: other processes wait for this one's sums. */
    dg_session_observe_ops(session, on_op, &search);
    enum dg_status status = dg_session_compute(session, step, err);
    dg_session_observe_ops(session, NULL, NULL);
    *place = search.place;
    if (status == DG_OK && *place == DG_FAULT_NOWHERE)
        snprintf(text, size, "computed once more all is finite: this points to the machine (memory, overheating)");
    return status;
}

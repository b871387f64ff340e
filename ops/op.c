#include "ops/op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DG_OP(name) extern const struct dg_op name;
#include "ops/op_list.h"
#undef DG_OP

static const struct dg_op *const table[] = {
#define DG_OP(name) &name,
#include "ops/op_list.h"
#undef DG_OP
};

int dg_op_count(void) { return (int)(sizeof table / sizeof table[0]); }

const struct dg_op *dg_op_at(int index) { return index >= 0 && index < dg_op_count() ? table[index] : NULL; }

const struct dg_op *dg_op_find(const char *name)
{
    for (int i = 0; i < dg_op_count(); i++)
        if (!strcmp(table[i]->name, name)) return table[i];
    return NULL;
}

int dg_op_num_attrs(const struct dg_op *op)
{
    int n = 0;
    while (op->attrs && op->attrs[n].name) n++;
    return n;
}

int dg_op_attr(const struct dg_op *op, const char *name)
{
    for (int a = dg_op_num_attrs(op) - 1; a >= 0; a--)
        if (!strcmp(op->attrs[a].name, name)) return a;
    return -1;
}

/* ---- operands ---- */

static int count_operands(const struct dg_operand *operand)
{
    int n = 0;
    while (operand && operand[n].name) n++;
    return n;
}

int dg_op_num_inputs(const struct dg_op *op) { return count_operands(op->inputs); }
int dg_op_num_outputs(const struct dg_op *op) { return count_operands(op->outputs); }

static int index_of(const struct dg_operand *operand, const char *name)
{
    for (int i = count_operands(operand) - 1; i >= 0; i--)
        if (!strcmp(operand[i].name, name)) return i;
    return -1;
}

int dg_op_input_index(const struct dg_op *op, const char *name) { return index_of(op->inputs, name); }
int dg_op_output_index(const struct dg_op *op, const char *name) { return index_of(op->outputs, name); }

/* The place of the variadic operand; -1: there is none. */
static int variadic(const struct dg_op *op)
{
    for (int i = dg_op_num_inputs(op) - 1; i >= 0; i--)
        if (op->inputs[i].flags & DG_VARIADIC) return i;
    return -1;
}

const struct dg_operand *dg_op_input(const struct dg_op *op, int num_inputs, int i)
{
    int count = dg_op_num_inputs(op), many = variadic(op);
    if (i < 0 || i >= num_inputs) return NULL;
    if (many >= 0 && i > many) { /* inputs behind the variadic operand count from the end */
        int behind = i - (num_inputs - count);
        i = behind > many ? behind : many;
    }
    return i < count ? &op->inputs[i] : NULL;
}

bool dg_op_input_has(const struct dg_op *op, int num_inputs, int i, enum dg_operand_flags flag)
{
    const struct dg_operand *operand = dg_op_input(op, num_inputs, i);
    return operand && operand->flags & flag;
}

bool dg_op_any_has(const struct dg_op *op, enum dg_operand_flags flag)
{
    for (int i = dg_op_num_inputs(op) - 1; i >= 0; i--)
        if (op->inputs[i].flags & flag) return true;
    for (int o = dg_op_num_outputs(op) - 1; o >= 0; o--)
        if (op->outputs[o].flags & flag) return true;
    return false;
}

/* Inputs up to the last that must be there. */
static int least_inputs(const struct dg_op *op)
{
    int count = dg_op_num_inputs(op);
    while (count && op->inputs[count - 1].flags & DG_OPTIONAL) count--;
    return count;
}

bool dg_op_takes(const struct dg_op *op, int num_inputs)
{
    int count = dg_op_num_inputs(op);
    return variadic(op) < 0 ? num_inputs == count : num_inputs >= count;
}

int dg_op_data_inputs(const struct dg_op *op, bool *more)
{
    int count = 0;
    for (int i = dg_op_num_inputs(op) - 1; i >= 0; i--)
        count += !(op->inputs[i].flags & (DG_PARAM | DG_ROW_MAP | DG_INTERNAL));
    *more = variadic(op) >= 0;
    return count;
}

int dg_op_row_map(const struct dg_op *op)
{
    for (int i = dg_op_num_inputs(op) - 1; i >= 0; i--)
        if (op->inputs[i].flags & DG_ROW_MAP) return i;
    return -1;
}

enum dg_status dg_no_gradient(struct dg_grad_builder *b)
{
    return dg_fail(b->err, DG_ERR_UNSUPPORTED, "op %s has no gradient rule", b->call->op->name);
}

enum dg_status dg_stop_gradient(struct dg_grad_builder *b)
{
    (void)b;
    return DG_OK;
}

double dg_product_flops(const struct dg_desc *rows, const struct dg_desc *weight)
{
    return 2.0 * (double)dg_desc_rows(rows) * (double)dg_desc_count(weight);
}

int dg_operand_row_map(const struct dg_op *op, const struct dg_operand *operand)
{
    if (!(operand->flags & DG_COMPACT)) return -1;
    return operand->rows ? operand->rows : dg_op_row_map(op);
}

/* ---- checks ---- */

static enum dg_status check_count(const struct dg_op_call *call, struct dg_error *err)
{
    const struct dg_op *op = call->op;
    int least = least_inputs(op), most = dg_op_num_inputs(op);
    if (call->num_inputs >= least && (call->num_inputs <= most || variadic(op) >= 0)) return DG_OK;
    if (variadic(op) >= 0)
        return dg_fail(err, DG_ERR_INPUT, "it takes %d or more inputs, not %d", least, call->num_inputs);
    if (least < most)
        return dg_fail(err, DG_ERR_INPUT, "it takes %d to %d inputs, not %d", least, most, call->num_inputs);
    return dg_fail(err, DG_ERR_INPUT, "it takes %d inputs, not %d", most, call->num_inputs);
}

/* A row map is of the images of input 0. */
static enum dg_status check_row_map(const struct dg_op_call *call, const char *name, const struct dg_desc *desc,
                                    struct dg_error *err)
{
    const struct dg_desc *first = &call->input[DG_DATA];
    bool fits =
        first->ndim > 0 && desc->dtype == DG_I64 && desc->ndim == 1 && desc->dim[0] == dg_row_map_size(first->dim[0]);
    if (fits) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "input %s is not a row map of the images of %s", name, call->op->inputs->name);
}

/* Is `desc`, bf16 counted as f32, of the type that the table states? */
static bool has_stated_dtype(const struct dg_operand *operand, const struct dg_desc *desc)
{
    int stated = operand->flags & DG_ROW_MAP ? DG_I64 : operand->dtype ? operand->dtype : DG_F32;
    return stated == DG_ANY_DTYPE || (int)dg_desc_wide(desc).dtype == stated;
}

/* One input against its operand. `like`: the first input that may be bf16, where all must be alike; it may be NULL. */
static enum dg_status check_input(const struct dg_op_call *call, int i, const struct dg_desc *like,
                                  struct dg_error *err)
{
    const struct dg_operand *operand = dg_op_input(call->op, call->num_inputs, i);
    const struct dg_desc *desc = &call->input[i];
    if (dg_absent(desc)) {
        if (operand->flags & DG_OPTIONAL) return DG_OK;
        return dg_fail(err, DG_ERR_INPUT, "input %s is missing", operand->name);
    }
    if (operand->flags & DG_ROW_MAP) return check_row_map(call, operand->name, desc, err);
    if (desc->dtype == DG_BF16 && !(operand->flags & DG_BF16_OK && call->bf16))
        return dg_fail(err, DG_ERR_INPUT, "input %s must not be bf16", operand->name);
    if (!has_stated_dtype(operand, desc))
        return dg_fail(err, DG_ERR_INPUT, "input %s must be %s, got %s", operand->name,
                       dg_dtype_name(operand->dtype ? (enum dg_dtype)operand->dtype : DG_F32),
                       dg_dtype_name(desc->dtype));
    if (operand->flags & DG_BF16_OK && like && desc->dtype != like->dtype)
        return dg_fail(err, DG_ERR_INPUT, "input %s is %s where others are %s", operand->name,
                       dg_dtype_name(desc->dtype), dg_dtype_name(like->dtype));
    return DG_OK;
}

/* The first input that may be bf16, for an op that wants all of them alike; else NULL. */
static const struct dg_desc *first_alike(const struct dg_op_call *call)
{
    for (int i = 0; call->op->bf16_alike && i < call->num_inputs; i++)
        if (dg_op_input_has(call->op, call->num_inputs, i, DG_BF16_OK) && !dg_absent(&call->input[i]))
            return &call->input[i];
    return NULL;
}

enum dg_status dg_op_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_op *op = call->op;
    DG_TRY(check_count(call, err));
    for (int i = 0; i < call->num_inputs; i++) DG_TRY(check_input(call, i, first_alike(call), err));
    /* `infer` knows no bf16, and sees all operands of the table. */
    int count = dg_op_num_inputs(op);
    if (count < call->num_inputs) count = call->num_inputs;
    struct dg_desc *input = calloc((size_t)count + 1, sizeof *input);
    if (!input) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int i = 0; i < count; i++) input[i] = i < call->num_inputs ? dg_desc_wide(&call->input[i]) : DG_ABSENT_DESC;
    struct dg_op_call wide = *call;
    wide.input = input;
    wide.num_inputs = count;
    enum dg_status status = op->infer(&wide, output, err);
    free(input);
    for (int o = 0; status == DG_OK && o < dg_op_num_outputs(op); o++)
        if (!has_stated_dtype(&op->outputs[o], &output[o]))
            status = dg_fail(err, DG_ERR_INTERNAL, "output %s is %s, which is not what its table states",
                             op->outputs[o].name, dg_dtype_name(output[o].dtype));
    return status;
}

bool dg_op_stores(const struct dg_op_call *call, int o, const struct dg_desc *inferred, const struct dg_desc *stored)
{
    const struct dg_operand *output = &call->op->outputs[o];
    struct dg_desc want = *inferred;
    bool may = output->flags & DG_BF16_OK;
    if (stored->dtype == DG_BF16 && want.dtype == DG_F32 && may && call->bf16) want.dtype = DG_BF16;
    if (!dg_desc_equal(&want, stored)) return false;
    if (dg_is_view(output)) return stored->dtype == call->input[dg_reused_input(output)].dtype;
    const struct dg_desc *like = first_alike(call);
    return !may || !like || like->dtype == stored->dtype;
}

bool dg_op_moves(const struct dg_op *op, bool has_rows, int i, int o)
{
    return has_rows && i >= 0 && (op->inputs[i].flags ^ op->outputs[o].flags) & DG_COMPACT;
}

void *dg_op_state(struct dg_prepare *p, size_t size, struct dg_error *err)
{
    p->state = calloc(1, size);
    if (!p->state) dg_fail(err, DG_ERR_MEMORY, "out of memory");
    return p->state;
}

enum dg_status dg_op_prepare_count(struct dg_prepare *p, struct dg_error *err)
{
    struct dg_op_count *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *dst = &p->call->output[DG_RESULT];
    *s = (struct dg_op_count){dg_desc_count(dst), dst->ndim ? dst->dim[0] : 1, dg_is_bf16(dst)};
    return DG_OK;
}

int64_t dg_op_scratch(struct dg_prepare *p, int64_t bytes)
{
    int64_t offset = dg_round_up(p->scratch_bytes, 64);
    p->scratch_bytes = offset + bytes;
    return offset;
}

enum dg_status dg_want_ndim(const struct dg_desc *desc, int ndim, const char *what, struct dg_error *err)
{
    if (desc->ndim == ndim) return DG_OK;
    char text[128];
    return dg_fail(err, DG_ERR_INPUT, "%s must have %d dimensions, got %s", what, ndim,
                   dg_desc_text(text, sizeof text, desc));
}

enum dg_status dg_want_rows(const struct dg_desc *desc, const char *what, struct dg_error *err)
{
    return desc->ndim >= 2 ? DG_OK : dg_fail(err, DG_ERR_INPUT, "%s must have at least 2 dimensions", what);
}

enum dg_status dg_want_token(const struct dg_desc *src, int64_t token, struct dg_error *err)
{
    if (token < src->dim[1]) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "there is no token %lld: the input has %lld", (long long)token,
                   (long long)src->dim[1]);
}

void dg_begin_sum(float *dst, const float *acc, int64_t count)
{
    if (!acc)
        memset(dst, 0, (size_t)count * sizeof *dst);
    else if (acc != dst)
        memcpy(dst, acc, (size_t)count * sizeof *dst);
}

enum dg_status dg_want_accumulator(const struct dg_desc *acc, const struct dg_desc *gradient, struct dg_error *err)
{
    if (dg_absent(acc) || dg_desc_equal(acc, gradient)) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "accumulator has another shape");
}

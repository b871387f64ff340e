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

int dg_op_index(const struct dg_op *op)
{
    for (int i = 0; i < dg_op_count(); i++)
        if (table[i] == op) return i;
    return -1;
}

int dg_op_num_outputs(const struct dg_op *op)
{
    int n = 0;
    while (n < DG_MAX_OUTPUTS && op->output[n].name) n++;
    return n;
}

int dg_op_num_attrs(const struct dg_op *op)
{
    int n = 0;
    while (op->attrs && op->attrs[n].name) n++;
    return n;
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

enum dg_status dg_op_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_op *op = call->op;
    struct dg_desc *input = calloc((size_t)call->num_inputs + 1, sizeof *input);
    if (!input) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = DG_OK;
    int first = -1; /* of those that may be bf16 */
    for (int i = 0; i < call->num_inputs && status == DG_OK; i++) {
        bool may = i < 64 && op->bf16_inputs >> i & 1 && !dg_absent(&call->input[i]);
        input[i] = call->input[i];
        if (may && first < 0) first = i;
        if (input[i].dtype == DG_BF16 && !(may && call->bf16))
            status = dg_fail(err, DG_ERR_INPUT, "input %d must not be bf16", i);
        if (may && op->bf16_alike && input[i].dtype != call->input[first].dtype)
            status = dg_fail(err, DG_ERR_INPUT, "inputs %d and %d differ in type", first, i);
        if (input[i].dtype == DG_BF16) input[i].dtype = DG_F32;
    }
    struct dg_op_call wide = *call;
    wide.input = input;
    if (status == DG_OK) status = op->infer(&wide, output, err);
    free(input);
    return status;
}

bool dg_op_stores(const struct dg_op_call *call, int o, const struct dg_desc *inferred, const struct dg_desc *stored)
{
    const struct dg_op *op = call->op;
    struct dg_desc want = *inferred;
    bool may = op->bf16_outputs >> o & 1, view = op->view >> o & 1;
    if (stored->dtype == DG_BF16 && want.dtype == DG_F32 && may && call->bf16) want.dtype = DG_BF16;
    if (!dg_desc_equal(&want, stored)) return false;
    if (view) return stored->dtype == call->input[op->inplace[o] - 1].dtype;
    if (may && op->bf16_alike)
        for (int i = 0; i < call->num_inputs && i < 64; i++)
            if (op->bf16_inputs >> i & 1 && !dg_absent(&call->input[i]) && call->input[i].dtype != stored->dtype)
                return false;
    return true;
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
    const struct dg_desc *dst = &p->call->output[0];
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

enum dg_status dg_want_f32(const struct dg_desc *desc, const char *what, struct dg_error *err)
{
    if (desc->dtype == DG_F32) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%s must be f32, got %s", what, dg_dtype_name(desc->dtype));
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

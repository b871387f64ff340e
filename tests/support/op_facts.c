#include "tests/support/op_facts.h"

const char *op_mode_name(enum op_mode mode)
{
    return mode == OP_VALUE ? "value" : mode == OP_GRADIENT ? "gradient" : mode == OP_ROWS ? "rows" : "bf16";
}

unsigned op_modes(const struct dg_op *op)
{
    bool gradient = op->grad != dg_no_gradient && op->grad != dg_stop_gradient;
    return OP_VALUE | (gradient ? OP_GRADIENT : 0) | (dg_op_any_has(op, DG_COMPACT) ? OP_ROWS : 0) |
           (dg_op_any_has(op, DG_BF16_OK) ? OP_BF16 : 0);
}

int op_output_reuses(const struct dg_op *op, int o, bool row_map)
{
    int input = dg_reused_input(&op->outputs[o]);
    return dg_op_moves(op, row_map, input, o) ? -1 : input;
}

const struct dg_op *op_drawing_rows(void)
{
    for (int i = 0; i < dg_op_count(); i++)
        if (dg_op_draws_rows(dg_op_at(i))) return dg_op_at(i);
    return NULL;
}

#include "tests/support/gradient_rule.h"
#include "tests/support/check.h"

#include <string.h>

static enum dg_status emit(struct dg_grad_builder *b, const struct dg_op *op, const union dg_attr *attr,
                           const dg_value *input, int num_inputs, dg_value *output)
{
    struct gradient_rule *rule = b->compiler;
    assert_null(rule->op);
    assert_true(num_inputs <= RULE_MAX_INPUTS);
    rule->op = op;
    rule->attr = attr;
    rule->num_inputs = num_inputs;
    memcpy(rule->input, input, (size_t)num_inputs * sizeof *input);
    for (int o = 0; o < dg_op_num_outputs(op); o++) output[o] = (dg_value)(RULE_ADDED + o);
    return DG_OK;
}

static dg_value gradient_so_far(struct dg_grad_builder *b, int i)
{
    (void)b;
    return (dg_value)(RULE_SO_FAR + i);
}

static void set_gradient(struct dg_grad_builder *b, int i, dg_value gradient)
{
    ((struct gradient_rule *)b->compiler)->gradient[i] = gradient;
}

static enum dg_status add_gradient(struct dg_grad_builder *b, int i, dg_value gradient)
{
    set_gradient(b, i, gradient);
    return DG_OK;
}

struct gradient_rule run_gradient_rule(const struct dg_op_call *call, const bool *wants)
{
    struct gradient_rule rule = {0};
    struct dg_error err = {0};
    dg_value input[RULE_MAX_INPUTS], output[DG_MAX_OUTPUTS], diff_output[DG_MAX_OUTPUTS];
    assert_true(call->num_inputs <= RULE_MAX_INPUTS);
    for (int i = 0; i < RULE_MAX_INPUTS; i++) input[i] = (dg_value)(RULE_INPUT + i);
    for (int o = 0; o < DG_MAX_OUTPUTS; o++) {
        output[o] = (dg_value)(RULE_OUTPUT + o);
        diff_output[o] = o ? DG_NO_VALUE : RULE_DIFF_OUTPUT;
    }
    struct dg_grad_builder b = {.call = call,
                                .input = input,
                                .output = output,
                                .diff_output = diff_output,
                                .wants = wants,
                                .compiler = &rule,
                                .emit = emit,
                                .gradient_so_far = gradient_so_far,
                                .set_gradient = set_gradient,
                                .add_gradient = add_gradient,
                                .err = &err};
    if (call->op->grad(&b) != DG_OK) fail_msg("%s: %s", call->op->name, err.text);
    return rule;
}

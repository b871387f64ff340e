/* The registry of ops: tables of operands that are consistent, and checks that are made from them. */
#include "ops/op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_INPUTS = 24 };

static void check_names(const struct dg_op *op, const struct dg_operand *operand, int count)
{
    for (int i = 0; i < count; i++) {
        if (!operand[i].name[0]) fail_msg("%s: operand %d has no name", op->name, i);
        for (int j = 0; j < i; j++)
            if (!strcmp(operand[i].name, operand[j].name))
                fail_msg("%s has two operands %s", op->name, operand[i].name);
    }
}

static void test_names(void **state)
{
    (void)state;
    for (int n = 0; n < dg_op_count(); n++) {
        const struct dg_op *op = dg_op_at(n);
        assert_ptr_equal(dg_op_find(op->name), op);
        assert_true(dg_op_num_inputs(op) <= MAX_INPUTS && dg_op_num_outputs(op) <= DG_MAX_OUTPUTS);
        check_names(op, op->inputs, dg_op_num_inputs(op));
        check_names(op, op->outputs, dg_op_num_outputs(op));
        if (!op->infer || !op->grad) fail_msg("%s: infer or grad is missing", op->name);
        if (op->token_attr && dg_op_attr(op, op->token_attr) < 0) fail_msg("%s: no such token_attr", op->name);
    }
}

/* A compact operand has a row map to go by. */
static bool rows_fit(const struct dg_op *op, const struct dg_operand *operand)
{
    int i = dg_operand_row_map(op, operand);
    if (!(operand->flags & DG_COMPACT)) return i < 0 && !operand->rows;
    return i >= 0 && i < dg_op_num_inputs(op) && op->inputs[i].flags & DG_ROW_MAP;
}

/* Flags stand where they mean something. */
static void test_flags(void **state)
{
    (void)state;
    const uint32_t of_inputs =
        DG_OPTIONAL | DG_PARAM | DG_VARIADIC | DG_UPDATED | DG_BF16_OK | DG_COMPACT | DG_ROW_MAP | DG_INTERNAL;
    const uint32_t of_outputs = DG_OPTIONAL | DG_SAVED | DG_BF16_OK | DG_COMPACT | DG_ROW_MAP | DG_OPAQUE;
    uint32_t seen = 0;
    bool reuses = false, views = false;
    for (int n = 0; n < dg_op_count(); n++) {
        const struct dg_op *op = dg_op_at(n);
        int many = 0, optional = 0, kind = 0;
        for (int i = 0; i < dg_op_num_inputs(op); i++) {
            const struct dg_operand *operand = &op->inputs[i];
            seen |= operand->flags;
            many += !!(operand->flags & DG_VARIADIC);
            optional += !!(operand->flags & DG_OPTIONAL);
            bool wrong = operand->flags & ~of_inputs || operand->reuse || !rows_fit(op, operand);
            if (operand->flags & (DG_ROW_MAP | DG_INTERNAL))
                wrong |= !(operand->flags & DG_OPTIONAL);
            else
                wrong |= (operand->flags & DG_PARAM) < (uint32_t)kind; /* parameters come after data */
            kind = operand->flags & DG_PARAM;
            if (wrong) fail_msg("%s: input %s", op->name, operand->name);
        }
        if (many > 1 || (many && optional)) fail_msg("%s: a variadic input beside others", op->name);
        for (int o = 0; o < dg_op_num_outputs(op); o++) {
            const struct dg_operand *operand = &op->outputs[o];
            int source = dg_reused_input(operand);
            seen |= operand->flags;
            reuses |= source >= 0;
            views |= dg_is_view(operand);
            bool wrong = !rows_fit(op, operand) || operand->flags & ~of_outputs || source >= dg_op_num_inputs(op) ||
                         (dg_is_view(operand) && (o || op->run)) || (source >= 0 && operand->flags & DG_SAVED);
            if (wrong) fail_msg("%s: output %s", op->name, operand->name);
        }
        bool is_view = op->outputs && dg_is_view(op->outputs);
        if (!op->run && !is_view) fail_msg("%s neither runs nor is a view", op->name);
        if (dg_op_any_has(op, DG_UPDATED) && op->in_yaml) fail_msg("%s writes its inputs and is in YAML", op->name);
        if (op->bf16_alike && !dg_op_any_has(op, DG_BF16_OK)) fail_msg("%s: bf16_alike of nothing", op->name);
    }
    assert_int_equal(seen, of_inputs | of_outputs); /* every flag is used */
    assert_true(reuses && views);
}

/* A result may be cut only where the op says how far it reaches: every op of a module does. What sees the whole batch sees that of all
 * processes that share a step. */
static void test_reach(void **state)
{
    (void)state;
    int seen[DG_REACH_ROW + 1] = {0};
    for (int n = 0; n < dg_op_count(); n++) {
        const struct dg_op *op = dg_op_at(n);
        seen[op->reach]++;
        if (op->in_yaml && op->reach == DG_REACH_ALL) fail_msg("%s does not say how far it reaches", op->name);
        if (op->in_yaml && op->reach == DG_REACH_BATCH && !op->joins)
            fail_msg("%s sees the rows of one process only", op->name);
        if (op->token_attr && op->reach < DG_REACH_IMAGE) fail_msg("%s: a token of what can not be cut", op->name);
    }
    for (int r = 0; r <= DG_REACH_ROW; r++) assert_true(seen[r] > 0);
}

/* The type that the table states of input i. */
static enum dg_dtype stated_dtype(const struct dg_op *op, int num_inputs, int i)
{
    const struct dg_operand *operand = dg_op_input(op, num_inputs, i);
    return operand && operand->dtype > 0 ? (enum dg_dtype)operand->dtype : DG_F32;
}

/* A call of the op with num_inputs vectors of the stated types, input `absent` missing and input `odd` of type `dtype`; -1:
 * none. */
static bool refuses(const struct dg_op *op, int num_inputs, int absent, int odd, enum dg_dtype dtype,
                    const char *message)
{
    struct dg_desc input[MAX_INPUTS + 1], output[DG_MAX_OUTPUTS] = {{0}};
    union dg_attr attr[DG_MAX_ATTRS] = {{0}};
    struct dg_error err = {0};
    for (int i = 0; i < num_inputs; i++) {
        input[i] = dg_desc_make(i == odd ? dtype : stated_dtype(op, num_inputs, i), 1, (int64_t[]){4});
        if (i == absent || (i != odd && dg_op_input_has(op, num_inputs, i, DG_ROW_MAP))) input[i] = DG_ABSENT_DESC;
    }
    struct dg_op_call call = {
        .op = op, .attr = attr, .num_inputs = num_inputs, .input = input, .num_outputs = dg_op_num_outputs(op)};
    if (dg_op_infer(&call, output, &err) == DG_OK) return false;
    if (strstr(err.text, message)) return true;
    print_message("%s: \"%s\" does not say \"%s\"\n", op->name, err.text, message);
    return false;
}

static void test_checks(void **state)
{
    (void)state;
    for (int n = 0; n < dg_op_count(); n++) {
        const struct dg_op *op = dg_op_at(n);
        int count = dg_op_num_inputs(op);
        bool many = false;
        char message[128];
        for (int i = 0; i < count; i++) {
            many |= !!(op->inputs[i].flags & DG_VARIADIC);
            snprintf(message, sizeof message, "input %s is missing", op->inputs[i].name);
            if (!(op->inputs[i].flags & DG_OPTIONAL) && !refuses(op, count, i, -1, 0, message))
                fail_msg("%s works without input %s", op->name, op->inputs[i].name);
            bool rows = op->inputs[i].flags & DG_ROW_MAP;
            snprintf(message, sizeof message, rows ? "input %s is not a row map" : "input %s must not be bf16",
                     op->inputs[i].name);
            if (!refuses(op, count, -1, i, DG_BF16, message)) /* in no plan that is not in bf16 */
                fail_msg("%s takes bf16 as input %s", op->name, op->inputs[i].name);
            snprintf(message, sizeof message, rows ? "input %s is not a row map" : "input %s must be",
                     op->inputs[i].name);
            enum dg_dtype other = stated_dtype(op, count, i) == DG_F64 ? DG_F32 : DG_F64;
            if (op->inputs[i].dtype != DG_ANY_DTYPE && !refuses(op, count, -1, i, other, message))
                fail_msg("%s takes %s as input %s", op->name, dg_dtype_name(other), op->inputs[i].name);
        }
        if (!many && !refuses(op, count + 1, -1, -1, 0, "inputs, not")) fail_msg("%s takes too many inputs", op->name);
        int least = count;
        while (least && op->inputs[least - 1].flags & DG_OPTIONAL) least--;
        if (least && !refuses(op, least - 1, -1, -1, 0, "inputs, not")) fail_msg("%s takes too few inputs", op->name);
    }
}

/* Inputs behind a variadic one count from the end. */
static void test_variadic(void **state)
{
    (void)state;
    const struct dg_op *op = dg_op_find("grad_norms");
    for (int i = 0; i < 5; i++) assert_string_equal(dg_op_input(op, 5, i)->name, i < 4 ? "gradients" : "loss");
    assert_null(dg_op_input(op, 5, 5));
    assert_null(dg_op_input(op, 5, -1));
    assert_true(dg_op_takes(op, 2) && dg_op_takes(op, 200));
    assert_false(dg_op_takes(dg_op_find("linear"), 4)); /* an absent operand is one all the same */
    assert_true(dg_op_takes(dg_op_find("linear"), 5));
    assert_false(dg_op_takes(op, 1));
    bool more;
    assert_int_equal(dg_op_data_inputs(dg_op_find("concat_columns"), &more), 1);
    assert_true(more);
    assert_int_equal(dg_op_data_inputs(dg_op_find("add_position"), &more), 1);
    assert_false(more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_flags),
                                       cmocka_unit_test(test_reach), cmocka_unit_test(test_checks),
                                       cmocka_unit_test(test_variadic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

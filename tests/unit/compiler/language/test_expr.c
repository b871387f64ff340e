/* Expressions of the language: values, precedence, and what cannot be computed. */
#include "compiler/language/expr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct dg_arena *arena;

/* The value as messages show it; the error, from its first word to where it shows the text, if there is one. */
static const char *evaluate(const char *text)
{
    static const struct dg_term blocks[] = {{.kind = DG_TERM_INT, .i = 3}, {.kind = DG_TERM_INT, .i = 4}};
    const struct dg_scope width = {.name = "width", .value = {.kind = DG_TERM_INT, .i = 12}},
                          scope = {.outer = &width,
                                   .name = "blocks",
                                   .value = {.kind = DG_TERM_LIST, .item = blocks, .count = 2}};
    struct dg_diagnostics *diag = dg_diag_create(arena);
    struct dg_origin at = {.file = "test"};
    struct dg_term result;
    char *said = dg_arena_alloc(arena, 64);
    if (dg_expr_evaluate(arena, diag, &at, text, &scope, &result)) return dg_term_text(said, 64, &result);
    const char *message = strstr(dg_diag_text(diag), "error: ") + strlen("error: ");
    return dg_arena_strndup(arena, message, (size_t)(strstr(message, ", in \"") - message));
}

static const struct {
    const char *text, *value;
} cases[] = {
    {"7", "7"},
    {".5", "0.5"},
    {"1e3", "1000.0"},
    {"true", "true"},
    {"1 + 2 * 3", "7"},
    {"(1 + 2) * 3", "9"},
    {"10 - 3 - 2", "5"},
    {"7 / 2", "3.5"},
    {"4 / 2", "2.0"},
    {"7 // 2", "3"},
    {"-7 // 2", "-4"},
    {"(-7) // 2", "-4"},
    {"(-7) % 2", "1"},
    {"7 % (-2)", "-1"},
    {"7 // (-1)", "-7"},
    {"7 % (-1)", "0"},
    {"2 ** 10", "1024"},
    {"-2 ** 2", "-4"},
    {"2 ** -1", "0.5"},
    {"2 ** 3 ** 2", "512"},
    {"0 ** 0", "1"},
    {"0 ** 5", "0"},
    {"(-1) ** 2", "1"},
    {"(-1) ** 3", "-1"},
    {"(-1) ** 1000000000001", "-1"},
    {"1 ** 9000000000000000000", "1"},
    {"(-2) ** 63", "-9223372036854775808"},
    {"min(3, 1, 2)", "1"},
    {"max(3, 1.5, 2)", "3"},
    {"max(1, 2.5)", "2.5"},
    {"width * 2", "24"},
    {"blocks[0] + blocks[-1]", "7"},
    {"[1, 2][1]", "2"},
    {"1 if width > 10 else 2", "1"},
    {"1 if width < 10 else 2 if width == 12 else 3", "2"},
    {"not width == 12 or true and false", "false"},
    {"2.0 == 2", "true"},
    {"true != false", "true"},
    {"1 / 0", "division by zero"},
    {"1 // 0", "division by zero"},
    {"1 % 0", "division by zero"},
    {"7.0 // 2", "// wants whole numbers"},
    {"7 % 2.0", "% wants whole numbers"},
    {"true ** 2", "** wants numbers, got true and 2"},
    {"2 // blocks", "// wants numbers, got 2 and a list"},
    {"2 ** 63", "the result does not fit 64 bits"},
    {"3 ** 9000000000000000000", "the result does not fit 64 bits"},
    {"9223372036854775807 + 1", "the result does not fit 64 bits"},
    {"(-9223372036854775807 - 1) // (-1)", "the result does not fit 64 bits"},
    {"99999999999999999999", "a number too large"},
    {"1e308 * 10", "the result is not finite"},
    {"1 < 2 < 3", "did not expect \"< 3\""},
    {"blocks[2]", "index 2 is outside a list of 2"},
    {"width[0]", "only a list can be indexed, by a whole number"},
    {"not 1", "not wants true or false"},
    {"1 if 1 else 2", "if wants true or false"},
    {"1 if true", "expected else"},
    {"min(true, 1)", "min and max want numbers"},
    {"with * 2", "nothing is called with here; did you mean width?"},
    {"yes", "nothing is called yes here; did you mean true?"},
    {"off", "nothing is called off here; did you mean false?"},
    {"(1", "expected )"},
    {"", "expected a value"},
};

static void test_expressions(void **state)
{
    (void)state;
    jmp_buf out_of_memory;
    if (setjmp(out_of_memory)) fail_msg("out of memory");
    arena = dg_arena_create(&out_of_memory);
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *value = evaluate(cases[i].text);
        if (!strcmp(value, cases[i].value)) continue;
        print_error("%s is %s, expected %s\n", cases[i].text, value, cases[i].value);
        wrong++;
    }
    assert_int_equal(wrong, 0);
    dg_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expressions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Every op of the registry is tested in every mode that applies to it. The programs of the families say what they test
 * (`test_linear --list`, tests/support/op_harness.h). */
#include "tests/support/op_facts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static unsigned tested[256]; /* modes, by the op's place in the registry */

static void note(const char *program, const char *op, const char *mode)
{
    int place = 0;
    unsigned bit = 1;
    while (place < dg_op_count() && strcmp(dg_op_at(place)->name, op)) place++;
    while (bit < 1u << OP_MODES && strcmp(op_mode_name(bit), mode)) bit <<= 1;
    if (place == dg_op_count()) fail_msg("%s tests %s, which is no op", program, op);
    if (!(op_modes(dg_op_at(place)) & bit)) fail_msg("%s tests %s in mode %s, which does not apply", program, op, mode);
    tested[place] |= bit;
}

static void ask(const char *program)
{
    char command[512], op[64], mode[16];
    int lines = 0;
    snprintf(command, sizeof command, "'%s/%s' --list", DG_BUILD_DIR, program);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    for (; fscanf(list, "%63s %15s", op, mode) == 2; lines++) note(program, op, mode);
    if (pclose(list) || !lines) fail_msg("%s does not say which ops it tests", program);
}

static void test_every_op_in_every_mode(void **state)
{
    (void)state;
    char programs[] = DG_OP_TESTS;
    bool complete = true;
    assert_true(dg_op_count() <= (int)(sizeof tested / sizeof *tested));
    for (char *program = strtok(programs, " "); program; program = strtok(NULL, " ")) ask(program);
    for (int i = 0; i < dg_op_count(); i++)
        for (unsigned m = 1; m < 1u << OP_MODES; m <<= 1) {
            if (!(op_modes(dg_op_at(i)) & m & ~tested[i])) continue;
            print_error("%s is not tested in mode %s\n", dg_op_at(i)->name, op_mode_name(m));
            complete = false;
        }
    assert_true(complete);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_op_in_every_mode)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

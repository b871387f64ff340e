#include "tests/support/diagnostics.h"

#include <unistd.h>

int enter_diagnostics(void **state)
{
    if (make_test_folder(state) || chdir(test_folder)) return 1;
    write_file("net.yaml", NET, strlen(NET) - strlen("---\n"));
    return 0;
}

int leave_diagnostics(void **state) { return chdir("/") || remove_test_folder(state); }

/* "test.yaml: 2 errors": as many as are shown, or more of which only some are. */
static bool counts_errors(const char *text, const char *diagnostics)
{
    int shown = 0, counted = 0, end = 0;
    for (const char *at = diagnostics; (at = strstr(at, ": error: ")); at++) shown++;
    sscanf(text, "test.yaml: %d error%n", &counted, &end);
    return end && !strcmp(text + end, counted == 1 ? "" : "s") && counted >= shown;
}

void check_diagnostics(const struct wrong_description *cases, size_t count)
{
    int wrong = 0;
    for (size_t i = 0; i < count; i++) {
        const char *const set[] = {"epochs=3", cases[i].set};
        struct dg_compile_options options = {.file = "test.yaml", .set = set, .num_sets = cases[i].set ? 2 : 0};
        struct dg_compile_result result;
        struct dg_error err = {0};
        write_file("test.yaml", cases[i].yaml, strlen(cases[i].yaml));
        enum dg_status status = dg_compile(&options, &result, &err);
        if (status != DG_ERR_INPUT || strcmp(result.diagnostics, cases[i].diagnostics) ||
            !counts_errors(err.text, result.diagnostics)) {
            print_error("%s: status %d, expected\n%sgot\n%s%s\n", cases[i].what, (int)status, cases[i].diagnostics,
                        result.diagnostics, err.text);
            wrong++;
        }
        dg_compile_result_free(&result);
    }
    assert_int_equal(wrong, 0);
}

#include "tests/support/diagnostics.h"

#include <unistd.h>

int enter_diagnostics(void **state)
{
    if (make_test_folder(state) || chdir(test_folder)) return 1;
    write_file("net.yaml", NET, strlen(NET) - strlen("---\n"));
    return 0;
}

int leave_diagnostics(void **state) { return chdir("/") || remove_test_folder(state); }

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
        if (status != DG_ERR_INPUT || strcmp(result.diagnostics, cases[i].diagnostics) || !*err.text) {
            print_error("%s: status %d, expected\n%sgot\n%s\n", cases[i].what, (int)status, cases[i].diagnostics,
                        result.diagnostics);
            wrong++;
        }
        dg_compile_result_free(&result);
    }
    assert_int_equal(wrong, 0);
}

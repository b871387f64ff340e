#include "tests/support/compile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

void compile_plan(const struct dg_compile_options *options)
{
    struct dg_compile_result result = {0};
    struct dg_error err = {0};
    if (dg_compile(options, &result, &err) != DG_OK)
        fail_msg("%s: %s%s", options->file, result.diagnostics ? result.diagnostics : "", err.text);
    dg_compile_result_free(&result);
}

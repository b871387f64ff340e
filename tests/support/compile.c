#include "tests/support/compile.h"

#include "tests/support/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

void compile_plan(const struct dg_compile_options *options)
{
    struct dg_compile_result result = {0};
    struct dg_error err = {0};
    if (dg_compile(options, &result, &err) != DG_OK)
        fail_msg("%s: %s%s", options->file, result.diagnostics ? result.diagnostics : "", err.text);
    dg_compile_result_free(&result);
}

void open_plan_of(struct dg_arena *arena, struct dg_entry *entry, struct dg_layout *layout, struct dg_plan *plan)
{
    struct dg_emit_input in = {.kind = DG_PLAN_RECIPE,
                               .entry = entry,
                               .layout = layout,
                               .num_entries = 1,
                               .recipe = "test",
                               .source = "test.yaml"};
    char path[] = "/tmp/dinograph-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    uint64_t size;
    assert_ok(dg_plan_emit(arena, &in, path, &size, try_err));
    assert_ok(dg_plan_open(path, plan, try_err));
    unlink(path);
}

/* graphs/schema.json says what the compiler accepts: tests/unit/graphs/check_schema.py compares them. This test tells it what the
 * compiler knows: the op table, and every shipped description with all defaults filled in. */
#include "compiler/compile.h"
#include "ops/op.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void write_ops(const char *folder)
{
    static const char *const types[] = {"int", "float", "bool", "param"};
    char path[1100];
    snprintf(path, sizeof path, "%s/ops.txt", folder);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    for (int i = 0; i < dg_op_count(); i++) {
        const struct dg_op *op = dg_op_at(i);
        if (!op->in_yaml) continue;
        fprintf(file, "op\t%s\t%d\n", op->name, op->params != NULL);
        for (int a = 0; a < dg_op_num_attrs(op); a++) {
            const struct dg_attr_spec *s = &op->attrs[a];
            double value = s->type == DG_ATTR_FLOAT ? s->value.f : (double)s->value.i;
            if (!s->internal)
                fprintf(file, "attr\t%s\t%s\t%d\t%.17g\t%.17g\t%.17g\t%s\n", s->name, types[s->type], s->required,
                        s->min, s->max, value, s->doc ? s->doc : "");
        }
        fprintf(file, "end\n");
    }
    assert_int_equal(fclose(file), 0);
}

static void write_printed(const char *folder)
{
    glob_t found;
    assert_int_equal(glob(DG_SOURCE_DIR "/graphs/*.yaml", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct dg_compile_options options = {.file = found.gl_pathv[i], .print = true};
        struct dg_compile_result result;
        struct dg_error err = {0};
        if (dg_compile(&options, &result, &err) != DG_OK) fail_msg("%s: %s", options.file, result.diagnostics);
        char path[1100];
        snprintf(path, sizeof path, "%s/%zu.yaml", folder, i);
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        fputs(result.text, file);
        assert_int_equal(fclose(file), 0);
        dg_compile_result_free(&result);
    }
    globfree(&found);
}

static void test_schema(void **state)
{
    (void)state;
    char folder[] = "/tmp/dinograph-test-XXXXXX", command[2048];
    assert_non_null(mkdtemp(folder));
    write_ops(folder);
    write_printed(folder);
    /* Debian's Python, as it is the one with Debian's modules. */
    snprintf(command, sizeof command, "/usr/bin/python3 %s/tests/unit/graphs/check_schema.py %s/graphs %s",
             DG_SOURCE_DIR, DG_SOURCE_DIR, folder);
    int status = system(command), code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    if (code == 77 || code == 127) {
        print_message("skipped: python3 with the modules yaml and jsonschema is missing; tools/setup installs them\n");
        skip();
    }
    assert_int_equal(code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_schema)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

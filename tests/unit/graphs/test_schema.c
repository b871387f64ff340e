/* graphs/schema.json is what `dinoc --schema` prints, and says of descriptions what the compiler says. */
#include "compiler/compile.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_the_file_is_what_is_printed(void **state)
{
    (void)state;
    static char file[1 << 20];
    FILE *stream = fopen(DG_SOURCE_DIR "/graphs/schema.json", "re");
    assert_non_null(stream);
    file[fread(file, 1, sizeof file - 1, stream)] = 0;
    fclose(stream);
    char *printed = dg_compile_reference(DG_REFERENCE_SCHEMA);
    assert_non_null(printed);
    int line = 1, same = 0;
    for (; file[same] && file[same] == printed[same]; same++) line += file[same] == '\n';
    if (file[same] || printed[same])
        fail_msg("graphs/schema.json differs in line %d; dinoc --schema > graphs/schema.json writes it", line);
    free(printed);
}

/* Every shipped description, with all defaults filled in. */
static void write_printed(const char *folder)
{
    glob_t found;
    assert_int_equal(glob(DG_SOURCE_DIR "/graphs/*.yaml", 0, NULL, &found), 0);
    assert_int_equal(glob(DG_SOURCE_DIR "/graphs/backbones/*.yaml", GLOB_APPEND, NULL, &found), 0);
    assert_int_equal(glob(DG_SOURCE_DIR "/graphs/ablations/*.yaml", GLOB_APPEND, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *folders[] = {DG_SOURCE_DIR "/graphs"}; /* for imports of ablations/ */
        struct dg_compile_options options = {.file = found.gl_pathv[i], .folder = folders, .folders = 1, .print = true};
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

static void test_descriptions(void **state)
{
    (void)state;
    char folder[] = "/tmp/dinograph-test-XXXXXX", command[2048];
    assert_non_null(mkdtemp(folder));
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_file_is_what_is_printed),
                                       cmocka_unit_test(test_descriptions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

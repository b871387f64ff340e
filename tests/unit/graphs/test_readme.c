/* graphs/README.md: its examples compile, and its tables are those that dinoc prints. DG_UPDATE=1 writes the tables. */
#include "compiler/compile.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define README DG_SOURCE_DIR "/graphs/README.md"
static char text[1 << 20], folder[] = "/tmp/dinograph-test-XXXXXX";

static void read_readme(void)
{
    FILE *file = fopen(README, "re");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    text[size] = 0;
    fclose(file);
}

/* What stands between the marker of a command and the end marker behind it. */
static char *find_table(const char *command, size_t *size)
{
    char marker[64];
    snprintf(marker, sizeof marker, "<!-- %s -->\n", command);
    char *start = strstr(text, marker);
    if (!start) fail_msg("graphs/README.md has no marker %s", marker);
    start += strlen(marker);
    const char *end = strstr(start, "<!-- end -->");
    assert_non_null(end);
    *size = (size_t)(end - start);
    return start;
}

static void update(const char *start, size_t size, const char *printed)
{
    FILE *file = fopen(README, "we");
    assert_non_null(file);
    fprintf(file, "%.*s%s%s", (int)(start - text), text, printed, start + size);
    assert_int_equal(fclose(file), 0);
    read_readme();
}

static void check_table(const char *command, enum dg_reference what)
{
    char *printed = dg_compile_reference(what);
    assert_non_null(printed);
    size_t size;
    const char *start = find_table(command, &size);
    if (strlen(printed) != size || memcmp(start, printed, size)) {
        if (!getenv("DG_UPDATE"))
            fail_msg("graphs/README.md has another table than %s; DG_UPDATE=1 build/test_readme writes it", command);
        update(start, size, printed);
    }
    free(printed);
}

static void test_tables(void **state)
{
    (void)state;
    check_table("dinoc --ops", DG_REFERENCE_OPS);
    check_table("dinoc --keys", DG_REFERENCE_KEYS);
}

/* The description in readme.yaml, between those of graphs/. */
static void compile(int number)
{
    struct dg_compile_options options = {.file = "readme.yaml"};
    struct dg_compile_result result;
    struct dg_error err = {0};
    enum dg_status status = dg_compile(&options, &result, &err);
    if (status != DG_OK) fail_msg("example %d of graphs/README.md: %s\n%s", number, err.text, result.diagnostics);
    dg_compile_result_free(&result);
}

static void test_examples(void **state)
{
    (void)state;
    static const char fence[] = "\n```yaml\n";
    int count = 0;
    for (const char *block = text; (block = strstr(block, fence)); count++) {
        block += strlen(fence);
        const char *end = strstr(block, "\n```\n");
        assert_non_null(end);
        FILE *file = fopen("readme.yaml", "we");
        assert_non_null(file);
        fprintf(file, "%.*s\n", (int)(end - block), block);
        assert_int_equal(fclose(file), 0);
        compile(count + 1);
    }
    assert_true(count >= 5);
}

static int setup(void **state)
{
    (void)state;
    glob_t found;
    if (!mkdtemp(folder) || chdir(folder) || glob(DG_SOURCE_DIR "/graphs/*.yaml", 0, NULL, &found)) return 1;
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (symlink(found.gl_pathv[i], strrchr(found.gl_pathv[i], '/') + 1)) return 1;
    globfree(&found);
    read_readme();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return chdir("/") || system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables), cmocka_unit_test(test_examples)};
    return cmocka_run_group_tests(tests, setup, teardown);
}

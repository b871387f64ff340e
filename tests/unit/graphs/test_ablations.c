/* Every recipe of graphs/ablations/ compiles in the paper's size, for one process and for eight, is called as its file, and says which row of the paper it is. */
#include "compiler/compile.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER DG_SOURCE_DIR "/graphs/ablations/"

static void check_lines(const char *path)
{
    char line[4][512] = {"", "", "", ""}, name[256], stem[256];
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    for (int i = 0; i < 4; i++) assert_non_null(fgets(line[i], sizeof line[i], file));
    fclose(file);
    snprintf(stem, sizeof stem, "%.*s", (int)(strlen(strrchr(path, '/') + 1) - strlen(".yaml")),
             strrchr(path, '/') + 1);
    if (sscanf(line[2], "recipe: %255s", name) != 1 || strcmp(name, stem))
        fail_msg("%s: its recipe is not %s", path, stem);
    if (strncmp(line[1], "# Table ", 8) && strncmp(line[1], "# Figure ", 9) && strncmp(line[1], "# Appendix, ", 12))
        fail_msg("%s does not say which row it is", path);
}

static void check_compiles(const char *path, int64_t ranks)
{
    const char *folders[] = {DG_SOURCE_DIR "/graphs"};
    struct dg_compile_options options = {.file = path, .folder = folders, .folders = 1, .ranks = ranks};
    struct dg_compile_result result;
    struct dg_error err = {0};
    if (dg_compile(&options, &result, &err) != DG_OK)
        fail_msg("%s for %d processes: %s\n%s", path, (int)ranks, err.text, result.diagnostics);
    dg_compile_result_free(&result);
}

static void test_rows(void **state)
{
    (void)state;
    glob_t found;
    int rows = 0;
    assert_int_equal(glob(FOLDER "*.yaml", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        if (!strcmp(path, FOLDER "heads.yaml")) continue;
        check_compiles(path, 0);
        check_compiles(path, 8);
        if (!strcmp(path, FOLDER "base.yaml") || !strcmp(path, FOLDER "small.yaml")) continue;
        check_lines(path);
        rows++;
    }
    globfree(&found);
    assert_true(rows >= 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

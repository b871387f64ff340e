/* results.csv: a header once, quoted text, and what a resumed run takes away. */
#include "runtime/train/results.h"

#include "tests/support/check.h"
#include "tests/support/files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void add(const char *by, int64_t step, const char *weights, double most)
{
    static const char *const path[] = {"/nowhere/a, \"b\"", "/nowhere/c"};
    const struct dg_data val = {.path = path, .paths = 2};
    const struct dg_result result[] = {{"knn20.top1", 43.25, most}, {"knn20.top5", 100, NAN}};
    const struct dg_results results = {.by = by,
                                       .step = step,
                                       .network = "teacher",
                                       .weights = weights,
                                       .val = &val,
                                       .images = 400,
                                       .result = result,
                                       .count = 2};
    struct dg_error err = {0};
    if (dg_results_add(test_folder, &results, &err) != DG_OK) fail_msg("%s", err.text);
}

/* The lines behind the times, which are all of one length. */
static void lines_are(const char *const *line, int count)
{
    size_t size;
    char *text = read_file(in("results.csv"), &size), *rest = text;
    for (int i = 0; i < count; i++) {
        char *one = strsep(&rest, "\n");
        assert_non_null(rest);
        if (i) assert_true(one[10] == 'T' && one[19] == 'Z');
        assert_string_equal(i ? one + strlen("2026-11-28T03:20:00Z") : one, line[i]);
    }
    assert_string_equal(rest, "");
    free(text);
}

static void test_lines(void **state)
{
    (void)state;
    struct dg_error err = {0};
#define DATA ",,\"/nowhere/a, \"\"b\"\";/nowhere/c\",400"
    static const char *const line[] = {
        "time,step,by,measure,value,most_frequent,network,weights,train,val,images",
        ",10,train,knn20.top1,43.25,12.5,teacher,checkpoint.safetensors" DATA,
        ",10,train,knn20.top5,100,,teacher,checkpoint.safetensors" DATA,
        ",,knn,knn20.top1,43.25,,teacher,bare" DATA,
        ",,knn,knn20.top5,100,,teacher,bare" DATA,
        ",20,knn,knn20.top1,43.25,,teacher,checkpoint.safetensors" DATA,
        ",20,knn,knn20.top5,100,,teacher,checkpoint.safetensors" DATA,
    };
    assert_int_equal(dg_results_cut(test_folder, 0, &err), DG_OK); /* there is no file yet */
    add("train", 10, "run/checkpoint.safetensors", 12.5);
    add("knn", -1, "bare", NAN);
    add("train", 11, "run/checkpoint.safetensors", 12.5);
    add("knn", 20, "checkpoint.safetensors", NAN);
    assert_int_equal(dg_results_cut(test_folder, 10, &err), DG_OK);
    lines_are(line, 7);
}

static void test_no_folder(void **state)
{
    (void)state;
    const struct dg_results none = {.by = "knn", .network = "teacher", .weights = "w"};
    struct dg_error err = {0};
    assert_int_equal(dg_results_add(in("missing"), &none, &err), DG_ERR_IO);
    assert_non_null(strstr(err.text, "missing/results.csv"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_no_folder)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

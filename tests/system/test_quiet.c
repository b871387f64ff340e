/* dinorun --quiet: results, warnings and errors are printed, and neither progress nor what was done. */
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <jansson.h>
#include <sys/stat.h>

#define DINORUN DG_BUILD_DIR "/dinorun"
#define TRAIN                                                                                                          \
    DINORUN, "train", in("tiny.plan"), "--data", in("pictures"), "--out", in("run"), "--ignore-memory", "--quiet"
#define KNN DINORUN, "knn", in("run"), "--train", in("pictures"), "--val", in("pictures"), "-k", "2", "--quiet"

static int setup(void **state)
{
    make_test_folder(state);
    dg_tiny_compile(in("tiny.plan"), NULL);
    assert_int_equal(mkdir(in("pictures"), 0777), 0);
    dg_tiny_pictures(in("pictures/a"), 5);
    dg_tiny_pictures(in("pictures/b"), 3);
    const struct process *p = RUN(TRAIN, "--steps", "2");
    process_assert_status(p, 0);
    assert_string_equal(p->out, "");
    assert_string_equal(p->err, "");
    return 0;
}

static void test_files(void **state)
{
    (void)state;
    const struct process *p =
        RUN(DINORUN, "features", in("run"), "--data", in("pictures"), "--out", in("f.npy"), "--quiet");
    process_assert_status(p, 0);
    assert_string_equal(p->out, "");
    p = RUN(DINORUN, "export", in("run"), "-o", in("b.safetensors"), "--backbone", "teacher", "--quiet");
    process_assert_status(p, 0);
    assert_string_equal(p->out, "");
    p = RUN(DINORUN, "report", in("run"), "-o", in("r.html"), "--quiet");
    process_assert_status(p, 0);
    assert_string_equal(p->out, "");
}

static void test_results(void **state)
{
    (void)state;
    const struct process *p = RUN(KNN);
    process_assert_status(p, 0);
    const char *first = "8 images vote on 8, 2 classes; the most frequent class alone would get 62.50 %\n2-NN: top-1 ";
    if (strncmp(p->out, first, strlen(first))) fail_msg("knn --quiet says:\n%s", p->out);
    assert_ptr_equal(strchr(p->out + strlen(first), '\n') + 1, p->out + strlen(p->out));
}

static void test_json(void **state)
{
    (void)state;
    const struct process *p = RUN(KNN, "--json");
    process_assert_status(p, 0);
    assert_null(strstr(p->err, "images vote"));
    json_t *object = json_loads(p->out, 0, NULL);
    assert_non_null(json_object_get(object, "results"));
    json_decref(object);
}

static void test_errors(void **state)
{
    (void)state;
    const struct process *p = RUN(TRAIN); /* without --resume, over a run */
    process_assert_status(p, 2);
    assert_string_equal(p->out, "");
    process_assert_says(p, p->err, "holds a run");
    process_assert_status(process_run((const char *const[]){KNN, NULL}, "/dev/full"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files), cmocka_unit_test(test_results),
                                       cmocka_unit_test(test_json), cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

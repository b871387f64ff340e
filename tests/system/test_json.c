/* --json: standard output is one JSON object and nothing else, with what the command says to people on standard error. */
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <jansson.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

static int setup(void **state)
{
    if (make_test_folder(state)) return -1;
    dg_tiny_compile(in("plan"), NULL);
    process_assert_status(RUN(DG_BUILD_DIR "/draw_scenes", "--out", in("scenes"), "--images", "30", "--classes", "3"),
                          0);
    process_assert_status(RUN(DINORUN, "train", in("plan"), "--data", in("scenes/train"), "--out", in("run"),
                              "--epochs", "1", "--steps", "0", "--ignore-memory"),
                          0);
    return 0;
}

/* The object that the words print. */
static json_t *json_of(const char *const argv[])
{
    json_error_t why;
    const struct process *run = process_run(argv, NULL);
    process_assert_status(run, 0);
    json_t *object = json_loads(run->out, 0, &why);
    if (!json_is_object(object)) fail_msg("%s: %s", argv[1], run->out);
    return object;
}
#define JSON(...) json_of((const char *const[]){DINORUN, __VA_ARGS__, "--json", NULL})

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("%s is no number", key);
    return json_number_value(value);
}

static void assert_machine(const json_t *object)
{
    static const char *const keys[] = {"version", "commit", "cpu", "kernels", "onednn"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        assert_true(json_is_string(json_object_get(json_object_get(object, "machine"), keys[k])));
}

static void test_info(void **state)
{
    (void)state;
    json_t *plan = JSON("info", in("plan"));
    json_t *entries = json_object_get(plan, "entries"), *train = json_array_get(entries, 0);
    assert_true(json_array_size(entries) >= 3 && json_array_size(json_object_get(plan, "knobs")) > 20);
    assert_string_equal(json_string_value(json_object_get(train, "name")), "train");
    assert_true(number(train, "batch") == TINY_BATCH && number(train, "parameters") > 1000);
    assert_null(json_object_get(train, "ops"));
    double operations = number(train, "operations");
    json_decref(plan);
    plan = JSON("info", in("plan"), "--entry", "train", "--ops");
    entries = json_object_get(plan, "entries");
    assert_int_equal(json_array_size(entries), 1);
    assert_true(json_array_size(json_object_get(json_array_get(entries, 0), "ops")) == (size_t)operations);
    json_decref(plan);
}

static void test_knn(void **state)
{
    (void)state;
    json_t *result = JSON("knn", in("run"), "--train", in("scenes/train"), "--val", in("scenes/val"), "-k", "1,3");
    json_t *results = json_object_get(result, "results");
    assert_true(number(result, "train_images") == 30 && number(result, "val_images") == 6 &&
                number(result, "classes") == 3);
    assert_int_equal(json_array_size(results), 2);
    assert_true(number(json_array_get(results, 1), "k") == 3);
    assert_in_range((int)number(json_array_get(results, 0), "top1"), 0, 100);
    assert_machine(result);
    json_decref(result);
}

static void test_features(void **state)
{
    (void)state;
    json_t *result = JSON("features", in("run"), "--data", in("scenes/val"), "--out", in("f.npy"));
    assert_string_equal(json_string_value(json_object_get(result, "array")), in("f.npy"));
    assert_true(number(result, "rows") == 6 && number(result, "dim") == 32);
    assert_string_equal(json_string_value(json_object_get(result, "output")), "cls");
    json_decref(result);
    result = JSON("features", in("run"), "--data", in("scenes/val"), "--out", in("p.npy"), "--output", "patches");
    const json_t *shape = json_object_get(result, "shape");
    assert_int_equal(json_array_size(shape), 4);
    assert_int_equal(json_integer_value(json_array_get(shape, 0)), 6);
    assert_int_equal(json_integer_value(json_array_get(shape, 3)), 32);
    json_decref(result);
}

static void test_segment_score(void **state)
{
    (void)state;
    json_t *result = JSON("segment-score", in("run"), "--data", in("scenes/val"), "--masks", in("scenes/masks/val"));
    assert_true(number(result, "images") == 6);
    assert_in_range((int)number(result, "best"), 0, 100);
    assert_true(json_array_size(json_object_get(result, "heads")) >= 1);
    json_decref(result);
}

static void test_linear(void **state)
{
    (void)state;
    json_t *result = JSON("linear", in("run"), "--train", in("scenes/train"), "--val", in("scenes/val"), "--epochs",
                          "1", "--set", "batch=6", "--ignore-memory");
    assert_true(number(result, "epochs") == 1 && number(result, "classes") == 3);
    assert_true(number(result, "best_top1") == number(result, "top1"));
    json_decref(result);
}

static void test_bench(void **state)
{
    (void)state;
    json_t *result = JSON("bench", in("plan"), "--steps", "1", "--nodes");
    assert_true(number(result, "batch") == TINY_BATCH && number(result, "images_per_s") > 0);
    assert_true(number(json_object_get(result, "seconds"), "median") > 0);
    assert_true(json_array_size(json_object_get(result, "nodes")) > json_array_size(json_object_get(result, "ops")));
    assert_machine(result);
    json_decref(result);
    result = JSON("bench", in("plan"), "--data", in("scenes/train"), "--images", "4");
    assert_true(number(result, "images") >= 4 && number(result, "views") == TINY_VIEWS);
    json_decref(result);
}

/* A failure prints nothing that could be taken for a result. */
static void test_failure(void **state)
{
    (void)state;
    const struct process *run =
        RUN(DINORUN, "knn", in("run"), "--train", in("nowhere"), "--val", in("nowhere"), "--json");
    process_assert_status(run, 1);
    assert_string_equal(run->out, "");
    const char *const info[] = {DINORUN, "info", in("plan"), "--json", NULL};
    process_assert_status(process_run(info, "/dev/full"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_info),     cmocka_unit_test(test_knn),
                                       cmocka_unit_test(test_features), cmocka_unit_test(test_segment_score),
                                       cmocka_unit_test(test_linear),   cmocka_unit_test(test_bench),
                                       cmocka_unit_test(test_failure)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

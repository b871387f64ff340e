/* dinoc --json: each error is an object on a line of standard output, and nothing else is there. --quiet prints nothing but errors. */
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <jansson.h>
#include <unistd.h>

#define DINOC DG_BUILD_DIR "/dinoc"

static const char description[] = "recipe: bad\n"
                                  "import: [vit.yaml, dino_head.yaml]\n"
                                  "batch: 0\n"
                                  "epochs: 10\n"
                                  "student: {backbone: vit, with: {dim: 32, patch: 8}}\n"
                                  "head: {module: dino_headd} # caf\xc3\xa9 \"\n";

static int setup(void **state)
{
    make_test_folder(state);
    write_file(in("bad.yaml"), description, sizeof description - 1);
    return 0;
}

/* The objects of the lines, as a list that the caller owns. */
static json_t *objects(const char *text)
{
    json_t *list = json_array();
    while (*text) {
        const char *end = strchr(text, '\n');
        assert_non_null(end);
        json_error_t error;
        json_t *object = json_loadb(text, (size_t)(end - text), 0, &error);
        if (!object) fail_msg("%s: %.*s", error.text, (int)(end - text), text);
        assert_int_equal(json_object_size(object), 6);
        json_array_append_new(list, object);
        text = end + 1;
    }
    return list;
}

static void is(const json_t *list, size_t index, int line, int column, const char *message)
{
    const json_t *object = json_array_get(list, index);
    assert_string_equal(json_string_value(json_object_get(object, "severity")), "error");
    assert_string_equal(json_string_value(json_object_get(object, "file")), in("bad.yaml"));
    assert_int_equal(json_integer_value(json_object_get(object, "line")), line);
    assert_int_equal(json_integer_value(json_object_get(object, "column")), column);
    assert_non_null(strstr(json_string_value(json_object_get(object, "message")), message));
    assert_true(json_is_array(json_object_get(object, "notes")));
}

static void test_errors(void **state)
{
    (void)state;
    const struct process *p = RUN(DINOC, in("bad.yaml"), "--json", "-o", in("bad.plan"));
    process_assert_status(p, 1);
    assert_string_equal(p->err, "");
    json_t *list = objects(p->out);
    assert_int_equal(json_array_size(list), 3);
    is(list, 0, 3, 8, "batch is 0");
    is(list, 1, 5, 21, "needs the argument heads");
    is(list, 2, 6, 16, "there is no module dino_headd; did you mean dino_head?");
    json_decref(list);
    assert_int_not_equal(access(in("bad.plan"), F_OK), 0);
}

/* What led to an error goes with it. */
static void test_notes(void **state)
{
    (void)state;
    const struct process *p =
        RUN(DINOC, in("bad.yaml"), "--json", "--set", "batch=2", "--set", "head.module=dino_head");
    process_assert_status(p, 1);
    json_t *list = objects(p->out);
    assert_int_equal(json_array_size(list), 1);
    const json_t *notes = json_object_get(json_array_get(list, 0), "notes");
    assert_int_equal(json_array_size(notes), 1);
    const json_t *note = json_array_get(notes, 0);
    assert_string_equal(json_string_value(json_object_get(note, "severity")), "note");
    assert_string_equal(json_string_value(json_object_get(note, "message")), "it is declared here");
    assert_non_null(strstr(json_string_value(json_object_get(note, "file")), "vit.yaml"));
    json_decref(list);
}

/* An error without a place, and more errors than are told one by one. */
static void test_others(void **state)
{
    (void)state;
    const struct process *p = RUN(DINOC, "demo", "--json", "--memory", "1M");
    process_assert_status(p, 1);
    json_t *list = objects(p->out);
    assert_int_equal(json_array_size(list), 1);
    assert_true(json_is_null(json_object_get(json_array_get(list, 0), "file")));
    assert_true(json_is_null(json_object_get(json_array_get(list, 0), "line")));
    json_decref(list);

    char text[1024] = "module: many\nnodes:\n";
    for (int n = 0; n < 23; n++) sprintf(text + strlen(text), "  n%d: {op: nosuch%d}\n", n, n);
    write_file(in("many.yaml"), text, strlen(text));
    p = RUN(DINOC, in("many.yaml"), "--json");
    list = objects(p->out);
    assert_int_equal(json_array_size(list), 21);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 20), "message")), "3 more errors");
    json_decref(list);
}

/* A right description: nothing on standard output, and a plan where one was asked for. */
static void test_right(void **state)
{
    (void)state;
    const struct process *p = RUN(DINOC, "demo", "--json", "-o", in("right.plan"));
    process_assert_status(p, 0);
    assert_string_equal(p->out, "");
    process_assert_says(p, p->err, "recipe demo -> ");
    assert_int_equal(access(in("right.plan"), F_OK), 0);
    p = RUN(DINOC, "demo", "--json", "--quiet");
    process_assert_status(p, 0);
    assert_string_equal(p->out, "");
    assert_string_equal(p->err, "");
}

static void test_quiet(void **state)
{
    (void)state;
    const struct process *p = RUN(DINOC, "demo", "--quiet", "-o", in("quiet.plan"));
    process_assert_status(p, 0);
    assert_string_equal(p->out, "");
    assert_string_equal(p->err, "");
    assert_int_equal(access(in("quiet.plan"), F_OK), 0);
    p = RUN(DINOC, in("bad.yaml"), "--quiet", "-o", in("bad.plan"));
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "bad.yaml:3:8: error: batch is 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_errors), cmocka_unit_test(test_notes),
                                       cmocka_unit_test(test_others), cmocka_unit_test(test_right),
                                       cmocka_unit_test(test_quiet)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

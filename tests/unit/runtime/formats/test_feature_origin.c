/* What features were made with: files that are alike pass, others are refused with what differs, and what cannot be compared is said. */
#include "runtime/formats/feature_origin.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char train[96], val[96];

static int setup(void **state)
{
    make_test_folder(state);
    snprintf(train, sizeof train, "%s/train.npy", test_folder);
    snprintf(val, sizeof val, "%s/val.npy", test_folder);
    return 0;
}

static void write_origin(const char *path, const char *weights, const char *exif)
{
    const struct dg_safetensors_meta fact[] = {{"weights", weights}, {"--exif", exif}};
    struct dg_atomic_file file;
    assert_ok(dg_feature_origin_write(path, fact, exif ? 2 : 1, &file, try_err));
    assert_ok(dg_atomic_commit(&file, try_err));
}

static void refuses(const char *words)
{
    struct dg_error err = {0};
    assert_int_equal(dg_feature_origin_compare(train, val, false, &dg_test_log, &err), DG_ERR_INPUT);
    if (!strstr(err.text, words)) fail_msg("\"%s\" is not in: %s", words, err.text);
    dg_test_hush();
    assert_ok(dg_feature_origin_compare(train, val, true, &dg_test_log, try_err));
    if (!strstr(dg_test_said, words)) fail_msg("\"%s\" is not in: %s", words, dg_test_said);
}

static void test_alike(void **state)
{
    (void)state;
    write_origin(train, "0123", "false");
    write_origin(val, "0123", "false");
    dg_test_hush();
    assert_ok(dg_feature_origin_compare(train, val, false, &dg_test_log, try_err));
    assert_string_equal(dg_test_said, "");
}

static void test_differences(void **state)
{
    (void)state;
    write_origin(train, "0123", "false");
    write_origin(val, "4567", "false");
    refuses("train.npy and ");
    refuses("\n  weights: 0123, 4567");
    write_origin(val, "0123", NULL);
    refuses("\n  --exif: in one of them alone");
    write_origin(val, "0123", "true");
    write_origin(train, "0123", NULL);
    refuses("\n  --exif: in one of them alone");
}

/* Files of before --output have class tokens. */
static void test_output(void **state)
{
    (void)state;
    const struct dg_safetensors_meta cls[] = {{"weights", "0123"}, {"output", "cls"}},
                                     gem[] = {{"weights", "0123"}, {"output", "gem"}};
    struct dg_atomic_file file;
    write_origin(train, "0123", NULL);
    assert_ok(dg_feature_origin_write(val, cls, 2, &file, try_err));
    assert_ok(dg_atomic_commit(&file, try_err));
    assert_ok(dg_feature_origin_compare(train, val, false, &dg_test_log, try_err));
    assert_ok(dg_feature_origin_compare(val, train, false, &dg_test_log, try_err));
    assert_ok(dg_feature_origin_write(val, gem, 2, &file, try_err));
    assert_ok(dg_atomic_commit(&file, try_err));
    refuses("\n  output: gem, cls");
    assert_ok(dg_feature_origin_write(train, cls, 2, &file, try_err));
    assert_ok(dg_atomic_commit(&file, try_err));
    refuses("\n  output: cls, gem");
}

static void test_unsaid(void **state)
{
    (void)state;
    static const char *const text[] = {NULL, "", "{", "[1]"};
    write_origin(val, "0123", "false");
    for (size_t t = 0; t < sizeof text / sizeof *text; t++) {
        unlink(in("train.npy.json"));
        if (text[t]) write_file(in("train.npy.json"), text[t], strlen(text[t]));
        dg_test_hush();
        assert_ok(dg_feature_origin_compare(train, val, false, &dg_test_log, try_err));
        if (!strstr(dg_test_said, "train.npy does not say what it was made with")) fail_msg("%s", dg_test_said);
        dg_test_hush();
        assert_ok(dg_feature_origin_compare(val, train, false, &dg_test_log, try_err));
        if (!strstr(dg_test_said, "train.npy does not say what it was made with")) fail_msg("%s", dg_test_said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_alike), cmocka_unit_test(test_differences),
                                       cmocka_unit_test(test_output), cmocka_unit_test(test_unsaid)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

/* Features read again: what dg_npy and `dinorun features` write, and everything that is not that. */
#include "runtime/formats/feature_file.h"

#include "runtime/formats/npy.h"
#include "tests/support/check.h"
#include "tests/support/files.h"

#include <unistd.h>

static void write_pair(const char *name, int64_t rows, int64_t dim, const float *values, const char *list)
{
    struct dg_npy npy;
    struct dg_error err = {0};
    char tsv[300];
    assert_int_equal(dg_npy_open(in(name), rows, dim, &npy, &err), DG_OK);
    assert_int_equal(dg_npy_append(&npy, values, rows, &err), DG_OK);
    assert_int_equal(dg_npy_commit(&npy, &err), DG_OK);
    snprintf(tsv, sizeof tsv, "%s.tsv", in(name));
    write_file(tsv, list, strlen(list));
}

static void refused(const char *name, const char *message)
{
    struct dg_feature_file file;
    struct dg_error err = {0};
    assert_int_not_equal(dg_feature_file_read(in(name), &file, &err), DG_OK);
    if (!strstr(err.text, message)) fail_msg("\"%s\" does not say \"%s\"", err.text, message);
    assert_null(file.features);
}

static const float values[] = {1, 2, 3, 4, 5, 6};

static void test_read(void **state)
{
    (void)state;
    struct dg_feature_file train, val;
    struct dg_error err = {0};
    write_pair("train.npy", 3, 2, values, "b/1.png\tb\na/1.png\ta\nc/x\ty.png\tc\n");
    assert_int_equal(dg_feature_file_read(in("train.npy"), &train, &err), DG_OK);
    assert_int_equal(train.rows, 3);
    assert_int_equal(train.dim, 2);
    assert_int_equal(train.classes, 3);
    assert_memory_equal(train.features, values, sizeof values);
    assert_memory_equal(train.label, ((int[]){1, 0, 2}), 3 * sizeof(int));
    assert_string_equal(train.path[2], "c/x\ty.png");
    write_pair("val.npy", 2, 2, values, "c/1.png\tc\nb/1.png\tb\n");
    assert_int_equal(dg_feature_file_read(in("val.npy"), &val, &err), DG_OK);
    assert_int_equal(dg_feature_file_match(&val, &train, NULL, &err), DG_OK);
    assert_memory_equal(val.label, ((int[]){2, 1}), 2 * sizeof(int)); /* as train numbers them */
    dg_feature_file_free(&val);

    write_pair("other.npy", 2, 2, values, "d/1.png\td\nb/1.png\tb\n");
    assert_int_equal(dg_feature_file_read(in("other.npy"), &val, &err), DG_OK);
    assert_int_equal(dg_feature_file_match(&val, &train, NULL, &err), DG_ERR_INPUT);
    assert_string_equal(err.text, "class d is not among the training classes");
    dg_feature_file_free(&val);
    err = (struct dg_error){0};
    write_pair("long.npy", 2, 3, values, "c/1.png\tc\nb/1.png\tb\n");
    assert_int_equal(dg_feature_file_read(in("long.npy"), &val, &err), DG_OK);
    assert_int_equal(dg_feature_file_match(&val, &train, NULL, &err), DG_ERR_INPUT);
    dg_feature_file_free(&val);
    dg_feature_file_free(&train);
}

static void test_refused(void **state)
{
    (void)state;
    refused("nothing.npy", "cannot read ");
    write_pair("short.npy", 3, 2, values, "b\tb\na\ta\n");
    refused("short.npy", "has 2 lines");
    write_pair("more.npy", 1, 2, values, "b\tb\na\ta\n");
    refused("more.npy", "has more lines than");
    write_pair("flat.npy", 2, 2, values, "b\t\na\t\n");
    refused("flat.npy", "line 1: no label");
    write_file(in("text.npy"), "hello, world", 12);
    refused("text.npy", "not what dinorun features writes");
    unlink(in("train.npy.tsv"));
    refused("train.npy", "which has the labels");

    /* Any prefix, and a header that promises more than there is. */
    unsigned char bytes[256];
    FILE *file = fopen(in("short.npy"), "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t n = 0; n < size; n++) {
        write_file(in("cut.npy"), bytes, n);
        struct dg_feature_file cut;
        struct dg_error err = {0};
        assert_int_not_equal(dg_feature_file_read(in("cut.npy"), &cut, &err), DG_OK);
    }
    char *shape = strstr((char *)bytes + 10, "(3, 2)");
    assert_non_null(shape);
    memcpy(shape, "(9, 9)", 6);
    write_file(in("large.npy"), bytes, size);
    refused("large.npy", "do not hold 9 x 9 numbers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

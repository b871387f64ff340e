/* .npy files: the header as numpy.load reads it, the rows behind it, and promises that are not kept. */
#include "tests/support/images.h"

#include "runtime/formats/npy.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static int entries(void)
{
    DIR *dir = opendir(test_folder);
    assert_non_null(dir);
    int count = 0;
    for (struct dirent *e; (e = readdir(dir));) count += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(dir);
    return count;
}

/* Checks the header, whose rules are numpy.lib.format's, and returns where the data begins. */
static size_t check_header(const uint8_t *bytes, size_t size, long long rows, long long columns)
{
    assert_true(size >= 10);
    assert_memory_equal(bytes, "\x93NUMPY\x01\x00", 8);
    size_t end = 10 + bytes[8] + 256u * bytes[9];
    assert_true(end <= size && end % 64 == 0);
    assert_int_equal(bytes[end - 1], '\n');
    char text[512] = {0};
    assert_true(end - 10 < sizeof text);
    memcpy(text, bytes + 10, end - 10);
    assert_int_equal(strlen(text), end - 10);
    long long r, c;
    int used = 0;
    assert_int_equal(sscanf(text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }%n", &r, &c, &used),
                     2);
    assert_true(used > 0);
    assert_int_equal(strspn(text + used, " "), end - 10 - (size_t)used - 1);
    assert_true(r == rows && c == columns);
    return end;
}

static void check_file(int64_t rows, int64_t columns, int64_t piece)
{
    const char *path = in("features.npy");
    size_t count = (size_t)(rows * columns);
    float *data = malloc((count + 1) * sizeof *data);
    assert_non_null(data);
    for (size_t i = 0; i < count; i++) data[i] = (float)i / 7 - 3;
    struct dg_npy npy;
    assert_ok(dg_npy_open(path, rows, columns, &npy, try_err));
    for (int64_t row = 0; row < rows; row += piece)
        assert_ok(dg_npy_append(&npy, data + row * columns, dg_min_i64(piece, rows - row), try_err));
    assert_ok(dg_npy_commit(&npy, try_err));
    dg_npy_abandon(&npy);
    assert_int_equal(entries(), 1);

    size_t size;
    uint8_t *bytes = read_file(path, &size);
    size_t start = check_header(bytes, size, rows, columns);
    assert_int_equal(size, start + count * sizeof *data);
    assert_memory_equal(bytes + start, data, count * sizeof *data);
    free(bytes);
    free(data);
}

static void test_files(void **state)
{
    (void)state;
    check_file(5, 3, 2);
    check_file(1, 1, 1);
    check_file(1000, 37, 1000);
    check_file(0, 192, 1);
    check_file(4, 0, 4);
}

static void test_longest_header(void **state)
{
    (void)state;
    const char *path = in("long.npy");
    for (int which = 0; which < 2; which++) {
        int64_t rows = which ? INT64_MAX : 0, columns = which ? 0 : INT64_MAX;
        struct dg_npy npy;
        assert_ok(dg_npy_open(path, rows, columns, &npy, try_err));
        if (which) assert_ok(dg_npy_append(&npy, (const float[]){0}, rows, try_err));
        assert_ok(dg_npy_commit(&npy, try_err));
        size_t size;
        uint8_t *bytes = read_file(path, &size);
        assert_int_equal(check_header(bytes, size, rows, columns), size);
        free(bytes);
    }
}

static void test_shapes(void **state)
{
    (void)state;
    static const struct {
        int ndim;
        int64_t dim[DG_NPY_MAX_DIMS];
        const char *shape;
    } cases[] = {{1, {3}, "(3,)"},
                 {2, {3, 2}, "(3, 2)"},
                 {3, {3, 2, 1}, "(3, 2, 1)"},
                 {4, {3, 2, 1, 1}, "(3, 2, 1, 1)"},
                 {4, {5, 2, 1, 1}, "(3, 2, 1, 1)"}}; /* ends with fewer rows than it was opened for */
    const char *path = in("shape.npy");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dg_npy npy;
        assert_ok(dg_npy_open_shape(path, cases[i].ndim, cases[i].dim, &npy, try_err));
        assert_ok(dg_npy_append(&npy, (const float[6]){0}, 3, try_err));
        assert_ok(dg_npy_end(&npy, try_err));
        assert_ok(dg_npy_commit(&npy, try_err));
        size_t size;
        char want[128];
        uint8_t *bytes = read_file(path, &size);
        int length =
            snprintf(want, sizeof want, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }  ", cases[i].shape);
        assert_memory_equal(bytes + 10, want, (size_t)length);
        assert_int_equal(size, 128 + 3 * (cases[i].ndim > 1 ? 2 : 1) * sizeof(float));
        free(bytes);
    }
    unlink(path);
    struct dg_npy npy;
    assert_int_equal(dg_npy_open_shape(path, 3, (int64_t[]){0, INT64_MAX, INT64_MAX}, &npy, NULL), DG_ERR_USAGE);
    assert_int_equal(dg_npy_open_shape(path, 5, (int64_t[]){1, 1, 1, 1, 1}, &npy, NULL), DG_ERR_USAGE);
    assert_int_equal(dg_npy_open_shape(path, 3, (int64_t[]){2, -1, 1}, &npy, NULL), DG_ERR_USAGE);
    dg_npy_abandon(&npy);
}

static void test_broken_promises(void **state)
{
    (void)state;
    const char *path = in("features.npy");
    const float data[12] = {0};
    struct dg_npy npy;
    struct dg_error err = {0};
    assert_ok(dg_npy_open(path, 3, 4, &npy, try_err));
    assert_ok(dg_npy_append(&npy, data, 2, try_err));
    assert_int_equal(dg_npy_append(&npy, data, 2, &err), DG_ERR_USAGE);
    assert_non_null(strstr(err.text, "features.npy"));
    assert_int_equal(dg_npy_append(&npy, data, -1, NULL), DG_ERR_USAGE);
    err = (struct dg_error){0};
    assert_int_equal(dg_npy_commit(&npy, &err), DG_ERR_USAGE);
    assert_non_null(strstr(err.text, "only 2 of its 3 rows"));
    assert_int_equal(entries(), 0);

    /* an older file stands */
    write_file(path, "old", 3);
    assert_ok(dg_npy_open(path, 3, 4, &npy, try_err));
    assert_ok(dg_npy_append(&npy, data, 3, try_err));
    dg_npy_abandon(&npy);
    dg_npy_abandon(&npy);
    size_t size;
    uint8_t *bytes = read_file(path, &size);
    assert_int_equal(size, 3);
    assert_memory_equal(bytes, "old", 3);
    free(bytes);
    assert_int_equal(entries(), 1);

    assert_int_equal(dg_npy_open(path, -1, 4, &npy, NULL), DG_ERR_USAGE);
    dg_npy_abandon(&npy);
    assert_int_equal(dg_npy_open(path, INT64_MAX / 4, 2, &npy, NULL), DG_ERR_USAGE);
}

static void check_unwritable(const char *path)
{
    struct dg_npy npy;
    struct dg_error err = {0};
    assert_int_equal(dg_npy_open(path, 1, 1, &npy, &err), DG_ERR_IO);
    assert_non_null(strstr(err.text, path));
    dg_npy_abandon(&npy);
}

static void test_unwritable(void **state)
{
    (void)state;
    check_unwritable(in("missing/features.npy"));
    write_file(in("file"), "x", 1);
    check_unwritable(in("file/features.npy"));
    if (!geteuid()) return; /* root may write anywhere */
    assert_int_equal(mkdir(in("closed"), 0500), 0);
    check_unwritable(in("closed/features.npy"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files, make_test_folder, remove_test_folder),
        cmocka_unit_test_setup_teardown(test_longest_header, make_test_folder, remove_test_folder),
        cmocka_unit_test_setup_teardown(test_shapes, make_test_folder, remove_test_folder),
        cmocka_unit_test_setup_teardown(test_broken_promises, make_test_folder, remove_test_folder),
        cmocka_unit_test_setup_teardown(test_unwritable, make_test_folder, remove_test_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Listing data directories: layout, order, what is skipped, what is an error. */
#include "tests/support/images.h"

#include "runtime/data/dataset.h"

#include <sys/stat.h>
#include <unistd.h>

static void make_dir(const char *name) { assert_int_equal(mkdir(in(name), 0700), 0); }

static void touch(const char *name) { write_file(in(name), "x", 1); }

static void test_flat(void **state)
{
    (void)state;
    touch("b.jpg");
    touch("a.PNG");
    touch("c.Jpeg");
    touch("B.jpg");
    touch(".hidden.jpg");
    touch("notes.txt");
    touch("jpg");
    make_dir("empty");
    assert_int_equal(mkfifo(in("pipe.jpg"), 0600), 0);
    assert_int_equal(symlink("nowhere", in("dangling.jpg")), 0);
    assert_int_equal(symlink("b.jpg", in("link.jpg")), 0);
    struct dg_dataset *dataset;
    assert_ok(dg_dataset_open(test_folder, &dataset, try_err));
    const char *const expected[] = {"B.jpg", "a.PNG", "b.jpg", "c.Jpeg", "link.jpg"};
    assert_int_equal(dg_dataset_count(dataset), 5);
    uint64_t hash = DG_FNV_BASIS;
    for (int i = 0; i < 5; i++) {
        assert_string_equal(dg_dataset_relative(dataset, i), expected[i]);
        assert_string_equal(dg_dataset_path(dataset, i), in(expected[i]));
        assert_int_equal(dg_dataset_label(dataset, i), -1);
        hash = dg_fnv1a(hash, expected[i], strlen(expected[i]) + 1);
    }
    assert_true(dg_dataset_hash(dataset) == hash);
    assert_int_equal(dg_dataset_classes(dataset), 0);
    struct dg_dataset_skipped skipped = dg_dataset_skipped(dataset);
    assert_int_equal(skipped.other, 2);
    assert_int_equal(skipped.special, 2);
    assert_int_equal(skipped.stray, 0);
    dg_dataset_close(dataset);
}

static void test_class_tree(void **state)
{
    (void)state;
    make_dir("n02");
    make_dir("n01");
    make_dir("n01/deep");
    make_dir("n01/deep-er");
    make_dir("n00-empty");
    make_dir(".git");
    touch(".git/x.jpg");
    touch("stray.jpg");
    touch("labels.csv");
    touch("n02/z.jpg");
    touch("n02/a.jpg");
    touch("n01/x.jpg");
    touch("n01/deep/y.png");
    touch("n01/deep-er/y.png");
    touch("n01/readme");
    assert_int_equal(symlink("..", in("n01/up")), 0);
    char with_slash[80];
    snprintf(with_slash, sizeof with_slash, "%s//", test_folder);
    struct dg_dataset *dataset;
    assert_ok(dg_dataset_open(with_slash, &dataset, try_err));
    const char *const expected[] = {"n01/x.jpg", "n01/deep/y.png", "n01/deep-er/y.png", "n02/a.jpg", "n02/z.jpg"};
    const int label[] = {1, 1, 1, 2, 2};
    assert_int_equal(dg_dataset_count(dataset), 5);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(dg_dataset_relative(dataset, i), expected[i]);
        assert_int_equal(dg_dataset_label(dataset, i), label[i]);
    }
    assert_int_equal(dg_dataset_classes(dataset), 3);
    assert_string_equal(dg_dataset_class_name(dataset, 0), "n00-empty");
    assert_string_equal(dg_dataset_class_name(dataset, 2), "n02");
    struct dg_dataset_skipped skipped = dg_dataset_skipped(dataset);
    assert_int_equal(skipped.other, 2);
    assert_int_equal(skipped.stray, 1);
    assert_int_equal(skipped.loops, 1);
    dg_dataset_close(dataset);
}

static void expect_failure(const char *path, enum dg_status expected, const char *says)
{
    struct dg_dataset *dataset;
    struct dg_error err = {0};
    assert_int_equal(dg_dataset_open(path, &dataset, &err), expected);
    assert_null(dataset);
    if (!strstr(err.text, path) || !strstr(err.text, says)) fail_msg("unclear message: %s", err.text);
}

static void test_failures(void **state)
{
    (void)state;
    expect_failure(in("missing"), DG_ERR_IO, "No such file");
    touch("notes.txt");
    expect_failure(in("notes.txt"), DG_ERR_USAGE, "not a directory");
    expect_failure(test_folder, DG_ERR_INPUT, "*.jpg, *.jpeg and *.png");
    expect_failure(test_folder, DG_ERR_INPUT, "1 other file");
    touch("a.png");
    make_dir("closed");
    assert_int_equal(chmod(in("closed"), 0), 0);
    if (geteuid() != 0) expect_failure(test_folder, DG_ERR_IO, "closed"); /* root may read everything */
    assert_int_equal(chmod(in("closed"), 0700), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_flat, make_test_folder, remove_test_folder),
        cmocka_unit_test_setup_teardown(test_class_tree, make_test_folder, remove_test_folder),
        cmocka_unit_test_setup_teardown(test_failures, make_test_folder, remove_test_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

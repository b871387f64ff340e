/* Ground truths of retrieval: lists and arrays by every protocol of pickle, and what is refused. */
#include "runtime/formats/ground_truth.h"
#include "tests/support/check.h"
#include "tests/support/files.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define FOLDER DG_SOURCE_DIR "/tests/fixtures/ground_truth"

/* Of each query easy, hard and junk, each ended by -1. */
static const int32_t expected[3][DG_TRUTH_LISTS][3] = {
    {{1, 4, -1}, {2, -1}, {0, 3, -1}}, {{-1}, {0, 7, -1}, {5, -1}}, {{8, -1}, {-1}, {2, -1}}};

static void check(const struct dg_ground_truth *truth)
{
    assert_int_equal(truth->images, 9);
    assert_int_equal(truth->queries, 3);
    assert_string_equal(truth->image[7], "scene_000007");
    assert_string_equal(truth->query[0], "all_souls_000013");
    for (int q = 0; q < 3; q++)
        for (int which = 0; which < DG_TRUTH_LISTS; which++) {
            const int32_t *index = expected[q][which];
            int64_t count = 0;
            while (index[count] >= 0) count++;
            assert_int_equal(truth->of[q].count[which], count);
            assert_memory_equal(truth->of[q].index[which], index, (size_t)count * sizeof *index);
        }
}

static void test_forms(void **state)
{
    (void)state;
    DIR *folder = opendir(FOLDER);
    int files = 0;
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strstr(entry->d_name, ".pkl")) continue;
        struct dg_ground_truth truth = {0};
        assert_ok(dg_ground_truth_read(path_in(FOLDER, entry->d_name), &truth, try_err));
        check(&truth);
        dg_ground_truth_free(&truth);
        files++;
    }
    closedir(folder);
    assert_int_equal(files, 11);
}

/* A pickle of protocol 0, of which one list of junk is another. */
static void refuses(const char *junk, const char *words)
{
    char text[512];
    struct dg_ground_truth truth = {0};
    struct dg_error err = {0};
    int size =
        snprintf(text, sizeof text,
                 "(dVimlist\n(lVa\naVb\nasVqimlist\n(lVq\nasVgnd\n(l(dVeasy\n(lsVhard\n(lI1\nasVjunk\n%ssas.", junk);
    enum dg_status status = dg_ground_truth_parse(text, (size_t)size, &truth, &err);
    assert_int_equal(status, words ? DG_ERR_INPUT : DG_OK);
    if (words && !strstr(err.text, words)) fail_msg("\"%s\" is not in: %s", words, err.text);
    dg_ground_truth_free(&truth);
}

static void test_refusals(void **state)
{
    (void)state;
    refuses("(lI0\na", NULL);
    refuses("(lI2\na", "gnd[0][\"junk\"][0] is 2, and there are 2 images");
    refuses("(lI-1\na", "gnd[0][\"junk\"][0] is -1, and there are 2 images");
    refuses("(lF1\na", "gnd[0][\"junk\"][0] is no whole number");
    refuses("Vx\n", "gnd[0] has no list or array of whole numbers \"junk\"");
    refuses("ccollections\nCounter\n(tR", "gnd[0] has no list or array of whole numbers \"junk\"");
    refuses("cos\nsystem\n(Vtrue\ntR", "it names os.system");
    refuses("cnumpy\n_reconstruct\n(tR", "gnd[0] has no list or array of whole numbers \"junk\"");
    refuses("cnumpy\n_reconstruct\n(tR(I1\n(I3\ntcnumpy\ndtype\n(Vi4\ntRI00\nVx\ntb", "whole numbers \"junk\"");
    refuses("c_codecs\nencode\n(Vx\nVutf8\ntR", "bytes are not a text and \"latin1\"");
}

static void test_files(void **state)
{
    (void)state;
    struct dg_ground_truth truth = {0};
    struct dg_error err = {0};
    write_file(in("list.pkl"), "(lp0\n.", 6);
    assert_int_equal(dg_ground_truth_read(in("list.pkl"), &truth, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "list.pkl: it is no dict with imlist, qimlist and gnd"));
    dg_ground_truth_free(&truth);
    assert_int_equal(dg_ground_truth_read(in("missing.pkl"), &truth, NULL), DG_ERR_IO);
    dg_ground_truth_free(&truth);
    write_file(in("cut.pkl"), "(lVab", 5);
    err = (struct dg_error){0};
    assert_int_equal(dg_ground_truth_read(in("cut.pkl"), &truth, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "cut short"));
    dg_ground_truth_free(&truth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

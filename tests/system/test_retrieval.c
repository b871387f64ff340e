/* dinorun retrieve and copy-detect: ranked lists, sheets and scores of sets whose answers are known, and what is refused. */
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DINORUN DG_BUILD_DIR "/dinorun"
#define RETRIEVE(...) RUN(DINORUN, "retrieve", run, "--database", pictures, __VA_ARGS__)
#define DETECT(...) RUN(DINORUN, "copy-detect", run, "--data", copydays, "--resize", "square 32", __VA_ARGS__)

enum { PICTURES = 8, ORIGINALS = 3 };

static char run[96], pictures[96], copydays[96];

/* A ground truth of protocol 0. */
static void write_truth(const char *path, const char *second)
{
    char text[512];
    int size =
        snprintf(text, sizeof text,
                 "(dVimlist\n(lV00\naV01\naV02\naV03\naV04\nasVqimlist\n(lV02\naV05\nasVgnd\n(l(dVeasy\n(lI2\nasVhard\n"
                 "(lsVjunk\n(lsa(dVeasy\n(lsVhard\n(lI%s\nasVjunk\n(lI0\naI1\naI2\naI3\nasas.",
                 second);
    write_file(path, text, (size_t)size);
}

static void copy_picture(int which, const char *to)
{
    char name[16];
    snprintf(name, sizeof name, "%02d.png", which);
    copy_file(path_in(pictures, name), to);
}

static void make_copydays(void)
{
    static const char *const folder[] = {"", "original", "strong", "jpegqual", "jpegqual/3"};
    for (int f = 0; f < 5; f++) assert_int_equal(mkdir(path_in(copydays, folder[f]), 0777), 0);
    for (int i = 0; i < ORIGINALS; i++) {
        char name[64];
        snprintf(name, sizeof name, "original/200%d00.png", i);
        copy_picture(i, path_in(copydays, name));
        snprintf(name, sizeof name, "jpegqual/3/200%d00.png", i);
        copy_picture(i, path_in(copydays, name));
        snprintf(name, sizeof name, "strong/200%d01.png", (i + 1) % ORIGINALS); /* none shows its original */
        copy_picture(i, path_in(copydays, name));
    }
}

static int setup(void **state)
{
    setenv("OMP_WAIT_POLICY", "passive", 1);
    make_test_folder(state);
    snprintf(run, sizeof run, "%s/run", test_folder);
    snprintf(pictures, sizeof pictures, "%s/pictures", test_folder);
    snprintf(copydays, sizeof copydays, "%s/copydays", test_folder);
    dg_tiny_compile(in("tiny.plan"), NULL);
    dg_tiny_pictures(pictures, PICTURES);
    make_copydays();
    process_assert_status(
        RUN(DINORUN, "train", in("tiny.plan"), "--data", pictures, "--out", run, "--steps", "0", "--ignore-memory"), 0);
    return 0;
}

static void refuses(const struct process *p, int status, const char *text)
{
    process_assert_status(p, status);
    process_assert_says(p, p->err, text);
}

static json_t *json_of(const struct process *p)
{
    process_assert_status(p, 0);
    json_t *result = json_loads(p->out, 0, NULL);
    assert_non_null(result);
    return result;
}

/* A picture is the most similar to itself, in a list, on a sheet and in JSON. */
static void test_folders(void **state)
{
    (void)state;
    const struct process *p = RETRIEVE("--queries", pictures, "-k", "3", "--out", in("found.csv"), "--sheet",
                                       in("found.png"), "--resize", "long-side 32");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "found.png: 8 of 8 queries, and the 3 most similar images of each");
    process_assert_says(p, p->out, "a session for images of 32x32 pixels, the largest there can be, takes");
    size_t size;
    char *list = read_file(in("found.csv"), &size);
    assert_non_null(strstr(list, "query,rank,image,similarity\n00.png,1,00.png,"));
    int lines = 0;
    for (size_t i = 0; i < size; i++) lines += list[i] == '\n';
    assert_int_equal(lines, 1 + 3 * PICTURES);
    free(list);
    struct stat info;
    assert_int_equal(stat(in("found.png"), &info), 0);

    process_assert_status(RETRIEVE("--queries", pictures, "-k", "2", "--sheet", in("found.html")), 0);
    char *page = read_file(in("found.html"), &size);
    assert_non_null(strstr(page, "<h3>05.png</h3>"));
    assert_non_null(strstr(page, "<b>1.000</b> 05.png</figcaption>"));
    assert_non_null(strstr(page, "src=\"data:image/png;base64,iVBORw0KGgo"));
    assert_non_null(strstr(page, "</html>"));
    free(page);

    json_t *result = json_of(RETRIEVE("--queries", pictures, "-k", "2", "--multiscale", "--json"));
    assert_true(json_is_null(json_object_get(result, "scores")));
    json_t *lists = json_object_get(result, "results");
    assert_int_equal(json_array_size(lists), PICTURES);
    for (size_t q = 0; q < PICTURES; q++) {
        const json_t *one = json_array_get(lists, q), *nearest = json_object_get(one, "nearest");
        assert_int_equal(json_array_size(nearest), 2);
        assert_string_equal(json_string_value(json_object_get(json_array_get(nearest, 0), "image")),
                            json_string_value(json_object_get(one, "query")));
    }
    json_decref(result);
    p = RETRIEVE("--queries", path_in(pictures, "05.png"), "-k", "1"); /* one image */
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "05.png\n  1.0000  05.png\n");
    p = RETRIEVE("--queries", path_in(pictures, "."), "-k", "1");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "\n  1.0000  07.jpg\n");
}

static double score(const json_t *result, const char *level, const char *measure)
{
    const json_t *of = json_object_get(json_object_get(json_object_get(result, "scores"), level), measure);
    assert_true(json_is_number(of));
    return json_number_value(of);
}

/* The first query's only image is itself. All of the second's others are junk, so its one is the first. */
static void test_truth(void **state)
{
    (void)state;
    write_truth(in("gnd.pkl"), "4");
    json_t *result = json_of(RETRIEVE("--ground-truth", in("gnd.pkl"), "--json", "--out", in("ranked.csv")));
    assert_int_equal(json_integer_value(json_object_get(result, "images")), 5);
    assert_true(score(result, "medium", "map") == 100 && score(result, "medium", "queries") == 2);
    assert_true(score(result, "easy", "map") == 100 && score(result, "easy", "queries") == 1);
    assert_true(score(result, "hard", "mp1") == 100 && score(result, "hard", "queries") == 1);
    json_decref(result);
    size_t size;
    char *results = read_file(path_in(run, "results.csv"), &size);
    assert_non_null(strstr(results, ",retrieve,retrieval.medium.map,100,"));
    assert_non_null(strstr(results, ",retrieve,retrieval.hard.mp10,100,"));
    free(results);
    /* What it does not name is not read. */
    write_file(path_in(pictures, "99.png"), "nothing", 7);
    const struct process *p = RETRIEVE("--ground-truth", in("gnd.pkl"), "--queries", pictures);
    assert_int_equal(unlink(path_in(pictures, "99.png")), 0);
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "medium    100.00  100.00  100.00  100.00  2\n");
}

/* What was measured is on the run's page. */
static void test_report(void **state)
{
    (void)state;
    process_assert_status(RUN(DINORUN, "report", run, "-o", in("report.html")), 0);
    size_t size;
    char *page = read_file(in("report.html"), &size);
    assert_non_null(strstr(page, "retrieval, medium: mAP"));
    assert_non_null(strstr(page, "retrieval, easy: precision among the first 5"));
    free(page);
}

static void test_retrieve_refused(void **state)
{
    (void)state;
    refuses(RETRIEVE("-k", "3"), 2, "--queries");
    write_truth(in("wrong.pkl"), "5");
    refuses(RETRIEVE("--ground-truth", in("wrong.pkl")), 1, "is 5, and there are 5 images");
    refuses(RETRIEVE("--ground-truth", in("gnd.pkl"), "--max-bad-images", "1"), 2, "--max-bad-images");
    refuses(RUN(DINORUN, "retrieve", run, "--database", path_in(copydays, "original"), "--ground-truth", in("gnd.pkl")),
            1, "database: 5 of the 5 images that the ground truth names are not there; the first: 00.jpg");
    refuses(RETRIEVE("--queries", pictures, "--out", in("no/new.csv")), 1, "no/new.csv");
    refuses(RETRIEVE("--queries", pictures, "--sheet", in("new.jpg")), 2, "new.jpg");
    assert_int_equal(mkdir(in("bad"), 0777), 0);
    copy_picture(0, in("bad/00.png"));
    write_file(in("bad/01.png"), "nothing", 7);
    refuses(RETRIEVE("--queries", in("bad"), "--out", in("none.csv")), 1, "01.png");
    assert_int_not_equal(access(in("none.csv"), F_OK), 0);
    const struct process *p = RETRIEVE("--queries", in("bad"), "--max-bad-images", "1", "-k", "1");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "1 queries, 8 images");
}

static double map(const json_t *result, const char *block)
{
    const json_t *of = json_object_get(json_object_get(json_object_get(result, "blocks"), block), "map");
    assert_true(json_is_number(of));
    return json_number_value(of);
}

static void test_copies(void **state)
{
    (void)state;
    json_t *result = json_of(DETECT("--json", "--out", in("copies.csv")));
    assert_true(map(result, "original") == 100 && map(result, "jpegqual/3") == 100);
    assert_true(map(result, "strong") < 60);
    assert_null(json_object_get(json_object_get(result, "blocks"), "crops/10"));
    json_decref(result);
    size_t size;
    char *list = read_file(in("copies.csv"), &size);
    assert_non_null(strstr(list, "block,query,rank,from,image,similarity\noriginal,200000.png,1,original,200000.png,"));
    free(list);
    const struct process *p = DETECT("--distractors", pictures, "--whitening", pictures);
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "17 of Copydays' 20 blocks are not in");
    process_assert_says(p, p->out, "searched among 3 originals and 8 distractors, features whitened");
    process_assert_says(p, p->out, "jpegqual/3   mAP ");
    char *results = read_file(path_in(run, "results.csv"), &size);
    assert_non_null(strstr(results, ",copy-detect,copydays.jpegqual/3.map,"));
    free(results);
}

static void test_copies_refused(void **state)
{
    (void)state;
    refuses(RUN(DINORUN, "copy-detect", run, "--data", pictures), 2, "has no folder original");
    refuses(DETECT("--distractors", in("bad")), 1, "01.png");
    process_assert_status(DETECT("--distractors", in("bad"), "--max-bad-images", "1"), 0);
    copy_picture(5, path_in(copydays, "strong/999901.png"));
    refuses(DETECT("--out", in("none.csv")), 1, "strong: ");
    assert_int_not_equal(access(in("none.csv"), F_OK), 0);
    assert_int_equal(unlink(path_in(copydays, "strong/999901.png")), 0);
    assert_int_equal(unlink(path_in(copydays, "jpegqual/3/200000.png")), 0);
    refuses(DETECT("--max-bad-images", "0"), 1, "jpegqual/3: 2 images, and there are 3 originals");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_folders), cmocka_unit_test(test_truth),
                                       cmocka_unit_test(test_report),  cmocka_unit_test(test_retrieve_refused),
                                       cmocka_unit_test(test_copies),  cmocka_unit_test(test_copies_refused)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

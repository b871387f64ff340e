/* The drawn set: complete, labelled, with masks, and the same bytes whatever the number of threads. */
#include "tests/support/images.h"

#include "runtime/data/dataset.h"
#include "runtime/image/decode.h"

#include <sys/wait.h>

/* Runs draw_scenes into folder/name; returns its exit code. */
static int draw(const char *folder, const char *name, const char *threads, const char *flags)
{
    char command[1024];
    snprintf(command, sizeof command, "OMP_NUM_THREADS=%s %s/draw_scenes --out %s/%s %s >/dev/null 2>&1", threads,
             DG_BUILD_DIR, folder, name, flags);
    int outcome = system(command);
    assert_true(WIFEXITED(outcome));
    return WEXITSTATUS(outcome);
}

/* Hash of the names, labels and pixels of folder/name. */
static uint64_t hash_set(const char *folder, const char *name, int expected_count)
{
    struct dg_dataset *dataset;
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    assert_ok(dg_dataset_open(&DG_FOLDER(path_in(folder, name)), DG_LABELS_IF_ANY, NULL, &dataset, try_err));
    assert_int_equal(dg_dataset_count(dataset), expected_count);
    uint64_t hash = dg_dataset_hash(dataset);
    for (int i = 0; i < expected_count; i++) {
        assert_ok(dg_image_decode_file(&decoder, dg_dataset_path(dataset, i), &image, try_err));
        hash = dg_fnv1a(hash, image.pixels, (size_t)image.width * (size_t)image.height * 3);
    }
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
    dg_dataset_close(dataset);
    return hash;
}

static void test_the_same_whatever_the_threads(void **state)
{
    (void)state;
    char folder[64];
    make_folder(folder);
    assert_int_equal(draw(folder, "a", "1", "--images 60 --seed 4"), 0);
    assert_int_equal(draw(folder, "b", "2", "--images 60 --seed 4"), 0);
    assert_int_equal(draw(folder, "c", "2", "--images 60 --seed 5"), 0);
    assert_true(hash_set(folder, "a/train", 60) == hash_set(folder, "b/train", 60));
    assert_true(hash_set(folder, "a/val", 12) == hash_set(folder, "b/val", 12));
    assert_true(hash_set(folder, "a/masks/train", 60) == hash_set(folder, "b/masks/train", 60));
    assert_true(hash_set(folder, "a/train", 60) != hash_set(folder, "c/train", 60));
    remove_folder(folder);
}

static void test_every_picture_has_its_mask(void **state)
{
    (void)state;
    char folder[64];
    make_folder(folder);
    assert_int_equal(draw(folder, "set", "2", "--images 50 --classes 12 --size 40"), 0);
    struct dg_dataset *pictures, *masks;
    assert_ok(dg_dataset_open(&DG_FOLDER(path_in(folder, "set/train")), DG_LABELS_IF_ANY, NULL, &pictures, try_err));
    assert_ok(dg_dataset_open(&DG_FOLDER(path_in(folder, "set/masks/train")), DG_LABELS_IF_ANY, NULL, &masks, try_err));
    assert_int_equal(dg_dataset_classes(pictures), 12);
    assert_true(dg_dataset_hash(pictures) == dg_dataset_hash(masks));
    struct dg_image_decoder decoder = {0};
    struct dg_image mask = {0};
    for (int i = 0; i < 50; i++) {
        assert_ok(dg_image_decode_file(&decoder, dg_dataset_path(masks, i), &mask, try_err));
        assert_int_equal(mask.width, 40);
        int object = 0, ground = 0;
        for (int p = 0; p < 40 * 40; p++) {
            object += mask.pixels[3 * p] == 255;
            ground += mask.pixels[3 * p] == 0;
        }
        assert_in_range(object, 40 * 40 * 3 / 100, 40 * 40 * 60 / 100);
        assert_in_range(ground, 40 * 40 * 30 / 100, 40 * 40);
    }
    dg_image_free(&mask);
    dg_image_decoder_free(&decoder);
    dg_dataset_close(pictures);
    dg_dataset_close(masks);
    remove_folder(folder);
}

static void test_wrong_use(void **state)
{
    (void)state;
    char folder[64];
    make_folder(folder);
    assert_int_equal(draw(folder, "x", "1", "--images 5 --size 8"), 0);
    assert_int_equal(draw(folder, "x", "1", "--images 5 --size 8"), 2); /* not empty */
    assert_int_equal(draw(folder, "y", "1", "--classes 13"), 2);
    assert_int_equal(draw(folder, "y", "1", "--images"), 2);
    assert_int_equal(draw(folder, "y", "1", "--colour red"), 2);
    assert_int_equal(draw(folder, "no/such/place", "1", ""), 1);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_whatever_the_threads),
        cmocka_unit_test(test_every_picture_has_its_mask),
        cmocka_unit_test(test_wrong_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

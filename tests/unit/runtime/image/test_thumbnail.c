/* Thumbnails have the sizes and bytes of Pillow's. */
#include "runtime/image/thumbnail.h"
#include "tests/support/images.h"

#include <string.h>

static void test_bytes(void **state)
{
    (void)state;
    FILE *table = dg_test_table(FIXTURE("thumbnail.txt"));
    struct dg_image thumbnail = {0};
    struct dg_scratch work = {0};
    int width, height, side, to_width, to_height, count = 0, wrong = 0;
    unsigned long long hash;
    while (fscanf(table, "%d %d %d %d %d %llx", &width, &height, &side, &to_width, &to_height, &hash) == 6) {
        struct dg_image image = dg_test_noise("thumbnail", width, height);
        assert_ok(dg_image_thumbnail(&image, side, 13, &thumbnail, &work, try_err));
        bool same_size = thumbnail.width == to_width && thumbnail.height == to_height;
        if (!same_size || dg_test_hash(thumbnail.pixels, 3 * (size_t)to_width * (size_t)to_height) != hash) {
            print_error("%d x %d to %d: %d x %d %s\n", width, height, side, thumbnail.width, thumbnail.height,
                        same_size ? "differs" : "is another size");
            wrong++;
        }
        dg_image_free(&image);
        count++;
    }
    fclose(table);
    assert_int_equal(count, 96);
    assert_int_equal(wrong, 0);
    dg_image_free(&thumbnail);
    dg_scratch_free(&work);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

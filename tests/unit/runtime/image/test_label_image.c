/* Label images: what is read is what was written, palettes, and what is no label image; the nearest pixel as Pillow has
 * it; OpenCV's bilinear resize. */
#include "runtime/image/decode.h"
#include "runtime/image/label_image.h"
#include "runtime/image/opencv.h"
#include "runtime/image/write.h"
#include "tests/support/images.h"

#include <inttypes.h>

static void test_palette(void **state)
{
    (void)state;
    uint8_t palette[256][3];
    static const uint8_t first[] = {0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128};
    dg_label_image_davis_palette(palette);
    assert_memory_equal(palette, first, sizeof first);
    assert_memory_equal(palette[9], ((uint8_t[]){191, 0, 0}), 3);
    assert_memory_equal(palette[15], ((uint8_t[]){191, 128, 128}), 3);
    assert_memory_equal(palette[21], ((uint8_t[]){128, 64, 128}), 3);
    assert_memory_equal(palette[22], ((uint8_t[]){22, 22, 22}), 3);
    assert_memory_equal(palette[255], ((uint8_t[]){255, 255, 255}), 3);
}

static void test_written_and_read(void **state)
{
    (void)state;
    uint8_t label[5 * 3], palette[256][3];
    struct dg_label_image image = {0};
    for (int i = 0; i < 15; i++) label[i] = (uint8_t)(i * 17);
    for (int i = 0; i < 256; i++) palette[i][0] = palette[i][1] = palette[i][2] = (uint8_t)(255 - i);
    assert_ok(dg_image_write_labels(in("labels.png"), label, 5, 3, (const uint8_t(*)[3])palette, try_err));
    assert_ok(dg_label_image_read(in("labels.png"), &image, try_err));
    assert_int_equal(image.width, 5);
    assert_int_equal(image.height, 3);
    assert_memory_equal(image.label, label, sizeof label);
    assert_memory_equal(image.palette, palette, sizeof palette);
    assert_true(image.has_palette);
    /* Gray is labels as they are, drawn in DAVIS' palette. */
    assert_ok(dg_image_write_png(in("gray.png"), label, 5, 3, 1, try_err));
    assert_ok(dg_label_image_read(in("gray.png"), &image, try_err));
    assert_memory_equal(image.label, label, sizeof label);
    dg_label_image_davis_palette(palette);
    assert_memory_equal(image.palette, palette, sizeof palette);
    assert_false(image.has_palette);
    dg_label_image_free(&image);
}

/* Packed pixels of few bits, and interlaced ones: their colours are those of the decoder of images. */
static void test_fixtures(void **state)
{
    (void)state;
    static const char *const path[] = {FIXTURE("palette1.png"), FIXTURE("palette1_interlaced.png"),
                                       FIXTURE("palette4.png"), FIXTURE("palette4_interlaced.png"),
                                       FIXTURE("palette8.png"), FIXTURE("palette8_interlaced.png")};
    struct dg_label_image labels = {0};
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    for (size_t f = 0; f < sizeof path / sizeof *path; f++) {
        assert_ok(dg_label_image_read(path[f], &labels, try_err));
        assert_ok(dg_image_decode_file(&decoder, path[f], &image, try_err));
        assert_int_equal(labels.width, image.width);
        assert_int_equal(labels.height, image.height);
        for (int p = 0; p < labels.width * labels.height; p++) {
            assert_memory_equal(labels.palette[labels.label[p]], image.pixels + 3 * p, 3);
            assert_true(f >= 2 || labels.label[p] < 2);
        }
    }
    dg_label_image_free(&labels);
    dg_image_decoder_free(&decoder);
    dg_image_free(&image);
}

static void refused(const char *path, enum dg_status status, const char *says)
{
    struct dg_label_image image = {0};
    struct dg_error err = {0};
    assert_int_equal(dg_label_image_read(path, &image, &err), status);
    assert_non_null(strstr(err.text, says));
    assert_non_null(strstr(err.text, path));
    assert_null(image.label);
}

static void test_refused(void **state)
{
    (void)state;
    refused(FIXTURE("rgb8.png"), DG_ERR_INPUT, "indices of a palette");
    refused(FIXTURE("gray16.png"), DG_ERR_INPUT, "indices of a palette");
    refused(FIXTURE("420.jpg"), DG_ERR_INPUT, "PNG");
    refused("/nowhere.png", DG_ERR_IO, "No such file");
    size_t size;
    char *bytes = read_file(FIXTURE("palette8.png"), &size);
    write_file(in("cut.png"), bytes, size / 2);
    free(bytes);
    refused(in("cut.png"), DG_ERR_INPUT, "cut.png");
}

/* ---- sizes ---- */

struct row {
    int width, height, to_width, to_height;
    uint64_t hash;
};

static bool read_row(FILE *table, struct row *r)
{
    return fscanf(table, "%d %d %d %d %" SCNx64, &r->width, &r->height, &r->to_width, &r->to_height, &r->hash) == 5;
}

static void test_nearest(void **state)
{
    (void)state;
    FILE *table = dg_test_table(FIXTURE("nearest.txt"));
    struct row r;
    int rows = 0;
    for (; read_row(table, &r); rows++) {
        struct dg_image noise = dg_test_noise("video", r.width, r.height);
        int count = r.width * r.height, to_count = r.to_width * r.to_height;
        uint8_t *out = malloc((size_t)to_count);
        assert_non_null(out);
        for (int i = 0; i < count; i++) noise.pixels[i] = noise.pixels[3 * i];
        dg_label_image_resize(noise.pixels, r.width, r.height, r.to_width, r.to_height, out);
        if (dg_test_hash(out, (size_t)to_count) != r.hash)
            fail_msg("%dx%d to %dx%d", r.width, r.height, r.to_width, r.to_height);
        free(out);
        dg_image_free(&noise);
    }
    assert_int_equal(rows, 9);
    fclose(table);
}

static void test_opencv(void **state)
{
    (void)state;
    FILE *table = dg_test_table(FIXTURE("opencv.txt"));
    struct dg_image resized = {0};
    struct dg_scratch work = {0};
    struct row r;
    int rows = 0;
    for (; read_row(table, &r); rows++) {
        struct dg_image noise = dg_test_noise("video", r.width, r.height);
        assert_ok(dg_opencv_resize(&noise, r.to_width, r.to_height, &resized, &work, try_err));
        if (dg_test_hash(resized.pixels, 3 * (size_t)r.to_width * (size_t)r.to_height) != r.hash)
            fail_msg("%dx%d to %dx%d", r.width, r.height, r.to_width, r.to_height);
        dg_image_free(&noise);
    }
    assert_int_equal(rows, 12);
    dg_image_free(&resized);
    dg_scratch_free(&work);
    fclose(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_palette), cmocka_unit_test(test_written_and_read), cmocka_unit_test(test_fixtures),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_nearest),          cmocka_unit_test(test_opencv),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}

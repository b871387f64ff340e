/* Decoding: equal to Pillow on every kind of file; damaged and hostile files are errors, never crashes. */
#include "ops/base/rng.h"
#include "tests/support/images.h"

#include "runtime/image/decode.h"
#include "runtime/image/format.h"
#include "runtime/image/write.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void test_equal_to_pillow(void **state)
{
    (void)state;
    FILE *table = dg_test_table(FIXTURE("decode.txt"));
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    char name[64];
    int width, height, count = 0;
    unsigned long long hash;
    while (fscanf(table, "%63s %d %d %llx", name, &width, &height, &hash) == 4) {
        assert_ok(dg_image_decode_file(&decoder, path_in(FIXTURE(""), name), &image, try_err));
        assert_int_equal(image.width, width);
        assert_int_equal(image.height, height);
        if (dg_test_hash(image.pixels, (size_t)width * (size_t)height * 3) != hash) fail_msg("%s differs", name);
        count++;
    }
    assert_int_equal(count, 47);
    fclose(table);
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
}

/* The files of make_decoding_fixtures.py: taken or refused as by Pillow 13, with its pixels, turned or not. */
static void test_equal_to_pillow_13(void **state)
{
    (void)state;
    FILE *table = dg_test_table(FIXTURE("decoding.txt"));
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    char name[64];
    int size[2][2], notes, count = 0;
    unsigned long long hash[2];
    while (fscanf(table, "%63s %d %d %llx %d %d %llx %d", name, &size[0][0], &size[0][1], &hash[0], &size[1][0],
                  &size[1][1], &hash[1], &notes) == 8) {
        size_t bytes;
        uint8_t *file = read_file(path_in(FIXTURE("decoding"), name), &bytes);
        enum dg_image_format format = dg_image_format(file, bytes);
        for (int turned = 0; turned < 2; turned++) {
            struct dg_error err = {0};
            decoder.turns = turned;
            enum dg_status status = dg_image_decode_memory(&decoder, name, file, bytes, &image, &err);
            bool read = dg_image_format_is_read(format);
            if ((status == DG_OK) != (read && size[turned][0] > 0)) fail_msg("%s: taken or not? %s", name, err.text);
            if (status != DG_OK && (!strstr(err.text, name) || status != DG_ERR_INPUT)) fail_msg("%s", err.text);
            if (status != DG_OK) continue;
            if (image.width != size[turned][0] || image.height != size[turned][1]) fail_msg("%s: another size", name);
            if (dg_test_hash(image.pixels, 3 * (size_t)image.width * (size_t)image.height) != hash[turned])
                fail_msg("%s differs", name);
            unsigned expected = (unsigned)notes & ~(turned ? DG_NOTE_TURNED : 0u);
            if (notes >= 0 && decoder.notes != expected) fail_msg("%s: notes %u", name, decoder.notes);
        }
        free(file);
        count++;
    }
    assert_int_equal(count, 215);
    fclose(table);
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
}

/* A loader thread must not allocate again for a picture that fits. */
static void test_buffers_are_reused(void **state)
{
    (void)state;
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    assert_ok(dg_image_decode_file(&decoder, FIXTURE("444.jpg"), &image, try_err));
    const void *pixels = image.pixels, *file = decoder.file.bytes;
    assert_ok(dg_image_decode_file(&decoder, FIXTURE("rgb8.png"), &image, try_err));
    assert_ok(dg_image_decode_file(&decoder, FIXTURE("444.jpg"), &image, try_err));
    assert_ptr_equal(image.pixels, pixels);
    assert_ptr_equal(decoder.file.bytes, file);
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
}

static const char *const victims[] = {"420.jpg",
                                      "progressive.jpg",
                                      "cmyk.jpg",
                                      "rgb_alpha8.png",
                                      "gray1.png",
                                      "palette4.png",
                                      "rgb16_interlaced.png",
                                      "decoding/animated.gif",
                                      "decoding/P.bmp",
                                      "decoding/RGB.bmp",
                                      "decoding/gray16.pgm",
                                      "decoding/gray_of_1000.pgm",
                                      "decoding/lossy_alpha.webp",
                                      "decoding/lossless.webp",
                                      "decoding/RGB_tiff_lzw.tif",
                                      "decoding/P_raw.tif",
                                      "decoding/RGB_jpeg.tif"};
enum { VICTIMS = sizeof victims / sizeof *victims };

static void test_every_prefix(void **state)
{
    (void)state;
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    for (int v = 0; v < VICTIMS; v++) {
        size_t size;
        uint8_t *bytes = read_file(path_in(FIXTURE(""), victims[v]), &size);
        for (size_t part = 0; part < size; part++) {
            uint8_t *copy = malloc(part + 1); /* exact, so that a sanitizer sees a read past the end */
            memcpy(copy, bytes, part);
            struct dg_error err = {0};
            enum dg_status status = dg_image_decode_memory(&decoder, "a prefix", copy, part, &image, &err);
            /* Only what follows the picture's data may be missing; of the last ones that may be more. */
            if (status == DG_OK && v < 7 && part + 24 < size)
                fail_msg("%s: %zu of %zu bytes pass", victims[v], part, size);
            if (status != DG_OK) {
                assert_int_equal(status, DG_ERR_INPUT);
                assert_non_null(strstr(err.text, "a prefix"));
            }
            free(copy);
        }
        free(bytes);
    }
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
}

static void test_damaged_bytes(void **state)
{
    (void)state;
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    struct dg_rng rng = dg_rng_make(0, DG_RNG_TEST, 1, 0);
    for (int v = 0; v < VICTIMS; v++) {
        size_t size;
        uint8_t *bytes = read_file(path_in(FIXTURE(""), victims[v]), &size);
        for (int round = 0; round < 400; round++) {
            size_t at = dg_rng_u32(&rng) % size;
            uint8_t kept = bytes[at];
            bytes[at] ^= (uint8_t)(1 + dg_rng_u32(&rng) % 255);
            struct dg_error err = {0};
            enum dg_status status = dg_image_decode_memory(&decoder, "damaged", bytes, size, &image, &err);
            assert_true(status == DG_OK || status == DG_ERR_INPUT || status == DG_ERR_MEMORY);
            if (status != DG_OK) assert_int_equal(err.status, status);
            bytes[at] = kept;
        }
        free(bytes);
    }
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
}

/* A header may promise any size; nothing may be allocated for it. */
static void test_absurd_sizes(void **state)
{
    (void)state;
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    size_t size;
    uint8_t *bytes = read_file(FIXTURE("420.jpg"), &size);
    size_t frame = 0; /* where the frame header is */
    while (frame + 9 < size && !(bytes[frame] == 0xff && bytes[frame + 1] == 0xc0)) frame++;
    assert_true(frame + 9 < size);
    memset(bytes + frame + 5, 0xff, 4); /* 65535 x 65535, which libjpeg refuses */
    struct dg_error err = {0};
    assert_int_equal(dg_image_decode_memory(&decoder, "a.jpg", bytes, size, &image, &err), DG_ERR_INPUT);
    memcpy(bytes + frame + 5, (uint8_t[]){0x80, 0, 0x80, 0}, 4); /* 32768 x 32768, which it does not */
    err = (struct dg_error){0};
    assert_int_equal(dg_image_decode_memory(&decoder, "a.jpg", bytes, size, &image, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "a.jpg"));
    assert_non_null(strstr(err.text, "178956970"));
    free(bytes);

    bytes = read_file(FIXTURE("rgb8.png"), &size);
    memcpy(bytes + 16, (uint8_t[]){0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff}, 8);
    err = (struct dg_error){0};
    assert_int_equal(dg_image_decode_memory(&decoder, "a.png", bytes, size, &image, &err), DG_ERR_INPUT);
    free(bytes);
    assert_null(image.pixels);
    dg_image_decoder_free(&decoder);
}

/* Small files of every other format that promise more pixels than Pillow takes. */
static void test_bombs(void **state)
{
    (void)state;
#define BOMB(text)                                                                                                     \
    {                                                                                                                  \
        text, sizeof text - 1                                                                                          \
    }
    static const struct {
        const char *bytes;
        size_t count;
    } bombs[] = {
        BOMB("P5 20000 20000 255 "),
        BOMB("P1 999999 999999 1"),
        BOMB("GIF89a\x60\xea\x60\xea\0\0\0,\0\0\0\0\1\0\1\0\0\2\2\x44\1\0;"), /* a screen of 60000 x 60000 */
        BOMB("GIF89a\1\0\1\0\0\0\0,\0\0\0\0\x60\xea\x60\xea\0\2\2\x44\1\0;"), /* a picture of that size */
        BOMB("BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\0\0\1\0\0\0\1\0\1\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0"
             "\0\0\0\0\0\0\0\0\0\0\0\0"),
        BOMB("II*\0\x8\0\0\0\3\0\0\1\3\0\1\0\0\0\x60\xea\0\0\1\1\3\0\1\0\0\0\x60\xea\0\0\x11\1\4\0\1\0\0\0\x8"
             "\0\0\0\0\0\0\0"),
        BOMB("RIFF\x1e\0\0\0WEBPVP8X\xa\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0VP8L\0\0\0\0"),
    };
#undef BOMB
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        struct dg_error err = {0};
        enum dg_status status = dg_image_decode_memory(&decoder, "bomb", bombs[i].bytes, bombs[i].count, &image, &err);
        assert_int_equal(status, DG_ERR_INPUT);
        bool known = dg_image_format_is_read(dg_image_format(bombs[i].bytes, bombs[i].count));
        bool webp = dg_image_format(bombs[i].bytes, bombs[i].count) == DG_FORMAT_WEBP; /* refused by libwebp itself */
        if (known && !webp && !strstr(err.text, "178956970")) fail_msg("file %zu: %s", i, err.text);
        assert_null(image.pixels);
        assert_null(decoder.work.bytes);
    }
    dg_image_decoder_free(&decoder);
}

static void expect_failure(const char *path, enum dg_status expected, const char *says)
{
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    struct dg_error err = {0};
    assert_int_equal(dg_image_decode_file(&decoder, path, &image, &err), expected);
    if (!strstr(err.text, path) || !strstr(err.text, says)) fail_msg("unclear message: %s", err.text);
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
}

static void test_things_that_are_no_pictures(void **state)
{
    (void)state;
    char folder[64];
    make_folder(folder);
    expect_failure(path_in(folder, "missing.png"), DG_ERR_IO, "No such file");
    expect_failure(folder, DG_ERR_INPUT, "not a regular file");
    const char *path = path_in(folder, "pipe.jpg");
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_failure(path, DG_ERR_INPUT, "not a regular file");
    path = path_in(folder, "empty.jpg");
    write_file(path, "", 0);
    expect_failure(path, DG_ERR_INPUT, "empty");
    path = path_in(folder, "text.jpg");
    write_file(path, "a text", 6);
    expect_failure(path, DG_ERR_INPUT, "an unknown format");
    path = path_in(folder, "short.jpg");
    write_file(path, "\xff\xd8\xff", 3);
    expect_failure(path, DG_ERR_INPUT, "cut short");
    remove_folder(folder);
}

static void test_written_png_reads_back(void **state)
{
    (void)state;
    char folder[64];
    make_folder(folder);
    struct dg_image image = dg_test_noise("png", 33, 21), back = {0};
    struct dg_image_decoder decoder = {0};
    const char *path = path_in(folder, "x.png");
    assert_ok(dg_image_write_png(path, image.pixels, 33, 21, 3, try_err));
    assert_ok(dg_image_decode_file(&decoder, path, &back, try_err));
    assert_int_equal(back.width, 33);
    assert_memory_equal(back.pixels, image.pixels, 33 * 21 * 3);
    assert_ok(
        dg_image_write_png(path, image.pixels, 63, 33, 1, try_err)); /* the same bytes as gray; over the old file */
    assert_ok(dg_image_decode_file(&decoder, path, &back, try_err));
    for (int i = 0; i < 63 * 33; i++) assert_int_equal(back.pixels[3 * i + 2], image.pixels[i]);
    dg_image_free(&image);
    dg_image_free(&back);
    dg_image_decoder_free(&decoder);
    remove_folder(folder);
}

/* When the disk is full the old file stands and nothing is left beside it. */
static void test_failed_write_leaves_nothing(void **state)
{
    (void)state;
    char folder[64];
    make_folder(folder);
    struct dg_image image = dg_test_noise("full", 200, 200);
    struct dg_error err = {0};
    const char *missing = path_in(folder, "no/such/folder.png");
    assert_int_equal(dg_image_write_png(missing, image.pixels, 200, 200, 3, &err), DG_ERR_IO);
    assert_non_null(strstr(err.text, missing));

    char path[128];
    snprintf(path, sizeof path, "%s/x.png", folder);
    write_file(path, "old", 3);
    struct rlimit before, tiny;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tiny = before;
    tiny.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tiny), 0);
    err = (struct dg_error){0};
    enum dg_status status = dg_image_write_png(path, image.pixels, 200, 200, 3, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, DG_ERR_IO);
    assert_non_null(strstr(err.text, path));
    size_t size;
    uint8_t *bytes = read_file(path, &size);
    assert_int_equal(size, 3);
    free(bytes);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0); /* so it was empty */
    dg_image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_equal_to_pillow_13),
        cmocka_unit_test(test_equal_to_pillow),
        cmocka_unit_test(test_buffers_are_reused),
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_damaged_bytes),
        cmocka_unit_test(test_absurd_sizes),
        cmocka_unit_test(test_things_that_are_no_pictures),
        cmocka_unit_test(test_written_png_reads_back),
        cmocka_unit_test(test_failed_write_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

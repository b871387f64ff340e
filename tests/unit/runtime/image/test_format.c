/* What a file is, from its first bytes. */
#include "tests/support/images.h"

#include "runtime/image/format.h"

#define FILE_OF(f, text)                                                                                               \
    {                                                                                                                  \
        f, text, sizeof text - 1                                                                                       \
    }

static void test_first_bytes(void **state)
{
    (void)state;
    static const struct {
        enum dg_image_format format;
        const char *bytes;
        size_t count;
    } files[] = {
        FILE_OF(DG_FORMAT_JPEG, "\xff\xd8\xff\xe0"),
        FILE_OF(DG_FORMAT_PNG, "\x89PNG\r\n\x1a\n"),
        FILE_OF(DG_FORMAT_WEBP, "RIFF\x10\0\0\0WEBPVP8 "),
        FILE_OF(DG_FORMAT_TIFF, "II*\0\x8\0\0\0"),
        FILE_OF(DG_FORMAT_TIFF, "MM\0*\0\0\0\x8"),
        FILE_OF(DG_FORMAT_TIFF, "II+\0\x8\0\0\0"),
        FILE_OF(DG_FORMAT_BMP, "BM\x36\0\0\0"),
        FILE_OF(DG_FORMAT_PNM, "P1 1 1 0"),
        FILE_OF(DG_FORMAT_PNM, "P6\n3 3\n255\n"),
        FILE_OF(DG_FORMAT_GIF, "GIF87a"),
        FILE_OF(DG_FORMAT_GIF, "GIF89a"),
        FILE_OF(DG_FORMAT_HEIC, "\0\0\0\x18"
                                "ftypheic\0\0\0\0mif1heic"),
        FILE_OF(DG_FORMAT_HEIC, "\0\0\0\x18"
                                "ftypmif1\0\0\0\0mif1heic"),
        FILE_OF(DG_FORMAT_HEIC, "\0\0\0\x18"
                                "ftypmif1\0\0\0\0miaf"),
        FILE_OF(DG_FORMAT_AVIF, "\0\0\0\x1c"
                                "ftypavif\0\0\0\0mif1avif"),
        FILE_OF(DG_FORMAT_AVIF, "\0\0\0\x1c"
                                "ftypmif1\0\0\0\0mif1avif"),
        FILE_OF(DG_FORMAT_RAW, "\0\0\0\x18"
                               "ftypcrx \0\0\0\1crx isom"),
        FILE_OF(DG_FORMAT_RAW, "II*\0\x10\0\0\0CR\2\0"),
        FILE_OF(DG_FORMAT_RAW, "FUJIFILMCCD-RAW 0201"),
        FILE_OF(DG_FORMAT_VIDEO, "\0\0\0\x18"
                                 "ftypisom\0\0\2\0isomiso2mp41"),
        FILE_OF(DG_FORMAT_VIDEO, "RIFF\x10\0\0\0AVI LIST"),
        FILE_OF(DG_FORMAT_JPEG_XL, "\xff\x0a\x10"),
        FILE_OF(DG_FORMAT_JPEG_2000, "\xff\x4f\xff\x51"),
        FILE_OF(DG_FORMAT_SVG, "<svg xmlns='http://www.w3.org/2000/svg'/>"),
        FILE_OF(DG_FORMAT_SVG, "\xef\xbb\xbf\n<?xml version='1.0'?>\n<!-- a comment -->\n<svg>"),
        FILE_OF(DG_FORMAT_HTML, "\n<!DOCTYPE HTML><html><body><svg>"),
        FILE_OF(DG_FORMAT_UNKNOWN, "<?xml version='1.0'?><annotation/>"),
        FILE_OF(DG_FORMAT_PSD, "8BPS\0\1"),
        FILE_OF(DG_FORMAT_NUMPY, "\x93NUMPY\1\0"),
        FILE_OF(DG_FORMAT_ARCHIVE, "PK\3\4"),
        FILE_OF(DG_FORMAT_LFS_POINTER, "version https://git-lfs.github.com/spec/v1\noid sha256:0"),
        FILE_OF(DG_FORMAT_UNKNOWN, "a text"),
        FILE_OF(DG_FORMAT_UNKNOWN, "P6"),
        FILE_OF(DG_FORMAT_UNKNOWN, "P6 is a road"),
        FILE_OF(DG_FORMAT_UNKNOWN, "BMW and others; the body mass index is BMI"),
        FILE_OF(DG_FORMAT_UNKNOWN, "RIFF\x10\0\0\0WAVEfmt "),
        FILE_OF(DG_FORMAT_UNKNOWN, "\xff\xd8"),
        FILE_OF(DG_FORMAT_UNKNOWN, ""),
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *copy = malloc(files[i].count + 1); /* exact, so that a sanitizer sees a read past the end */
        memcpy(copy, files[i].bytes, files[i].count);
        enum dg_image_format format = dg_image_format(copy, files[i].count);
        if (format != files[i].format)
            fail_msg("file %zu: %s, not %s", i, dg_image_format_name(format), dg_image_format_name(files[i].format));
        for (size_t part = 0; part < files[i].count; part++) dg_image_format(copy, part);
        free(copy);
    }
    char tar[512] = "a/b.jpg", dicom[132] = "";
    memcpy(tar + 257, "ustar", 5);
    memcpy(dicom + 128, "DICM", 4);
    assert_int_equal(dg_image_format(tar, sizeof tar), DG_FORMAT_ARCHIVE);
    assert_int_equal(dg_image_format(dicom, sizeof dicom), DG_FORMAT_DICOM);
}

/* Whoever names a format can say what to do about it. */
static void test_names_and_advice(void **state)
{
    (void)state;
    for (int f = 0; f < DG_FORMAT_COUNT; f++) {
        assert_non_null(dg_image_format_name(f));
        assert_true(dg_image_format_is_read(f) == !dg_image_format_advice(f));
    }
    assert_true(dg_image_format_is_read(DG_FORMAT_JPEG));
    assert_true(dg_image_format_is_read(DG_FORMAT_PNG));
    assert_false(dg_image_format_is_read(DG_FORMAT_HEIC));
    assert_non_null(strstr(dg_image_format_advice(DG_FORMAT_HEIC), "heif-convert"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_bytes),
        cmocka_unit_test(test_names_and_advice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

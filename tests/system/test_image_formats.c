/* What the commands make of image files of all formats, and what they say of those that are hardly what one expects. */
#include "tests/support/images.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include "runtime/image/format.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

static char plan[96], weights[128], npy[96];

static int setup(void **state)
{
    setenv("OMP_WAIT_POLICY", "passive", 1);
    make_test_folder(state);
    snprintf(plan, sizeof plan, "%s/tiny.plan", test_folder);
    snprintf(weights, sizeof weights, "%s/run/checkpoint.safetensors", test_folder);
    snprintf(npy, sizeof npy, "%s/f.npy", test_folder);
    dg_tiny_compile(plan, NULL);
    dg_tiny_pictures(in("pictures"), 4);
    process_assert_status(
        RUN(DINORUN, "train", plan, "--data", in("pictures"), "--out", in("run"), "--steps", "0", "--ignore-memory"),
        0);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    if (!access(in("set"), F_OK)) remove_folder(in("set"));
    if (!access(in("again"), F_OK)) remove_folder(in("again"));
    remove(npy);
    return 0;
}

/* A fixture under another name in the folder set/. */
static void add(const char *fixture, const char *name)
{
    size_t size;
    uint8_t *bytes = read_file(path_in(FIXTURE(""), fixture), &size);
    if (mkdir(in("set"), 0700)) assert_int_equal(errno, EEXIST);
    write_file(path_in(in("set"), name), bytes, size);
    free(bytes);
}

static const struct process *features(const char *flag)
{
    const struct process *process =
        RUN(DINORUN, "features", plan, "--weights", weights, "--data", in("set"), "--out", npy, flag);
    process_assert_status(process, 0);
    return process;
}

static void assert_says_not(const struct process *process, const char *text)
{
    if (strstr(process->err, text)) fail_msg("\"%s\" is in: %s", text, process->err);
}

/* Each image once for each note, also where it is read in several epochs. */
static void test_notes(void **state)
{
    (void)state;
    add("444.jpg", "good.jpg");
    add("decoding/gray16_white.png", "gray.png");
    add("decoding/gray16_dark.png", "dark.png");
    add("decoding/half_then_end.jpg", "half.jpg");
    add("decoding/checksum_of_data.png", "sum.png");
    add("decoding/no_adler.png", "end.png");
    add("decoding/palette_too_short.png", "palette.png");
    add("decoding/exif6.jpg", "turned.jpg");
    add("decoding/exif1.jpg", "upright.jpg");
    add("decoding/animated.png", "animated.png");
    const char *said[] = {"1 image (%s/gray.png): gray of more than 8 bits",
                          "1 image (%s/half.jpg): damaged",
                          "2 images (%s/end.png, %s/sum.png): with a wrong or missing checksum",
                          "1 image (%s/palette.png): with pixels of colours that their palette lacks",
                          "1 image (%s/turned.jpg): to be shown turned",
                          "1 image (%s/animated.png): files of several pictures"};
    const struct process *process = RUN(DINORUN, "features", plan, "--weights", weights, "--data", in("set"), "--out",
                                        npy, "--threads", "1"); /* one thread: the first names are the first files */
    process_assert_status(process, 0);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        char text[512];
        snprintf(text, sizeof text, said[i], in("set"), in("set"));
        process_assert_says(process, process->err, text);
    }
    assert_says_not(process, "good.jpg");
    assert_says_not(process, "dark.png");
    assert_says_not(process, "upright.jpg");
    assert_says_not(features("--exif"), "to be shown turned");

    process = RUN(DINORUN, "train", plan, "--data", in("set"), "--out", in("again"), "--steps", "8", "--ignore-memory");
    process_assert_status(process, 0);
    process_assert_says(process, process->err, "gray.png): gray of more than 8 bits");
    process_assert_says(process, process->err, "2 images");
    assert_says_not(process, "3 images");
    process = RUN(DINORUN, "crops", plan, "--data", in("set"), "--out", in("crops.png"), "--images", "20");
    process_assert_status(process, 0);
    process_assert_says(process, process->err, "turned.jpg): to be shown turned");
}

/* By content: the endings are wrong or missing. */
static void test_formats(void **state)
{
    (void)state;
    add("444.jpg", "a.jfif");
    add("444.jpg", "b.jpe");
    add("444.jpg", "a_jpeg");
    add("rgb8.png", "a_png.jpg");
    add("decoding/bits.pbm", "c.pbm");
    add("decoding/gray_of_1000.pgm", "d.pgm");
    add("decoding/colour16.ppm", "e.ppm");
    add("decoding/P.bmp", "f.bmp");
    add("decoding/animated.gif", "g.gif");
    int count = 9;
    if (dg_image_format_is_read(DG_FORMAT_WEBP)) {
        add("decoding/lossy.webp", "h.webp");
        count++;
    }
    if (dg_image_format_is_read(DG_FORMAT_TIFF)) {
        add("decoding/RGB_tiff_lzw.tif", "i.tif");
        add("decoding/RGB_raw.tif", "j.tiff");
        count += 2;
    }
    char text[32];
    snprintf(text, sizeof text, "[%d, ", count);
    const struct process *process = features("--flat");
    process_assert_says(process, process->out, text);
}

/* An image that was named by hand is named as what it is. */
static void test_other_formats(void **state)
{
    (void)state;
    static const char heic[] = "\0\0\0\x18"
                               "ftypheic\0\0\0\0mif1heic";
    write_file(in("photo.jpg"), heic, sizeof heic);
    const struct process *process =
        RUN(DINORUN, "attention", plan, "--weights", weights, "--image", in("photo.jpg"), "--out", in("maps"));
    process_assert_status(process, 1);
    process_assert_says(process, process->err, "HEIC");
    process_assert_says(process, process->err, "heif-convert");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_notes, clean),
        cmocka_unit_test_teardown(test_formats, clean),
        cmocka_unit_test(test_other_formats),
    };
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

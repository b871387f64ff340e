/* Frames of a folder and of a pipe; films by a program in ffmpeg's place; attention over a video. */
#include "runtime/image/write.h"
#include "runtime/video/film.h"
#include "runtime/video/frames.h"
#include "tests/support/images.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <sys/stat.h>
#include <unistd.h>

enum { FRAMES = 3 };

static int setup(void **state)
{
    make_test_folder(state);
    assert_int_equal(mkdir(in("video"), 0777), 0);
    for (int f = 0; f < FRAMES; f++) {
        char name[64];
        struct dg_image image = dg_test_noise("frames", 45, 33);
        image.pixels[0] = (uint8_t)f;
        snprintf(name, sizeof name, "video/f%d.png", f);
        assert_ok(dg_image_write_png(in(name), image.pixels, image.width, image.height, 3, try_err));
        dg_image_free(&image);
    }
    write_file(in("video/notes.txt"), "no frame", 8);
    write_file(in("video/.hidden.png"), "no frame", 8);
    return 0;
}

/* ---- frames ---- */

static void test_files(void **state)
{
    (void)state;
    struct dg_frames *frames;
    struct dg_image image = {0};
    const char *name;
    assert_ok(dg_frames_open(in("video"), NULL, &frames, try_err));
    assert_int_equal(dg_frames_count(frames), FRAMES);
    for (int f = 0; f < FRAMES; f++) {
        char want[8];
        assert_ok(dg_frames_next(frames, &image, &name, try_err));
        snprintf(want, sizeof want, "f%d", f);
        assert_string_equal(name, want);
        assert_int_equal(image.pixels[0], f);
    }
    assert_ok(dg_frames_next(frames, &image, &name, try_err));
    assert_null(name);
    dg_frames_close(frames);
    struct dg_error err = {0};
    assert_int_equal(mkdir(in("bare"), 0777), 0);
    assert_int_equal(dg_frames_open(in("bare"), NULL, &frames, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "has no frames"));
    assert_null(frames);
    assert_int_equal(dg_frames_open(in("nowhere"), NULL, &frames, NULL), DG_ERR_IO);
    dg_image_free(&image);
}

/* Appends a frame to the file of a pipe: a PPM of one colour, or one of the folder's PNG. */
static void add_ppm(FILE *pipe, const char *head, int pixels, uint8_t value)
{
    fputs(head, pipe);
    for (int i = 0; i < 3 * pixels; i++) fputc(value, pipe);
}

static void add_png(FILE *pipe, const char *name, size_t less)
{
    size_t size;
    char *bytes = read_file(in(name), &size);
    fwrite(bytes, 1, size - less, pipe);
    free(bytes);
}

/* What the frames of such a pipe come to: how many there are, then the error. */
static int read_pipe(FILE *pipe, struct dg_error *err)
{
    struct dg_frames *frames;
    struct dg_image image = {0};
    const char *name = "";
    int count = -1;
    rewind(pipe);
    assert_ok(dg_frames_open("-", pipe, &frames, try_err));
    assert_int_equal(dg_frames_count(frames), 0);
    do count++;
    while (dg_frames_next(frames, &image, &name, err) == DG_OK && name);
    dg_frames_close(frames);
    dg_image_free(&image);
    fclose(pipe);
    return count;
}

static void test_pipe(void **state)
{
    (void)state;
    struct dg_error err = {0};
    FILE *pipe = tmpfile();
    add_ppm(pipe, "P6\n3 2\n255\n", 6, 7);
    add_png(pipe, "video/f1.png", 0);
    add_ppm(pipe, "P6 # a comment 9\n# another\n 1\t2 # 3\n255 ", 2, '\n');
    add_png(pipe, "video/f2.png", 0);
    assert_int_equal(read_pipe(pipe, &err), 4);
    assert_int_equal(err.status, DG_OK);
    assert_int_equal(read_pipe(tmpfile(), &err), 0); /* empty */
    assert_int_equal(err.status, DG_OK);
}

static void refuses(FILE *pipe, int frames, const char *text)
{
    struct dg_error err = {0};
    assert_int_equal(read_pipe(pipe, &err), frames);
    assert_int_equal(err.status, DG_ERR_INPUT);
    if (!strstr(err.text, text)) fail_msg("%s", err.text);
}

static void test_damaged_pipes(void **state)
{
    (void)state;
    FILE *pipe = tmpfile();
    add_ppm(pipe, "P6\n3 2\n255\n", 6, 7);
    add_ppm(pipe, "P6\n3 2\n255\n", 5, 7);
    refuses(pipe, 1, "frame 1 of the pipe is cut short");
    pipe = tmpfile();
    add_png(pipe, "video/f1.png", 5);
    refuses(pipe, 0, "cut short");
    static const char *const heads[][2] = {{"JPEG", "neither PPM nor PNG"},
                                           {"P5\n1 1\n255\n0", "neither PPM nor PNG"},
                                           {"P6\n99999 99999\n255\n", "too large"},
                                           {"P6\n999999999999 1\n255\n", "too large"},
                                           {"P6\n3x2\n255\n", "damaged"},
                                           {"P6\n-3 2\n255\n", "damaged"},
                                           {"P6\n0 2\n255\n", "00000"},
                                           {"P", "cut short"}};
    for (size_t h = 0; h < sizeof heads / sizeof *heads; h++) {
        pipe = tmpfile();
        fputs(heads[h][0], pipe);
        refuses(pipe, 0, heads[h][1]);
    }
}

/* ---- films ---- */

/* In ffmpeg's place: copies what it is given to the last of its arguments, or fails. */
static void install_ffmpeg(const char *script)
{
    char path[4096];
    mkdir(in("bin"), 0777);
    write_file(in("bin/ffmpeg"), script, strlen(script));
    assert_int_equal(chmod(in("bin/ffmpeg"), 0755), 0);
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", in("bin"));
    assert_int_equal(setenv("PATH", path, 1), 0);
}

static const char copies[] = "#!/bin/sh\nfor last; do :; done\nexec cat > \"$last\"\n";

static void test_film(void **state)
{
    (void)state;
    static uint8_t pixels[6 * 4 * 3];
    struct dg_film *film;
    size_t size;
    install_ffmpeg(copies);
    assert_true(dg_film_can_be_made());
    assert_ok(dg_film_open(in("film.mp4"), 6, 4, 30, &film, try_err));
    for (int f = 0; f < 5; f++) {
        memset(pixels, f, sizeof pixels);
        assert_ok(dg_film_add(film, pixels, try_err));
    }
    assert_int_equal(access(in("film.mp4"), F_OK), -1);
    assert_ok(dg_film_end(film, try_err));
    dg_film_close(film);
    char *bytes = read_file(in("film.mp4"), &size);
    assert_int_equal(size, 5 * sizeof pixels);
    assert_int_equal(bytes[size - 1], 4);
    free(bytes);
    /* A program that fails, or is left alone, leaves nothing. */
    install_ffmpeg("#!/bin/sh\nexit 3\n");
    struct dg_error err = {0};
    assert_ok(dg_film_open(in("none.mp4"), 6, 4, 30, &film, try_err));
    enum dg_status status = DG_OK;
    for (int f = 0; f < 100000 && status == DG_OK; f++) status = dg_film_add(film, pixels, &err);
    if (status == DG_OK) status = dg_film_end(film, &err);
    assert_int_equal(status, DG_ERR_IO);
    dg_film_close(film);
    install_ffmpeg(copies);
    assert_ok(dg_film_open(in("none.mp4"), 6, 4, 30, &film, try_err));
    assert_ok(dg_film_add(film, pixels, try_err));
    dg_film_close(film);
    assert_int_equal(access(in("none.mp4"), F_OK), -1);
    assert_int_equal(access(in("partial-none.mp4"), F_OK), -1);
    assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
    assert_false(dg_film_can_be_made());
    assert_int_equal(setenv("PATH", "/usr/bin:/bin", 1), 0);
}

/* ---- the command ---- */

static void make_run(void)
{
    dg_tiny_pictures(in("pictures"), 8);
    dg_tiny_compile(in("tiny.plan"), NULL);
    dg_tiny_run(in("tiny.plan"), in("pictures"), in("run"));
}

static void test_attention_over_video(void **state)
{
    (void)state;
    size_t size;
    make_run();
    install_ffmpeg(copies);
    const struct process *p =
        RUN(DG_BUILD_DIR "/dinorun", "attention", in("run"), "--video", in("video"), "--out", in("maps"));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "frames are seen at 32x40, 4x5 patches");
    process_assert_says(p, p->out, "attention.mp4 is the film");
    char *film = read_file(in("maps/attention.mp4"), &size);
    assert_int_equal(size, FRAMES * 32 * 40 * 3);
    free(film);
    char *numbers = read_file(in("maps/attention.npy"), &size);
    assert_int_equal(size, 128 + FRAMES * 4 * 5 * sizeof(float));
    const float *map = (const float *)(void *)(numbers + 128);
    float least = map[0], most = map[0];
    for (int i = 0; i < FRAMES * 20; i++) {
        least = map[i] < least ? map[i] : least;
        most = map[i] > most ? map[i] : most;
    }
    /* The least and the most of all frames are the ends of the colours, wherever they are. */
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    for (int i = 0; i < FRAMES * 20; i++) {
        char name[64];
        if (map[i] != least && map[i] != most) continue;
        snprintf(name, sizeof name, "maps/attn-f%d.png", i / 20);
        assert_ok(dg_image_decode_file(&decoder, in(name), &image, try_err));
        const uint8_t *pixel = image.pixels + 3 * (i % 20 / 5 * 8 * 40 + i % 5 * 8);
        assert_memory_equal(pixel, map[i] == least ? "\x44\x01\x54" : "\xfd\xe7\x24", 3);
    }
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
    free(numbers);
    /* Of an image, its maps in its own size have the same mean. */
    p = RUN(DG_BUILD_DIR "/dinorun", "attention", in("run"), "--image", in("video/f0.png"), "--out", in("one"),
            "--resize", "exact");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "[2, 4, 5] f32");
}

static void test_refused(void **state)
{
    (void)state;
    const struct process *p = RUN(DG_BUILD_DIR "/dinorun", "attention", in("run"), "--video", "-", "--out", in("none"));
    process_assert_status(p, 1); /* its standard input is empty */
    process_assert_says(p, p->err, "there are no frames on standard input");
    p = RUN(DG_BUILD_DIR "/dinorun", "attention", in("run"), "--video", in("video"), "--image", "a", "--out",
            in("none"));
    process_assert_status(p, 2);
    p = RUN(DG_BUILD_DIR "/dinorun", "attention", in("run"), "--image", "a", "--out", in("none"), "--fps", "25");
    process_assert_status(p, 2);
    struct dg_image image = dg_test_noise("frames", 64, 33);
    assert_ok(dg_image_write_png(in("video/g.png"), image.pixels, 64, 33, 3, try_err));
    dg_image_free(&image);
    p = RUN(DG_BUILD_DIR "/dinorun", "attention", in("run"), "--video", in("video"), "--out", in("none"));
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "frame g is seen at 32x64 (height x width), and those before it at 32x40");
    assert_int_equal(access(in("none/attention.npy"), F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_damaged_pipes),
        cmocka_unit_test(test_film),
        cmocka_unit_test(test_attention_over_video),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

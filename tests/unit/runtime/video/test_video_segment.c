/* Videos of drawn frames: masks from soft labels; the command on a video that stands still and on one that moves; what
 * is written, scored and refused. */
#include "runtime/image/write.h"
#include "runtime/video/davis.h"
#include "runtime/video/segment.h"
#include "tests/support/images.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <jansson.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#define DINORUN DG_BUILD_DIR "/dinorun"
enum { HEIGHT = 72, WIDTH = 100, FRAMES = 6 };

static uint8_t palette[256][3];

static void make_folders(const char *path)
{
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        char folder[256];
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        mkdir(folder, 0777);
    }
}

static char *path_of(const char *kind, const char *video, int frame)
{
    static char path[4][256];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof *path, "%s/davis/%s/480p/%s/%05d.png", test_folder, kind, video, frame);
    make_folders(p);
    return p;
}

/* Two coloured squares on noise that stands still; they move by `step` pixels a frame. */
static void draw_video(const char *name, int step, int annotated)
{
    for (int f = 0; f < FRAMES; f++) {
        struct dg_image image = dg_test_noise("ground", WIDTH, HEIGHT);
        uint8_t label[HEIGHT * WIDTH] = {0};
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                uint8_t *pixel = image.pixels + 3 * (y * WIDTH + x);
                for (int c = 0; c < 3; c++) pixel[c] = (uint8_t)(100 + pixel[c] / 8);
                int object = y >= 8 && y < 40 && x >= 8 + f * step && x < 40 + f * step     ? 1
                             : y >= 40 && y < 64 && x >= 64 - f * step && x < 88 - f * step ? 2
                                                                                            : 0;
                if (object) pixel[object] = (uint8_t)(230 + pixel[object] / 16);
                label[y * WIDTH + x] = (uint8_t)object;
            }
        assert_ok(dg_image_write_png(path_of("JPEGImages", name, f), image.pixels, WIDTH, HEIGHT, 3, try_err));
        if (f < annotated)
            assert_ok(dg_image_write_labels(path_of("Annotations", name, f), label, WIDTH, HEIGHT,
                                            (const uint8_t(*)[3])palette, try_err));
        dg_image_free(&image);
    }
}

static void write_list(const char *set, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/davis/ImageSets/2017/%s.txt", test_folder, set);
    make_folders(path);
    write_file(path, text, strlen(text));
}

static int setup(void **state)
{
    make_test_folder(state);
    dg_label_image_davis_palette(palette);
    draw_video("still", 0, FRAMES);
    draw_video("moving", 3, FRAMES);
    draw_video("first-only", 3, 1);
    write_list("val", "still\nmoving\n");
    write_list("still", " still \n\n");
    write_list("first", "first-only\n");
    dg_tiny_pictures(in("pictures"), 8);
    dg_tiny_compile(in("tiny.plan"), NULL);
    dg_tiny_run(in("tiny.plan"), in("pictures"), in("run"));
    return 0;
}

/* ---- parts ---- */

static void test_frame_size(void **state)
{
    (void)state;
    static const int size[][5] = {{480, 854, 480, 480, 832},  {854, 480, 480, 832, 480}, {500, 500, 480, 480, 448},
                                  {720, 1280, 480, 480, 832}, {72, 100, 64, 64, 64},     {100, 10, 64, 640, 64}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        struct dg_fit_size to = dg_video_frame_size(size[i][0], size[i][1], size[i][2]);
        assert_int_equal(to.height, size[i][3]);
        assert_int_equal(to.width, size[i][4]);
    }
}

/* Of 2 x 2 patches: the right half is nearly as much of channel 1 as of channel 0, and wins when both are stretched. */
static void test_mask_of(void **state)
{
    (void)state;
    const float labels[] = {0.9f, 0.6f, 0.9f, 0.6f, 0.1f, 0.4f, 0.1f, 0.4f};
    uint8_t mask[4 * 4];
    assert_ok(dg_video_mask_of(labels, 2, 2, 2, 2, 4, 4, mask, try_err));
    for (int i = 0; i < 16; i++) assert_int_equal(mask[i], i % 4 >= 2);
    /* A channel that is equal everywhere is stretched to NaN, and takes all, as in PyTorch. */
    const float flat[] = {0.5f, 0.2f, 0.1f, 0.2f, 0.3f, 0.3f, 0.3f, 0.3f};
    assert_ok(dg_video_mask_of(flat, 2, 2, 2, 2, 4, 4, mask, try_err));
    for (int i = 0; i < 16; i++) assert_int_equal(mask[i], 1);
    const float none[] = {1, 1, 1, 0.5f, 0, 0, 0, 0}; /* nothing of it: not stretched */
    assert_ok(dg_video_mask_of(none, 2, 2, 2, 2, 4, 4, mask, try_err));
    assert_int_equal(mask[0], 0);
}

/* ---- the command ---- */

static const struct process *segment(const char *set, const char *out, const char *flag, const char *value)
{
    return RUN(DINORUN, "video-segment", in("run"), "--data", in("davis"), "--set", set, "--out", out, "--short-side",
               "64", "--neighborhood", "3", "--json", flag, value);
}

static double number_at(const json_t *object, const char *a, const char *b, const char *c)
{
    const json_t *at = json_object_get(object, a);
    if (b) at = json_object_get(at, b);
    if (c) at = json_object_get(at, c);
    assert_true(json_is_number(at));
    return json_number_value(at);
}

/* Patches of a video that stands still are most like themselves: with one of them each, labels do not change. */
static void test_still(void **state)
{
    (void)state;
    const struct process *p = segment("still", in("still-masks"), "--top-k", "1");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "still: 6 frames, seen at 64x64, 8x8 patches; 2 objects");
    process_assert_says(p, p->err, "J&F");
    json_t *json = json_loads(p->out, 0, NULL);
    assert_non_null(json);
    assert_true(fabs(number_at(json, "score", "j", "decay")) < 1e-9);
    json_decref(json);
    struct dg_label_image first = {0}, mask = {0}, truth = {0};
    assert_ok(dg_label_image_read(in("still-masks/still/00000.png"), &first, try_err));
    assert_ok(dg_label_image_read(path_of("Annotations", "still", 0), &truth, try_err));
    assert_memory_equal(first.label, truth.label, HEIGHT * WIDTH);
    assert_memory_equal(first.palette, palette, sizeof palette);
    /* The annotation as the patches have it, of which a mask is made. */
    uint8_t small[8 * 8], want[HEIGHT * WIDTH];
    float labels[3][8 * 8];
    dg_label_image_resize(truth.label, WIDTH, HEIGHT, 8, 8, small);
    for (int i = 0; i < 8 * 8; i++)
        for (int c = 0; c < 3; c++) labels[c][i] = small[i] == c;
    assert_ok(dg_video_mask_of(&labels[0][0], 3, 8, 8, 8, HEIGHT, WIDTH, want, try_err));
    assert_ok(dg_label_image_read(in("still-masks/still/00001.png"), &first, try_err));
    assert_memory_equal(first.label, want, sizeof want);
    for (int f = 2; f < FRAMES; f++) {
        char name[64];
        snprintf(name, sizeof name, "still-masks/still/%05d.png", f);
        assert_ok(dg_label_image_read(in(name), &mask, try_err));
        assert_memory_equal(mask.label, first.label, HEIGHT * WIDTH);
    }
    dg_label_image_free(&first);
    dg_label_image_free(&mask);
    dg_label_image_free(&truth);
}

/* The same figures of the masks as files; and a run's results.csv has them. */
static void test_scored_again(void **state)
{
    (void)state;
    size_t size;
    const struct process *p = segment("val", in("masks"), "--last-frames", "2");
    process_assert_status(p, 0);
    json_t *json = json_loads(p->out, 0, NULL);
    assert_non_null(json);
    assert_int_equal(json_array_size(json_object_get(json_object_get(json, "score"), "objects")), 4);
    p = RUN(DINORUN, "video-score", "--data", in("davis"), "--masks", in("masks"), "--json");
    process_assert_status(p, 0);
    json_t *again = json_loads(p->out, 0, NULL);
    assert_non_null(again);
    assert_true(json_equal(json_object_get(json, "score"), json_object_get(again, "score")));
    json_decref(json);
    json_decref(again);
    char *results = read_file(in("run/results.csv"), &size);
    assert_non_null(strstr(results, "video-segment,davis.jf,"));
    free(results);
}

/* Annotations score 100 % on themselves. */
static void test_truth(void **state)
{
    (void)state;
    const struct process *p =
        RUN(DINORUN, "video-score", "--data", in("davis"), "--masks", in("davis/Annotations/480p"));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "J&F 100.00 %");
    process_assert_says(p, p->out, "moving_2");
}

static void test_first_only(void **state)
{
    (void)state;
    const struct process *p = segment("first", in("first-masks"), "--top-k", "5");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "1 of 1 videos without a score");
    process_assert_says(p, p->out, "\"score\": null");
    assert_int_equal(access(in("first-masks/first-only/00005.png"), F_OK), 0);
}

static void refused(const struct process *p, int status, const char *text)
{
    process_assert_status(p, status);
    process_assert_says(p, p->err, text);
    assert_string_equal(p->out, "");
}

static void test_refused(void **state)
{
    (void)state;
    refused(segment("nothing", in("none"), "--top-k", "5"), 1, "expected the layout of DAVIS 2017");
    write_list("twice", "still\nstill\n");
    refused(segment("twice", in("none"), "--top-k", "5"), 1, "names still twice");
    write_list("empty", "\n");
    refused(segment("empty", in("none"), "--top-k", "5"), 1, "names no video");
    assert_int_equal(mkdir(in("davis/ImageSets/2017/folder.txt"), 0777), 0);
    refused(segment("folder", in("none"), "--top-k", "5"), 1, "folder.txt: Is a directory");
    write_list("outside", "../x\n");
    refused(segment("outside", in("none"), "--top-k", "5"), 1, "is no name of a video");
    write_list("absent", "absent\n");
    refused(segment("absent", in("none"), "--top-k", "5"), 1, "absent");
    refused(segment("still", in("none"), "--top-k", "200"), 2, "near one in a corner");
    refused(RUN(DINORUN, "video-score", "--data", in("davis"), "--masks", in("nowhere"), "--json"), 1, "nowhere");
    /* A frame of another size in the middle; a video without an annotation. */
    draw_video("mixed", 1, 1);
    write_list("mixed", "mixed\n");
    struct dg_image small = dg_test_noise("small", 80, HEIGHT);
    assert_ok(dg_image_write_png(path_of("JPEGImages", "mixed", 3), small.pixels, 80, HEIGHT, 3, try_err));
    dg_image_free(&small);
    refused(segment("mixed", in("none"), "--top-k", "5"), 1, "has 80x72 pixels, and the video's first frame 100x72");
    draw_video("bare", 1, 0);
    write_list("bare", "bare\n");
    refused(segment("bare", in("none"), "--top-k", "5"), 1, "Annotations/480p/bare/00000.png");
    /* More objects in a mask than in the annotation. */
    uint8_t label[HEIGHT * WIDTH];
    struct dg_label_image mask = {0};
    memset(label, 3, sizeof label);
    assert_ok(dg_label_image_read(path_of("Annotations", "still", 1), &mask, try_err));
    assert_ok(dg_image_write_labels(in("masks/still/00002.png"), label, WIDTH, HEIGHT, (const uint8_t(*)[3])palette,
                                    try_err));
    refused(RUN(DINORUN, "video-score", "--data", in("davis"), "--masks", in("masks"), "--json"), 1,
            "still: the mask of 00002.png has object 3, and the first annotation has no more than 2");
    dg_label_image_free(&mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_size),   cmocka_unit_test(test_mask_of), cmocka_unit_test(test_still),
        cmocka_unit_test(test_scored_again), cmocka_unit_test(test_truth),   cmocka_unit_test(test_first_only),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}

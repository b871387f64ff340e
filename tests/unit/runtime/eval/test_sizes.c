/* Images of many sizes: each gives what a plan compiled for its size gives, whatever is closed in between; how sizes
 * are found; what is refused. */
#include "runtime/data/views.h"
#include "runtime/eval/sizes.h"
#include "runtime/image/interpolate.h"
#include "tests/support/compile.h"
#include "tests/support/images.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <inttypes.h>
#include <math.h>
#include <unistd.h>

static struct dg_plan plan;
static int made; /* plans */
static char weights[128];

static void compile_size(int64_t height, int64_t width, const char *path)
{
    char resize[64];
    snprintf(resize, sizeof resize, "entries.features.resize=%" PRId64, height > width ? height : width);
    const char *const set[] = {resize, "entries.features.batch=1"};
    struct dg_compile_options options = {
        .file = in("tiny.yaml"), .output = path, .set = set, .num_sets = 2, .height = height, .width = width};
    compile_plan(&options);
}

static enum dg_status make(void *context, const struct dg_plan *of, int64_t height, int64_t width,
                           struct dg_plan *result, struct dg_error *err)
{
    assert_ptr_equal(context, &made);
    assert_ptr_equal(of, &plan);
    made++;
    compile_size(height, width, in("made.plan"));
    return dg_plan_open(in("made.plan"), result, err);
}

static int setup(void **state)
{
    make_test_folder(state);
    dg_tiny_pictures(in("pictures"), 8);
    dg_tiny_compile(in("tiny.plan"), NULL);
    assert_ok(dg_plan_open(in("tiny.plan"), &plan, try_err));
    const char *text = dg_plan_string(&plan, plan.header->description);
    write_file(in("tiny.yaml"), text, strlen(text));
    dg_tiny_run(in("tiny.plan"), in("pictures"), in("run"));
    snprintf(weights, sizeof weights, "%s", in("run/checkpoint.safetensors"));
    return 0;
}

static int teardown(void **state)
{
    dg_plan_close(&plan);
    return remove_test_folder(state);
}

static struct dg_sizes *open_any(enum dg_entry_role role, int64_t memory, bool multiscale)
{
    struct dg_sizes *sizes;
    struct dg_sizes_options options = {
        .evaluator = {.role = role, .weights = weights, .threads = 2, .memory = memory, .own_images = true},
        .make = make,
        .context = &made,
        .multiscale = multiscale};
    assert_ok(dg_sizes_open(&plan, &options, &sizes, try_err));
    return sizes;
}

static struct dg_sizes *open_sizes(enum dg_entry_role role, int64_t memory) { return open_any(role, memory, false); }

/* A picture, normalised and at that scale, of which the upper left height x width pixels are the input. */
static void fill_input(const struct dg_knobs *knobs, const struct dg_image *image, double scale, int height, int width,
                       float *input)
{
    double mean[3], std[3];
    dg_views_pixels(knobs, mean, std);
    struct dg_normalizer normalizer = dg_normalizer_make(mean, std);
    size_t pixels = (size_t)image->width * (size_t)image->height;
    int line = dg_interpolated_size(image->width, scale);
    float *all = malloc(6 * pixels * sizeof *all), *scaled = all + 3 * pixels;
    assert_non_null(all);
    dg_normalize(&normalizer, image->pixels, (int64_t)pixels, all);
    if (scale < 1)
        dg_interpolate(all, image->height, image->width, scale, scaled);
    else
        scaled = all;
    for (int y = 0; y < height; y++)
        memcpy(input + 3 * (ptrdiff_t)y * width, scaled + 3 * (ptrdiff_t)y * line, 3 * (size_t)width * sizeof *input);
    free(all);
}

/* What a plan for that size makes of the upper left height x width pixels of a picture at that scale; the caller frees
 * it. */
static float *expected_at(double scale, enum dg_entry_role role, const struct dg_image *image, int height, int width,
                          int64_t *dim)
{
    struct dg_plan own;
    struct dg_knobs knobs;
    struct dg_evaluator *evaluator;
    const float *output;
    compile_size(height, width, in("own.plan"));
    assert_ok(dg_plan_open(in("own.plan"), &own, try_err));
    assert_ok(dg_knobs_open(&own, &knobs, try_err));
    struct dg_evaluator_options options = {.role = role, .weights = weights, .threads = 2, .own_images = true};
    assert_ok(dg_evaluator_open(&own, &knobs, &options, &evaluator, try_err));
    float *input = dg_session_slot(dg_evaluator_session(evaluator), DG_SLOT_IMAGES);
    fill_input(&knobs, image, scale, height, width, input);
    assert_ok(dg_evaluate_batch(evaluator, input, &output, try_err));
    *dim = dg_evaluator_dim(evaluator);
    float *copy = malloc((size_t)*dim * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, output, (size_t)*dim * sizeof *copy);
    dg_evaluator_close(evaluator);
    dg_knobs_close(&knobs);
    dg_plan_close(&own);
    return copy;
}

static float *expected(enum dg_entry_role role, const struct dg_image *image, int height, int width, int64_t *dim)
{
    return expected_at(1, role, image, height, width, dim);
}

static void check_image(struct dg_sizes *sizes, enum dg_entry_role role, int height, int width)
{
    struct dg_image image = dg_test_noise("sizes", width, height);
    struct dg_sized_output output;
    int64_t dim;
    assert_ok(dg_sizes_run(sizes, image.pixels, height, width, "noise", &output, try_err));
    int covered[2] = {height / 8 * 8, width / 8 * 8}; /* patches of 8 */
    float *want = expected(role, &image, covered[0], covered[1], &dim);
    assert_int_equal(output.height, covered[0]);
    assert_int_equal(output.width, covered[1]);
    assert_int_equal(output.dim, dim);
    assert_memory_equal(output.output, want, (size_t)dim * sizeof *want);
    free(want);
    dg_image_free(&image);
}

static const int shape[][2] = {{32, 32}, {40, 24}, {24, 40}, {45, 29}, {32, 32}, {61, 8}, {24, 40}};
enum { SHAPES = sizeof shape / sizeof *shape, DISTINCT = 4 }; /* 45 x 29 and 40 x 24 are one size */

static void check_shapes(enum dg_entry_role role)
{
    struct dg_sizes *sizes = open_sizes(role, 0);
    made = 0;
    for (int s = 0; s < SHAPES; s++) check_image(sizes, role, shape[s][0], shape[s][1]);
    struct dg_sizes_use use = dg_sizes_use(sizes);
    assert_int_equal(made, DISTINCT);
    assert_int_equal(use.sizes, DISTINCT);
    assert_int_equal(use.openings, DISTINCT);
    assert_true(use.most > 0 && use.most <= use.memory);
    dg_sizes_close(sizes);
}

static void test_features(void **state)
{
    (void)state;
    check_shapes(DG_ENTRY_FEATURES);
}

static void test_tokens(void **state)
{
    (void)state;
    check_shapes(DG_ENTRY_TOKENS);
}

static void test_attention(void **state)
{
    (void)state;
    check_shapes(DG_ENTRY_ATTENTION);
}

/* The mean of three scales of the normalised image, which are made of all of it. */
static void test_scales(void **state)
{
    (void)state;
    enum { HEIGHT = 45, WIDTH = 61, DIM = 32 };
    static const double scale[] = {1, 0.70710678118654746, 0.5};
    struct dg_image image = dg_test_noise("sizes", WIDTH, HEIGHT);
    struct dg_sizes *sizes = open_any(DG_ENTRY_FEATURES, 0, true);
    struct dg_sized_output output;
    assert_ok(dg_sizes_run(sizes, image.pixels, HEIGHT, WIDTH, "noise", &output, try_err));
    assert_int_equal(output.dim, DIM);
    float want[DIM] = {0};
    for (int i = 0; i < 3; i++) {
        int64_t dim;
        int rows = dg_interpolated_size(HEIGHT, scale[i]) / 8 * 8, cols = dg_interpolated_size(WIDTH, scale[i]) / 8 * 8;
        float *one = expected_at(scale[i], DG_ENTRY_FEATURES, &image, rows, cols, &dim);
        for (int c = 0; c < DIM; c++) want[c] += one[c];
        free(one);
    }
    double square = 0, apart = 0;
    for (int c = 0; c < DIM; c++) square += (double)want[c] * (double)want[c];
    for (int c = 0; c < DIM; c++) apart = fmax(apart, fabs((double)want[c] / sqrt(square) - (double)output.output[c]));
    assert_true(apart <= 5 * 0x1p-24); /* five roundings of numbers below 1 */
    assert_int_equal(dg_sizes_use(sizes).sizes, 3);
    dg_sizes_close(sizes);
    dg_image_free(&image);
}

/* Room for one session, and for two: the same numbers, more openings, and never more memory than said. */
static void test_closing(void **state)
{
    (void)state;
    struct dg_sizes *sizes = open_sizes(DG_ENTRY_FEATURES, 0);
    assert_ok(dg_sizes_prepare(sizes, 40, 32, NULL, try_err)); /* none of those below takes more */
    int64_t one = dg_sizes_use(sizes).most;
    dg_sizes_close(sizes);
    sizes = open_sizes(DG_ENTRY_FEATURES, one);
    for (int s = 0; s < SHAPES; s++) check_image(sizes, DG_ENTRY_FEATURES, shape[s][0], shape[s][1]);
    struct dg_sizes_use use = dg_sizes_use(sizes);
    assert_int_equal(use.sizes, DISTINCT);
    assert_int_equal(use.openings, SHAPES);
    assert_true(use.most <= one);
    dg_sizes_close(sizes);
}

/* A further size costs its activations: weights are in memory once, and with room for all four sizes besides the
 * weights none is closed. */
static void test_shared_weights(void **state)
{
    (void)state;
    const int64_t parameters = (int64_t)plan.entry[plan.header->entry[DG_ENTRY_FEATURES]].region_bytes[DG_REGION_PARAM];
    struct dg_sizes *sizes = open_sizes(DG_ENTRY_FEATURES, 0);
    assert_ok(dg_sizes_prepare(sizes, shape[0][0], shape[0][1], NULL, try_err));
    int64_t one = dg_sizes_use(sizes).most;
    for (int s = 0; s < SHAPES; s++) assert_ok(dg_sizes_prepare(sizes, shape[s][0], shape[s][1], NULL, try_err));
    struct dg_sizes_use use = dg_sizes_use(sizes);
    assert_true(use.most <= one + (DISTINCT - 1) * use.own && use.own < parameters);
    dg_sizes_close(sizes);
    sizes = open_sizes(DG_ENTRY_FEATURES, use.most);
    for (int s = 0; s < SHAPES; s++) check_image(sizes, DG_ENTRY_FEATURES, shape[s][0], shape[s][1]);
    assert_int_equal(dg_sizes_use(sizes).openings, DISTINCT);
    dg_sizes_close(sizes);
}

static void test_refused(void **state)
{
    (void)state;
    struct dg_error err = {0};
    struct dg_sized_output output;
    struct dg_image image = dg_test_noise("sizes", 7, 100);
    struct dg_sizes *sizes = open_sizes(DG_ENTRY_FEATURES, 1 << 20);
    assert_int_equal(dg_sizes_run(sizes, image.pixels, 100, 7, "thin.png", &output, &err), DG_ERR_INPUT);
    assert_non_null(
        strstr(err.text, "thin.png: an image of 100x7 pixels (height x width) has no room for a patch of 8"));
    err = (struct dg_error){0};
    assert_int_equal(dg_sizes_prepare(sizes, 64, 64, NULL, &err), DG_ERR_MEMORY);
    assert_non_null(strstr(err.text, "images of 64x64 pixels"));
    assert_non_null(strstr(err.text, "may take 1.0 MiB"));
    dg_sizes_close(sizes);
    dg_image_free(&image);
}

/* ---- how an image is fitted ---- */

static void check_fit(const char *text, int height, int width, int to_height, int to_width)
{
    struct dg_fit fit;
    char again[32];
    assert_true(dg_fit_read(text, &fit));
    assert_string_equal(dg_fit_text(fit, again, sizeof again), text);
    struct dg_fit_size size = dg_fit_size(fit, height, width);
    assert_int_equal(size.height, to_height);
    assert_int_equal(size.width, to_width);
}

static void test_fits(void **state)
{
    (void)state;
    check_fit("exact", 33, 51, 33, 51);
    check_fit("square 320", 33, 51, 320, 320);
    check_fit("short-side 480", 480, 854, 480, 854);
    check_fit("short-side 200", 247, 321, 200, 259); /* 259.9 */
    check_fit("short-side 200", 321, 247, 259, 200);
    check_fit("short-side 7", 5, 5, 7, 7);
    check_fit("long-side 224", 768, 1024, 168, 224);
    check_fit("long-side 16384", 33, 51, 33, 51);
    struct dg_fit fit;
    static const char *const wrong[] = {"",          "exac",         "exact 3",    "square",        "square 0",
                                        "square -3", "square 16385", "short-side", "short-side 3 ", "short side 3"};
    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) assert_false(dg_fit_read(wrong[w], &fit));
}

/* ---- the command, whose plans dinoc makes ---- */

static void test_command(void **state)
{
    (void)state;
    size_t size;
    const struct process *p = RUN(DG_BUILD_DIR "/dinorun", "features", in("run"), "--data", in("pictures"), "--out",
                                  in("exact.npy"), "--resize", "exact");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "(--memory)");
    char *origin = read_file(in("exact.npy.json"), &size);
    assert_non_null(strstr(origin, "exact"));
    free(origin);
    assert_int_equal(access(in("exact.npy.tsv"), F_OK), 0);
    /* Squares of the plan's own size: the session is another one, the network the same. */
    p = RUN(DG_BUILD_DIR "/dinorun", "features", in("run"), "--data", in("pictures"), "--out", in("square.npy"),
            "--resize", "square 32", "--memory", "1G");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "of 1.00 GiB");
    p = RUN(DG_BUILD_DIR "/dinorun", "features", in("run"), "--data", in("pictures"), "--out", in("patches.npy"),
            "--resize", "square 45", "--output", "patches");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "[8, 5, 5, 32]");
    p = RUN(DG_BUILD_DIR "/dinorun", "features", in("run"), "--data", in("pictures"), "--out", in("gem.npy"),
            "--resize", "exact", "--output", "cls+gem");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "[8, 64]");
    p = RUN(DG_BUILD_DIR "/dinorun", "features", in("run"), "--data", in("pictures"), "--out", in("no.npy"), "--resize",
            "exact", "--output", "tokens");
    process_assert_status(p, 2);
    process_assert_says(p, p->err, "no common shape");
    p = RUN(DG_BUILD_DIR "/dinorun", "features", in("run"), "--data", in("pictures"), "--out", in("no.npy"), "--memory",
            "1G");
    process_assert_status(p, 2);
    process_assert_says(p, p->err, "--resize");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features), cmocka_unit_test(test_tokens),  cmocka_unit_test(test_attention),
        cmocka_unit_test(test_scales),   cmocka_unit_test(test_closing), cmocka_unit_test(test_shared_weights),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_fits),    cmocka_unit_test(test_command),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

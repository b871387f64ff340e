/* Resizing and augmentation: the bytes of Pillow and torchvision, and the distributions of the recipe. */
#include "tests/support/images.h"

#include <math.h>
#include <sys/wait.h>

/* The fixtures are Pillow 9.4's but for those that say otherwise. */
static struct dg_resampling resampling_named(const char *name)
{
    return (struct dg_resampling){strcmp(name, "bilinear") ? DG_FILTER_BICUBIC : DG_FILTER_BILINEAR, 12};
}

/* A table of resized pictures by Pillow 12 and before, or by 13. */
static void check_resize(const char *path, int pillow, int cases)
{
    FILE *table = dg_test_table(path);
    struct dg_image image = dg_test_noise("resize", 61, 47);
    struct dg_scratch work = {0};
    char filter[16];
    struct dg_box box;
    int width, height, count = 0;
    unsigned long long hash;
    while (fscanf(table, "%15s %d %d %d %d %d %d %llx", filter, &box.left, &box.top, &box.width, &box.height, &width,
                  &height, &hash) == 8) {
        size_t size = (size_t)width * (size_t)height * 3;
        uint8_t *out = malloc(size);
        struct dg_resampling how = resampling_named(filter);
        how.pillow = pillow;
        assert_ok(dg_image_resize(&image, box, how, width, height, out, &work, try_err));
        if (dg_test_hash(out, size) != hash)
            fail_msg("%s of %d x %d to %d x %d differs", filter, box.width, box.height, width, height);
        free(out);
        count++;
    }
    assert_int_equal(count, cases);
    fclose(table);
    dg_scratch_free(&work);
    dg_image_free(&image);
}

static void test_resize(void **state)
{
    (void)state;
    check_resize(FIXTURE("resize.txt"), 12, 90);
    check_resize(FIXTURE("resize13.txt"), 13, 120);
}

/* The centre crop is what the whole image would be there, in either order of passes, which differ for this shape. */
static void test_center_crop_is_the_middle(void **state)
{
    (void)state;
    struct dg_scratch work = {0};
    struct dg_image image = dg_test_noise("tall", 21, 190);
    uint8_t whole[2][18 * 162 * 3], middle[16 * 16 * 3];
    for (int i = 0; i < 2; i++) {
        const struct dg_resampling how = {DG_FILTER_BICUBIC, 12 + i};
        assert_ok(dg_image_resize(&image, (struct dg_box){0, 0, 21, 190}, how, 18, 162, whole[i], &work, try_err));
        assert_ok(dg_image_resize_center_crop(&image, how, 18, 16, 16, middle, &work, try_err));
        for (int y = 0; y < 16; y++)
            assert_memory_equal(middle + y * 16 * 3, whole[i] + ((y + 73) * 18 + 1) * 3, 16 * 3);
    }
    assert_true(memcmp(whole[0], whole[1], sizeof whole[0]) != 0);
    dg_image_free(&image);
    dg_scratch_free(&work);
}

static void test_resize_refuses_boxes_outside(void **state)
{
    (void)state;
    struct dg_image image = dg_test_noise("box", 9, 7);
    struct dg_scratch work = {0};
    uint8_t out[3 * 4 * 4];
    const struct dg_box boxes[] = {{0, 0, 10, 7}, {0, 0, 9, 8}, {-1, 0, 3, 3}, {7, 0, 3, 3},
                                   {0, 6, 3, 2},  {0, 0, 0, 3}, {3, 3, 3, -1}, {INT32_MAX, 0, 3, 3}};
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++) {
        struct dg_error err = {0};
        assert_int_equal(
            dg_image_resize(&image, boxes[i], (struct dg_resampling){DG_FILTER_BICUBIC}, 4, 4, out, &work, &err),
            DG_ERR_USAGE);
    }
    dg_scratch_free(&work);
    dg_image_free(&image);
}

static void test_center_crop(void **state)
{
    (void)state;
    FILE *table = dg_test_table(FIXTURE("center_crop.txt"));
    struct dg_scratch work = {0};
    char filter[16];
    int width, height, resize, crop, count = 0;
    unsigned long long hash;
    while (fscanf(table, "%15s %d %d %d %d %llx", filter, &width, &height, &resize, &crop, &hash) == 6) {
        struct dg_image image = dg_test_noise("center crop", width, height);
        uint8_t out[64 * 64 * 3];
        assert_ok(
            dg_image_resize_center_crop(&image, resampling_named(filter), resize, crop, crop, out, &work, try_err));
        if (dg_test_hash(out, (size_t)(crop * crop * 3)) != hash)
            fail_msg("%s of %d x %d by %d to %d differs", filter, width, height, resize, crop);
        dg_image_free(&image);
        count++;
    }
    assert_int_equal(count, 18);
    fclose(table);
    dg_scratch_free(&work);
}

/* Other shapes have no published rule: the picture is covered and its middle kept. */
static void test_center_crop_of_other_shapes(void **state)
{
    (void)state;
    struct dg_scratch work = {0};
    struct dg_image image = dg_test_noise("wide crop", 80, 40);
    uint8_t out[20 * 40 * 3], expected[46 * 23 * 3];
    assert_ok(dg_image_resize_center_crop(&image, (struct dg_resampling){DG_FILTER_BICUBIC}, 46, 40, 20, out, &work,
                                          try_err));
    struct dg_box whole = {0, 0, 80, 40};
    assert_ok(
        dg_image_resize(&image, whole, (struct dg_resampling){DG_FILTER_BICUBIC}, 46, 23, expected, &work, try_err));
    for (int y = 0; y < 20; y++) /* offsets 3 and 1.5, half to even */
        assert_memory_equal(out + y * 40 * 3, expected + ((y + 2) * 46 + 3) * 3, 40 * 3);
    dg_image_free(&image);
    struct dg_error err = {0};
    image = dg_test_noise("needle", 60000, 1);
    assert_int_equal(
        dg_image_resize_center_crop(&image, (struct dg_resampling){DG_FILTER_BICUBIC}, 2000, 40, 20, out, &work, &err),
        DG_ERR_INPUT);
    dg_image_free(&image);
    dg_scratch_free(&work);
}

static void apply_operation(const char *name, float value, struct dg_image *image)
{
    int64_t count = (int64_t)image->width * image->height;
    if (!strcmp(name, "brightness"))
        dg_image_brightness(image->pixels, count, value);
    else if (!strcmp(name, "contrast"))
        dg_image_contrast(image->pixels, count, value);
    else if (!strcmp(name, "saturation"))
        dg_image_saturation(image->pixels, count, value);
    else if (!strcmp(name, "hue"))
        dg_image_hue(image->pixels, count, value);
    else if (!strcmp(name, "solarize"))
        dg_image_solarize(image->pixels, count, (int)value);
    else if (!strcmp(name, "gray"))
        dg_image_gray(image->pixels, count);
    else if (!strcmp(name, "flip"))
        dg_image_flip(image->pixels, image->width, image->height);
    else
        fail_msg("no operation %s", name);
}

static void test_colour(void **state)
{
    (void)state;
    FILE *table = dg_test_table(FIXTURE("colour.txt"));
    char picture[16], operation[16];
    float value;
    unsigned long long hash;
    int count = 0;
    while (fscanf(table, "%15s %15s %f %llx", picture, operation, &value, &hash) == 4) {
        struct dg_image image = strcmp(picture, "lattice") ? dg_test_noise("colour", 31, 23) : dg_test_lattice();
        apply_operation(operation, value, &image);
        if (dg_test_hash(image.pixels, (size_t)image.width * (size_t)image.height * 3) != hash)
            fail_msg("%s %g of the %s differs", operation, value, picture);
        dg_image_free(&image);
        count++;
    }
    assert_int_equal(count, 86);
    fclose(table);
}

static void test_blur(void **state)
{
    (void)state;
    FILE *table = dg_test_table(FIXTURE("blur.txt"));
    struct dg_scratch work = {0};
    int width, height, count = 0;
    float sigma;
    unsigned long long hash;
    while (fscanf(table, "%d %d %f %llx", &width, &height, &sigma, &hash) == 4) {
        struct dg_image image = dg_test_noise("blur", width, height);
        assert_ok(dg_image_blur(image.pixels, width, height, sigma, &work, try_err));
        if (dg_test_hash(image.pixels, (size_t)width * (size_t)height * 3) != hash)
            fail_msg("blur of %d x %d by %g differs", width, height, sigma);
        dg_image_free(&image);
        count++;
    }
    assert_int_equal(count, 64);
    fclose(table);
    dg_scratch_free(&work);
}

static void test_normalise(void **state)
{
    (void)state;
    FILE *table = dg_test_table(FIXTURE("normalised.txt"));
    unsigned long long hash;
    assert_int_equal(fscanf(table, "%llx", &hash), 1);
    fclose(table);
    struct dg_view_spec spec = dg_test_view(8, 0.5, 1, 0, 0);
    struct dg_normalizer normalizer = dg_normalizer_make(spec.mean, spec.std);
    uint8_t ramp[256 * 3];
    float out[256 * 3];
    for (int i = 0; i < 256 * 3; i++) ramp[i] = (uint8_t)(i / 3);
    dg_normalize(&normalizer, ramp, 256, out);
    assert_true(dg_test_hash(out, sizeof out) == hash);
}

static void test_whole_views(void **state)
{
    (void)state;
    FILE *table = dg_test_table(FIXTURE("views.txt"));
    struct dg_image image = dg_test_noise("view", 83, 67);
    struct dg_scratch work = {0};
    char filter[16];
    struct dg_view_spec spec = dg_test_view(1, 0.1, 1, 1, 1);
    struct dg_normalizer normalizer = dg_normalizer_make(spec.mean, spec.std);
    struct dg_view_draw draw = {0};
    int flip, gray, solarize, count = 0;
    unsigned long long byte_hash, float_hash;
    while (fscanf(table, "%15s %d %d %d %d %d %d %d %d %f %d %llx %llx %d", filter, &spec.width, &spec.height,
                  &draw.crop.left, &draw.crop.top, &draw.crop.width, &draw.crop.height, &flip, &gray, &draw.blur_sigma,
                  &solarize, &byte_hash, &float_hash, &draw.jitter_count) == 14) {
        for (int i = 0; i < draw.jitter_count; i++) {
            int operation;
            float factor;
            assert_int_equal(fscanf(table, "%d %f", &operation, &factor), 2);
            draw.jitter[i] = (enum dg_jitter)operation;
            draw.factor[operation] = factor;
        }
        spec.how = resampling_named(filter);
        draw.flip = flip;
        draw.gray = gray;
        draw.solarize = solarize;
        uint8_t bytes[48 * 48 * 3];
        float floats[48 * 48 * 3];
        size_t size = (size_t)spec.width * (size_t)spec.height * 3;
        assert_ok(dg_view_apply(&spec, &draw, &image, bytes, &work, try_err));
        dg_normalize(&normalizer, bytes, (int64_t)spec.width * spec.height, floats);
        if (dg_test_hash(bytes, size) != byte_hash) fail_msg("view %d differs in bytes", count);
        if (dg_test_hash(floats, size * sizeof(float)) != float_hash) fail_msg("view %d differs in floats", count);
        count++;
    }
    assert_int_equal(count, 24);
    fclose(table);
    dg_scratch_free(&work);
    dg_image_free(&image);
}

/* A linear probe's training pictures: the same boxes, and of them torchvision's pixels. */
static void test_probe_views(void **state)
{
    (void)state;
    enum { SIZE = 224 };
    FILE *table = dg_test_table(FIXTURE("probe_views.txt"));
    struct dg_scratch work = {0};
    struct dg_view_spec spec = {.height = SIZE,
                                .width = SIZE,
                                .how = {DG_FILTER_BILINEAR, 12},
                                .scale = {0.08, 1},
                                .ratio = {3.0 / 4, 4.0 / 3},
                                .flip = 0.5,
                                .mean = {0.485, 0.456, 0.406},
                                .std = {0.229, 0.224, 0.225}};
    struct dg_normalizer normalizer = dg_normalizer_make(spec.mean, spec.std);
    uint8_t *bytes = malloc(SIZE * SIZE * 3);
    float *floats = malloc(SIZE * SIZE * 3 * sizeof *floats);
    int width, height, flip, flips = 0, count = 0;
    long long epoch, index;
    struct dg_box box;
    unsigned long long byte_hash, float_hash;
    while (fscanf(table, "%d %d %lld %lld %d %d %d %d %d %llx %llx", &width, &height, &epoch, &index, &box.left,
                  &box.top, &box.width, &box.height, &flip, &byte_hash, &float_hash) == 11) {
        struct dg_image image = dg_test_noise("probe", width, height);
        struct dg_view_draw draw = dg_view_sample(&spec, width, height, 5, epoch, index, 0);
        if (memcmp(&draw.crop, &box, sizeof box) || draw.flip != flip || draw.jitter_count || draw.gray ||
            draw.solarize || draw.blur_sigma > 0)
            fail_msg("case %d: the crop is %d x %d at %d, %d, flip %d", count, draw.crop.width, draw.crop.height,
                     draw.crop.left, draw.crop.top, draw.flip);
        assert_ok(dg_view_apply(&spec, &draw, &image, bytes, &work, try_err));
        dg_normalize(&normalizer, bytes, SIZE * SIZE, floats);
        if (dg_test_hash(bytes, SIZE * SIZE * 3) != byte_hash) fail_msg("case %d differs in bytes", count);
        if (dg_test_hash(floats, SIZE * SIZE * 3 * sizeof *floats) != float_hash)
            fail_msg("case %d differs in floats", count);
        dg_image_free(&image);
        flips += flip;
        count++;
    }
    assert_int_equal(count, 21);
    assert_true(flips > 0 && flips < count);
    fclose(table);
    free(bytes);
    free(floats);
    dg_scratch_free(&work);
}

/* ---- sampling ---- */

enum { DRAWS = 20000 };

static void assert_near(const char *what, double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%s is %g; expected %g +- %g", what, value, expected, tolerance);
}

static void test_distributions(void **state)
{
    (void)state;
    struct dg_view_spec spec = dg_test_view(96, 0.05, 0.4, 0.5, 0.2);
    double flip = 0, jitter = 0, gray = 0, blur = 0, solarize = 0, sigma = 0, area = 0, log_ratio = 0;
    double factor[DG_JITTER_COUNT] = {0}, low[DG_JITTER_COUNT] = {9, 9, 9, 9}, high[DG_JITTER_COUNT] = {0};
    double first[DG_JITTER_COUNT] = {0}, left = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct dg_view_draw draw = dg_view_sample(&spec, 640, 480, 3, 2, i, 1);
        assert_true(draw.crop.left >= 0 && draw.crop.left + draw.crop.width <= 640 && draw.crop.width > 0);
        assert_true(draw.crop.top >= 0 && draw.crop.top + draw.crop.height <= 480 && draw.crop.height > 0);
        flip += draw.flip;
        gray += draw.gray;
        solarize += draw.solarize;
        area += (double)draw.crop.width * draw.crop.height / (640.0 * 480);
        log_ratio += log((double)draw.crop.width / draw.crop.height);
        left += draw.crop.left / (640.0 - draw.crop.width + 1);
        if (draw.blur_sigma > 0) {
            blur++;
            sigma += draw.blur_sigma;
            assert_true(draw.blur_sigma >= 0.1f && draw.blur_sigma <= 2.0f);
        }
        for (int op = 0; op < DG_JITTER_COUNT; op++) {
            factor[op] += draw.factor[op] / DRAWS;
            low[op] = fmin(low[op], draw.factor[op]);
            high[op] = fmax(high[op], draw.factor[op]);
        }
        if (draw.jitter_count) {
            assert_int_equal(draw.jitter_count, DG_JITTER_COUNT);
            int seen = 0;
            for (int k = 0; k < DG_JITTER_COUNT; k++) seen |= 1 << draw.jitter[k];
            assert_int_equal(seen, 15);
            jitter++;
            first[draw.jitter[0]]++;
        }
    }
    assert_near("flips", flip / DRAWS, 0.5, 0.015);
    assert_near("jitters", jitter / DRAWS, 0.8, 0.012);
    assert_near("grays", gray / DRAWS, 0.2, 0.012);
    assert_near("blurs", blur / DRAWS, 0.5, 0.015);
    assert_near("solarised", solarize / DRAWS, 0.2, 0.012);
    assert_near("mean sigma", sigma / blur, 1.05, 0.025);
    assert_near("mean area", area / DRAWS, 0.225, 0.004);
    assert_near("mean log ratio", log_ratio / DRAWS, 0, 0.006);
    assert_near("mean place", left / DRAWS, 0.5, 0.01);
    const double centre[] = {1, 1, 1, 0}, strength[] = {0.4, 0.4, 0.2, 0.1};
    for (int op = 0; op < DG_JITTER_COUNT; op++) {
        assert_near("mean factor", factor[op], centre[op], strength[op] * 0.02);
        assert_near("lowest factor", low[op], centre[op] - strength[op], strength[op] * 0.01);
        assert_near("highest factor", high[op], centre[op] + strength[op], strength[op] * 0.01);
        assert_near("first in order", first[op] / jitter, 0.25, 0.015);
    }
}

static void test_gates_at_their_ends(void **state)
{
    (void)state;
    struct dg_view_spec always = dg_test_view(32, 1, 1, 1, 1), never = dg_test_view(32, 1, 1, 0, 0);
    always.flip = always.jitter = always.gray = 1;
    always.hue = always.contrast = 0; /* strength 0 leaves the operation out */
    never.flip = never.jitter = never.gray = 0;
    for (int i = 0; i < 500; i++) {
        struct dg_view_draw yes = dg_view_sample(&always, 50, 50, 1, 0, i, 0);
        struct dg_view_draw no = dg_view_sample(&never, 50, 50, 1, 0, i, 0);
        assert_true(yes.flip && yes.gray && yes.solarize && yes.blur_sigma > 0);
        assert_int_equal(yes.jitter_count, 2);
        assert_false(no.flip || no.gray || no.solarize || no.blur_sigma > 0 || no.jitter_count);
    }
}

/* Pictures too long for any allowed shape get the middle, as torchvision's fallback has it. */
/* Turned four times by a quarter, or flipped twice, an image is itself; where a pixel goes is where it must. */
static void test_flips_and_turns(void **state)
{
    (void)state;
    enum { SIDE = 7 };
    struct dg_image image = dg_test_noise("turn", SIDE, SIDE);
    struct dg_scratch work = {0};
    uint8_t turned[SIDE * SIDE * 3];
    for (int turns = 1; turns < 4; turns++) {
        memcpy(turned, image.pixels, sizeof turned);
        assert_ok(dg_image_turn(turned, SIDE, turns, &work, try_err));
        const int at[4][2] = {
            {1, 2}, {2, SIDE - 2}, {SIDE - 2, SIDE - 3}, {SIDE - 3, 1}}; /* row, column of (1, 2), clockwise */
        assert_memory_equal(turned + 3 * (at[turns][0] * SIDE + at[turns][1]), image.pixels + 3 * (1 * SIDE + 2), 3);
        for (int more = turns; more < 4; more++) assert_ok(dg_image_turn(turned, SIDE, 1, &work, try_err));
        assert_memory_equal(turned, image.pixels, sizeof turned);
    }
    dg_image_flip_vertically(turned, SIDE, SIDE);
    for (int y = 0; y < SIDE; y++)
        assert_memory_equal(turned + 3 * y * SIDE, image.pixels + 3 * (SIDE - 1 - y) * SIDE, 3 * SIDE);

    struct dg_view_spec spec = {.height = SIDE,
                                .width = SIDE,
                                .scale = {0.2, 1},
                                .ratio = {0.75, 1.33},
                                .flip = 0.5,
                                .std = {1, 1, 1}},
                        both = spec;
    both.vertical_flip = 0.5;
    both.turn = 0.75;
    int flips = 0, turns[4] = {0};
    for (int i = 0; i < 4000; i++) {
        struct dg_view_draw plain = dg_view_sample(&spec, 90, 80, 3, 0, i, 0),
                            draw = dg_view_sample(&both, 90, 80, 3, 0, i, 0);
        assert_true(!plain.vertical_flip && !plain.turns);
        flips += draw.vertical_flip;
        turns[draw.turns]++;
        assert_memory_equal(&plain.crop, &draw.crop, sizeof plain.crop); /* nothing else is drawn otherwise */
        assert_true(plain.flip == draw.flip);
    }
    assert_near("vertical flips", flips / 4000.0, 0.5, 0.04); /* five deviations */
    for (int t = 0; t < 4; t++) assert_near("turns", turns[t] / 4000.0, 0.25, 0.035);
    both.width = SIDE + 1;
    struct dg_error err = {0};
    assert_int_equal(dg_view_spec_check(&both, "a", &err), DG_ERR_USAGE);
    assert_non_null(strstr(err.text, "square"));
    dg_image_free(&image);
    dg_scratch_free(&work);
}

static void test_crop_fallback(void **state)
{
    (void)state;
    struct dg_view_spec spec = dg_test_view(32, 0.9, 1, 0, 0);
    struct dg_box wide = dg_view_sample(&spec, 1000, 31, 0, 0, 0, 0).crop;
    assert_int_equal(wide.width, 41); /* round(31 * 4 / 3) */
    assert_int_equal(wide.height, 31);
    assert_int_equal(wide.left, (1000 - 41) / 2);
    struct dg_box tall = dg_view_sample(&spec, 31, 1000, 0, 0, 0, 0).crop;
    assert_int_equal(tall.width, 31);
    assert_int_equal(tall.height, 41); /* round(31 / (3 / 4)) */
    assert_int_equal(tall.top, (1000 - 41) / 2);
    struct dg_box dot = dg_view_sample(&spec, 1, 1, 0, 0, 0, 0).crop;
    assert_true(dot.width == 1 && dot.height == 1 && dot.left == 0 && dot.top == 0);
}

static void test_draws_are_named_by_their_place(void **state)
{
    (void)state;
    struct dg_view_spec spec = dg_test_view(32, 0.2, 1, 0.5, 0.5);
    struct dg_view_draw one = dg_view_sample(&spec, 300, 200, 1, 2, 3, 4);
    struct dg_view_draw same = dg_view_sample(&spec, 300, 200, 1, 2, 3, 4);
    assert_memory_equal(&one.crop, &same.crop, sizeof one.crop);
    assert_true(one.factor[0] == same.factor[0]);
    const int64_t other[][4] = {{0, 2, 3, 4}, {1, 1, 3, 4}, {1, 2, 4, 4}, {1, 2, 3, 5}};
    for (int i = 0; i < 4; i++) {
        struct dg_view_draw draw =
            dg_view_sample(&spec, 300, 200, (uint64_t)other[i][0], other[i][1], other[i][2], (int)other[i][3]);
        assert_true(one.factor[0] != draw.factor[0]);
    }
    /* The size of the picture moves the crop and nothing else. */
    struct dg_view_draw larger = dg_view_sample(&spec, 3000, 200, 1, 2, 3, 4);
    assert_true(one.factor[3] == larger.factor[3] && one.gray == larger.gray && one.blur_sigma == larger.blur_sigma);
}

static void test_bad_specs_are_named(void **state)
{
    (void)state;
    struct dg_view_spec spec = dg_test_view(32, 0.2, 1, 0.5, 0.5);
    assert_ok(dg_view_spec_check(&spec, "global", try_err));
    struct dg_error err = {0};
    spec.hue = 0.6;
    assert_int_equal(dg_view_spec_check(&spec, "global", &err), DG_ERR_USAGE);
    assert_string_equal(err.text, "view global: hue is 0.6; it must be from 0 to 0.5");
    spec = dg_test_view(32, 0.5, 0.2, 0.5, 0.5);
    err = (struct dg_error){0};
    assert_int_equal(dg_view_spec_check(&spec, "local", &err), DG_ERR_USAGE);
    assert_non_null(strstr(err.text, "scale's high end is 0.2"));
    spec = dg_test_view(32, 0.2, (double)NAN, 0.5, 0.5);
    assert_int_equal(dg_view_spec_check(&spec, "local", NULL), DG_ERR_USAGE);
}

/* The same tests on the loops of the lowest CPU level; the level is chosen once a process. */
static void test_all_again_on_the_baseline(void **state)
{
    (void)state;
    if (getenv("DINOGRAPH_CPU")) return;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("DINOGRAPH_CPU", "v1", 1);
        execl("/proc/self/exe", "test_augment", (char *)NULL);
        _exit(1);
    }
    int outcome;
    assert_int_equal(waitpid(child, &outcome, 0), child);
    assert_int_equal(outcome, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_center_crop_is_the_middle),
        cmocka_unit_test(test_resize_refuses_boxes_outside),
        cmocka_unit_test(test_center_crop),
        cmocka_unit_test(test_center_crop_of_other_shapes),
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_blur),
        cmocka_unit_test(test_normalise),
        cmocka_unit_test(test_whole_views),
        cmocka_unit_test(test_probe_views),
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_gates_at_their_ends),
        cmocka_unit_test(test_flips_and_turns),
        cmocka_unit_test(test_crop_fallback),
        cmocka_unit_test(test_draws_are_named_by_their_place),
        cmocka_unit_test(test_bad_specs_are_named),
        cmocka_unit_test(test_all_again_on_the_baseline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

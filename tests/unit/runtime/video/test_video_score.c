/* J and F of masks made by hand, and of noise against a plain implementation that dilates whole boundaries as the
 * toolkit does; recall and decay. */
#include "ops/base/rng.h"
#include "runtime/video/score.h"
#include "tests/support/check.h"

#include <math.h>

enum { MAX_PIXELS = 64 * 64 };

static void near_to(double value, double want) { assert_true(fabs(value - want) < 1e-12); }

static void test_region(void **state)
{
    (void)state;
    const uint8_t truth[] = {1, 1, 0, 0, 2, 2}, mask[] = {1, 0, 1, 0, 2, 2};
    near_to(dg_video_region(truth, mask, 2, 3, 1), 1.0 / 3);
    near_to(dg_video_region(truth, mask, 2, 3, 2), 1);
    near_to(dg_video_region(truth, mask, 2, 3, 3), 1); /* neither has it */
}

static double f_of(const uint8_t *truth, const uint8_t *mask, int height, int width, int object)
{
    double value = -1;
    assert_ok(dg_video_boundary(truth, mask, height, width, object, &value, try_err));
    return value;
}

static void test_boundary(void **state)
{
    (void)state;
    enum { SIDE = 40 };
    static uint8_t none[SIDE * SIDE], square[SIDE * SIDE], moved[SIDE * SIDE], far[SIDE * SIDE], all[SIDE * SIDE];
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            square[y * SIDE + x] = y >= 10 && y < 20 && x >= 10 && x < 20;
            moved[y * SIDE + x] = y >= 10 && y < 20 && x >= 11 && x < 21;
            far[y * SIDE + x] = y >= 25 && y < 35 && x >= 25 && x < 35;
            all[y * SIDE + x] = 1;
        }
    near_to(f_of(square, square, SIDE, SIDE, 1), 1);
    near_to(f_of(square, moved, SIDE, SIDE, 1), 1); /* 0.8 % of 56.6 is within one pixel */
    near_to(f_of(square, far, SIDE, SIDE, 1), 0);
    near_to(f_of(square, none, SIDE, SIDE, 1), 0);
    near_to(f_of(none, square, SIDE, SIDE, 1), 0);
    near_to(f_of(none, none, SIDE, SIDE, 1), 1);
    near_to(f_of(all, none, SIDE, SIDE, 1), 1); /* what fills the frame has no boundary */
}

/* As the toolkit: shifted copies, borders apart; dilation by a disk; shares of boundary pixels. */
static void plain_boundary(const uint8_t *label, int h, int w, int object, uint8_t *b)
{
#define SEG(y, x) (label[(y)*w + (x)] == object)
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            bool s = SEG(y, x), e = x + 1 < w && SEG(y, x + 1), below = y + 1 < h && SEG(y + 1, x),
                 corner = x + 1 < w && y + 1 < h && SEG(y + 1, x + 1);
            b[y * w + x] = (s != e) | (s != below) | (s != corner);
            if (y == h - 1) b[y * w + x] = s != e;
            if (x == w - 1) b[y * w + x] = s != below;
        }
    b[h * w - 1] = 0;
}

static double plain_share(const uint8_t *a, const uint8_t *b, int h, int w, int radius)
{
    int count = 0, hit = 0;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            if (!a[y * w + x]) continue;
            bool found = false;
            for (int v = 0; v < h; v++)
                for (int u = 0; u < w; u++)
                    found |= b[v * w + u] && (v - y) * (v - y) + (u - x) * (u - x) <= radius * radius;
            count++;
            hit += found;
        }
    return count ? (double)hit / count : -1;
}

static double plain_f(const uint8_t *truth, const uint8_t *mask, int h, int w, int object)
{
    static uint8_t a[MAX_PIXELS], b[MAX_PIXELS];
    int radius = (int)ceil(0.008 * hypot(h, w));
    plain_boundary(mask, h, w, object, a);
    plain_boundary(truth, h, w, object, b);
    double precision = plain_share(a, b, h, w, radius), recall = plain_share(b, a, h, w, radius);
    if (precision < 0 && recall < 0) return 1;
    if (precision < 0 || recall < 0 || precision + recall == 0) return 0;
    return 2 * precision * recall / (precision + recall);
}

static void test_noise(void **state)
{
    (void)state;
    static uint8_t truth[MAX_PIXELS], mask[MAX_PIXELS];
    static const int size[][2] = {{1, 1}, {1, 9}, {9, 1}, {17, 23}, {40, 31}, {64, 64}};
    struct dg_rng rng = dg_rng_make(0, DG_RNG_TEST, 7, 0);
    for (int s = 0; s < 6; s++)
        for (int density = 2; density < 200; density *= 6) {
            int h = size[s][0], w = size[s][1];
            for (int i = 0; i < h * w; i++) {
                truth[i] = dg_rng_u32(&rng) % (unsigned)density == 0;
                mask[i] = dg_rng_u32(&rng) % (unsigned)density == 0;
            }
            near_to(f_of(truth, mask, h, w, 1), plain_f(truth, mask, h, w, 1));
            near_to(f_of(truth, mask, h, w, 0), plain_f(truth, mask, h, w, 0));
        }
}

static void test_measure(void **state)
{
    (void)state;
    const double falling[] = {1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3};
    struct dg_video_measure m = dg_video_measure(falling, 8);
    near_to(m.mean, 0.65);
    near_to(m.recall, 5.0 / 8);
    /* numpy: round(linspace(1, 8, 5) + 1e-10) - 1 = 0 2 4 5 7, and both ends belong to a quarter */
    near_to(m.decay, (1 + 0.9 + 0.8) / 3 - (0.5 + 0.4 + 0.3) / 3);
    m = dg_video_measure(falling, 1);
    near_to(m.mean, 1);
    near_to(m.decay, 0);
}

static void test_objects(void **state)
{
    (void)state;
    uint8_t first[] = {0, 1, 2, 2}, second[] = {1, 1, 0, 2}, *truth[] = {first, second}, *mask[] = {first, first};
    const struct dg_video_masks masks = {2, 2, 2, truth, mask};
    struct dg_video_score score[2];
    assert_ok(dg_video_score(&masks, 2, 2, score, try_err));
    near_to(score[0].j.mean, (1 + 0.5) / 2);
    near_to(score[1].j.mean, (1 + 0.5) / 2);
    near_to(score[0].j.recall, 0.5); /* 0.5 is not above 0.5 */
    struct dg_video_score mean = dg_video_score_mean(score, 2);
    near_to(mean.j.mean, 0.75);
    near_to(mean.f.mean, (score[0].f.mean + score[1].f.mean) / 2);
    const struct dg_video_masks none = {2, 2, 0, truth, mask};
    assert_int_equal(dg_video_score(&none, 2, 1, score, NULL), DG_ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_region),  cmocka_unit_test(test_boundary), cmocka_unit_test(test_noise),
        cmocka_unit_test(test_measure), cmocka_unit_test(test_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

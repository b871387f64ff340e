/* draw_rows: the maps of images that survive drop path. */
#include "tests/support/op_harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The map is consistent, and leaves out as many images as its rate says. */
static void test_row_maps(void **state)
{
    (void)state;
    enum { IMAGES = 70 };
    const struct op_run like = {.stream = 99, .view0 = 2, .batch = 10, .step = {.seed = 5, .step = 4}};
    static const double rates[] = {0, 0.1, 0.5, 0.998};
    for (int r = 0; r < 4; r++) {
        struct op_result drawn = op_draw_rows(&like, rates[r], IMAGES);
        const int64_t *map = drawn.data[0], *place = dg_row_places(map), *image = dg_row_images(map, IMAGES);
        assert_desc(drawn.desc[0], dg_desc_make(DG_I64, 1, (int64_t[]){1 + 2 * IMAGES}));
        int64_t count = 0;
        for (int64_t i = 0; i < IMAGES; i++)
            if (place[i] >= 0) {
                assert_int_equal(place[i], count);
                assert_int_equal(image[count++], i);
            }
        assert_int_equal(map[0], count);
        double off = (double)count - IMAGES * (1 - rates[r]); /* within four deviations */
        assert_true(fabs(off) <= 4 * sqrt(IMAGES * rates[r] * (1 - rates[r])));
        op_result_free(&drawn);
    }
}

static const struct op_test tests[] = {OP_TEST("draw_rows", OP_VALUE, test_row_maps)};

int main(int argc, char **argv) { return op_main(argc, argv, NO_CASES, TESTS(tests)); }

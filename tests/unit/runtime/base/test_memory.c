/* Regions of memory: zeroed, and in memory once they are touched. */
#include "runtime/base/memory.h"

#include "tests/support/images.h"

#include <omp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BYTES = 5 * 1000 * 1000 + 77 };

static void assert_resident(const char *region, int64_t first, int64_t end)
{
    int64_t page = sysconf(_SC_PAGESIZE);
    unsigned char resident;
    for (int64_t at = first / page * page; at < end; at += page) {
        assert_int_equal(mincore((void *)(region + at), 1, &resident), 0);
        assert_true(resident & 1);
    }
}

/* A range that begins and ends anywhere in a page, by one thread and by more threads than it has pages. */
static void test_touch(void **state)
{
    (void)state;
    static const int64_t ranges[][2] = {{0, BYTES}, {12345, 12346}, {4095, 4097}, {100, 2500100}, {BYTES - 1, BYTES}};
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
        for (int threads = 1; threads < 8; threads += 3) {
            struct dg_error err = {0};
            void *region;
            omp_set_num_threads(threads);
            assert_int_equal(dg_region_map("a test", BYTES, &region, &err), DG_OK);
            dg_region_touch((char *)region + ranges[r][0], ranges[r][1] - ranges[r][0]);
            assert_resident(region, ranges[r][0], ranges[r][1]);
            dg_region_free(region, BYTES);
        }
}

static void test_alloc(void **state)
{
    (void)state;
    struct dg_error err = {0};
    void *region = &err;
    assert_int_equal(dg_region_alloc("nothing", 0, &region, &err), DG_OK);
    assert_null(region);
    assert_int_equal(dg_region_alloc("a test", BYTES, &region, &err), DG_OK);
    assert_resident(region, 0, BYTES);
    for (int64_t i = 0; i < BYTES; i++) assert_int_equal(((char *)region)[i], 0);
    dg_region_free(region, BYTES);
    assert_int_equal(dg_region_alloc("the universe", INT64_MAX / 2, &region, &err), DG_ERR_MEMORY);
    assert_non_null(strstr(err.text, "no memory for the universe"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_touch), cmocka_unit_test(test_alloc)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The memory planner by property: whatever it chose, an independent check finds no overlap, and the peak is near the bound. */
#include "compiler/plan/pack.h"
#include "ops/base/rng.h"
#include "runtime/plan/overlap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 1200 };

static bool no_overlap(const struct dg_interval *interval, uint32_t count)
{
    static struct dg_placed placed[MOST];
    uint32_t clash[2];
    for (uint32_t i = 0; i < count; i++)
        placed[i] = (struct dg_placed){interval[i].first, interval[i].last, interval[i].offset, interval[i].bytes, i};
    return dg_plan_check(placed, count, clash);
}

/* The same verdict the long way round. */
static bool no_overlap_by_pairs(const struct dg_interval *interval, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (interval[i].first <= interval[j].last && interval[j].first <= interval[i].last &&
                interval[i].offset < interval[j].offset + interval[j].bytes &&
                interval[j].offset < interval[i].offset + interval[i].bytes)
                return false;
    return true;
}

static struct dg_memory_plan plan(struct dg_interval *interval, uint32_t count)
{
    jmp_buf out_of_memory;
    struct dg_arena *arena = dg_arena_create(&out_of_memory);
    assert_non_null(arena);
    if (setjmp(out_of_memory)) fail_msg("out of memory");
    struct dg_memory_plan result = dg_plan_memory(arena, interval, count);
    dg_arena_free(arena);
    return result;
}

static void test_random_intervals(void **state)
{
    (void)state;
    static struct dg_interval interval[MOST];
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct dg_rng rng = dg_rng_make(seed, DG_RNG_TEST, 1, 0);
        uint32_t count = (uint32_t)dg_rng_int(&rng, 0, 200);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t first = (uint32_t)dg_rng_int(&rng, 0, 300);
            uint64_t unit = seed % 3 ? 64 : UINT64_C(1) << 36; /* sizes far above 4 GiB too */
            interval[i] = (struct dg_interval){.first = first,
                                               .last = first + (uint32_t)dg_rng_int(&rng, 0, 60),
                                               .bytes = unit * (uint64_t)dg_rng_int(&rng, 1, 1000)};
        }
        struct dg_memory_plan p = plan(interval, count);
        assert_true(no_overlap(interval, count));
        assert_true(no_overlap_by_pairs(interval, count));
        assert_true(p.bound <= p.peak && p.peak <= p.naive);
    }
}

/* As a transformer trains: each layer leaves values for the backward and makes short-lived ones both ways. */
static uint32_t training_shape(struct dg_interval *interval, uint32_t layers, uint64_t unit)
{
    static const uint64_t kept[] = {1, 1, 3, 1, 1, 4, 4, 1}, passing[] = {1, 4, 4, 3};
    uint32_t count = 0, steps = layers * 8;
    for (uint32_t layer = 0; layer < layers; layer++) {
        for (uint32_t k = 0; k < 8; k++)
            interval[count++] = (struct dg_interval){
                .first = layer * 8 + k, .last = 2 * steps - layer * 8 - k, .bytes = kept[k] * unit};
        for (uint32_t k = 0; k < 4; k++)
            interval[count++] = (struct dg_interval){.first = 2 * steps - layer * 8 - 2 * k - 1,
                                                     .last = 2 * steps - layer * 8 - 2 * k + 1,
                                                     .bytes = passing[k] * unit};
        interval[count++] =
            (struct dg_interval){.first = 2 * steps - layer * 8, .last = 2 * steps + 1, .bytes = 5 * unit / 2};
    }
    return count;
}

static void test_training_shapes_reach_the_bound(void **state)
{
    (void)state;
    static struct dg_interval interval[MOST], again[MOST];
    for (uint32_t layers = 1; layers <= 48; layers += layers < 12 ? 1 : 12) {
        uint32_t count = training_shape(interval, layers, 64 * 1000);
        memcpy(again, interval, sizeof again);
        struct dg_memory_plan p = plan(interval, count);
        assert_true(no_overlap(interval, count));
        if (p.peak > p.bound + p.bound / 100)
            fail_msg("%u layers: peak %llu, bound %llu", layers, (unsigned long long)p.peak,
                     (unsigned long long)p.bound);
        plan(again, count);
        assert_memory_equal(again, interval, count * sizeof *interval); /* deterministic */
    }
}

static void test_check_finds_every_overlap(void **state)
{
    (void)state;
    static struct dg_interval interval[MOST];
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct dg_rng rng = dg_rng_make(seed, DG_RNG_TEST, 2, 0);
        uint32_t count = training_shape(interval, 3, 64);
        plan(interval, count);
        uint32_t moved = (uint32_t)dg_rng_int(&rng, 0, count);
        interval[moved].offset = (uint64_t)dg_rng_int(&rng, 0, 64) * 64;
        assert_int_equal(no_overlap(interval, count), no_overlap_by_pairs(interval, count));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_intervals),
        cmocka_unit_test(test_training_shapes_reach_the_bound),
        cmocka_unit_test(test_check_finds_every_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

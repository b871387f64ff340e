/* The dispatch: every kernel is there at every level, levels without a kernel of their own have that of the level below, and
 * DINOGRAPH_CPU names a level. */
#include "ops/kernels/activation.h"
#include "ops/kernels/add.h"
#include "ops/kernels/attention.h"
#include "ops/kernels/batch_norm.h"
#include "ops/kernels/class_attention.h"
#include "ops/kernels/column_sum.h"
#include "ops/kernels/convert.h"
#include "ops/kernels/cross_covariance.h"
#include "ops/kernels/dino.h"
#include "ops/kernels/dino_tile.h"
#include "ops/kernels/drop_path.h"
#include "ops/kernels/gelu.h"
#include "ops/kernels/grad_weights.h"
#include "ops/kernels/im2col.h"
#include "ops/kernels/layer_norm.h"
#include "ops/kernels/mul.h"
#include "ops/kernels/optimizer.h"
#include "ops/kernels/pool.h"
#include "ops/kernels/prototypes.h"
#include "ops/kernels/rates.h"
#include "ops/kernels/relu.h"
#include "ops/kernels/softmax.h"
#include "ops/kernels/weight_norm.h"
#include "ops/kernels/winograd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_every_kernel_at_every_level(void **state)
{
    (void)state;
    for (enum dg_cpu_level level = 0; level < DG_CPU_LEVELS; level++) {
#define DG_KERNEL(family, kernel)                                                                                      \
    if (!dg_##family##_kernels_at(level)->kernel) fail_msg("%s has no " #family " " #kernel, dg_cpu_level_name(level));
#include "ops/kernels/list.h"
    }
}

static void test_inheritance(void **state)
{
    (void)state;
    const enum dg_cpu_level v4 = DG_CPU_V4, v4b = DG_CPU_V4B;
    assert_true(dg_softmax_kernels_at(v4b)->forward == dg_softmax_kernels_at(v4)->forward);
#ifdef __x86_64__
    assert_true(dg_gelu_kernels_at(v4)->forward != dg_gelu_kernels_at(DG_CPU_V3)->forward);
    assert_true(dg_attention_kernels_at(v4b)->forward != dg_attention_kernels_at(v4)->forward);
    assert_true(dg_grad_weights_kernels_at(v4b)->grad_weights != dg_grad_weights_kernels_at(v4)->grad_weights);
    assert_true(dg_prototypes_kernels_at(v4b)->logits != dg_prototypes_kernels_at(v4)->logits);
    assert_true(dg_grad_weights_kernels_at(DG_CPU_V5)->grad_weights != dg_grad_weights_kernels_at(v4b)->grad_weights);
    assert_true(dg_attention_kernels_at(DG_CPU_V5)->forward != dg_attention_kernels_at(v4b)->forward);
#endif
    const enum dg_cpu_level emulated = DG_CPU_AMX_EMULATED, highest = dg_cpu_highest_level(DG_CPU_LEVELS);
    assert_true(highest < emulated && dg_cpu_has_level(highest) && dg_cpu_has_level(emulated));
    assert_true(dg_gelu_kernels_at(emulated)->forward == dg_gelu_kernels_at(highest)->forward);
    assert_true(dg_grad_weights_kernels_at(emulated)->grad_weights !=
                dg_grad_weights_kernels_at(highest)->grad_weights);
    assert_true(dg_attention_kernels_at(emulated)->backward != dg_attention_kernels_at(highest)->backward);
}

/* Whether all kernels of a family are, in this process, those of a level. */
#define RUNS(family, level)                                                                                            \
    (!memcmp(dg_##family##_kernels(), dg_##family##_kernels_at(level), sizeof(struct dg_##family##_kernels)))

/* A process runs its level's kernels; those that stand on vdpbf16ps only where it was named or the instruction pays. */
static void test_choice(void **state)
{
    (void)state;
    const enum dg_cpu_level here = dg_cpu_level();
    bool leaves_out = here >= DG_CPU_V4B && !dg_cpu_level_is_named() && !dg_product_pays(DG_PRODUCT_VDPBF16PS);
    enum dg_cpu_level products = leaves_out ? DG_CPU_V4 : here, tiles = here >= DG_CPU_V5 ? here : products;
    assert_true(RUNS(gelu, here) && RUNS(layer_norm, here));
    assert_true(RUNS(attention, tiles) && RUNS(grad_weights, tiles) && RUNS(prototypes, tiles));
    char want[64];
    snprintf(want, sizeof want, "%s%s", dg_cpu_level_name(here), leaves_out ? " without vdpbf16ps" : "");
    assert_string_equal(dg_kernels_name().text, want);
}

/* An instruction has a rate where the CPU has it, on one thread and on more, and f32 has one everywhere. */
static void test_rates(void **state)
{
    (void)state;
    static const enum dg_cpu_level level[DG_PRODUCTS] = {
        [DG_PRODUCT_F32] = DG_CPU_V1, [DG_PRODUCT_VDPBF16PS] = DG_CPU_V4B, [DG_PRODUCT_TDPBF16PS] = DG_CPU_V5};
    for (enum dg_product p = 0; p < DG_PRODUCTS; p++) {
        bool has = dg_cpu_has_level(level[p]);
        assert_true((dg_product_rate(p) > 0) == has && (dg_product_rate_of(p, 2) > 0) == has);
        assert_true(dg_product_rate(p) == dg_product_rate(p));
        assert_true(!dg_product_pays(p) || dg_product_rate(p) > dg_product_rate(DG_PRODUCT_F32));
    }
    assert_int_equal(dg_fastest_product(false), DG_PRODUCT_F32);
    assert_true(dg_product_rate(dg_fastest_product(true)) >= dg_product_rate(DG_PRODUCT_F32));
}

static void test_levels(void **state)
{
    (void)state;
    assert_true(dg_cpu_has_level(DG_CPU_V1));
    assert_true(dg_cpu_has_level(dg_cpu_level()));
    for (enum dg_cpu_level level = 1; level < DG_CPU_AMX_EMULATED; level++)
        if (dg_cpu_has_level(level)) assert_true(dg_cpu_has_level(level - 1));
}

/* The level of this process, which the first test has chosen, does not change. */
static void test_environment(void **state)
{
    (void)state;
    const char *before = getenv("DINOGRAPH_CPU");
    char *saved = before ? strdup(before) : NULL;
    enum dg_cpu_level chosen = dg_cpu_level();
    for (enum dg_cpu_level level = 0; level < DG_CPU_LEVELS; level++) {
        setenv("DINOGRAPH_CPU", dg_cpu_level_name(level), 1);
        assert_int_equal(dg_cpu_level_check(NULL), DG_OK);
    }
    setenv("DINOGRAPH_CPU", "", 1); /* as if it were not set */
    assert_int_equal(dg_cpu_level_check(NULL), DG_OK);
    static const char *const wrong[] = {"v2", "V3", "v4b ", "avx2"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct dg_error err = {0};
        setenv("DINOGRAPH_CPU", wrong[i], 1);
        assert_int_equal(dg_cpu_level_check(&err), DG_ERR_USAGE);
        assert_non_null(strstr(err.text, wrong[i]));
        assert_non_null(strstr(err.text, "there are v1, v3, v4, v4b, v5, amx-emulated"));
    }
    assert_int_equal(dg_cpu_level(), chosen);
    unsetenv("DINOGRAPH_CPU");
    assert_int_equal(dg_cpu_level_check(NULL), DG_OK);
    if (saved) setenv("DINOGRAPH_CPU", saved, 1);
    free(saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kernel_at_every_level),
        cmocka_unit_test(test_inheritance),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

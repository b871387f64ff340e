/* The logarithm in the attention kernel. */
#include "ops/kernels/attention.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* What the backward goes by: of scores that are all 0, the logarithm of how many there are; of a NaN a NaN. */
static void test_attention_log_sum(void **state)
{
    (void)state;
    enum { MOST = 300 };
    float q = 0, k[MOST], dst, lse, *scratch = malloc((size_t)dg_attention_kernels()->scratch(MOST, 1).forward);
    struct dg_attention_head head = {
        .queries = 1, .width = 1, .q = &q, .k = k, .v = k, .ld = 1, .ld_dst = 1, .scale = 1};
    assert_non_null(scratch);
    for (int i = 0; i < MOST; i++) k[i] = 1;
    for (int n = 1; n <= MOST; n++) {
        head.tokens = n;
        dg_attention_kernels()->forward(&head, &dst, NULL, &lse, scratch);
        if (fabs((double)lse - log(n)) > 1.5e-7 * log(n)) fail_msg("ln %d is %.9g, not %.9g", n, (double)lse, log(n));
    }
    k[7] = NAN;
    dg_attention_kernels()->forward(&head, &dst, NULL, &lse, scratch);
    assert_true(isnan(lse) && isnan(dst));
    free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attention_log_sum)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

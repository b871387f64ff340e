#include "ops/kernels/rates.h"
#include "tests/unit/ops/kernels/levels/levels.h"

/* It leaves nothing behind but how much it did, which the width of vectors decides. */
void levels_rates_multiply_add(struct trial *t)
{
    bool bf16 = trial_flag(t);
    double one = AT(rates)->multiply_add(1, bf16), ten = AT(rates)->multiply_add(10, bf16);
    assert_true(one > 0 && ten == 10 * one);
}

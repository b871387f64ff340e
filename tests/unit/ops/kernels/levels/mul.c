#include "ops/kernels/mul.h"
#include "tests/unit/ops/kernels/levels/levels.h"

/* b goes with a's dimensions in turns: all, none, or some of four. */
static struct dg_broadcast broadcast_of(struct trial *t, int64_t *count, int64_t *b_count)
{
    struct dg_broadcast s;
    int64_t step = 1;
    *count = 1;
    for (int d = 3; d >= 0; d--) {
        bool moves = trial_flag(t);
        s.size[d] = trial_size(t, d == 3 ? 100 : 5);
        s.step[d] = moves ? step : 0;
        if (moves) step *= s.size[d];
        *count *= s.size[d];
    }
    *b_count = step;
    return s;
}

void levels_mul_mul(struct trial *t)
{
    int64_t count, b_count;
    struct dg_broadcast s = broadcast_of(t, &count, &b_count);
    bool a = trial_flag(t), b = trial_flag(t), dst = trial_flag(t);
    AT(mul)->mul(&(struct dg_mul_args){.broadcast = s,
                                       .count = count,
                                       .a_bf16 = a,
                                       .b_bf16 = b,
                                       .dst_bf16 = dst,
                                       .a = trial_in(t, a, count, -1, 1),
                                       .b = trial_in(t, b, b_count, -1, 1),
                                       .dst = trial_out(t, dst, count, trial_same_bits)});
}

void levels_mul_sums(struct trial *t)
{
    int64_t count, b_count;
    struct dg_broadcast s = broadcast_of(t, &count, &b_count);
    bool a = trial_flag(t), c = trial_flag(t);
    double n = (double)(count / b_count);
    AT(mul)->sums(&(struct dg_mul_sums_args){
        .broadcast = s,
        .count = count,
        .a_bf16 = a,
        .c_bf16 = c,
        .a = trial_in(t, a, count, -1, 1),
        .c = trial_in(t, c, count, -1, 1),
        .sums_count = b_count,
        .acc = trial_in_or_null(t, false, b_count, -1, 1),
        .sums =
            trial_out(t, false, b_count, (struct trial_bound){.f32 = trial_sum_of((int64_t)n + 1), .magnitude = n + 1}),
        .partial = trial_scratch(t, t->threads * b_count * 4),
        .threads = t->threads});
}

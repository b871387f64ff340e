#include "tests/support/kernel_trial.h"

#include "ops/kernels/bf16.h"
#include "tests/support/check.h"
#include "tests/support/guarded.h"
#include "tests/support/op_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct trial_bound trial_same_bits = {.bits = true};

/* Each is off by as much. */
double trial_sum_of(int64_t n) { return 2 * fmin((double)n, 4 * sqrt((double)n)); }

bool trial_flag(struct trial *t) { return dg_rng_u32(&t->rng) & 1; }

int64_t trial_size(struct trial *t, int64_t most)
{
    static const int64_t edges[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65};
    int64_t edge = edges[dg_rng_u32(&t->rng) % (sizeof edges / sizeof *edges)];
    int64_t any = 1 + dg_rng_u32(&t->rng) % most;
    return trial_flag(t) && edge <= most ? edge : any;
}

static void *add_buffer(struct trial *t, enum dg_dtype type, int64_t count)
{
    assert_true(t->count < TRIAL_MAX_BUFFERS);
    struct trial_buffer *b = &t->buffer[t->count++];
    b->desc = dg_desc_make(type, 1, &count);
    b->bytes = dg_desc_bytes(&b->desc);
    return b->data = guarded_alloc(b->bytes);
}

void *trial_in(struct trial *t, bool bf16, int64_t count, float lo, float hi)
{
    void *data = add_buffer(t, bf16 ? DG_BF16 : DG_F32, count);
    for (int64_t i = 0; i < count; i++) dg_put(data, bf16, i, dg_rng_uniform(&t->rng, lo, hi));
    return data;
}

void *trial_in_or_null(struct trial *t, bool bf16, int64_t count, float lo, float hi)
{
    return trial_flag(t) ? trial_in(t, bf16, count, lo, hi) : NULL;
}

void *trial_scratch(struct trial *t, int64_t bytes) { return add_buffer(t, DG_U8, bytes > 0 ? bytes : 1); }

static void compare_last(struct trial *t, struct trial_bound bound)
{
    t->buffer[t->count - 1].compared = true;
    t->buffer[t->count - 1].bound = bound;
}

void *trial_out_of(struct trial *t, enum dg_dtype type, int64_t count, struct trial_bound bound)
{
    void *data = add_buffer(t, type, count);
    compare_last(t, bound);
    return data;
}

void *trial_out(struct trial *t, bool bf16, int64_t count, struct trial_bound bound)
{
    return trial_out_of(t, bf16 ? DG_BF16 : DG_F32, count, bound);
}

void *trial_out_or_null(struct trial *t, int64_t count, struct trial_bound bound)
{
    return trial_flag(t) ? trial_out(t, false, count, bound) : NULL;
}

void *trial_out_zeros(struct trial *t, bool bf16, int64_t count, struct trial_bound bound)
{
    void *data = trial_out(t, bf16, count, bound);
    for (int64_t i = 0; i < count; i++) dg_put(data, bf16, i, 0);
    return data;
}

void *trial_in_out(struct trial *t, int64_t count, float lo, float hi, struct trial_bound bound)
{
    void *data = trial_in(t, false, count, lo, hi);
    compare_last(t, bound);
    return data;
}

void trial_close(struct trial *t, const char *kernel)
{
    for (int i = 0; i < t->count; i++) {
        guarded_check(t->buffer[i].data, t->buffer[i].bytes, kernel);
        free(t->buffer[i].data);
    }
}

void trial_compare(const char *kernel, const struct trial *low, const struct trial *high, int seed)
{
    const char *level = dg_cpu_level_name(high->level);
    assert_int_equal(low->count, high->count);
    for (int b = 0; b < low->count; b++) {
        const struct trial_buffer *x = &low->buffer[b], *y = &high->buffer[b];
        if (!x->compared) continue;
        const struct trial_bound *bound = &x->bound;
        double units = bound->magnitude * (bound->f32 * 0x1p-24 + bound->bf16 * 0x1p-8), most = 0;
        for (int64_t i = 0; i < dg_desc_count(&x->desc); i++) most = fmax(most, fabs(op_element(&x->desc, x->data, i)));
        for (int64_t i = 0; i < dg_desc_count(&x->desc); i++) {
            double is = op_element(&y->desc, y->data, i), want = op_element(&x->desc, x->data, i);
            double each = fmax(fabs(is), fabs(want)), place = dg_is_bf16(&x->desc) ? 2 * bf16_half_ulp(each) : 0;
            double off = units * (bound->scale == OF_EACH ? each : bound->scale == OF_LARGEST ? most : 1);
            int64_t bytes = dg_dtype_size(x->desc.dtype);
            bool fine = bound->bits ? !memcmp((char *)x->data + i * bytes, (char *)y->data + i * bytes, (size_t)bytes)
                                    : fabs(is - want) <= off + place;
            if (!fine)
                fail_msg("%s at %s, seed %d, buffer %d, element %lld: %.9g, at the lowest level %.9g (bound %.3g)",
                         kernel, level, seed, b, (long long)i, is, want, bound->bits ? 0 : off + place);
        }
    }
}

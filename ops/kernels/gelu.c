#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"
#include "ops/kernels/vmath.h"

#include <omp.h>

static DG_INLINE void forward(struct dg_range part, int half, const void *src, void *dst)
{
#pragma omp simd
    for (int64_t i = part.first; i < part.end; i++) {
        float x = dg_get(src, half, i), h = 0.5f * x, size = fabsf(x);
        float z = size > DG_TAIL_END ? DG_TAIL_END : size;
        dg_put(dst, half, i, h + fabsf(h) - z * dg_normal_tail(half, z)); /* max(x, 0), but of a NaN a NaN */
    }
}

/* dst = x Phi(x), Phi the normal distribution function: the exact (erf) GELU. Both f32 or both bf16. */
void DG_K(gelu_forward)(int64_t count, int half, const void *src, void *dst)
{
    DG_EACH_PART(count, half, forward, src, dst)
}

/* Phi(x) + x phi(x). */
static DG_INLINE float slope(int half, float x)
{
    float size = fabsf(x), z = size > DG_TAIL_END ? DG_TAIL_END : size;
    float below = dg_normal_tail(half, z) - 0.398942280f * z * dg_exp2f(half, -0.721347520f * z * z); /* at -z */
    return x < 0 ? below : 1.0f - below;
}

static DG_INLINE void backward(struct dg_range part, int half, const void *src, const void *diff_dst, void *diff_src)
{
#pragma omp simd
    for (int64_t i = part.first; i < part.end; i++)
        dg_put(diff_src, half, i, dg_get(diff_dst, half, i) * slope(half, dg_get(src, half, i)));
}

/* diff_src = diff_dst (Phi(x) + x phi(x)); diff_src may be diff_dst. All f32 or all bf16. */
void DG_K(gelu_backward)(int64_t count, int half, const void *src, const void *diff_dst, void *diff_src)
{
    DG_EACH_PART(count, half, backward, src, diff_dst, diff_src)
}

static DG_INLINE void backward_sums(int64_t rows, int64_t cols, int half, const void *src, const void *diff_dst,
                                    void *diff_src, float *sum)
{
    for (int64_t c = 0; c < cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const void *x = dg_at(src, half, r * cols), *dy = dg_at(diff_dst, half, r * cols);
        void *dx = dg_at_out(diff_src, half, r * cols);
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) {
            float d = dg_get(dy, half, c) * slope(half, dg_get(x, half, c));
            dg_put(dx, half, c, d);
            sum[c] += d;
        }
    }
}

/* The same of [rows, cols], and sums[c] = acc[c] + the sum over rows of diff_src, before it is rounded: the gradient of the
 * bias in front of the GELU. acc may be NULL or sums. `partial` [threads, cols]. */
void DG_K(gelu_backward_sums)(int64_t rows, int64_t cols, int half, const void *src, const void *diff_dst,
                              void *diff_src, const float *acc, float *sums, float *partial, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        float *sum = partial + cols * omp_get_thread_num();
        if (half)
            backward_sums(rows, cols, 1, src, diff_dst, diff_src, sum);
        else
            backward_sums(rows, cols, 0, src, diff_dst, diff_src, sum);
    }
    dg_add_partial(cols, acc, partial, cols, threads, sums);
}

#include "ops/kernels/gelu.h"

#include "ops/kernels/bf16.h"
#include "ops/kernels/loops.h"
#include "ops/kernels/vmath.h"

static DG_INLINE void forward(struct dg_range part, bool bf16, const void *src, void *dst)
{
#pragma omp simd
    for (int64_t i = part.first; i < part.end; i++) {
        float x = dg_get(src, bf16, i), h = 0.5f * x, size = fabsf(x);
        float z = size > DG_TAIL_END ? DG_TAIL_END : size;
        dg_put(dst, bf16, i, h + fabsf(h) - z * dg_normal_tail(bf16, z)); /* h + |h|: max(x, 0), but NaN of a NaN */
    }
}

static void gelu_forward(int64_t count, bool bf16, const void *src, void *dst)
{
    DG_EACH_PART(count, bf16, forward, src, dst)
}

/* Phi(x) + x phi(x). */
static DG_INLINE float slope(bool bf16, float x)
{
    float size = fabsf(x), z = size > DG_TAIL_END ? DG_TAIL_END : size;
    float at_minus_z = dg_normal_tail(bf16, z) - 0.398942280f * z * dg_exp2f(bf16, -0.721347520f * z * z);
    return x < 0 ? at_minus_z : 1.0f - at_minus_z;
}

static DG_INLINE void backward(struct dg_range part, bool bf16, const void *src, const void *diff_dst, void *diff_src)
{
#pragma omp simd
    for (int64_t i = part.first; i < part.end; i++)
        dg_put(diff_src, bf16, i, dg_get(diff_dst, bf16, i) * slope(bf16, dg_get(src, bf16, i)));
}

static void gelu_backward(int64_t count, bool bf16, const void *src, const void *diff_dst, void *diff_src)
{
    DG_EACH_PART(count, bf16, backward, src, diff_dst, diff_src)
}

static DG_INLINE void backward_sums(int64_t rows, int64_t cols, bool bf16, const void *src, const void *diff_dst,
                                    void *diff_src, float *sum)
{
    for (int64_t c = 0; c < cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const void *x = dg_at(src, bf16, r * cols), *dy = dg_at(diff_dst, bf16, r * cols);
        void *dx = dg_at_out(diff_src, bf16, r * cols);
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) {
            float d = dg_get(dy, bf16, c) * slope(bf16, dg_get(x, bf16, c));
            dg_put(dx, bf16, c, d);
            sum[c] += d;
        }
    }
}

static void gelu_backward_sums(const struct dg_gelu_sums_args *a)
{
#pragma omp parallel num_threads(a->threads)
    {
        float *sum = a->partial + a->cols * omp_get_thread_num();
        if (a->bf16)
            backward_sums(a->rows, a->cols, 1, a->src, a->diff_dst, a->diff_src, sum);
        else
            backward_sums(a->rows, a->cols, 0, a->src, a->diff_dst, a->diff_src, sum);
    }
    dg_add_partial(a->cols, a->acc, a->partial, a->cols, a->threads, a->sums);
}

DG_KERNELS(gelu) = {.forward = gelu_forward, .backward = gelu_backward, .backward_sums = gelu_backward_sums};

#include "ops/kernels/gelu.h"

#include "ops/kernels/put.h"
#include "ops/kernels/vmath.h"

/* x Phi(x) is x or 0 less |x| times the tail beyond |x|. A NaN stays one, in z. */
static DG_INLINE float gelu(bool bf16, float x)
{
    const float most = bf16 ? DG_ROUGH_TAIL_END : DG_TAIL_END;
    float size = fabsf(x), z = size > most ? most : size;
    return (x > 0 ? x : 0) - z * (bf16 ? dg_rough_normal_tail(z) : dg_normal_tail(z));
}

static DG_INLINE void forward(struct dg_range part, bool bf16, const void *src, void *dst)
{
    DG_PUT_EACH(dst, bf16, i, part.first, part.end, gelu(bf16, dg_get(src, bf16, i)));
}

static void gelu_forward(int64_t count, bool bf16, const void *src, void *dst)
{
    DG_EACH_PART(count, bf16, forward, src, dst)
}

/* The slope Phi(x) + x phi(x) with an absolute error of 7e-5: enough for what is rounded to bf16. Less 1/2 it is odd, x times a
 * polynomial of x^2, of which half its largest value is taken away so that its terms are small. Beyond 4.5 it is 0 or 1. */
static DG_INLINE float rough_slope(float x)
{
    const float end = 4.5f;
    float most = x > end ? end : x, z = most < -end ? -end : most, t = z * z - 10.125f;
    float p = -2.36668384e-11f;
    p = p * t + 5.19362727e-10f;
    p = p * t - 3.89805648e-9f;
    p = p * t + 4.22472707e-8f;
    p = p * t - 8.39736454e-7f;
    p = p * t + 1.00960298e-5f;
    p = p * t - 9.15927739e-5f;
    p = p * t + 8.39179831e-4f;
    p = p * t - 8.88260184e-3f;
    p = p * t + 1.59449147e-1f;
    return p * z + 0.5f;
}

static DG_INLINE float slope(bool bf16, float x)
{
    if (bf16) return rough_slope(x);
    float size = fabsf(x), z = size > DG_TAIL_END ? DG_TAIL_END : size;
    float at_minus_z = dg_normal_tail(z) - 0.398942280f * z * dg_exp2f(-0.721347520f * z * z);
    return x < 0 ? at_minus_z : 1.0f - at_minus_z;
}

static DG_INLINE void backward(struct dg_range part, bool bf16, const void *src, const void *diff_dst, void *diff_src)
{
    DG_PUT_EACH(diff_src, bf16, i, part.first, part.end, dg_get(diff_dst, bf16, i) * slope(bf16, dg_get(src, bf16, i)));
}

static void gelu_backward(int64_t count, bool bf16, const void *src, const void *diff_dst, void *diff_src)
{
    DG_EACH_PART(count, bf16, backward, src, diff_dst, diff_src)
}

static DG_INLINE float add_to(float *sum, float x)
{
    *sum += x;
    return x;
}

static DG_INLINE void backward_sums(int64_t rows, int64_t cols, bool bf16, const void *src, const void *diff_dst,
                                    void *diff_src, float *sum)
{
    for (int64_t c = 0; c < cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const void *x = dg_at(src, bf16, r * cols), *dy = dg_at(diff_dst, bf16, r * cols);
        void *dx = dg_at_out(diff_src, bf16, r * cols);
        DG_PUT_EACH(dx, bf16, c, 0, cols, add_to(&sum[c], dg_get(dy, bf16, c) * slope(bf16, dg_get(x, bf16, c))));
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

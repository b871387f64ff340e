/* Between vectors of a few heads and the tokens of an image, for attention of one token: vectors [images, heads, cols],
 * tokens [images, tokens, cols], f32 or (half) bf16, and scores [images, heads, tokens]. */
#include "ops/kernels/bf16.h"
#include "ops/kernels/kernels.h"

static DG_INLINE float dot(int64_t cols, const float *vector, int half, const void *token)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < cols; c++) sum += vector[c] * dg_get(token, half, c);
    return sum;
}

/* scores[i, h, t] = <vectors[i, h], src[i, t]>. */
void DG_K(token_scores)(int64_t images, int64_t heads, int64_t tokens, int64_t cols, const float *vectors, int half,
                        const void *src, float *scores)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < images * tokens; row++) {
        const void *token = dg_at(src, half, row * cols);
        for (int64_t h = 0, i = row / tokens; h < heads; h++) {
            const float *vector = vectors + (i * heads + h) * cols;
            scores[(i * heads + h) * tokens + row % tokens] =
                half ? dot(cols, vector, 1, token) : dot(cols, vector, 0, token);
        }
    }
}

static DG_INLINE void add_times(int64_t cols, float times, int half, const void *src, float *sum)
{
#pragma omp simd
    for (int64_t c = 0; c < cols; c++) sum[c] += times * dg_get(src, half, c);
}

/* vectors[i, h] = sum over t of weights[i, h, t] src[i, t]. */
void DG_K(token_sums)(int64_t images, int64_t heads, int64_t tokens, int64_t cols, const float *weights, int half,
                      const void *src, float *vectors)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < images * heads; row++) {
        float *sum = vectors + row * cols;
        for (int64_t c = 0; c < cols; c++) sum[c] = 0;
        for (int64_t t = 0; t < tokens; t++) {
            const void *token = dg_at(src, half, (row / heads * tokens + t) * cols);
            if (half)
                add_times(cols, weights[row * tokens + t], 1, token, sum);
            else
                add_times(cols, weights[row * tokens + t], 0, token, sum);
        }
    }
}

/* The gradient of both: dst[i, t] = sum over h of diff_scores[i, h, t] vectors[i, h] + weights[i, h, t] diff_sums[i, h], and
 * for the token that asks diff_query[i]. `scratch` [threads, cols]. */
void DG_K(token_spread)(int64_t images, int64_t heads, int64_t tokens, int64_t cols, const float *diff_scores,
                        const float *vectors, const float *weights, const float *diff_sums, int64_t query,
                        const float *diff_query, float *scratch, int threads, int half, void *dst)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < images * tokens; row++) {
        float *sum = scratch + cols * omp_get_thread_num();
        int64_t i = row / tokens, t = row % tokens;
        for (int64_t c = 0; c < cols; c++) sum[c] = t == query ? diff_query[i * cols + c] : 0;
        for (int64_t h = i * heads; h < (i + 1) * heads; h++) {
            add_times(cols, diff_scores[h * tokens + t], 0, vectors + h * cols, sum);
            add_times(cols, weights[h * tokens + t], 0, diff_sums + h * cols, sum);
        }
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) dg_put(dst, half, row * cols + c, sum[c]);
    }
}

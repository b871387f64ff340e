#include "ops/kernels/class_attention.h"

#include "ops/kernels/bf16.h"
#include "ops/kernels/loops.h"

static DG_INLINE float dot(int64_t cols, const float *vector, bool bf16, const void *token)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < cols; c++) sum += vector[c] * dg_get(token, bf16, c);
    return sum;
}

static void scores_of(const struct dg_class_attention_shape *shape, const float *vectors, bool bf16, const void *src,
                      float *scores)
{
    int64_t heads = shape->heads, tokens = shape->tokens, cols = shape->cols;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < shape->images * tokens; row++) {
        const void *token = dg_at(src, bf16, row * cols);
        for (int64_t h = 0, i = row / tokens; h < heads; h++) {
            const float *vector = vectors + (i * heads + h) * cols;
            scores[(i * heads + h) * tokens + row % tokens] =
                bf16 ? dot(cols, vector, 1, token) : dot(cols, vector, 0, token);
        }
    }
}

/* sum [cols] += factor src. */
static DG_INLINE void add_scaled(int64_t cols, float factor, bool bf16, const void *src, float *sum)
{
#pragma omp simd
    for (int64_t c = 0; c < cols; c++) sum[c] += factor * dg_get(src, bf16, c);
}

static void weighted_sums(const struct dg_class_attention_shape *shape, const float *weights, bool bf16,
                          const void *src, float *vectors)
{
    int64_t heads = shape->heads, tokens = shape->tokens, cols = shape->cols;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < shape->images * heads; row++) {
        float *sum = vectors + row * cols;
        for (int64_t c = 0; c < cols; c++) sum[c] = 0;
        for (int64_t t = 0; t < tokens; t++) {
            const void *token = dg_at(src, bf16, (row / heads * tokens + t) * cols);
            if (bf16)
                add_scaled(cols, weights[row * tokens + t], 1, token, sum);
            else
                add_scaled(cols, weights[row * tokens + t], 0, token, sum);
        }
    }
}

static void backward(const struct dg_class_attention_grad_args *a)
{
    int64_t heads = a->shape.heads, tokens = a->shape.tokens, cols = a->shape.cols;
    const float *diff_scores = a->diff_scores, *vectors = a->vectors, *weights = a->weights, *diff_sums = a->diff_sums;
    bool bf16 = a->diff_src_bf16;
    void *diff_src = a->diff_src;
#pragma omp parallel for schedule(static) num_threads(a->threads)
    for (int64_t row = 0; row < a->shape.images * tokens; row++) {
        float *sum = a->scratch + cols * omp_get_thread_num();
        int64_t i = row / tokens, t = row % tokens;
        for (int64_t c = 0; c < cols; c++) sum[c] = t == a->query ? a->diff_query[i * cols + c] : 0;
        for (int64_t h = i * heads; h < (i + 1) * heads; h++) {
            add_scaled(cols, diff_scores[h * tokens + t], 0, vectors + h * cols, sum);
            add_scaled(cols, weights[h * tokens + t], 0, diff_sums + h * cols, sum);
        }
#pragma omp simd
        for (int64_t c = 0; c < cols; c++) dg_put(diff_src, bf16, row * cols + c, sum[c]);
    }
}

DG_KERNELS(class_attention) = {.scores = scores_of, .sums = weighted_sums, .backward = backward};

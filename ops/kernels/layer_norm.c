#include "ops/kernels/layer_norm.h"

#include "ops/kernels/lanes.h"
#include "ops/kernels/put.h"

#include <math.h>

/* Vectors of sums, so many that an addition need not wait for the one before it. */
enum { SUMS = 4 };

static DG_INLINE float total(const dg_lanes *sum)
{
    dg_lanes all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    float lane[DG_LANES], result = 0;
    memcpy(lane, &all, sizeof lane);
#pragma omp simd reduction(+ : result)
    for (int i = 0; i < DG_LANES; i++) result += lane[i];
    return result;
}

/* The sum of x or, with `squares`, of (x - from)^2. */
static DG_INLINE float row_sum(bool squares, int64_t cols, const float *x, float from)
{
    dg_lanes sum[SUMS] = {0};
    int64_t c = 0;
    for (; c + SUMS * DG_LANES <= cols; c += SUMS * DG_LANES)
        for (int v = 0; v < SUMS; v++) {
            dg_lanes y = *(const dg_lanes *)(x + c + v * DG_LANES);
            if (squares) y = (y - from) * (y - from);
            sum[v] += y;
        }
    float rest = 0;
#pragma omp simd reduction(+ : rest)
    for (int64_t i = c; i < cols; i++) rest += squares ? (x[i] - from) * (x[i] - from) : x[i];
    return total(sum) + rest;
}

static DG_INLINE void normalize(int64_t cols, const float *x, const float *weight, const float *bias, float eps,
                                bool dst_bf16, void *y, float *mean, float *rstd)
{
    float m = row_sum(0, cols, x, 0) / (float)cols;
    float s = 1.0f / sqrtf(row_sum(1, cols, x, m) / (float)cols + eps);
    DG_PUT_EACH(y, dst_bf16, c, 0, cols, (x[c] - m) * s * weight[c] + bias[c]);
    if (mean) *mean = m;
    if (rstd) *rstd = s;
}

static void normalize_row(int64_t cols, const float *x, const float *weight, const float *bias, float eps,
                          bool dst_bf16, void *y, float *mean, float *rstd)
{
    if (dst_bf16)
        normalize(cols, x, weight, bias, eps, 1, y, mean, rstd);
    else
        normalize(cols, x, weight, bias, eps, 0, y, mean, rstd);
}

/* Where a tensor has row r, given where it has its image; -1: it does not. */
static DG_INLINE int64_t row_in(const int64_t *image, int64_t image_rows, int64_t r)
{
    if (!image) return r;
    int64_t there = image[r / image_rows];
    return there < 0 ? -1 : there * image_rows + r % image_rows;
}

static void layer_norm_forward(const struct dg_layer_norm_args *a)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < a->rows; r++)
        normalize_row(a->cols, a->src + row_in(a->src_image, a->image_rows, r) * a->cols, a->weight, a->bias, a->eps,
                      a->dst_bf16, dg_at_out(a->dst, a->dst_bf16, r * a->cols), a->mean ? a->mean + r : NULL,
                      a->rstd ? a->rstd + r : NULL);
}

/* What a row of the sum gets of the branch: nothing, src / keep, or src. */
enum branch { DROPPED, SURVIVING, UNSCALED };

static DG_INLINE void add(int64_t cols, enum branch branch, float keep, bool src_bf16, const void *src,
                          bool residual_bf16, const void *residual, float *sum)
{
    const float reciprocal = 1 / keep;
#pragma omp simd
    for (int64_t c = 0; c < cols; c++) {
        float x = branch == DROPPED ? 0 : dg_get(src, src_bf16, c);
        sum[c] = dg_get(residual, residual_bf16, c) + (branch == SURVIVING ? dg_quotient(x, keep, reciprocal) : x);
    }
}

static DG_INLINE void add_types(int64_t cols, enum branch branch, float keep, bool src_bf16, const void *src,
                                bool residual_bf16, const void *residual, float *sum)
{
    switch (src_bf16 << 1 | residual_bf16) {
    case 0: add(cols, branch, keep, 0, src, 0, residual, sum); break;
    case 1: add(cols, branch, keep, 0, src, 1, residual, sum); break;
    case 2: add(cols, branch, keep, 1, src, 0, residual, sum); break;
    case 3: add(cols, branch, keep, 1, src, 1, residual, sum); break;
    }
}

static void add_row(int64_t cols, enum branch branch, float keep, bool src_bf16, const void *src, bool residual_bf16,
                    const void *residual, float *sum)
{
    switch (branch) {
    case DROPPED: add_types(cols, DROPPED, keep, src_bf16, src, residual_bf16, residual, sum); break;
    case SURVIVING: add_types(cols, SURVIVING, keep, src_bf16, src, residual_bf16, residual, sum); break;
    case UNSCALED: add_types(cols, UNSCALED, keep, src_bf16, src, residual_bf16, residual, sum); break;
    }
}

static void add_layer_norm(const struct dg_add_layer_norm_args *a)
{
    int64_t cols = a->cols;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < a->rows; r++) {
        int64_t x = row_in(a->src_image, a->image_rows, r), y = row_in(a->dst_image, a->image_rows, r);
        enum branch branch = x < 0 ? DROPPED : a->keep == 1 ? UNSCALED : SURVIVING;
        add_row(cols, branch, a->keep, a->src_bf16, dg_at(a->src, a->src_bf16, x < 0 ? 0 : x * cols), a->residual_bf16,
                dg_at(a->residual, a->residual_bf16, r * cols), a->sum + r * cols);
        if (y < 0) continue;
        normalize_row(cols, a->sum + r * cols, a->weight, a->bias, a->eps, a->dst_bf16,
                      dg_at_out(a->dst, a->dst_bf16, y * cols), a->mean ? a->mean + y : NULL,
                      a->rstd ? a->rstd + y : NULL);
    }
}

/* The gradient by src, row by row, and the thread's sums of those by weight and bias. */
static DG_INLINE void backward(const struct dg_layer_norm_grad_args *args, bool diff_dst_bf16, float *sum_weight,
                               float *sum_bias)
{
    int64_t cols = args->cols;
    const float *weight = args->weight;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < args->rows; r++) {
        int64_t at = row_in(args->dst_image, args->image_rows, r);
        const float *x = args->src + r * cols, *acc = args->acc_src ? args->acc_src + r * cols : NULL;
        float *dx = args->diff_src + r * cols;
        if (at < 0) {
            for (int64_t c = 0; c < cols && acc != dx; c++) dx[c] = acc ? acc[c] : 0;
            continue;
        }
        const void *dy = dg_at(args->diff_dst, diff_dst_bf16, at * cols);
        float m = args->mean[at], s = args->rstd[at], a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
        for (int64_t c = 0; c < cols; c++) {
            float xhat = (x[c] - m) * s, d = dg_get(dy, diff_dst_bf16, c), g = d * weight[c];
            a += g;
            b += g * xhat;
            sum_weight[c] += d * xhat;
            sum_bias[c] += d;
        }
        a /= (float)cols;
        b /= (float)cols;
        if (acc) {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++)
                dx[c] = acc[c] + s * (dg_get(dy, diff_dst_bf16, c) * weight[c] - a - (x[c] - m) * s * b);
        } else {
#pragma omp simd
            for (int64_t c = 0; c < cols; c++)
                dx[c] = s * (dg_get(dy, diff_dst_bf16, c) * weight[c] - a - (x[c] - m) * s * b);
        }
    }
}

static void layer_norm_backward(const struct dg_layer_norm_grad_args *a)
{
    int64_t cols = a->cols;
    for (int64_t i = 0; i < 2 * cols * a->threads; i++) a->partial[i] = 0;
#pragma omp parallel num_threads(a->threads)
    {
        float *sum_weight = a->partial + 2 * cols * omp_get_thread_num(), *sum_bias = sum_weight + cols;
        if (a->diff_dst_bf16)
            backward(a, 1, sum_weight, sum_bias);
        else
            backward(a, 0, sum_weight, sum_bias);
    }
    if (a->diff_weight) dg_add_partial(cols, a->acc_weight, a->partial, 2 * cols, a->threads, a->diff_weight);
    if (a->diff_bias) dg_add_partial(cols, a->acc_bias, a->partial + cols, 2 * cols, a->threads, a->diff_bias);
}

DG_KERNELS(layer_norm) = {
    .forward = layer_norm_forward, .add_forward = add_layer_norm, .backward = layer_norm_backward};

#include "ops/kernels/batch_norm.h"

#include "ops/kernels/lanes.h"
#include "ops/kernels/put.h"

#include <math.h>

enum { BLOCK = 32 }; /* rows that are summed in f32 */

static void clear(int64_t cols, float *a, float *b)
{
    for (int64_t c = 0; c < cols; c++) a[c] = b[c] = 0;
}

static void flush(int64_t cols, const float *a, const float *b, double *sum_a, double *sum_b)
{
#pragma omp simd
    for (int64_t c = 0; c < cols; c++) {
        sum_a[c] += (double)a[c];
        sum_b[c] += (double)b[c];
    }
}

/* The moments sum a panel of columns at a time, in registers. In bf16, vectors v and v + 1 hold the even and the odd columns of
 * what two vectors are wide. */
enum { VECTORS = 4, PANEL = VECTORS * DG_LANES };

static DG_INLINE void load_panel(bool bf16, const void *from, dg_lanes *x)
{
    for (int v = 0; v < VECTORS; v += 1 + bf16) {
        memcpy(&x[v], dg_at(from, bf16, v * DG_LANES), sizeof x[v]); /* bf16 may lie at two bytes */
        if (!bf16) continue;
        dg_bits units = (dg_bits)x[v];
        x[v] = (dg_lanes)(units << 16);
        x[v + 1] = (dg_lanes)(units & 0xffff0000);
    }
}

/* The column, counted from the panel's first, that position `at` of a panel's sums belongs to. */
static inline int64_t panel_column(bool bf16, int64_t at)
{
    int64_t vector = at / DG_LANES;
    return bf16 ? vector / 2 * 2 * DG_LANES + at % DG_LANES * 2 + vector % 2 : at;
}

/* sum [2][cols]: the sums of x - shift and of its square, the shift being src's first row. In full panels the sums stand in the
 * order that panel_column() tells. */
static DG_INLINE void moments(int64_t rows, int64_t cols, bool bf16, const void *src, double *sum)
{
    enum { BYTES = PANEL * 4 };
    int64_t full = cols / PANEL * PANEL, bytes = BYTES >> bf16; /* columns in full panels */
    for (int64_t c = 0; c < 2 * cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int64_t end = first + BLOCK < rows ? first + BLOCK : rows;
        const char *next = dg_at(src, bf16, end * cols); /* hardware does not foresee reads of pieces of rows */
        for (int64_t c = 0; c < full; c += PANEL) {
            dg_lanes shift[VECTORS], a[VECTORS] = {0}, b[VECTORS] = {0};
            load_panel(bf16, dg_at(src, bf16, c), shift);
            for (int64_t r = first; r < end; r++, next += bytes) {
                dg_lanes x[VECTORS];
                for (int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(next + byte, 0, 2);
                load_panel(bf16, dg_at(src, bf16, r * cols + c), x);
                for (int v = 0; v < VECTORS; v++) {
                    x[v] -= shift[v];
                    a[v] += x[v];
                    b[v] += x[v] * x[v];
                }
            }
            flush(PANEL, (const float *)a, (const float *)b, sum + c, sum + cols + c);
        }
        float a[PANEL] = {0}, b[PANEL] = {0};
        for (int64_t r = first; r < end && full < cols; r++) {
            const void *x = dg_at(src, bf16, r * cols + full), *shift = dg_at(src, bf16, full);
#pragma omp simd
            for (int64_t c = 0; c < cols - full; c++) {
                float d = dg_get(x, bf16, c) - dg_get(shift, bf16, c);
                a[c] += d;
                b[c] += d * d;
            }
        }
        flush(cols - full, a, b, sum + full, sum + cols + full);
    }
}

static void batch_norm_moments(const struct dg_batch_norm_moments_args *args)
{
    int64_t rows = args->rows, cols = args->cols;
    bool bf16 = args->bf16;
    const void *src = args->src;
    double *partial = args->partial;
    int threads = args->threads;
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num();
        double *sum = partial + 2 * t * cols;
        if (bf16)
            moments(rows, cols, 1, src, sum);
        else
            moments(rows, cols, 0, src, sum);
    }
    for (int64_t c = 0; c < cols; c++) {
        double a = 0, b = 0;
        for (int t = 0; t < threads; t++) {
            a += partial[2 * t * cols + c];
            b += partial[(2 * t + 1) * cols + c];
        }
        int64_t panel = c / PANEL * PANEL, column = panel + PANEL <= cols ? panel + panel_column(bf16, c % PANEL) : c;
        a /= (double)rows;
        b = b / (double)rows - a * a;
        args->mean[column] = (float)((double)dg_get(src, bf16, column) + a);
        args->var[column] = b > 0 ? (float)b : 0;
    }
}

static DG_INLINE float activation(bool relu, float v) { return relu && !(v > 0) ? 0 : v; }

static DG_INLINE void apply(const struct dg_batch_norm_apply_args *args, bool bf16, bool relu)
{
    int64_t cols = args->cols;
    const float *mean = args->mean, *scale = args->scale, *bias = args->bias;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < args->rows; r++) {
        const void *x = dg_at(args->src, bf16, r * cols);
        void *y = dg_at_out(args->dst, bf16, r * cols);
        DG_PUT_EACH(y, bf16, c, 0, cols, activation(relu, (dg_get(x, bf16, c) - mean[c]) * scale[c] + bias[c]));
    }
}

static void batch_norm_apply(const struct dg_batch_norm_apply_args *args)
{
    for (int64_t c = 0; c < args->cols; c++)
        args->scale[c] = (float)((double)args->weight[c] / sqrt((double)args->var[c] + args->eps));
#pragma omp parallel
    switch (args->bf16 << 1 | args->relu) {
    case 0: apply(args, 0, 0); break;
    case 1: apply(args, 0, 1); break;
    case 2: apply(args, 1, 0); break;
    case 3: apply(args, 1, 1); break;
    }
}

/* diff_dst[c], or with `relu` zero where dst[c] <= 0. */
static DG_INLINE float gradient(bool bf16, bool relu, const void *dst, const void *diff_dst, int64_t c)
{
    float d = dg_get(diff_dst, bf16, c);
    return !relu || dg_get(dst, bf16, c) > 0 ? d : 0;
}

/* sum [2][cols]: the sums of the gradient g and of g (x - mean). block [2][cols] is scratch. */
static DG_INLINE void gradient_sums(const struct dg_batch_norm_grad_args *args, bool bf16, bool relu, float *block,
                                    double *sum)
{
    int64_t rows = args->rows, cols = args->cols;
    const void *src = args->src, *dst = args->dst, *diff_dst = args->diff_dst;
    const float *mean = args->mean;
    for (int64_t c = 0; c < 2 * cols; c++) sum[c] = 0;
#pragma omp for schedule(static)
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int64_t end = first + BLOCK < rows ? first + BLOCK : rows;
        float *a = block, *b = block + cols;
        clear(cols, a, b);
        for (int64_t r = first; r < end; r++) {
            const void *x = dg_at(src, bf16, r * cols), *d = dg_at(diff_dst, bf16, r * cols),
                       *y = relu ? dg_at(dst, bf16, r * cols) : NULL;
#pragma omp simd
            for (int64_t c = 0; c < cols; c++) {
                float g = gradient(bf16, relu, y, d, c);
                a[c] += g;
                b[c] += g * (dg_get(x, bf16, c) - mean[c]);
            }
        }
        flush(cols, a, b, sum, sum + cols);
    }
}

/* factors [3][cols]: weight rstd, mean(g), and rstd^2 mean(g (x - mean)). */
static DG_INLINE void source_gradient(const struct dg_batch_norm_grad_args *args, bool bf16, bool relu,
                                      const float *factors)
{
    int64_t cols = args->cols;
    const float *mean = args->mean, *scale = factors, *mean_g = factors + cols, *slope = mean_g + cols;
#pragma omp for schedule(static)
    for (int64_t r = 0; r < args->rows; r++) {
        const void *x = dg_at(args->src, bf16, r * cols), *d = dg_at(args->diff_dst, bf16, r * cols),
                   *y = relu ? dg_at(args->dst, bf16, r * cols) : NULL;
        void *dx = dg_at_out(args->diff_src, bf16, r * cols);
        DG_PUT_EACH(dx, bf16, c, 0, cols,
                    scale[c] * (gradient(bf16, relu, y, d, c) - mean_g[c] - (dg_get(x, bf16, c) - mean[c]) * slope[c]));
    }
}

static int form_of(const struct dg_batch_norm_grad_args *args) { return args->bf16 << 1 | !!args->dst; }

static void batch_norm_backward_sums(const struct dg_batch_norm_grad_args *args)
{
    int64_t cols = args->cols;
    int threads = args->threads;
    double *partial = args->partial;
    float *blocks = (float *)(partial + 2 * threads * cols);
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num();
        double *sum = partial + 2 * t * cols;
        float *block = blocks + 2 * t * cols;
        switch (form_of(args)) {
        case 0: gradient_sums(args, 0, 0, block, sum); break;
        case 1: gradient_sums(args, 0, 1, block, sum); break;
        case 2: gradient_sums(args, 1, 0, block, sum); break;
        case 3: gradient_sums(args, 1, 1, block, sum); break;
        }
    }
    for (int64_t c = 0; c < cols; c++) {
        double a = 0, b = 0, rstd = 1 / sqrt((double)args->var[c] + args->eps);
        for (int t = 0; t < threads; t++) {
            a += partial[2 * t * cols + c];
            b += partial[(2 * t + 1) * cols + c];
        }
        partial[c] = a;
        partial[cols + c] = b;
        if (args->diff_bias) args->diff_bias[c] = (args->acc_bias ? args->acc_bias[c] : 0) + (float)a;
        if (args->diff_weight) args->diff_weight[c] = (args->acc_weight ? args->acc_weight[c] : 0) + (float)(b * rstd);
    }
}

static void batch_norm_backward_src(const struct dg_batch_norm_grad_args *args)
{
    int64_t cols = args->cols;
    const double *sum_g = args->partial, *sum_gx = sum_g + cols;
    float *scale = (float *)(args->partial + 2 * args->threads * cols) + 2 * args->threads * cols,
          *mean_g = scale + cols, *slope = mean_g + cols;
    for (int64_t c = 0; c < cols; c++) {
        double rstd = 1 / sqrt((double)args->var[c] + args->eps), rows = (double)args->all_rows;
        scale[c] = (float)((double)args->weight[c] * rstd);
        mean_g[c] = (float)(sum_g[c] / rows);
        slope[c] = (float)(sum_gx[c] / rows * rstd * rstd);
    }
#pragma omp parallel
    switch (form_of(args)) {
    case 0: source_gradient(args, 0, 0, scale); break;
    case 1: source_gradient(args, 0, 1, scale); break;
    case 2: source_gradient(args, 1, 0, scale); break;
    case 3: source_gradient(args, 1, 1, scale); break;
    }
}

DG_KERNELS(batch_norm) = {.moments = batch_norm_moments,
                          .apply = batch_norm_apply,
                          .backward_sums = batch_norm_backward_sums,
                          .backward_src = batch_norm_backward_src};

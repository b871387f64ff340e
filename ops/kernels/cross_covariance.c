#include "ops/kernels/cross_covariance.h"

#include "ops/kernels/bf16.h"
#include "ops/kernels/vmath.h"

/* Matrices of a head in f32: of [tokens, width] and of [width, width]. */
struct room {
    float *q, *k, *v, *other;          /* [tokens, width] */
    float *cosine, *probs, *turned;    /* [width, width]: of channels of q, by channels of k */
    float *size_q, *size_k, *sum, *to; /* [width] */
};

static int64_t cross_covariance_scratch(int64_t tokens, int64_t width)
{
    return (4 * tokens * width + 3 * width * width + 4 * width) * (int64_t)sizeof(float);
}

static struct room room_of(const struct dg_cross_covariance_head *h, float *scratch)
{
    int64_t rows = h->tokens * h->width, square = h->width * h->width;
    float *squares = scratch + 4 * rows, *lines = squares + 3 * square;
    return (struct room){.q = scratch,
                         .k = scratch + rows,
                         .v = scratch + 2 * rows,
                         .other = scratch + 3 * rows,
                         .cosine = squares,
                         .probs = squares + square,
                         .turned = squares + 2 * square,
                         .size_q = lines,
                         .size_k = lines + h->width,
                         .sum = lines + 2 * h->width,
                         .to = lines + 3 * h->width};
}

static void load(const struct dg_cross_covariance_head *h, const void *from, int64_t ld, float *to)
{
    for (int64_t t = 0; t < h->tokens; t++) {
        const void *row = dg_at(from, h->bf16, t * ld);
        if (h->bf16)
            for (int64_t i = 0; i < h->width; i++) to[t * h->width + i] = dg_get(row, 1, i);
        else
            memcpy(to + t * h->width, row, (size_t)h->width * sizeof *to);
    }
}

static void store(const struct dg_cross_covariance_head *h, const float *from, void *to, int64_t ld)
{
    for (int64_t t = 0; t < h->tokens; t++) {
        void *row = dg_at_out(to, h->bf16, t * ld);
        if (h->bf16)
            for (int64_t i = 0; i < h->width; i++) dg_put(row, 1, i, from[t * h->width + i]);
        else
            memcpy(row, from + t * h->width, (size_t)h->width * sizeof *from);
    }
}

/* square [width, width] = the transpose of x times y, both [tokens, width]; four tokens a turn. */
static void gram(int64_t tokens, int64_t width, const float *x, const float *y, float *square)
{
    memset(square, 0, (size_t)(width * width) * sizeof *square);
    int64_t t = 0;
    for (; t + 4 <= tokens; t += 4) {
        const float *y0 = y + t * width, *y1 = y0 + width, *y2 = y1 + width, *y3 = y2 + width, *at = x + t * width;
        for (int64_t i = 0; i < width; i++) {
            float a = at[i], b = at[width + i], c = at[2 * width + i], d = at[3 * width + i], *to = square + i * width;
#pragma omp simd
            for (int64_t j = 0; j < width; j++) to[j] += (a * y0[j] + b * y1[j]) + (c * y2[j] + d * y3[j]);
        }
    }
    for (; t < tokens; t++)
        for (int64_t i = 0; i < width; i++) {
            float a = x[t * width + i], *to = square + i * width;
#pragma omp simd
            for (int64_t j = 0; j < width; j++) to[j] += a * y[t * width + j];
        }
}

/* dst [tokens, width] = x [tokens, width] times square [width, width]; four rows of the square a turn. */
static void times(int64_t tokens, int64_t width, const float *x, const float *square, float *dst)
{
    for (int64_t t = 0; t < tokens; t++) {
        const float *at = x + t * width;
        float *to = dst + t * width;
        memset(to, 0, (size_t)width * sizeof *to);
        int64_t i = 0;
        for (; i + 4 <= width; i += 4) {
            const float *s0 = square + i * width, *s1 = s0 + width, *s2 = s1 + width, *s3 = s2 + width;
            float a = at[i], b = at[i + 1], c = at[i + 2], d = at[i + 3];
#pragma omp simd
            for (int64_t j = 0; j < width; j++) to[j] += (a * s0[j] + b * s1[j]) + (c * s2[j] + d * s3[j]);
        }
        for (; i < width; i++) {
#pragma omp simd
            for (int64_t j = 0; j < width; j++) to[j] += at[i] * square[i * width + j];
        }
    }
}

static void turn(int64_t width, const float *square, float *turned)
{
    for (int64_t i = 0; i < width; i++)
        for (int64_t j = 0; j < width; j++) turned[j * width + i] = square[i * width + j];
}

/* Lengths of the channels, of 1e-12 at least. */
static void sizes(int64_t tokens, int64_t width, const float *x, float *size)
{
    for (int64_t i = 0; i < width; i++) size[i] = 0;
    for (int64_t t = 0; t < tokens; t++) {
#pragma omp simd
        for (int64_t i = 0; i < width; i++) size[i] += x[t * width + i] * x[t * width + i];
    }
    for (int64_t i = 0; i < width; i++) {
        float length = sqrtf(size[i]);
        size[i] = length > 1e-12f ? length : 1e-12f;
    }
}

/* Loads q, k and v, and makes cosines and probabilities. */
static void attend(const struct dg_cross_covariance_head *h, struct room *r)
{
    const int64_t width = h->width;
    load(h, h->q, h->ld, r->q);
    load(h, h->k, h->ld, r->k);
    load(h, h->v, h->ld, r->v);
    sizes(h->tokens, width, r->q, r->size_q);
    sizes(h->tokens, width, r->k, r->size_k);
    gram(h->tokens, width, r->q, r->k, r->cosine);
    for (int64_t i = 0; i < width; i++) {
        float *cosine = r->cosine + i * width, *probs = r->probs + i * width, sum = 0;
        for (int64_t j = 0; j < width; j++) cosine[j] = cosine[j] / (r->size_q[i] * r->size_k[j]);
        for (int64_t j = 0; j < width; j++) probs[j] = h->temperature * cosine[j];
        float most = dg_largest(width, probs);
#pragma omp simd
        for (int64_t j = 0; j < width; j++) probs[j] = dg_expf(probs[j] - most);
        for (int64_t j = 0; j < width; j++) sum += probs[j];
        for (int64_t j = 0; j < width; j++) probs[j] /= sum;
    }
}

static void cross_covariance_forward(const struct dg_cross_covariance_head *h, void *dst, void *scratch)
{
    struct room r = room_of(h, scratch);
    attend(h, &r);
    turn(h->width, r.probs, r.turned);
    times(h->tokens, h->width, r.v, r.turned, r.other);
    store(h, r.other, dst, h->ld_dst);
}

/* The gradient of the scores, in `turned`, by that of the probabilities, which is there; returns the temperature's. Then what
 * multiplies k and q in place of it, and in `sum` and `to` what of themselves is taken away from their gradients. */
static float through_softmax(const struct dg_cross_covariance_head *h, struct room *r)
{
    const int64_t width = h->width;
    double temperature = 0;
    for (int64_t j = 0; j < width; j++) r->to[j] = 0;
    for (int64_t i = 0; i < width; i++) {
        const float *cosine = r->cosine + i * width, *probs = r->probs + i * width;
        float *diff = r->turned + i * width, dot = 0;
        for (int64_t j = 0; j < width; j++) dot += probs[j] * diff[j];
        r->sum[i] = 0;
        for (int64_t j = 0; j < width; j++) {
            float score = probs[j] * (diff[j] - dot), part = h->temperature * score * cosine[j];
            temperature += (double)(score * cosine[j]);
            r->sum[i] += part;
            r->to[j] += part;
            diff[j] = h->temperature * score / (r->size_q[i] * r->size_k[j]);
        }
    }
    for (int64_t i = 0; i < width; i++) {
        r->sum[i] /= r->size_q[i] * r->size_q[i];
        r->to[i] /= r->size_k[i] * r->size_k[i];
    }
    return (float)temperature;
}

/* dst [tokens, width] -= x * factor, channel by channel. */
static void take_away(int64_t tokens, int64_t width, const float *x, const float *factor, float *dst)
{
    for (int64_t t = 0; t < tokens; t++) {
#pragma omp simd
        for (int64_t i = 0; i < width; i++) dst[t * width + i] -= x[t * width + i] * factor[i];
    }
}

static float cross_covariance_backward(const struct dg_cross_covariance_head *h, const void *diff_dst, void *diff_q,
                                       void *diff_k, void *diff_v, void *scratch)
{
    struct room r = room_of(h, scratch);
    const int64_t tokens = h->tokens, width = h->width;
    attend(h, &r);
    load(h, diff_dst, h->ld_dst, r.other);
    gram(tokens, width, r.other, r.v, r.turned); /* the gradient of the probabilities */
    times(tokens, width, r.other, r.probs, r.v); /* v is needed no longer */
    store(h, r.v, diff_v, h->ld);
    float temperature = through_softmax(h, &r);
    times(tokens, width, r.q, r.turned, r.other);
    take_away(tokens, width, r.k, r.to, r.other);
    store(h, r.other, diff_k, h->ld);
    turn(width, r.turned, r.probs);
    times(tokens, width, r.k, r.probs, r.other);
    take_away(tokens, width, r.q, r.sum, r.other);
    store(h, r.other, diff_q, h->ld);
    return temperature;
}

DG_KERNELS(cross_covariance) = {
    .scratch = cross_covariance_scratch, .forward = cross_covariance_forward, .backward = cross_covariance_backward};

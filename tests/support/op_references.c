#include "tests/support/op_references.h"

#include "ops/base/rng.h"
#include "tests/support/op_harness.h"

#include <math.h>
#include <string.h>

static int64_t queries_of(const struct ref_attention *a) { return a->query < 0 ? a->tokens : 1; }

/* Where the vector of one token and head begins; `part`: 0 for queries, 1 for keys, 2 for values. */
static int64_t vector_at(const struct ref_attention *a, int64_t image, int64_t token, int64_t head, int part)
{
    return ((image * a->tokens + token) * 3 + part) * a->heads * a->width + head * a->width;
}

static double dot(const double *x, const double *y, int64_t count)
{
    double sum = 0;
    for (int64_t c = 0; c < count; c++) sum += x[c] * y[c];
    return sum;
}

/* One query of one image and head. */
struct one {
    int64_t image, head, query; /* `query`: its place among the queries */
    const double *q;
    int64_t dst, lse; /* offsets */
};

static struct one one_of(const struct ref_attention *a, int64_t index, const double *src)
{
    int64_t queries = queries_of(a), query = index % queries, head = index / queries % a->heads,
            image = index / queries / a->heads;
    int64_t token = a->query < 0 ? query : a->query;
    return (struct one){.image = image,
                        .head = head,
                        .query = query,
                        .q = src + vector_at(a, image, token, head, 0),
                        .dst = ((image * queries + query) * a->heads + head) * a->width,
                        .lse = index};
}

void ref_attention_forward(const struct ref_attention *a, const double *src, double *dst, double *probs, double *lse)
{
    int64_t queries = queries_of(a);
    for (int64_t i = 0; i < a->images * a->heads * queries; i++) {
        struct one o = one_of(a, i, src);
        double sum = 0;
        memset(dst + o.dst, 0, (size_t)a->width * sizeof *dst);
        for (int64_t j = 0; j < a->tokens; j++) {
            double p = exp(dot(o.q, src + vector_at(a, o.image, j, o.head, 1), a->width) / sqrt((double)a->width));
            const double *v = src + vector_at(a, o.image, j, o.head, 2);
            for (int64_t c = 0; c < a->width; c++) dst[o.dst + c] += p * v[c];
            if (probs) probs[i * a->tokens + j] = p;
            sum += p;
        }
        for (int64_t c = 0; c < a->width; c++) dst[o.dst + c] /= sum;
        for (int64_t j = 0; probs && j < a->tokens; j++) probs[i * a->tokens + j] /= sum;
        if (lse) lse[i] = log(sum);
    }
}

void ref_attention_backward(const struct ref_attention *a, const double *src, const double *dst, const double *diff_dst,
                            const double *lse, double *diff_src)
{
    int64_t queries = queries_of(a);
    double scale = 1 / sqrt((double)a->width);
    memset(diff_src, 0, (size_t)(a->images * a->tokens * 3 * a->heads * a->width) * sizeof *diff_src);
    for (int64_t i = 0; i < a->images * a->heads * queries; i++) {
        struct one o = one_of(a, i, src);
        const double *diff = diff_dst + o.dst;
        double own = dot(diff, dst + o.dst, a->width), *diff_q = diff_src + (o.q - src);
        for (int64_t j = 0; j < a->tokens; j++) {
            int64_t k = vector_at(a, o.image, j, o.head, 1), v = vector_at(a, o.image, j, o.head, 2);
            double p = exp(dot(o.q, src + k, a->width) * scale - lse[i]);
            double diff_score = p * (dot(diff, src + v, a->width) - own) * scale;
            for (int64_t c = 0; c < a->width; c++) {
                diff_q[c] += diff_score * src[k + c];
                diff_src[k + c] += diff_score * o.q[c];
                diff_src[v + c] += p * diff[c];
            }
        }
    }
}

bool ref_row_survives(double rate, int view0, int batch, int64_t row)
{
    uint32_t view = (uint32_t)(view0 + row / batch);
    uint32_t word = dg_rng_at(OP_SEED, DG_RNG_DROP_PATH, OP_STREAM, view, (uint64_t)(row % batch));
    return (float)(1 - rate) + dg_unit_float(word) >= 1;
}

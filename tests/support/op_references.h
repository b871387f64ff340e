/* References that several families of ops share, in f64. */
#ifndef DG_TESTS_OP_REFERENCES_H
#define DG_TESTS_OP_REFERENCES_H

#include <stdbool.h>
#include <stdint.h>

/* Attention of [images, tokens, 3 x heads x width] packed as [Q | K | V]: by all tokens, or by token `query` alone if that is not
 * negative. */
struct ref_attention {
    int64_t images, tokens, heads, width, query;
};

/* dst [images, queries, heads x width]; probs [images, heads, queries, tokens] and lse [images, heads, queries], or NULL. */
void ref_attention_forward(const struct ref_attention *a, const double *src, double *dst, double *probs, double *lse);

/* From what the forward left: the probabilities are exp(score - lse), and dst is the sum they weigh. */
void ref_attention_backward(const struct ref_attention *a, const double *src, const double *dst, const double *diff_dst,
                            const double *lse, double *diff_src);

/* The draw of a row at step 0 as ops/base/rng.h words it: does it survive drop path in a case of the harness (OP_SEED, OP_STREAM)? */
bool ref_row_survives(double rate, int view0, int batch, int64_t row);

#endif

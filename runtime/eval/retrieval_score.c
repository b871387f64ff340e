#include "runtime/eval/retrieval_score.h"

#include <string.h>

const int dg_retrieval_cut[DG_RETRIEVAL_CUTS] = {1, 5, 10};

enum { POSITIVE = 1, JUNK = 2 }; /* bits */

double dg_average_precision(const int64_t *rank, int64_t count, int64_t positives)
{
    double sum = 0, step = 1.0 / (double)positives;
    for (int64_t i = 0; i < count; i++) {
        double before = rank[i] ? (double)i / (double)rank[i] : 1;
        double after = (double)(i + 1) / (double)(rank[i] + 1);
        sum += (before + after) * step / 2;
    }
    return sum;
}

static void mark(uint8_t *seen, const struct dg_index_list list[2], uint8_t bit)
{
    for (int l = 0; l < 2; l++)
        for (int64_t i = 0; i < list[l].count; i++) seen[list[l].index[i]] |= bit;
}

/* Ranks of the positives in a ranking without junk; returns their number. */
static int64_t find_ranks(const struct dg_neighbor *ranking, int64_t count, const uint8_t *seen, int64_t *rank)
{
    int64_t found = 0, junk = 0;
    for (int64_t r = 0; r < count; r++) {
        uint8_t what = seen[ranking[r].index];
        if (what & POSITIVE) rank[found++] = r - junk;
        if (what & JUNK) junk++;
    }
    return found;
}

void dg_retrieval_add(struct dg_retrieval_score *score, const struct dg_neighbor *ranking, int64_t count,
                      const struct dg_relevance *relevance, uint8_t *seen, int64_t *rank)
{
    int64_t positives = relevance->positive[0].count + relevance->positive[1].count;
    if (!positives) {
        score->empty++;
        return;
    }
    memset(seen, 0, (size_t)count);
    mark(seen, relevance->positive, POSITIVE);
    mark(seen, relevance->junk, JUNK);
    int64_t found = find_ranks(ranking, count, seen, rank);
    score->queries++;
    score->map += dg_average_precision(rank, found, positives);
    for (int c = 0; c < DG_RETRIEVAL_CUTS; c++) {
        int64_t cut = dg_min_i64(rank[found - 1] + 1, dg_retrieval_cut[c]), among = 0;
        while (among < found && rank[among] < cut) among++;
        score->precision[c] += (double)among / (double)cut;
    }
}

void dg_retrieval_mean(struct dg_retrieval_score *score)
{
    double queries = (double)dg_max_i64(score->queries, 1);
    score->map /= queries;
    for (int c = 0; c < DG_RETRIEVAL_CUTS; c++) score->precision[c] /= queries;
}

/* Each thread takes blocks of queries, multiplies a block with all blocks of the set in order, and has the best k of
 * every query so far in a heap.
 *
 * Equal rows of the set must have equal similarities, or rounding would decide their order. Therefore every product has
 * the same shape (the last blocks are padded with zeros) and is computed by one thread: all elements are sums in the
 * same order. The sizes are multiples of the tiles of oneDNN's gemm, whose kernels for remainders sum in another
 * order. */
#include "runtime/eval/nearest.h"

#include "ops/dnnl/dnnl.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { QUERY_BLOCK = DG_NEAREST_BLOCK, SET_BLOCK = 3072, COMPARED = 32 };

void dg_features_normalize(float *features, int64_t n, int64_t dim, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < n; row++) {
        float *x = features + row * dim;
        double square = 0;
        for (int64_t c = 0; c < dim; c++) square += (double)x[c] * (double)x[c];
        float norm = fmaxf((float)sqrt(square), 1e-12f);
        for (int64_t c = 0; c < dim; c++) x[c] /= norm;
    }
}

static inline bool worse(struct dg_neighbor a, struct dg_neighbor b)
{
    return a.similarity < b.similarity || (a.similarity == b.similarity && a.index > b.index);
}

static int compare_neighbors(const void *a, const void *b)
{
    const struct dg_neighbor x = *(const struct dg_neighbor *)a, y = *(const struct dg_neighbor *)b;
    return worse(x, y) - worse(y, x); /* equal are only places that a set of few rows has left empty */
}

void dg_neighbors_sort(struct dg_neighbor *neighbor, int64_t count)
{
    qsort(neighbor, (size_t)count, sizeof *neighbor, compare_neighbors);
}

static void replace_worst(struct dg_neighbor *heap, int size, struct dg_neighbor entry)
{
    int at = 0;
    for (int child = 1; child < size; child = 2 * at + 1) {
        if (child + 1 < size && worse(heap[child + 1], heap[child])) child++;
        if (!worse(heap[child], entry)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = entry;
}

/* Rows come in order, so one that only equals the worst of a full heap ranks behind it. Few rows are better: one
 * vectorised comparison of many skips the others. */
static void keep_best(const struct dg_nearest *n, struct dg_neighbor *heap, const float *similarity, int64_t first,
                      int64_t count)
{
    for (int64_t c = 0; c < count; c += COMPARED) {
        float worst = heap[0].similarity;
        int any = 0;
        for (int i = 0; i < COMPARED; i++) any |= similarity[c + i] > worst;
        if (!any) continue;
        for (int64_t i = c; i < dg_min_i64(c + COMPARED, count); i++)
            if (similarity[i] > heap[0].similarity)
                replace_worst(heap, n->k,
                              (struct dg_neighbor){similarity[i], n->row ? n->row[first + i] : (int32_t)(first + i)});
    }
}

/* The best of a block of queries; similarity is scratch [QUERY_BLOCK, SET_BLOCK]. */
static enum dg_status search_block(const struct dg_nearest *n, int64_t first_query, float *similarity,
                                   struct dg_neighbor *best)
{
    int64_t queries = dg_min_i64(QUERY_BLOCK, n->query_count - first_query);
    const float *query =
        queries == QUERY_BLOCK ? n->query + first_query * n->dim : n->padded + (int64_t)SET_BLOCK * n->dim;
    for (int64_t i = 0; i < queries * n->k; i++) best[i] = (struct dg_neighbor){-INFINITY, INT32_MAX};
    for (int64_t first = 0; first < n->set_count; first += SET_BLOCK) {
        int64_t count = dg_min_i64(SET_BLOCK, n->set_count - first);
        const float *set = count == SET_BLOCK ? n->set + first * n->dim : n->padded;
        DG_TRY(dg_sgemm(false, true, QUERY_BLOCK, SET_BLOCK, n->dim, query, n->dim, set, n->dim, 0, similarity,
                        SET_BLOCK, NULL));
        for (int64_t row = 0; row < queries; row++)
            keep_best(n, best + row * n->k, similarity + row * SET_BLOCK, first, count);
    }
    return DG_OK;
}

enum dg_status dg_nearest_search(const struct dg_nearest *n, int64_t first, int64_t end, struct dg_neighbor *best,
                                 struct dg_error *err)
{
    int memory = 0, internal = 0;
#pragma omp parallel num_threads(n->threads) reduction(| : memory, internal)
    {
        omp_set_num_threads(1); /* for this thread's gemm, even if it is the only thread; ends with the region */
        float *similarity = aligned_alloc(64, sizeof *similarity * QUERY_BLOCK * SET_BLOCK);
        memory = !similarity;
#pragma omp for schedule(dynamic)
        for (int64_t query = first; query < end; query += QUERY_BLOCK)
            if (!memory) internal |= search_block(n, query, similarity, best + (query - first) * n->k) != DG_OK;
        free(similarity);
    }
    if (memory) return dg_fail(err, DG_ERR_MEMORY, "out of memory for the search of neighbours");
    if (internal) return dg_fail(err, DG_ERR_INTERNAL, "oneDNN sgemm failed in the search of neighbours");
    return DG_OK;
}

/* Copies the rows behind the last block of `size` rows to `padded` [size, dim], which is zero. */
static void pad(const float *rows, int64_t count, int64_t dim, int64_t size, float *padded)
{
    int64_t left = count % size;
    if (left) memcpy(padded, rows + (count - left) * dim, (size_t)(left * dim) * sizeof *padded);
}

enum dg_status dg_nearest_open(struct dg_nearest *n, struct dg_error *err)
{
    n->padded = calloc((size_t)n->dim * (SET_BLOCK + QUERY_BLOCK), sizeof *n->padded);
    if (!n->padded) return dg_fail(err, DG_ERR_MEMORY, "out of memory for the search of neighbours");
    pad(n->set, n->set_count, n->dim, SET_BLOCK, n->padded);
    pad(n->query, n->query_count, n->dim, QUERY_BLOCK, n->padded + (int64_t)SET_BLOCK * n->dim);
    return DG_OK;
}

void dg_nearest_close(struct dg_nearest *n)
{
    free(n->padded);
    n->padded = NULL;
}

/* One chunk of a sum, of at most CHUNK bytes, which is cut into a piece for each process:
 *
 *   all to all     piece j of every process comes to process j
 *   sum            process j adds up its pieces in the order of ranks, and the sum with other machines
 *   gather         the sums come to all, into the array
 *
 * Each level moves 2 (P - 1) / P of the bytes of its chunk each way, the least possible. */
#include "runtime/comm/sums.h"

#include "ops/kernels/bf16.h"

#include <stdlib.h>

enum { CHUNK = 16 << 20, LINE = 64 };

/* ---- numbers: by one thread, because the others compute ---- */

/* sum [count] = part[0] + part[1] + ..., each [count], which follow each other. */
static void add_f32(int64_t count, int parts, const float *part, float *sum)
{
    for (int64_t i = 0; i < count; i++) {
        float total = part[i];
        for (int p = 1; p < parts; p++) total += part[p * count + i];
        sum[i] = total;
    }
}

static void add_f64(int64_t count, int parts, const double *part, double *sum)
{
    for (int64_t i = 0; i < count; i++) {
        double total = part[i];
        for (int p = 1; p < parts; p++) total += part[p * count + i];
        sum[i] = total;
    }
}

static void add_bf16(int64_t count, int parts, const dg_bf16 *part, float *sum)
{
    for (int64_t i = 0; i < count; i++) sum[i] = dg_from_bf16(part[i]);
    for (int p = 1; p < parts; p++)
        for (int64_t i = 0; i < count; i++) sum[i] += dg_from_bf16(part[p * count + i]);
}

static void round_all(int64_t count, const float *from, dg_bf16 *to)
{
    for (int64_t i = 0; i < count; i++) to[i] = dg_to_bf16(from[i]);
}

static void widen_all(int64_t count, const dg_bf16 *from, float *to)
{
    for (int64_t i = 0; i < count; i++) to[i] = dg_from_bf16(from[i]);
}

/* ---- a chunk ---- */

/* Sets the pieces of `count` numbers of `size` bytes, and counts what this process will send: the pieces of the
 * others, and its own sum to each of them. Returns how many numbers this process's has. */
static int64_t cut(struct dg_sums_level *l, int64_t count, int size)
{
    for (int r = 0; r < l->ranks; r++) {
        l->at[r] = (int)(count * r / l->ranks * size);
        l->bytes[r] = (int)(count * (r + 1) / l->ranks * size) - l->at[r];
    }
    int mine = l->bytes[l->rank];
    for (int r = 0; r < l->ranks; r++) {
        l->own_bytes[r] = mine;
        l->own_at[r] = mine * r;
    }
    l->sent += l->at[l->ranks - 1] + l->bytes[l->ranks - 1] + (int64_t)(l->ranks - 2) * mine;
    return mine / size;
}

/* The sum of `count` numbers at `data`, which fit into a chunk, over the processes of this level and of those behind
 * it. */
static bool add_chunk(struct dg_sums *sums, int level, void *data, int64_t count, enum dg_sum_kind kind)
{
    if (level == sums->levels) return true;
    struct dg_sums_level *l = &sums->level[level];
    if (l->ranks == 1) return add_chunk(sums, level + 1, data, count, kind);
    bool bf16 = l->bf16 && kind == DG_SUM_GRADIENTS;
    void *piece = l->piece, *sum = l->sum, *travels = bf16 ? l->rounded : data;
    int64_t mine = cut(l, count, bf16 ? 2 : kind == DG_SUM_F64 ? 8 : 4);
    const struct dg_mpi_ranges pieces = {l->bytes, l->at}, own = {l->own_bytes, l->own_at};
    if (bf16) round_all(count, data, travels);
    if (!sums->mpi->all_to_all(l->group, travels, pieces, piece, own)) return false;
    if (bf16)
        add_bf16(mine, l->ranks, piece, sum);
    else if (kind == DG_SUM_F64)
        add_f64(mine, l->ranks, piece, sum);
    else
        add_f32(mine, l->ranks, piece, sum);
    if (!add_chunk(sums, level + 1, sum, mine, kind)) return false;
    if (bf16) round_all(mine, sum, piece);
    if (!sums->mpi->all_gather(l->group, bf16 ? piece : sum, l->bytes[l->rank], travels, pieces)) return false;
    if (bf16) widen_all(count, travels, data);
    return true;
}

bool dg_sums_add(struct dg_sums *sums, void *data, int64_t count, enum dg_sum_kind kind)
{
    int64_t size = kind == DG_SUM_F64 ? 8 : 4, most = CHUNK / size;
    for (int64_t first = 0; first < count; first += most)
        if (!add_chunk(sums, 0, (char *)data + first * size, dg_min_i64(most, count - first), kind)) return false;
    return true;
}

/* ---- buffers ---- */

/* For chunks of up to `chunk` bytes. */
static enum dg_status open_level(struct dg_sums_level *l, int64_t chunk, struct dg_error *err)
{
    size_t ranks = (size_t)l->ranks, piece = (size_t)dg_round_up(chunk / l->ranks + LINE, LINE);
    l->piece = aligned_alloc(LINE, ranks * piece);
    l->sum = aligned_alloc(LINE, piece);
    if (l->bf16) l->rounded = aligned_alloc(LINE, (size_t)dg_round_up(chunk / 2, LINE));
    l->bytes = calloc(4 * ranks, sizeof *l->bytes);
    if (!l->piece || !l->sum || (l->bf16 && !l->rounded) || !l->bytes)
        return dg_fail(err, DG_ERR_MEMORY, "out of memory for the exchange with %d processes", l->ranks);
    l->at = l->bytes + ranks;
    l->own_bytes = l->bytes + 2 * ranks;
    l->own_at = l->bytes + 3 * ranks;
    l->allocated = (int64_t)((ranks + 1) * piece) + (l->bf16 ? chunk / 2 : 0);
    return DG_OK;
}

enum dg_status dg_sums_open(struct dg_sums *sums, struct dg_error *err)
{
    int64_t chunk = CHUNK;
    for (int l = 0; l < sums->levels; l++) {
        if (sums->level[l].ranks == 1) continue;
        DG_TRY(open_level(&sums->level[l], chunk, err));
        chunk = chunk / sums->level[l].ranks + LINE; /* a piece, of which the next level makes the sum */
    }
    return DG_OK;
}

void dg_sums_close(struct dg_sums *sums)
{
    for (int l = 0; l < sums->levels; l++) {
        free(sums->level[l].piece);
        free(sums->level[l].sum);
        free(sums->level[l].rounded);
        free(sums->level[l].bytes);
    }
}

int64_t dg_sums_bytes(const struct dg_sums *sums)
{
    int64_t bytes = 0;
    for (int l = 0; l < sums->levels; l++) bytes += sums->level[l].allocated;
    return bytes;
}

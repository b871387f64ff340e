/* Gradients of weights on AMX's tiles, for products of bf16. A thread computes a rectangle of diff_weight, 32 x 32 results at a time,
 * which are loaded from memory and stored there a block of rows. For such a block it packs its columns of diff_dst, as left
 * operands, and multiplies them with src, as right operands, whose columns are packed once for all threads that need them: by these
 * threads, each a part. Both packed blocks stay in the L2 cache. */
#ifndef DG_OPS_KERNELS_GRAD_WEIGHTS_AMX_H
#define DG_OPS_KERNELS_GRAD_WEIGHTS_AMX_H

#include "ops/kernels/amx_block.h"
#include "ops/kernels/grad_weights_rows.h"

enum {
    DG_GRAD_SIDE = DG_AMX_BLOCK,                     /* columns in a panel of diff_dst or src */
    DG_GRAD_DEEP = 512,                              /* rows in a block */
    DG_GRAD_PANEL = DG_GRAD_DEEP / 2 * DG_GRAD_SIDE, /* units of two rows in a packed panel */
    DG_GRAD_MOST = 12,                               /* panels of either operand that are packed at a time, at most */
};

/* How threads share the results: `down` of them the panels of diff_dst, `across` those of src. The first of them then share the
 * packing of the same columns of src. A thread's panels are cut into blocks, equally many for all threads. */
struct dg_grad_grid {
    int64_t down, across;
    int64_t outs, ins;           /* panels in all, of diff_dst and of src */
    int64_t out_block, in_block; /* panels in a block */
    int64_t out_blocks, in_blocks;
};

static inline int64_t dg_grad_blocks_of(int64_t panels) { return dg_blocks(panels, DG_GRAD_MOST); }

/* The grid in which a thread has the least to do. In cycles for 32 rows: 64 are four products of tiles; 200 and 60 were estimated for
 * packing a panel of diff_dst, which is transposed, and of src. */
static inline struct dg_grad_grid dg_grad_grid_make(int64_t outs, int64_t ins, int threads)
{
    struct dg_grad_grid grid = {.outs = outs, .ins = ins};
    int64_t least = INT64_MAX;
    for (int64_t down = 1; down <= threads; down++) {
        if (threads % down) continue;
        int64_t tall = dg_blocks(outs, down), wide = dg_blocks(ins, threads / down);
        int64_t cost = tall * wide * 64 + tall * 200 + dg_blocks(wide, down) * 60;
        if (cost >= least) continue;
        least = cost;
        grid.down = down;
        grid.across = threads / down;
        grid.out_blocks = dg_grad_blocks_of(tall);
        grid.in_blocks = dg_grad_blocks_of(wide);
        grid.out_block = dg_blocks(tall, grid.out_blocks);
        grid.in_block = dg_blocks(wide, grid.in_blocks);
    }
    return grid;
}

/* Units of 32 bits: for each thread a block of diff_dst and, because the threads that pack the next one may be ahead, two of src. */
static inline int64_t dg_grad_amx_scratch(int64_t in, int64_t taps, int64_t out, int threads)
{
    int64_t outs = dg_blocks(out, DG_GRAD_SIDE), ins = dg_blocks(in / taps, DG_GRAD_SIDE) * taps;
    return threads * DG_GRAD_PANEL * (dg_min_i64(outs, DG_GRAD_MOST) + 2 * dg_min_i64(ins, DG_GRAD_MOST));
}

/* What a thread computes: panels out0 to out1 of diff_dst, in0 to in1 of src. */
struct dg_grad_part {
    const struct dg_grad_job *job;
    const struct dg_grad_grid *grid;
    int64_t down, out0, out1, in0, in1; /* `down`: its place among the threads that share columns of src */
    uint32_t *diff, *src[2];            /* packed */
    int turn;                           /* which src */
    bool bias;
};

/* Units of 32 bits in a packed panel of a block of so many steps of 32 rows. */
static inline int64_t dg_grad_panel_size(int64_t steps) { return steps * DG_AMX_UNITS * DG_GRAD_SIDE; }

/* Packs columns of diff_dst as left operands: dst [panels][steps][32 columns][16 units]. */
static inline void dg_grad_pack_left(const struct dg_grad_rows *r, int64_t steps, uint32_t *dst)
{
    enum { CHUNK = 4 * DG_GRAD_SIDE }; /* columns */
    uint32_t pairs[DG_AMX_UNITS * CHUNK] __attribute__((aligned(64)));
    for (int64_t step = 0; step < steps; step++)
        for (int64_t col = 0; col < r->cols; col += CHUNK) {
            int64_t row = step * 2 * DG_AMX_UNITS, width = dg_min_i64(CHUNK, r->cols - col),
                    wide = dg_round_up(width, DG_GRAD_SIDE);
            struct dg_grad_rows some = *r;
            some.first = dg_at(dg_grad_row_at(r, row), r->bf16, col);
            some.count = dg_min_i64(2 * DG_AMX_UNITS, r->count - row);
            some.cols = width;
            dg_grad_pack(1, &some, DG_AMX_UNITS, (int)wide, pairs);
            for (int64_t c = 0; c < wide; c += DG_GRAD_SIDE) {
                uint32_t *to = dst + (col + c) / DG_GRAD_SIDE * dg_grad_panel_size(steps) + dg_grad_panel_size(step);
                dg_transpose(DG_AMX_UNITS, DG_GRAD_SIDE, (const float *)(pairs + c), wide, DG_AMX_UNITS, (float *)to);
            }
        }
}

/* Columns of diff_dst in these panels, of the block from row `first`. */
static inline struct dg_grad_rows dg_grad_left_rows(const struct dg_grad_part *part, int64_t first,
                                                    struct dg_range panels)
{
    int64_t col = panels.first * DG_GRAD_SIDE, end = dg_min_i64(part->job->args.out, panels.end * DG_GRAD_SIDE);
    return dg_grad_diff_rows(part->job, first, col, end - col);
}

/* The panels of block i of a thread's columns of diff_dst. */
static inline struct dg_range dg_grad_out_panels(const struct dg_grad_part *part, int64_t i)
{
    int64_t size = part->grid->out_block;
    return (struct dg_range){dg_min_i64(part->out1, part->out0 + i * size),
                             dg_min_i64(part->out1, part->out0 + (i + 1) * size)};
}

/* The panels of block i of a thread's columns of src, and those of them that it packs. */
static inline struct dg_range dg_grad_in_panels(const struct dg_grad_part *part, int64_t i)
{
    int64_t size = part->grid->in_block;
    return (struct dg_range){dg_min_i64(part->in1, part->in0 + i * size),
                             dg_min_i64(part->in1, part->in0 + (i + 1) * size)};
}

static inline struct dg_range dg_grad_my_panels(const struct dg_grad_part *part, struct dg_range panels)
{
    int64_t count = panels.end - panels.first, down = part->grid->down;
    return (struct dg_range){panels.first + count * part->down / down, panels.first + count * (part->down + 1) / down};
}

/* These panels of a matrix src, of the block from row `first`. */
static inline struct dg_grad_rows dg_grad_right_rows(const struct dg_grad_job *j, int64_t first, struct dg_range panels)
{
    struct dg_range cols = {panels.first * DG_GRAD_SIDE, dg_min_i64(j->args.in, panels.end * DG_GRAD_SIDE)};
    return dg_grad_rows_of(j, j->args.src_bf16, j->args.src, j->args.in, first, cols);
}

/* This thread's part of the packing of panels of src as right operands: dst [panels][2][units][16 columns]. */
static inline void dg_grad_pack_right(const struct dg_grad_part *part, int64_t first, struct dg_range panels,
                                      int64_t steps, uint32_t *dst)
{
    const struct dg_grad_job *j = part->job;
    const void *at[DG_GRAD_DEEP];
    struct dg_range mine = dg_grad_my_panels(part, panels);
    dst += (mine.first - panels.first) * dg_grad_panel_size(steps);
    if (!j->args.windows) {
        struct dg_grad_rows r = dg_grad_right_rows(j, first, mine);
        dg_grad_pack(1, &r, steps * DG_AMX_UNITS, DG_AMX_UNITS, dst);
        return;
    }
    for (int64_t p = mine.first; p < mine.end; p++, dst += dg_grad_panel_size(steps)) {
        struct dg_grad_rows r = dg_grad_src_rows(j, first, p, at);
        dg_grad_pack(1, &r, steps * DG_AMX_UNITS, DG_AMX_UNITS, dst);
    }
}

/* diff_bias [rows] += the sums of the columns of a packed panel of diff_dst: its product with ones. */
static inline void dg_grad_add_bias(const uint32_t *diff, int64_t rows, int64_t steps, float *diff_bias)
{
    uint32_t ones[DG_AMX_TILE_BYTES / 4];
    float sums[DG_GRAD_SIDE * DG_AMX_ROWS] __attribute__((aligned(64)));
    for (int i = 0; i < DG_AMX_TILE_BYTES / 4; i++) ones[i] = 0x3f803f80;
    dg_amx_multiply(rows, 1,
                    &(struct dg_amx_block){.a = diff,
                                           .lda = DG_AMX_UNITS * 4,
                                           .a_step = dg_grad_panel_size(1) * 4,
                                           .b = ones,
                                           .steps = steps,
                                           .c = sums,
                                           .ldc = DG_AMX_ROWS * 4});
    for (int64_t i = 0; i < rows; i++) diff_bias[i] += sums[i * DG_AMX_ROWS];
}

/* What a thread multiplies at a time: panels of diff_dst and of src, both packed, from row `first`. */
struct dg_grad_turn {
    int64_t first, steps;
    struct dg_range outs, ins;
    struct dg_grad_rows next_diff, next_src; /* what the thread packs next, which is prefetched */
};

static inline void dg_grad_multiply(const struct dg_grad_part *part, struct dg_grad_turn *turn)
{
    const struct dg_grad_job *j = part->job;
    const int64_t in = j->args.in, size = dg_grad_panel_size(turn->steps);
    int64_t blocks = (turn->outs.end - turn->outs.first) * (turn->ins.end - turn->ins.first), done = 0;
    for (int64_t o = turn->outs.first; o < turn->outs.end; o++) {
        int64_t row = o * DG_GRAD_SIDE, rows = dg_min_i64(DG_GRAD_SIDE, j->args.out - row);
        const uint32_t *diff = part->diff + (o - turn->outs.first) * size;
        if (part->bias && turn->ins.first == 0) dg_grad_add_bias(diff, rows, turn->steps, j->args.diff_bias + row);
        for (int64_t p = turn->ins.first; p < turn->ins.end; p++, done++) {
            struct dg_range cols = dg_grad_panel_columns(j, p);
            float *c = j->results + row * in + cols.first;
            dg_grad_prefetch(&turn->next_diff, done, blocks);
            dg_grad_prefetch(&turn->next_src, done, blocks);
            dg_amx_multiply_edge(rows, cols.end - cols.first,
                                 &(struct dg_amx_block){.a = diff,
                                                        .lda = DG_AMX_UNITS * 4,
                                                        .a_step = dg_grad_panel_size(1) * 4,
                                                        .b = part->src[part->turn] + (p - turn->ins.first) * size,
                                                        .b_right = size / 2 * 4,
                                                        .b_step = DG_AMX_TILE_BYTES,
                                                        .steps = turn->steps,
                                                        .c = c,
                                                        .ldc = in * 4,
                                                        .add = turn->first > 0 || j->add,
                                                        .next = c + DG_GRAD_SIDE});
        }
    }
}

/* Block `out` of the thread's panels of diff_dst, of the block from row `first`, with all blocks of src. All threads pass the same
 * barriers: after one, a block of src is packed, and another thread may still read the block before. */
static inline void dg_grad_block(struct dg_grad_part *part, int64_t first, int64_t out)
{
    const struct dg_grad_grid *grid = part->grid;
    const bool matrix = !part->job->args.windows, last = out + 1 == grid->out_blocks;
    const int64_t after = last ? first + DG_GRAD_DEEP : first;
    struct dg_grad_turn turn = {.first = first,
                                .steps = dg_blocks(dg_grad_rows_from(part->job, first), 2 * DG_AMX_UNITS),
                                .outs = dg_grad_out_panels(part, out)};
    struct dg_range next = dg_grad_out_panels(part, last ? 0 : out + 1);
    struct dg_grad_rows left = dg_grad_left_rows(part, first, turn.outs);
    dg_grad_pack_left(&left, turn.steps, part->diff);
    turn.next_diff = dg_grad_left_rows(part, after, next);
    for (int64_t i = 0; i < grid->in_blocks; i++) {
        const bool more = i + 1 < grid->in_blocks;
        turn.ins = dg_grad_in_panels(part, i);
        if (out == 0 || grid->in_blocks > 1) { /* else it is packed */
            part->turn = !part->turn;
            dg_grad_pack_right(part, first, turn.ins, turn.steps, part->src[part->turn]);
#pragma omp barrier
        }
        turn.next_src = (struct dg_grad_rows){0};
        if (matrix && (last || grid->in_blocks > 1))
            turn.next_src = dg_grad_right_rows(part->job, more ? first : after,
                                               dg_grad_my_panels(part, dg_grad_in_panels(part, more ? i + 1 : 0)));
        dg_grad_multiply(part, &turn);
    }
}

/* The results of job j, by all threads of a parallel region. `scratch` is of dg_grad_amx_scratch() units. */
static inline void dg_grad_on_tiles(const struct dg_grad_job *j, uint32_t *scratch)
{
    const struct dg_grad_weights_args *a = &j->args;
    int threads = omp_get_num_threads(), t = omp_get_thread_num();
    const struct dg_grad_grid grid = dg_grad_grid_make(dg_blocks(a->out, DG_GRAD_SIDE), dg_grad_panels(j), threads);
    int64_t y = t / grid.across, x = t % grid.across;
    uint32_t *shared = scratch + (int64_t)threads * grid.out_block * DG_GRAD_PANEL;
    struct dg_grad_part part = {
        .job = j,
        .grid = &grid,
        .down = y,
        .out0 = grid.outs * y / grid.down,
        .out1 = grid.outs * (y + 1) / grid.down,
        .in0 = grid.ins * x / grid.across,
        .in1 = grid.ins * (x + 1) / grid.across,
        .diff = scratch + t * grid.out_block * DG_GRAD_PANEL,
        .src = {shared + 2 * x * grid.in_block * DG_GRAD_PANEL, shared + (2 * x + 1) * grid.in_block * DG_GRAD_PANEL}};
    part.bias = a->diff_bias && part.in0 == 0 && part.in1 > 0;
    int64_t end = dg_min_i64(a->out, part.out1 * DG_GRAD_SIDE);
    for (int64_t row = part.out0 * DG_GRAD_SIDE; part.bias && row < end; row++)
        a->diff_bias[row] = a->acc_bias ? a->acc_bias[row] : 0;
    dg_amx_begin();
    for (int64_t first = 0; first < a->rows; first += DG_GRAD_DEEP)
        for (int64_t out = 0; out < grid.out_blocks; out++) dg_grad_block(&part, first, out);
    dg_amx_end();
}

#endif

/* What gradients of weights are computed from: blocks of rows of diff_dst and of src, a row of which may be what a window of an image
 * sees, read where it lies; and packing them. For grad_weights.c and grad_weights_amx.h.
 *
 * Columns of src are taken by panels of `panel` columns, as many as a product takes at a time. With windows a panel is up to that many
 * channels at one tap, a position within the window; the panels of the same channels at all taps follow each other. The results are
 * in this order, too, until dg_grad_permute() makes them [out, channels, taps]. */
#ifndef DG_OPS_KERNELS_GRAD_WEIGHTS_ROWS_H
#define DG_OPS_KERNELS_GRAD_WEIGHTS_ROWS_H

#include "ops/kernels/bf16.h"
#include "ops/kernels/grad_weights_args.h"
#include "ops/kernels/loops.h"
#include "ops/kernels/pack.h"

#include <string.h>

struct dg_grad_job {
    struct dg_grad_weights_args args;
    int64_t taps;   /* 1 without windows */
    int64_t panel;  /* columns */
    int64_t deep;   /* rows in a block */
    float *results; /* [out, in], in the order of the panels */
    bool add;       /* results are added to what is there */
};

/* Some columns of a block of rows. Row i begins at at[i] or, if `at` is NULL, at first + i * stride. */
struct dg_grad_rows {
    const void *first, **at;
    int64_t stride, count, cols; /* bytes, rows, columns */
    int64_t prefetched;          /* rows */
    bool bf16;                   /* numbers are bf16, else f32 */
};

static DG_INLINE const void *dg_grad_row_at(const struct dg_grad_rows *r, int64_t i)
{
    return r->at ? r->at[i] : (const char *)r->first + i * r->stride;
}

/* The number of rows of the block that begins with row `first`; 0 behind the last row. */
static inline int64_t dg_grad_rows_from(const struct dg_grad_job *j, int64_t first)
{
    return first < j->args.rows ? dg_min_i64(j->deep, j->args.rows - first) : 0;
}

/* The block from row `first` of an array [rows, ld], columns col to col + cols. */
static inline struct dg_grad_rows dg_grad_rows_of(const struct dg_grad_job *j, bool bf16, const void *array, int64_t ld,
                                                  int64_t first, struct dg_range cols)
{
    return (struct dg_grad_rows){.first = dg_at(array, bf16, first * ld + cols.first),
                                 .stride = ld * (bf16 ? 2 : 4),
                                 .count = dg_grad_rows_from(j, first),
                                 .cols = cols.end - cols.first,
                                 .bf16 = bf16};
}

static inline struct dg_grad_rows dg_grad_diff_rows(const struct dg_grad_job *j, int64_t first, int64_t col,
                                                    int64_t cols)
{
    return dg_grad_rows_of(j, j->args.diff_dst_bf16, j->args.diff_dst, j->args.out, first,
                           (struct dg_range){col, col + cols});
}

static inline int64_t dg_grad_panels(const struct dg_grad_job *j)
{
    return dg_blocks(j->args.in / j->taps, j->panel) * j->taps;
}

/* The columns of the results that a panel yields. */
static inline struct dg_range dg_grad_panel_columns(const struct dg_grad_job *j, int64_t panel)
{
    int64_t channel = panel / j->taps * j->panel, cols = dg_min_i64(j->panel, j->args.in / j->taps - channel);
    int64_t first = channel * j->taps + panel % j->taps * cols;
    return (struct dg_range){first, first + cols};
}

/* at[i]: where windows of one line have a pixel, `step` pixels to the right from one to the next, the first at pixel x of a line of
 * `width`; `outside` where the line ends. A pixel has `bytes`. */
static inline void dg_grad_line(int64_t count, int64_t x, int64_t step, int64_t width, const void *line, int64_t bytes,
                                const void *outside, const void **at)
{
    const uintptr_t begin = (uintptr_t)line, none = (uintptr_t)outside;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        int64_t pixel = x + i * step;
        bool inside = pixel >= 0 && pixel < width;
        at[i] = (const void *)(inside ? begin + (uintptr_t)(pixel * bytes) : none);
    }
}

/* at[i]: where window first + i has a panel's tap and channels; zeros outside of the image. */
static inline void dg_grad_window_rows(const struct dg_grad_job *j, int64_t first, int64_t panel, int64_t count,
                                       const void **at)
{
    static const float zeros[64];
    const struct dg_windows *w = j->args.windows;
    bool bf16 = j->args.src_bf16;
    int64_t tap = panel % j->taps, down = tap / w->kernel * w->dilation - w->pad,
            right = tap % w->kernel * w->dilation - w->pad, channel = panel / j->taps * j->panel;
    int64_t line = first / w->out_width, column = first % w->out_width, some;
    for (int64_t i = 0; i < count; i += some, line++, column = 0) {
        int64_t y = line % w->out_height * w->stride + down, top = line / w->out_height * w->height;
        bool inside = y >= 0 && y < w->height;
        some = dg_min_i64(w->out_width - column, count - i);
        dg_grad_line(some, column * w->stride + right, w->stride, inside ? w->width : 0,
                     dg_at(j->args.src, bf16, (inside ? top + y : 0) * w->width * w->channels + channel),
                     w->channels * (bf16 ? 2 : 4), zeros, at + i);
    }
}

/* A panel's columns of the block of src from row `first`; `at` is room for pointers to windows. */
static inline struct dg_grad_rows dg_grad_src_rows(const struct dg_grad_job *j, int64_t first, int64_t panel,
                                                   const void **at)
{
    const struct dg_grad_weights_args *a = &j->args;
    struct dg_range range = dg_grad_panel_columns(j, panel);
    if (!a->windows) return dg_grad_rows_of(j, a->src_bf16, a->src, a->in, first, range);
    struct dg_grad_rows r = {
        .at = at, .count = dg_grad_rows_from(j, first), .cols = range.end - range.first, .bf16 = a->src_bf16};
    dg_grad_window_rows(j, first, panel, r.count, at);
    return r;
}

/* Prefetches the rows little by little: all of them by the end of the last of `steps` steps. */
static inline void dg_grad_prefetch(struct dg_grad_rows *r, int64_t step, int64_t steps)
{
    int64_t end = (step + 1) * r->count / steps, bytes = r->cols * (r->bf16 ? 2 : 4);
    for (; r->prefetched < end; r->prefetched++)
        for (int64_t b = 0; b < bytes; b += 64)
            __builtin_prefetch((const char *)dg_grad_row_at(r, r->prefetched) + b, 0, 2);
}

/* Packs columns `cols` of unit u to `panel` units of 32 bits. A unit is a row or, in bf16, two; behind the rows it is zeros. */
static DG_INLINE void dg_grad_pack_unit(bool bf16, bool from_bf16, const struct dg_grad_rows *r, int64_t u,
                                        struct dg_range cols, int panel, uint32_t *dst)
{
    int64_t row = bf16 ? 2 * u : u, width = cols.end - cols.first;
    if (row >= r->count) {
        memset(dst, 0, (size_t)panel * 4);
        return;
    }
    const void *x = dg_at(dg_grad_row_at(r, row), from_bf16, cols.first);
    if (bf16) {
        const void *y = row + 1 < r->count ? dg_at(dg_grad_row_at(r, row + 1), from_bf16, cols.first) : NULL;
        dg_pair(from_bf16, width, x, y, panel, dst);
    } else if (width == panel) {
        memcpy(dst, x, (size_t)panel * 4);
    } else {
        memset(dst, 0, (size_t)panel * 4);
        memcpy(dst, x, (size_t)width * 4);
    }
}

/* Packs rows by panels of `panel` columns: dst [panels][units][panel]. It goes from panel to panel every few units, so that it
 * reads rows that are in the L1 cache and writes long pieces. */
static DG_INLINE void dg_grad_pack_as(bool bf16, bool from_bf16, const struct dg_grad_rows *r, int64_t units, int panel,
                                      uint32_t *dst)
{
    enum { FEW = 16 };
    for (int64_t first = 0; first < units; first += FEW)
        for (int64_t c = 0; c < r->cols; c += panel) {
            const struct dg_range cols = {c, dg_min_i64(c + panel, r->cols)};
            const int64_t end = dg_min_i64(first + FEW, units), full = dg_min_i64(end, r->count / 2);
            uint32_t *to = dst + c * units + first * panel;
            int64_t u = first;
            for (; bf16 && cols.end - c == panel && u < full; u++, to += panel)
                dg_pair(from_bf16, panel, dg_at(dg_grad_row_at(r, 2 * u), from_bf16, c),
                        dg_at(dg_grad_row_at(r, 2 * u + 1), from_bf16, c), panel, to);
            for (; u < end; u++, to += panel) dg_grad_pack_unit(bf16, from_bf16, r, u, cols, panel, to);
        }
}

static DG_INLINE void dg_grad_pack(bool bf16, const struct dg_grad_rows *r, int64_t units, int panel, uint32_t *dst)
{
    if (!bf16)
        dg_grad_pack_as(0, 0, r, units, panel, dst);
    else if (r->bf16)
        dg_grad_pack_as(1, 1, r, units, panel, dst);
    else
        dg_grad_pack_as(1, 0, r, units, panel, dst);
}

/* A row of diff_weight, [channels, taps] = acc + the results, which are in the order of the panels; acc may be NULL. */
static inline void dg_grad_permute_row(const struct dg_grad_job *j, const float *acc, const float *results, float *dst)
{
    int64_t in = j->args.in, taps = j->taps;
    for (int64_t first = 0; first < in; first += j->panel * taps) {
        int64_t channels = dg_min_i64(j->panel * taps, in - first) / taps, i = first;
        for (int64_t c = 0; c < channels; c++)
            for (int64_t t = 0; t < taps; t++, i++) dst[i] = (acc ? acc[i] : 0) + results[first + t * channels + c];
    }
}

/* diff_weight [out, channels, taps] = acc_weight + the results. The threads of a parallel region share it. */
static inline void dg_grad_permute(const struct dg_grad_job *j)
{
    int64_t in = j->args.in;
    const float *acc = j->args.acc_weight;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < j->args.out; row++)
        dg_grad_permute_row(j, acc ? acc + row * in : NULL, j->results + row * in, j->args.diff_weight + row * in);
}

#endif

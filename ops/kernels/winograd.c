/* Each thread takes blocks of patches, transforms a block's patches of all channels, and for each group of output channels makes
 * the 16 products and transforms these to pixels. So a block's V and M stay in the L2 cache, and only weights come from farther
 * away, once a block. */
#include "ops/kernels/winograd.h"

#include "ops/kernels/loops.h"
#include "ops/kernels/pack.h"
#include "ops/kernels/tile.h"

#include <string.h>

enum {
    PARTS = 16,                   /* elements of V, U and M: 4 x 4 */
    GROUP = DG_WINOGRAD_CHANNELS, /* output channels whose products are made together */
    CACHE = 640 * 1024,           /* bytes for the V and the M of a block */
    SKEW = 16, /* numbers behind a row of V, so that rows do not fall into the same sets of a cache */
    MAX_PATCHES = 20 * DG_TILE_ROWS,
};
_Static_assert(GROUP % DG_TILE_COLS == 0, "tiles of a group are full");

/* --- weights --- */

/* The products of G with a column of three, or of G' with a row. */
static DG_INLINE void transform_weights(const dg_lanes *g, int step, dg_lanes *u, int u_step)
{
    dg_lanes ends = (g[0] + g[2 * step]) * 0.5f, middle = g[step] * 0.5f;
    u[0] = g[0];
    u[u_step] = ends + middle;
    u[2 * u_step] = ends - middle;
    u[3 * u_step] = g[2 * step];
}

/* U of one input channel and DG_LANES output channels, part by part `part_step` numbers apart. */
static DG_INLINE void pack_windows(const struct dg_winograd_pack_args *a, const float *windows, float *to,
                                   int64_t part_step)
{
    float taps[9][DG_LANES];
    dg_lanes g[9], half[12], u[PARTS];
    for (int o = 0; o < DG_LANES; o++)
        for (int k = 0; k < 9; k++) taps[k][o] = windows[o * a->out_step + (a->turned ? 8 - k : k)];
    memcpy(g, taps, sizeof g);
    for (int x = 0; x < 3; x++) transform_weights(g + x, 3, half + x, 3);
    for (int y = 0; y < 4; y++) transform_weights(half + 3 * y, 1, u + 4 * y, 1);
    for (int p = 0; p < PARTS; p++) *(dg_lanes *)(to + p * part_step) = u[p];
}

/* packed is [16, out / GROUP, channels, GROUP]. */
static void pack(const struct dg_winograd_pack_args *a)
{
    int64_t part_step = a->channels * a->out;
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t o = 0; o < a->out; o += GROUP)
        for (int64_t c = 0; c < a->channels; c++)
            for (int half = 0; half < GROUP; half += DG_LANES)
                pack_windows(a, a->weight + c * a->channel_step + (o + half) * a->out_step,
                             a->packed + (o * a->channels + c * GROUP) + half, part_step);
}

/* --- pixels --- */

/* A convolution and how it is cut. */
struct job {
    const struct dg_winograd_args *args;
    int64_t out_height, out_width, high, wide; /* high x wide patches an image */
    int64_t patches, block, row;               /* in all, in a block; the numbers in a row of V */
};

/* The most patches in a block. */
static int64_t most_patches(int64_t channels)
{
    int64_t fit = CACHE / (PARTS * (int64_t)sizeof(float) * (channels + SKEW + GROUP)) / DG_TILE_ROWS * DG_TILE_ROWS;
    return fit < DG_TILE_ROWS ? DG_TILE_ROWS : fit < MAX_PATCHES ? fit : MAX_PATCHES;
}

/* The numbers of a thread's V and M, and of the zeros around images. */
static int64_t thread_room(int64_t channels)
{
    return most_patches(channels) * PARTS * (channels + SKEW + GROUP) + channels;
}

static int64_t scratch(int64_t channels, int threads)
{
    return dg_round_up(thread_room(channels) * (int64_t)sizeof(float), 64) * threads;
}

/* Where a patch is: the image, and the pixel of dst at its upper left. */
struct place {
    int64_t image, y, x;
};

static struct place place_of(const struct job *j, int64_t patch)
{
    int64_t in_image = patch % (j->high * j->wide);
    return (struct place){patch / (j->high * j->wide), in_image / j->wide * 2, in_image % j->wide * 2};
}

/* The products of B' with a column of four, or of B with a row. */
static DG_INLINE void transform_pixels(const dg_lanes *d, int step, dg_lanes *v, int v_step)
{
    v[0] = d[0] - d[2 * step];
    v[v_step] = d[step] + d[2 * step];
    v[2 * v_step] = d[2 * step] - d[step];
    v[3 * v_step] = d[step] - d[3 * step];
}

/* V of one patch, part by part `part_step` numbers apart. */
static void transform_patch(const struct dg_winograd_args *a, struct place at, const float *zeros, float *v,
                            int64_t part_step)
{
    const float *pixel[PARTS];
    for (int p = 0; p < PARTS; p++) {
        int64_t y = at.y - a->pad + p / 4, x = at.x - a->pad + p % 4;
        bool inside = y >= 0 && x >= 0 && y < a->height && x < a->width;
        pixel[p] = inside ? a->src + ((at.image * a->height + y) * a->width + x) * a->channels : zeros;
    }
    for (int64_t c = 0; c < a->channels; c += DG_LANES) {
        dg_lanes d[PARTS], half[PARTS], all[PARTS];
        for (int p = 0; p < PARTS; p++) d[p] = *(const dg_lanes *)(pixel[p] + c);
        for (int x = 0; x < 4; x++) transform_pixels(d + x, 4, half + x, 4);
        for (int y = 0; y < 4; y++) transform_pixels(half + 4 * y, 1, all + 4 * y, 1);
        for (int p = 0; p < PARTS; p++) *(dg_lanes *)(v + p * part_step + c) = all[p];
    }
}

/* The products of A' with a column of four, or of A with a row. */
static DG_INLINE void transform_products(const dg_lanes *m, int step, dg_lanes *y, int y_step)
{
    y[0] = m[0] + m[step] + m[2 * step];
    y[y_step] = m[step] - m[2 * step] - m[3 * step];
}

/* The 2 x 2 pixels of a patch, GROUP channels from `first` on; those outside of the image are left out. */
static DG_INLINE void put_patch(const struct job *j, struct place at, int64_t first, const float *m, int64_t part_step)
{
    const struct dg_winograd_args *a = j->args;
    for (int c = 0; c < GROUP; c += DG_LANES) {
        dg_lanes all[PARTS], half[8], y[4], bias = {0}, zero = {0};
        if (a->bias) bias = *(const dg_lanes *)(a->bias + first + c);
        for (int p = 0; p < PARTS; p++) all[p] = *(const dg_lanes *)(m + p * part_step + c);
        for (int x = 0; x < 4; x++) transform_products(all + x, 4, half + x, 4);
        for (int row = 0; row < 2; row++) transform_products(half + 4 * row, 1, y + 2 * row, 1);
        for (int p = 0; p < 4; p++) {
            int64_t py = at.y + p / 2, px = at.x + p % 2;
            if (py >= j->out_height || px >= j->out_width) continue;
            dg_lanes *to =
                (dg_lanes *)(a->dst + ((at.image * j->out_height + py) * j->out_width + px) * a->out + first + c);
            dg_lanes sum = y[p] + bias;
            if (a->add) sum += *to;
            *to = a->relu ? dg_larger(zero, sum) : sum;
        }
    }
}

/* The patches from `first` on, `count` of them. */
static void convolve_block(const struct job *j, int64_t first, int64_t count, float *room)
{
    const struct dg_winograd_args *a = j->args;
    int64_t v_part = j->block * j->row, m_part = j->block * GROUP;
    float *v = room, *m = v + PARTS * v_part, *zeros = m + PARTS * m_part;
    for (int64_t i = 0; i < count; i++) transform_patch(a, place_of(j, first + i), zeros, v + i * j->row, v_part);
    for (int64_t o = 0; o < a->out; o += GROUP) {
        for (int p = 0; p < PARTS; p++) {
            const float *u = a->packed + p * a->channels * a->out + o * a->channels;
            for (int64_t i = 0; i < count; i += DG_TILE_ROWS)
                for (int64_t c = 0; c < GROUP; c += DG_TILE_COLS)
                    dg_tile_across((int)dg_min_i64(DG_TILE_ROWS, count - i), 2, a->channels,
                                   v + p * v_part + i * j->row, j->row, u + c, GROUP, false,
                                   m + p * m_part + i * GROUP + c, GROUP);
        }
        for (int64_t i = 0; i < count; i++) put_patch(j, place_of(j, first + i), o, m + i * GROUP, m_part);
    }
}

static struct job job_of(const struct dg_winograd_args *a)
{
    struct job j = {.args = a,
                    .out_height = a->height + 2 * a->pad - 2,
                    .out_width = a->width + 2 * a->pad - 2,
                    .row = a->channels + SKEW};
    j.high = dg_blocks(j.out_height, 2);
    j.wide = dg_blocks(j.out_width, 2);
    j.patches = a->images * j.high * j.wide;
    return j;
}

static void convolve(const struct dg_winograd_args *a)
{
    struct job j = job_of(a);
    int64_t most = most_patches(a->channels), rounds = dg_blocks(j.patches, most * a->threads);
    j.block = dg_round_up(dg_blocks(j.patches, rounds * a->threads), DG_TILE_ROWS);
    int64_t blocks = dg_blocks(j.patches, j.block), room = scratch(a->channels, 1);
#pragma omp parallel num_threads(a->threads)
    {
        float *mine = (float *)((char *)a->scratch + room * omp_get_thread_num());
        memset(mine + PARTS * j.block * (j.row + GROUP), 0, (size_t)a->channels * sizeof *mine);
#pragma omp for schedule(static)
        for (int64_t b = 0; b < blocks; b++)
            convolve_block(&j, b * j.block, dg_min_i64(j.block, j.patches - b * j.block), mine);
    }
}

/* --- gradients of weights --- */

/* Patches that are summed together. All threads transform them, then each makes some of the products. */
enum { SUMMED = 96 };

/* Where V, Z = A diff_dst A', the sum of their products and zeros for pixels outside of images lie in scratch. */
struct grad_room {
    int64_t v_row, z_row;
    float *v, *z; /* [16, SUMMED, channels + SKEW], [16, SUMMED, out + SKEW] */
    float *sum;   /* [16, out / GROUP, channels, GROUP] */
    float *zeros; /* zeros_of() */
};

/* As many as a pixel of src or of diff_dst has numbers, whichever are more. */
static int64_t zeros_of(int64_t channels, int64_t out) { return channels > out ? channels : out; }

static struct grad_room grad_room_of(int64_t channels, int64_t out, float *scratch)
{
    struct grad_room room = {.v_row = channels + SKEW, .z_row = out + SKEW, .v = scratch};
    room.z = room.v + PARTS * SUMMED * room.v_row;
    room.sum = room.z + PARTS * SUMMED * room.z_row;
    room.zeros = room.sum + PARTS * channels * out;
    return room;
}

static int64_t grad_scratch(int64_t channels, int64_t out)
{
    int64_t rows = PARTS * SUMMED * (channels + out + 2 * SKEW);
    return (rows + PARTS * channels * out + zeros_of(channels, out)) * (int64_t)sizeof(float);
}

/* The products of A with a column of two, or of A' with a row. */
static DG_INLINE void transform_diff(const dg_lanes *y, int step, dg_lanes *z, int z_step)
{
    z[0] = y[0];
    z[z_step] = y[0] + y[step];
    z[2 * z_step] = y[0] - y[step];
    z[3 * z_step] = -y[step];
}

/* Z of one patch, part by part `part_step` numbers apart. */
static void transform_diff_patch(const struct job *j, const struct dg_winograd_grad_args *g, struct place at,
                                 const float *zeros, float *z, int64_t part_step)
{
    const float *pixel[4];
    for (int p = 0; p < 4; p++) {
        int64_t y = at.y + p / 2, x = at.x + p % 2;
        bool inside = y < j->out_height && x < j->out_width;
        pixel[p] = inside ? g->diff_dst + ((at.image * j->out_height + y) * j->out_width + x) * g->out : zeros;
    }
    for (int64_t o = 0; o < g->out; o += DG_LANES) {
        dg_lanes d[4], half[8], all[PARTS];
        for (int p = 0; p < 4; p++) d[p] = *(const dg_lanes *)(pixel[p] + o);
        for (int x = 0; x < 2; x++) transform_diff(d + x, 2, half + x, 2);
        for (int y = 0; y < 4; y++) transform_diff(half + 2 * y, 1, all + 4 * y, 1);
        for (int p = 0; p < PARTS; p++) *(dg_lanes *)(z + p * part_step + o) = all[p];
    }
}

/* sum += V' Z of `count` patches, of one part and one group of output channels. */
static void add_products(const struct dg_winograd_grad_args *g, const struct grad_room *room, int64_t part, int64_t o,
                         int64_t count, bool add)
{
    const float *v = room->v + part * SUMMED * room->v_row, *z = room->z + part * SUMMED * room->z_row + o;
    float *sum = room->sum + part * g->channels * g->out + o * g->channels;
    for (int64_t c = 0; c < g->channels; c += DG_TILE_ROWS)
        for (int64_t i = 0; i < GROUP; i += DG_TILE_COLS)
            dg_tile_down((int)dg_min_i64(DG_TILE_ROWS, g->channels - c), 2, count, v + c, room->v_row, z + i,
                         room->z_row, add, sum + c * GROUP + i, GROUP);
}

/* The products of G' with a column of four, or of G with a row. */
static DG_INLINE void transform_sums(const dg_lanes *u, int step, dg_lanes *g, int g_step)
{
    dg_lanes middle = (u[step] + u[2 * step]) * 0.5f;
    g[0] = u[0] + middle;
    g[g_step] = (u[step] - u[2 * step]) * 0.5f;
    g[2 * g_step] = middle + u[3 * step];
}

/* The windows of one input channel and DG_LANES output channels. */
static DG_INLINE void put_windows(const struct dg_winograd_grad_args *g, const float *sum, int64_t o, int64_t c)
{
    dg_lanes all[PARTS], half[12], taps[9];
    for (int p = 0; p < PARTS; p++) all[p] = *(const dg_lanes *)(sum + p * g->channels * g->out);
    for (int x = 0; x < 4; x++) transform_sums(all + x, 4, half + x, 4);
    for (int y = 0; y < 3; y++) transform_sums(half + 4 * y, 1, taps + 3 * y, 1);
    for (int k = 0; k < 9; k++)
        for (int i = 0; i < DG_LANES; i++) {
            int64_t at = ((o + i) * g->channels + c) * 9 + k;
            g->diff_weight[at] = (g->acc ? g->acc[at] : 0) + taps[k][i];
        }
}

static void grad_weights(const struct dg_winograd_grad_args *g)
{
    const struct dg_winograd_args conv = {.images = g->images,
                                          .height = g->height,
                                          .width = g->width,
                                          .channels = g->channels,
                                          .out = g->out,
                                          .pad = g->pad,
                                          .src = g->src};
    const struct job j = job_of(&conv);
    const struct grad_room room = grad_room_of(g->channels, g->out, g->scratch);
    memset(room.zeros, 0, (size_t)zeros_of(g->channels, g->out) * sizeof *room.zeros);
#pragma omp parallel
    {
        for (int64_t first = 0; first < j.patches; first += SUMMED) {
            int64_t count = dg_min_i64(SUMMED, j.patches - first);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < count; i++) {
                struct place at = place_of(&j, first + i);
                transform_patch(&conv, at, room.zeros, room.v + i * room.v_row, SUMMED * room.v_row);
                transform_diff_patch(&j, g, at, room.zeros, room.z + i * room.z_row, SUMMED * room.z_row);
            }
#pragma omp for collapse(2) schedule(static)
            for (int64_t part = 0; part < PARTS; part++)
                for (int64_t o = 0; o < g->out; o += GROUP) add_products(g, &room, part, o, count, first > 0);
        }
#pragma omp for collapse(2) schedule(static)
        for (int64_t o = 0; o < g->out; o += GROUP)
            for (int64_t c = 0; c < g->channels; c++)
                for (int64_t i = 0; i < GROUP; i += DG_LANES)
                    put_windows(g, room.sum + o * g->channels + c * GROUP + i, o + i, c);
    }
}

DG_KERNELS(winograd) = {
    .pack = pack, .scratch = scratch, .convolve = convolve, .grad_scratch = grad_scratch, .grad_weights = grad_weights};

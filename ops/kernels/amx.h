/* The tiles of AMX: eight registers of 16 rows of 64 bytes, and a product of two of them in bf16 that is added to a third. A kernel
 * that uses them is compiled with DG_AMX: for the level v5 with the instructions (DG_AMX_INSTRUCTIONS), for amx-emulated with plain C
 * that does what they do, so that it can be tested on any CPU.
 *
 * A tile is named by a literal, 0 to 7. What it holds is one of three:
 *   a sum of products, 16 x 16 f32;
 *   a left operand, 16 rows x 32 bf16 along the summed dimension: 16 units of two numbers that follow each other in it;
 *   a right operand, 16 units of the summed dimension x 16 columns: a row of it has the units of 16 columns, in the order of pack.h.
 * `stride` is the distance in bytes from a row of a tile to the next in memory; rows that begin at multiples of 64 are the fastest.
 * dg_amx_begin() in each thread comes before all others, dg_amx_end() after them. */
#ifndef DG_OPS_KERNELS_AMX_H
#define DG_OPS_KERNELS_AMX_H

#include "ops/kernels/loops.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Whether the level that is being compiled has tiles. */
#ifdef DG_AMX
enum { DG_HAS_AMX = true };
#else
enum { DG_HAS_AMX = false };
#endif

enum { DG_AMX_ROWS = 16, DG_AMX_UNITS = 16 }; /* of a tile; a unit has 32 bits */

#ifdef DG_AMX_INSTRUCTIONS
#include <immintrin.h>

/* The intrinsics of gcc 12 do not tell the compiler which memory they read. */
#define DG_AMX_BARRIER() __asm__ volatile("" ::: "memory")

/* Palette 1 with all tiles at their largest: the operand of ldtilecfg. Tiles 8 to 15 do not exist. */
struct dg_amx_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
static const struct dg_amx_config dg_amx_config = {
    .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

static DG_INLINE void dg_amx_begin(void)
{
    DG_AMX_BARRIER();
    _tile_loadconfig(&dg_amx_config);
}

static DG_INLINE void dg_amx_end(void) { _tile_release(); }

#define dg_amx_zero(tile) _tile_zero(tile)
#define dg_amx_load(tile, from, stride)                                                                                \
    do {                                                                                                               \
        DG_AMX_BARRIER();                                                                                              \
        _tile_loadd(tile, from, stride);                                                                               \
    } while (0)
#define dg_amx_store(tile, to, stride)                                                                                 \
    do {                                                                                                               \
        _tile_stored(tile, to, stride);                                                                                \
        DG_AMX_BARRIER();                                                                                              \
    } while (0)
/* sum += left right */
#define dg_amx_product(sum, left, right) _tile_dpbf16ps(sum, left, right)

#else

/* The tiles of this thread; only between begin and end may they be used, as in a CPU. */
static _Thread_local struct {
    bool configured;
    uint32_t tile[8][DG_AMX_ROWS][DG_AMX_UNITS];
} dg_amx_emulated __attribute__((unused));

static __attribute__((unused)) uint32_t (*dg_amx_tile(int tile))[DG_AMX_UNITS]
{
    if (!dg_amx_emulated.configured) __builtin_trap();
    return dg_amx_emulated.tile[tile];
}

static __attribute__((unused)) void dg_amx_begin(void)
{
    memset(&dg_amx_emulated, 0, sizeof dg_amx_emulated);
    dg_amx_emulated.configured = true;
}

static __attribute__((unused)) void dg_amx_end(void) { dg_amx_emulated.configured = false; }

static __attribute__((unused)) void dg_amx_zero(int tile)
{
    memset(dg_amx_tile(tile), 0, sizeof dg_amx_emulated.tile[tile]);
}

static __attribute__((unused)) void dg_amx_load(int tile, const void *from, int64_t stride)
{
    for (int row = 0; row < DG_AMX_ROWS; row++) memcpy(dg_amx_tile(tile)[row], (const char *)from + row * stride, 64);
}

static __attribute__((unused)) void dg_amx_store(int tile, void *to, int64_t stride)
{
    for (int row = 0; row < DG_AMX_ROWS; row++) memcpy((char *)to + row * stride, dg_amx_tile(tile)[row], 64);
}

/* The f32 of these bits; zero in place of a denormal number. */
static DG_INLINE float dg_amx_number(uint32_t bits)
{
    uint32_t normal = bits & 0x7f800000 ? bits : bits & 0x80000000;
    float number;
    memcpy(&number, &normal, sizeof number);
    return number;
}

static DG_INLINE float dg_amx_flush(float number)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return dg_amx_number(bits);
}

/* sum += left right, in the order of TDPBF16PS in Intel's manual: the first numbers of units and the second are summed by
 * themselves, both from zero. Operands and each result that are denormal become zero. The manual's fused multiply-adds differ
 * from a product and a sum only where the product is denormal: two numbers of bf16 have an exact product in f32. */
static __attribute__((noinline, unused)) void dg_amx_product(int sum, int left, int right)
{
    uint32_t(*c)[DG_AMX_UNITS] = dg_amx_tile(sum), (*a)[DG_AMX_UNITS] = dg_amx_tile(left),
    (*b)[DG_AMX_UNITS] = dg_amx_tile(right);
    for (int m = 0; m < DG_AMX_ROWS; m++) {
        float first[DG_AMX_UNITS] = {0}, second[DG_AMX_UNITS] = {0};
        for (int k = 0; k < DG_AMX_UNITS; k++) {
            float x = dg_amx_number(a[m][k] << 16), y = dg_amx_number(a[m][k] & 0xffff0000);
#pragma omp simd
            for (int n = 0; n < DG_AMX_UNITS; n++) {
                first[n] = dg_amx_flush(first[n] + x * dg_amx_number(b[k][n] << 16));
                second[n] = dg_amx_flush(second[n] + y * dg_amx_number(b[k][n] & 0xffff0000));
            }
        }
        for (int n = 0; n < DG_AMX_UNITS; n++) {
            float total = dg_amx_flush(dg_amx_number(c[m][n]) + dg_amx_flush(first[n] + second[n]));
            memcpy(&c[m][n], &total, sizeof total);
        }
    }
}

#endif

#endif

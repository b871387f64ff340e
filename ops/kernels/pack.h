/* Packs operands: copies them in the order in which the tiles of tile.h read them. */
#ifndef DG_OPS_KERNELS_PACK_H
#define DG_OPS_KERNELS_PACK_H

#include "ops/base/base.h"
#include "ops/kernels/bf16.h"
#include "ops/kernels/lanes.h"
#include "ops/kernels/loops.h"

#include <stdbool.h>
#include <stdint.h>

/* The number of blocks of `size` that hold `count`. */
static inline int64_t dg_blocks(int64_t count, int64_t size) { return (count + size - 1) / size; }

typedef float dg_four __attribute__((vector_size(16), aligned(4), may_alias));

#ifdef __AVX512F__
/* Four units of row 0, 4, 8 and 12 of `from`, side by side. */
static DG_INLINE __m512 dg_four_rows(const float *const *from, int64_t k)
{
    __m512 x = _mm512_castps128_ps512(_mm_loadu_ps(from[0] + k));
    x = _mm512_insertf32x4(x, _mm_loadu_ps(from[4] + k), 1);
    x = _mm512_insertf32x4(x, _mm_loadu_ps(from[8] + k), 2);
    return _mm512_insertf32x4(x, _mm_loadu_ps(from[12] + k), 3);
}
#endif

/* Transposes columns k to k + 4 of 16 rows with AVX-512, else of 4, which `from` points to. */
static DG_INLINE void dg_transpose_four(const float *const *from, int64_t k, int64_t panel, float *y)
{
#ifdef __AVX512F__
    __m512 a = dg_four_rows(from, k), b = dg_four_rows(from + 1, k), c = dg_four_rows(from + 2, k),
           d = dg_four_rows(from + 3, k);
    __m512d ab = (__m512d)_mm512_unpacklo_ps(a, b), cd = (__m512d)_mm512_unpacklo_ps(c, d),
            ab2 = (__m512d)_mm512_unpackhi_ps(a, b), cd2 = (__m512d)_mm512_unpackhi_ps(c, d);
    _mm512_storeu_pd(y, _mm512_unpacklo_pd(ab, cd));
    _mm512_storeu_pd(y + panel, _mm512_unpackhi_pd(ab, cd));
    _mm512_storeu_pd(y + 2 * panel, _mm512_unpacklo_pd(ab2, cd2));
    _mm512_storeu_pd(y + 3 * panel, _mm512_unpackhi_pd(ab2, cd2));
#else
    dg_four a = *(const dg_four *)(from[0] + k), b = *(const dg_four *)(from[1] + k),
            c = *(const dg_four *)(from[2] + k), d = *(const dg_four *)(from[3] + k);
    dg_four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    dg_four ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(dg_four *)y = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(dg_four *)(y + panel) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    *(dg_four *)(y + 2 * panel) = __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5);
    *(dg_four *)(y + 3 * panel) = __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7);
#endif
}

/* dst[k * panel + i] = src[i * ld + k] for i < count, k < width. The last i is repeated to a multiple of DG_LANES. */
static inline void dg_transpose(int64_t count, int64_t width, const float *src, int64_t ld, int64_t panel, float *dst)
{
    enum { ROWS = DG_LANES == 16 ? 16 : 4 };
    for (int64_t i = 0; i < dg_round_up(count, DG_LANES); i += ROWS) {
        const float *from[ROWS];
        for (int j = 0; j < ROWS; j++) from[j] = src + dg_min_i64(i + j, count - 1) * ld;
        float *y = dst + i;
        int64_t k = 0;
        for (; k + 4 <= width; k += 4, y += 4 * panel) dg_transpose_four(from, k, panel, y);
        for (int64_t rest = width % 4; rest > 0; rest--, k++, y += panel)
            for (int j = 0; j < ROWS; j++) y[j] = from[j][k];
    }
}

/* Transposes src [rows, width] by panels of `panel` rows: dst is [rows / panel, width, panel]. For bf16 the caller gives width
 * and ld in units. */
static inline void dg_panels(int64_t rows, int64_t width, const float *src, int64_t ld, int64_t panel, float *dst)
{
    for (int64_t i = 0; i < rows; i += panel)
        dg_transpose(dg_min_i64(panel, rows - i), width, src + i * ld, ld, panel, dst + i * width);
}

/* dst[c] = (first[c], second[c]). */
static DG_INLINE void dg_pair_bf16(int64_t count, const dg_bf16 *first, const dg_bf16 *second, uint32_t *dst)
{
    int64_t c = 0;
#ifdef __AVX512F__ /* gcc would widen halves of vectors */
    for (; c + DG_LANES <= count; c += DG_LANES) {
        __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(first + c))),
                high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(second + c)));
        _mm512_storeu_si512(dst + c, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
#endif
#pragma omp simd
    for (int64_t i = c; i < count; i++) dst[i] = first[i] | (uint32_t)second[i] << 16;
}

/* Packs two rows of `width` numbers to `panel` units in bf16, zeros behind the width. A second row that is NULL counts as
 * zeros. */
static DG_INLINE void dg_pair(bool bf16, int64_t width, const void *first, const void *second, int64_t panel,
                              uint32_t *dst)
{
    if (second && width == panel && bf16) {
        dg_pair_bf16(panel, first, second, dst);
        return;
    }
    if (second && width == panel) {
#pragma omp simd
        for (int64_t c = 0; c < panel; c++)
            dst[c] = dg_bf16_pair(((const float *)first)[c], ((const float *)second)[c]);
        return;
    }
    for (int64_t c = 0; c < panel; c++)
        dst[c] = c < width ? dg_bf16_pair(dg_get(first, bf16, c), second ? dg_get(second, bf16, c) : 0) : 0;
}

#endif

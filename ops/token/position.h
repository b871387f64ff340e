/* The position table on another grid, for those who change a table itself rather than add it. */
#ifndef DG_OPS_TOKEN_POSITION_H
#define DG_OPS_TOKEN_POSITION_H

#include "ops/base/base.h"

/* The side g of a table of `rows` = 1 + g * g rows; 0 when there is none. */
int64_t dg_position_grid(int64_t rows);

/* `table` of a grid of from[0] x from[1], [1 + from[0] * from[1], dim], resized to `out` of to[0] x to[1] as add_position resizes
 * it for an image of that grid, and interpolate_pos_encoding of the official code: bicubic with a = -0.75, borders repeated, no
 * antialiasing, scale (to + 0.1) / from. The class token's row is copied. */
void dg_position_resize(const float *table, const int64_t from[2], float *out, const int64_t to[2], int64_t dim);

#endif

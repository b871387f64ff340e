#include "runtime/base/finite.h"

#include <math.h>

int64_t dg_first_not_finite(const float *number, int64_t count)
{
    enum { BLOCK = 256 };
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t end = dg_min_i64(first + BLOCK, count);
        float sum = 0; /* of zeros, or NaN */
        for (int64_t i = first; i < end; i++) sum += number[i] * 0;
        for (int64_t i = first; isnan(sum) && i < end; i++)
            if (!isfinite(number[i])) return i;
    }
    return -1;
}

#include "runtime/image/interpolate.h"

#include <math.h>

int dg_interpolated_size(int size, double scale) { return (int)(size * scale); }

/* Where an output lies between two inputs of an axis. */
struct between {
    int first, second;
    float weight; /* of the second */
};

static struct between find(int at, int size, float step)
{
    float place = fmaxf(step * ((float)at + 0.5F) - 0.5F, 0);
    struct between b = {.first = (int)dg_min_i64((int64_t)floorf(place), size - 1)};
    b.second = b.first + (b.first < size - 1);
    b.weight = fminf(fmaxf(place - (float)b.first, 0), 1);
    return b;
}

void dg_interpolate(const float *in, int height, int width, double scale, float *out)
{
    int rows = dg_interpolated_size(height, scale), cols = dg_interpolated_size(width, scale);
    float step = (float)(1 / scale);
    for (int y = 0; y < rows; y++) {
        struct between v = find(y, height, step);
        const float *upper = in + 3 * (int64_t)v.first * width, *lower = in + 3 * (int64_t)v.second * width;
        for (int x = 0; x < cols; x++) {
            struct between h = find(x, width, step);
            for (int c = 0; c < 3; c++) {
                float above = (1 - h.weight) * upper[3 * h.first + c] + h.weight * upper[3 * h.second + c];
                float below = (1 - h.weight) * lower[3 * h.first + c] + h.weight * lower[3 * h.second + c];
                *out++ = (1 - v.weight) * above + v.weight * below;
            }
        }
    }
}

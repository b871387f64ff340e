#include "runtime/eval/most_frequent.h"

#include <math.h>
#include <stdlib.h>

double dg_most_frequent(const int *label, int64_t count, int classes)
{
    int64_t most = 0, *images = calloc((size_t)dg_max_i64(classes, 1), sizeof *images);
    for (int64_t i = 0; images && i < count; i++) most = dg_max_i64(most, ++images[label[i]]);
    free(images);
    return most ? 100 * (double)most / (double)count : NAN;
}

#include "tools/cli/bytes.h"

#include <stdlib.h>
#include <string.h>

bool dg_read_bytes(const char *text, void *parsed)
{
    int64_t *bytes = parsed;
    char *stop;
    double value = strtod(text, &stop);
    const char *units = "KMGT", *unit = *stop ? strchr(units, *stop) : NULL;
    for (long u = 0; unit && u <= unit - units; u++) value *= 1024;
    if (unit) stop++;
    if (unit && *stop == 'i') stop++;
    if (*stop == 'B') stop++;
    *bytes = value >= 1 && value < 1e18 ? (int64_t)value : 0;
    return !*stop && *bytes > 0;
}

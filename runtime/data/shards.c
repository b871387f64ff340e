/* Whether archives are shards of one set, of several, or none, by their names. */
#include "runtime/data/listing.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of the stem before the number at its end. */
static size_t number_at(const char *stem)
{
    size_t size = strlen(stem);
    while (size && stem[size - 1] >= '0' && stem[size - 1] <= '9') size--;
    return size;
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

bool dg_are_shards(char *const *stem, int count)
{
    int64_t *number = malloc((size_t)count * sizeof *number);
    size_t size = number_at(stem[0]);
    bool same = number;
    for (int i = 0; i < count && same; i++) {
        same = number_at(stem[i]) == size && !strncmp(stem[0], stem[i], size) && stem[i][size] &&
               strlen(stem[i] + size) < 16;
        number[i] = same ? strtoll(stem[i] + size, NULL, 10) : 0;
    }
    if (same) {
        qsort(number, (size_t)count, sizeof *number, compare_numbers);
        same = number[count - 1] - number[0] < 2 * (int64_t)count;
    }
    free(number);
    return same;
}

enum dg_status dg_check_shards(const struct dg_source *s, char *const *stem, int count, struct dg_error *err)
{
    static const char *const split[] = {"train", "val", "test"};
    for (int i = 1; i < count; i++) {
        size_t size = number_at(stem[i]);
        bool says = false;
        if (number_at(stem[0]) == size && !strncmp(stem[0], stem[i], size)) continue;
        for (size_t w = 0; w < sizeof split / sizeof *split; w++)
            says |= strcasestr(stem[0], split[w]) || strcasestr(stem[i], split[w]);
        if (!says || !stem[i][size] || !stem[0][number_at(stem[0])]) continue;
        if (s->labels != DG_LABELS_UNUSED)
            return dg_fail(err, DG_ERR_INPUT,
                           "%s has the shards of several sets (%s, %s): name those of one in a list, @FILE", s->path,
                           stem[0], stem[i]);
        dg_log(s->log, DG_LOG_WARNING, DG_LOG_LOAD,
               "%s has the shards of several sets (%s, %s): the images of all are taken", s->path, stem[0], stem[i]);
        return DG_OK;
    }
    return DG_OK;
}

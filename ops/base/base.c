#include "ops/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum dg_status dg_fail(struct dg_error *err, enum dg_status status, const char *format, ...)
{
    if (err && err->status == DG_OK) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

void dg_error_prefix(struct dg_error *err, const char *format, ...)
{
    if (!err || err->status == DG_OK) return;
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (used < 0) used = 0;
    size_t at = (size_t)used < sizeof err->text ? (size_t)used : sizeof err->text - 1;
    snprintf(err->text + at, sizeof err->text - at, ": %s", old);
}

bool dg_mul_i64(int64_t a, int64_t b, int64_t *result)
{
    return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, result);
}

bool dg_add_i64(int64_t a, int64_t b, int64_t *result) { return !__builtin_add_overflow(a, b, result); }

uint64_t dg_fnv1a(uint64_t basis, const void *bytes, size_t size)
{
    const unsigned char *byte = bytes;
    uint64_t hash = basis;
    for (size_t i = 0; i < size; i++) hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Optimal string alignment distance (insert, delete, replace, swap neighbours); names longer than the table never match. */
int dg_edit_distance(const char *a, const char *b)
{
    enum { LIMIT = 64 };
    size_t m = strlen(a), n = strlen(b);
    if (m > LIMIT || n > LIMIT) return LIMIT;
    static _Thread_local int row[3][LIMIT + 1];
    for (size_t j = 0; j <= n; j++) row[0][j] = (int)j;
    for (size_t i = 1; i <= m; i++) {
        int *now = row[i % 3], *above = row[(i - 1) % 3], *above2 = row[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && above2[j - 2] + 1 < best)
                best = above2[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[m % 3][n];
}

const char *dg_nearest_name(const char *word, const char *(*candidate)(const void *context, int index),
                            const void *context, int count)
{
    const char *best = NULL;
    int best_distance = (int)strlen(word) / 3 + 1; /* one mistake in three letters is a typo, more is another word */
    for (int i = 0; i < count; i++) {
        const char *name = candidate(context, i);
        if (!name) continue;
        int distance = dg_edit_distance(word, name);
        if (distance <= best_distance && (!best || distance < best_distance)) {
            best = name;
            best_distance = distance;
        }
    }
    return best;
}

const char *dg_format_bytes(char *text, size_t size, double bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int u = 0;
    while (bytes >= 1024 && u < 5) {
        bytes /= 1024;
        u++;
    }
    snprintf(text, size, "%.*f %s", u > 2 ? 2 : u > 0, bytes, unit[u]); /* 5 % of a GiB must show */
    return text;
}

double dg_seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

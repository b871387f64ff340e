#include "runtime/formats/checksum.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { MAX_KEY = 1024 };

uint32_t dg_checksum(const void *data, uint64_t bytes) { return (uint32_t)crc32_z(0, data, bytes); }

/* Of one pair; those of all pairs are added up, so that their order does not count. */
static uint32_t of_pair(const char *key, const char *value)
{
    if (!strcmp(key, DG_CHECKSUM)) return 0;
    return (uint32_t)crc32_z(crc32_z(0, (const void *)key, strlen(key) + 1), (const void *)value, strlen(value));
}

uint32_t dg_checksum_meta(const struct dg_safetensors_meta *meta, int count)
{
    uint32_t sum = 0;
    for (int i = 0; i < count; i++) sum += of_pair(meta[i].key, meta[i].value);
    return sum;
}

static void add_pair(void *context, const char *key, const char *value)
{
    uint32_t *sum = context;
    *sum += of_pair(key, value);
}

enum dg_status dg_checksum_check_meta(const struct dg_safetensors *file, const char *path, struct dg_error *err)
{
    const char *want = dg_safetensors_metadata(file, DG_CHECKSUM);
    uint32_t sum = 0;
    char text[16];
    dg_safetensors_each_metadata(file, add_pair, &sum);
    snprintf(text, sizeof text, "%08" PRIx32, sum);
    if (!want || !strcmp(want, text)) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%s: its metadata is damaged (its checksum is %s, not %.16s)", path, text, want);
}

enum dg_status dg_checksum_check_tensor(const struct dg_safetensors *file, const struct dg_safetensors_tensor *tensor,
                                        const char *path, struct dg_error *err)
{
    char key[MAX_KEY], text[16];
    if (snprintf(key, sizeof key, DG_CHECKSUM ".%s", tensor->name) >= MAX_KEY) return DG_OK;
    const char *want = dg_safetensors_metadata(file, key);
    if (!want) return DG_OK;
    snprintf(text, sizeof text, "%08" PRIx32, dg_checksum(tensor->data, tensor->bytes));
    if (!strcmp(want, text)) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%s: %.200s is damaged (its checksum is %s, not %.16s)", path, tensor->name, text,
                   want);
}

enum dg_status dg_checksum_check(const struct dg_safetensors *file, const char *path, struct dg_error *err)
{
    DG_TRY(dg_checksum_check_meta(file, path, err));
    int count = dg_safetensors_count(file), first = count;
#pragma omp parallel for schedule(dynamic) reduction(min : first)
    for (int i = 0; i < count; i++)
        if (dg_checksum_check_tensor(file, dg_safetensors_at(file, i), path, NULL) != DG_OK && i < first) first = i;
    return first < count ? dg_checksum_check_tensor(file, dg_safetensors_at(file, first), path, err) : DG_OK;
}

#include "runtime/exec/replica.h"

#include <string.h>

enum { BLOCK = 64 << 10, LANES = 4 };

static const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);

/* Each step is one to one in the number so far, so that one word that differs is never lost; the rotation brings the
 * upper bits, which a product alone would not move, to where others follow. */
static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash ^= word;
    return (hash << 29 | hash >> 35) * odd;
}

/* Of one block, or a shorter one at the end: lanes that do not wait for each other. */
static uint64_t hash_block(const char *data, int64_t bytes, uint64_t number)
{
    uint64_t lane[LANES] = {number, number + 1, number + 2, number + 3}, word[LANES], hash = number;
    int64_t at = 0;
    for (; at + (int64_t)sizeof word <= bytes; at += (int64_t)sizeof word) {
        memcpy(word, data + at, sizeof word);
        for (int l = 0; l < LANES; l++) lane[l] = mix(lane[l], word[l]);
    }
    for (; at < bytes; at++) hash = mix(hash, (unsigned char)data[at]);
    for (int l = 0; l < LANES; l++) hash = mix(hash, lane[l]);
    return mix(hash, (uint64_t)bytes);
}

/* A sum over blocks, each of which knows its place. */
static uint64_t hash_bytes(const char *data, int64_t bytes, int threads)
{
    uint64_t sum = 0;
    int64_t blocks = (bytes + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(+ : sum) if (blocks > 2 * threads)
    for (int64_t b = 0; b < blocks; b++)
        sum += hash_block(data + b * BLOCK, dg_min_i64(BLOCK, bytes - b * BLOCK), odd * (uint64_t)(b + 1));
    return sum;
}

uint64_t dg_replica_hash(const struct dg_session *session, int64_t part, int64_t parts)
{
    uint64_t hash = 0;
    for (int r = DG_REGION_PARAM; r <= DG_REGION_STATE; r++) {
        int64_t bytes;
        const char *data = dg_session_region(session, (enum dg_region)r, &bytes);
        int64_t first = bytes / parts * part + dg_min_i64(part, bytes % parts);
        hash = mix(hash, hash_bytes(data + first, bytes / parts + (part < bytes % parts), dg_session_threads(session)));
    }
    return hash;
}

void dg_replica_hash_tensors(const struct dg_session *session, uint64_t *hash)
{
    const struct dg_plan_entry *entry = dg_session_entry(session);
    for (uint32_t t = 0; t < entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &dg_session_plan(session)->tensor[entry->first_tensor + t];
        bool stored = tensor->region == DG_REGION_PARAM || tensor->region == DG_REGION_STATE;
        hash[t] = stored && tensor->root == entry->first_tensor + t
                      ? hash_bytes(dg_session_data(session, entry->first_tensor + t), (int64_t)tensor->bytes,
                                   dg_session_threads(session))
                      : 0;
    }
}

#include "ops/base/rng.h"

#include <math.h>

void dg_philox(uint64_t seed, enum dg_rng_purpose purpose, uint64_t stream, uint32_t sub, uint32_t block,
               uint32_t out[4])
{
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32) ^ ((uint32_t)purpose << 24);
    uint32_t c0 = block, c1 = sub, c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ key0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ key1;
        c0 = n0;
        c1 = (uint32_t)p1;
        c2 = n2;
        c3 = (uint32_t)p0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

uint32_t dg_rng_at(uint64_t seed, enum dg_rng_purpose purpose, uint64_t stream, uint32_t sub, uint64_t index)
{
    uint32_t word[4];
    dg_philox(seed, purpose, stream, sub, (uint32_t)(index / 4), word);
    return word[index % 4];
}

struct dg_rng dg_rng_make(uint64_t seed, enum dg_rng_purpose purpose, uint64_t stream, uint32_t sub)
{
    return (struct dg_rng){.seed = seed, .stream = stream, .purpose = purpose, .sub = sub, .used = 4};
}

uint32_t dg_rng_u32(struct dg_rng *rng)
{
    if (rng->used == 4) {
        dg_philox(rng->seed, rng->purpose, rng->stream, rng->sub, rng->block++, rng->word);
        rng->used = 0;
    }
    return rng->word[rng->used++];
}

float dg_unit_float(uint32_t word) { return (float)(word & 0xffffffu) * 0x1p-24f; }

float dg_rng_float(struct dg_rng *rng) { return dg_unit_float(dg_rng_u32(rng)); }

float dg_rng_uniform(struct dg_rng *rng, float lo, float hi) { return fmaf(dg_rng_float(rng), hi - lo, lo); }

int64_t dg_rng_int(struct dg_rng *rng, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(dg_rng_u32(rng) % (uint64_t)(hi - lo));
}

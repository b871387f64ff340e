/* The one source of randomness: Philox4x32-10 (Salmon et al., SC 2011), a pure function of key and counter.
 *
 * Every draw is named by seed, purpose, stream and position, never by who draws it or when, so results do not depend on
 * threads, loader workers, slices or recomputation, and a resumed run sees what the uninterrupted one saw. The tests'
 * Python side (tests/reference/philox.py) is the same function.
 *
 *   key     = { low 32 bits of seed, high 32 bits of seed XOR purpose << 24 }        (seeds are below 2^56)
 *   counter = { block, sub, low 32 bits of stream, high 32 bits of stream }
 *   draw i  = word i % 4 of block i / 4
 */
#ifndef DG_OPS_BASE_RNG_H
#define DG_OPS_BASE_RNG_H

#include <stdint.h>

enum dg_rng_purpose {
    DG_RNG_INIT = 1,  /* initial values: stream = FNV-1a of the parameter's name, sub 0, draw = element */
    DG_RNG_ORDER = 2, /* epoch permutation: stream = epoch */
    DG_RNG_CROPS = 3, /* augmentation: stream = epoch << 40 | image index, sub = view */
    /* stream = FNV-1a of the node's path XOR step * odd constant, sub = view, draw = row of the batch */
    DG_RNG_DROP_PATH = 4,
    DG_RNG_TEST = 5,    /* fixtures and tests: stream = FNV-1a of the tensor's name */
    DG_RNG_SCENES = 6,  /* the demo's drawn pictures: stream = picture */
    DG_RNG_DROPOUT = 7, /* stream and sub as of drop path, draw = row of the batch * numbers of a row + place in it */
};

/* One block of four words. */
void dg_philox(uint64_t seed, enum dg_rng_purpose purpose, uint64_t stream, uint32_t sub, uint32_t block,
               uint32_t out[4]);

/* Draw number `index` of a stream, for element-wise use. */
uint32_t dg_rng_at(uint64_t seed, enum dg_rng_purpose purpose, uint64_t stream, uint32_t sub, uint64_t index);

/* A sequential reader over one stream. */
struct dg_rng {
    uint64_t seed, stream;
    enum dg_rng_purpose purpose;
    uint32_t sub, block;
    uint32_t word[4];
    int used; /* words of `word` already handed out; 4 = none left */
};
struct dg_rng dg_rng_make(uint64_t seed, enum dg_rng_purpose purpose, uint64_t stream, uint32_t sub);
uint32_t dg_rng_u32(struct dg_rng *rng);

/* [0, 1), 24 bits, as torch.rand makes floats from a 32-bit word: (word & 0xffffff) * 2^-24. */
float dg_unit_float(uint32_t word);
float dg_rng_float(struct dg_rng *rng);
/* lo + x * (hi - lo) by one fused multiply-add in f32, as torch's uniform_ on a CPU. */
float dg_rng_uniform(struct dg_rng *rng, float lo, float hi);
/* Integer in [lo, hi), hi > lo, as torch.randint: lo + word % (hi - lo). */
int64_t dg_rng_int(struct dg_rng *rng, int64_t lo, int64_t hi);

#endif

#include "ops/kernels/prototypes.h"
#include "tests/unit/ops/kernels/levels/levels.h"

#include <math.h>

void levels_prototypes_scratch(struct trial *t)
{
    int64_t rows = trial_size(t, 20), features = trial_size(t, 300), prototypes = trial_size(t, 256);
    struct dg_prototype_scratch some = AT(prototypes)->scratch(rows, features, prototypes),
                                more = AT(prototypes)->scratch(rows + 1, features + 1, prototypes + 1);
    assert_true(some.features > 0 && some.thread > 0);
    assert_true(more.features >= some.features && more.thread >= some.thread);
}

/* Vectors of 16, 4 or 1 numbers that are 1 or -1, whose length is exact, and g of few digits: no level rounds a weight otherwise. */
static float *exact_vectors(struct trial *t, int64_t count, int64_t width)
{
    float *v = trial_in(t, false, count * width, -1, 1);
    int64_t ones = width >= 16 ? 16 : width >= 4 ? 4 : 1;
    for (int64_t i = 0; i < count * width; i++) v[i] = (i % width + i / width) % width < ones ? copysignf(1, v[i]) : 0;
    return v;
}

/* All of the family: the form that features are packed in is a level's own. A row of weights has length |g| <= 1, so a logit's
 * products sum to at most sqrt(in). */
static void prototypes_all(struct trial *t)
{
    int64_t rows = trial_size(t, 40), width = trial_size(t, 300), count = trial_size(t, 256);
    struct dg_prototype_scratch need = AT(prototypes)->scratch(rows, width, count);
    const float *src = trial_in(t, false, rows * width, -1, 1), *v = exact_vectors(t, count, width),
                *diff = trial_in(t, false, rows * count, -1, 1);
    float *g = trial_in(t, false, count, -1, 1);
    for (int64_t p = 0; p < count; p++) g[p] = roundf(64 * g[p]) / 64;
    struct dg_prototype_tile tile = {
        .rows = rows, .in = width, .prototypes = count, .scratch = trial_scratch(t, need.thread)};
    void *features = trial_scratch(t, need.features);
    tile.features = features;
    AT(prototypes)->pack_features(rows, width, src, features);
    float *length = trial_out(t, false, count, (struct trial_bound){.f32 = 4, .magnitude = 4});
    float *logits = trial_out(t, false, rows * count,
                              (struct trial_bound){.f32 = trial_sum_of(width), .magnitude = sqrt((double)width)});
    AT(prototypes)->logits(&tile, g, v, 0, length, logits);
    struct trial_bound by_src = {.f32 = trial_sum_of(count + 1), .magnitude = (double)(count + 1)};
    struct trial_bound by_w = {.f32 = trial_sum_of(rows), .magnitude = (double)rows};
    float *diff_src = trial_flag(t) ? trial_in_out(t, rows * width, -1, 1, by_src) : NULL;
    AT(prototypes)->grads(&tile, diff, diff_src, trial_out(t, false, count * width, by_w));
}

void levels_prototypes_pack_features(struct trial *t) { prototypes_all(t); }
void levels_prototypes_logits(struct trial *t) { prototypes_all(t); }
void levels_prototypes_grads(struct trial *t) { prototypes_all(t); }

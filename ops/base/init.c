#include "ops/base/init.h"

#include "ops/base/rng.h"

#include <math.h>
#include <string.h>

/* Inverse error function: Winitzki's approximation, then two Newton steps in f64. */
static double inverse_erf(double y)
{
    if (y <= -1) return -INFINITY;
    if (y >= 1) return INFINITY;
    double l = log(1 - y * y), a = 0.147, b = 2 / (M_PI * a) + l / 2;
    double x = copysign(sqrt(sqrt(b * b - l / a) - b), y);
    for (int i = 0; i < 2; i++) x -= (erf(x) - y) / (M_2_SQRTPI * exp(-x * x));
    return x;
}

/* PyTorch's trunc_normal_ with the published bounds of +-2 absolute: u in [-1, 1), erfinv, scale, clamp. A draw of
 * exactly -1 (one in 2^24) becomes -2: rare, and real (utils._no_grad_trunc_normal_ of the official code). */
static float trunc_normal(uint32_t word, double std)
{
    double x = inverse_erf(2.0 * dg_unit_float(word) - 1.0) * std * M_SQRT2;
    return (float)(x < -2 ? -2 : x > 2 ? 2 : x);
}

enum dg_status dg_init_fill(const struct dg_init *init, const char *name, uint64_t seed, const struct dg_desc *desc,
                            void *data)
{
    int64_t count = dg_desc_count(desc);
    uint64_t stream = dg_fnv1a(DG_FNV_BASIS, name, strlen(name));
    float *to = data;
    if (init->kind == DG_INIT_CONSTANT) {
        if (init->value == 0)
            memset(data, 0, (size_t)dg_desc_bytes(desc));
        else if (desc->dtype == DG_F32)
            for (int64_t i = 0; i < count; i++) to[i] = (float)init->value;
        else
            return DG_ERR_UNSUPPORTED;
        return DG_OK;
    }
    if (desc->dtype != DG_F32 || init->kind < DG_INIT_UNIFORM || init->kind > DG_INIT_TRUNC_NORMAL)
        return DG_ERR_UNSUPPORTED;
    float bound = (float)init->value;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < (count + 3) / 4; block++) {
        uint32_t word[4];
        dg_philox(seed, DG_RNG_INIT, stream, 0, (uint32_t)block, word);
        for (int64_t i = block * 4; i < block * 4 + 4 && i < count; i++) {
            int64_t j = i % 4;
            if (init->kind == DG_INIT_UNIFORM) {
                to[i] = fmaf(dg_unit_float(word[j]), 2 * bound, -bound);
            } else if (init->kind == DG_INIT_TRUNC_NORMAL) {
                to[i] = trunc_normal(word[j], init->value);
            } else { /* Box-Muller on the pair (0, 1) or (2, 3) */
                double u = 1.0 - dg_unit_float(word[j & 2]), angle = 2 * M_PI * dg_unit_float(word[j | 1]);
                double radius = sqrt(-2 * log(u)) * init->value;
                to[i] = (float)(j & 1 ? radius * sin(angle) : radius * cos(angle));
            }
        }
    }
    return DG_OK;
}

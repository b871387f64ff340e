#include "tests/support/values.h"

#include "ops/base/base.h"
#include "ops/base/rng.h"

#include <math.h>
#include <string.h>

static struct dg_rng stream_of(const char *prefix, const char *name)
{
    uint64_t stream = dg_fnv1a(dg_fnv1a(DG_FNV_BASIS, prefix, strlen(prefix)), name, strlen(name));
    return dg_rng_make(0, DG_RNG_TEST, stream, 0);
}

void dg_named_uniform(const char *name, int64_t count, float lo, float hi, float *out)
{
    struct dg_rng rng = stream_of("", name);
    for (int64_t i = 0; i < count; i++) out[i] = dg_rng_uniform(&rng, lo, hi);
}

static bool ends(const char *name, const char *end)
{
    size_t length = strlen(name), n = strlen(end);
    return length >= n && !strcmp(name + length - n, end);
}

static int64_t count_of(int ndim, const int64_t *dim)
{
    int64_t count = 1;
    for (int d = 0; d < ndim; d++) count *= dim[d];
    return count;
}

static void fill(int64_t count, float value, float *out)
{
    for (int64_t i = 0; i < count; i++) out[i] = value;
}

void dg_initial_value(const char *name, int ndim, const int64_t *dim, float *out)
{
    int64_t count = count_of(ndim, dim);
    float bound = 0.035F;
    if (ends(name, "last_layer.weight_v"))
        bound = 0.0625F;
    else if (ends(name, ".weight") && ndim == 4 && !strstr(name, "patch_embed"))
        bound = (float)sqrt(6 / (double)(dim[0] * dim[2] * dim[3]));

    if (ends(name, "last_layer.weight_g"))
        fill(count, 1, out);
    else if (ends(name, "bn3.weight"))
        dg_named_uniform(name, count, 0.1F, 0.3F, out);
    else if (ends(name, ".weight") && ndim == 1)
        dg_named_uniform(name, count, 0.9F, 1.1F, out);
    else if (ends(name, ".bias"))
        dg_named_uniform(name, count, -0.02F, 0.02F, out);
    else if (ends(name, ".running_mean") || ends(name, ".running_var"))
        fill(count, ends(name, "var") ? 1 : 0, out);
    else
        dg_named_uniform(name, count, -bound, bound, out);
}

void dg_random_norm(const char *name, int ndim, const int64_t *dim, float *out)
{
    int64_t count = count_of(ndim, dim);
    if (ends(name, ".running_mean") || ends(name, ".bias"))
        dg_named_uniform(name, count, -0.5F, 0.5F, out);
    else if (ends(name, ".running_var"))
        dg_named_uniform(name, count, 0.5F, 2, out);
    else if (ends(name, ".weight") && ndim == 1)
        dg_named_uniform(name, count, 0.5F, 1.5F, out);
    else
        dg_initial_value(name, ndim, dim, out);
}

void dg_projections(const char *name, const float *values, int64_t count, double scale, double out[DG_PROJECTIONS])
{
    struct dg_rng rng = stream_of("projection:", name);
    double sum[DG_PROJECTIONS] = {0};
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = dg_rng_u32(&rng);
        double both[2] = {-scale * (double)values[i], scale * (double)values[i]};
        for (int j = 0; j < DG_PROJECTIONS; j++) sum[j] += both[bits >> j & 1];
    }
    memcpy(out, sum, sizeof sum);
}

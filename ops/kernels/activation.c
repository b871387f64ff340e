#include "ops/kernels/activation.h"

#include "ops/kernels/put.h"
#include "ops/kernels/vmath.h"

static DG_INLINE float sigmoid(float x) { return 1.0f / (1.0f + dg_expf(-x)); }

/* A NaN stays one: both comparisons are false. */
static DG_INLINE float within(float x, float least, float most)
{
    x = x < least ? least : x;
    return x > most ? most : x;
}

static DG_INLINE float value(enum dg_activation f, float x)
{
    switch (f) {
    case DG_SIGMOID: return sigmoid(x);
    case DG_SILU: return x * sigmoid(x);
    case DG_HARDSIGMOID: return within(x + 3.0f, 0.0f, 6.0f) * (1.0f / 6.0f);
    case DG_HARDSWISH: return x * within(x + 3.0f, 0.0f, 6.0f) * (1.0f / 6.0f);
    case DG_RELU6: return within(x, 0.0f, 6.0f);
    case DG_ACTIVATIONS: break;
    }
    return x;
}

static DG_INLINE float slope(enum dg_activation f, float x)
{
    float s;
    switch (f) {
    case DG_SIGMOID: s = sigmoid(x); return s * (1.0f - s);
    case DG_SILU: s = sigmoid(x); return s * (1.0f + x * (1.0f - s));
    case DG_HARDSIGMOID: return x > -3.0f && x < 3.0f ? 1.0f / 6.0f : 0.0f;
    case DG_HARDSWISH: s = x * (1.0f / 3.0f) + 0.5f; return x <= -3.0f ? 0.0f : x < 3.0f ? s : 1.0f;
    case DG_RELU6: return x > 0.0f && x < 6.0f ? 1.0f : 0.0f;
    case DG_ACTIVATIONS: break;
    }
    return 1.0f;
}

static DG_INLINE void forward(struct dg_range part, bool bf16, enum dg_activation f, const void *src, void *dst)
{
    DG_PUT_EACH(dst, bf16, i, part.first, part.end, value(f, dg_get(src, bf16, i)));
}

static DG_INLINE void backward(struct dg_range part, bool bf16, enum dg_activation f, const void *src,
                               const void *diff_dst, void *diff_src)
{
    DG_PUT_EACH(diff_src, bf16, i, part.first, part.end, dg_get(diff_dst, bf16, i) * slope(f, dg_get(src, bf16, i)));
}

/* Each activation has a loop of its own. */
#define EACH_ACTIVATION(loop, ...)                                                                                     \
    switch (f) {                                                                                                       \
    case DG_SIGMOID: DG_EACH_PART(count, bf16, loop, DG_SIGMOID, __VA_ARGS__) break;                                   \
    case DG_SILU: DG_EACH_PART(count, bf16, loop, DG_SILU, __VA_ARGS__) break;                                         \
    case DG_HARDSIGMOID: DG_EACH_PART(count, bf16, loop, DG_HARDSIGMOID, __VA_ARGS__) break;                           \
    case DG_HARDSWISH: DG_EACH_PART(count, bf16, loop, DG_HARDSWISH, __VA_ARGS__) break;                               \
    case DG_RELU6: DG_EACH_PART(count, bf16, loop, DG_RELU6, __VA_ARGS__) break;                                       \
    case DG_ACTIVATIONS: break;                                                                                        \
    }

static void activation_forward(enum dg_activation f, int64_t count, bool bf16, const void *src, void *dst)
{
    EACH_ACTIVATION(forward, src, dst)
}

static void activation_backward(enum dg_activation f, int64_t count, bool bf16, const void *src, const void *diff_dst,
                                void *diff_src){EACH_ACTIVATION(backward, src, diff_dst, diff_src)}

DG_KERNELS(activation) = {.forward = activation_forward, .backward = activation_backward};

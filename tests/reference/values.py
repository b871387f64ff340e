"""What both sides make from the generator, so that only expected numbers are committed: initial weights, crops, and the
projections by which a large tensor is compared through sixteen numbers.

A test tensor is named; element i (row-major) is draw i of seed 0, purpose TEST, stream FNV-1a(name), sub 0.

initial_value(name, shape)   `name` starts with "student."; the first rule whose ending fits. The teacher is a copy.
    last_layer.weight_g              1
    .weight of one dimension         uniform(0.9, 1.1)       layer norms
    .bias                            uniform(-0.02, 0.02)
    last_layer.weight_v              uniform(-0.0625, 0.0625)
    everything else                  uniform(-0.035, 0.035)  matrices, patches, tokens, positions

0.035 gives the published deviation of 0.02. Larger weights make larger gradients, and with them more rounding noise in
the key third of qkv.bias, whose exact gradient is zero: at 0.06 it already fills two thirds of the tolerance there.

crop_value(name, shape)      uniform(-2, 2): "step{S}.crop{V}" [batch, 3, H, W] and the feature images

summary(name, tensor, moved) `name` is without "student." or "teacher.", so both share their signs:
    norm    L2 norm of the tensor
    moved   L2 norm of (tensor - initial value), where asked for
    proj    for j = 0..15: sum over elements i of sign(i, j) * tensor[i], in f64, where sign is +1 if bit j of draw i of
            the test tensor named "projection:" + name is set, else -1.
The square of a projection of (ours - theirs) has the expectation ||ours - theirs||^2, so the root of the mean of the
sixteen squares estimates the L2 distance; its relative deviation is 18 %."""
import numpy as np

import philox

PROJECTIONS = 16


def draws(name, count):
    return philox.words(0, philox.TEST, philox.fnv1a(name), 0, count)


def named_uniform(name, shape, lo, hi):
    count = int(np.prod(shape))
    return philox.uniform(0, philox.TEST, philox.fnv1a(name), 0, count, lo, hi).reshape(shape)


def initial_value(name, shape):
    if name.endswith("last_layer.weight_g"):
        return np.ones(shape, np.float32)
    if name.endswith(".weight") and len(shape) == 1:
        return named_uniform(name, shape, 0.9, 1.1)
    if name.endswith(".bias"):
        return named_uniform(name, shape, -0.02, 0.02)
    bound = 0.0625 if name.endswith("last_layer.weight_v") else 0.035
    return named_uniform(name, shape, -bound, bound)


def crop_value(name, shape):
    return named_uniform(name, shape, -2, 2)


def projections(name, tensor):
    """All sixteen sums. Sum over (+1 or -1) * x = 2 * sum over set bits - sum, and a bit matrix times x is quick."""
    x = np.asarray(tensor, np.float64).reshape(-1)
    total = np.zeros(PROJECTIONS)
    bits = draws("projection:" + name, x.size).astype(np.uint16)
    step = 1 << 18
    for start in range(0, x.size, step):
        part = bits[start : start + step]
        signs = ((part[:, None] >> np.arange(PROJECTIONS, dtype=np.uint16)) & 1).astype(np.float64) * 2 - 1
        total += x[start : start + step] @ signs
    return total


def summary(name, tensor, initial=None):
    x = np.asarray(tensor, np.float64)
    out = {"norm": float(np.linalg.norm(x))}
    if initial is not None:
        out["moved"] = float(np.linalg.norm(x - np.asarray(initial, np.float64)))
    out["proj"] = [float(p) for p in projections(name, x)]
    return out


def distance(a, b):
    """The estimate of the L2 distance of two tensors from their summaries."""
    return float(np.sqrt(np.mean((np.array(a["proj"]) - np.array(b["proj"])) ** 2)))

"""What both sides make from the generator, so that only expected numbers are committed: initial weights, crops, and the
projections by which a large tensor is compared through sixteen numbers.

A test tensor is named; element i (row-major) is draw i of seed 0, purpose TEST, stream FNV-1a(name), sub 0.

initial_value(name, shape)   `name` starts with "student."; the first rule whose ending fits. The teacher is a copy.
    last_layer.weight_g              1
    bn3.weight                       uniform(0.1, 0.3)       the last batch norm of a bottleneck
    .weight of one dimension         uniform(0.9, 1.1)       layer norms and other batch norms
    .bias                            uniform(-0.02, 0.02)
    last_layer.weight_v              uniform(-0.0625, 0.0625)
    patch_embed.proj.weight          uniform(-0.035, 0.035)
    .weight of four dimensions       uniform(-b, b), b = sqrt(6 / (kh * kw * out)): convolutions of ResNets
    .running_mean, .running_var      0, 1
    everything else                  uniform(-0.035, 0.035)  matrices, tokens, positions

0.035 gives the published deviation of 0.02. Larger weights make larger gradients, and with them more rounding noise in
the key third of qkv.bias, whose exact gradient is zero: at 0.06 it already fills two thirds of the tolerance there. b
is of the published deviation, too. Bottlenecks begin near the identity: at weights of 1, the sixteen of a ResNet-50
amplify rounding to 1e-4 of what features differ by, and through the kinks of ReLU 2e-2 of the gradients are noise.

random_norm(name, shape)     as initial_value, but with batch norms that do something when they do not train:
    .running_mean                    uniform(-0.5, 0.5)
    .running_var                     uniform(0.5, 2)
    .weight of one dimension         uniform(0.5, 1.5)
    .bias                            uniform(-0.5, 0.5)

spread_value(name, shape)    as random_norm, with four times the matrices: features of two pictures differ by as much as a trained ViT's

crop_value(name, shape)      uniform(-2, 2): "step{S}.crop{V}" [batch, 3, H, W] and the feature images

summary(name, tensor, initial) `name` is without "student." or "teacher.", so both share their signs:
    norm    L2 norm of the tensor
    moved   L2 norm of (tensor - initial value), where one is given
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
        return named_uniform(name, shape, *((0.1, 0.3) if name.endswith("bn3.weight") else (0.9, 1.1)))
    if name.endswith(".bias"):
        return named_uniform(name, shape, -0.02, 0.02)
    if name.endswith((".running_mean", ".running_var")):
        return np.full(shape, name.endswith("var"), np.float32)
    bound = 0.0625 if name.endswith("last_layer.weight_v") else 0.035
    if name.endswith(".weight") and len(shape) == 4 and "patch_embed" not in name:
        bound = np.sqrt(6 / (shape[0] * shape[2] * shape[3]))
    return named_uniform(name, shape, -bound, bound)


def random_norm(name, shape):
    if name.endswith((".running_mean", ".bias")):
        return named_uniform(name, shape, -0.5, 0.5)
    if name.endswith(".running_var"):
        return named_uniform(name, shape, 0.5, 2)
    if name.endswith(".weight") and len(shape) == 1:
        return named_uniform(name, shape, 0.5, 1.5)
    return initial_value(name, shape)


def spread_value(name, shape):
    return (4 if len(shape) == 2 and name.endswith(".weight") else 1) * random_norm(name, shape)


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

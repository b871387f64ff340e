"""The counter-based generator of ops/base/rng.c in numpy: same key, same counter, same words.

    words(seed, purpose, stream, sub, count, start)   draws start .. start + count - 1, uint32
    unit_floats(...)                                   the same as float32 in [0, 1)
    uniform(..., lo=, hi=)                             the same as float32 in [lo, hi)
    stream_of(name)                                    a stream named by a string (FNV-1a, 64 bits)
"""

import numpy as np

INIT, ORDER, CROPS, DROP_PATH, TEST, SCENES = 1, 2, 3, 4, 5, 6

FNV_BASIS = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3


def fnv1a(data, basis=FNV_BASIS):
    """64-bit FNV-1a of bytes (or of a str, as UTF-8, or of an array's bytes)."""
    if isinstance(data, str):
        data = data.encode()
    elif isinstance(data, np.ndarray):
        data = data.tobytes()
    value = basis
    for byte in data:
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


def stream_of(name):
    return fnv1a(name)


def blocks(seed, purpose, stream, sub, block):
    """Philox4x32-10 of an array of block numbers: uint32 of shape [len(block), 4]."""
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    block = np.asarray(block, dtype=np.uint64) & low
    stream = int(stream) & 0xFFFFFFFFFFFFFFFF
    c0 = block
    c1 = np.full_like(block, int(sub) & 0xFFFFFFFF)
    c2 = np.full_like(block, stream & 0xFFFFFFFF)
    c3 = np.full_like(block, stream >> 32)
    key0 = int(seed) & 0xFFFFFFFF
    key1 = ((int(seed) >> 32) & 0xFFFFFFFF) ^ ((int(purpose) << 24) & 0xFFFFFFFF)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c0
        p1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> shift) ^ c1 ^ np.uint64(key0), p1 & low, (p0 >> shift) ^ c3 ^ np.uint64(key1), p0 & low
        key0 = (key0 + 0x9E3779B9) & 0xFFFFFFFF
        key1 = (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def words(seed, purpose, stream, sub, count, start=0):
    first = start // 4
    last = (start + count + 3) // 4
    flat = blocks(seed, purpose, stream, sub, np.arange(first, last, dtype=np.uint64)).reshape(-1)
    return flat[start - 4 * first:][:count]


def unit_floats(seed, purpose, stream, sub, count, start=0):
    return to_unit(words(seed, purpose, stream, sub, count, start))


def to_unit(word):
    return ((word & np.uint32(0xFFFFFF)).astype(np.float32)) * np.float32(2.0**-24)


def uniform(seed, purpose, stream, sub, count, lo, hi, start=0):
    """lo + x * (hi - lo), rounded once. The product is exact in f64, and so is the sum unless lo dwarfs it."""
    lo, hi = np.float32(lo), np.float32(hi)
    x = unit_floats(seed, purpose, stream, sub, count, start).astype(np.float64)
    return (x * np.float64(hi - lo) + np.float64(lo)).astype(np.float32)

"""Pictures as torchvision and Pillow make them, and the random decisions of runtime/image/augment.c for a probe's crops.

    evaluation(image, size, resize)            what k-NN and validation see: tensor [3, size, size]
    probe_draw(seed, epoch, index, w, h, ...)  RandomResizedCrop's and the flip's decisions, from the generator's words
    probe_view(image, draw, size)              the picture that comes of them, a PIL image
    tensor(image)                              ToTensor and Normalize
    read(path)                                 a file's picture, RGB
    listing(folder)                            paths and class numbers of a folder a class, in the programs' order
    split(photographs, out, classes)           a plain folder as such folders, out/train and out/val, of links"""
import ctypes
import math
import os

import numpy as np
import torchvision.transforms.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode

import philox

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BEFORE_CROP = 13  # words of the draws that come first: the flip, and those that a probe has no use for
LIBM = ctypes.CDLL("libm.so.6")  # numpy's exp and log of float32 are not the C library's
for name in ("expf", "logf"):
    getattr(LIBM, name).restype = ctypes.c_float
    getattr(LIBM, name).argtypes = (ctypes.c_float,)


def tensor(image):
    return F.normalize(F.to_tensor(image), MEAN, STD)


def evaluation(image, size, resize):
    return tensor(F.center_crop(F.resize(image, resize, InterpolationMode.BICUBIC), size))


def probe_draw(seed, epoch, index, width, height, scale=(0.08, 1), ratio=(3 / 4, 4 / 3), flip=0.5):
    """(left, top, width, height), flip: RandomResizedCrop.get_params with the generator's words in place of torch's."""
    words = philox.words(seed, philox.CROPS, epoch << 40 | index, 0, BEFORE_CROP + 40)
    flipped = bool(philox.to_unit(words[:1])[0] < np.float32(flip))
    rest = iter(words[BEFORE_CROP:])

    def uniform(lo, hi):
        lo, hi = np.float32(lo), np.float32(hi)
        return float(np.float32(np.float64(philox.to_unit(next(rest))) * np.float64(hi - lo) + np.float64(lo)))

    logs = LIBM.logf(ratio[0]), LIBM.logf(ratio[1])
    for _ in range(10):
        area = width * height * uniform(*scale)
        aspect = LIBM.expf(uniform(*logs))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = int(next(rest)) % (height - h + 1)
            return (int(next(rest)) % (width - w + 1), top, w, h), flipped
    w, h = width, height
    if width / height < min(ratio):
        h = round(width / min(ratio))
    elif width / height > max(ratio):
        w = round(height * max(ratio))
    return ((width - w) // 2, (height - h) // 2, w, h), flipped


def probe_view(image, draw, size):
    (left, top, width, height), flipped = draw
    view = F.resized_crop(image, top, left, height, width, [size, size], InterpolationMode.BILINEAR)
    return F.hflip(view) if flipped else view


def read(path):
    return Image.open(path).convert("RGB")


def listing(folder):
    names = sorted(os.listdir(folder))
    found = [(os.path.join(folder, n, f), i) for i, n in enumerate(names) for f in sorted(os.listdir(os.path.join(folder, n)))]
    return [path for path, _ in found], [label for _, label in found]


def split(photographs, out, classes):
    """Neighbours by name share a class; every fifth is for validation."""
    files = sorted(os.listdir(photographs))
    for i, file in enumerate(files):
        folder = os.path.join(out, "train" if i % 5 else "val", f"{i * classes // len(files):03}")
        os.makedirs(folder, exist_ok=True)
        os.symlink(os.path.abspath(os.path.join(photographs, file)), os.path.join(folder, file))

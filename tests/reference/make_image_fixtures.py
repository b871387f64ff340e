#!/usr/bin/env python3
"""Writes tests/fixtures/image: small pictures of every kind and what Pillow and torchvision make of them.

Pictures that only serve as input are noise from the counter-based generator (philox.py), so that the tests make the same
ones; results are kept as FNV-1a hashes. Files of which versions of Pillow make different things are those of
make_decoding_fixtures.py. Pillow 9.4 and torchvision 0.14 (Debian 12) wrote the committed files:

    python3 tests/reference/make_image_fixtures.py
"""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.functional as F
from PIL import Image, ImageFilter, ImageOps

import philox
from pictures import MEAN, STD, probe_draw, probe_view
from png_bytes import ADAM7, chunk, row_bytes

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "fixtures" / "image"
FILTERS = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}


def noise(name, width, height, channels=3):
    """The picture tests/support/images.h calls dg_test_noise(name): one byte a draw."""
    words = philox.words(0, philox.TEST, philox.stream_of(name), 0, width * height * channels)
    return (words & np.uint32(255)).astype(np.uint8).reshape(height, width, channels)


def soft(name, width, height):
    """Noise that JPEG can hold in few bytes."""
    small = Image.fromarray(noise(name, width // 6 + 2, height // 6 + 2))
    return small.resize((width, height), Image.BICUBIC)


def digest(array):
    return f"{philox.fnv1a(np.ascontiguousarray(np.asarray(array))):016x}"


# ---- files to decode ----


def pack_rows(samples, depth):
    """[height, width * channels] samples to PNG rows with filter byte 0."""
    rows = b""
    for row in samples:
        rows += b"\0" + row_bytes(row, depth)
    return rows


def png(samples, depth, colour_type, interlaced=False, extra=b""):
    """samples: [height, width, channels]."""
    height, width, channels = samples.shape
    if interlaced:
        raw = b""
        for x, y, dx, dy in ADAM7:
            part = samples[y::dy, x::dx]
            if part.size:
                raw += pack_rows(part.reshape(part.shape[0], -1), depth)
    else:
        raw = pack_rows(samples.reshape(height, -1), depth)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(raw, 9))
        + chunk(b"IEND", b"")
    )


def samples(name, width, height, channels, depth):
    words = philox.words(0, philox.TEST, philox.stream_of(name), 0, width * height * channels)
    return (words & np.uint32((1 << depth) - 1)).reshape(height, width, channels)


def png_files():
    files = {}
    kinds = {"gray": (0, 1, (1, 2, 4, 8, 16)), "rgb": (2, 3, (8, 16)), "palette": (3, 1, (1, 2, 4, 8))}
    kinds |= {"gray_alpha": (4, 2, (8, 16)), "rgb_alpha": (6, 4, (8, 16))}
    for kind, (colour_type, channels, depths) in kinds.items():
        for depth in depths:
            for interlaced in (False, True):
                name = f"{kind}{depth}" + ("_interlaced" if interlaced else "")
                data = samples(name, 13, 11, channels, depth)
                extra = b""
                if kind == "palette":
                    palette = noise(name + " palette", 1 << depth, 1).tobytes()
                    extra = chunk(b"PLTE", palette)
                    extra += chunk(b"tRNS", bytes([0, 128]))
                files[name + ".png"] = png(data, depth, colour_type, interlaced, extra)
    low = samples("low", 17, 1, 1, 16) % 300  # 16-bit gray around 255, where clipping begins
    files["gray16_low.png"] = png(low, 16, 0)
    files["gray8_transparent.png"] = png(samples("t", 5, 5, 1, 8), 8, 0, extra=chunk(b"tRNS", b"\0\x07"))
    files["one_pixel.png"] = png(np.array([[[1, 2, 3]]]), 8, 2)
    gamma = chunk(b"gAMA", struct.pack(">I", 100000))
    files["gamma.png"] = png(samples("g", 4, 4, 3, 8), 8, 2, extra=gamma)
    return files


def jpeg(image, **options):
    data = io.BytesIO()
    image.save(data, "JPEG", **options)
    return data.getvalue()


def adobe(transform):
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])


def without_adobe(data):
    at = data.index(b"\xff\xee\x00\x0eAdobe")
    return data[:at] + data[at + 16 :]


def jpeg_files():
    colour = soft("jpeg", 45, 38)
    cmyk = Image.fromarray(np.dstack([np.array(soft("cmyk", 21, 19)), np.array(soft("k", 21, 19))[..., 0]]), "CMYK")
    plain = jpeg(colour, quality=80, subsampling=0)
    inverted = jpeg(cmyk, quality=85)
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "444.jpg": plain,
        "422.jpg": jpeg(colour, quality=80, subsampling=1),
        "420.jpg": jpeg(colour, quality=60, subsampling=2),
        "progressive.jpg": jpeg(colour, quality=70, progressive=True),
        "gray.jpg": jpeg(colour.convert("L"), quality=80),
        "cmyk.jpg": inverted,
        "cmyk_without_adobe.jpg": without_adobe(inverted),
        "ycck.jpg": inverted[:2] + adobe(2) + without_adobe(inverted)[2:],
        "rgb.jpg": plain[:2] + adobe(0) + plain[2:],
        "rotated.jpg": jpeg(colour, quality=50, exif=exif),
        "one_pixel.jpg": jpeg(soft("dot", 1, 1), quality=90),
        "wide.jpg": jpeg(soft("wide", 99, 1), quality=75),
        "is_a_jpeg.png": jpeg(soft("disguise", 9, 8), quality=75),
    }


def write_decode():
    lines = []
    for name, data in sorted((png_files() | jpeg_files()).items()):
        (OUT / name).write_bytes(data)
        rgb = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
        lines.append(f"{name} {rgb.shape[1]} {rgb.shape[0]} {digest(rgb)}")
    write("decode.txt", "file width height hash", lines)


# ---- operations ----


def write(name, columns, lines):
    (OUT / name).write_text("\n".join([f"# {columns}", *lines]) + "\n")


def write_resize():
    lines = []
    image = Image.fromarray(noise("resize", 61, 47))
    boxes = [(0, 0, 61, 47), (3, 5, 40, 31), (60, 46, 1, 1), (10, 0, 7, 47), (0, 20, 61, 3)]
    sizes = [(61, 47), (24, 24), (13, 40), (96, 80), (61, 9), (5, 47), (1, 1), (40, 31), (150, 2)]
    for left, top, w, h in boxes:
        for width, height in sizes:
            for kind, pillow in FILTERS.items():
                out = image.crop((left, top, left + w, top + h)).resize((width, height), pillow)
                lines.append(f"{kind} {left} {top} {w} {h} {width} {height} {digest(out)}")
    write("resize.txt", "of noise 'resize' 61x47: filter left top width height -> width height hash", lines)


def write_center_crop():
    lines = []
    cases = [(50, 40, 32, 28), (40, 50, 32, 28), (33, 33, 32, 28), (71, 20, 37, 32), (20, 71, 37, 32), (5, 90, 16, 16)]
    cases += [(90, 7, 19, 14), (300, 200, 64, 56), (64, 64, 64, 56)]
    for w, h, resize, crop in cases:
        image = Image.fromarray(noise("center crop", w, h))
        for kind in FILTERS:
            mode = F.InterpolationMode.BICUBIC if kind == "bicubic" else F.InterpolationMode.BILINEAR
            out = F.center_crop(F.resize(image, resize, mode), crop)
            lines.append(f"{kind} {w} {h} {resize} {crop} {digest(out)}")
    write("center_crop.txt", "of noise 'center crop': filter width height resize crop hash", lines)


def lattice():
    """Every sixth value of each channel and the ends: what tests/support/images.h calls dg_test_lattice."""
    values = np.array(sorted(set(range(0, 256, 6)) | {1, 127, 128, 129, 254, 255}), dtype=np.uint8)
    r, g, b = np.meshgrid(values, values, values, indexing="ij")
    return np.stack([r, g, b], axis=-1).reshape(len(values), -1, 3)


def f32(value):
    return float(np.float32(value))


def write_colour():
    lines = []
    images = {"lattice": lattice(), "noise": noise("colour", 31, 23)}
    for name, array in images.items():
        image = Image.fromarray(array)

        def add(op, value, out):
            lines.append(f"{name} {op} {f32(value):.9g} {digest(out)}")

        for factor in (0, 0.6, 0.77, 0.8, 1, 1.2, 1.37, 1.4, 2.5):
            add("brightness", factor, F.adjust_brightness(image, f32(factor)))
            add("contrast", factor, F.adjust_contrast(image, f32(factor)))
            add("saturation", factor, F.adjust_saturation(image, f32(factor)))
        for shift in (0, 0.003, 0.05, 0.0999, 0.1, 0.5, -0.003, -0.05, -0.1, -0.5):
            add("hue", shift, F.adjust_hue(image, f32(shift)))
        for threshold in (0, 1, 128, 256):
            add("solarize", threshold, ImageOps.solarize(image, threshold))
        add("gray", 0, F.to_grayscale(image, 3))
        add("flip", 0, F.hflip(image))
    write("colour.txt", "picture operation value hash", lines)


def write_blur():
    lines = []
    for width, height in ((37, 29), (1, 1), (2, 9), (70, 3)):
        image = Image.fromarray(noise("blur", width, height))
        for sigma in [*np.linspace(0.1, 2.0, 13), 2.7, 4, 9.5]:
            out = image.filter(ImageFilter.GaussianBlur(f32(sigma)))
            lines.append(f"{width} {height} {f32(sigma):.9g} {digest(out)}")
    write("blur.txt", "of noise 'blur': width height sigma hash", lines)


def make_view(image, size, kind, box, flip, jitter, gray, sigma, solarize):
    left, top, w, h = box
    mode = F.InterpolationMode.BICUBIC if kind == "bicubic" else F.InterpolationMode.BILINEAR
    view = F.resized_crop(image, top, left, h, w, [size[1], size[0]], mode)
    if flip:
        view = F.hflip(view)
    adjust = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue]
    for op, factor in jitter:
        view = adjust[op](view, f32(factor))
    if gray:
        view = F.to_grayscale(view, 3)
    if sigma:
        view = view.filter(ImageFilter.GaussianBlur(f32(sigma)))
    if solarize:
        view = ImageOps.solarize(view)
    tensor = F.normalize(F.to_tensor(view), MEAN, STD)
    return view, tensor.permute(1, 2, 0).contiguous().numpy()


def write_views():
    lines = []
    image = Image.fromarray(noise("view", 83, 67))
    rng = np.random.default_rng(7)
    for case in range(24):
        size = (int(rng.integers(8, 49)), int(rng.integers(8, 49)))
        kind = ("bicubic", "bilinear")[case % 4 == 3]
        w, h = int(rng.integers(5, 84)), int(rng.integers(5, 68))
        box = (int(rng.integers(0, 84 - w)), int(rng.integers(0, 68 - h)), w, h)
        order = [int(op) for op in rng.permutation(4)][: int(rng.integers(0, 5))]
        ranges = [(0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1)]
        jitter = [(op, f32(rng.uniform(*ranges[op]))) for op in order]
        flip, gray, solarize = (int(rng.random() < p) for p in (0.5, 0.2, 0.2))
        sigma = f32(rng.uniform(0.1, 2)) if rng.random() < 0.5 else 0.0
        view, floats = make_view(image, size, kind, box, flip, jitter, gray, sigma, solarize)
        steps = " ".join(f"{op} {factor:.9g}" for op, factor in jitter)
        box_text = " ".join(map(str, box))
        lines.append(
            f"{kind} {size[0]} {size[1]} {box_text} {flip} {gray} {sigma:.9g} {solarize} "
            f"{digest(view)} {digest(floats)} {len(jitter)} {steps}".rstrip()
        )
    columns = "filter width height | crop: left top width height | flip gray sigma solarize | hashes: bytes floats |"
    write("views.txt", f"of noise 'view' 83x67: {columns} jitters, each operation factor", lines)


def write_probe_views():
    """What a linear probe trains on: boxes and flips of seed 5, epoch and picture number, and the views that come of them."""
    lines = []
    sizes = [(500, 375), (333, 500), (224, 224), (64, 64), (1000, 31), (31, 200), (9, 5)]
    cases = [(*size, epoch, index) for size in sizes for epoch, index in ((0, 0), (3, 7), (99, 1281166))]
    for width, height, epoch, index in cases:
        box, flip = draw = probe_draw(5, epoch, index, width, height)
        view = probe_view(Image.fromarray(noise("probe", width, height)), draw, 224)
        floats = F.normalize(F.to_tensor(view), MEAN, STD).permute(1, 2, 0).contiguous().numpy()
        where = " ".join(map(str, (width, height, epoch, index, *box)))
        lines.append(f"{where} {int(flip)} {digest(view)} {digest(floats)}")
    columns = "width height of noise 'probe', epoch, picture | crop: left top width height | flip | hashes: bytes floats"
    write("probe_views.txt", columns, lines)


def write_normalised():
    """Every value of every channel, as torchvision rounds it."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    tensor = F.normalize(F.to_tensor(Image.fromarray(ramp)), MEAN, STD)
    write("normalised.txt", "of the gray ramp 0..255: hash of floats", [digest(tensor.permute(1, 2, 0).contiguous().numpy())])


def main():
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    write_decode()
    write_resize()
    write_center_crop()
    write_colour()
    write_blur()
    write_views()
    write_probe_views()
    write_normalised()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Compares the decoder with Pillow on generated files, sound and damaged, of every format.

    check_decoding.py DECODE_IMAGES [--count 1000] [--format FORMAT]... [--seed 0] [--keep DIR] [--verbose]

DECODE_IMAGES is the program of decode_images.c. Of each format COUNT files are made: a third sound ones (every mode, depth
and option that Pillow writes, and those it only reads), the others cut short or with bytes changed. Pillow opens them as
torchvision's ImageFolder does, Image.open(file).convert("RGB"). Printed are how many both take and refuse, and the
differences: taken by one alone, other pixels. The exit status is 1 if there are any but those that known() names, and 77 (skipped)
without Pillow 13 or NumPy. Files that differ go to DIR with --keep.
"""

import argparse
import collections
import io
import os
import random
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib

from checks import needed, skip

with needed():
    import numpy as np
    import PIL
    from PIL import Image, ImageOps, features
if int(PIL.__version__.split(".")[0]) < 13:
    skip(f"Pillow {PIL.__version__} is older than 13")

from png_bytes import ADAM7, chunk, row_bytes

warnings.simplefilter("ignore")


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


# ---- pictures ----


def picture(rng, mode="RGB", size=None):
    """Something between noise and a gradient, so that every filter and predictor has work."""
    w, h = size or (rng.randint(1, 70), rng.randint(1, 50))
    gen = np.random.default_rng(rng.getrandbits(32))
    smooth = np.add.outer(np.arange(h) * gen.integers(0, 9), np.arange(w) * gen.integers(0, 9))[..., None]
    noise = gen.integers(0, gen.choice([2, 16, 256]), (h, w, 4))
    values = ((smooth + noise) & 255).astype(np.uint8)
    if mode == "1":
        return Image.fromarray(values[..., 0]).convert("1")
    if mode == "I;16":
        wide = values[..., 0].astype(np.uint16) * int(gen.choice([1, 2, 257]))
        return Image.fromarray(wide)
    if mode == "I":
        return Image.fromarray(values[..., 0].astype(np.int32) * int(gen.choice([1, 2, -1, 257])))
    if mode == "F":
        return Image.fromarray(values[..., 0].astype(np.float32) * np.float32(gen.choice([1, 1.5, -1, 0.01])))
    if mode == "P":
        image = Image.fromarray(values[..., 0])
        if rng.random() < 0.5:
            return Image.fromarray(values[..., :3]).quantize(rng.choice([2, 4, 16, 200, 256]))
        return image.convert("P", palette=Image.ADAPTIVE)
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "LAB": 3}[mode]
    array = values[..., 0] if channels == 1 else np.ascontiguousarray(values[..., :channels])
    return Image.fromarray(array) if mode in ("L", "LA", "RGB", "RGBA") else Image.frombytes(mode, (w, h), array.tobytes())


def saved(image, form, **options):
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def exif(rng):
    block = Image.Exif()
    block[0x0112] = rng.randint(1, 8)
    return block


# ---- PNG ----


def png_rows(samples, depth, rng):
    """Filtered rows of [height, width * channels] samples: any filter is right for any row, since all can be undone."""
    rows = b""
    for row in samples:
        rows += bytes([rng.randint(0, 4)]) + row_bytes(row, depth)
    return rows


PNG_KINDS = [(0, 1, d) for d in (1, 2, 4, 8, 16)] + [(3, 1, d) for d in (1, 2, 4, 8)]
PNG_KINDS += [(2, 3, 8), (2, 3, 16), (4, 2, 8), (4, 2, 16), (6, 4, 8), (6, 4, 16)]


def png_chunks(rng):
    """A PNG as a list of chunks, of any kind of pixels."""
    colour, channels, depth = rng.choice(PNG_KINDS)
    w, h = rng.randint(1, 40), rng.randint(1, 30)
    gen = np.random.default_rng(rng.getrandbits(32))
    interlaced = rng.random() < 0.4
    samples = gen.integers(0, min(1 << depth, rng.choice([2, 300, 1 << 16])), (h, w, channels))
    raw = b""
    for x, y, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = samples[y::dy, x::dx]
        if part.size:
            raw += png_rows(part.reshape(part.shape[0], -1), depth, rng)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlaced)))]
    if colour == 3 and rng.random() < 0.95:
        entries = rng.choice([1 << depth, rng.randint(1, 256), rng.randint(0, 1 << depth)])
        chunks.append((b"PLTE", gen.integers(0, 256, 3 * entries, dtype=np.uint8).tobytes()))
    for kind, data in (
        (b"tRNS", bytes(rng.choices(range(256), k=rng.choice([1, 2, 6, 20])))),
        (b"gAMA", struct.pack(">I", 45455)),
        (b"tEXt", b"key\0value"),
        (b"zTXt", b"key\0\0" + zlib.compress(b"value" * 9)),
        (b"iTXt", b"key\0\1\0en\0\0" + zlib.compress(b"value")),
        (b"iCCP", b"name\0\0" + zlib.compress(bytes(99))),
        (b"eXIf", exif(rng).tobytes()[6:]),
        (b"prVt", b"private"),
        (b"acTL", struct.pack(">II", rng.randint(0, 2), 0)),
    ):
        if rng.random() < 0.15:
            chunks.append((kind, data))
    if rng.random() < 0.1:
        fw, fh = rng.randint(1, w), rng.randint(1, h)
        chunks.append((b"fcTL", struct.pack(">IIIIIHHBB", 0, fw, fh, w - fw, h - fh, 1, 10, 0, 0)))
    data = zlib.compress(raw, rng.randint(0, 9))
    end = rng.random()
    if end < 0.05:
        data = data[:-4]
    elif end < 0.1:
        data = data[:-1] + bytes([data[-1] ^ 1])
    elif end < 0.15:
        data += b"trailing"
    parts = rng.choice([1, 1, 2, 5])
    cuts = sorted(rng.randint(0, len(data)) for _ in range(parts - 1))
    for a, b in zip([0] + cuts, cuts + [len(data)]):
        chunks.append((b"IDAT", data[a:b]))
    if rng.random() < 0.2:
        chunks.append((b"tEXt", b"after\0data"))
    return chunks + [(b"IEND", b"")]


def png_sound(rng):
    if rng.random() < 0.3:
        image = picture(rng, rng.choice(["1", "L", "LA", "RGB", "RGBA", "P", "I;16"]))
        return saved(image, "PNG", **({"exif": exif(rng)} if rng.random() < 0.3 else {}))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in png_chunks(rng))


def png_damaged(rng):
    """Besides what damage() does: chunks lost, doubled, shortened, with wrong checksums."""
    if rng.random() < 0.4:
        return damaged(png_sound(rng), rng)
    chunks = png_chunks(rng)
    if rng.random() < 0.3:
        at = rng.randrange(len(chunks))
        chunks.insert(rng.randrange(len(chunks)), chunks[at])
    if rng.random() < 0.3:
        del chunks[rng.randrange(len(chunks))]
    made = [chunk(*c) for c in chunks]
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(made))
        what = rng.random()
        if what < 0.35 and len(made[at]) >= 4:
            made[at] = made[at][:-4] + struct.pack(">I", rng.getrandbits(32))
        elif what < 0.7 and chunks:
            kind, data = chunks[min(at, len(chunks) - 1)]
            made[at] = chunk(kind, data[: rng.randint(0, len(data))])
        elif chunks:
            kind, data = chunks[min(at, len(chunks) - 1)]
            made[at] = chunk(kind, damaged(data, rng) if data else data)
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


# ---- JPEG ----


def adobe(transform):
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])


def jpeg_sound(rng):
    mode = rng.choice(["L", "RGB", "RGB", "CMYK"])
    options = {"quality": rng.choice([1, 30, 75, 95, 100]), "progressive": rng.random() < 0.3}
    if mode == "RGB":
        options["subsampling"] = rng.choice([0, 1, 2])
    if rng.random() < 0.2:
        options["restart_marker_blocks"] = rng.randint(1, 4)
    if rng.random() < 0.2:
        options["exif"] = exif(rng)
    if rng.random() < 0.2:
        options["comment"] = b"a comment"
    if rng.random() < 0.1 and mode == "RGB":
        options["keep_rgb"] = True
        options["subsampling"] = 0
    data = saved(picture(rng, mode), "JPEG", **options)
    change = rng.random()
    if change < 0.1:
        data = data[:2] + adobe(rng.randint(0, 2)) + data[2:]
    elif change < 0.2:
        data += b"after the end"
    elif change < 0.25:
        data = data[:2] + b"\xff" * rng.randint(1, 5) + data[2:]
    elif change < 0.3:
        data = data[:2] + b"\xff\xed\x00\x16Photoshop 3.0\x008BIM" + bytes(rng.choices(range(3), k=2)) + data[2:]
    return data


# ---- GIF ----


def gif_sound(rng):
    image = picture(rng, rng.choice(["P", "L", "1", "RGB"]))
    options = {"interlace": rng.random() < 0.5}
    if rng.random() < 0.3:
        options["transparency"] = rng.randint(0, 255)
    if rng.random() < 0.3:
        options["comment"] = b"a comment"
    if rng.random() < 0.3:
        options |= {"save_all": True, "append_images": [picture(rng, "P", image.size)], "duration": 40, "loop": 0}
        options["disposal"] = rng.randint(0, 3)
    data = saved(image, "GIF", **options)
    if rng.random() < 0.2:  # a ramp of grays as a palette, of which Pillow thinks that there is none
        ramp = bytes(v for v in range(2 << (data[10] & 7)) for _ in range(3))
        if rng.random() < 0.5:
            data = data[:13] + ramp + data[13 + len(ramp) :]
        elif data[-1:] == b";":
            at = data.index(b",", 13 + len(ramp))
            data = data[: at + 9] + bytes([data[at + 9] & 64 | 128 | data[10] & 7]) + ramp + data[at + 10 :]
    if rng.random() < 0.2:  # another screen than the picture
        data = data[:6] + struct.pack("<HH", rng.randint(1, 80), rng.randint(1, 60)) + data[10:]
    return data


# ---- BMP ----


def bmp_sound(rng):
    if rng.random() < 0.4:
        return saved(picture(rng, rng.choice(["1", "L", "P", "RGB", "RGBA"])), "BMP")
    gen = np.random.default_rng(rng.getrandbits(32))
    bits = rng.choice([1, 4, 8, 16, 24, 32, 2])
    w, h = rng.randint(1, 40), rng.randint(1, 30)
    header = rng.choice([12, 40, 40, 52, 56, 64, 108, 124])
    compression = 0
    if header != 12:
        if bits in (16, 32) and rng.random() < 0.6:
            compression = 3
        elif bits in (4, 8) and rng.random() < 0.5:
            compression = 2 if bits == 4 else 1
    masks = {
        16: [(0xF800, 0x7E0, 0x1F, 0), (0x7C00, 0x3E0, 0x1F, 0)],
        32: [
            (0xFF0000, 0xFF00, 0xFF, 0x0),
            (0xFF000000, 0xFF0000, 0xFF00, 0x0),
            (0xFF000000, 0xFF00, 0xFF, 0x0),
            (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
            (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
            (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
            (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
            (0x0, 0x0, 0x0, 0x0),
            (0x3FF00000, 0xFFC00, 0x3FF, 0x0),
        ],
    }
    mask = rng.choice(masks.get(bits, [(0, 0, 0, 0)]))
    colours = rng.choice([0, 1 << bits, rng.randint(1, 1 << bits)]) if bits <= 8 else 0
    if header == 12:
        head = struct.pack("<IHHHH", 12, w, h, 1, bits)
        colours = 1 << bits if bits <= 8 else 0
    else:
        tall = struct.pack("<i", -h) if rng.random() < 0.3 else struct.pack("<i", h)
        head = struct.pack("<Ii", header, w) + tall
        head += struct.pack("<HHIIiiII", 1, bits, compression, 0, 2835, 2835, colours, 0)
        extra = b"".join(struct.pack("<I", m) for m in mask) if compression == 3 else bytes(16)
        head += (extra + bytes(84))[: header - 40]
    table = b""
    if compression == 3 and header == 40:
        table = b"".join(struct.pack("<I", m) for m in mask[:3])
    if bits <= 8:
        count = colours or 1 << bits
        size = 3 if header == 12 else 4
        kind = rng.random()
        entries = gen.integers(0, 256, (count, size), dtype=np.uint8)
        if kind < 0.3:
            entries[:] = np.arange(count)[:, None] % 256
            if count == 2:
                entries[1] = 255
        table += entries.tobytes()
    if compression in (1, 2):
        data = b""
        for _ in range(h):
            left = w
            while left > 0:
                n = rng.randint(1, min(left, 9))
                what = rng.random()
                if what < 0.6:
                    data += bytes([n, rng.getrandbits(8)])
                elif what < 0.7:
                    data += b"\0\2" + bytes([n, rng.randint(0, 1)])
                elif n >= 3:
                    body = bytes(rng.getrandbits(8) for _ in range(n if bits == 8 else (n + 1) // 2))
                    data += bytes([0, n]) + body + (b"\0" if len(body) % 2 else b"")
                left -= n
            data += b"\0\0"
        data += b"\0\1"
    else:
        data = gen.integers(0, 256, (w * bits + 31) // 32 * 4 * h, dtype=np.uint8).tobytes()
    offset = 14 + len(head) + len(table) + rng.choice([0, 0, 0, 3])
    gap = offset - 14 - len(head) - len(table)
    if rng.random() < 0.1:
        offset = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + head + table + bytes(gap) + data


# ---- PNM ----


def pnm_sound(rng):
    kind = rng.randint(1, 6)
    w, h = rng.randint(1, 30), rng.randint(1, 20)
    gen = np.random.default_rng(rng.getrandbits(32))
    maxval = rng.choice([255, 255, 65535, 1, 3, 100, 254, 256, 1000, rng.randint(1, 65535)])
    space = lambda: rng.choice([b" ", b"\n", b"\t", b"\r\n", b"\n# a comment\n", b"  "])
    head = b"P%d" % kind + rng.choice([b" ", b"\n"]) + b"%d" % w + space() + b"%d" % h
    if kind in (1, 4):
        values = gen.integers(0, 2, (h, w))
        if kind == 1:
            glue = rng.choice([b"", b" ", b"\n"])
            return head + b"\n" + glue.join(b"%d" % v for v in values.ravel())
        return head + b"\n" + np.packbits(values.astype(np.uint8), axis=1).tobytes()
    head += space() + b"%d" % maxval
    channels = 1 if kind in (2, 5) else 3
    values = gen.integers(0, maxval + 1, (h, w * channels))
    if kind in (2, 3):
        return head + b"\n" + b"".join(b"%d" % v + space() for v in values.ravel())
    if kind in (5, 6) and rng.random() < 0.1:
        values = gen.integers(0, 256 if maxval < 256 else 65536, (h, w * channels))
    return head + b"\n" + values.astype(np.uint8 if maxval < 256 else ">u2").tobytes()


# ---- WebP ----


def webp_sound(rng):
    image = picture(rng, rng.choice(["RGB", "RGBA", "L"]))
    options = {"lossless": rng.random() < 0.4, "quality": rng.choice([0, 30, 80, 100]), "method": rng.randint(0, 4)}
    options["exact"] = rng.random() < 0.5
    if rng.random() < 0.3:
        options["exif"] = exif(rng).tobytes()
    if rng.random() < 0.25:
        options |= {"save_all": True, "append_images": [picture(rng, "RGBA", image.size)], "duration": 40}
        options["allow_mixed"] = rng.random() < 0.5
    return saved(image, "WEBP", **options)


# ---- TIFF ----

TIFF_MODES = ["1", "L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "P", "I;16", "I", "F", "YCbCr", "LAB"]


def tiff_by_pillow(rng):
    mode = rng.choice(TIFF_MODES)
    image = picture(rng, "RGBA" if mode == "RGBX" else mode)
    if mode == "RGBX":
        image = image.convert("RGBX")
    options = {}
    choices = [None, None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "zstd", "lzma"]
    if mode == "1":
        choices += ["group3", "group4", "tiff_ccitt"]
    if mode in ("L", "RGB", "YCbCr", "CMYK"):
        choices += ["jpeg", "jpeg"]
    if mode in ("RGB", "RGBA"):
        choices += ["webp"]
    options["compression"] = rng.choice(choices)
    if options["compression"] is None:
        del options["compression"]
    elif options["compression"] in ("tiff_lzw", "tiff_adobe_deflate") and mode not in ("1", "F"):
        options["tiffinfo"] = {317: rng.choice([1, 2])}
    info = options.setdefault("tiffinfo", {})
    if rng.random() < 0.3:
        info[278] = rng.randint(1, 20)
    if rng.random() < 0.3:
        info[274] = rng.randint(1, 8)
    if rng.random() < 0.1:
        options["big_tiff"] = True
    if rng.random() < 0.15:
        options |= {"save_all": True, "append_images": [picture(rng, "L")]}
    return saved(image, "TIFF", **options)


def tiff_by_hand(rng):
    """Kinds that Pillow reads and does not write: tiles, planes, fill order, 2, 4 and 16 bits, big-endian."""
    big = rng.random() < 0.4
    order = ">" if big else "<"
    gen = np.random.default_rng(rng.getrandbits(32))
    photometric, samples, bits, extra, fmt = rng.choice(
        [(p, 1, b, (), 1) for p in (0, 1, 3) for b in (1, 2, 4, 8)]
        + [(p, 1, 16, (), f) for p in (0, 1) for f in (1, 2)]
        + [(1, 1, 12, (), 1), (1, 1, 32, (), 1), (1, 1, 32, (), 2), (0, 1, 32, (), 3), (1, 1, 32, (), 3)]
        + [(1, 2, 8, (e,), 1) for e in (0, 1, 2)]
        + [(2, 3, b, (), 1) for b in (8, 16)]
        + [(2, 4, b, (e,), 1) for e in (0, 1, 2) for b in (8, 16)]
        + [(2, 4, 8, (), 1), (2, 5, 8, (0, 0), 1), (2, 5, 8, (1, 0), 1), (2, 5, 8, (2, 0), 1), (2, 6, 8, (2, 0, 0), 1)]
        + [(5, 4, b, (), 1) for b in (8, 16)]
        + [(5, 5, 8, (0,), 1), (8, 3, 8, (), 1), (6, 3, 8, (), 1), (3, 2, 8, (0,), 1), (3, 2, 8, (2,), 1)]
    )
    w, h = rng.randint(1, 40), rng.randint(1, 30)
    compression = rng.choice([1, 1, 1, 8, 32773, 5])
    tiled = rng.random() < 0.3
    planar = 2 if samples > 1 and rng.random() < 0.3 else 1
    fill = 2 if rng.random() < 0.1 else 1
    per_pixel = samples if planar == 1 else 1
    tw, th = (rng.choice([16, 32]), rng.choice([16, 32])) if tiled else (w, rng.randint(1, h))
    blocks = []
    for _ in range(samples if planar == 2 else 1):
        for y in range(0, h, th):
            for x in range(0, w, tw):
                rows = th if tiled else min(th, h - y)
                size = (tw * per_pixel * bits + 7) // 8 * rows
                if fmt == 3:
                    raw = (gen.random(size // 4) * 400 - 50).astype(order + "f4").tobytes()
                elif bits == 32:
                    raw = gen.integers(-50, 400, size // 4).astype(order + "i4").tobytes()
                elif bits == 16 and samples == 1 and rng.random() < 0.5:
                    raw = gen.integers(0, 300, size // 2).astype(order + "u2").tobytes()
                else:
                    raw = gen.integers(0, 256, size, dtype=np.uint8).tobytes()
                if compression == 8:
                    raw = zlib.compress(raw)
                elif compression == 32773:
                    raw = b"".join(bytes([len(raw[i : i + 9]) - 1]) + raw[i : i + 9] for i in range(0, len(raw), 9))
                elif compression == 5:
                    raw = lzw(raw)
                blocks.append(raw)
    tags = {256: ("H", [w]), 257: ("H", [h]), 258: ("H", [bits] * samples), 259: ("H", [compression])}
    tags |= {262: ("H", [photometric]), 277: ("H", [samples]), 284: ("H", [planar]), 339: ("H", [fmt] * samples)}
    if rng.random() < 0.3 and fmt == 1:
        del tags[339]
    if fill == 2:
        tags[266] = ("H", [2])
    if extra:
        tags[338] = ("H", list(extra))
    if photometric == 3:
        tags[320] = ("H", gen.integers(0, 65536, 3 << bits).tolist())
    if photometric == 6:
        tags[530] = ("H", [1, 1])
    if rng.random() < 0.3:
        tags[274] = ("H", [rng.randint(1, 8)])
    sizes = [len(b) for b in blocks]
    if tiled:
        tags |= {322: ("H", [tw]), 323: ("H", [th]), 324: ("I", [0] * len(blocks)), 325: ("I", sizes)}
    else:
        tags |= {278: ("H", [th]), 273: ("I", [0] * len(blocks)), 279: ("I", sizes)}
    return tiff_file(order, tags, blocks)


def lzw(data):
    """TIFF's LZW without ever using the table: a clear code before it grows to 10 bits."""
    bits = ""
    for i in range(0, len(data), 200):
        bits += format(256, "09b") + "".join(format(b, "09b") for b in data[i : i + 200])
    bits += format(257, "09b")
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def tiff_file(order, tags, blocks):
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "I", 8)
    place = 8 + 2 + 12 * len(tags) + 4
    values = b""
    for tag, (kind, data) in tags.items():
        if len(data) * struct.calcsize(kind) > 4:
            values += b"\0" * (len(data) * struct.calcsize(kind))
    start = place + len(values)
    offsets = []
    for block in blocks:
        offsets.append(start)
        start += len(block)
    for tag in (273, 324):
        if tag in tags:
            tags[tag] = ("I", offsets)
    entries, values = b"", b""
    for tag, (kind, data) in sorted(tags.items()):
        packed = struct.pack(order + str(len(data)) + kind, *data)
        if len(packed) > 4:
            field = struct.pack(order + "I", place + len(values))
            values += packed
        else:
            field = packed + b"\0" * (4 - len(packed))
        entries += struct.pack(order + "HHI", tag, 3 if kind == "H" else 4, len(data)) + field
    return head + struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0) + values + b"".join(blocks)


def tiff_sound(rng):
    if rng.random() < 0.5:
        return tiff_by_hand(rng)
    for _ in range(9):
        try:
            return tiff_by_pillow(rng)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError):
            continue  # not every mode goes with every compression
    return tiff_by_hand(rng)


# ---- damage ----


def damaged(data, rng):
    data = bytearray(data)
    what = rng.random()
    if what < 0.35:
        return bytes(data[: rng.randint(0, len(data))])
    if what < 0.45:
        return bytes(data[: max(0, len(data) - rng.randint(1, 12))])
    where = len(data) if rng.random() < 0.5 else min(len(data), 120)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        data[rng.randrange(where)] = rng.choice([0, 1, 255, rng.getrandbits(8)])
    if rng.random() < 0.1:
        at = rng.randrange(len(data))
        del data[at : at + rng.randint(1, 8)]
    if rng.random() < 0.1:
        at = rng.randrange(len(data) + 1)
        data[at:at] = bytes(rng.getrandbits(8) for _ in range(rng.randint(1, 8)))
    return bytes(data)


SOUND = {"png": png_sound, "jpeg": jpeg_sound, "gif": gif_sound, "bmp": bmp_sound, "pnm": pnm_sound}
SOUND |= {"webp": webp_sound, "tiff": tiff_sound}
DAMAGED = {"png": png_damaged}


def make(form, index, seed):
    rng = random.Random(f"{form} {index} {seed}")
    if index % 3 == 0:
        return SOUND[form](rng)
    if form in DAMAGED:
        return DAMAGED[form](rng)
    return damaged(SOUND[form](rng), rng)


# ---- comparison ----


def by_pillow(path, turn):
    try:
        with open(path, "rb") as file:
            image = Image.open(file).convert("RGB")
    except Exception as refused:
        return ("no", f"{type(refused).__name__}: {refused}")
    try:
        if turn:
            image = ImageOps.exif_transpose(image)
    except Exception:
        pass  # EXIF that is damaged turns nothing
    return ("ok", image.size, f"{fnv1a(image.tobytes()):016x}")


def by_decoder(program, paths, turn):
    text = "".join(f"{p}\n" for p in paths)
    args = [program] + (["--exif"] if turn else [])
    out = subprocess.run(args, input=text, capture_output=True, text=True, check=True).stdout
    results = []
    for line in out.splitlines():
        word, _, rest = line.partition(" ")
        if word == "ok":
            w, h, value, _ = rest.split()
            results.append(("ok", (int(w), int(h)), value))
        else:
            results.append(("no", rest))
    return results


def known(path, theirs, ours, sound):
    """Why the two may differ here; None where they may not."""
    if "L*a*b*" in str(ours):
        return "colours in L*a*b* need a colour management"
    if "SOF type 0xc3" in str(ours):
        return "this libjpeg has no lossless JPEG"
    if os.path.basename(path).startswith("tiff") and not sound:
        try:
            with Image.open(path) as image:
                if image.tag_v2.get(259, 1) != 1:
                    return "damaged data, of which versions of libtiff make different things"
        except Exception:
            return None
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--format", action="append", choices=list(SOUND))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Pillow's libtiff prints
    print(f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, libtiff "
          f"{features.version('libtiff')}, libwebp {features.version('webp')}")
    print(f"{'format':8}{'files':>7}{'both take':>11}{'both refuse':>13}{'differ':>8}{'known':>7}")
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        for form in args.format or list(SOUND):
            paths = [os.path.join(folder, f"{form}{i}") for i in range(args.count)]
            for i, path in enumerate(paths):
                with open(path, "wb") as file:
                    file.write(make(form, i, args.seed))
            half = args.count // 2
            ours = by_decoder(args.program, paths[:half], False) + by_decoder(args.program, paths[half:], True)
            counts = collections.Counter()
            for i, (path, mine) in enumerate(zip(paths, ours)):
                theirs = by_pillow(path, i >= half)
                same = theirs == mine or (theirs[0] == "no" and mine[0] == "no")
                reason = None if same else known(path, theirs, mine, i % 3 == 0)
                counts["take" if same and mine[0] == "ok" else "refuse" if same else "known" if reason else "differ"] += 1
                if not same and (args.verbose or not reason):
                    print(f"  {os.path.basename(path)}: {reason or ''} Pillow {theirs}, here {mine}")
                if not same and args.keep:
                    os.makedirs(args.keep, exist_ok=True)
                    with open(os.path.join(args.keep, os.path.basename(path)), "wb") as file:
                        file.write(open(path, "rb").read())
            print(f"{form:8}{args.count:7}{counts['take']:11}{counts['refuse']:13}{counts['differ']:8}{counts['known']:7}")
            worst |= bool(counts["differ"])
            for path in paths:
                os.unlink(path)
    return worst


if __name__ == "__main__":
    sys.exit(main())

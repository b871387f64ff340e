#!/usr/bin/env python3
"""Writes tests/fixtures/image/decoding, resize13.txt and thumbnail.txt: image files of every format, sound and damaged, with
what Pillow makes of them, and resized pictures. Pillow 13.0 and NumPy wrote the committed files:

    python3 tests/reference/make_decoding_fixtures.py
"""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import check_decoding as generated
import philox

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "fixtures" / "image"
FILTERS = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}
CLIPPED, LOST, CHECKSUM, PALETTE, TURNED, FRAMES, ALPHA = 1, 2, 4, 8, 16, 32, 64

warnings.simplefilter("ignore")


def noise(name, width, height, channels=3):
    """The picture tests/support/images.h calls dg_test_noise(name): one byte a draw."""
    words = philox.words(0, philox.TEST, philox.stream_of(name), 0, width * height * channels)
    return (words & np.uint32(255)).astype(np.uint8).reshape(height, width, channels)


def soft(name, width, height):
    """Noise that JPEG can hold in few bytes."""
    return Image.fromarray(noise(name, width // 6 + 2, height // 6 + 2)).resize((width, height), Image.BICUBIC)


chunk, saved = generated.chunk, generated.saved


def png(width, height, depth, colour, raw, palette=b"", compressed=None, broken=False):
    data = zlib.compress(raw, 9) if compressed is None else compressed
    idat = chunk(b"IDAT", data)
    if broken:
        idat = idat[:-4] + bytes(b ^ 255 for b in idat[-4:])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + palette + idat + chunk(b"IEND", b"")


def special_files():
    """Name: file, and the bits of enum dg_image_note to expect."""
    files = {}
    rows = b"".join(b"\0" + bytes(row.ravel()) for row in noise("rows", 7, 5))
    good = zlib.compress(rows, 9)
    files["checksum_of_data.png"] = png(7, 5, 8, 2, rows, broken=True), CHECKSUM
    files["no_adler.png"] = png(7, 5, 8, 2, rows, compressed=good[:-4]), CHECKSUM
    files["wrong_adler.png"] = png(7, 5, 8, 2, rows, compressed=good[:-1] + bytes([good[-1] ^ 1])), 0
    files["ends_after_three_rows.png"] = png(7, 5, 8, 2, rows[: 3 * 22]), LOST
    files["more_rows_than_needed.png"] = png(7, 3, 8, 2, rows), CHECKSUM
    whole = png(7, 5, 8, 2, rows)
    files["cut_in_data.png"] = whole[:60], 0
    files["without_iend.png"] = whole[:-12], 0
    files["text_cut_short.png"] = whole[:-12] + chunk(b"tEXt", b"a\0text")[:12], 0
    files["trailing_garbage.png"] = whole + b"garbage", 0
    palette = chunk(b"PLTE", bytes(range(60)))
    indices = b"\0" + bytes(range(10, 30))
    files["palette_too_short.png"] = png(20, 1, 8, 3, indices, palette), PALETTE
    files["palette_short_but_enough.png"] = png(10, 1, 8, 3, b"\0" + bytes(range(10)), palette), 0
    files["no_palette.png"] = png(20, 1, 8, 3, indices), PALETTE
    files["palette_too_long.png"] = png(20, 1, 8, 3, indices, chunk(b"PLTE", bytes(771))), 0
    ramp = b"\0" + struct.pack(">8H", 0, 1, 254, 255, 256, 257, 32768, 65535)
    files["gray16_white.png"] = png(8, 1, 16, 0, ramp), CLIPPED
    files["gray16_dark.png"] = png(8, 1, 16, 0, b"\0" + struct.pack(">8H", *range(0, 256, 32))), 0
    frames = [Image.fromarray(noise(f"frame {i}", 6, 4)) for i in range(2)]
    files["animated.png"] = saved(frames[0], "PNG", save_all=True, append_images=frames[1:]), FRAMES
    files["animated.gif"] = saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), FRAMES
    files["animated.webp"] = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), FRAMES
    files["pages.tif"] = saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]), FRAMES

    rgba = np.dstack([noise("see-through", 6, 4), np.full((4, 6), 255, np.uint8)])
    files["opaque.png"] = saved(Image.fromarray(rgba), "PNG"), 0
    rgba[2, 3, 3] = 254
    files["nearly_opaque.png"] = saved(Image.fromarray(rgba), "PNG"), ALPHA
    files["clear_colour.gif"] = saved(frames[0].quantize(8), "GIF", transparency=0), ALPHA
    files["clear_palette.png"] = saved(frames[0].quantize(8), "PNG", transparency=0), ALPHA
    files["clear_colour_unused.png"] = saved(frames[0].quantize(8), "PNG", transparency=bytes([255] * 8 + [0])), 0
    files["clear_gray.png"] = saved(frames[0].convert("L"), "PNG", transparency=7), ALPHA

    colour = soft("half", 40, 36)
    jpeg = saved(colour, "JPEG", quality=60)
    files["no_end_marker.jpg"] = jpeg[:-2], 0
    files["half_then_end.jpg"] = jpeg[: len(jpeg) * 3 // 4] + b"\xff\xd9", LOST
    files["cut_in_half.jpg"] = jpeg[: len(jpeg) * 3 // 4], 0
    files["trailing_garbage.jpg"] = jpeg + b"garbage", 0
    at = jpeg.index(b"\xff\xc0")
    files["taller_than_its_data.jpg"] = jpeg[: at + 5] + struct.pack(">H", 80) + jpeg[at + 7 :], LOST
    files["twelve_bits.jpg"] = jpeg[: at + 4] + b"\x0c" + jpeg[at + 5 :], 0
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        note = TURNED if turn > 1 else 0
        small = soft("turned", 9, 5)
        files[f"exif{turn}.jpg"] = saved(small, "JPEG", quality=50, exif=exif), note
        files[f"exif{turn}.tif"] = saved(small, "TIFF", tiffinfo={274: turn}), 0
    files["exif6.png"] = saved(small, "PNG", exif=exif), TURNED
    files["exif6.webp"] = saved(small, "WEBP", exif=exif.tobytes(), lossless=True), TURNED

    for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "I", "F"):
        array = noise(mode, 9, 6, 4)
        image = Image.fromarray(array[..., 0])
        if mode in ("RGB", "RGBA", "LA"):
            image = Image.fromarray(np.ascontiguousarray(array[..., : len(mode)]))
        elif mode == "CMYK":
            image = Image.frombytes("CMYK", (9, 6), array.tobytes())
        elif mode == "I;16":
            image = Image.fromarray(array[..., 0].astype(np.uint16) * 3)
        elif mode in ("I", "F"):
            image = Image.fromarray(array[..., 0].astype(np.int32 if mode == "I" else np.float32) * 2)
        elif mode == "P":
            image = Image.fromarray(array[..., :3].copy()).quantize(16)
        elif mode == "1":
            image = image.convert("1")
        note = CLIPPED if mode in ("I;16", "I", "F") else ALPHA if mode in ("RGBA", "LA") else 0
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
            name = f"{mode.replace(';', '')}_{compression}.tif"
            files[name] = saved(image, "TIFF", compression=compression), note
        if mode in ("RGB", "RGBA", "L", "P", "1"):
            files[f"{mode}.bmp"] = saved(image, "BMP"), 0
        if mode in ("RGB", "L", "CMYK"):
            files[f"{mode}_jpeg.tif"] = saved(image, "TIFF", compression="jpeg"), note
    files["ycbcr.tif"] = saved(soft("ycbcr", 16, 16).convert("YCbCr"), "TIFF"), 0
    files["group4.tif"] = saved(Image.fromarray(noise("g4", 16, 9)[..., 0]).convert("1"), "TIFF", compression="group4"), 0
    for kind, mode in (("lossy", "RGB"), ("lossless", "RGB"), ("lossy_alpha", "RGBA"), ("lossless_alpha", "RGBA")):
        image = soft(kind, 24, 17).convert(mode)
        if mode == "RGBA":
            image.putalpha(Image.fromarray(noise("alpha", 24, 17)[..., 0]))
        note = ALPHA if mode == "RGBA" else 0
        files[f"{kind}.webp"] = saved(image, "WEBP", lossless="lossless" in kind, exact=True), note
    cut = files["lossy.webp"][0]
    files["cut_short.webp"] = cut[: len(cut) // 2], 0
    wide = b"".join(struct.pack(">H", v) for v in (0, 255, 256, 65535))
    files["gray16.pgm"] = b"P5\n4 1\n65535\n" + wide, CLIPPED
    files["gray_of_1000.pgm"] = b"P2\n# a comment\n4 1\n1000\n0 3 500 1000\n", CLIPPED
    files["bits.pbm"] = b"P1\n4 2\n1010\n0 1 0 1", 0
    files["packed.pbm"] = b"P4 9 2 \xaa\x80\x55\x00", 0
    files["colour16.ppm"] = b"P6\n2 1\n65535\n" + struct.pack(">6H", 0, 1, 128, 256, 32768, 65535), 0
    files["half_a_row.ppm"] = b"P6\n2 2\n255\n" + bytes(range(9)), 0
    return files


def generated_files():
    """A few of each format from the generator of check_decoding.py, most of them damaged."""
    files = {}
    for form in generated.SOUND:
        made = index = 0
        while made < 15:
            data = generated.make(form, index, 31)
            index += 1
            if form == "tiff" and depends_on_libtiff(data, index % 3 == 1):
                continue
            if 20 < len(data) < 700:
                files[f"generated_{form}_{made}"] = data, None
                made += 1
    return files


def depends_on_libtiff(data, sound):
    """Colours that are not read here, and damaged data of which versions of libtiff make different things."""
    try:
        image = Image.open(io.BytesIO(data))
        return image.mode == "LAB" or not (sound or image.tag_v2.get(259, 1) == 1)
    except Exception:
        return False


def result(data, turn):
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except Exception:
        return "0 0 0"
    try:
        image = ImageOps.exif_transpose(image) if turn else image
    except Exception:
        pass
    return f"{image.width} {image.height} {philox.fnv1a(image.tobytes()):016x}"


def write(name, columns, lines):
    (OUT / name).write_text("\n".join([f"# {columns}", *lines]) + "\n")


def write_decoding():
    folder = OUT / "decoding"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    lines = []
    for name, (data, notes) in sorted((special_files() | generated_files()).items()):
        (folder / name).write_bytes(data)
        lines.append(f"{name} {result(data, False)} {result(data, True)} {-1 if notes is None else notes}")
    write("decoding.txt", "file | width height hash, 0 where it is refused | the same turned by EXIF | notes, -1: any", lines)


def write_resize():
    lines = []
    image = Image.fromarray(noise("resize", 61, 47))
    boxes = [(0, 0, 61, 47), (3, 5, 40, 31), (60, 46, 1, 1), (10, 0, 7, 47), (0, 20, 61, 3)]
    sizes = [(61, 47), (24, 24), (13, 40), (96, 80), (61, 9), (5, 47), (1, 1), (40, 31), (150, 2), (57, 38), (61, 38), (7, 30)]
    for left, top, w, h in boxes:
        for width, height in sizes:
            for kind, pillow in FILTERS.items():
                out = image.crop((left, top, left + w, top + h)).resize((width, height), pillow)
                lines.append(f"{kind} {left} {top} {w} {h} {width} {height} {philox.fnv1a(out.tobytes()):016x}")
    write("resize13.txt", "of noise 'resize' 61x47: filter left top width height -> width height hash, by Pillow 13", lines)


def write_thumbnails():
    lines = []
    for width, height in [(61, 47), (47, 61), (64, 64), (201, 150), (150, 201), (333, 40), (40, 333), (500, 3), (3, 500), (257, 256), (1, 90), (301, 300)]:
        for side in (224, 96, 61, 47, 32, 20, 7, 1):
            image = Image.fromarray(noise("thumbnail", width, height))
            image.thumbnail((side, side), Image.LANCZOS)
            lines.append(f"{width} {height} {side} {image.width} {image.height} {philox.fnv1a(image.tobytes()):016x}")
    write("thumbnail.txt", "of noise 'thumbnail': width height side -> width height hash, by Pillow 13", lines)


if __name__ == "__main__":
    write_decoding()
    write_resize()
    write_thumbnails()

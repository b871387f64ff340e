#!/usr/bin/env python3
"""Writes tests/fixtures/image/opencv.txt, hashes of what OpenCV's resize (INTER_LINEAR, 8 bits) makes of noise, and
tests/fixtures/image/nearest.txt, of what Pillow's NEAREST makes of it. OpenCV 4.12 and Pillow 13 wrote the committed
files (pip install opencv-python-headless==4.12.0.88 pillow numpy):

    python3 tests/reference/make_opencv_fixtures.py
"""
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import philox

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "image"
SIZES = [(854, 480, 832, 480), (480, 854, 480, 832), (100, 75, 64, 64), (31, 17, 64, 128), (64, 64, 64, 64), (7, 5, 3, 2),
         (5, 7, 11, 9), (640, 360, 832, 480), (1280, 720, 832, 480), (3, 3, 64, 1), (1, 1, 5, 4), (200, 300, 480, 704)]
NEAREST = [(854, 480, 52, 30), (832, 480, 854, 480), (896, 480, 910, 480), (480, 832, 480, 854), (10, 10, 3, 7), (3, 7, 10, 10),
           (1, 1, 4, 4), (910, 480, 896, 480), (5, 5, 5, 5)]


def noise(name, width, height, channels):
    """The picture that tests/support/images.h calls dg_test_noise(name), of 3 channels."""
    words = philox.words(0, philox.TEST, philox.stream_of(name), 0, width * height * channels)
    return (words & np.uint32(255)).astype(np.uint8).reshape(height, width, channels)


def write(name, columns, sizes, resize):
    with open(OUT / name, "w", encoding="ascii") as file:
        file.write(f"# {columns} hash\n")
        for w, h, to_w, to_h in sizes:
            result = np.ascontiguousarray(resize(noise("video", w, h, 3), to_w, to_h))
            file.write(f"{w} {h} {to_w} {to_h} {philox.fnv1a(result):016x}\n")


def nearest(image, width, height):
    return np.asarray(Image.fromarray(image[:, :, 0].copy()).resize((width, height), Image.NEAREST))


write("opencv.txt", "width height to_width to_height", SIZES, lambda image, w, h: cv2.resize(image, (w, h)))
write("nearest.txt", "width height to_width to_height", NEAREST, nearest)

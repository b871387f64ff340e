#!/usr/bin/env python3
"""Writes tests/fixtures/ground_truth: the ground truth of a retrieval set of 9 images and 3 queries, in the layout of
gnd_roxford5k.pkl, with lists and with NumPy arrays, by several protocols of pickle. NumPy 2.4 wrote the committed files:

    python3 tests/reference/make_ground_truth.py
"""
import pickle
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "ground_truth"
EASY, HARD, JUNK = [[1, 4], [], [8]], [[2], [0, 7], []], [[0, 3], [5], [200 % 9]]


def truth(make):
    return {"gnd": [{"bbx": [1.5, 2.5, 30.5, 40.5], "easy": make(e), "hard": make(h), "junk": make(j)} for e, h, j in zip(EASY, HARD, JUNK)],
            "imlist": [f"scene_{i:06}" for i in range(9)], "qimlist": ["all_souls_000013", "scene_000004", "scene_000008"]}


OUT.mkdir(exist_ok=True)
kinds = {"lists": (list, (0, 2, 4)), "arrays": (np.array, (0, 2, 3, 5)), "int32": (lambda x: np.array(x, np.int32), (2,)),
         "uint8": (lambda x: np.array(x, np.uint8), (5,)), "scalars": (lambda x: [np.int64(i) for i in x], (0, 4))}
for name, (make, protocols) in kinds.items():
    for protocol in protocols:
        (OUT / f"{name}_{protocol}.pkl").write_bytes(pickle.dumps(truth(make), protocol))

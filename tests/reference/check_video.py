"""Video segmentation: `dinorun video-segment` against the published protocol in plain PyTorch, from the same weights and frames, and J and
F against the formulas of davis2017-evaluation in NumPy. Run by ctest, and skipped (status 77) where PyTorch or Pillow is missing.

    check_video.py BUILD GRAPHS [DAVIS [--patch N] [--keep DIR]]

On drawn videos with a small ViT; or on those of a folder in the layout of DAVIS 2017, with ViT-S of made-up weights. OpenCV resizes the
frames if it is installed; else what our side must make of them is recorded (tests/fixtures/image/opencv.txt), and the protocol is run on
frames whose size needs no resizing. Asked for:

- masks: equal but for one in a thousand pixels, which are counted. They differ where two channels, or the last of the best patches and
  the first that is left out, are nearer than the rounding of f32 products;
- J and F of our masks: equal to 1e-9;
- where davis2017 is installed, its own J and F of our masks, likewise."""
import argparse
import glob
import json
import math
import os
import sys
import tempfile
import time

from checks import needed, run

with needed():
    import numpy as np
    import torch
    from PIL import Image
try:
    import cv2
except ImportError:
    cv2 = None

from dino import VITS, VisionTransformer, set_initial
from values import spread_value

F = torch.nn.functional
LAST, RADIUS, TOP, TEMPERATURE, SIDE = 7, 12, 5, 0.1, 480


# ---- drawn videos ----


def draw(root):
    """Squares and circles on a ground of blots, of the size that they are seen at."""
    rng = np.random.default_rng(0)
    names = ["one", "two", "still"]
    os.makedirs(f"{root}/ImageSets/2017")
    with open(f"{root}/ImageSets/2017/val.txt", "w", encoding="ascii") as file:
        file.write("\n".join(names) + "\n")
    palette = [c for i in range(256) for c in (i * 7 % 256, i * 5 % 256, i * 3 % 256)]
    y, x = np.mgrid[0:480, 0:512]
    for n, name in enumerate(names):
        ground = np.asarray(Image.fromarray(rng.integers(0, 255, (30, 32, 3), dtype=np.uint8)).resize((512, 480), Image.BICUBIC))
        for kind in ("JPEGImages", "Annotations"):
            os.makedirs(f"{root}/{kind}/480p/{name}")
        for f in range(6):
            step = 0 if name == "still" else 11 * f
            label = np.zeros((480, 512), np.uint8)
            label[(y > 100) & (y < 260) & (x > 40 + step) & (x < 170 + step)] = 1
            if n:
                label[(y - 330) ** 2 + (x - 300 + step) ** 2 < 70**2] = 2
            frame = ground.copy()
            frame[label == 1] = frame[label == 1] // 3 + [150, 20, 20]
            frame[label == 2] = frame[label == 2] // 3 + [20, 20, 150]
            Image.fromarray(frame.astype(np.uint8)).save(f"{root}/JPEGImages/480p/{name}/{f:05}.png")
            mask = Image.fromarray(label)
            mask.putpalette(palette)
            mask.save(f"{root}/Annotations/480p/{name}/{f:05}.png")


# ---- the protocol ----


def size_of(height, width):
    if height > width:
        return int(SIDE * height / width // 64 * 64), SIDE
    return SIDE, int(SIDE * width / height // 64 * 64)


def read_frame(path):
    image = np.asarray(Image.open(path).convert("RGB"))
    height, width = size_of(*image.shape[:2])
    if image.shape[:2] != (height, width):
        if cv2 is None:
            sys.exit(f"{path}: its size is not that which it is seen at, and OpenCV is missing")
        image = cv2.resize(image, (width, height))
    x = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.228, 0.224, 0.225)))
    return (x - mean) / std


class Protocol:
    def __init__(self, model, patch):
        self.model, self.patch = model, patch

    def features(self, path):
        frame = read_frame(path)
        self.rows, self.cols = frame.shape[1] // self.patch, frame.shape[2] // self.patch
        return F.normalize(self.model.tokens(frame[None])[0, 1:], dim=1)

    def near(self):
        at = torch.arange(self.rows * self.cols)
        rows, cols = at // self.cols, at % self.cols
        return ((rows[:, None] - rows).abs() <= RADIUS) & ((cols[:, None] - cols).abs() <= RADIUS)

    def propagate(self, target, sources, labels, near):
        affinity = torch.cat([(target @ s.T / TEMPERATURE).exp() * near for s in sources], 1)  # [targets, all sources]
        least = affinity.topk(TOP, 1).values[:, -1:]
        affinity[affinity < least] = 0
        affinity /= affinity.sum(1, keepdim=True)
        return (affinity @ torch.cat(labels, 1).T).T  # [channels, targets]

    def mask(self, labels, width, height):
        x = F.interpolate(labels.view(1, -1, self.rows, self.cols), scale_factor=self.patch, mode="bilinear", align_corners=False)[0]
        for channel in x:
            if channel.max() > 0:
                channel -= channel.min().clone()
                channel /= channel.max().clone()
        return np.asarray(Image.fromarray(x.argmax(0).numpy().astype(np.uint8)).resize((width, height), Image.NEAREST))

    @torch.no_grad()
    def run(self, frames, annotation):
        width, height = annotation.size
        first, near = self.features(frames[0]), None
        small = torch.from_numpy(np.asarray(annotation.resize((self.cols, self.rows), Image.NEAREST)).astype(np.int64))
        queue, masks = [], [np.asarray(annotation)]
        start = F.one_hot(small.flatten()).T.float()
        for path in frames[1:]:
            near = self.near() if near is None else near
            target = self.features(path)
            labels = self.propagate(target, [first] + [q[0] for q in queue], [start] + [q[1] for q in queue], near)
            queue = (queue + [(target, labels)])[-LAST:]
            masks.append(self.mask(labels, width, height))
        return masks


# ---- J and F ----


def boundary(seg):
    right, down, corner = (np.zeros_like(seg) for _ in range(3))
    right[:, :-1], down[:-1], corner[:-1, :-1] = seg[:, 1:], seg[1:], seg[1:, 1:]
    edge = (seg ^ right) | (seg ^ down) | (seg ^ corner)
    edge[-1], edge[:, -1] = seg[-1] ^ right[-1], seg[:, -1] ^ down[:, -1]
    edge[-1, -1] = False
    return edge


def dilate(edge, radius):
    out = np.zeros_like(edge)
    h, w = edge.shape
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dy * dy + dx * dx <= radius * radius:
                out[max(0, dy):h + min(0, dy), max(0, dx):w + min(0, dx)] |= \
                    edge[max(0, -dy):h + min(0, -dy), max(0, -dx):w + min(0, -dx)]
    return out


def j_and_f(truth, mask):
    union = (truth | mask).sum()
    j = (truth & mask).sum() / union if union else 1.0
    a, b = boundary(mask), boundary(truth)
    radius = math.ceil(0.008 * math.hypot(*mask.shape))
    if not a.any() and not b.any():
        return j, 1.0
    if not a.any() or not b.any():
        return j, 0.0
    precision, recall = (a & dilate(b, radius)).sum() / a.sum(), (b & dilate(a, radius)).sum() / b.sum()
    return j, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def statistics(values):
    values = np.asarray(values)
    at = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    quarter = [values[at[i]:at[i + 1] + 1].mean() for i in range(4)]
    return {"mean": 100 * values.mean(), "recall": 100 * (values > 0.5).mean(), "decay": 100 * (quarter[0] - quarter[3])}


def score(truths, masks):
    """One entry an object of a video, as `objects` of --json."""
    truths = [np.where(t == 255, 0, t) for t in truths]
    for o in range(1, int(truths[0].max()) + 1):
        pairs = [j_and_f(t == o, m == o) for t, m in zip(truths[1:-1], masks[1:-1])]
        yield {"j": statistics([p[0] for p in pairs]), "f": statistics([p[1] for p in pairs])}


def compare_scores(want, have):
    worst = max(abs(want[kind][what] - have[kind][what]) for kind in "jf" for what in ("mean", "recall", "decay"))
    assert worst < 1e-9, f"{have} and {want}"
    return worst


def check_toolkit(davis, masks, ours):
    try:
        from davis2017.evaluation import DAVISEvaluation
    except ImportError as missing:
        print(f"  davis2017-evaluation itself is not asked: {missing}")
        return
    result = DAVISEvaluation(davis_root=davis, task="semi-supervised", gt_set="val").evaluate(masks)
    for kind, measure in (("J", "j"), ("F", "f")):
        for key, what in (("M", "mean"), ("R", "recall"), ("D", "decay")):
            difference = np.abs(100 * np.asarray(result[kind][key]) - [o[measure][what] for o in ours]).max()
            assert difference < 1e-9, f"{kind} {what}: {difference}"
    print("  davis2017-evaluation: J and F are equal")


def check(args, davis, what, patch, model, folder):
    at = lambda name: os.path.join(folder, name)
    set_initial(model, "student.backbone.", spread_value)
    torch.save(model.state_dict(), at("weights.pth"))
    run(f"{args.build}/dinoc", f"{args.graphs}/{what[0]}", "-o", at("plan"), *what[1:])
    begin = time.time()
    ours = json.loads(run(f"{args.build}/dinorun", "video-segment", at("plan"), "--weights", at("weights.pth"), "--data", davis, "--out",
                          at("masks"), "--json"))
    seconds = time.time() - begin
    objects = iter(ours["score"]["objects"])
    print(f"dinorun: {ours['frames']} frames in {ours['seconds']:.1f} s ({seconds:.1f} s in all); J&F {ours['score']['jf']:.4f} %")
    protocol, begin, pixels, differ, reference = Protocol(model.eval(), patch), time.time(), 0, 0, []
    with open(f"{davis}/ImageSets/2017/val.txt", encoding="utf-8") as file:
        names = file.read().split()
    for name in names:
        frames = sorted(f for e in ("jpg", "png") for f in glob.glob(f"{davis}/JPEGImages/480p/{name}/*.{e}"))
        truths = [np.asarray(Image.open(f)) for f in sorted(glob.glob(f"{davis}/Annotations/480p/{name}/*.png"))]
        annotation = Image.open(f"{davis}/Annotations/480p/{name}/{os.path.basename(frames[0])[:-4]}.png")
        theirs = protocol.run(frames, annotation)
        have = [np.asarray(Image.open(f)) for f in sorted(glob.glob(at(f"masks/{name}/*.png")))]
        assert Image.open(at(f"masks/{name}/00000.png")).getpalette() == annotation.getpalette() and len(have) == len(theirs)
        unequal = [int((a != b).sum()) for a, b in zip(theirs, have)]
        print(f"  {name}: pixels that differ, frame by frame: {unequal} of {have[0].size}")
        pixels, differ = pixels + have[0].size * len(have), differ + sum(unequal)
        for want in score(truths, have):
            compare_scores(want, next(objects))
        reference += score(truths, theirs)
    print(f"PyTorch: {time.time() - begin:.1f} s with {torch.get_num_threads()} threads")
    jf = sum(r["j"]["mean"] + r["f"]["mean"] for r in reference) / 2 / len(reference)
    print(f"  {differ} of {pixels} pixels differ; J&F of PyTorch's masks {jf:.4f} %")
    assert differ * 1000 <= pixels
    if not glob.glob(f"{davis}/JPEGImages/480p/*/*.png"):
        check_toolkit(davis, at("masks"), ours["score"]["objects"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("graphs")
    parser.add_argument("davis", nargs="?")
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--keep", help="a folder to leave plan, weights and masks in")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.keep:
            os.makedirs(args.keep, exist_ok=True)
        if args.davis:
            check(args, args.davis, ["vit.yaml:vit_small", "--set", f"patch={args.patch}"], args.patch,
                  VisionTransformer(*VITS["vit_small"], args.patch), args.keep or folder)
        else:
            draw(os.path.join(folder, "davis"))
            sets = [w for s in ("dim=64", "heads=4", "depth=3", "patch=16", "image=64") for w in ("--set", s)]
            check(args, os.path.join(folder, "davis"), ["vit.yaml:vit", *sets], 16, VisionTransformer(64, 4, 16, 3, 64), folder)


main()

"""`dinorun linear` against PyTorch's loop: run by ctest, and skipped (status 77) where PyTorch, torchvision or Pillow is missing.

    check_linear.py DINOC DINORUN DRAW_SCENES GRAPHS [PHOTOGRAPHS]

Ten epochs on drawn scenes, or on the photographs of a plain folder, and an untrained backbone. Orders, crops and flips are those of
ops/base/rng.h; files to pixels, crops, features and the probe's training are Pillow's, torchvision's and PyTorch's. Loss within 1e-3 and
top-1 and top-5 within 0.2 points, every epoch."""
import json
import os
import sys
import tempfile

from checks import needed, run

with needed():
    import numpy as np
    import torch
    import pictures  # torchvision and Pillow

import philox
import st
from dino import VisionTransformer

DINOC, DINORUN, DRAW, GRAPHS = sys.argv[1:5]
PHOTOGRAPHS = sys.argv[5] if len(sys.argv) > 5 else None
CLASSES, BATCH, EPOCHS, LR, SIZE, BLOCKS = 8, 16, 10, 0.02, 64, 3
BACKBONE = "dim: 32, heads: 2, depth: 3, patch: 8, image: 64"


def epoch_order(epoch, count):
    words = philox.words(0, philox.ORDER, epoch, 0, count).astype(np.int64)
    order = np.arange(count)
    for i in range(count - 1):
        j = i + int(words[i] % (count - i))
        order[i], order[j] = order[j], order[i]
    return order


class Backbone:
    """[CLS] of the last blocks, each through the final norm, oldest first, as get_intermediate_layers gives them."""

    def __init__(self, checkpoint):
        prefix = "teacher.backbone."
        tensors = {n[len(prefix):]: torch.from_numpy(np.array(x)) for n, x in st.load(checkpoint).items() if n.startswith(prefix)}
        self.model = VisionTransformer(32, 2, 8, BLOCKS, SIZE)
        self.model.load_state_dict(tensors)
        self.seen = []
        for block in self.model.blocks:
            block.register_forward_hook(lambda m, i, out: self.seen.append(out))

    @torch.no_grad()
    def __call__(self, images):
        self.seen.clear()
        self.model(torch.stack(images))
        return torch.cat([self.model.norm(x)[:, 0] for x in self.seen[-BLOCKS:]], 1)


def train(start, backbone, train_set, val_set):
    """Loss, top-1 and top-5 after each epoch, as eval_linear.py trains."""
    train_x, val_x = ([pictures.read(path) for path in paths] for paths, _ in (train_set, val_set))
    train_y, val_y = (torch.tensor(labels) for _, labels in (train_set, val_set))
    val_x = backbone([pictures.evaluation(x, SIZE, SIZE) for x in val_x])
    model = torch.nn.Linear(val_x.shape[1], CLASSES)
    model.weight.data, model.bias.data = (torch.from_numpy(np.array(start["linear." + p])) for p in ("weight", "bias"))
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=0.9, weight_decay=0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS, eta_min=0)
    for epoch in range(EPOCHS):
        order, total = torch.from_numpy(epoch_order(epoch, len(train_x))), 0.0
        for batch in order.split(BATCH):
            draws = [(i, pictures.probe_draw(0, epoch, i, *train_x[i].size)) for i in batch.tolist()]
            x = backbone([pictures.tensor(pictures.probe_view(train_x[i], draw, SIZE)) for i, draw in draws])
            loss = torch.nn.functional.cross_entropy(model(x), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        scheduler.step()
        with torch.no_grad():
            hits = model(val_x).topk(5, 1).indices == val_y[:, None]
        yield total / len(train_x), *(100 * hits[:, :k].any(1).float().mean().item() for k in (1, 5))


def main():
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        if PHOTOGRAPHS:
            pictures.split(PHOTOGRAPHS, at("images"), CLASSES)
        else:
            run(DRAW, "--out", at("images"), "--images", "200", "--classes", str(CLASSES))
        sets = [f"--set=student.with={{{BACKBONE}}}", "--set=head.with={out_dim: 64, hidden: 32, bottleneck: 16}"]
        run(DINOC, os.path.join(GRAPHS, "demo.yaml"), "-o", at("run.plan"), *sets)
        run(DINORUN, "train", at("run.plan"), "--data", at("images/train"), "--out", at("run"), "--steps", "0")
        run(DINOC, os.path.join(GRAPHS, "linear.yaml"), "-o", at("probe.plan"), "--batch", str(BATCH), "--set=backbone=vit",
            f"--set=with={{{BACKBONE}}}", f"--set=blocks={BLOCKS}", f"--set=classes={CLASSES}", f"--set=epochs={EPOCHS}",
            f"--set=crops.size={SIZE}", f"--set=entries.features.resize={SIZE}")
        weights = at("run/checkpoint.safetensors")
        probe = [DINORUN, "linear", at("probe.plan"), "--weights", weights, "--train", at("images/train"), "--val",
                 at("images/val")]
        run(*probe, "--out", at("start"), "--set", "lr.from=0", "--epochs", "1")  # leaves the layer as it begins
        run(*probe, "--out", at("probe"), "--set", f"lr.from={LR}")
        with open(at("probe/log.jsonl"), encoding="utf-8") as file:
            ours = [json.loads(line) for line in file]
        assert len(ours) == EPOCHS
        train_set, val_set = (pictures.listing(at("images/" + s)) for s in ("train", "val"))
        assert len(train_set[0]) % BATCH  # a last batch that is smaller
        worst = [0.0, 0.0, 0.0]
        for have, want in zip(ours, train(st.load(at("start/linear.safetensors")), Backbone(weights), train_set, val_set)):
            for i, key in enumerate(("loss", "top1", "top5")):
                worst[i] = max(worst[i], abs(have[key] - want[i]))
        print(f"{EPOCHS} epochs of {len(train_set[0])} images: loss differs by {worst[0]:.1e} at most, top-1 by {worst[1]:.3g} "
              f"points, top-5 by {worst[2]:.3g}; from {ours[0]['loss']:.4f} to {ours[-1]['loss']:.4f}, {ours[-1]['top1']} %")
        assert worst[0] <= 1e-3 and worst[1] <= 0.2 and worst[2] <= 0.2
        assert ours[-1]["loss"] < ours[0]["loss"]


main()

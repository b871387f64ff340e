"""`dinorun linear` against PyTorch's loop over the same images: run by ctest, and skipped (status 77) where PyTorch is missing.

    check_linear.py DINOC DINORUN DRAW_SCENES GRAPHS

Ten epochs on drawn pictures and an untrained backbone, in the order of images that ops/rng.h gives. Crops are whole images,
so that their features are those of `dinorun features`. Loss within 1e-3 and top-1 and top-5 within 0.2 points, every epoch."""
import json
import os
import subprocess
import sys
import tempfile

SKIP = 77
try:
    import numpy as np
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIP)

import philox
import st

DINOC, DINORUN, DRAW, GRAPHS = sys.argv[1:]
CLASSES, BATCH, EPOCHS, LR = 8, 16, 10, 0.02
BACKBONE = "dim: 32, heads: 2, depth: 3, patch: 8, image: 64"


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}")


def epoch_order(epoch, count):
    words = philox.words(0, philox.ORDER, epoch, 0, count).astype(np.int64)
    order = np.arange(count)
    for i in range(count - 1):
        j = i + int(words[i] % (count - i))
        order[i], order[j] = order[j], order[i]
    return order


def features(plan, weights, images, path):
    run(DINORUN, "features", plan, "--weights", weights, "--data", images, "--out", path)
    with open(path + ".tsv", encoding="utf-8") as file:
        label = [line.rstrip("\n").split("\t")[1] for line in file]
    names = sorted(set(label))
    assert len(names) == CLASSES
    return torch.from_numpy(np.load(path)), torch.tensor([names.index(name) for name in label])


def train(start, train_x, train_y, val_x, val_y):
    """Loss, top-1 and top-5 after each epoch, as eval_linear.py trains."""
    model = torch.nn.Linear(train_x.shape[1], CLASSES)
    model.weight.data, model.bias.data = (torch.from_numpy(np.array(start["linear." + p])) for p in ("weight", "bias"))
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=0.9, weight_decay=0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS, eta_min=0)
    for epoch in range(EPOCHS):
        order, total = torch.from_numpy(epoch_order(epoch, len(train_x))), 0.0
        for batch in order.split(BATCH):
            loss = torch.nn.functional.cross_entropy(model(train_x[batch]), train_y[batch])
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
        run(DRAW, "--out", at("images"), "--images", "200", "--classes", str(CLASSES))
        sets = [f"--set=student.with={{{BACKBONE}}}", "--set=head.with={out_dim: 64, hidden: 32, bottleneck: 16}"]
        run(DINOC, os.path.join(GRAPHS, "demo.yaml"), "-o", at("run.plan"), *sets)
        run(DINORUN, "train", at("run.plan"), "--data", at("images/train"), "--out", at("run"), "--steps", "0")
        whole = ["crops.size=64", "crops.scale=[1, 1]", "crops.ratio=[1, 1]", "crops.flip=0", "entries.features.resize=64"]
        run(DINOC, os.path.join(GRAPHS, "linear.yaml"), "-o", at("probe.plan"), "--batch", str(BATCH), "--set=backbone=vit",
            f"--set=with={{{BACKBONE}}}", "--set=blocks=3", f"--set=classes={CLASSES}", f"--set=epochs={EPOCHS}",
            *(f"--set={s}" for s in whole))
        weights = at("run/checkpoint.safetensors")
        probe = [DINORUN, "linear", at("probe.plan"), "--weights", weights, "--train", at("images/train"), "--val",
                 at("images/val")]
        run(*probe, "--out", at("start"), "--set", "lr.from=0", "--epochs", "1")  # leaves the layer as it begins
        run(*probe, "--out", at("probe"), "--set", f"lr.from={LR}")
        with open(at("probe/log.jsonl"), encoding="utf-8") as file:
            ours = [json.loads(line) for line in file]
        assert len(ours) == EPOCHS
        data = [x for s in ("train", "val") for x in features(at("probe.plan"), weights, at("images/" + s), at(s + ".npy"))]
        assert data[0].shape[1] == 96 and len(data[0]) % BATCH  # a last batch that is smaller
        worst = [0.0, 0.0, 0.0]
        for have, want in zip(ours, train(st.load(at("start/linear.safetensors")), *data)):
            for i, key in enumerate(("loss", "top1", "top5")):
                worst[i] = max(worst[i], abs(have[key] - want[i]))
        print(f"{EPOCHS} epochs: loss differs by {worst[0]:.1e} at most, top-1 by {worst[1]:.3g} points, top-5 by {worst[2]:.3g}; "
              f"from {ours[0]['loss']:.4f} to {ours[-1]['loss']:.4f}, {ours[-1]['top1']} %")
        assert worst[0] <= 1e-3 and worst[1] <= 0.2 and worst[2] <= 0.2
        assert ours[-1]["loss"] < ours[0]["loss"]


main()

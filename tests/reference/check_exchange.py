"""PyTorch and Dinograph read each other's weights: run by ctest, and skipped (status 77) where PyTorch is missing.

    check_exchange.py DINOC DINORUN GRAPHS

- every kind of file of make_torch_files.py, written by the PyTorch at hand, is imported bit for bit;
- a checkpoint of ViT-S/16 (its initial values) is exported, and modules take it with load_state_dict(strict=True);
- a full checkpoint of torchvision's ResNet-50 goes in by import and comes out by export, and the model takes it;
- a full checkpoint after PyTorch's first epoch goes in by import, and `train --resume` ends where PyTorch's second epoch does."""
import copy
import json
import os
import sys
import tempfile

from checks import needed, run

with needed():
    import numpy as np
    import torch
    from torch import nn
try:
    from safetensors.torch import load_file
except ImportError:
    load_file = None

import st
from dino import Dino, Head, Network, VisionTransformer, set_initial
from make_torch_files import make, raw
from values import crop_value

DINOC, DINORUN, GRAPHS = sys.argv[1:]


def load(path):
    if load_file:
        return load_file(path)
    return {name: torch.from_numpy(np.array(x)) for name, x in st.load(path).items()}


def header(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(size))
        data = file.read()
    entries.pop("__metadata__", None)
    return {n: (e["dtype"], e["shape"], data[e["data_offsets"][0]:e["data_offsets"][1]]) for n, e in entries.items()}


def check_same(have, want, what):
    assert set(have) == set(want), f"{what}: {sorted(set(have) ^ set(want))}"
    for name, x in want.items():
        assert have[name].dtype == x.dtype and have[name].shape == x.shape, f"{what}: {name}"
        assert raw(have[name]) == raw(x), f"{what}: {name} differs"


def check_imports(folder):
    count = 0
    for kind, forms in make(folder).items():
        want = header(os.path.join(folder, kind + ".safetensors"))
        for form in forms:
            out = os.path.join(folder, "out.safetensors")
            run(DINORUN, "import", os.path.join(folder, f"{kind}_{form}.pth"), "-o", out)
            assert header(out) == want, f"{kind}_{form}.pth"
            count += 1
    print(f"{count} files of PyTorch {torch.__version__} imported bit for bit")


class Both(nn.Module):
    """What a full export holds, as modules."""

    def __init__(self, student, teacher, out_dim):
        super().__init__()
        self.student, self.teacher = student, teacher
        self.register_buffer("center", torch.zeros(1, out_dim))


def check_vit(folder):
    out_dim, plan, crops = 64, os.path.join(folder, "v.plan"), os.path.join(folder, "crops.safetensors")
    run(DINOC, os.path.join(GRAPHS, "dino_vits16_100ep.yaml"), "-o", plan, "--batch", "1", "--set",
        f"head.with.out_dim={out_dim}", "--set", "crops.local.count=0")
    st.save(crops, {f"step0.crop{v}": np.zeros((1, 3, 224, 224), np.float32) for v in range(2)})
    checkpoint = os.path.join(folder, "run", "checkpoint.safetensors")
    run(DINORUN, "train", plan, "--replay", crops, "--out", os.path.join(folder, "run"), "--steps", "0", "--set",
        "epochs=200", "--ignore-memory")
    saved, out = load(checkpoint), os.path.join(folder, "out.safetensors")
    for network in "teacher", "student":
        run(DINORUN, "export", checkpoint, "-o", out, "--backbone", network)
        model = VisionTransformer(384, 6, 16)
        model.load_state_dict(load(out), strict=True)
        prefix = network + ".backbone."
        check_same(model.state_dict(), {n[len(prefix):]: x for n, x in saved.items() if n.startswith(prefix)}, network)
    run(DINORUN, "export", checkpoint, "-o", out)
    both = Both(Network("vit_small", 16, out_dim), Network("vit_small", 16, out_dim), out_dim)
    both.load_state_dict(load(out), strict=True)
    check_same(both.state_dict(), {n: x for n, x in saved.items() if not n.startswith("optim.")}, "full")
    print("ViT-S/16: backbones and the full file, exported, load strictly")


def check_resnet(folder):
    try:
        from torchvision.models import resnet50
    except ImportError as missing:
        print(f"ResNet-50 skipped: {missing}")
        return
    backbone = resnet50()
    with torch.no_grad():
        backbone.train()(torch.randn(2, 3, 32, 32))  # running statistics and counters of a step
    flat, out = os.path.join(folder, "resnet50.pth"), os.path.join(folder, "out.safetensors")
    torch.save(backbone.state_dict(), flat)
    run(DINORUN, "import", flat, "-o", out)
    backbone.fc = nn.Identity()
    copy.deepcopy(backbone).load_state_dict(load(out), strict=True)
    check_same(load(out), backbone.state_dict(), "torchvision's file")
    network = nn.Module()
    network.backbone, network.head = backbone, Head(2048, 32, True, hidden=16, bottleneck=8)
    state = {"module." + n: x for n, x in network.state_dict().items()}
    full = os.path.join(folder, "full.safetensors")
    torch.save({"student": state, "teacher": state, "epoch": 1}, flat)
    run(DINORUN, "import", flat, "-o", full)
    run(DINORUN, "export", full, "-o", out, "--backbone", "teacher")
    fresh = resnet50()
    fresh.fc = nn.Identity()
    fresh.load_state_dict(load(out), strict=True)
    check_same(fresh.state_dict(), backbone.state_dict(), "ResNet-50")
    print("ResNet-50: imported, exported, loads strictly")


def check_resume(folder):
    steps, sizes, plan, out = 5, (64, 64, 32, 32), os.path.join(folder, "r.plan"), os.path.join(folder, "resumed")
    crops = [[crop_value(f"step{i}.crop{v}", (2, 3, size, size)) for v, size in enumerate(sizes)] for i in range(steps)]
    st.save(os.path.join(folder, "recorded"), {f"step{i}.crop{v}": c for i in range(steps) for v, c in enumerate(crops[i])})
    network = Network("vit_tiny", 16, 64)
    set_initial(network, "student.")
    dino = Dino(network)

    def epoch():
        for step in crops:
            dino.step([torch.from_numpy(c) for c in step], 0, 5e-4, 0.04, 0.99, 0.04, keep_grads=False)

    epoch()
    saved = os.path.join(folder, "epoch1.pth")
    torch.save({"student": {"module." + n: x for n, x in dino.student.state_dict().items()},
                "teacher": dino.teacher.state_dict(), "optimizer": dino.optimizer.state_dict(), "epoch": 1,
                "dino_loss": {"center": dino.center}}, saved)
    epoch()
    sets = ("student.backbone=vit_tiny", "student.with.drop_path=0", "head.with.out_dim=64", "crops.local.count=2",
            "crops.global.size=64", "crops.local.size=32", "teacher.momentum=0.99", "lr=5e-4", "weight_decay=0.04",
            "optim.clip=0", "optim.freeze.for=0 epochs", "loss.teacher_temp=0.04")
    run(DINOC, os.path.join(GRAPHS, "dino_vits16_100ep.yaml"), "-o", plan, "--batch", "2",
        *(flag for s in sets for flag in ("--set", s)))
    os.mkdir(out)
    run(DINORUN, "import", saved, "-o", os.path.join(out, "checkpoint.safetensors"))
    said = run(DINORUN, "train", plan, "--replay", os.path.join(folder, "recorded"), "--out", out, "--resume", "--epochs", "2",
               "--ignore-memory")
    assert f"going on at step {steps} of {2 * steps}" in said, said
    have, worst = load(os.path.join(out, "checkpoint.safetensors")), 0
    for name, x in dino.state().items():
        if not name.endswith("qkv.bias"):  # the key's gradient is zero but for rounding, which AdamW makes large
            worst = max(worst, np.linalg.norm(have[name].numpy() - x) / np.linalg.norm(x))
    assert worst < 1e-5, worst
    print(f"a run of PyTorch goes on here: largest relative difference of a tensor after the second epoch {worst:.1e}")


with tempfile.TemporaryDirectory() as here:
    print("safetensors.torch.load_file" if load_file else "safetensors is not installed: read by st.py")
    check_imports(here)
    check_vit(here)
    check_resnet(here)
    check_resume(here)

"""The comparisons of the paper, as keys of recipes, beside PyTorch: for each teacher, target, loss and number of views ten steps in two epochs of a
small ViT from the same initial values and crops. Skipped (status 77) where PyTorch is missing.

    check_comparisons.py DINOC DINORUN GRAPHS [--only PART OF A NAME] [--ranks 2]

Printed for each: how far the losses are apart at most, and how far the student, the teacher and the predictor are after the steps, as a share
of how far they moved; and, in brackets, how far PyTorch's f32 is from its own f64. Allowed is three times that, or 1e-6 where it is less.
Drawn crops go in through `dinorun train --replay`. With --ranks so many processes, started by Open MPI, share our steps,
and losses alone are judged: AdamW's steps do not depend on the size of a gradient, and sums in another order move weights whose gradients are little
more than rounding."""
import argparse
import copy
import json
import math
import os
import sys
import tempfile

from checks import needed, run

with needed():
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F

import st
from dino import Head, VisionTransformer, set_initial
from values import crop_value

BATCH, OUT_DIM, EPOCH, STEPS, GLOBAL, LOCAL = 8, 128, 5, 10, 32, 16
LR, DECAY = 5e-4, 0.04

RECIPE = f"""recipe: comparison
import: [vit.yaml, dino_head.yaml, predictor.yaml]
batch: {BATCH}
epochs: 2
student: {{backbone: vit, with: {{dim: 48, heads: 3, depth: 2, patch: 8, image: {GLOBAL}}}}}
head: {{with: {{out_dim: {OUT_DIM}, hidden: 64, bottleneck: 32}}}}
crops: {{global: {{size: {GLOBAL}}}, local: {{size: {LOCAL}, count: 2}}}}
optim: {{clip: 0, freeze: {{params: last_layer, for: 0 epochs}}}}
lr: {LR}
weight_decay: {DECAY}
---
recipe: now
like: comparison
"""
AVERAGE = "teacher: {momentum: 0.9}\n"


class Net(nn.Module):
    def __init__(self, predictor):
        super().__init__()
        self.backbone = VisionTransformer(48, 3, 8, 2, GLOBAL)
        self.head = Head(48, OUT_DIM, True, hidden=64, bottleneck=32)
        if predictor:
            norm = [nn.BatchNorm1d(40)] if predictor == "bn" else []
            mlp = nn.Sequential(nn.Linear(OUT_DIM, 40), *norm, nn.GELU(), nn.Linear(40, OUT_DIM))
            self.predictor = nn.ModuleDict({"mlp": mlp})

    def forward(self, groups):
        logits = self.head(torch.cat([self.backbone(torch.cat(crops)) for crops in groups if crops]))
        return self.predictor["mlp"](logits) if hasattr(self, "predictor") else logits


def sinkhorn(x, temp, iterations):
    """Of one view, as in the paper."""
    x = (x / temp).exp()
    for _ in range(iterations):
        x = x / x.sum(0, keepdim=True)
        x = x / x.sum(1, keepdim=True)
    return x


def target_of(row, view, center):
    if row.get("kind"):
        return F.normalize(view - center, dim=-1)
    if row.get("iterations"):
        return sinkhorn(view, row["temp"], row["iterations"])
    if row.get("temp", 0.04) == 0:
        return F.one_hot((view - center).argmax(-1), OUT_DIM).to(view.dtype)
    return ((view - center) / row.get("temp", 0.04)).softmax(-1)


def pair_loss(row, s, target, temp):
    if row.get("kind") == "mse":
        return (F.normalize(s, dim=-1) - target).square().sum(-1).mean()
    if row.get("kind") == "infonce":
        return F.cross_entropy(F.normalize(s, dim=-1) @ target.T / temp, torch.arange(len(s)))
    return -(target * (s / temp).log_softmax(-1)).sum(-1).mean()


def copy_into(teacher, student, momentum):
    ours = dict(student.named_parameters())
    with torch.no_grad():
        for name, p in teacher.named_parameters():
            p.mul_(momentum).add_((1 - momentum) * ours[name])


def scheduled(row, key, step, otherwise):
    return row[key](step) if key in row else otherwise


class Run:
    def __init__(self, row, dtype):
        self.row, self.dtype = row, dtype
        self.student = Net(row.get("predictor"))
        set_initial(self.student, "student.")
        self.student.to(dtype)
        self.teacher = copy.deepcopy(self.student)
        if row.get("predictor"):
            del self.teacher.predictor
        self.center = torch.zeros(1, OUT_DIM, dtype=dtype)
        groups = {}
        for name, p in self.student.named_parameters():
            if p.requires_grad:
                decays = not (name.endswith(".bias") or p.dim() == 1)
                groups.setdefault((decays, self.rate(name)), []).append((name, p))
        self.optimizer = torch.optim.AdamW(
            [{"params": [p for _, p in ps], "weight_decay": DECAY * decays, "rate": rate}
             for (decays, rate), ps in groups.items()], lr=0.0)

    def rate(self, name):
        """Of layer-wise decay: the embedding is layer 0, block i is i + 1, what is behind the blocks is the last."""
        decay, depth = self.row.get("layer_decay", 1), 2
        if not name.startswith("backbone."):
            return 1.0
        part = name.split(".")
        layer = int(part[2]) + 1 if part[1] == "blocks" else depth + 1 if part[1] == "norm" else 0
        return decay ** (depth + 1 - layer)

    def loss(self, crops):
        row, globals_ = self.row, self.row.get("globals", 2)
        with torch.no_grad():
            teacher = self.teacher([crops[:globals_]])
            targets = [target_of(row, view, self.center) for view in teacher.chunk(globals_)]
        sizes = sizes_of(row)
        groups = [[c for c, size in zip(crops, sizes) if size == of] for of in sorted(set(sizes), reverse=True)]
        views = self.student(groups).chunk(len(crops))
        temp = scheduled(row, "student_temp", self.step_index, 0.1)
        terms = [pair_loss(row, s, t, temp) for i, t in enumerate(targets) for v, s in enumerate(views) if v != i]
        keep = row.get("center_momentum", 0.9)
        if not row.get("iterations"):
            self.center = self.center * keep + teacher.mean(0, keepdim=True) * (1 - keep)
        return sum(terms) / len(terms)

    def step(self, index):
        row, self.step_index = self.row, index
        crops = [torch.from_numpy(c).to(self.dtype) for c in crops_of(row, index % EPOCH)]
        for group in self.optimizer.param_groups:
            group["lr"] = scheduled(row, "lr", index, LR) * group["rate"]
        loss = self.loss(crops)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if row.get("clip_all"):
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), row["clip_all"])
        for word, steps in row.get("freeze", {}).items():
            for name, p in self.student.named_parameters():
                if word in name and index < steps:
                    p.grad = None
        if row.get("update") == "iteration":
            copy_into(self.teacher, self.student, 0)
        self.optimizer.step()
        if row.get("update") == "student" or (row.get("update") == "epoch" and index % EPOCH == EPOCH - 1):
            copy_into(self.teacher, self.student, 0)
        if not row.get("update"):
            copy_into(self.teacher, self.student, 0.9)
        return loss.item()

    def state(self):
        out = {"student." + n: x.detach() for n, x in self.student.state_dict().items()}
        out.update({"teacher." + n: x.detach() for n, x in self.teacher.state_dict().items()})
        out["center"] = self.center
        return {n: x.numpy().copy() for n, x in out.items()}


def sizes_of(row):
    return [GLOBAL] * row.get("globals", 2) + row.get("locals", [LOCAL] * 2)


def crops_of(row, step):
    return [crop_value(f"step{step}.crop{v}", (BATCH, 3, size, size)) for v, size in enumerate(sizes_of(row))]


def line(first, last, over):
    return lambda step: first + (last - first) * min(step, over - 1) / (over - 1)


ROWS = [
    ("DINO", AVERAGE, {}),
    ("teacher: the student", "teacher: {update: student}\n", {"update": "student"}),
    ("teacher: previous iteration", "teacher: {update: iteration}\n", {"update": "iteration"}),
    ("teacher: previous epoch", "teacher: {update: epoch}\n", {"update": "epoch"}),
    ("predictor", AVERAGE + f"predictor: {{with: {{out_dim: {OUT_DIM}, hidden: 40}}}}\n", {"predictor": "plain"}),
    ("predictor with batch norm", AVERAGE + f"predictor: {{with: {{out_dim: {OUT_DIM}, hidden: 40, bn: true}}}}\n",
     {"predictor": "bn"}),
    ("mse", AVERAGE + "loss: {kind: mse}\n", {"kind": "mse"}),
    ("mse without centre, predictor", AVERAGE + "loss: {kind: mse, center_momentum: 1}\n"
     f"predictor: {{with: {{out_dim: {OUT_DIM}, hidden: 40, bn: true}}}}\n",
     {"kind": "mse", "center_momentum": 1, "predictor": "bn"}),
    ("infonce", AVERAGE + "loss: {kind: infonce, student_temp: 0.2, center_momentum: 1}\n",
     {"kind": "infonce", "center_momentum": 1, "student_temp": lambda step: 0.2}),
    ("sinkhorn", AVERAGE + "loss: {targets: sinkhorn, teacher_temp: 0.05}\n", {"iterations": 3, "temp": 0.05}),
    ("softmax over the batch", AVERAGE + "loss: {targets: softmax_batch, teacher_temp: 0.05}\n",
     {"iterations": 1, "temp": 0.05}),
    ("hard targets", AVERAGE + "loss: {teacher_temp: 0}\n", {"temp": 0}),
    ("student temperature over time",
     AVERAGE + "loss: {student_temp: {curve: linear, from: 0.2, to: 0.1, over: 6 steps}}\n",
     {"student_temp": line(0.2, 0.1, 6)}),
    ("one global view", AVERAGE + "crops: {global: {views: [{}]}}\n", {"globals": 1}),
    ("two sizes of local views", AVERAGE +
     "crops: {local: [{size: 24, count: 1}, {size: 16, count: 2}]}\n", {"locals": [24, 16, 16]}),
    ("three sizes and a predictor", AVERAGE +
     "crops: {local: [{size: 24, count: 1}, {size: 16, count: 2}, {size: 8, count: 1}]}\n"
     f"predictor: {{with: {{out_dim: {OUT_DIM}, hidden: 40}}}}\n", {"locals": [24, 16, 16, 8], "predictor": "plain"}),
    ("clipping of the whole norm", AVERAGE + "optim: {clip: 0.3, clip_norm: all}\n", {"clip_all": 0.3}),
    ("layer-wise decay", AVERAGE + "optim: {layer_decay: 0.6}\n", {"layer_decay": 0.6}),
    ("two frozen groups", AVERAGE + "optim: {freeze: [{params: last_layer, for: 1 epoch}, "
     "{params: patch_embed, for: 7 steps}]}\n", {"freeze": {"last_layer": 5, "patch_embed": 7}}),
    ("learning rate in steps", AVERAGE + "lr: {curve: step, from: 1e-3, by: 0.3, every: 4 steps}\n",
     {"lr": lambda step: 1e-3 * 0.3 ** (step // 4)}),
    ("warm-up from a value",
     AVERAGE + "lr: {curve: cosine, peak: 1e-3, to: 1e-5, warmup: 4 steps, warmup_from: 2e-4}\n",
     {"lr": lambda step: line(2e-4, 1e-3, 4)(step) if step < 4 else
      1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + math.cos(math.pi * (step - 4) / 6))}),
    ("three global views", AVERAGE + "crops: {global: {views: [{}, {}, {}]}}\n", {"globals": 3}),
]


def ours(args, row, text, folder):
    path = {name: os.path.join(folder, name) for name in ("now.yaml", "plan", "crops", "init", "run")}
    with open(path["now.yaml"], "w") as file:
        file.write(RECIPE + text)
    initial = Run(row, torch.float32).state()
    st.save(path["init"], initial)
    st.save(path["crops"], {f"step{s}.crop{v}": x for s in range(EPOCH) for v, x in enumerate(crops_of(row, s))})
    shared, launch, env = [], [], {**os.environ}
    if args.ranks > 1:
        shared = ["--ranks", args.ranks]
        launch = ["mpirun.openmpi", "-n", args.ranks, "--bind-to", "none", "--oversubscribe"]
        env.update(OMP_WAIT_POLICY="passive", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    run(args.dinoc, path["now.yaml"], "-o", path["plan"], *shared)
    run(*launch, args.dinorun, "train", path["plan"], "--replay", path["crops"], "--init", path["init"], "--out",
        path["run"], "--threads", "1" if launch else "2", "--ignore-memory", env=env)
    with open(os.path.join(path["run"], "log.jsonl")) as log:
        losses = [json.loads(line)["loss"] for line in log]
    return losses, st.load(os.path.join(path["run"], "checkpoint.safetensors")), initial


def apart(state, other, initial, owner):
    """The distance of all float tensors of a network, as a share of how far they moved."""
    square = moved = 0.0
    for name, x in other.items():
        if name.startswith(owner) and x.dtype.kind == "f":
            x = np.asarray(x, np.float64)
            square += float(np.square(np.asarray(state[name], np.float64) - x).sum())
            moved += float(np.square(np.asarray(initial[name], np.float64) - x).sum())
    return math.sqrt(square / moved) if moved else math.sqrt(square)


def compare(args, name, text, row):
    with tempfile.TemporaryDirectory() as folder:
        losses, state, initial = ours(args, row, text, folder)
        results = {}
        for dtype in (torch.float32, torch.float64):
            side = Run(row, dtype)
            results[dtype] = [side.step(i) for i in range(STEPS)], side.state()
        f32, f64 = results[torch.float32], results[torch.float64]
        wrong, told = len(losses) != STEPS, ""

        def far(a, b):
            return max(abs(x - y) / max(1, abs(y)) for x, y in zip(a, b))

        checks = [("loss", far(losses, f64[0]), far(f32[0], f64[0]))]
        for owner in ("student.backbone", "student.head", "student.predictor", "teacher."):
            if any(key.startswith(owner) for key in f64[1]):
                checks.append((owner.strip("."), apart(state, f64[1], initial, owner),
                               apart(f32[1], f64[1], initial, owner)))
        for what, mine, theirs in checks:
            wrong |= (what == "loss" or args.ranks == 1) and not mine <= max(3 * theirs, 1e-6)
            told += f"  {what.replace('student.', '')} {mine:.1e} ({theirs:.1e})"
        print(f"{name:32}{told}{'  WRONG' if wrong else ''}", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dinoc")
    parser.add_argument("dinorun")
    parser.add_argument("graphs")
    parser.add_argument("--only", default="")
    parser.add_argument("--ranks", type=int, default=1)
    args = parser.parse_args()
    os.environ["DINOGRAPH_GRAPHS"] = os.path.abspath(args.graphs)
    torch.set_num_threads(2)
    wrong = [name for name, text, row in ROWS if args.only in name and compare(args, name, text, row)]
    if wrong:
        print(f"too far apart: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

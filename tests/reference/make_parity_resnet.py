r"""Ten steps of a ResNet in PyTorch, for the parity checks.

    make_parity_resnet.py adamw|sgd|lars OUT.json [--arch resnet50] [--no-bn] [--steps 10] [--full OUT.safetensors]

torchvision's network and a head with batch norm; 2 crops of 224 and 4 of 96, batch 4, out_dim 1024, norm_last_layer;
constant rates, no clip, no freeze. Crops and weights are those of values.py, running statistics 0 and 1, counters 0.
Every run is made twice, in f32, which is what is expected, and in f64, which shows what rounding does.

OUT.json  {"run", "arch", "bn",
           "steps":     [{"step", "epoch", "loss", "teacher_entropy", "kl", "grad_norm",      of each step;
                          "lr", "weight_decay", "momentum", "teacher_temp",                   spread: of the first four
                          "spread": {"loss", "teacher_entropy", "kl", "grad_norm"}}, ...],
           "gradients": {"backbone.conv1.weight": {"norm", "spread", "proj"}, ...},           of the first step
           "buffers":   {"student.backbone.bn1.running_mean": {"norm", "spread", "proj"}, ...,   after the first step
                         "student.backbone.bn1.num_batches_tracked": 2, ...}                     (student.*, teacher.*)
           "student":   {"backbone.conv1.weight": {"norm", "moved", "spread", "proj"}, ...},  after the last step;
           "teacher":   the same,                                                             proj: of what it moved
           "center":    {"center": the same},
           "last_buffers": as buffers, after the last step}
Gradients and first buffers, the same for all three, are in adamw's file alone. Summaries are those of values.py; spread
is the L2 distance (for numbers: the difference) of PyTorch's f32 run from its f64 run.

A tolerance is that of the ViT runs, or three times the spread where that is wider: batch norm and the kinks of ReLU
make more of rounding than a ViT does. That of the ViT runs, relative to the norm: losses 1e-5, gradients 1e-4,
parameters 2e-3 of what they moved and ten roundings of their norm; running statistics 1e-5. For numbers, which agree
by chance, too, the largest spread up to that step counts.

Learning rates are the published ones by the published rule, in proportion to the batch. At those of a batch of 256, the
two types part: after four steps, SGD's parameters differ by a fifth of what they moved.

The run of ours, with inputs from make_replay.py --resnet; compare_parity.py compares whole tensors:

    dinoc ../../graphs/dino_resnet50_800ep.yaml -o parity.plan --batch 4 --set head.with.out_dim=1024 \
        --set crops.local.count=4 --set teacher.momentum=0.99 --set loss.teacher_temp=0.04 --set weight_decay=0.04 \
        --set "lr=5e-4 * batch / 256" --set "optim={kind: adamw, clip: 0, freeze: {params: last_layer, for: 0 epochs}}"
    dinorun train parity.plan --replay crops.safetensors --init init.safetensors --out run --epochs 1

A step takes a minute on two cores with OpenBLAS (libopenblas0-pthread) and several with the reference BLAS, for f64.

--full    also whole tensors of the f32 run: student.*, teacher.*, center after the last step, grad.* of the first
--no-bn, --arch resnet18, --steps: for quick looks"""
import argparse
import json

import numpy as np
import torch

import st
from dino import Dino, Network, set_initial
from make_parity import lines
from values import crop_value, initial_value, summary

STEPS, BATCH, OUT_DIM, SIZES = 10, 4, 1024, (224, 224, 96, 96, 96, 96)
RATES = {"adamw": (5e-4, 0.04), "sgd": (0.03, 1e-4), "lars": (0.3, 1e-6)}  # lr for a batch of 256, weight decay
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def crops_of(step):
    return [crop_value(f"step{step}.crop{v}", (BATCH, 3, size, size)) for v, size in enumerate(SIZES)]


def train(run, arch, bn, steps, dtype):
    """(log of the steps, first gradients, state after the first, state after the last)"""
    network = Network(arch, None, OUT_DIM, bn=bn)
    set_initial(network, "student.")
    dino = Dino(network.to(dtype), optimizer=run)
    lr, weight_decay = RATES[run]
    values = {"epoch": 0, "lr": lr * BATCH / 256, "weight_decay": weight_decay, "momentum": 0.99, "teacher_temp": 0.04}
    log = []
    for i in range(steps):
        result, grads = dino.step([torch.from_numpy(c).to(dtype) for c in crops_of(i)], **values)
        log.append({"step": i, **result, **values})
        if i == 0:
            gradients = {name: g.numpy() for name, g in grads.items()}
            first = {name: x.copy() for name, x in dino.state().items()}
    return log, gradients, first, dino.state()


def digits(x, n=6):
    """Six: far below every tolerance."""
    if isinstance(x, dict):
        return {key: digits(value, n) for key, value in x.items()}
    if isinstance(x, list):
        return [digits(value, n) for value in x]
    return float(f"{x:.{n}g}") if isinstance(x, float) else x


def compared(name, single, exact, initial=None):
    """Summary of the f32 tensor with its distance from the f64 one; `initial`: the projections are of what it moved."""
    out = summary(name, single if initial is None else single.astype(np.float64) - initial)
    if initial is not None:
        out = {"norm": float(np.linalg.norm(single.astype(np.float64))), "moved": out["norm"], "proj": out["proj"]}
    out["spread"] = float(np.linalg.norm(single - exact))
    return digits({key: out[key] for key in ("norm", "moved", "spread", "proj") if key in out})


def buffers(single, exact):
    out = {}
    for name, x in single.items():
        if name.endswith("num_batches_tracked"):
            out[name] = int(x)
        elif name.endswith(STATISTICS):
            out[name] = compared(name.partition(".")[2], x, exact[name])
    return out


def steps(single, exact):
    for a, b in zip(single, exact):
        losses = ("loss", "teacher_entropy", "kl", "grad_norm")
        spread = {key: digits(abs(a[key] - b[key]), 3) for key in losses}
        yield {**a, **{key: digits(a[key], 10) for key in losses}, "spread": spread}


def networks(single, exact):
    center = compared("center", single["center"], exact["center"], 0.0)
    out = {"student": {}, "teacher": {}, "center": {"center": center}}
    for name, x in single.items():
        owner, _, rest = name.partition(".")
        if name != "center" and not name.endswith(STATISTICS):
            initial = initial_value("student." + rest, x.shape).astype(np.float64)
            out[owner][rest] = compared(rest, x, exact[name], initial)
    return out


def print_spread(out):
    """Spreads in units of what they are compared with."""
    for key in ("loss", "teacher_entropy", "kl", "grad_norm"):
        print(f"{key}:", " ".join(f"{abs(s['spread'][key] / s[key]):.1e}" for s in out["steps"]))
    for part in ("gradients", "buffers", "student", "teacher", "center", "last_buffers"):
        shares = sorted((x["spread"] / (x.get("moved", x["norm"]) or 1), name)
                        for name, x in out.get(part, {}).items() if isinstance(x, dict))
        if shares:
            worst = ", ".join(f"{share:.1e} {name}" for share, name in shares[:-4:-1])
            print(f"{part}: median {shares[len(shares) // 2][0]:.1e}, largest {worst}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", choices=RATES)
    parser.add_argument("out")
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--no-bn", action="store_true")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--full")
    args = parser.parse_args()
    runs = [train(args.run, args.arch, not args.no_bn, args.steps, dtype) for dtype in (torch.float32, torch.float64)]
    logs, gradients, first, last = zip(*runs)
    out = {"run": args.run, "arch": args.arch, "bn": not args.no_bn, "steps": list(steps(*logs))}
    if args.run == "adamw":
        out["gradients"] = {name: compared(name, g, gradients[1][name]) for name, g in gradients[0].items()}
        out["buffers"] = buffers(*first)
    out.update(networks(*last))
    out["last_buffers"] = buffers(*last)
    with open(args.out, "w") as file:
        parts = [f'"{key}": ' + (json.dumps(value) if not isinstance(value, (dict, list)) else lines(value))
                 for key, value in out.items()]
        file.write("{" + ",\n".join(parts) + "}\n")
    if args.full:
        st.save(args.full, {**last[0], **{"grad." + name: g for name, g in gradients[0].items()}}, {"run": args.run})
    print_spread(out)


if __name__ == "__main__":
    main()

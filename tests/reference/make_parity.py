"""Ten steps of ViT-Tiny/16 in PyTorch, for the parity checks.

    make_parity.py a|b OUT.json [--dtype f32|f64] [--full OUT.safetensors] [--spread]

Both runs: 2 crops of 224 and 4 of 96, batch 2, out_dim 1024, drop path 0, norm_last_layer, AdamW. a: constants only. b:
clip, freeze and all schedules, two epochs of five steps. Crops and weights are those of values.py.

OUT.json  {"run", "dtype",
           "steps":     [{"step", "epoch", "loss", "teacher_entropy", "kl", "grad_norm",     of the ten steps;
                          "lr", "weight_decay", "momentum", "teacher_temp"}, ...],           grad_norm before clipping
           "gradients": {"backbone.cls_token": {"norm", "proj"}, ...},           first step, before clipping
           "student":   {"backbone.cls_token": {"norm", "moved", "proj"}, ...},  after the ten steps
           "teacher":   the same,
           "center":    {"center": {"norm", "moved", "proj"}}}                   summaries: values.py
--full    also whole tensors: student.*, teacher.*, center after the ten steps, grad.* of the first
--spread  runs the other type as well and prints how far PyTorch is from itself, against the tolerances of parity"""
import argparse
import json
import math

import numpy as np
import torch

import st
from dino import Dino, Network, cosine, linear_per_epoch, set_initial
from values import crop_value, initial_value, summary

STEPS, BATCH, OUT_DIM, SIZES = 10, 2, 1024, (224, 224, 96, 96, 96, 96)
ULP = 2.0**-24


def crops_of(step):
    return [crop_value(f"step{step}.crop{v}", (BATCH, 3, size, size)) for v, size in enumerate(SIZES)]


def settings(run):
    """Arguments of Dino and, a step, of Dino.step."""
    if run == "a":
        fixed = {"epoch": 0, "lr": 5e-4, "weight_decay": 0.04, "momentum": 0.99, "teacher_temp": 0.04}
        return {}, [fixed] * STEPS
    niter, epochs = 5, 2
    lr = cosine(5e-4, 1e-6, STEPS, warmup=niter)
    weight_decay, momentum = cosine(0.04, 0.4, STEPS), cosine(0.996, 1, STEPS)
    temp = linear_per_epoch(0.04, 0.07, 2, epochs)
    steps = [{"epoch": i // niter, "lr": float(lr[i]), "weight_decay": float(weight_decay[i]),
              "momentum": float(momentum[i]), "teacher_temp": float(temp[i // niter])} for i in range(STEPS)]
    return {"clip": 0.3, "freeze_epochs": 1}, steps


def train(run, dtype):
    """(log of the steps, first gradients, state after the last)"""
    network = Network("vit_tiny", 16, OUT_DIM)
    set_initial(network, "student.")
    kind, steps = settings(run)
    dino = Dino(network.to(dtype), **kind)
    log, first = [], None
    for i, values in enumerate(steps):
        result, grads = dino.step([torch.from_numpy(c).to(dtype) for c in crops_of(i)], **values)
        log.append({"step": i, **rounded(result), **values})
        first = first or {name: g.numpy() for name, g in grads.items()}
    return log, first, dino.state()


def rounded(x):
    """Ten digits: far below every tolerance, half the size. Schedule values stay exact."""
    if isinstance(x, dict):
        return {key: rounded(value) for key, value in x.items()}
    if isinstance(x, list):
        return [rounded(value) for value in x]
    return float(f"{x:.10g}") if isinstance(x, float) else x


def summaries(log, first, state):
    out = {"steps": log, "gradients": {name: rounded(summary(name, g)) for name, g in first.items()}}
    for name, x in state.items():
        owner, _, rest = name.partition(".")
        if name == "center":
            out["center"] = {"center": rounded(summary("center", x, np.zeros(x.shape)))}
        else:
            initial = initial_value("student." + rest, x.shape)
            out.setdefault(owner, {})[rest] = rounded(summary(rest, x, initial))
    return out


def tolerance(name, initial, value):
    moved = np.linalg.norm(np.asarray(value, np.float64) - initial)
    share = 2e-2 if name.endswith("qkv.bias") else 2e-3
    return share * moved + 10 * ULP * np.linalg.norm(value)


def print_spread(one, other):
    (log1, grad1, state1), (log2, grad2, state2) = one, other
    for key in ("loss", "teacher_entropy", "kl", "grad_norm"):
        worst = max(abs(a[key] / b[key] - 1) for a, b in zip(log1, log2))
        print(f"{key:16} largest relative difference {worst:.2e}")
    rows = [(np.linalg.norm(grad1[n] - grad2[n]) / (1e-4 * np.linalg.norm(grad2[n])), "gradient " + n) for n in grad1]
    for name, x in state2.items():
        start = 0 if name == "center" else initial_value("student." + name.partition(".")[2], x.shape)
        error, limit = np.linalg.norm(np.asarray(state1[name], np.float64) - x), tolerance(name, start, x)
        rows.append((0.0 if error == 0 else math.inf if limit == 0 else error / limit, name))
    for kind in ("gradient", "student", "teacher", "center"):
        worst = sorted((r for r in rows if r[1].startswith(kind)), reverse=True)[:6]
        print(f"{kind}: largest shares of the tolerance\n" + "\n".join(f"    {r:.3f} {name}" for r, name in worst))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", choices=("a", "b"))
    parser.add_argument("out")
    parser.add_argument("--dtype", choices=("f32", "f64"), default="f32")
    parser.add_argument("--full")
    parser.add_argument("--spread", action="store_true")
    args = parser.parse_args()
    types = {"f32": torch.float32, "f64": torch.float64}
    result = train(args.run, types[args.dtype])
    out = {"run": args.run, "dtype": args.dtype, **summaries(*result)}
    with open(args.out, "w") as file:
        parts = [f'"{key}": ' + (json.dumps(value) if not isinstance(value, (dict, list)) else lines(value))
                 for key, value in out.items()]
        file.write("{" + ",\n".join(parts) + "}\n")
    if args.full:
        log, first, state = result
        st.save(args.full, {**state, **{"grad." + name: g for name, g in first.items()}}, {"run": args.run})
    if args.spread:
        print_spread(result, train(args.run, types["f64" if args.dtype == "f32" else "f32"]))


def lines(value):
    """One entry a line, so that a change shows where it is."""
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) + "}"
    return "[\n" + ",\n".join(json.dumps(v) for v in value) + "]"


if __name__ == "__main__":
    main()

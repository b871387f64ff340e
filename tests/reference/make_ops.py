"""Golden values of single operations from PyTorch, in f64 on f32 inputs: make_ops.py OUT.json

Inputs are test tensors of values.py (named_uniform(name, shape, lo, hi)); only results are in the file.

"positions"  a list of {"grid": g, "rows": h, "cols": w, "forward", "gradient"}. The table is
             "ops.positions.table{g}" [1, 1 + g * g, 3] in (-2, 2); forward [1 + h * w, 3] is the table for an h x w
             grid, token 0 the class token's. The cotangent of forward is "ops.positions.cotangent{g}.{h}x{w}",
             of the same shape, in (-2, 2); gradient [1 + g * g, 3] is the table's.
"loss"       K 7, batch 3, 4 views, student temperature 0.1, teacher 0.04, centre momentum 0.9. Student logits
             "ops.loss.student" [12, 7] in (-1, 1), row view * 3 + image; teacher "ops.loss.teacher" [6, 7] in (-1, 1);
             centre "ops.loss.center" [1, 7] in (-0.1, 0.1). Results: loss, teacher_entropy, kl (loss - entropy),
             gradient [12, 7] of the loss in the student's logits, center [7] after the step.
"adamw"      {"steps": [...], "tensors": {name: [state after step 0, 1, 2]}}. A step has lr, weight_decay, momentum,
             clip, frozen. Tensors: "backbone.weight" [3, 4], "backbone.bias" [4], "head.last_layer.weight_v" [2, 4];
             values "ops.adamw." + name in (-1, 1), teacher "ops.adamw.teacher." + name in (-1, 1), gradient of step i
             "ops.adamw.step{i}." + name in (-1, 1), but the bias's in (-0.1, 0.1), which clip leaves alone.
             Betas 0.9, 0.999, eps 1e-8; the bias is not decayed; last_layer is frozen in step 0.
             A state is param, teacher, exp_avg, exp_avg_sq (flat) and step (a count); a frozen first step has zeros.
"sgd", "lars" the same with momentum 0.9 (and eta 0.001); a state is param, teacher, momentum. LARS neither decays nor
             scales what has one dimension.
"conv2d"     a list of {"images", "height", "width", "in", "out", "kernel", "stride", "pad", "groups", "dilation",
             "bias", "forward", "diff_src", "diff_weight", "diff_bias" (if there is a bias)}. Images are [N, H, W, C] here and
             below; case i has "ops.conv2d{i}.src", ".weight" [out, in / groups, k, k], ".bias" and ".cotangent" (of
             forward, of its shape), all in (-1, 1).
"batch_norm" a list of {"shape", "eps", "momentum", "forward", "diff_src", "diff_weight", "diff_bias", "running_mean",
             "running_var", "num_batches_tracked", "eval"}: a training step's results, and the output that evaluation
             gives before it. "ops.batch_norm{i}.src" in (-1, 3), ".weight" in (0.5, 1.5), ".bias" in (-0.5, 0.5),
             ".running_mean" in (-1, 1), ".running_var" in (0.5, 2), ".cotangent" in (-1, 1); 3 batches were tracked.
"max_pool", "avg_pool"  lists of {"shape", "kernel", "stride", "pad", "forward", "diff_src"}, avg_pool also with
             "count_include_pad"; "global_avg_pool", "relu" are lists of {"shape", "forward", "diff_src"}:
             "ops.max_pool{i}.src" and ".cotangent" in (-1, 1). Every third element of relu's src is 0.
"schedules"  a list of {"name", "niter", "epochs", "lr": {"peak", "to", "warmup" epochs},
             "weight_decay": {"from", "to"}, "momentum": {"from", "to"},
             "teacher_temp": {"from", "to", "over" epochs}, "values": [{"step", "lr", "weight_decay", "momentum",
             "teacher_temp"}, ...]}: cosines but the temperature, which is a line with one value an epoch; over 0 is the
             constant "to". Computed in numpy, all digits given. Of two cases, "epoch_means" are the means of lr over an
             epoch, "epoch_means_weight_decay" of weight decay, as published logs show them."""
import json
import sys

import numpy as np
import torch
from torch.nn import functional as F

from dino import OPTIMIZERS, Dino, cosine, dino_loss, linear_per_epoch, positions_for
from values import named_uniform

GRIDS = ((14, 6, 6), (14, 30, 30), (14, 10, 15), (28, 12, 12))


def tensor(name, shape, lo, hi):
    return torch.from_numpy(named_uniform(name, shape, lo, hi)).double()


def short(x):
    return [float(f"{v:.9g}") for v in np.asarray(x.detach()).reshape(-1)]


def positions():
    for grid, rows, cols in GRIDS:
        table = tensor(f"ops.positions.table{grid}", (1, 1 + grid * grid, 3), -2, 2).requires_grad_()
        out = positions_for(table, rows, cols)
        out.backward(tensor(f"ops.positions.cotangent{grid}.{rows}x{cols}", tuple(out.shape), -2, 2))
        yield {"grid": grid, "rows": rows, "cols": cols, "forward": short(out), "gradient": short(table.grad)}


def loss():
    student = tensor("ops.loss.student", (12, 7), -1, 1).requires_grad_()
    teacher = tensor("ops.loss.teacher", (6, 7), -1, 1)
    center = tensor("ops.loss.center", (1, 7), -0.1, 0.1)
    value, entropy = dino_loss(student, teacher, center, 4, 0.1, 0.04)
    value.backward()
    return {"loss": value.item(), "teacher_entropy": entropy.item(), "kl": (value - entropy).item(),
            "gradient": short(student.grad), "center": short(0.9 * center + (1 - 0.9) * teacher.mean(0))}


def optimizer(kind):
    """Through Dino's own clip_and_freeze, on a module of three small tensors."""
    shapes = {"backbone.weight": (3, 4), "backbone.bias": (4,), "head.last_layer.weight_v": (2, 4)}
    scale = 100 if kind == "lars" else 1  # a step of LARS is eta of the weights
    steps = [{"lr": scale * lr, "weight_decay": decay, "momentum": m, "clip": 0.5, "frozen": i == 0}
             for i, (lr, decay, m) in enumerate(((1e-2, 0.1, 0.9), (2e-2, 0.2, 0.95), (1.5e-2, 0.3, 0.99)))]
    params = {name: torch.nn.Parameter(tensor(f"ops.{kind}.{name}", shape, -1, 1)) for name, shape in shapes.items()}
    teachers = {name: tensor(f"ops.{kind}.teacher.{name}", shape, -1, 1) for name, shape in shapes.items()}
    dino = Dino.__new__(Dino)
    dino.student = torch.nn.Module()
    dino.student.named_parameters = lambda: iter(params.items())
    dino.clip, dino.freeze_epochs = steps[0]["clip"], 1
    groups = [{"params": [params["backbone.weight"], params["head.last_layer.weight_v"]]},
              {"params": [params["backbone.bias"]]}]
    optimizer = OPTIMIZERS[kind](groups)
    out = {name: [] for name in shapes}
    for i, step in enumerate(steps):
        for group, decay in zip(optimizer.param_groups, (step["weight_decay"], 0.0)):
            group.update(lr=step["lr"], weight_decay=decay)
        for name, p in params.items():
            bound = 0.1 if name.endswith("bias") else 1
            p.grad = tensor(f"ops.{kind}.step{i}.{name}", shapes[name], -bound, bound)
        dino.clip_and_freeze(epoch=i)
        optimizer.step()
        for name, p in params.items():
            teachers[name] = teachers[name] * step["momentum"] + (1 - step["momentum"]) * p.detach()
            zeros = torch.zeros(p.shape)
            unused = {"exp_avg": zeros, "exp_avg_sq": zeros, "step": 0, "momentum_buffer": zeros}
            state = optimizer.state.get(p) or unused
            entry = {"param": short(p), "teacher": short(teachers[name])}
            if kind == "adamw":
                entry.update({key: short(state[key]) for key in ("exp_avg", "exp_avg_sq")}, step=int(state["step"]))
            else:
                entry["momentum"] = short(state["momentum_buffer"])
            out[name].append(entry)
    return {"steps": steps, "tensors": out}


def channels_last(x):
    return x.permute(0, *range(2, x.dim()), 1) if x.dim() > 2 else x


def channels_first(x):
    return x.permute(0, -1, *range(1, x.dim() - 1)) if x.dim() > 2 else x


def apply(name, function, shape, lo=-1, hi=1, src=None):
    """forward and diff_src of a function of images with channels second; results and named tensors have them last."""
    src = (tensor(f"ops.{name}.src", shape, lo, hi) if src is None else src).requires_grad_()
    out = channels_last(function(channels_first(src)))
    out.backward(tensor(f"ops.{name}.cotangent", tuple(out.shape), -1, 1))
    return {"forward": short(out), "diff_src": short(src.grad)}


CONVOLUTIONS = (  # images, height, width, in, out, kernel, stride, pad, groups, dilation, bias
    (1, 9, 7, 3, 8, 7, 2, 3, 1, 1, False),
    (2, 5, 3, 4, 6, 3, 1, 1, 1, 1, False),
    (1, 7, 6, 4, 8, 3, 2, 1, 1, 1, False),
    (2, 3, 5, 8, 6, 1, 1, 0, 1, 1, True),
    (1, 5, 7, 6, 8, 1, 2, 0, 1, 1, False),
    (1, 5, 3, 8, 8, 3, 1, 1, 2, 1, False),
    (1, 6, 5, 4, 4, 3, 1, 2, 1, 2, True),
    (1, 5, 7, 8, 8, 3, 2, 1, 8, 1, False),
)


def conv2d():
    keys = ("images", "height", "width", "in", "out", "kernel", "stride", "pad", "groups", "dilation", "bias")
    for i, case in enumerate(CONVOLUTIONS):
        c = dict(zip(keys, case))
        weight = tensor(f"ops.conv2d{i}.weight", (c["out"], c["in"] // c["groups"], c["kernel"], c["kernel"]), -1, 1)
        bias = tensor(f"ops.conv2d{i}.bias", (c["out"],), -1, 1).requires_grad_() if c["bias"] else None
        weight.requires_grad_()
        args = {"stride": c["stride"], "padding": c["pad"], "groups": c["groups"], "dilation": c["dilation"]}
        c.update(apply(f"conv2d{i}", lambda x: F.conv2d(x, weight, bias, **args), case[:4]))
        c["diff_weight"] = short(weight.grad)
        if c["bias"]:
            c["diff_bias"] = short(bias.grad)
        yield c


def batch_norm():
    for i, (shape, eps, momentum) in enumerate((((2, 5, 3, 8), 1e-5, 0.1), ((7, 11), 1e-5, 0.1),
                                                ((3, 3, 5, 5), 1e-3, 0.3))):
        kind = torch.nn.BatchNorm2d if len(shape) == 4 else torch.nn.BatchNorm1d
        module, name = kind(shape[-1], eps, momentum).double(), f"batch_norm{i}"
        with torch.no_grad():
            for key, lo, hi in (("weight", 0.5, 1.5), ("bias", -0.5, 0.5), ("running_mean", -1, 1),
                                ("running_var", 0.5, 2)):
                getattr(module, key).copy_(tensor(f"ops.{name}.{key}", shape[-1:], lo, hi))
        module.num_batches_tracked.fill_(3)
        evaluated = apply(name, module.eval(), shape, -1, 3)["forward"]
        module.zero_grad()
        out = {"shape": shape, "eps": eps, "momentum": momentum, **apply(name, module.train(), shape, -1, 3)}
        yield {**out, "diff_weight": short(module.weight.grad), "diff_bias": short(module.bias.grad),
               "running_mean": short(module.running_mean), "running_var": short(module.running_var),
               "num_batches_tracked": int(module.num_batches_tracked), "eval": evaluated}


POOLS = (((2, 7, 5, 3), 3, 2, 1), ((1, 8, 6, 3), 3, 2, 1), ((1, 6, 7, 2), 2, 2, 0), ((1, 3, 4, 3), 3, 1, 1))


def pools(kind):
    for i, (shape, kernel, stride, pad) in enumerate(POOLS):
        for counts in (True, False) if kind == "avg_pool" and pad else (True,):
            out = {"shape": shape, "kernel": kernel, "stride": stride, "pad": pad}
            if kind == "avg_pool":
                out["count_include_pad"] = counts
                function = torch.nn.AvgPool2d(kernel, stride, pad, count_include_pad=counts)
            else:
                function = torch.nn.MaxPool2d(kernel, stride, pad)
            yield {**out, **apply(f"{kind}{i}", function, shape)}


def global_avg_pool():
    for i, shape in enumerate(((2, 5, 7, 6), (3, 1, 1, 5))):
        yield {"shape": shape, **apply(f"global_avg_pool{i}", lambda x: x.mean((2, 3)), shape)}


def relu():
    for i, shape in enumerate(((2, 3, 5, 3), (7, 11))):
        src = tensor(f"ops.relu{i}.src", shape, -1, 1)
        src.view(-1)[::3] = 0
        yield {"shape": shape, **apply(f"relu{i}", torch.relu, shape, src=src)}


RECIPES = (  # name, niter, epochs, lr, weight decay, momentum, teacher temperature; steps per epoch on ImageNet
    ("vits16_100ep", 2502, 100, (1e-3, 1e-6, 10), (0.04, 0.4), (0.996, 1), (0.04, 0.04, 0)),
    ("vits16_800ep", 1251, 800, (2e-3, 1e-5, 10), (0.04, 0.4), (0.996, 1), (0.04, 0.07, 30)),
    ("vitb8_300ep", 1213, 300, (2.0625e-3, 2e-6, 10), (0.04, 0.4), (0.996, 1), (0.03, 0.07, 50)),
    ("resnet50_100ep", 2502, 100, (0.06, 1e-6, 10), (1e-4, 1e-4), (0.996, 1), (0.04, 0.04, 0)),
    ("no_warmup", 7, 3, (5e-4, 1e-6, 0), (0.04, 0.4), (0.996, 1), (0.04, 0.07, 2)),
    ("warmup_to_the_end", 4, 2, (5e-4, 1e-6, 2), (0.04, 0.4), (0.99, 1), (0.04, 0.07, 1)),
    ("parity_b", 5, 2, (5e-4, 1e-6, 1), (0.04, 0.4), (0.996, 1), (0.04, 0.07, 2)),
)


def schedules():
    for name, niter, epochs, (peak, to, warmup), decay, momentum, (first, last, over) in RECIPES:
        total = niter * epochs
        lr, wd = cosine(peak, to, total, warmup * niter), cosine(*decay, total)
        m, temp = cosine(*momentum, total), linear_per_epoch(first, last, over, epochs)
        edge = warmup * niter
        steps = {0, 1, niter - 1, niter, edge - 1, edge, edge + 1, total // 4 + 1, total // 2, 3 * total // 4,
                 total - 2, total - 1, min(over * niter - 1, total - 1), min(over * niter, total - 1), 2 * niter + 3}
        entry = {"name": name, "niter": niter, "epochs": epochs, "lr": {"peak": peak, "to": to, "warmup": warmup},
                 "weight_decay": {"from": decay[0], "to": decay[1]},
                 "momentum": {"from": momentum[0], "to": momentum[1]},
                 "teacher_temp": {"from": first, "to": last, "over": over},
                 "values": [{"step": s, "lr": lr[s], "weight_decay": wd[s], "momentum": m[s],
                             "teacher_temp": temp[s // niter]} for s in sorted(steps) if 0 <= s < total]}
        if name.endswith("100ep"):
            entry["epoch_means"] = {str(e): lr[e * niter : (e + 1) * niter].mean() for e in (0, 1, 2, 49, 57)}
            entry["epoch_means_weight_decay"] = {str(e): wd[e * niter : (e + 1) * niter].mean() for e in (0, 1, 49)}
        yield entry


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = {"positions": list(positions()), "loss": loss(), "adamw": optimizer("adamw"), "sgd": optimizer("sgd"),
           "lars": optimizer("lars"), "schedules": list(schedules()), "conv2d": list(conv2d()),
           "batch_norm": list(batch_norm()), "max_pool": list(pools("max_pool")),
           "avg_pool": list(pools("avg_pool")), "global_avg_pool": list(global_avg_pool()), "relu": list(relu())}
    with open(sys.argv[1], "w") as file:
        parts = [f'"{key}": ' + ("[\n" + ",\n".join(map(json.dumps, x)) + "]" if isinstance(x, list) else json.dumps(x))
                 for key, x in out.items()]
        file.write("{" + ",\n".join(parts) + "}\n")


if __name__ == "__main__":
    main()

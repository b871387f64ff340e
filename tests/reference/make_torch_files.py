"""Files of torch.save in the forms and kinds that `dinorun import` reads, and what must come of them.

    make_torch_files.py FOLDER

FOLDER/{kind}_{form}.pth     written by PyTorch
FOLDER/{kind}.safetensors    the tensors under the names they must get, bit for bit

forms: zip (PyTorch >= 1.6), stream (before it), zip4 and stream4 (pickle protocol 4)
kinds: full       student and teacher of a tiny network, wrapped for several GPUs, AdamW as published, centre, args
       first      the same in the first published revision: the backbone owns the head
       resnet     a full one with batch norm, LARS's momentum, and no head in the optimiser's way
       types      every type of tensor; transposed, sliced, strided, repeated, empty and scalar ones; shared storages
       backbone   a ViT alone, in half precision, under module.backbone.
       timm       a ViT with a classifier under "model"
       torchvision  a ResNet with its fc
       linear     a linear probe's checkpoint
       modern     weight normalisation by parametrisation, NumPy 2's and PyTorch 2's spellings"""
import argparse
import collections
import io
import json
import os
import zipfile

import numpy as np
import torch
from torch import nn

from dino import Head, VisionTransformer

DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
          torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
          torch.bool: "BOOL"}
FORMS = {"zip": (True, 2), "stream": (False, 2), "zip4": (True, 4), "stream4": (False, 4)}


def raw(x):
    """The bytes of a tensor, of types that NumPy does not know, too."""
    x = x.detach().contiguous()
    if x.dtype == torch.bfloat16:
        x = x.view(torch.int16)
    return x.numpy().tobytes()


def save_expected(path, tensors):
    header, data = {}, b""
    for name, x in tensors.items():
        bytes_ = raw(x)
        header[name] = {"dtype": DTYPES[x.dtype], "shape": list(x.shape), "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header, separators=(",", ":")).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def random(*shape, dtype=torch.float32):
    return torch.randn(*shape).to(dtype)


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = VisionTransformer(4, 2, 2, depth=1, image=4)
        self.head = Head(4, 12, True, hidden=6, bottleneck=4)


class Normed(nn.Module):
    """Batch norm among the parameters, as in a ResNet."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({"conv1": nn.Conv2d(3, 4, 3, bias=False), "bn1": nn.BatchNorm2d(4)})
        self.head = Head(4, 12, True, hidden=6, bottleneck=4)


def groups(model):
    """The published two groups of parameters."""
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    plain = [p for n, p in trained if n.endswith(".bias") or p.dim() == 1]
    decayed = [p for n, p in trained if not (n.endswith(".bias") or p.dim() == 1)]
    return [{"params": decayed}, {"params": plain, "weight_decay": 0.0}], {p: n for n, p in trained}


def stepped(model, make):
    """An optimiser after two steps, the last layer frozen in the first; its state by official name."""
    param_groups, names = groups(model)
    optimizer = make(param_groups)
    for step in range(2):
        for group in optimizer.param_groups:
            group["lr"] = np.linspace(0, 0.1, 5)[step + 1]  # a NumPy scalar, as the published schedules leave it
        for p, n in names.items():
            p.grad = None if step == 0 and "last_layer" in n else random(*p.shape)
        optimizer.step()
    expected = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            for kind, x in optimizer.state[p].items():
                kind = {"momentum_buffer": "momentum", "mu": "momentum"}.get(kind, kind)
                if kind == "step":
                    x = torch.tensor(int(x))
                expected[f"optim.{kind}.student.{names[p]}"] = x
    return optimizer, expected


def prefixed(prefix, tensors):
    return collections.OrderedDict((prefix + n, x) for n, x in tensors.items())


def args():
    return argparse.Namespace(arch="vit_small", patch_size=16, lr=0.0005, use_fp16=True, data_path="/data", ratio=(0.4, 1.0))


class Lars(torch.optim.Optimizer):
    """Only its state matters here."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1, "weight_decay": 0.1})

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.state[p].setdefault("mu", torch.zeros_like(p)).add_(p.grad)


def make_full():
    student, teacher, center = Both(), Both(), random(1, 12)
    for p in (*student.parameters(), *teacher.parameters()):
        p.data.copy_(random(*p.shape))
    optimizer, moments = stepped(student, torch.optim.AdamW)
    expected = prefixed("student.", student.state_dict())
    expected.update(prefixed("teacher.", teacher.state_dict()))
    expected["center"] = center
    expected.update(moments)
    return {"student": prefixed("module.", student.state_dict()), "teacher": teacher.state_dict(),
            "optimizer": optimizer.state_dict(), "epoch": 7, "args": args(), "dino_loss": {"center": center},
            "fp16_scaler": {"scale": 65536.0, "growth_tracker": 3}}, expected


def make_first():
    student, teacher = Both(), Both()
    old = lambda model: {n[9:] if n.startswith("backbone.") else n: x for n, x in model.state_dict().items()}
    expected = prefixed("student.", student.state_dict())
    expected.update(prefixed("teacher.", teacher.state_dict()))
    return {"student": prefixed("module.", old(student)), "teacher": prefixed("", old(teacher)), "epoch": 1}, expected


def make_resnet():
    student, teacher = Normed(), Normed()
    optimizer, moments = stepped(student, Lars)
    expected = prefixed("student.", student.state_dict())
    expected.update(prefixed("teacher.", teacher.state_dict()))
    expected.update(moments)
    return {"student": prefixed("module.", student.state_dict()), "optimizer": optimizer.state_dict(),
            "teacher": prefixed("module.", teacher.state_dict())}, expected


def make_types():
    base, table = random(6, 10), torch.arange(24)
    expected = {f"type.{name}": random(3, 5).mul(50).to(dtype) for dtype, name in DTYPES.items()}
    special = torch.tensor([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-42, 3.4e38])
    expected.update({
        "special": special, "half.special": special.half(), "bf16.special": special.bfloat16(),
        "transposed": base.t(), "row": base[2], "column": base[:, 3], "every_other": base[::2, 1::3], "all": base,
        "permuted": random(2, 3, 4).permute(2, 0, 1), "channels_last": random(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 3), "scalar": torch.tensor(3.5), "long.scalar": torch.tensor(-7),
        "empty": torch.zeros(0, 4), "overlapping": table.as_strided((5, 6), (3, 1)), "ones": random(1, 4, 1).transpose(0, 2),
        "eight.dims": random(1, 2, 1, 2, 1, 2, 1, 2).transpose(1, 7),
    })
    saved = dict(expected)
    saved["parameter"] = nn.Parameter(random(2, 2))
    expected["parameter"] = saved["parameter"].data
    return saved, expected


def make_backbone():
    model = VisionTransformer(8, 2, 4, depth=1, image=8).half()
    return dict(prefixed("module.backbone.", model.state_dict())), model.state_dict()


def make_timm():
    model = VisionTransformer(4, 2, 2, depth=1, image=4)
    saved = collections.OrderedDict(model.state_dict())
    saved["head.weight"], saved["head.bias"] = random(5, 4), random(5)
    return {"model": saved, "size": torch.Size([3, 8, 8])}, model.state_dict()


def make_torchvision():
    expected = {"conv1.weight": random(4, 3, 2, 2)}
    norm = lambda name: {f"{name}.weight": random(4), f"{name}.bias": random(4), f"{name}.running_mean": random(4),
                         f"{name}.running_var": random(4), f"{name}.num_batches_tracked": torch.tensor(12345678901)}
    expected.update(norm("bn1"))
    expected["layer1.0.conv1.weight"] = random(4, 4, 1, 1)
    expected.update(norm("layer1.0.bn1"))
    return collections.OrderedDict({**expected, "fc.weight": random(10, 4), "fc.bias": random(10)}), expected


def make_linear():
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    expected = {"linear.weight": model.weight.data, "linear.bias": model.bias.data}
    return {"epoch": 3, "state_dict": prefixed("module.", expected), "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(), "best_acc": 77.0}, expected


def make_modern():
    backbone, g, v = {"cls_token": random(1, 1, 4)}, random(5, 1), random(5, 4)
    names = "parametrizations.weight.original0", "parametrizations.weight.original1"
    student = {**prefixed("backbone.", backbone), **{f"head.last_layer.{n}": x for n, x in zip(names, (g, v))}}
    return {"student": student, "lr": np.float64(0.25)}, {
        **prefixed("student.backbone.", backbone), "student.head.last_layer.weight_g": g, "student.head.last_layer.weight_v": v}


def modernise(path):
    """What newer versions write otherwise: NumPy's module, byteorder."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("/data.pkl"):
                data = data.replace(b"cnumpy.core.multiarray\nscalar\n", b"cnumpy._core.multiarray\nscalar\n")
                folder = entry.filename[: -len("data.pkl")]
            new.writestr(entry.filename, data)
        new.writestr(folder + "byteorder", b"little")
        new.writestr(folder + ".data/serialization_id", b"0" * 40)
    with open(path, "wb") as file:
        file.write(out.getvalue())


KINDS = {"full": make_full, "first": make_first, "resnet": make_resnet, "types": make_types, "backbone": make_backbone,
         "timm": make_timm, "torchvision": make_torchvision, "linear": make_linear, "modern": make_modern}


def make(folder):
    """Writes all files; {kind: forms}."""
    torch.manual_seed(0)
    made = {}
    for kind, function in KINDS.items():
        saved, expected = function()
        save_expected(os.path.join(folder, kind + ".safetensors"), expected)
        made[kind] = ["zip", "stream"] if kind in ("full", "first") else ["zip"] if kind != "types" else list(FORMS)
        for form in made[kind]:
            path = os.path.join(folder, f"{kind}_{form}.pth")
            zip_form, protocol = FORMS[form]
            torch.save(saved, path, _use_new_zipfile_serialization=zip_form, pickle_protocol=protocol)
            if kind == "modern":
                modernise(path)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    make(parser.parse_args().folder)

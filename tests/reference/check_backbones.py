"""The networks of graphs/backbones beside their authors' code, or timm's and transformers' copies of it, which are missing then.

    check_backbones.py DINOC DINORUN GRAPHS [NAME ...]

Each network is made with random weights and running statistics, at its published width and depth but on small images. Its weights
are given to dinorun as they are saved, or under the names that `names` says. Compared are the features, in evaluation, and the
gradients of the first step of DINO (two views, SGD, from the momentum that the checkpoint has): relative L2, of gradients over all
parameters. All are compared with PyTorch in f64, and so is PyTorch in f32, which is off by as much. Prints a table; the status is 1 where
features differ by more than 1e-5, or gradients by more than 1e-4, and by more than twice what PyTorch's own do, and 77 where
PyTorch, timm or transformers is missing."""
import contextlib
import copy
import io
import os
import re
import sys
import tempfile
import warnings

from checks import needed, run

with needed():
    import numpy as np
    import torch
    from PIL import Image
    from safetensors.torch import save_file
    import timm
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers
    transformers.logging.set_verbosity_error()

import st
from dino import Head, dino_loss

warnings.filterwarnings("ignore")
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
HEAD = {"out_dim": 128, "hidden": 64, "bottleneck": 32}
TEMP, TEACHER_TEMP = 0.1, 0.04


class Features(torch.nn.Module):
    """A network whose output is what DINO's head reads, and the state to which it goes back."""

    def __init__(self, model, take):
        super().__init__()
        self.model, self.take, self.begin = model, take, copy.deepcopy(model.state_dict())

    def restore(self):
        self.model.load_state_dict(self.begin)

    def forward(self, x):
        return self.take(self.model, x)


def of_timm(name, size=None, **more):
    sized = {"img_size": size} if size else {}
    return lambda: (timm.create_model(name, num_classes=0, **sized, **more), lambda m, x: m(x))


def of_transformers(model, config, **settings):
    def make():
        c = getattr(transformers, config)(**settings)
        return getattr(transformers, model)(c), lambda m, x: m(x).last_hidden_state[:, 0]
    return make


def renamed(*pairs):
    """Names by regular expressions, the first that fits; None leaves a tensor out."""
    def names(name):
        for pattern, ours in pairs:
            if re.search(pattern, name):
                return None if ours is None else re.sub(pattern, ours, name)
        return name
    return names


def of_layers(prefix):
    """Names within the layers of transformers' DINOv2 and DINOv3 in memory; |k: the k-th part of a tensor of ours."""
    layer = rf"^{prefix}\.layer\.(\d+)\."
    return tuple((rf"{layer}attention\.{part}_proj\.(\w+)", rf"blocks.\1.attn.qkv.\2|{i}") for i, part in enumerate("qkv")) + (
        (rf"{layer}attention\.o_proj\.", r"blocks.\1.attn.proj."),
        (rf"{layer}layer_scale(\d)\.lambda1", r"blocks.\1.ls\2.gamma"))


DINOV2_NAMES = (
    (r"mask_token", None), (r"^embeddings\.position_embeddings", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."), (r"^embeddings\.", ""),
    *of_layers("encoder"),
    (r"^encoder\.layer\.(\d+)\.mlp\.gate_proj\.(\w+)", r"blocks.\1.mlp.w12.\2|0"),
    (r"^encoder\.layer\.(\d+)\.mlp\.up_proj\.(\w+)", r"blocks.\1.mlp.w12.\2|1"),
    (r"^encoder\.layer\.(\d+)\.mlp\.down_proj\.", r"blocks.\1.mlp.w3."),
    (r"^encoder\.layer\.", "blocks."), (r"^layernorm\.", "norm."))
# Keys have no bias in transformers' DINOv3, and get one of zeros here.
DINOV3_NAMES = (
    (r"mask_token", None), (r"^embeddings\.register_tokens", "storage_tokens"),
    (r"^embeddings\.patch_embeddings\.", "patch_embed.proj."), (r"^embeddings\.", ""),
    *of_layers("model"),
    (r"^model\.layer\.(\d+)\.mlp\.up_proj\.", r"blocks.\1.mlp.fc1."),
    (r"^model\.layer\.(\d+)\.mlp\.down_proj\.", r"blocks.\1.mlp.fc2."), (r"^model\.layer\.", "blocks."))
XCIT_NAMES = ((r"^pos_embed\.", "pos_embeder."),) + tuple(
    (rf"^(cls_attn_blocks\.\d+\.attn)\.{part}\.(\w+)", rf"\1.qkv.\2|{i}") for i, part in enumerate("qkv"))


def dinov2(dim, heads, depth, size, registers=0, swiglu=False):
    kind = "Dinov2WithRegisters" if registers else "Dinov2"
    more = {"num_register_tokens": registers} if registers else {}
    return of_transformers(f"{kind}Model", f"{kind}Config", hidden_size=dim, num_attention_heads=heads, num_hidden_layers=depth,
                           image_size=size, patch_size=14, use_swiglu_ffn=swiglu, **more)


# name: (description, its arguments, size of the images, network, names)
CASES = {
    "dinov2_vits14": ("dinov2.yaml:dinov2_vits14", {"image": 98}, 98, of_timm("vit_small_patch14_dinov2", 98), None),
    "dinov2_vitb14": ("dinov2.yaml:dinov2_vitb14", {"image": 56}, 56, of_timm("vit_base_patch14_dinov2", 56), None),
    "dinov2_vits14_reg": ("dinov2.yaml:dinov2_vits14_reg", {"image": 98}, 98, dinov2(384, 6, 12, 98, 4), renamed(*DINOV2_NAMES)),
    "dinov2_vitl14_reg": ("dinov2.yaml:dinov2_vitl14_reg", {"image": 56}, 56, dinov2(1024, 16, 24, 56, 4), renamed(*DINOV2_NAMES)),
    # ViT-g's layers, four of forty
    "dinov2_vitg14": ("dinov2.yaml:dinov2_vitg14", {"image": 56, "depth": 4}, 56, dinov2(1536, 24, 4, 56, 0, True),
                      renamed(*DINOV2_NAMES)),
    "dinov3_vits16": ("dinov3.yaml:dinov3_vits16", {}, 96, of_transformers(
        "DINOv3ViTModel", "DINOv3ViTConfig", hidden_size=384, num_attention_heads=6, num_hidden_layers=12, image_size=96,
        num_register_tokens=4, pos_embed_rescale=None), renamed(*DINOV3_NAMES)),
    "xcit_small_12_p16": ("xcit.yaml:xcit_small_12_p16", {}, 96, of_timm("xcit_small_12_p16_224"), renamed(*XCIT_NAMES)),
    "xcit_medium_24_p8": ("xcit.yaml:xcit_medium_24_p8", {}, 64, of_timm("xcit_medium_24_p8_224"), renamed(*XCIT_NAMES)),
    "deit_small": ("deit.yaml:deit_small_patch16_224", {"image": 64}, 64, of_timm("deit_small_patch16_224", 64), None),
    "vit_large": ("../vit.yaml:vit_large", {"image": 64}, 64, of_timm("vit_large_patch16_224", 64), None),
    "convnext_tiny": ("convnext.yaml:convnext_tiny", {}, 96, of_timm("convnext_tiny"), None),
    "efficientnet_b0": ("efficientnet.yaml:efficientnet_b0", {}, 128, of_timm("efficientnet_b0"), None),
    "mobilenetv3_large": ("mobilenetv3.yaml:mobilenetv3_large", {}, 128, of_timm("mobilenetv3_large_100"), None),
    "regnety_004": ("regnet.yaml:regnety_004", {}, 128, of_timm("regnety_004"), None),
}


def randomize(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in list(model.named_parameters()) + list(model.named_buffers()):
            if not p.dtype.is_floating_point or "inv_freq" in name:
                continue
            if name.endswith("running_var"):
                p.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                p.normal_(0, 0.1)
            elif p.ndim < 2 or "gamma" in name or "lambda" in name:
                p.uniform_(0.7, 1.3) if not name.endswith("bias") else p.normal_(0, 0.05)
            elif p.ndim == 4:
                p.normal_(0, (2 / p[0].numel()) ** 0.5)
            else:
                p.normal_(0, p.shape[-1] ** -0.5)


def relative(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def images_of(folder, size, count):
    """Images of noise of two scales, and the tensor that evaluation makes of them."""
    rng, big = np.random.default_rng(3), round(size * 256 / 224)
    os.mkdir(folder)
    out = []
    for i in range(count):
        coarse = np.kron(rng.integers(0, 200, (big // 8 + 1, big // 8 + 1, 3)), np.ones((8, 8, 1)))[:big, :big]
        pixels = (coarse + rng.integers(0, 56, (big, big, 3))).astype(np.uint8)
        Image.fromarray(pixels).save(os.path.join(folder, f"{i}.png"))
        at = (big - size) // 2
        out.append((pixels[at:at + size, at:at + size].astype(np.float32) / 255 - MEAN) / STD)
    return torch.from_numpy(np.stack(out).transpose(0, 3, 1, 2).copy())


def ours(state, names):
    """The state under our names, without what a description has no place for."""
    out = {}
    for name, t in state.items():
        name = names(name) if names else name
        if name is not None and not name.endswith("num_batches_tracked"):
            out[name] = t.detach().contiguous()
    for name in [n for n in out if n.endswith("attn.qkv.bias|0") and n[:-1] + "1" not in out]:
        out[name[:-1] + "1"] = torch.zeros_like(out[name])
    for whole in {name.partition("|")[0] for name in out if "|" in name}:
        parts = sorted(name for name in out if name.startswith(whole + "|"))
        out[whole] = torch.cat([out.pop(name) for name in parts])
    return out


def check_features(folder, case, net, state):
    description, sets, size, _, _ = case
    x = images_of(os.path.join(folder, "images"), size, 3)
    plan, weights, out = (os.path.join(folder, n) for n in ("f.plan", "w.safetensors", "f.npy"))
    flags = [f for k, v in sets.items() for f in ("--set", f"{k}={v}")]
    run(DINOC, os.path.join(GRAPHS, "backbones", description), "--image-size", size, "--batch", 3, "-o", plan, *flags)
    save_file(state, weights)
    run(DINORUN, "features", plan, "--weights", weights, "--data", os.path.join(folder, "images"), "--out", out)
    with torch.no_grad():
        want = copy.deepcopy(net).double().eval()(x.double()).numpy()
        theirs = net.eval()(x).numpy()
    return relative(np.load(out), want), relative(theirs, want)


def recipe(case, name):
    description, sets, size, _, _ = case
    file, module = description.split(":")
    graphs = os.path.abspath(GRAPHS)
    return f"""recipe: check
import: [{graphs}/backbones/{file}, {graphs}/dino_head.yaml]
batch: 2
epochs: 1
student: {{backbone: {module}, with: {{{", ".join(f"{k}: {v}" for k, v in sets.items())}}}}}
head: {{with: {{{", ".join(f"{k}: {v}" for k, v in HEAD.items())}, norm_last_layer: true}}}}
crops: {{global: {{size: {size}}}, local: {{size: {size}, count: 0}}}}
loss: {{student_temp: {TEMP}, teacher_temp: {TEACHER_TEMP}}}
optim: {{kind: sgd, momentum: 0.9, clip: 0, no_decay: [], freeze: {{for: 0 epochs}}}}
lr: 1e-6
weight_decay: 0
"""


def check_gradients(folder, case, net, state):
    description, _, size, _, names = case
    torch.manual_seed(5)
    net.train()
    with torch.no_grad():
        dim = net(torch.zeros(2, 3, size, size)).shape[1]
    head = Head(dim, HEAD["out_dim"], True, HEAD["hidden"], HEAD["bottleneck"])
    for p in head.parameters():
        if p.ndim == 2 and p.shape[1] > 1:
            torch.nn.init.normal_(p, 0, p.shape[1] ** -0.5)
    net.restore()
    views = [torch.randn(2, 3, size, size) for _ in range(2)]
    plan, crops, init, out, text = (os.path.join(folder, n) for n in ("t.plan", "c.st", "i.st", "run", "r.yaml"))
    with open(text, "w") as file:
        file.write(recipe(case, description))
    run(DINOC, text, "-o", plan)
    st.save(crops, {f"step0.crop{v}": x.numpy() for v, x in enumerate(views)})
    both = {**{"backbone." + n: t for n, t in state.items()}, **{"head." + n: t.detach() for n, t in head.state_dict().items()}}
    tensors = {f"{who}.{n}": t.numpy() for who in ("student", "teacher") for n, t in both.items()}
    st.save(init, {**tensors, "center": np.zeros((1, HEAD["out_dim"]), np.float32)})
    run(DINORUN, "train", plan, "--replay", crops, "--init", init, "--out", out, "--steps", 1, "--partial")
    have = {re.sub(r"^.*?backbone\.|\.momentum$", "", n): t
            for n, t in st.load(os.path.join(out, "checkpoint.safetensors")).items() if "momentum" in n and "backbone." in n}
    want, theirs = (gradients_of(net.to(dtype), head.to(dtype), torch.cat(views).to(dtype), names)
                    for dtype in (torch.float64, torch.float32))
    return difference(have, want), difference(theirs, want)


def gradients_of(net, head, x, names):
    """Of the student, who is its own teacher, by our names."""
    net.restore()
    net.zero_grad(set_to_none=True)
    with torch.no_grad():
        targets = head(net(x))
    loss, _ = dino_loss(head(net(x)), targets, 0, 2, TEMP, TEACHER_TEMP)
    loss.backward()
    grads = ours({n: p.grad for n, p in net.model.named_parameters() if p.grad is not None}, names)
    return {n: g.numpy() for n, g in grads.items()}


def difference(have, want):
    for n, g in want.items():  # a bias of keys that they have not
        if n.endswith("attn.qkv.bias") and not np.any(g[len(g) // 3:2 * len(g) // 3]):
            have[n] = have[n].copy()
            have[n][len(g) // 3:2 * len(g) // 3] = 0
    missing = set(want) - set(have)
    if missing:
        sys.exit(f"no gradient of {sorted(missing)[:4]}; there are {sorted(have)[:4]} ...")
    square = sum(float(np.sum((have[n].reshape(g.shape) - g.astype(np.float64)) ** 2)) for n, g in want.items())
    return (square / sum(float(np.sum(g.astype(np.float64) ** 2)) for g in want.values())) ** 0.5


def lines_of(description):
    """Lines of the file that say something."""
    with open(os.path.join(GRAPHS, "backbones", description.split(":")[0])) as file:
        return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in file)


def main():
    torch.set_num_threads(2)
    wrong, wanted = 0, sys.argv[4:] or list(CASES)
    print("| network | lines of the file | features | PyTorch's | gradients | PyTorch's |\n|---|---|---|---|---|---|")
    for name in wanted:
        case = CASES[name]
        with contextlib.redirect_stdout(io.StringIO()):
            model, take = case[3]()
        randomize(model, 11)
        net, state = Features(model, take), ours(model.state_dict(), case[4])
        with tempfile.TemporaryDirectory() as folder:
            features = check_features(folder, case, net, state)
            gradients = check_gradients(folder, case, net, state)
        bad = features[0] > max(1e-5, 2 * features[1]) or gradients[0] > max(1e-4, 2 * gradients[1])
        wrong += bad
        numbers = " | ".join(f"{x:.1e}" for x in features + gradients)
        print(f"| {name} | {lines_of(case[0])} | {numbers} |{' WRONG' if bad else ''}", flush=True)
    sys.exit(1 if wrong else 0)


DINOC, DINORUN, GRAPHS = sys.argv[1:4]
if __name__ == "__main__":
    main()

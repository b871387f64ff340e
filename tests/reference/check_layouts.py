"""Weights of other libraries: run by ctest, and skipped (status 77) where PyTorch or Pillow is missing.

    check_layouts.py DINOC DINORUN GRAPHS [--table]

Small networks of random weights, made by timm, torchvision and transformers (those that are installed), are saved in the layouts
that people bring, and given to `dinorun features --weights` as they are. Features must equal the library's own within 1e-5
(relative L2), or the file must be refused with the words that are given. --table prints every case."""
import argparse
import collections
import copy
import datetime
import gzip
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

from checks import needed, run

with needed():
    import numpy as np
    import torch
    from PIL import Image
try:
    import timm
except ImportError:
    timm = None
try:
    import torchvision
except ImportError:
    torchvision = None
try:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
except (ImportError, AttributeError):
    transformers = None
try:
    from safetensors.torch import save_file
except ImportError:
    save_file = None

warnings.filterwarnings("ignore")
DINOC, DINORUN, GRAPHS = sys.argv[1:4]
TABLE = "--table" in sys.argv
SIZE, RESIZED, PATCH, DIM, DEPTH, HEADS = 56, 64, 8, 64, 2, 2
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
LIMIT = 1e-5


class Plain:
    """A class that nobody but this script knows."""

    def __init__(self):
        self.depth, self.names = 3, ["a"]


class Bench:
    def __init__(self, folder):
        self.folder, self.cases, self.wrong = folder, 0, 0
        self.x, self.tall, self.large = self.draw("images"), self.draw("tall images", 2), self.draw("large images", 1, 64, 73)
        self.plan = {}

    def draw(self, name, times=1, size=SIZE, resized=RESIZED):
        """Four images of size * times x size pixels, and what is around them."""
        os.mkdir(self.at(name))
        pixels = np.random.default_rng(1).integers(0, 256, (4, resized * times, resized, 3), np.uint8)
        for i, p in enumerate(pixels):
            Image.fromarray(p).save(self.at(f"{name}/{i}.png"))
        top, left = (resized - size) * times // 2, (resized - size) // 2
        x = (pixels[:, top:top + size * times, left:left + size].astype(np.float32) / 255 - MEAN) / STD
        return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))

    def at(self, name):
        return os.path.join(self.folder, name)

    def compile(self, name, module, *sets, size=str(SIZE)):
        self.plan[name] = self.at(name + ".plan")
        flags = [f for s in sets for f in ("--set", s)]
        run(DINOC, os.path.join(GRAPHS, module), "--image-size", size, "--batch", "4", "-o", self.plan[name], *flags)

    def case(self, what, path, plan, want, *flags, images="images"):
        """`want`: features [4, dim], or words of the refusal."""
        out = self.at("f.npy")
        if os.path.exists(out):
            os.remove(out)
        done = subprocess.run([DINORUN, "features", self.plan[plan], "--weights", self.at(path), "--data", self.at(images),
                               "--out", out, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.cases += 1
        said = " / ".join(l.strip() for l in done.stdout.replace(self.folder + "/", "").splitlines() if "f.npy" not in l)
        if isinstance(want, str):
            right = done.returncode == 1 and want in done.stdout
            result = "refused" if done.returncode == 1 else f"status {done.returncode}"
        elif done.returncode:
            right, result = False, f"status {done.returncode}"
        else:
            have, want = np.load(out), want.detach().double().numpy()
            difference = np.linalg.norm(have - want) / np.linalg.norm(want)
            right, result = difference < LIMIT, f"{difference:.1e}"
        self.wrong += not right
        if TABLE or not right:
            print(f"{'' if right else 'WRONG '}| {what} {' '.join(flags)} | {result} | {said[:400]} |")


def randomize(model):
    torch.manual_seed(7)
    with torch.no_grad():
        for name, p in list(model.named_parameters()) + list(model.named_buffers()):
            if not p.dtype.is_floating_point or name.endswith(("inv_freq", "periods", "k_bias")):
                continue
            if name.endswith("running_var"):
                p.uniform_(0.5, 1.5)
            elif p.ndim == 1 and name.endswith("weight"):
                p.uniform_(0.7, 1.3)
            else:
                p.normal_(0, 0.05 if p.ndim < 4 else 0.1)
    return model.eval()


def prefixed(state, prefix):
    return collections.OrderedDict((prefix + n, t) for n, t in state.items())


def renamed(state, *pairs):
    out = collections.OrderedDict()
    for n, t in state.items():
        for a, b in pairs:
            n = n.replace(a, b)
        out[n] = t
    return out


def put(path, what):
    with open(path, "wb") as file:
        file.write(what)


def timm_vit(**more):
    return randomize(timm.models.vision_transformer.VisionTransformer(
        img_size=SIZE, patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, num_classes=10, **more))


def check_forms(b, state, f):
    """The forms of files, of one state dict."""
    if save_file:
        save_file(state, b.at("m.safetensors"))
        b.case("timm ViT, safetensors, with head", "m.safetensors", "vit", f)
        save_file({n: t for n, t in state.items() if not n.startswith("head")}, b.at("m.safetensors"))
        b.case("timm ViT, safetensors", "m.safetensors", "vit", f)
        save_file(dict(prefixed(state, "module.")), b.at("m.safetensors"))
        b.case("module. in safetensors", "m.safetensors", "vit", f)
        whole = open(b.at("m.safetensors"), "rb").read()
        put(b.at("cut.safetensors"), whole[:len(whole) // 2])
        b.case("safetensors, cut", "cut.safetensors", "vit", "cut short")
        for i, names in enumerate((list(state)[:9], list(state)[9:])):
            save_file({n: state[n] for n in names}, b.at(f"model-{i}.safetensors"))
        put(b.at("model.safetensors.index.json"), ('{"weight_map": {%s}}' % ", ".join(
            f'"{n}": "model-{int(i >= 9)}.safetensors"' for i, n in enumerate(state))).encode())
        b.case("two safetensors by index.json", "model.safetensors.index.json", "vit", f)
    torch.save(state, b.at("m.pth"))
    b.case("state dict, .pth", "m.pth", "vit", f)
    whole = open(b.at("m.pth"), "rb").read()
    put(b.at("cut.pth"), whole[:len(whole) // 2])
    b.case(".pth, cut", "cut.pth", "vit", "is the file cut short?")
    torch.save(state, b.at("m.pth"), _use_new_zipfile_serialization=False)
    b.case("old stream form", "m.pth", "vit", f)
    torch.save(state, b.at("m.pth"), pickle_protocol=5)
    b.case("protocol 5", "m.pth", "vit", f)
    torch.save({n: torch.nn.Parameter(t) for n, t in state.items()}, b.at("m.pth"))
    b.case("Parameters", "m.pth", "vit", f)
    flat = torch.cat([t.reshape(-1) for t in state.values()])
    shared, at = {}, 0
    for n, t in state.items():
        shared[n] = flat[at:at + t.numel()].view(t.shape)
        at += t.numel()
    torch.save(shared, b.at("m.pth"))
    b.case("all tensors in one storage", "m.pth", "vit", f)
    torch.save({n: t.t().contiguous().t() if t.ndim == 2 else t for n, t in state.items()}, b.at("m.pth"))
    b.case("transposed strides", "m.pth", "vit", f)
    torch.save({n: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for n, t in state.items()},
               b.at("m.pth"))
    b.case("channels_last", "m.pth", "vit", f)


def check_types(b, model, f):
    for dtype in torch.float16, torch.bfloat16, torch.float64:
        state = {n: t.to(dtype) for n, t in model.state_dict().items()}
        rounded = copy.deepcopy(model)
        rounded.load_state_dict({n: t.float() for n, t in state.items()})
        torch.save(state, b.at("m.pth"))
        b.case(f"{dtype}", "m.pth", "vit", rounded.forward_features(b.x)[:, 0])


def check_wrappers(b, state, f):
    for prefix in ("module.", "backbone.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "encoder.", "model.", "net.",
                   "model.module.backbone.", "module.base_encoder."):
        torch.save(prefixed(state, prefix), b.at("m.pth"))
        b.case(f"prefix {prefix}", "m.pth", "vit", f)
    for key in "state_dict", "model", "model_state_dict", "net", "weights":
        torch.save({key: state, "epoch": 3}, b.at("m.pth"))
        b.case(f"key {key}", "m.pth", "vit", f)
    torch.save(({"epoch": 1}, state), b.at("m.pth"))
    b.case("a tuple of dicts", "m.pth", "vit", f)
    torch.save(list(state.values()), b.at("m.pth"))
    b.case("a list of tensors", "m.pth", "vit", "a list without a dict of tensors")
    torch.save({"a": {"b": {"c": prefixed(state, "module.")}}}, b.at("m.pth"))
    b.case("three dicts deep", "m.pth", "vit", f)


def check_beside(b, model, state, f):
    """Objects beside the weights."""
    beside = {
        "argparse.Namespace": argparse.Namespace(lr=0.1),
        "a class of one's own": Plain(),
        "datetime": datetime.datetime(2024, 1, 1),
        "pathlib": pathlib.PurePosixPath("/a"),
        "defaultdict": collections.defaultdict(list, a=[1]),
        "set": {1, 2},
        "torch.device": torch.device("cpu"),
        "torch.dtype": torch.float16,
        "a NumPy array": np.arange(3),
        "a NumPy scalar": np.float64(0.5),
        "random states": [np.random.get_state(), torch.get_rng_state()],
        "bytearray, complex": [bytearray(b"a"), 1j],
        "complex, uint16 and float8 tensors": {"a": torch.zeros(2, dtype=torch.complex64),
                                               "b": torch.zeros(2, dtype=getattr(torch, "uint16", torch.int16)),
                                               "c": torch.zeros(2).to(getattr(torch, "float8_e4m3fn", torch.float16))},
        "sparse and quantised tensors": [torch.eye(3).to_sparse(), torch.quantize_per_tensor(torch.ones(3), 1, 0, torch.qint8)],
    }
    for what, thing in beside.items():
        torch.save({"state_dict": state, "thing": thing}, b.at("m.pth"))
        b.case(f"beside it: {what}", "m.pth", "vit", f)
    torch.save(model, b.at("m.pth"))
    b.case("torch.save(model)", "m.pth", "vit", f)
    torch.save({"epoch": 1, "model": model}, b.at("m.pth"))
    b.case("a module under a key", "m.pth", "vit", f)
    torch.save(b, b.at("m.pth"))
    b.case("an object without tensors", "m.pth", "vit", "no dict of tensors; nothing was run")
    torch.save({"epoch": 1, "thing": Plain()}, b.at("m.pth"))
    b.case("no tensors", "m.pth", "vit", "no tensors under a name in it; its entries are thing (")

    class Attack:
        def __reduce__(self):
            return os.system, ("echo ran",)
    torch.save({"state_dict": state, "thing": Attack()}, b.at("m.pth"))
    b.case("os.system", "m.pth", "vit", "system, which weights do not need; nothing was run")


def check_published(b, model, state, f):
    """Checkpoints as the methods' own code writes them."""
    other = randomize(copy.deepcopy(model))
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.25)
    bare = {n: t for n, t in state.items() if not n.startswith("head")}
    of = {n: t for n, t in other.state_dict().items() if not n.startswith("head")}
    g = other.forward_features(b.x)[:, 0]
    head = {"head.mlp.0.weight": torch.ones(4, DIM), "head.last_layer.weight_v": torch.ones(4, 4),
            "head.last_layer.weight_g": torch.ones(4, 1)}

    def network(s):
        return {**prefixed(s, "backbone."), **head}
    optimizer = torch.optim.AdamW(model.parameters())
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    full = {"student": prefixed(network(of), "module."), "teacher": network(bare), "optimizer": optimizer.state_dict(),
            "epoch": 4, "args": argparse.Namespace(arch="vit_small"), "dino_loss": {"center": torch.zeros(1, 4)},
            "fp16_scaler": {"scale": 1.0}}
    model.load_state_dict(state)
    for form in True, False:
        torch.save(full, b.at("m.pth"), _use_new_zipfile_serialization=form)
        b.case(f"official full checkpoint, {'zip' if form else 'stream'}", "m.pth", "vit", f)
        b.case("its student", "m.pth", "vit", g, "--weights-from", "student")
        b.case("by key", "m.pth", "vit", g, "--key", "student")
    b.case("no such key", "m.pth", "vit", "no tensors under the key ema", "--key", "ema")
    torch.save({"student": of, "teacher": bare}, b.at("m.pth"))
    b.case("student, teacher without backbone.", "m.pth", "vit", f)
    torch.save({"teacher": {**prefixed(bare, "backbone."), "dino_head.mlp.0.weight": torch.ones(2, 2)}}, b.at("m.pth"))
    b.case("DINOv2's teacher_checkpoint, whole blocks", "m.pth", "vit", f)
    b.case("its student", "m.pth", "vit", "holds the teacher's backbone, not the student's", "--weights-from", "student")
    torch.save({"epoch": 1, "arch": "vit", "state_dict": state, "optimizer": optimizer.state_dict(), "version": 2,
                "args": argparse.Namespace(a=1), "metric": np.float64(3)}, b.at("m.pth"))
    b.case("timm's train.py", "m.pth", "vit", f)
    torch.save({"state_dict": state, "state_dict_ema": other.state_dict(), "optimizer": optimizer.state_dict()}, b.at("m.pth"))
    b.case("timm's train.py with EMA", "m.pth", "vit", "--key state_dict_ema  a Vision")
    b.case("timm's train.py with EMA", "m.pth", "vit", g, "--key", "state_dict_ema")
    b.case("timm's train.py with EMA", "m.pth", "vit", f, "--key", "state_dict")
    lightning = {"epoch": 1, "global_step": 2, "pytorch-lightning_version": "2.6.1", "loops": {"fit_loop": {"state_dict": {}}},
                 "callbacks": {}, "optimizer_states": [optimizer.state_dict()], "lr_schedulers": [],
                 "hyper_parameters": {"lr": 0.1}}
    torch.save({**lightning, "state_dict": {**prefixed(of, "student_backbone."), **prefixed(bare, "teacher_backbone."),
                                            "criterion.center": torch.zeros(1, 1, 4),
                                            **renamed(head, ("head.", "student_head.")),
                                            **renamed(head, ("head.", "teacher_head."))}}, b.at("m.pth"))
    b.case("Lightning, lightly's DINO", "m.pth", "vit", f)
    b.case("Lightning, lightly's DINO", "m.pth", "vit", g, "--weights-from", "student")
    torch.save({**lightning, "state_dict": prefixed(bare, "model.")}, b.at("m.pth"))
    b.case("Lightning, model.", "m.pth", "vit", f)
    torch.save({**lightning, "state_dict": {**prefixed(bare, "backbone."), **prefixed(of, "momentum_backbone."),
                                            "classifier.weight": torch.ones(2, DIM), "head.0.weight": torch.ones(2, 2),
                                            "momentum_head.0.weight": torch.ones(2, 2)}}, b.at("m.pth"))
    b.case("solo-learn", "m.pth", "vit", "it holds 2 networks; say which is wanted")
    b.case("solo-learn", "m.pth", "vit", f, "--prefix", "backbone.")
    b.case("solo-learn", "m.pth", "vit", g, "--prefix", "momentum_backbone.")
    torch.save({"epoch": 1, "arch": "vit", "state_dict": {**prefixed(state, "module.base_encoder."),
                                                          **prefixed(of, "module.momentum_encoder."),
                                                          "module.predictor.0.weight": torch.ones(2, 2)}}, b.at("m.pth"))
    b.case("MoCo v3", "m.pth", "vit", "--prefix momentum_encoder.")
    b.case("MoCo v3", "m.pth", "vit", f, "--prefix", "module.base_encoder")
    torch.save({"model": {**bare, "mask_token": torch.ones(1, 1, 4), "decoder_pos_embed": torch.ones(1, 50, 4),
                          "decoder_embed.weight": torch.ones(4, DIM), "decoder_blocks.0.norm1.weight": torch.ones(4),
                          "decoder_blocks.0.attn.qkv.weight": torch.ones(12, 4), "decoder_norm.weight": torch.ones(4),
                          "decoder_pred.bias": torch.ones(4)}, "optimizer": optimizer.state_dict(), "epoch": 3}, b.at("m.pth"))
    b.case("MAE", "m.pth", "vit", f)
    ibot = {**prefixed(bare, "backbone."), "backbone.masked_embed": torch.ones(1, DIM), **head,
            "head.last_layer2.weight_v": torch.ones(4, 4)}
    torch.save({"student": prefixed(ibot, "module."), "teacher": ibot, "epoch": 1, "ibot_loss": {"center": torch.zeros(1, 4)}},
               b.at("m.pth"))
    b.case("iBOT", "m.pth", "vit", f)
    torch.save({"encoder": prefixed({**of, "fc.fc1.weight": torch.ones(2, 2)}, "module."),
                "target_encoder": prefixed({**bare, "fc.fc1.weight": torch.ones(2, 2)}, "module."),
                "prototypes": torch.ones(2, 2), "opt": optimizer.state_dict(), "batch_size": 4}, b.at("m.pth"))
    b.case("MSN", "m.pth", "vit", "--key target_encoder")
    b.case("MSN", "m.pth", "vit", f, "--key", "target_encoder")
    jepa = {n: t for n, t in bare.items() if n != "cls_token"}
    torch.save({"encoder": prefixed(jepa, "module."), "predictor": {"module.predictor_blocks.0.norm1.weight": torch.ones(4)},
                "target_encoder": prefixed(jepa, "module."), "opt": optimizer.state_dict()}, b.at("m.pth"))
    b.case("I-JEPA, in a plan with a class token", "m.pth", "vit", "missing from the file: cls_token", "--key", "encoder")
    b.case("the same with --partial", "m.pth", "vit", "missing from the file: cls_token", "--key", "encoder", "--partial")


def check_other_vits(b):
    model = timm_vit(init_values=0.3)
    f, state = model.forward_features(b.x)[:, 0], model.state_dict()
    torch.save(state, b.at("m.pth"))
    b.case("DINOv2 (timm), LayerScale", "m.pth", "vit", f)
    chunks = renamed(state, ("blocks.0.", "blocks.0.0."), ("blocks.1.", "blocks.1.1."))
    torch.save({"teacher": prefixed({**chunks, "mask_token": torch.ones(1, DIM)}, "backbone.")}, b.at("m.pth"))
    b.case("DINOv2's teacher_checkpoint in chunks", "m.pth", "vit", f)
    torch.save(timm_vit(init_values=0.3, reg_tokens=4).state_dict(), b.at("m.pth"))
    b.case("DINOv2 with registers", "m.pth", "vit", "not in the plan: register_tokens")
    b.case("the same with --partial", "m.pth", "vit", "not in the plan: register_tokens", "--partial")
    model = timm_vit(qkv_bias=False)
    torch.save({**model.state_dict(), "blocks.0.total_ops": torch.zeros(1), "n_averaged": torch.tensor(3)}, b.at("m.pth"))
    b.case("no bias of query, key and value; a profiler's notes", "m.pth", "vit", model.forward_features(b.x)[:, 0])
    model = timm_vit(init_values=None)
    mm = renamed(model.state_dict(), ("patch_embed.proj.", "patch_embed.projection."), ("norm1", "ln1"), ("norm2", "ln2"),
                 ("mlp.fc1", "ffn.layers.0.0"), ("mlp.fc2", "ffn.layers.1"), ("blocks.", "layers."))
    mm = {"backbone." + ("ln1" + n[4:] if n.startswith("norm.") else n): t for n, t in mm.items() if "head" not in n}
    torch.save({"meta": {}, "state_dict": mm, "message_hub": {}}, b.at("m.pth"))
    b.case("mmpretrain", "m.pth", "vit", model.forward_features(b.x)[:, 0])
    torch.save(timm_vit(global_pool="avg").state_dict(), b.at("m.pth"))
    b.case("timm ViT with fc_norm", "m.pth", "vit", "missing from the file: norm.weight (nearest there: fc_norm.weight)")
    larger = randomize(timm.models.vision_transformer.VisionTransformer(
        img_size=SIZE + 24, patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, num_classes=0))
    torch.save(larger.state_dict(), b.at("m.pth"))
    table = larger.pos_embed.data
    grid = SIZE // PATCH
    patches = torch.nn.functional.interpolate(
        table[:, 1:].reshape(1, grid + 3, grid + 3, DIM).permute(0, 3, 1, 2),
        scale_factor=((grid + 0.1) / (grid + 3),) * 2, mode="bicubic")
    smaller = timm_vit()
    of = {n: t for n, t in larger.state_dict().items()}
    of["pos_embed"] = torch.cat((table[:, :1], patches.permute(0, 2, 3, 1).reshape(1, grid * grid, DIM)), 1)
    smaller.load_state_dict(of, strict=False)
    b.case("positions of 10x10 at 7x7, as the official code resizes them", "m.pth", "vit", smaller.forward_features(b.x)[:, 0])


def check_rectangles(b):
    """Tables of 14x7 patches, in a plan of such images."""
    def vit(h, w):
        return randomize(timm.models.vision_transformer.VisionTransformer(
            img_size=(h, w), patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, num_classes=0))

    def resized(model, h, w):
        grid, table = model.patch_embed.grid_size, model.pos_embed.data
        patches = torch.nn.functional.interpolate(
            table[:, 1:].reshape(1, *grid, DIM).permute(0, 3, 1, 2), scale_factor=((h + 0.1) / grid[0], (w + 0.1) / grid[1]),
            mode="bicubic")
        other = vit(h * PATCH, w * PATCH)
        table = torch.cat((table[:, :1], patches.permute(0, 2, 3, 1).reshape(1, h * w, DIM)), 1)
        other.load_state_dict({**model.state_dict(), "pos_embed": table})
        return other

    model = vit(2 * SIZE, SIZE)
    torch.save(model.state_dict(), b.at("m.pth"))
    b.case("positions of 14x7 in a plan of 14x7", "m.pth", "tall", model.forward_features(b.tall)[:, 0], images="tall images")
    model = vit(SIZE, SIZE)
    torch.save(model.state_dict(), b.at("m.pth"))
    b.case("positions of 7x7 in a plan of 14x7", "m.pth", "tall", resized(model, 14, 7).forward_features(b.tall)[:, 0],
           images="tall images")
    model = vit(16 * PATCH, 4 * PATCH)
    torch.save(model.state_dict(), b.at("m.pth"))
    b.case("positions of 16x4 in a plan of 14x7", "m.pth", "tall", resized(model, 14, 7).forward_features(b.tall)[:, 0],
           "--positions", "16x4", images="tall images")


def check_timm_backbones(b):
    small = dict(patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, num_classes=0)
    for name, plan, more, images in (
            ("vit_small_patch14_reg4_dinov2", "reg", dict(img_size=SIZE, **small), "images"),
            ("vit_small_patch16_dinov3_qkvb", "dinov3", dict(img_size=SIZE, global_pool="token", **small), "images"),
            ("xcit_small_12_p8_224", "xcit", dict(img_size=SIZE, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, num_classes=0),
             "images"),
            ("convnext_tiny", "convnext", dict(dims=[16, 32, 48, 64], depths=[1, 1, 2, 1], num_classes=0), "large images")):
        model = randomize(timm.create_model(name, **more))
        torch.save(model.state_dict(), b.at("m.pth"))
        b.case(f"timm {name}", "m.pth", plan, model(b.x if images == "images" else b.large), images=images)


def check_transformers(b):
    vit = dict(hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=4 * DIM, image_size=SIZE,
               patch_size=PATCH)

    def saved(what, model, plan, want, **more):
        model = randomize(model)
        folder = b.at("hub")
        subprocess.run(["rm", "-rf", folder], check=True)
        model.save_pretrained(folder)
        with torch.no_grad():
            f = want if isinstance(want, str) else want(model)
        b.case(f"transformers {what}, save_pretrained", "hub/model.safetensors", plan, f, **more)
        torch.save(model.state_dict(), b.at("m.bin"))
        b.case(f"transformers {what}, .bin", "m.bin", plan, f, **more)

    t = transformers
    saved("ViTModel", t.ViTModel(t.ViTConfig(**vit)), "vit12", lambda m: m(b.x).last_hidden_state[:, 0])
    saved("ViTForImageClassification", t.ViTForImageClassification(t.ViTConfig(**vit)), "vit12",
          lambda m: m.vit(b.x).last_hidden_state[:, 0])
    saved("ViTMSNModel", t.ViTMSNModel(t.ViTMSNConfig(layer_norm_eps=1e-6, **vit)), "vit",
          lambda m: m(b.x).last_hidden_state[:, 0])
    mae = t.ViTMAEConfig(mask_ratio=0.0, decoder_hidden_size=32, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
                         decoder_intermediate_size=64, **vit)
    saved("ViTMAEForPreTraining", t.ViTMAEForPreTraining(mae), "vit12",
          lambda m: m.vit(b.x, noise=torch.arange(49.).repeat(4, 1)).last_hidden_state[:, 0])
    saved("DeiTModel", t.DeiTModel(t.DeiTConfig(**vit)), "vit12", "not in the plan: dist_token")
    dino = {k: v for k, v in vit.items() if k != "intermediate_size"}
    saved("Dinov2Model", t.Dinov2Model(t.Dinov2Config(**dino)), "vit", lambda m: m(b.x).last_hidden_state[:, 0])
    saved("Dinov2ForImageClassification", t.Dinov2ForImageClassification(t.Dinov2Config(**dino)), "vit",
          lambda m: m.dinov2(b.x).last_hidden_state[:, 0])
    saved("Dinov2WithRegistersModel", t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**dino)), "vit",
          "not in the plan: register_tokens")
    saved("Dinov2WithRegistersModel", t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**dino)), "reg",
          lambda m: m(b.x).last_hidden_state[:, 0])
    model = randomize(t.Dinov2Model(t.Dinov2Config(use_swiglu_ffn=True, **dino)))
    model.save_pretrained(b.at("swiglu"))  # in memory gate and up are apart
    b.case("transformers Dinov2Model, SwiGLU, save_pretrained", "swiglu/model.safetensors", "swiglu",
           model(b.x).last_hidden_state[:, 0])
    for keys in (False, True):
        saved(f"DINOv3ViTModel, {'' if keys else 'no '}bias of keys", t.DINOv3ViTModel(t.DINOv3ViTConfig(
            num_register_tokens=4, key_bias=keys, **vit)), "dinov3", lambda m: m(b.x).last_hidden_state[:, 0])
    saved("ConvNextModel", t.ConvNextModel(t.ConvNextConfig(hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 2, 1],
                                                            layer_norm_eps=1e-6)), "convnext", lambda m: m(b.large).pooler_output,
          images="large images")
    saved("ResNetModel", t.ResNetModel(t.ResNetConfig(embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2],
                                                      layer_type="basic")), "resnet18",
          lambda m: m(b.x).pooler_output.flatten(1))
    saved("ResNetModel, bottlenecks", t.ResNetModel(t.ResNetConfig(depths=[3, 4, 6, 3])), "resnet50",
          lambda m: m(b.x).pooler_output.flatten(1))


def check_torchvision(b):
    model = randomize(torchvision.models.VisionTransformer(SIZE, PATCH, DEPTH, HEADS, DIM, 4 * DIM, num_classes=5))
    model.heads = torch.nn.Identity()
    with torch.no_grad():
        f = model(b.x)
    torch.save({**model.state_dict(), "heads.head.weight": torch.ones(5, DIM)}, b.at("m.pth"))
    b.case("torchvision's VisionTransformer", "m.pth", "vit", f)
    net = randomize(torchvision.models.resnet18(num_classes=7))
    state = net.state_dict()
    other = {n: t * 1.01 if t.dtype.is_floating_point else t for n, t in state.items()}
    fc = torch.nn.Identity()
    net.fc = fc
    with torch.no_grad():
        f = net(b.x)
    bare = {n: t for n, t in state.items() if not n.startswith("fc")}
    torch.save(state, b.at("m.pth"))
    b.case("torchvision resnet18", "m.pth", "resnet18", f)
    torch.save({n: t for n, t in state.items() if "num_batches" not in n}, b.at("m.pth"))
    b.case("torchvision resnet18 of before PyTorch 0.4.1", "m.pth", "resnet18", f)
    torch.save({"epoch": 1, "arch": "resnet18", "state_dict": {
        **prefixed(bare, "module.encoder_q."), **prefixed(other, "module.encoder_k."), "module.encoder_q.fc.0.weight": torch.ones(2, 2),
        "module.queue": torch.ones(2, 2), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}}, b.at("m.pth"))
    b.case("MoCo v2", "m.pth", "resnet18", "--prefix encoder_q.  a ResNet")
    b.case("MoCo v2", "m.pth", "resnet18", f, "--prefix", "encoder_q.")
    torch.save({**prefixed(bare, "module."), "module.projection_head.0.weight": torch.ones(2, 2),
                "module.prototypes.weight": torch.ones(2, 2)}, b.at("m.pth"))
    b.case("SwAV", "m.pth", "resnet18", f)
    sequential = torch.nn.Sequential(*list(net.children())[:-1])
    torch.save({"state_dict": {**prefixed(sequential.state_dict(), "backbone."), "projection_head.layers.0.weight": torch.ones(2, 2)}},
               b.at("m.pth"))
    b.case("lightly's ResNet, nn.Sequential", "m.pth", "resnet18", f)
    torch.save(state, b.at("m.pth"))
    b.case("a ResNet for a ViT's plan", "m.pth", "vit", "holds none of the plan's parameters")
    if timm:
        model = randomize(timm.create_model("resnet18", num_classes=3))
        torch.save(model.state_dict(), b.at("m.pth"))
        with torch.no_grad():
            b.case("timm resnet18", "m.pth", "resnet18", model.forward_features(b.x).mean((2, 3)))


def check_no_weights(b, model):
    np.savez(b.at("a.npz"), a=np.ones(3))
    traced = torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2))
    traced.save(b.at("script.pt"))
    put(b.at("pointer.pth"), b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 83\n")
    put(b.at("page.pth"), b"<!DOCTYPE html>\n<html><head>")
    put(b.at("a.onnx"), b"\x08\x07\x12\x07pytorch\x1a\x051.9.0" + bytes(50))
    put(b.at("a.h5"), b"\x89HDF\r\n\x1a\n" + bytes(50))
    put(b.at("config.json"), b'{"architectures": ["ViTModel"]}')
    put(b.at("a.pth.gz"), gzip.compress(b"abc"))
    subprocess.run(["tar", "-cf", b.at("a.tar"), "-C", b.folder, "config.json"], check=True)
    subprocess.run([sys.executable, "-m", "zipfile", "-c", b.at("a.zip"), b.at("config.json")], check=True)
    for path, words in (("a.npz", "NumPy's arrays in a zip archive (.npz)"), ("script.pt", "a TorchScript program"),
                        ("pointer.pth", "a Git LFS pointer"), ("page.pth", "a web page (HTML)"), ("a.onnx", "an ONNX model"),
                        ("a.h5", "an HDF5 file"), ("config.json", "a JSON text"), ("a.pth.gz", "compressed by gzip"),
                        ("a.tar", "a tar archive"), ("a.zip", "its first file is config.json")):
        b.case(path, path, "vit", words)


def main():
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        b = Bench(folder)
        small = f"dim={DIM}", f"depth={DEPTH}", f"heads={HEADS}", f"image={SIZE}", f"patch={PATCH}"
        b.compile("vit", "vit.yaml:vit", *small)
        b.compile("vit12", "vit.yaml:vit", *small, "eps=1e-12")
        b.compile("tall", "vit.yaml:vit", *small, size=f"{2 * SIZE}x{SIZE}")
        b.compile("reg", "backbones/dinov2.yaml:dinov2", *small, "registers=4")
        b.compile("swiglu", "backbones/dinov2.yaml:dinov2", *small, "swiglu=true")
        b.compile("dinov3", "backbones/dinov3.yaml:dinov3", *(s for s in small if "image" not in s))
        b.compile("convnext", "backbones/convnext.yaml:convnext", "dims=[16, 32, 48, 64]", "depths=[1, 1, 2, 1]", size="64")
        b.compile("xcit", "backbones/xcit.yaml:xcit", f"dim={DIM}", f"depth={DEPTH}", f"heads={HEADS}", "patch=8")
        b.compile("resnet18", "resnet.yaml:resnet18")
        b.compile("resnet50", "resnet.yaml:resnet50")
        if timm:
            model = timm_vit()
            state, f = model.state_dict(), model.forward_features(b.x)[:, 0]
            state = collections.OrderedDict((n, t.clone()) for n, t in state.items())
            check_forms(b, state, f)
            check_types(b, model, f)
            check_wrappers(b, state, f)
            check_beside(b, model, state, f)
            check_published(b, model, state, f)
            check_other_vits(b)
            check_rectangles(b)
            check_timm_backbones(b)
        check_no_weights(b, None)
        if torchvision:
            check_torchvision(b)
        if transformers:
            check_transformers(b)
        missing = [n for n, m in (("timm", timm), ("torchvision", torchvision), ("transformers", transformers),
                                  ("safetensors", save_file)) if not m]
        print(f"{b.cases} files, {b.wrong} wrong" + (f"; not installed: {', '.join(missing)}" if missing else ""))
        sys.exit(b.wrong > 0)


main()

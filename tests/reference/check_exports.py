"""What `dinorun export` writes, opened by the programs that it is for: run by ctest, and skipped (status 77) where NumPy or Pillow is
missing. Each of onnx, onnxruntime, openvino, torch, timm and transformers that is missing is said, and its rows skipped.

    check_exports.py DINOC DINORUN GRAPHS [--table] [--large] [--only NAME]

Networks of random weights are exported, and their features on four images must equal those of `dinorun features` within 1e-5
(relative L2, and of one image at a time, so that the batch is not fixed). By default the networks are small ones of every kind;
--large takes each backbone of graphs/ at its own size, and prints the time of a batch beside dinorun's. --table prints every case."""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from checks import SKIP, needed

with needed():
    import numpy as np
    from PIL import Image
import st

os.environ["HF_HUB_OFFLINE"] = "1"

LIMIT, IMAGES = 1e-5, 4
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)

# Name, description, settings, and what is said where timm or transformers has no such network.
NO_EPS, NO_STEM, NEITHER = "epsilon of 1e-06", "begin with a convolution of 7x7", "the network is no Vision Transformer"
NO_KEYS = "has a bias of keys, which the other library has not"
NO_GATES, NO_GRID = "gated MLPs are not written for timm", "has a square grid of positions"
NO_WIDTH = "has neither wide nor grouped ResNets"
NO = {"timm": NEITHER, "transformers": NEITHER}
SMALL = [
    ("ViT/8", "vit.yaml:vit", {"dim": 64, "heads": 4, "depth": 3, "patch": 8, "image": 48}, {}),
    ("ViT/16, other eps", "vit.yaml:vit", {"dim": 96, "heads": 3, "depth": 2, "image": 64, "eps": 1e-3}, {"timm": NO_EPS}),
    ("ViT/8, 24x40", "vit.yaml:vit", {"dim": 64, "heads": 2, "depth": 2, "patch": 8, "size": "24x40"}, {}),
    ("ViT/8, other MLP", "vit.yaml:vit", {"dim": 64, "heads": 2, "depth": 2, "patch": 8, "image": 32, "mlp_ratio": 3}, {}),
    ("ResNet-50's blocks", "resnet.yaml:resnet", {"blocks": "[1, 2, 1, 1]", "image": 64}, {}),
    ("ResNet-18's blocks", "resnet.yaml:resnet_basic", {"blocks": "[1, 2, 1, 1]", "image": 64}, {}),
    ("ResNet for small images", "resnet.yaml:resnet_basic", {"planes": 16, "small": "true", "image": 32},
     {"timm": NO_STEM, "transformers": NO_STEM}),
    ("narrow ResNet", "resnet.yaml:resnet", {"blocks": "[1, 1, 1, 1]", "planes": 16, "image": 32}, {"timm": NO_STEM}),
    ("ResNeXt", "resnet.yaml:resnet", {"blocks": "[1, 1, 1, 1]", "groups": 8, "width": 16, "image": 32},
     {"transformers": NO_WIDTH}),
    ("other ops", "../tests/fixtures/other_ops.yaml:other_ops", {}, NO),
    ("gates", "../tests/fixtures/gates.yaml:gates", {}, NO),
    ("DINOv2", "backbones/dinov2.yaml:dinov2", {"dim": 64, "heads": 2, "depth": 2, "image": 56}, {}),
    ("DINOv2, 28x56", "backbones/dinov2.yaml:dinov2", {"dim": 64, "heads": 2, "depth": 2, "image": 56, "size": "28x56"},
     {"transformers": NO_GRID}),
    ("DINOv2, registers", "backbones/dinov2.yaml:dinov2",
     {"dim": 64, "heads": 2, "depth": 2, "image": 56, "registers": 4}, {}),
    ("DINOv2, 3 registers, 84", "backbones/dinov2.yaml:dinov2",
     {"dim": 64, "heads": 2, "depth": 2, "image": 56, "registers": 3, "size": "84"}, {}),
    ("DINOv2, SwiGLU", "backbones/dinov2.yaml:dinov2",
     {"dim": 64, "heads": 2, "depth": 2, "image": 56, "registers": 4, "swiglu": "true"}, {"timm": NO_GATES}),
    ("DINOv3", "backbones/dinov3.yaml:dinov3", {"dim": 64, "heads": 2, "depth": 2, "image": 64}, {"timm": NO_KEYS}),
    ("DINOv3, keys without bias", "backbones/dinov3.yaml:dinov3", {"dim": 64, "heads": 2, "depth": 2, "image": 64}, {}),
    ("DINOv3, 32x48, no registers, keys without bias", "backbones/dinov3.yaml:dinov3",
     {"dim": 96, "heads": 2, "depth": 2, "registers": 0, "size": "32x48"}, {}),
    ("XCiT", "backbones/xcit.yaml:xcit", {"dim": 64, "heads": 4, "depth": 2, "image": 64}, NO),
    ("ConvNeXt", "backbones/convnext.yaml:convnext",
     {"dims": "[16, 32, 64, 128]", "depths": "[1, 1, 2, 1]", "image": 64}, {}),
    ("EfficientNet-B0", "backbones/efficientnet.yaml:efficientnet_b0", {"size": "64"}, NO),
    ("MobileNetV3", "backbones/mobilenetv3.yaml:mobilenetv3_large", {"size": "64"}, NO),
    ("RegNetY-400MF", "backbones/regnet.yaml:regnety_004", {"size": "64"}, NO),
    ("recipe cifar10", "cifar10.yaml", {"batch": 8}, {}),
    ("recipe at another size", "cifar10.yaml",
     {"batch": 8, "entries.features.size": 48, "entries.features.resize": 55}, {}),
]
LARGE = [
    ("ViT-Ti/16", "vit.yaml:vit_tiny", {}, {}),
    ("ViT-S/16", "vit.yaml:vit_small", {}, {}),
    ("ViT-S/8", "vit.yaml:vit_small", {"patch": 8}, {}),
    ("ViT-B/16", "vit.yaml:vit_base", {}, {}),
    ("ResNet-18", "resnet.yaml:resnet18", {}, {}),
    ("ResNet-34", "resnet.yaml:resnet34", {}, {}),
    ("ResNet-50", "resnet.yaml:resnet50", {}, {}),
    ("ResNet-101", "resnet.yaml:resnet101", {}, {}),
    ("Wide ResNet-50-2", "resnet.yaml:wide_resnet50_2", {}, {"transformers": NO_WIDTH}),
    ("DeiT-S/16", "backbones/deit.yaml:deit_small_patch16_224", {}, {}),
    ("DINOv2 S/14", "backbones/dinov2.yaml:dinov2_vits14", {}, {}),
    ("DINOv2 S/14, registers", "backbones/dinov2.yaml:dinov2_vits14_reg", {}, {}),
    ("DINOv3 S/16, keys without bias", "backbones/dinov3.yaml:dinov3_vits16", {}, {}),
    ("XCiT-S12/16", "backbones/xcit.yaml:xcit_small_12_p16", {}, NO),
    ("ConvNeXt-T", "backbones/convnext.yaml:convnext_tiny", {}, {}),
]


class Network:
    """A compiled plan, weights, images and the features that dinorun makes of them."""

    def __init__(self, folder, args, name, source, sets):
        self.folder, self.args, self.name = pathlib.Path(folder), args, name
        path = os.path.join(args.graphs, source)
        flags = [f for key, value in sets.items() for f in ("--set", f"{key}={value}") if key != "size"]
        flags += ["--image-size", sets["size"]] if "size" in sets else []
        if "batch" not in sets:
            flags += ["--batch", str(IMAGES)]
        self.plan = self.run(args.dinoc, path, *flags, "-o", self.at("plan")) and self.at("plan")
        layout = self.run(args.dinorun, "info", self.plan, "--layout", "--entry", "features")
        height, width = map(int, re.search(r"input +images +f32 \[\d+, (\d+), (\d+), 3\]", layout).groups())
        self.make_weights(layout)
        resize = re.search(r"^ *entries.features.resize +(\d+)", self.run(args.dinorun, "info", self.plan), re.M)
        self.make_images(height, width, int(resize.group(1)) if resize else round(width * 256 / 224))
        start = time.perf_counter()
        self.run(args.dinorun, "features", self.plan, "--weights", self.at("w"), "--data", self.at("images"), "--out",
                 self.at("features.npy"))
        self.seconds = time.perf_counter() - start
        self.features = np.load(self.at("features.npy"))

    def at(self, name):
        return str(self.folder / name)

    def run(self, *command, fails=None):
        done = subprocess.run(command, capture_output=True, text=True)
        if bool(done.returncode) != bool(fails) or (fails and not re.search(fails, done.stderr)):
            sys.exit(f"{self.name}: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def make_weights(self, layout):
        rng, self.weights = np.random.default_rng(1), {}
        for dtype, shape, name in re.findall(r"^ +in  param +\d+ \+ \d+ +(\S+) \[([^\]]*)\] (\S+)$", layout, re.M):
            shape = [int(d) for d in shape.split(",") if d]
            fan = np.prod(shape[1:]) if len(shape) > 1 else 1
            made = rng.standard_normal(shape, np.float32)
            if dtype == "i64":
                made = np.array(3, np.int64)
            elif name.endswith("running_var"):
                made = 1 + 0.5 * np.tanh(made)
            elif len(shape) == 1:
                made = (1 if name.endswith("weight") else 0) + 0.1 * made
            else:
                made = made * np.float32(1 / np.sqrt(fan)) if len(shape) != 3 else 0.2 * made
            if "keys without bias" in self.name and name.endswith("attn.qkv.bias"):
                made[len(made) // 3:2 * len(made) // 3] = 0
            self.weights[name.removeprefix("teacher.backbone.")] = np.asarray(made, np.int64 if dtype == "i64" else np.float32)
        st.save(self.at("w"), self.weights, {"format": "pt"})

    def make_images(self, height, width, side):
        """Of the size to which images are resized, so that only the crop is left to do here."""
        os.mkdir(self.at("images"))
        pixels = np.random.default_rng(2).integers(0, 256, (IMAGES, side, side, 3), np.uint8)
        for i, p in enumerate(pixels):
            Image.fromarray(p).save(self.at(f"images/{i}.png"))
        top, left = int(round((side - height) / 2.0)), int(round((side - width) / 2.0))
        x = (pixels[:, top:top + height, left:left + width].astype(np.float32) / 255 - MEAN) / STD
        self.margin = side - width
        self.images = np.ascontiguousarray(x.transpose(0, 3, 1, 2))

    def difference(self, features):
        return float(np.linalg.norm(features - self.features) / np.linalg.norm(self.features))

    def export(self, *flags, fails=None):
        return self.run(self.args.dinorun, "export", self.at("w"), "--plan", self.plan, *flags, fails=fails)

    def pictures(self):
        return [Image.open(self.at(f"images/{i}.png")).convert("RGB") for i in range(IMAGES)]


def measure(run, images):
    """The features, of all images and one by one, which must be the same to rounding, and the seconds of the batch."""
    features = run(images)
    alone = np.concatenate([run(images[i:i + 1]) for i in range(len(images))])
    start = time.perf_counter()
    run(images)
    seconds = time.perf_counter() - start
    worse = max(features, alone, key=lambda f: np.abs(f - features).max())
    return features, worse, seconds


def by_onnxruntime(path):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"images": x})[0]


def by_openvino(path):
    import openvino
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2}
    network = openvino.Core().compile_model(path, "CPU", config)
    return lambda x: network([x])[0]


def check_onnx(network, missing):
    """{program: (difference, seconds)} of the ONNX file."""
    path, results = network.at("network.onnx"), {}
    network.export("--onnx", path)
    if "onnx" not in missing:
        import onnx
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path)
        assert [o.version for o in model.opset_import] == [17], model.opset_import
        assert {p.key for p in model.metadata_props} >= {"image.mean", "image.std", "image.center_crop"}
    for program, opener in (("onnxruntime", by_onnxruntime), ("openvino", by_openvino)):
        if program not in missing:
            features, worse, seconds = measure(opener(path), network.images)
            results[program] = (max(network.difference(features), network.difference(worse)), seconds)
    return results


def by_torch(model):
    import torch

    def run(x):
        with torch.no_grad():
            return model(torch.from_numpy(x)).numpy()
    return run


def check_timm(network, missing, refused):
    """The same of timm's folder, with the preparation of images that its config says."""
    folder = network.at("timm")
    network.export("--timm", folder, fails=refused)
    if refused:
        assert not os.path.exists(folder)
        return {}
    if "timm" in missing:
        return {}
    import timm
    import torch
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    images = torch.stack([transform(picture) for picture in network.pictures()]).numpy()
    if network.images.shape[2] == network.images.shape[3]:  # else it resizes in another way, which is said
        assert np.abs(images - network.images).max() < 1e-5, "timm prepares images in another way"
    features, worse, seconds = measure(by_torch(model), network.images)
    return {"timm": (max(network.difference(features), network.difference(worse)), seconds)}


def check_transformers(network, missing, refused):
    """The same of transformers' folder."""
    folder = network.at("transformers")
    network.export("--transformers", folder, fails=refused)
    if refused:
        assert not os.path.exists(folder)
        return {}
    if "transformers" in missing:
        return {}
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model, info = transformers.AutoModel.from_pretrained(folder, output_loading_info=True)
    left = [k for k in info["missing_keys"] if "pooler" not in k], info["unexpected_keys"], info["mismatched_keys"]
    assert not any(left), left
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    images = processor(network.pictures(), return_tensors="np")["pixel_values"].astype(np.float32)
    if network.margin % 2 == 0:  # it crops half a pixel beside torchvision's crop elsewhere
        assert np.abs(images - network.images).max() < 1e-5, "transformers prepares images in another way"
    model.eval()
    convolutional = model.config.model_type in ("resnet", "convnext")
    run = by_torch(lambda x: model(x).pooler_output.flatten(1) if convolutional else model(x).last_hidden_state[:, 0])
    features, worse, seconds = measure(run, network.images)
    return {"transformers": (max(network.difference(features), network.difference(worse)), seconds)}


def check_torch(network, missing):
    """The files of torch.save, of a checkpoint with two networks: loaded without executing anything, every bit is there."""
    if "torch" in missing:
        return
    import torch
    full, path = network.at("full"), network.at("full.pth")
    head = {"head.last_layer.weight_v": np.arange(12, dtype=np.float32).reshape(4, 3)}
    tensors = {f"{who}.backbone.{k}": v for who in ("student", "teacher") for k, v in network.weights.items()}
    tensors |= {f"student.{k}": v for k, v in head.items()} | {"center": np.ones((1, 4), np.float32)}
    st.save(full, tensors, {"format": "pt"})
    network.run(network.args.dinorun, "export", full, "--torch", path)
    norms = any("running_mean" in name for name in network.weights)
    for mapped in (False, True):
        loaded = torch.load(path, weights_only=True, mmap=mapped, map_location="cpu")
        assert list(loaded) == ["student", "teacher", "dino_loss"], list(loaded)
        assert list(loaded["dino_loss"]) == ["center"]
        for who, prefix in (("student", "module."), ("teacher", "module." if norms else "")):
            want = {prefix + k.removeprefix(who + "."): v for k, v in tensors.items() if k.startswith(who + ".")}
            assert set(loaded[who]) == set(want)
            assert all(np.array_equal(loaded[who][k].numpy(), v) for k, v in want.items())
    network.run(network.args.dinorun, "export", full, "--torch", network.at("teacher.pth"), "--backbone", "teacher")
    loaded = torch.load(network.at("teacher.pth"), weights_only=True)
    assert set(loaded) == set(network.weights)
    assert all(np.array_equal(loaded[k].numpy(), v) and loaded[k].is_contiguous() for k, v in network.weights.items())


def find_missing():
    missing = set()
    for package in ("onnx", "onnxruntime", "openvino", "torch", "timm", "transformers"):
        try:
            __import__(package)
        except ImportError as why:
            missing.add(package)
            print(f"without {package}: {why}")
    return missing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("dinoc", "dinorun", "graphs"):
        parser.add_argument(name)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--only", default="", help="networks with this in their name")
    args = parser.parse_args()
    missing, worst, cases = find_missing(), 0, 0
    for name, source, sets, refused in LARGE if args.large else SMALL:
        if args.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            network = Network(folder, args, name, source, sets)
            check_torch(network, missing)
            results = check_onnx(network, missing) | check_timm(network, missing, refused.get("timm"))
            results |= check_transformers(network, missing, refused.get("transformers"))
            for program, (difference, seconds) in results.items():
                worst, cases = max(worst, difference), cases + 1
                if args.table or args.large or not difference < LIMIT:
                    print(f"{name:26} {program:12} {difference:.1e} {seconds * 1e3:8.1f} ms", flush=True)
    print(f"{cases} exports compared, largest difference {worst:.1e}")
    return SKIP if not cases else int(not worst < LIMIT)


if __name__ == "__main__":
    sys.exit(main())

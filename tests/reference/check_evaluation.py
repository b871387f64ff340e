"""From image files to features, attention and k-NN: Dinograph against PyTorch, torchvision and Pillow, from the same weights. Run by
ctest, and skipped (status 77) where one of them is missing.

    check_evaluation.py BUILD GRAPHS [PHOTOGRAPHS]

On drawn scenes, with a ViT and a ResNet-18 that fit them; or on the photographs of a plain folder, with ViT-S/16 and ResNet-50.
Weights are values.py's, written by torch.save and read by `dinorun import`. Asked for:

- the network's input, by the library: equal bit for bit (resize, bicubic; centre crop; normalise);
- features within 1e-5, relative L2, of every image;
- what `features --output` has of a ViT's tokens likewise;
- the last block's attention to the patches likewise, of a few images, each shown whole;
- the class that k-NN gives each image, for several k, as eval_knn.py does in f32 with PyTorch's features, and with ours: the same,
  except at ties, where the last neighbour and the next, or the votes of the two best classes, are nearer than the two sides'
  similarities (with the same features: than f32 products). Ties and differences are counted and printed."""
import argparse
import csv
import ctypes
import os
import sys
import tempfile

from checks import needed, run

with needed():
    import numpy as np
    import torch
    import pictures  # torchvision and Pillow

from dino import VITS, VisionTransformer, resnet, set_initial
from make_attention import look
from values import initial_value, spread_value

ROUNDING, TEMPERATURE, LOOKED_AT = 2**-22, 0.07, 4  # the first: of an f32 product of normalised features


@torch.no_grad()
def settle(case, paths):
    """Batch norms take the statistics of some pictures, or features of a ResNet would all point the same way."""
    for module in case.module.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    case.module.train()(torch.stack([case.look(path) for path in paths]))
    case.module.eval()


class Case:
    """A network, as a plan and as a module."""

    def __init__(self, name, what, sets, module, size, resize, batch):
        self.name, self.what, self.sets, self.module = name, what, sets, module.eval()
        self.size, self.resize, self.batch = size, resize, batch

    def look(self, path):
        return pictures.evaluation(pictures.read(path), self.size, self.resize)


def cases(small):
    if small:
        vit = VisionTransformer(64, 4, 8, 3, 64)
        yield Case("ViT", "vit.yaml:vit", ["dim=64", "heads=4", "depth=3", "patch=8", "image=64"], vit, 64, 73, 32)
        yield Case("ResNet-18", "resnet.yaml:resnet18", ["image=64"], resnet("resnet18")[0], 64, 73, 32)
    else:
        yield Case("ViT-S/16", "vit.yaml:vit_small", ["patch=16"], VisionTransformer(*VITS["vit_small"], 16), 224, 256, 16)
        yield Case("ResNet-50", "resnet.yaml:resnet50", [], resnet("resnet50")[0], 224, 256, 16)


def inputs(build, plan, paths, size):
    """What the library makes of each file: [size, size, 3]."""
    library = ctypes.CDLL(os.path.join(build, "libdinograph.so"))
    library.dinograph_error.restype = ctypes.c_char_p
    library.dinograph_input_data.restype = ctypes.POINTER(ctypes.c_float)
    handles = ctypes.c_void_p(), ctypes.c_void_p()

    def call(name, *arguments):
        if getattr(library, "dinograph_" + name)(*arguments):
            sys.exit(library.dinograph_error().decode())

    call("plan_open", plan.encode(), ctypes.byref(handles[0]))
    call("session_open", handles[0], b"features", None, ctypes.byref(handles[1]))
    data = library.dinograph_input_data(handles[1], b"images")
    for path in paths:
        call("set_image_file", handles[1], ctypes.c_int64(0), path.encode())
        yield np.ctypeslib.as_array(data, (size, size, 3)).copy()
    library.dinograph_session_close.restype = library.dinograph_plan_close.restype = None
    library.dinograph_session_close(handles[1])
    library.dinograph_plan_close(handles[0])


def relative(ours, theirs):
    """The largest relative L2 difference of a row."""
    ours, theirs = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (ours, theirs))
    return float((np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)).max())


def check_attention(case, dinorun, plan, weights, paths, folder):
    worst = 0
    for path in paths[:: max(1, len(paths) // LOOKED_AT)][:LOOKED_AT]:
        out = os.path.join(folder, "attention")
        run(dinorun, "attention", plan, "--weights", weights, "--image", path, "--out", out)
        shown = pictures.read(path).resize((case.size, case.size), pictures.Image.BILINEAR)
        theirs = look(case.module, pictures.tensor(shown)[None])[0][0].numpy()
        worst = max(worst, relative(np.load(out + "/attention.npy").reshape(1, -1), theirs.reshape(1, -1)))
    print(f"  attention of {LOOKED_AT} images: relative L2 difference {worst:.1e} at most")
    assert worst <= 1e-5


@torch.no_grad()
def check_outputs(case, dinorun, plan, weights, images, folder):
    """What `features --output` has of tokens, GeM as in eval_copy_detection.py."""
    paths = pictures.listing(images)[0]
    x = torch.cat([case.module.tokens(case.look(path)[None]) for path in paths])
    side = case.size // case.module.patch_embed["proj"].stride[0]
    grid = x[:, 1:].reshape(len(x), side, side, -1)
    pooled = torch.nn.functional.avg_pool2d(grid.clamp(min=1e-6).permute(0, 3, 1, 2).pow(4), (side, side))
    gem = pooled.pow(1.0 / 4).reshape(len(x), -1)
    expected = {"tokens": x, "patches": grid, "patch-mean": x[:, 1:].mean(1), "gem": gem, "cls+gem": torch.cat([x[:, 0], gem], 1),
                "cls+patch-mean": torch.cat([x[:, 0], x[:, 1:].mean(1)], 1)}
    for kind, want in expected.items():
        out = os.path.join(folder, "output.npy")
        run(dinorun, "features", plan, "--weights", weights, "--data", images, "--out", out, "--output", kind)
        have = np.load(out)
        assert have.shape == tuple(want.shape), f"{kind}: {have.shape}, and in PyTorch {tuple(want.shape)}"
        apart = relative(have, want.numpy())
        print(f"  {kind} {list(have.shape)}: relative L2 difference {apart:.1e} at most")
        assert apart <= 1e-5


def votes(train_x, train_y, val_x, classes, k):
    """[images, classes], as eval_knn.py adds them up; and for each image how near the last of its neighbours and the one left out
    are, in similarity."""
    similarity, index = (val_x @ train_x.t()).topk(min(k + 1, len(train_x)), largest=True, sorted=True)
    gap = similarity[:, k - 1] - similarity[:, k] if k < len(train_x) else torch.ones(len(val_x))
    similarity, index = similarity[:, :k], index[:, :k]
    one_hot = torch.zeros(len(val_x), k, classes).scatter_(2, train_y[index][..., None], 1)
    return (one_hot * (similarity / TEMPERATURE).exp()[..., None]).sum(1), gap


def compare(answers, ks, sets, features, classes, rounding):
    """How many of our answers are not those of PyTorch with these features, and how many are ties."""
    differ = ties = 0
    for k in ks:
        table, gap = votes(features[0], torch.tensor(sets[0][1]), features[1], len(classes), k)
        best = table.topk(2, 1)
        for row, value, index, near in zip(answers, best.values.tolist(), best.indices.tolist(), gap.tolist()):
            same = row[f"{k}-NN"] == classes[index[0]]
            tied = near <= rounding or value[0] - value[1] <= rounding / TEMPERATURE * value[0]
            ties += tied
            differ += not same
            assert same or tied, f"{k}-NN of {row['path']}: {row[f'{k}-NN']}, and in PyTorch {classes[index[0]]}"
    return differ, ties


def check_knn(dinorun, plan, weights, images, ours, theirs, sets):
    classes = sorted(os.listdir(images + "/train"))
    ks = [k for k in (1, 5, 10, 20, 100) if k <= len(ours[0])]
    out = os.path.join(images, "predictions.tsv")
    run(dinorun, "knn", plan, "--weights", weights, "--train", images + "/train", "--val", images + "/val", "-k",
        ",".join(map(str, ks)), "--predictions", out)
    with open(out, encoding="utf-8") as file:
        answers = list(csv.DictReader(file, delimiter="\t"))
    assert [images + "/val/" + row["path"] for row in answers] == sets[1][0]
    ours, theirs = ([torch.nn.functional.normalize(torch.from_numpy(x), dim=1, p=2) for x in both] for both in (ours, theirs))
    products = [(x[1].double() @ x[0].double().t()) for x in (ours, theirs)]
    apart = (products[0] - products[1]).abs().max().item()
    print(f"  k-NN of {len(answers)} images by {len(ours[0])}, k {ks}, {len(answers) * len(ks)} answers; similarities from "
          f"{products[0].min():.4f} to {products[0].max():.4f}, which differ by {apart:.1e} at most")
    print("    by PyTorch's features %d differ, %d ties" % compare(answers, ks, sets, theirs, classes, 2 * apart + ROUNDING))
    print("    by ours %d differ, %d ties" % compare(answers, ks, sets, ours, classes, ROUNDING))


def check(case, build, graphs, images, folder):
    dinoc, dinorun = os.path.join(build, "dinoc"), os.path.join(build, "dinorun")
    at = lambda name: os.path.join(folder, name)
    sets = [pictures.listing(f"{images}/{s}") for s in ("train", "val")]
    set_initial(case.module, "student.backbone.", spread_value if hasattr(case.module, "blocks") else initial_value)
    settle(case, sets[0][0][:: max(1, len(sets[0][0]) // 32)])
    torch.save(case.module.state_dict(), at("weights.pth"))
    run(dinorun, "import", at("weights.pth"), "-o", at("weights.safetensors"))
    run(dinoc, os.path.join(graphs, case.what), "-o", at("plan"), "--batch", str(case.batch), "--image-size", str(case.size),
        *(f"--set={s}" for s in case.sets))
    print(f"{case.name}, {sum(len(paths) for paths, _ in sets)} images")
    theirs, unequal = [], 0
    for paths, _ in sets:
        rows = []
        for path, have in zip(paths, inputs(build, at("plan"), paths, case.size)):
            want = case.look(path)
            unequal += not np.array_equal(have.transpose(2, 0, 1), want.numpy())
            rows.append(want)
        with torch.no_grad():
            theirs.append(np.concatenate([case.module(torch.stack(part)).numpy() for part in
                                          (rows[i : i + case.batch] for i in range(0, len(rows), case.batch))]))
    print(f"  input: {unequal} images differ in a bit")
    assert not unequal
    worst, ours = 0, []
    for name, want in zip(("train", "val"), theirs):
        run(dinorun, "features", at("plan"), "--weights", at("weights.safetensors"), "--data", f"{images}/{name}", "--out",
            at("features.npy"))
        ours.append(np.load(at("features.npy")))
        worst = max(worst, relative(ours[-1], want))
    apart = relative(theirs[0][1:], theirs[0][:-1])
    print(f"  features: relative L2 difference {worst:.1e} at most (two images: up to {apart:.1e})")
    assert worst <= 1e-5
    if hasattr(case.module, "blocks"):
        check_attention(case, dinorun, at("plan"), at("weights.safetensors"), sets[0][0], folder)
        check_outputs(case, dinorun, at("plan"), at("weights.safetensors"), f"{images}/val", folder)
    check_knn(dinorun, at("plan"), at("weights.safetensors"), images, ours, theirs, sets)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("graphs")
    parser.add_argument("photographs", nargs="?")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = os.path.join(folder, "images")
        if args.photographs:
            pictures.split(args.photographs, images, 25)
        else:
            run(os.path.join(args.build, "draw_scenes"), "--out", images, "--images", "240", "--classes", "8", "--size", "90")
        for case in cases(not args.photographs):
            check(case, args.build, args.graphs, images, folder)


main()

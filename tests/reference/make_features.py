"""Features of untrained networks.

    make_features.py vit|resnet OUT.json [--spread]

Weights are those of values.py under "student.backbone."; images "image224" [2, 3, 224, 224], "image96" [2, 3, 96, 96]
and "image160x240" [2, 3, 160, 240], crop_value. Evaluation mode, computed in f64.

vit       {"vit_small/16": {"224": [[D numbers], [D numbers]], "96": ..., "160x240": ...},
           "vit_small/8": ..., "vit_base/16": ...}
resnet    {"resnet50": {"224": ..., "96": ...}, "resnet50/random_norm": the same}: running statistics as they begin, and
          batch norms of values.random_norm
--spread  prints the relative L2 difference of f32 in PyTorch (the tolerance of parity is 1e-5)"""
import argparse
import json

import torch

from dino import VITS, VisionTransformer, resnet, set_initial
from values import crop_value, initial_value, random_norm

SIZES = {"224": (224, 224), "96": (96, 96), "160x240": (160, 240)}


def vits():
    for arch, patch in (("vit_small", 16), ("vit_small", 8), ("vit_base", 16)):
        model = VisionTransformer(*VITS[arch], patch)
        set_initial(model, "student.backbone.")
        yield f"{arch}/{patch}", model, SIZES, 9


def resnets():
    for name, value in (("resnet50", initial_value), ("resnet50/random_norm", random_norm)):
        model, _ = resnet("resnet50")
        set_initial(model, "student.backbone.", value)
        yield name, model.eval(), ("224", "96"), 7


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", choices=("vit", "resnet"))
    parser.add_argument("out")
    parser.add_argument("--spread", action="store_true")
    args = parser.parse_args()
    images = {key: torch.from_numpy(crop_value("image" + key, (2, 3, *size))) for key, size in SIZES.items()}
    out = {}
    with torch.no_grad():
        for name, model, sizes, digits in {"vit": vits, "resnet": resnets}[args.models]():
            single = {key: model(images[key]) for key in sizes}
            model.double()
            exact = {key: model(images[key].double()) for key in sizes}
            out[name] = {k: [[float(f"{v:.{digits}g}") for v in row] for row in x] for k, x in exact.items()}
            if args.spread:
                for key, x in exact.items():
                    error = ((single[key] - x).norm() / x.norm()).item()
                    apart = ((x[0] - x[1]).norm() / x[0].norm()).item()
                    print(f"{name} {key}: f32 differs by {error:.2e}, the two images by {apart:.2e}")
    with open(args.out, "w") as file:
        rows = {name: ",\n".join(f'"{k}": {json.dumps(x)}' for k, x in entry.items()) for name, entry in out.items()}
        file.write("{" + ",\n".join(f'"{name}": {{{text}}}' for name, text in rows.items()) + "}\n")


if __name__ == "__main__":
    main()

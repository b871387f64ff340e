"""Features of untrained Vision Transformers.

    make_features.py OUT.json [--spread]

Weights are those of values.py under "student.backbone."; images "image224" [2, 3, 224, 224], "image96" [2, 3, 96, 96]
and "image160x240" [2, 3, 160, 240], crop_value. Computed in f64.

OUT.json  {"vit_small/16": {"224": [[D numbers], [D numbers]], "96": ..., "160x240": ...},
           "vit_small/8": ..., "vit_base/16": ...}
--spread  prints the relative L2 difference of f32 in PyTorch (the tolerance of parity is 1e-5)"""
import argparse
import json

import torch

from dino import VITS, VisionTransformer, set_initial
from values import crop_value

MODELS = (("vit_small", 16), ("vit_small", 8), ("vit_base", 16))
SIZES = {"224": (224, 224), "96": (96, 96), "160x240": (160, 240)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--spread", action="store_true")
    args = parser.parse_args()
    images = {key: torch.from_numpy(crop_value("image" + key, (2, 3, *size))) for key, size in SIZES.items()}
    out = {}
    with torch.no_grad():
        for arch, patch in MODELS:
            model = VisionTransformer(*VITS[arch], patch)
            set_initial(model, "student.backbone.")
            single = {key: model(x) for key, x in images.items()}
            model.double()
            exact = {key: model(x.double()) for key, x in images.items()}
            out[f"{arch}/{patch}"] = {k: [[float(f"{v:.9g}") for v in row] for row in x] for k, x in exact.items()}
            if args.spread:
                for key, x in exact.items():
                    error = ((single[key] - x).norm() / x.norm()).item()
                    apart = ((x[0] - x[1]).norm() / x[0].norm()).item()
                    print(f"{arch}/{patch} {key}: f32 differs by {error:.2e}, the two images by {apart:.2e}")
    with open(args.out, "w") as file:
        rows = {name: ",\n".join(f'"{k}": {json.dumps(x)}' for k, x in entry.items()) for name, entry in out.items()}
        file.write("{" + ",\n".join(f'"{name}": {{{text}}}' for name, text in rows.items()) + "}\n")


if __name__ == "__main__":
    main()

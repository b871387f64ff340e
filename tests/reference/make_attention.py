"""What Vision Transformers look at: the class token's attention to the patches in the last block, and the last tokens.

    make_attention.py OUT.json

Weights are those of values.py under "student.backbone."; images "image96" [2, 3, 96, 96] and so on, crop_value. Computed in
f64; the masks in f32, by the published rule. "deep" is ViT-S; "large" has two blocks of width 192, so that 480 pixels at
patch 8, 3601 tokens, take little time.

OUT.json  {"deep/16": {"96": {"attention": {"norm", "moved", "proj"},      of [2, heads, patches]
                              "rows": [first image's, [heads, patches]],  where there are at most 150 patches
                              "mask": ["0110...", ...],                   likewise, by head: 60 % of the mass
                              "tokens": {"norm", "proj"}},                of [2, 1 + patches, dim]
                       ...}}
The projections are of the tensors "attention" and "tokens" (values.py). Untrained attention is nearly uniform: "moved" is the norm
of its distance from the mean, which the tolerance has to be measured against to mean anything."""
import argparse
import json

import numpy as np
import torch

from dino import VITS, VisionTransformer, set_initial
from values import crop_value, summary

MODELS = {"deep/16": ((*VITS["vit_small"], 16), 2, {"96": (96, 96), "160x240": (160, 240)}),
          "deep/8": ((*VITS["vit_small"], 8), 2, {"96": (96, 96)}),
          "large/8": ((192, 3, 8, 2), 1, {"480": (480, 480)})}
SMALL = 150
KEEP = 0.6


def look(model, images):
    """(class token's attention to the patches of the last block [rows, heads, patches], tokens [rows, 1 + patches, dim])"""
    seen = {}
    last = model.blocks[-1].attn
    hooks = [last.qkv.register_forward_hook(lambda m, i, out: seen.update(qkv=out)),
             model.norm.register_forward_hook(lambda m, i, out: seen.update(tokens=out))]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    rows, tokens, width = seen["qkv"].shape
    q, k, _ = seen["qkv"].view(rows, tokens, 3, last.heads, -1).permute(2, 0, 3, 1, 4)
    probs = (q[:, :, :1] @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
    return probs[:, :, 0, 1:], seen["tokens"]


def masks(attention, keep):
    """[heads, patches] of 0 and 1, as visualize_attention keeps patches; equal ones in their order."""
    value, index = torch.sort(attention, dim=-1, stable=True)
    value /= value.sum(-1, keepdim=True)
    kept = value.cumsum(-1) > 1 - keep
    return torch.gather(kept, 1, index.argsort(-1)).int()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    args = parser.parse_args()
    out = {}
    for name, (arguments, batch, sizes) in MODELS.items():
        model = VisionTransformer(*arguments)
        set_initial(model, "student.backbone.")
        model.double()
        out[name] = {}
        for size, (height, width) in sizes.items():
            images = torch.from_numpy(crop_value("image" + size, (batch, 3, height, width))).double()
            attention, tokens = (x.numpy() for x in look(model, images))
            mean = np.full(attention.shape, attention.mean())
            entry = {"attention": summary("attention", attention, mean), "tokens": summary("tokens", tokens)}
            if attention.shape[-1] <= SMALL:
                entry["rows"] = attention[0].tolist()
                entry["mask"] = ["".join(map(str, row)) for row in masks(torch.from_numpy(attention[0]).float(), KEEP).tolist()]
            out[name][size] = entry

    def short(x):
        if isinstance(x, dict):
            return {key: short(value) for key, value in x.items()}
        return [short(v) for v in x] if isinstance(x, list) else float(f"{x:.9g}") if isinstance(x, float) else x

    with open(args.out, "w") as file:
        rows = (f'"{name}": {{' + ",\n".join(f'"{size}": {json.dumps(short(entry))}' for size, entry in sizes.items()) + "}"
                for name, sizes in out.items())
        file.write("{" + ",\n".join(rows) + "}\n")


if __name__ == "__main__":
    main()

"""How far bf16 moves PyTorch's gradients: the yardstick of tests/parity/test_bf16.c.

    make_bf16.py OUT.json

The first step, on each of four batches, of ViT-Tiny/16 and of ResNet-18 with batch norm in the head; 2 crops of 224 and 4 of 96, batch 2, out_dim
1024, norm_last_layer. Crops and weights are those of values.py. Student and teacher run under torch.autocast("cpu",
torch.bfloat16), the loss in f32.

OUT.json  {"torch": version,
           "vit_tiny": {"backbone.cls_token": distance of the gradient under autocast from the gradient in f32, in parts
                        of that one's L2 norm, root of the mean of squares over the batches, ...},
           "resnet18": the same}"""
import argparse
import copy
import json

import torch

from dino import Network, dino_loss, set_initial
from make_parity import crops_of

OUT_DIM, VIEWS, BATCHES = 1024, 6, 4


def gradients(arch, batch, bf16):
    student = Network(arch, 16, OUT_DIM, bn=arch.startswith("resnet"))
    set_initial(student, "student.")
    teacher = copy.deepcopy(student)
    crops = [torch.from_numpy(c) for c in crops_of(batch)]
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        with torch.no_grad():
            target = teacher(crops[:2]).float()
        logits = student(crops).float()
    loss, _ = dino_loss(logits, target, torch.zeros(1, OUT_DIM), VIEWS, 0.1, 0.04)
    loss.backward()
    return {name: p.grad for name, p in student.named_parameters() if p.grad is not None}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    out = {"torch": torch.__version__}
    args = parser.parse_args()
    for arch in ("vit_tiny", "resnet18"):
        squares = {}
        for batch in range(BATCHES):
            exact, rounded = gradients(arch, batch, False), gradients(arch, batch, True)
            for name, g in exact.items():
                squares.setdefault(name, []).append(float((rounded[name] - g).norm() / g.norm()) ** 2)
        out[arch] = {name: float(f"{(sum(s) / BATCHES) ** 0.5:.3g}") for name, s in squares.items()}
    with open(args.out, "w", encoding="utf-8") as file:
        json.dump(out, file, indent=0)
        file.write("\n")


if __name__ == "__main__":
    main()

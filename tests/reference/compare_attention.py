"""What `dinorun attention` left in a folder, against PyTorch and Pillow from the same weights and picture.

    compare_attention.py WEIGHTS.safetensors PICTURE FOLDER --heads N [--from teacher|student]

The size is that of FOLDER/img.png. WEIGHTS is a checkpoint or a bare backbone. Prints the largest difference of the pixels shown to
the network (0: Pillow's Image.resize, bilinear), the relative L2 difference of the attention, also that of its distance from the
mean, and the patches whose masks at 60 % differ. Exit status 1: the pixels differ, or the attention by more than 1e-5."""
import argparse
import sys

import numpy as np
import torch
from PIL import Image

import st
from dino import VisionTransformer
from make_attention import KEEP, look, masks


def load(path, network, heads):
    tensors = st.load(path)
    for prefix in (network + ".backbone.", ""):
        found = {n[len(prefix):]: torch.from_numpy(np.array(x)) for n, x in tensors.items() if n.startswith(prefix)}
        if "cls_token" in found:
            break
    dim, patch = found["cls_token"].shape[-1], found["patch_embed.proj.weight"].shape[-1]
    depth = len({n.split(".")[1] for n in found if n.startswith("blocks.")})
    image = int((found["pos_embed"].shape[1] - 1) ** 0.5) * patch
    model = VisionTransformer(dim, heads, patch, depth, image)
    model.load_state_dict(found)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("picture")
    parser.add_argument("folder")
    parser.add_argument("--heads", type=int, required=True)
    parser.add_argument("--from", dest="network", choices=("teacher", "student"), default="teacher")
    args = parser.parse_args()
    shown = Image.open(args.folder + "/img.png").convert("RGB")
    pixels = np.array(Image.open(args.picture).convert("RGB").resize(shown.size, Image.BILINEAR))
    apart = int(np.abs(pixels.astype(int) - np.array(shown)).max())
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    x = torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / std).permute(2, 0, 1)[None]
    ours = np.load(args.folder + "/attention.npy")
    attention = look(load(args.weights, args.network, args.heads), x)[0][0].reshape(ours.shape)
    theirs = attention.double().numpy()
    error = np.linalg.norm(ours - theirs)
    relative = error / np.linalg.norm(theirs)
    flat = attention.flatten(1), torch.from_numpy(ours).flatten(1)
    differ = int((masks(flat[0], KEEP) != masks(flat[1], KEEP)).sum())
    print(f"pixels differ by {apart}; attention {list(ours.shape)} by {relative:.2e}, of its distance from the mean "
          f"by {error / np.linalg.norm(theirs - theirs.mean()):.2e}; {differ} patches of the masks")
    sys.exit(apart > 0 or not relative <= 1e-5)


if __name__ == "__main__":
    main()

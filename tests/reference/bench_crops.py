"""The crops of the ImageNet recipes in Pillow and torchvision, one process: images/s, for comparison only.

    bench_crops.py FOLDER [--locals 8] [--images 100]

Two global views of 224 pixels and the locals of 96, from the files on: decoded, cut, jittered, blurred, normalised."""
import argparse
import os
import random
import time

import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms as T
from torchvision.transforms import InterpolationMode


class Blur:
    def __init__(self, p):
        self.p = p

    def __call__(self, image):
        if random.random() > self.p:
            return image
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


class Solarize:
    def __init__(self, p):
        self.p = p

    def __call__(self, image):
        return ImageOps.solarize(image) if random.random() < self.p else image


def view(size, scale, blur, solarize):
    return T.Compose([
        T.RandomResizedCrop(size, scale=scale, interpolation=InterpolationMode.BICUBIC), T.RandomHorizontalFlip(),
        T.RandomApply([T.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8), T.RandomGrayscale(0.2), Blur(blur), Solarize(solarize),
        T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--locals", type=int, default=8)
    parser.add_argument("--images", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(os.path.join(top, f) for top, _, names in os.walk(args.folder) for f in names
                   if f.lower().endswith((".jpg", ".jpeg", ".png")))
    views = [view(224, (0.4, 1), 1, 0), view(224, (0.4, 1), 0.1, 0.2)]
    views += [view(96, (0.05, 0.4), 0.5, 0)] * args.locals
    random.shuffle(files)
    begin = time.perf_counter()
    for i in range(args.images):
        image = Image.open(files[i % len(files)]).convert("RGB")
        for make in views:
            make(image)
    print(f"{args.images / (time.perf_counter() - begin):.2f} images/s a process, {len(views)} views")


if __name__ == "__main__":
    main()

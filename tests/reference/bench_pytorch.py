"""The DINO step of `dinorun bench` in PyTorch, for comparison only: ViT-S/16, 2 crops of 224 and 8 of 96, out_dim
65536, drop path 0.1, clip 3, AdamW, f32.

    bench_pytorch.py [--batch 8] [--threads 2] [--steps 5] [--arch vit_small] [--patch 16] [--out-dim 65536]

Prints the median ms a step after one to warm up, images/s, the peak resident memory and the BLAS that PyTorch loaded:
with the reference libblas.so.3 (Debian's default) it is more than ten times slower than with OpenBLAS."""
import argparse
import os
import resource
import statistics
import time

import torch

from dino import Dino, Network


def blas():
    """The BLAS library in this process, by what its file is really called."""
    with open("/proc/self/maps") as file:
        paths = {line.split()[-1] for line in file if "blas" in line}
    return ", ".join(sorted(os.path.realpath(path) for path in paths)) or "built in"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--arch", default="vit_small")
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--out-dim", type=int, default=65536)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    dino = Dino(Network(args.arch, args.patch, args.out_dim, rate=0.1), clip=3.0)
    crops = [torch.randn(args.batch, 3, size, size) for size in (224,) * 2 + (96,) * 8]
    times = []
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        result, _ = dino.step(crops, epoch=0, lr=5e-4 * args.batch / 256, weight_decay=0.04, momentum=0.996,
                              teacher_temp=0.04, keep_grads=False)
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds * 1e3:.0f} ms a step, {args.batch / seconds:.2f} images/s, peak {peak:.0f} MiB, "
          f"{args.threads} threads, PyTorch {torch.__version__}; loss {result['loss']:.4f}; BLAS {blas()}")


if __name__ == "__main__":
    main()

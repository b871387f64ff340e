"""The step of `dinorun bench` in PyTorch, for comparison only: f32, ten crops unless told otherwise.

    bench_pytorch.py [--arch vit_small] [--patch 16] [--batch 8] [--locals 8] [--local-size 96] [--out-dim 65536]
                     [--bn] [--optimizer adamw] [--channels-last] [--bf16] [--sdpa] [--compile] [--features]
                     [--threads 2] [--steps 5]

--arch takes vit_tiny, vit_small, vit_base, torchvision's ResNets and timm/NAME, a network of timm's; --bn puts batch norm into the head; --features times
the backbone alone in evaluation mode. --bf16 is autocast, --sdpa PyTorch's own fused attention, --compile
torch.compile. Prints the median ms after one step to warm up, images/s, the peak resident memory
and the BLAS that PyTorch loaded: with the reference libblas.so.3 (Debian's default) matmuls are more than ten times
slower than with OpenBLAS (apt install libopenblas0-pthread)."""
import argparse
import os
import resource
import statistics
import time

import torch
from torch.nn import functional as F

from dino import Attention, Dino, Network


def fused_attention(self, x):
    """Attention.forward by PyTorch's own kernel, which newer versions have."""
    rows, tokens, dim = x.shape
    q, k, v = self.qkv(x).view(rows, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
    return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, tokens, dim))


def blas():
    """The BLAS library in this process, by what its file is really called."""
    with open("/proc/self/maps") as file:
        paths = {line.split()[-1] for line in file if "blas" in line}
    return ", ".join(sorted(os.path.realpath(path) for path in paths)) or "built in"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="vit_small")
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--locals", type=int, default=8)
    parser.add_argument("--local-size", type=int, default=96)
    parser.add_argument("--out-dim", type=int, default=65536)
    parser.add_argument("--bn", action="store_true")
    parser.add_argument("--optimizer", default="adamw", choices=["adamw", "sgd", "lars"])
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--sdpa", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--features", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.sdpa and not hasattr(F, "scaled_dot_product_attention"):
        raise SystemExit(f"PyTorch {torch.__version__} has no fused attention")
    if args.sdpa:
        Attention.forward = fused_attention
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    network = Network(args.arch, args.patch, args.out_dim, rate=0.1, bn=args.bn)
    network.backbone.to(memory_format=layout)
    sizes = (224,) if args.features else (224,) * 2 + (args.local_size,) * args.locals
    crops = [torch.randn(args.batch, 3, size, size).contiguous(memory_format=layout) for size in sizes]
    if args.features:
        network.eval()
    else:
        dino = Dino(network, clip=3.0, optimizer=args.optimizer)
    if args.compile:
        for compiled in (network.backbone,) if args.features else (dino.student, dino.teacher):
            compiled.compile()
    times = []
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            if args.features:
                with torch.no_grad():
                    network.backbone(crops[0])
            else:
                dino.step(crops, epoch=0, lr=5e-4 * args.batch / 256, weight_decay=0.04, momentum=0.996,
                          teacher_temp=0.04, keep_grads=False)
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    words = [args.arch] + [word for word in ("features", "channels_last", "bf16", "sdpa", "compile") if getattr(args, word)]
    print(f"{' '.join(words)}: "
          f"{seconds * 1e3:.0f} ms a step, {args.batch / seconds:.2f} images/s, peak {peak:.0f} MiB, "
          f"{args.threads} threads, PyTorch {torch.__version__}; BLAS {blas()}")


if __name__ == "__main__":
    main()

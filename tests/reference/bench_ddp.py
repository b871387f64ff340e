"""The step of `mpirun dinorun bench` by PyTorch's DistributedDataParallel over gloo, for comparison only; tests/system/rank_hosts
starts it on each of its hosts.

    RANK=0 WORLD_SIZE=2 MASTER_ADDR=... MASTER_PORT=... GLOO_SOCKET_IFNAME=eth0 bench_ddp.py [--arch vit_small] [--patch 16]
        [--depth 12] [--batch 8] [--locals 8] [--out-dim 65536] [--bf16] [--threads 1] [--steps 5]

--batch is that of all processes. Rank 0 prints the slowest process's median ms after two steps to warm up (the first one has the
buckets of DDP's beginning), and how much longer it is than a step that does not exchange gradients, which is what the exchange
costs; the centre's batch mean is exchanged in both."""
import argparse
import contextlib
import statistics
import time

import torch
import torch.distributed as dist

from ddp import DistributedDino
from dino import Network


def slowest(seconds):
    x = torch.tensor(seconds, dtype=torch.float64)
    dist.all_reduce(x, op=dist.ReduceOp.MAX)
    return x.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="vit_small")
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--locals", type=int, default=8)
    parser.add_argument("--out-dim", type=int, default=65536)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    dino = DistributedDino(Network(args.arch, args.patch, args.out_dim, rate=0.1, depth=args.depth), clip=3.0)
    crops = [torch.randn(args.batch // ranks, 3, size, size) for size in (224,) * 2 + (96,) * args.locals]

    def step(exchanges):
        dist.barrier()
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16), \
                contextlib.nullcontext() if exchanges else dino.parallel.no_sync():
            dino.step(crops, epoch=0, lr=1e-5, weight_decay=0.04, momentum=0.996, teacher_temp=0.04, keep_grads=False)
        return slowest(time.perf_counter() - start)

    for _ in range(2):
        step(True)
    apart, together = [], []
    for _ in range(args.steps):
        together.append(step(True))
        apart.append(step(False))
    if rank == 0:
        both, alone = (1e3 * statistics.median(x) for x in (together, apart))
        size = sum(p.numel() * 4 for p in dino.student.parameters() if p.requires_grad)
        print(f"step {both:.1f} ms, {alone:.1f} without the exchange of gradients of {size / 2**20:.1f} MiB; {ranks} processes "
              f"of {args.threads} threads, PyTorch {torch.__version__}, DistributedDataParallel over gloo")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

"""`mpirun -n 2 dinorun train` against PyTorch's own data-parallel run, DistributedDataParallel over gloo in two processes: the same
recipe, initial values and crops, losses within 1e-5, step by step. Skipped (status 77) where PyTorch or Open MPI is missing.

    check_ddp.py DINOC DINORUN GRAPHS [--resnet] [--steps 4]

A small ViT by AdamW with clipping; --resnet: ResNet-18 by SGD, whose batch norms, in backbone and head, see the rows of both
processes (needs torchvision). The same steps by one process of PyTorch are made as well: what DDP differs by from those is
rounding, and with batch norm three times that is the tolerance where it is wider."""
import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile

from checks import needed, run, skip

with needed():
    import torch
    import torch.distributed as dist

import st
from dino import Dino, Network, set_initial
from values import crop_value

RANKS, BATCH, OUT_DIM = 2, 4, 1024
SIZES = (224, 224, 96, 96, 96, 96)


def crops_of(step):
    return [crop_value(f"step{step}.crop{v}", (BATCH, 3, size, size)) for v, size in enumerate(SIZES)]


def recipe(resnet):
    """Arguments of Network, of Dino, and of each step; and what dinoc is to be told."""
    same = {"epoch": 0, "momentum": 0.99, "teacher_temp": 0.04}
    sets = [f"head.with.out_dim={OUT_DIM}", "crops.local.count=4", "teacher.momentum=0.99", "loss.teacher_temp=0.04"]
    freeze = "freeze: {params: last_layer, for: 0 epochs}"
    if resnet:
        return (("resnet18", None, OUT_DIM), {"bn": True}), {"optimizer": "sgd"}, \
            {**same, "lr": 5e-4, "weight_decay": 1e-4}, "dino_resnet50_800ep.yaml", \
            sets + ["student.backbone=resnet18", "lr=5e-4", "weight_decay=1e-4", f"optim={{kind: sgd, clip: 0, {freeze}}}"]
    return (("vit_tiny", 16, OUT_DIM), {}), {"clip": 0.3}, {**same, "lr": 5e-4, "weight_decay": 0.04}, \
        "dino_vits16_100ep.yaml", sets + ["student.backbone=vit_tiny", "student.with.drop_path=0", "lr=5e-4",
                                          "weight_decay=0.04", f"optim={{kind: adamw, clip: 0.3, {freeze}}}"]


def losses(kind, args, rank, ranks):
    """Of this process's rows of each batch, averaged over processes."""
    network, dino, values = recipe(args.resnet)[:3]
    student = Network(*network[0], **network[1])
    set_initial(student, "student.")
    if ranks > 1:
        import ddp

        dist.init_process_group("gloo")
    run, rows = kind(student, **dino), BATCH // ranks
    for step in range(args.steps):
        crops = [torch.from_numpy(c[rank * rows:(rank + 1) * rows]) for c in crops_of(step)]
        result, _ = run.step(crops, **values, keep_grads=False)
        yield {key: ddp.mean_of(result[key]) if ranks > 1 else result[key] for key in ("loss", "teacher_entropy")}


def worker(args):
    """One of the processes that `distributed` starts; rank 0 prints."""
    from ddp import DistributedDino

    rank = int(os.environ["RANK"])
    torch.set_num_threads(1)
    out = list(losses(DistributedDino, args, rank, RANKS))
    dist.destroy_process_group()
    if rank == 0:
        print(json.dumps(out))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def distributed(args):
    env = {**os.environ, "WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
           "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    started = [subprocess.Popen([sys.executable, *sys.argv, "--worker"], env={**env, "RANK": str(rank)},
                                stdout=subprocess.PIPE, text=True) for rank in range(RANKS)]
    out = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        sys.exit("PyTorch's processes failed")
    return json.loads(out[0])


def ours(args, folder):
    plan, crops, init, out = (os.path.join(folder, name) for name in ("plan", "crops", "init", "run"))
    network, _, _, graph, sets = recipe(args.resnet)
    student = Network(*network[0], **network[1])
    set_initial(student, "student.")
    st.save(init, Dino(student).state())
    st.save(crops, {f"step{s}.crop{v}": x for s in range(args.steps) for v, x in enumerate(crops_of(s))})
    run(args.dinoc, os.path.join(args.graphs, graph), "--batch", str(BATCH), "--ranks", str(RANKS), "-o", plan,
        *(word for s in sets for word in ("--set", s)))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "OMPI_ALLOW_RUN_AS_ROOT": "1",
           "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    said = run("mpirun.openmpi", "-n", str(RANKS), "--bind-to", "none", "--oversubscribe", args.dinorun, "train", plan,
               "--replay", crops, "--init", init, "--out", out, "--epochs", "1", "--ignore-memory", env=env)
    assert f"{RANKS} processes" in said, said
    with open(os.path.join(out, "log.jsonl")) as log:
        return [json.loads(line) for line in log]


def compare(args, mine, theirs, single):
    worst, wrong, spread = 0, 0, 0
    for step, (a, b, c) in enumerate(zip(mine, theirs, single)):
        for key in b:
            apart = abs(a[key] - b[key]) / abs(b[key])
            spread = max(spread, abs(b[key] - c[key]) / abs(c[key]))
            limit = max(1e-5, 3 * spread) if args.resnet else 1e-5
            worst = max(worst, apart)
            wrong += not apart <= limit
            print(f"step {step} {key:16} {a[key]:.9f} PyTorch's {b[key]:.9f}: {apart:.1e} apart, "
                  f"one process {abs(b[key] - c[key]) / abs(c[key]):.1e}")
    print(f"{RANKS} processes of dinorun and of DistributedDataParallel over gloo, PyTorch {torch.__version__}, "
          f"{'ResNet-18' if args.resnet else 'ViT-Ti/16'}, {len(mine)} steps: at most {worst:.1e} apart")
    return wrong or len(mine) != args.steps or len(theirs) != args.steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dinoc")
    parser.add_argument("dinorun")
    parser.add_argument("graphs")
    parser.add_argument("--resnet", action="store_true")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return worker(args)
    plugin = os.path.join(os.path.dirname(args.dinorun), "dinograph-mpi-openmpi.so")
    if not dist.is_available() or not shutil.which("mpirun.openmpi") or not os.path.exists(plugin):
        skip("PyTorch without torch.distributed, no mpirun.openmpi, or no plugin for Open MPI in this build")
    if args.resnet:
        with needed():
            import torchvision  # noqa: F401
    with tempfile.TemporaryDirectory() as folder:
        mine = ours(args, folder)
    return 1 if compare(args, mine, distributed(args), list(losses(Dino, args, 0, 1))) else 0


if __name__ == "__main__":
    sys.exit(main())

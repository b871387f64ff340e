"""Going on from others: a full checkpoint of the published code, imported, resumes here, and one that `dinorun export --torch --full`
writes resumes there. Both ways an epoch of ten steps on recorded crops is compared, loss by loss and at its end the student, with the
published training loop as PyTorch states it (dino.py), whose checkpoints have the published layout. Skipped (status 77)
where PyTorch is missing.

    check_full_checkpoint.py DINOC DINORUN GRAPHS [--optimizer adamw] [--bn]

A small ViT; the first epoch, before the checkpoint, has the warm-up and the frozen last layer. --bn: batch norm in the head, for which the
published code names the teacher's tensors otherwise. Losses must be within 1e-5; the same epoch without the optimiser's
state shows that more than that would be seen."""
import argparse
import json
import os
import sys
import tempfile

from checks import needed, run

with needed():
    import torch

import st
from dino import Dino, Network, cosine, linear_per_epoch, set_initial
from values import crop_value

STEPS, EPOCHS, BATCH, OUT_DIM, DEPTH, LIMIT = 10, 4, 2, 256, 2, 1e-5
SIZES = (224, 224, 96, 96)
PEAK = {"adamw": 5e-4, "sgd": 0.05, "lars": 0.3}


def crops_of(step):
    return [crop_value(f"step{step % STEPS}.crop{v}", (BATCH, 3, size, size)) for v, size in enumerate(SIZES)]


class Published:
    """main_dino.py from the networks on: its schedules, its loop over the steps of an epoch, its checkpoint."""

    def __init__(self, args):
        student = Network("vit_tiny", 16, OUT_DIM, bn=args.bn, depth=DEPTH)
        set_initial(student, "student.")
        self.bn, self.kind = args.bn, args.optimizer
        self.dino = Dino(student, clip=0.3, freeze_epochs=1, optimizer=args.optimizer)
        total = EPOCHS * STEPS
        self.lr = cosine(PEAK[args.optimizer], 1e-6, total, warmup=STEPS)
        self.weight_decay, self.momentum = cosine(0.04, 0.4, total), cosine(0.99, 1, total)
        self.temp = linear_per_epoch(0.04, 0.07, 2, EPOCHS)

    def train(self, epoch):
        """Losses of the epoch."""
        losses = []
        for it in range(epoch * STEPS, (epoch + 1) * STEPS):
            result, _ = self.dino.step([torch.from_numpy(c) for c in crops_of(it)], epoch, self.lr[it], self.weight_decay[it],
                                       self.momentum[it], self.temp[epoch], keep_grads=False)
            losses.append(result["loss"])
        return losses

    def wrappers(self):
        """Networks under the names that they have in a checkpoint."""
        def wrap(network, wrapped):
            outer = torch.nn.Module()
            outer.module = network
            return outer if wrapped else network
        return {"student": wrap(self.dino.student, True), "teacher": wrap(self.dino.teacher, self.bn)}

    def save(self, path, epoch):
        optimizer = self.dino.optimizer.state_dict()
        if self.kind == "lars":  # its own class there has another name for it
            optimizer["state"] = {k: {"mu": s["momentum_buffer"]} for k, s in optimizer["state"].items()}
        torch.save({**{k: net.state_dict() for k, net in self.wrappers().items()}, "optimizer": optimizer, "epoch": epoch,
                    "args": argparse.Namespace(arch="vit_tiny", patch_size=16, out_dim=OUT_DIM, use_bn_in_head=self.bn, epochs=EPOCHS,
                                               batch_size_per_gpu=BATCH, world_size=1, optimizer=self.kind, weight_decay=0.04,
                                               weight_decay_end=0.4, lr=PEAK[self.kind] * 256 / BATCH, min_lr=1e-6,
                                               warmup_epochs=1, warmup_teacher_temp=0.04, teacher_temp=0.07,
                                               warmup_teacher_temp_epochs=2, momentum_teacher=0.99, clip_grad=0.3,
                                               freeze_last_layer=1, norm_last_layer=True, drop_path_rate=0.0,
                                               local_crops_number=2),
                    "dino_loss": {"center": self.dino.center}}, path)

    def load(self, path, optimizer=True, trusted=False):
        """The epoch to go on with. `trusted`: the file has more than weights_only allows, args and numbers of NumPy."""
        saved = torch.load(path, weights_only=not trusted)
        for key, network in self.wrappers().items():
            network.load_state_dict(saved[key], strict=True)
        if optimizer:
            state = saved["optimizer"]
            if self.kind == "lars":
                state["state"] = {k: {"momentum_buffer": s["mu"]} for k, s in state["state"].items()}
            self.dino.optimizer.load_state_dict(state)
        self.dino.center = saved["dino_loss"]["center"]
        return saved["epoch"]

    def state(self):
        return {k: x for k, x in self.dino.state().items() if k.startswith("student.")}


class Ours:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        sets = ["student.backbone=vit_tiny", f"student.with.depth={DEPTH}", "student.with.drop_path=0", f"head.with.out_dim={OUT_DIM}",
                f"head.with.bn={str(args.bn).lower()}", "crops.local.count=2", f"epochs={EPOCHS}",
                f"lr={{curve: cosine, peak: {PEAK[args.optimizer]}, to: 1e-6, warmup: 1 epochs}}",
                "weight_decay={curve: cosine, from: 0.04, to: 0.4}", "teacher.momentum={curve: cosine, from: 0.99, to: 1}",
                "loss.teacher_temp={curve: linear, from: 0.04, to: 0.07, over: 2 epochs, per: epoch}",
                f"optim={{kind: {args.optimizer}, clip: 0.3, no_decay: [bias, 1d], freeze: {{params: last_layer, for: 1 epoch}}}}"]
        run(args.dinoc, os.path.join(args.graphs, "dino_vits16_100ep.yaml"), "--batch", str(BATCH), "-o", self.path("plan"),
            *(word for s in sets for word in ("--set", s)))
        st.save(self.path("crops"), {f"step{s}.crop{v}": x for s in range(STEPS) for v, x in enumerate(crops_of(s))})

    def path(self, name):
        return os.path.join(self.folder, name)

    def train(self, out, steps, *more):
        run(self.args.dinorun, "train", self.path("plan"), "--replay", self.path("crops"), "--out", self.path(out), "--steps", str(steps),
            "--ignore-memory", "--ignore-disk", *more)

    def end(self, out):
        """Losses of the last epoch, and the student at its end."""
        with open(self.path(out + "/log.jsonl")) as log:
            losses = [json.loads(line)["loss"] for line in log][-STEPS:]
        return losses, {k: x for k, x in st.load(self.path(out + "/checkpoint.safetensors")).items() if k.startswith("student.")}


def apart(a, b):
    return max(abs(x - y) / abs(y) for x, y in zip(a, b, strict=True))


def compare(what, ours, theirs, bare):
    """Each of the last three: losses of an epoch, and the student at its end or None."""
    far = max(abs(ours[1][k].astype("f8") - x).max() for k, x in theirs[1].items() if x.dtype.kind == "f")
    loss, without = apart(ours[0], theirs[0]), apart(bare, theirs[0])
    print(f"{what}: losses {loss:.1e} apart, the student's numbers {far:.1e}; without the optimiser's state losses {without:.1e}")
    return loss <= LIMIT < without


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("dinoc", "dinorun", "graphs"):
        parser.add_argument(name)
    parser.add_argument("--optimizer", choices=PEAK, default="adamw")
    parser.add_argument("--bn", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ours, published, fresh = Ours(args, folder), Published(args), Published(args)
        st.save(ours.path("init"), published.dino.state())
        published.train(0)
        published.save(ours.path("theirs.pth"), 1)
        os.mkdir(ours.path("resumed"))
        run(args.dinorun, "import", ours.path("theirs.pth"), "-o", ours.path("resumed/checkpoint.safetensors"))
        ours.train("resumed", 2 * STEPS, "--resume")
        fresh.load(ours.path("theirs.pth"), optimizer=False, trusted=True)
        ok = compare("from the published code", ours.end("resumed"), (published.train(1), published.state()), fresh.train(1))

        ours.train("run", STEPS, "--init", ours.path("init"))
        run(args.dinorun, "export", ours.path("run"), "--torch", ours.path("ours.pth"), "--full")
        ours.train("run", 2 * STEPS, "--resume")
        published, fresh = Published(args), Published(args)
        assert published.load(ours.path("ours.pth")) == fresh.load(ours.path("ours.pth"), optimizer=False) == 1
        ok &= compare("to the published code", ours.end("run"), (published.train(1), published.state()), fresh.train(1))
    print(f"PyTorch {torch.__version__}, ViT of {DEPTH} blocks, {args.optimizer}, {STEPS} steps behind an epoch of as many")
    return not ok


if __name__ == "__main__":
    sys.exit(main())

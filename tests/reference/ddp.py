"""DINO over several processes by PyTorch's own means: DistributedDataParallel over gloo, batch norm over all processes, the
centre's batch mean by all_reduce. Each process has its rows of every batch.

The launcher sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as torchrun does."""
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dino import Dino


class Sum(torch.autograd.Function):
    """Over all processes. The loss is a sum over them, too, so that the gradient is the sum of their gradients."""

    @staticmethod
    def forward(context, x, group):
        context.group = group
        total = x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(context, gradient):
        return Sum.forward(context, gradient, context.group), None


class SyncBatchNorm(nn.Module):
    """torch.nn.SyncBatchNorm is for GPUs alone. This one adds up sums of all processes, forward and backward, in a group of
    its own, so that its calls do not mix with those of gradients."""

    group = None  # of all of them; not of each, which are copied for the teacher

    def __init__(self, norm):
        super().__init__()
        self.weight, self.bias, self.eps, self.momentum = norm.weight, norm.bias, norm.eps, norm.momentum
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))

    def forward(self, x):
        axes = [i for i in range(x.dim()) if i != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = Sum.apply(x.sum(axes), self.group) / count
        centred = x - mean.view(shape)
        var = Sum.apply(centred.square().sum(axes), self.group) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        scale = self.weight * (var + self.eps).rsqrt()
        return centred * scale.view(shape) + self.bias.view(shape)


def synchronise_norms(module):
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(module, name, SyncBatchNorm(child))
        else:
            synchronise_norms(child)


class DistributedDino(Dino):
    def __init__(self, student, **kind):
        SyncBatchNorm.group = dist.new_group()
        synchronise_norms(student)
        super().__init__(student, **kind)
        self.parallel = DistributedDataParallel(self.student)

    def forward(self, crops):
        return self.parallel(crops)

    def batch_mean(self, x):
        mean = super().batch_mean(x)
        dist.all_reduce(mean)
        return mean / dist.get_world_size()


def mean_of(value):
    """Of a number over all processes."""
    x = torch.tensor(float(value), dtype=torch.float64)
    dist.all_reduce(x)
    return x.item() / dist.get_world_size()

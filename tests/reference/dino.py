"""DINO in plain PyTorch, written from the method's description: the other side of the parity checks.

The Vision Transformer and the head carry the published parameter names, ResNets are torchvision's; Dino holds student,
teacher and centre and makes one training step in the published order. The type is that of the parameters, so the same
code runs in f32 and, to see what rounding does, in f64."""
import copy
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from values import initial_value

VITS = {"vit_tiny": (192, 3), "vit_small": (384, 6), "vit_base": (768, 12)}  # dim, heads; depth 12, image 224


def drop_path(x, rate):
    """Whole rows of the batch fall away with probability `rate`; the others are scaled up."""
    if rate == 0:
        return x
    keep = 1 - rate
    mask = (keep + torch.rand((x.shape[0],) + (1,) * (x.dim() - 1), dtype=x.dtype)).floor()
    return x / keep * mask


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        rows, tokens, dim = x.shape
        q, k, v = self.qkv(x).view(rows, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        probs = (q @ k.transpose(-2, -1) * (dim // self.heads) ** -0.5).softmax(-1)
        return self.proj((probs @ v).transpose(1, 2).reshape(rows, tokens, dim))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads, rate):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)
        self.rate = rate

    def forward(self, x):
        x = x + drop_path(self.attn(self.norm1(x)), self.rate)
        return x + drop_path(self.mlp(self.norm2(x)), self.rate)


def positions_for(table, rows, cols):
    """The table [1, 1 + g * g, D] resized to rows x cols. The 0.1 is the published code's guard against a floor one too
    low; it moves the sampling points, so it is part of the method."""
    grid = math.isqrt(table.shape[1] - 1)
    if rows == cols == grid:
        return table
    image = table[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    scale = ((rows + 0.1) / grid, (cols + 0.1) / grid)
    image = F.interpolate(image, scale_factor=scale, mode="bicubic", align_corners=False)
    assert image.shape[2:] == (rows, cols)
    return torch.cat([table[:, :1], image.permute(0, 2, 3, 1).flatten(1, 2)], 1)


class VisionTransformer(nn.Module):
    def __init__(self, dim, heads, patch, depth=12, image=224, rate=0.0):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (image // patch) ** 2, dim))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, patch, patch)})
        rates = np.linspace(0, rate, depth)
        self.blocks = nn.ModuleList(Block(dim, heads, float(r)) for r in rates)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def tokens(self, images):
        """[images, 1 + rows * cols, dim]: the class token, then the patches row by row."""
        x = self.patch_embed["proj"](images)
        rows, cols = x.shape[2:]
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
        x = x + positions_for(self.pos_embed, rows, cols)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, images):
        return self.tokens(images)[:, 0]


def resnet(arch):
    """torchvision's without the classifier, and the number of its features."""
    import torchvision  # here: nothing else needs it

    model = getattr(torchvision.models, arch)()
    dim, model.fc = model.fc.in_features, nn.Identity()
    return model, dim


def of_timm(name):
    """timm's without the classifier, for crops of any size, and the number of its features."""
    import timm

    vit = {"img_size": 224, "dynamic_img_size": True, "global_pool": "token"} if name.startswith(("vit_", "deit_")) else {}
    model = timm.create_model(name, num_classes=0, **vit)
    return model, model.head_hidden_size


class WeightNormLinear(nn.Module):
    """Rows v scaled to the length g; g first, as PyTorch's weight_norm names and orders them."""

    def __init__(self, inputs, outputs, train_g):
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(outputs, 1), requires_grad=train_g)
        self.weight_v = nn.Parameter(torch.zeros(outputs, inputs).uniform_(-(inputs**-0.5), inputs**-0.5))

    def forward(self, x):
        return F.linear(x, self.weight_v * (self.weight_g / self.weight_v.norm(dim=1, keepdim=True)))


class Head(nn.Module):
    def __init__(self, inputs, outputs, norm_last_layer, hidden=2048, bottleneck=256, bn=False):
        super().__init__()
        layers = []
        for width in (inputs, hidden):
            layers += [nn.Linear(width, hidden), *([nn.BatchNorm1d(hidden)] if bn else []), nn.GELU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden, bottleneck))
        self.last_layer = WeightNormLinear(bottleneck, outputs, not norm_last_layer)

    def forward(self, x):
        return self.last_layer(F.normalize(self.mlp(x), dim=-1))


class Network(nn.Module):
    def __init__(self, arch, patch, out_dim, norm_last_layer=True, rate=0.0, bn=False, depth=12):
        super().__init__()
        if arch in VITS:
            dim, heads = VITS[arch]
            self.backbone = VisionTransformer(dim, heads, patch, depth, rate=rate)
        elif arch.startswith("timm/"):
            self.backbone, dim = of_timm(arch.removeprefix("timm/"))
        else:
            self.backbone, dim = resnet(arch)
        self.head = Head(dim, out_dim, norm_last_layer, bn=bn)

    def forward(self, crops):
        """Neighbours of one size share a call of the backbone; the head sees all crops at once."""
        features, first = [], 0
        for last in range(1, len(crops) + 1):
            if last == len(crops) or crops[last].shape[-1] != crops[first].shape[-1]:
                features.append(self.backbone(torch.cat(crops[first:last])))
                first = last
        return self.head(torch.cat(features))


def set_initial(module, prefix, value=initial_value):
    """The shared initial values; prefix is "student." or "student.backbone."."""
    with torch.no_grad():
        for name, x in module.state_dict().items():
            if x.is_floating_point():  # not the counters of batch norms
                x.copy_(torch.from_numpy(value(prefix + name, tuple(x.shape))))


def dino_loss(student, teacher, center, views, student_temp, teacher_temp):
    """Mean cross-entropy over pairs of a teacher view and another student view, and the mean entropy of the targets."""
    q = ((teacher - center) / teacher_temp).softmax(-1).detach().chunk(2)
    log_p = (student / student_temp).log_softmax(-1).chunk(views)
    terms = [-(q[i] * log_p[v]).sum(-1).mean() for i in range(2) for v in range(views) if v != i]
    entropy = -torch.stack([torch.special.xlogy(x, x).sum(-1).mean() for x in q]).mean()
    return sum(terms) / len(terms), entropy


def cosine(start, end, total, warmup=0):
    """One value a step: a warm-up from 0 to `start` with both ends, then half a cosine that never quite reaches end."""
    k = np.arange(total - warmup)
    curve = end + 0.5 * (start - end) * (1 + np.cos(np.pi * k / max(1, len(k))))
    return np.concatenate([np.linspace(0, start, warmup), curve])


def linear_per_epoch(start, end, over, epochs):
    """One value an epoch: a line over `over` epochs with both ends, then its end."""
    return np.concatenate([np.linspace(start, end, over), np.full(epochs - over, end)])


class Lars(torch.optim.Optimizer):
    """Layer-wise rates: the step of a tensor is in proportion to its norm. Those of one dimension take plain momentum
    steps without decay."""

    def __init__(self, groups, lr, momentum=0.9, eta=0.001):
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0, "momentum": momentum, "eta": eta})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                d = p.grad
                if p.dim() != 1:
                    d = d + group["weight_decay"] * p
                    size, change = p.norm(), d.norm()
                    if size > 0 and change > 0:
                        d = d * (group["eta"] * size / change)
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                p.sub_(group["lr"] * state["momentum_buffer"].mul_(group["momentum"]).add_(d))


OPTIMIZERS = {"adamw": lambda groups: torch.optim.AdamW(groups, lr=0.0),
              "sgd": lambda groups: torch.optim.SGD(groups, lr=0.0, momentum=0.9),
              "lars": lambda groups: Lars(groups, lr=0.0)}


class Dino:
    """Batch norm needs no word here: the teacher trains on its own statistics, of the global crops, and is never put in
    evaluation mode, and buffers are not averaged."""

    def __init__(self, student, clip=0.0, freeze_epochs=0, student_temp=0.1, center_momentum=0.9, optimizer="adamw"):
        self.student, self.teacher = student, copy.deepcopy(student)
        for p in self.teacher.parameters():
            p.requires_grad_(False)
        for block in getattr(self.teacher.backbone, "blocks", ()):
            block.rate = 0.0
        last = student.head.last_layer
        self.center = last.weight_v.new_zeros(1, last.weight_v.shape[0])
        self.clip, self.freeze_epochs = clip, freeze_epochs
        self.student_temp, self.center_momentum = student_temp, center_momentum
        trained = [(n, p) for n, p in student.named_parameters() if p.requires_grad]
        plain = [p for n, p in trained if n.endswith(".bias") or p.dim() == 1]
        decayed = [p for n, p in trained if not (n.endswith(".bias") or p.dim() == 1)]
        self.optimizer = OPTIMIZERS[optimizer]([{"params": decayed}, {"params": plain, "weight_decay": 0.0}])

    def forward(self, crops):
        return self.student(crops)

    def batch_mean(self, x):
        return x.mean(0, keepdim=True)

    def step(self, crops, epoch, lr, weight_decay, momentum, teacher_temp, keep_grads=True):
        """One iteration; returns loss, teacher_entropy, kl and, unless told otherwise, grad_norm and the gradients by
        name, both before clipping."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.param_groups[0]["weight_decay"] = weight_decay
        with torch.no_grad():
            teacher = self.teacher(crops[:2])
        student = self.forward(crops)
        loss, entropy = dino_loss(student, teacher, self.center, len(crops), self.student_temp, teacher_temp)
        self.center = self.center * self.center_momentum + self.batch_mean(teacher) * (1 - self.center_momentum)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        grads = {n: p.grad.clone() for n, p in self.student.named_parameters() if keep_grads and p.grad is not None}
        self.clip_and_freeze(epoch)
        self.optimizer.step()
        with torch.no_grad():
            for p, average in zip(self.student.parameters(), self.teacher.parameters()):
                average.mul_(momentum).add_((1 - momentum) * p)
        square = sum(float(g.double().square().sum()) for g in grads.values())
        return {"loss": loss.item(), "teacher_entropy": entropy.item(), "kl": loss.item() - entropy.item(),
                "grad_norm": math.sqrt(square)}, grads

    def clip_and_freeze(self, epoch):
        """Clipping is by tensor. A frozen tensor has no gradient at all, so AdamW neither decays nor counts it."""
        for name, p in self.student.named_parameters():
            if p.grad is None:
                continue
            if self.clip:
                factor = self.clip / (p.grad.norm() + 1e-6)
                if factor < 1:
                    p.grad.mul_(factor)
            if epoch < self.freeze_epochs and "last_layer" in name:
                p.grad = None

    def state(self):
        """Every tensor by its name in a checkpoint."""
        out = {}
        for owner, network in (("student.", self.student), ("teacher.", self.teacher)):
            out.update({owner + n: x.detach() for n, x in network.state_dict().items()})
        out["center"] = self.center
        return {name: x.cpu().numpy() for name, x in out.items()}

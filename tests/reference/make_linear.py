"""Ten epochs of the linear probe on made-up features, as eval_linear.py trains it: cross-entropy, SGD with momentum, cosine
by the epoch.

    make_linear.py OUT.json

Features and labels are those of values.py: label i is i % 5; feature row i is "linear.class{label}" + 2 * "linear.{split}{i}",
uniform(-1, 1) both, of 16 columns; "train" has 70 rows, "val" 60. Weights begin as "linear.weight", uniform(-0.02, 0.02),
biases at 0. Epoch e's batch s holds the rows (37 * k + 11 * e) % 70 for k from 16 s on; its last batch has 6. PyTorch
in f32.

{"epochs": [{"lr", "loss" (of training, mean over rows), "val_loss", "top1", "top3" (percent)} ...],
 "weight": summary of linear.weight at the end, "bias": [5 numbers]}"""
import json
import sys

import numpy as np
import torch

from values import named_uniform, summary

CLASSES, DIM, TRAIN, VAL, BATCH, EPOCHS, LR = 5, 16, 70, 60, 16, 10, 0.1


def rows(split, count):
    label = np.arange(count) % CLASSES
    x = [named_uniform("linear.class%d" % label[i], (DIM,), -1, 1) + 2 * named_uniform("linear.%s%d" % (split, i), (DIM,), -1, 1)
         for i in range(count)]
    return torch.from_numpy(np.stack(x).astype(np.float32)), torch.from_numpy(label)


def main():
    train_x, train_y = rows("train", TRAIN)
    val_x, val_y = rows("val", VAL)
    model = torch.nn.Linear(DIM, CLASSES)
    start = named_uniform("linear.weight", (CLASSES, DIM), -0.02, 0.02)
    model.weight.data = torch.from_numpy(start.copy())
    model.bias.data.zero_()
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=0.9, weight_decay=0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS, eta_min=0)
    loss_of = torch.nn.CrossEntropyLoss()
    epochs = []
    for epoch in range(EPOCHS):
        order = (37 * torch.arange(TRAIN) + 11 * epoch) % TRAIN
        lr, total = optimizer.param_groups[0]["lr"], 0.0
        for first in range(0, TRAIN, BATCH):
            batch = order[first : first + BATCH]
            loss = loss_of(model(train_x[batch]), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        scheduler.step()
        with torch.no_grad():
            logits = model(val_x)
            top = logits.topk(5, 1).indices == val_y[:, None]
            epochs.append({"lr": lr, "loss": total / TRAIN, "val_loss": loss_of(logits, val_y).item(),
                           "top1": 100 * top[:, :1].any(1).float().mean().item(),
                           "top3": 100 * top[:, :3].any(1).float().mean().item()})
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump({"epochs": epochs, "weight": summary("linear.weight", model.weight.detach().numpy(), start),
                   "bias": model.bias.tolist()}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()

"""Whole tensors of our run against PyTorch's, name by name.

    compare_parity.py CHECKPOINT FULL [--expected PARITY.json] [--first CHECKPOINT1] [--log LOG.jsonl]

CHECKPOINT  our checkpoint after the ten steps (`dinorun train PLAN --replay ... --init ... --steps 10`)
FULL        make_parity.py's or make_parity_resnet.py's --full file of the same run
--expected  the parity file; where it has a spread, three times that is the tolerance if it is wider
--first     our checkpoint after one step (--steps 1) of run a or adamw: its optim.exp_avg is a tenth of the gradient
--log       our log.jsonl against the steps of the parity file
Prints error / tolerance, largest last; the exit status is 0 when all are at most 1. Written so that NaN fails."""
import argparse
import json
import sys

import numpy as np

import st
from make_parity import tolerance
from values import initial_value

LOSSES = {"loss": 1e-5, "teacher_entropy": 1e-5}  # relative
SCHEDULES = {"lr": 1e-9, "weight_decay": 1e-9, "momentum": 1e-9, "teacher_temp": 1e-9}


def share(error, limit):
    """error / limit with 0 / 0 = 0: a frozen tensor may have no tolerance, and then must be equal."""
    return 0.0 if error == 0 else float("inf") if limit == 0 else error / limit


def spreads_of(expected):
    """Of all tensors of a --full file, by its names."""
    parts = {"student": "student.", "teacher": "teacher.", "center": "", "last_buffers": "", "gradients": "grad."}
    return {prefix + name: x["spread"] for part, prefix in parts.items()
            for name, x in expected.get(part, {}).items() if isinstance(x, dict) and "spread" in x}


def limit_of(name, x, spreads):
    norm = np.linalg.norm(x.astype(np.float64))
    if name.endswith("num_batches_tracked"):
        return 0.0
    if name.startswith("grad."):
        limit = 1e-4 * norm
    elif name.endswith(("running_mean", "running_var")):
        limit = 1e-5 * norm
    else:
        start = 0 if name == "center" else initial_value("student." + name.partition(".")[2], x.shape)
        limit = tolerance(name, start, x)
    return max(limit, 3 * spreads.get(name, 0))


def compare_state(ours, theirs, spreads):
    for name, x in theirs.items():
        if name.startswith("grad."):
            continue
        if name not in ours:
            yield float("nan"), name + " is missing"
        elif ours[name].shape != x.shape:
            yield float("nan"), f"{name} is {ours[name].shape}, expected {x.shape}"
        else:
            error = np.linalg.norm(ours[name].astype(np.float64) - x)
            yield share(error, limit_of(name, x, spreads)), name


def compare_gradients(ours, theirs, spreads):
    for name, x in theirs.items():
        if not name.startswith("grad."):
            continue
        rest = name.partition(".")[2]
        found = [ours[key] for key in ("optim.exp_avg.student." + rest, "optim.exp_avg." + rest) if key in ours]
        if not found or found[0].size != x.size:
            yield float("nan"), name + " is missing"
        else:
            error = np.linalg.norm(found[0].astype(np.float64).reshape(x.shape) * 10 - x)
            yield share(error, limit_of(name, x, spreads)), name


def compare_log(path, theirs):
    with open(path) as file:
        ours = [json.loads(line) for line in file if line.strip()]
    if len(ours) != len(theirs):
        yield float("nan"), f"{len(ours)} steps, expected {len(theirs)}"
    spread = {}
    for a, b in zip(ours, theirs):
        for key, limit in {**LOSSES, **SCHEDULES}.items():
            # A difference of numbers may be small by chance; those of the steps before say how small it can be.
            spread[key] = max(spread.get(key, 0), b.get("spread", {}).get(key, 0))
            limit = max(limit * abs(b[key]), 3 * spread[key])
            yield share(abs(a.get(key, float("nan")) - b[key]), limit), f"step {b['step']} {key}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("full")
    parser.add_argument("--first")
    parser.add_argument("--log")
    parser.add_argument("--expected")
    args = parser.parse_args()
    if args.log and not args.expected:
        parser.error("--log needs --expected")
    expected = {}
    if args.expected:
        with open(args.expected) as file:
            expected = json.load(file)
    theirs, spreads = st.load(args.full), spreads_of(expected)
    rows = list(compare_state(st.load(args.checkpoint), theirs, spreads))
    if args.first:
        rows += compare_gradients(st.load(args.first), theirs, spreads)
    if args.log:
        rows += compare_log(args.log, expected["steps"])
    bad = [row for row in rows if not row[0] <= 1]
    for value, name in sorted((row for row in rows if row[0] <= 1), key=lambda row: row[0]) + bad:
        print(f"{value:10.4f}  {name}")
    print(f"{len(rows)} compared, {len(bad)} outside their tolerance")
    sys.exit(1 if bad or not rows else 0)


if __name__ == "__main__":
    main()

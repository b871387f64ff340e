#!/usr/bin/env python3
"""TensorBoard's own reader on the event files of a run that was interrupted.

    check_tensorboard.py DINOC DINORUN DRAW_SCENES GRAPHS

Trains with --tensorboard, stops, goes on from an earlier checkpoint than the last line, and compares what TensorBoard has read with the lines of
log.jsonl: the same steps, each once, and the same numbers to f32's rounding. Needs `pip install tensorboard`; says so and exits with status 77 without it.
"""
import json
import pathlib
import shutil
import sys
import tempfile

from checks import run, skip

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    skip("there is no tensorboard (pip install tensorboard)")


def main():
    dinoc, dinorun, draw_scenes, graphs = map(pathlib.Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        data, plan, out, early = work / "scenes", work / "demo.plan", work / "run", work / "early"
        run(draw_scenes, "--out", data, "--images", 24)
        run(dinoc, graphs / "demo.yaml", "-o", plan, "--batch", 4, "--set", "head.with.out_dim=64", "--set", "student.with.depth=1")
        train = [dinorun, "train", plan, "--data", data / "train", "--out", out, "--epochs", 4]
        run(*train, "--tensorboard", "--steps", 8)
        shutil.copytree(out, early)
        run(*train, "--resume", "--steps", 14)
        for path in early.glob("*.safetensors"):  # as if the run had died behind step 14, and the newest checkpoint were of step 8
            shutil.copy(path, out)
        for path in out.glob("*.safetensors"):
            if not (early / path.name).exists():
                path.unlink()
        run(*train, "--resume")
        files = sorted((out / "tensorboard").iterdir())
        if len(files) != 3:
            sys.exit(f"three files are expected: {files}")
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        events = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0})
        events.Reload()
        tags = events.Tags()["scalars"]
        if len(tags) < 10:
            sys.exit(f"too few tags: {tags}")
        for tag in tags:
            key = tag.partition("/")[2]
            read = [(event.step, event.value) for event in events.Scalars(tag)]
            for line, (step, value) in zip(lines, read):  # f32 of the number, and the log's digits, each within half a unit
                off = 2.0 ** -23 if key != "images_per_s" else 1e-3
                if abs(value - line[key]) > off * abs(line[key]):
                    sys.exit(f"{tag}, step {step}: TensorBoard reads {value}, the log has {line[key]}")
            if [step for step, _ in read] != list(range(24)):
                sys.exit(f"{tag}: the steps are {[step for step, _ in read]}")
        print(f"{len(tags)} tags, {len(lines)} steps, {len(files)} files: as in log.jsonl")
    return 0


if __name__ == "__main__":
    sys.exit(main())

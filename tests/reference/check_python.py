"""The Python package against dinorun, from the tree and from a wheel in a fresh virtual environment. Run by ctest, and skipped (status 77) where
NumPy is missing.

    check_python.py BUILD GRAPHS

A tiny network is trained on drawn scenes, with settings of its own for how images are read. Asked for:

- features of a run's folder, a bundle, and plan with weights are the bytes of `dinorun features`, in batches of any number of images that
  divide them alike; images from memory and from arrays are those of their files;
- what the classifier says is as often right as `dinorun linear` counts;
- tokens begin with what the features are, attention adds up to one;
- errors are exceptions with the library's text, and a call that fails changes nothing; threads may share a model; a closed model says so;
- the wheel is the same bytes twice, and what it installs, with the library inside, has the same features. Without venv and pip this part is
  left out, and said."""
import argparse
import csv
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

from checks import needed, run

with needed():
    import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "tools" / "python"
SETS = """student.with.dim=32 student.with.depth=4 student.with.heads=2 student.with.image=32 head.with.out_dim=64
    head.with.hidden=48 head.with.bottleneck=16 crops.global.size=32 crops.local.size=16 crops.local.count=2
    entries.features.batch=7""".split()


class Trained:
    """A run in `folder`, a bundle of it, and what dinorun says of them."""

    def __init__(self, build, graphs, folder):
        dinorun = build / "dinorun"
        self.plan, self.run, self.bundle = folder / "tiny.plan", folder / "run", folder / "run.bundle"
        self.head, self.weights = self.run / "linear/best.safetensors", self.run / "checkpoint.safetensors"
        scenes = folder / "scenes"
        run(build / "draw_scenes", "--out", scenes, "--images", 40, "--classes", 3)
        sets = [word for text in SETS for word in ("--set", text)]
        run(build / "dinoc", graphs / "demo.yaml", "--batch", 4, *sets, "-o", self.plan)
        run(dinorun, "train", self.plan, "--data", scenes / "train", "--out", self.run, "--steps", 4, "--pillow", 12,
            "--set", "entries.features.resize=40", "--set", "crops.std.0=0.5", "--ignore-memory")
        said = run(dinorun, "linear", self.run, "--train", scenes / "train", "--val", scenes / "train", "--set", "epochs=20",
                   "--set", "lr.from=3")
        self.best = float(re.findall(r"best ([\d.]+) %", said)[-1])
        run(dinorun, "bundle", self.run, "-o", self.bundle, "--head", self.head)
        self.features = self.features_of(dinorun, folder / "f.npy", self.run, scenes / "train")
        self.of_plan = self.features_of(dinorun, folder / "p.npy", self.plan, scenes / "train", "--weights", self.weights)
        with open(folder / "f.npy.tsv") as rows:
            listed = list(csv.reader(rows, delimiter="\t"))
        self.paths = [str(scenes / "train" / row[0]) for row in listed]
        self.labels = [row[1] for row in listed]

    @staticmethod
    def features_of(dinorun, out, what, images, *more):
        run(dinorun, "features", what, "--data", images, "--out", out, "--threads", 2, *more)
        return np.load(out)


def same(what, got, wanted):
    if got.dtype != wanted.dtype or got.shape != wanted.shape or not (got == wanted).all():
        sys.exit(f"{what}: {got.dtype} {got.shape} is not what dinorun has")


def refuses(what, kind, text, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as why:
        if text not in str(why):
            sys.exit(f"{what}: {why}")
        return
    sys.exit(f"{what} is not refused")


def check_numbers(dinograph, trained):
    paths, wanted = trained.paths, trained.features
    for path in (trained.run, str(trained.bundle)):
        with dinograph.Model(path, threads=2) as model:
            same(f"features of {path}", model.features(paths), wanted)
            same("no image", model.features([]), wanted[:0])
            same("seven", model.features(paths[:7], batch=7), wanted[:7])
            few = model.features(paths[:9], batch=3)
            if np.abs(few - wanted[:9]).max() > 1e-4:
                sys.exit("batches of three have other features")
            same("features afterwards", model.features(paths), wanted)
    with dinograph.Model(plan=trained.plan, weights=trained.weights, threads=2) as model:
        same("features of plan and weights", model.features(paths), trained.of_plan)
        assert model.entries == ("features", "attention", "tokens") and model.threads == 2
    with dinograph.Model(trained.run, student=True) as model:
        assert np.abs(model.features(paths[:7]) - wanted[:7]).max() > 1e-4


def check_images(dinograph, trained, folder):
    """Encoded bytes, and arrays against files of the same pixels."""
    generator = np.random.default_rng(1)
    arrays = [generator.integers(0, 256, (40 + 7 * i, 61, 3), np.uint8) for i in range(3)]
    files = []
    for number, array in enumerate(arrays):
        files.append(folder / f"{number}.ppm")
        files[-1].write_bytes(b"P6 %d %d 255\n" % (array.shape[1], array.shape[0]) + array.tobytes())
    with dinograph.Model(trained.bundle, threads=2) as model:
        wanted = model.features(files)
        same("arrays", model.features(arrays), wanted)
        same("bytes", model.features([file.read_bytes() for file in files]), wanted)
        same("a mixture", model.features([files[0], bytearray(files[1].read_bytes()), arrays[2]]), wanted)
        same("an array of several", model.features(np.stack([arrays[0], arrays[0]])), wanted[[0, 0]])
        same("columns backwards", model.features([a[:, ::-1][:, ::-1] for a in arrays]), wanted)
        same("one path", model.features(str(files[0])), model.features(arrays[0]))
        refuses("floats", TypeError, "image 1: an array of float64 [3, 3]", model.features, [arrays[0], np.zeros((3, 3))])
        refuses("noise", dinograph.InputError, "image 2: the image in memory", model.features, [*files[:2], b"noise"])
        refuses("a number", TypeError, "image 0: int is no path", model.features, [5])
        refuses("no file", dinograph.FileError, "none.png", model.features, "none.png")
        same("features after errors", model.features(arrays), wanted)


def check_entries(dinograph, trained):
    with dinograph.Model(trained.bundle) as model:
        info = model.info()
        assert (info.batch, info.dim, info.height, info.resize, info.first_patch) == (7, 32, 32, 40, 1), info
        assert info.std[0] == 0.5 and info.patch_rows * info.patch_size == 32 and info.classes == 0
        patches = info.patch_rows * info.patch_cols
        tokens, attention = model.tokens(trained.paths[:9]), model.attention(trained.paths[:9])
        assert tokens.shape == (9, 1 + patches, 32) and attention.shape == (9, 2, 1 + patches, 1 + patches)
        assert np.abs(tokens[:, 0] - trained.features[:9]).max() < 1e-4
        assert np.abs(attention.sum(-1) - 1).max() < 1e-5
        check_classifier(model, trained)
    with dinograph.Model(trained.run, head=trained.head) as model:
        check_classifier(model, trained)
    with dinograph.Model(trained.run) as model:
        refuses("predict without a head", dinograph.UsageError, "has no classifier", model.predict, trained.paths[0])


def check_classifier(model, trained):
    assert model.entries[-1] == "classifier" and model.info("classifier").classes == 3
    assert model.classes == sorted(set(trained.labels))
    classes, probabilities, logits = model.predict(trained.paths)
    assert probabilities.shape == logits.shape == (len(trained.paths), 3)
    assert np.abs(probabilities.sum(1) - 1).max() < 1e-5
    assert classes == [model.classes[i] for i in logits.argmax(1)]
    right = 100 * np.mean([a == b for a, b in zip(classes, trained.labels)])
    assert abs(right - trained.best) < 0.01, (right, trained.best)


def check_errors(dinograph, trained):
    refuses("no model", dinograph.FileError, "nothing", dinograph.Model, "nothing")
    refuses("a plan alone", dinograph.UsageError, "weights", dinograph.Model, plan=trained.plan)
    refuses("a plan as a path", dinograph.UsageError, "no weights", dinograph.Model, trained.plan)
    refuses("no path", dinograph.UsageError, "one of both", dinograph.Model)
    refuses("weights as a model", dinograph.InputError, "a plan", dinograph.Model, trained.weights)
    refuses("other weights", dinograph.UsageError, "no others", dinograph.Model, trained.bundle, weights=trained.weights)
    assert issubclass(dinograph.FileError, OSError) and issubclass(dinograph.InputError, ValueError)
    model = dinograph.Model(trained.run)
    refuses("a large batch", ValueError, "room for 1 to 7", model.features, trained.paths, batch=8)
    model.features(trained.paths[0])
    model.close()
    model.close()
    refuses("a closed model", dinograph.UsageError, "closed", model.features, trained.paths[0])
    refuses("a closed model", dinograph.UsageError, "closed", lambda: model.entries)


def check_threads(dinograph, trained):
    wrong = []
    with dinograph.Model(trained.bundle, threads=2) as model:

        def work(first):
            for _ in range(3):
                got = model.features(trained.paths[first : first + 7])
                if not (got == trained.features[first : first + 7]).all():
                    wrong.append(first)

        workers = [threading.Thread(target=work, args=(first,)) for first in (0, 7, 14)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if wrong:
        sys.exit(f"features in threads differ: {wrong}")


def check_wheel(build, trained, folder):
    """In a virtual environment that has this Python's NumPy."""
    made = [run(sys.executable, PACKAGE / "build_wheel", build, "-o", folder / name).split(":")[0] for name in ("a", "b")]
    if pathlib.Path(made[0]).read_bytes() != pathlib.Path(made[1]).read_bytes():
        sys.exit("two wheels of one library differ")
    venv = folder / "venv"
    if subprocess.run([sys.executable, "-m", "venv", venv], capture_output=True).returncode:
        print("left out: the wheel in a virtual environment; there is no venv (python3-venv)")
        return
    python = venv / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", "--disable-pip-version-check", made[0])
    numpy = pathlib.Path(np.__file__).resolve().parent.parent
    program = f"""import sys
sys.path.append({str(numpy)!r})
import dinograph, numpy
from dinograph import _library
assert dinograph.__file__.startswith({str(venv)!r}), dinograph.__file__
assert _library.lib._name.startswith({str(venv)!r}), _library.lib._name
with dinograph.Model({str(trained.bundle)!r}, threads=2) as model:
    numpy.save({str(folder / "wheel.npy")!r}, model.features({trained.paths!r}))
"""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DINOGRAPH_LIBRARY")}
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, env=clean)
    if done.returncode:
        sys.exit(f"the wheel: {done.stderr}")
    same("features of the wheel", np.load(folder / "wheel.npy"), trained.features)
    print(f"the wheel has dinorun's features: {pathlib.Path(made[0]).name}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("graphs", type=pathlib.Path)
    given = parser.parse_args()
    build = given.build.resolve()
    os.environ["DINOGRAPH_LIBRARY"] = str(build / "libdinograph.so.0")
    sys.path.insert(0, str(PACKAGE))
    import dinograph

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        trained = Trained(build, given.graphs, folder)
        assert not (trained.features == trained.of_plan).all()  # the run's own settings of images
        check_numbers(dinograph, trained)
        check_images(dinograph, trained, folder)
        check_entries(dinograph, trained)
        check_errors(dinograph, trained)
        check_threads(dinograph, trained)
        print(f"{len(trained.paths)} images: features of run, bundle and plan are dinorun's")
        check_wheel(build, trained, folder)


if __name__ == "__main__":
    main()

"""Image retrieval and copy detection: `dinorun retrieve` and `copy-detect` against PyTorch and Pillow, from the same weights and
files. Run by ctest, and skipped (status 77) where one of them is missing.

    check_retrieval.py BUILD GRAPHS [PHOTOGRAPHS] [--size N] [--speed]

Both protocols are stated again here as the official eval_image_retrieval.py and eval_copy_detection.py have them. The sets are
made in the official layouts, of drawn scenes with a small ViT, or of the photographs of a plain folder with ViT-S/16: crops,
other sizes, other qualities and colours of each image are what belongs to it. Asked for:

- retrieval, at one scale and at three: every similarity within what f32 products round, every ranked list equal but for ties nearer
  than that, and the lines that the official script prints equal to the last digit;
- copy detection, with and without distractors and whitening: mAP of each block equal to the last printed digit."""
import argparse
import csv
import json
import os
import pickle
import resource
import tempfile
import time

from checks import needed, run

with needed():
    import numpy as np
    import torch
    from PIL import Image, ImageEnhance

from dino import VITS, VisionTransformer, set_initial
from values import random_norm

MEAN, STD = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
JPEG, CROPS = (3, 5, 8, 10, 15, 20, 30, 50, 75), (10, 15, 20, 30, 40, 50, 60, 70, 80)
BLOCKS = ["original", "strong"] + [f"jpegqual/{q}" for q in JPEG] + [f"crops/{c}" for c in CROPS]


def spent():
    """Seconds, and CPU seconds of this process and of those that it has run: others may use the machine meanwhile."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.time(), time.process_time() + children.ru_utime + children.ru_stime])


def say_speed(what, theirs, ours):
    print("  %s: PyTorch %.1f s (%.1f of CPU), dinorun with its start and its plans %.1f s (%.1f of CPU)" % (what, *theirs, *ours))


# ---- the protocols ----


def tensor(image):
    x = torch.from_numpy(np.asarray(image).copy()).float().div(255)
    return ((x - MEAN) / STD).permute(2, 0, 1)[None]


@torch.no_grad()
def multi_scale(x, model):
    total = None
    for scale in (1, 1 / 2 ** (1 / 2), 1 / 2):
        y = x if scale == 1 else torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
        total = model(y).clone() if total is None else total + model(y)
    total /= 3
    return total / total.norm()


@torch.no_grad()
def retrieval_features(model, paths, side, multiscale):
    rows = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        image.thumbnail((side, side), Image.LANCZOS)
        rows.append(multi_scale(tensor(image), model) if multiscale else model(tensor(image)))
    return torch.nn.functional.normalize(torch.cat(rows), dim=1, p=2)


def trapezoids(ranks, positives):
    """The area under precision over recall."""
    ap = 0.0
    for found, rank in enumerate(ranks):
        before = 1.0 if rank == 0 else found / rank
        ap += (before + (found + 1) / (rank + 1)) / positives / 2
    return ap


def mean_ap(ranks, truth, cuts=(1, 5, 10)):
    """Of ranks [images, queries] and [(positives, junk)]."""
    aps, precisions = [], []
    for q, (positives, junk) in enumerate(truth):
        if not len(positives):
            continue
        line = ranks[:, q].tolist()
        junk_at = [r for r, i in enumerate(line) if i in junk]
        places = [r - sum(j < r for j in junk_at) for r, i in enumerate(line) if i in positives]
        aps.append(trapezoids(places, len(positives)))
        ends = [min(places[-1] + 1, cut) for cut in cuts]
        precisions.append([sum(p < end for p in places) / end for end in ends])
    return np.mean(aps), np.mean(precisions, 0)


@torch.no_grad()
def copy_features(model, paths, side):
    rows = []
    for path in paths:
        x = model.tokens(tensor(Image.open(path).convert("RGB").resize((side, side), Image.BICUBIC)))
        patches = x[:, 1:].clamp(min=1e-6).pow(4).mean(1).pow(1.0 / 4)
        rows.append(torch.cat([x[:, 0], patches], 1))
    return torch.cat(rows)


def whitener(features):
    """The transform, transposed, and the mean."""
    values, vectors = np.linalg.eigh((features.T @ features / len(features)).numpy())
    values = np.maximum(values, values.max() * 1e-5)
    order = np.argsort(values)[::-1]
    return torch.from_numpy((vectors[:, order] / values[order] ** 0.5).astype(np.float32)), features.mean(0)


def copy_maps(sets, names, whitening, distractors):
    queries = [sets[b] for b in BLOCKS]
    database = torch.cat([sets["original"]] + ([distractors] if distractors is not None else []))
    if whitening is not None:
        transform, mean = whitener(whitening)
        database, queries = (database - mean) @ transform, [(q - mean) @ transform for q in queries]
    normal = lambda x: torch.nn.functional.normalize(x, dim=1, p=2)
    maps = {}
    for block, features in zip(BLOCKS, queries):
        nearest = (normal(features) @ normal(database).T).topk(min(20, len(database))).indices.tolist()
        total = 0.0
        for q, line in enumerate(nearest):
            same = [i for i, n in enumerate(names["original"]) if (n[:4] == names["strong"][q][:4] if block == "strong" else i == q)]
            total += trapezoids([rank for rank, i in enumerate(line) if i in same], len(same))
        maps[block] = total / len(nearest)
    return maps


# ---- the sets ----


def changed(image, rng):
    """Another look of the same: a crop, another size, other colours."""
    w, h = image.size
    cw, ch = int(w * rng.uniform(0.55, 1)), int(h * rng.uniform(0.55, 1))
    left, top = int(rng.integers(0, w - cw + 1)), int(rng.integers(0, h - ch + 1))
    image = image.crop((left, top, left + cw, top + ch))
    image = image.resize((max(40, int(cw * rng.uniform(0.7, 1.3))), max(40, int(ch * rng.uniform(0.7, 1.3)))), Image.BICUBIC)
    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.4))


def make_landmarks(pictures, folder, rng):
    """gnd_*.pkl and jpg/: of each of the first pictures some looks, easy and hard, and as junk halves of it."""
    os.makedirs(folder + "/jpg")
    images, queries, gnd = [], [], []

    def add(image, name):
        image.save(f"{folder}/jpg/{name}.jpg", quality=int(rng.integers(40, 96)))
        images.append(name)
        return len(images) - 1

    for p, path in enumerate(pictures):
        image = Image.open(path).convert("RGB")
        entry = {"bbx": [0.0, 0.0, 1.0, 1.0], "easy": [], "hard": [], "junk": []}
        for kind, count in (("easy", 3), ("hard", 3), ("junk", 2)) if p % 3 == 0 else (("other", 1),):
            for look in range(count):
                other = changed(image, rng)
                if kind == "hard":
                    other = changed(other, rng)
                index = add(other, f"place_{p:06}_{kind}_{look}")
                if kind in entry:
                    entry[kind].append(index)
        if p % 3 == 0:
            changed(image, rng).save(f"{folder}/jpg/query_{p:06}.jpg", quality=90)
            queries.append(f"query_{p:06}")
            gnd.append(entry if p % 9 else {**entry, "hard": []})
    with open(folder + "/gnd.pkl", "wb") as file:
        pickle.dump({"gnd": gnd, "imlist": images, "qimlist": queries}, file)
    return images, queries, gnd


def make_copydays(pictures, folder, rng):
    """Returns the files of each block, and those of distractors and whitening."""
    originals, others = pictures[: len(pictures) // 3], pictures[len(pictures) // 3 :]
    files = {block: [] for block in BLOCKS + ["distractors", "whitening"]}

    def add(block, image, name, **options):
        os.makedirs(f"{folder}/{block}", exist_ok=True)
        files[block].append(f"{folder}/{block}/{name}.jpg")
        image.save(files[block][-1], **options)

    for p, path in enumerate(originals):
        image, name = Image.open(path).convert("RGB"), f"{2000 + p}00"
        w, h = image.size
        add("original", image, name, quality=95)
        for quality in JPEG:
            add(f"jpegqual/{quality}", image.resize((w // 2, h // 2), Image.BICUBIC), name, quality=quality)
        for percent in CROPS:
            side = (1 - percent / 100) ** 0.5
            add(f"crops/{percent}", image.crop((0, 0, max(8, int(w * side)), max(8, int(h * side)))), name, quality=90)
        for look in range(1 + p % 2):
            add("strong", changed(changed(image, rng), rng).rotate(8), f"{2000 + p}0{look + 1}", quality=30)
    for p, path in enumerate(others):
        add("whitening" if p % 2 else "distractors", Image.open(path).convert("RGB"), f"other_{p:06}", quality=90)
    return files


# ---- the comparison ----


class Case:
    def __init__(self, build, graphs, photographs, side, folder):
        self.dinoc, self.dinorun = os.path.join(build, "dinoc"), os.path.join(build, "dinorun")
        self.plan, self.weights = folder + "/plan", folder + "/weights.safetensors"
        small = not photographs
        self.model = (VisionTransformer(64, 4, 8, 3, 64) if small else VisionTransformer(*VITS["vit_small"], 16)).eval()
        sets = ["dim=64", "heads=4", "depth=3", "patch=8", "image=64"] if small else ["patch=16"]
        self.side = side or (72 if small else 224)
        set_initial(self.model, "student.backbone.", lambda name, shape: (4 if len(shape) == 2 and name.endswith(".weight") else 1) * random_norm(name, shape))
        torch.save(self.model.state_dict(), folder + "/weights.pth")
        run(self.dinorun, "import", folder + "/weights.pth", "-o", self.weights)
        run(self.dinoc, os.path.join(graphs, "vit.yaml:vit" if small else "vit.yaml:vit_small"), "-o", self.plan, *(f"--set={s}" for s in sets))


def scores_of(ranks, gnd):
    lists = [{kind: list(entry[kind]) for kind in ("easy", "hard", "junk")} for entry in gnd]
    return {"easy": mean_ap(ranks, [(e["easy"], e["junk"] + e["hard"]) for e in lists]),
            "medium": mean_ap(ranks, [(e["easy"] + e["hard"], e["junk"]) for e in lists]),
            "hard": mean_ap(ranks, [(e["hard"], e["junk"] + e["easy"]) for e in lists])}


def official_lines(scores):
    """As np.around prints them."""
    cuts = np.array([1, 5, 10])
    (m, pm), (h, ph) = scores["medium"], scores["hard"]
    around = lambda x: np.around(np.asarray(x) * 100, decimals=2)
    return f">> mAP M: {around(m)}, H: {around(h)}", f">> mP@k{cuts} M: {around(pm)}, H: {around(ph)}"


def check_retrieval(case, pictures, folder, multiscale, speed):
    landmarks = f"{folder}/landmarks"
    images, queries, gnd = case.landmarks = getattr(case, "landmarks", None) or make_landmarks(pictures, landmarks, np.random.default_rng(3))
    begin = spent()
    theirs = [retrieval_features(case.model, [f"{landmarks}/jpg/{n}.jpg" for n in names], case.side, multiscale) for names in (images, queries)]
    similarity = theirs[0] @ theirs[1].T
    ranks = torch.argsort(-similarity, dim=0).numpy()
    took = [spent() - begin]
    begin = spent()
    out = folder + "/ranked.csv"
    said = json.loads(run(case.dinorun, "retrieve", case.plan, "--weights", case.weights, "--ground-truth", landmarks + "/gnd.pkl", "--database",
                          landmarks + "/jpg", "--out", out, "-k", str(len(images)), "--resize", f"long-side {case.side}", "--json",
                          *(["--multiscale"] if multiscale else [])))
    took.append(spent() - begin)
    ours = np.full((len(images), len(queries)), -1)
    places = {name + ".jpg": i for i, name in enumerate(images)}
    worst, ties, row = 0, 0, {name + ".jpg": q for q, name in enumerate(queries)}
    with open(out, encoding="utf-8") as file:
        for line in csv.DictReader(file):
            q, i = row[line["query"]], places[line["image"]]
            ours[int(line["rank"]) - 1, q] = i
            worst = max(worst, abs(float(line["similarity"]) - similarity[i, q].item()))
    assert worst <= 2e-5, f"a similarity differs by {worst}"
    for place, q in zip(*np.nonzero(ours != ranks)):
        near = abs(similarity[ours[place, q], q] - similarity[ranks[place, q], q]).item()
        assert near <= 2 * worst + 1e-6, f"query {q}: place {place} differs, and similarities by {near}"
        ties += 1
    scores = {"theirs": scores_of(ranks, gnd), "by our lists": scores_of(ours, gnd)}
    ours_said = {level: (said["scores"][level]["map"] / 100, np.array([said["scores"][level][f"mp{k}"] for k in (1, 5, 10)]) / 100) for level in scores["theirs"]}
    print(f"retrieval{' at three scales' if multiscale else ''}: {len(queries)} queries, {len(images)} images; similarities differ by {worst:.1e} at most, "
          f"{ties} of {ours.size} places at ties")
    for line, own in zip(official_lines(scores["theirs"]), official_lines(ours_said)):
        print("  " + line)
        assert ties or line == own, own
    for level, (value, precisions) in ours_said.items():
        for have, want in ((value, scores["by our lists"][level][0]), *zip(precisions, scores["by our lists"][level][1])):
            assert abs(have - want) <= 1e-12
    if speed:
        say_speed(f"{len(queries) + len(images)} images", *took)


def check_copies(case, pictures, folder, speed):
    copydays = folder + "/copydays"
    files = make_copydays(pictures, copydays, np.random.default_rng(5))
    side = case.side // 8 * 8
    begin = spent()
    sets = {name: copy_features(case.model, sorted(paths), side) for name, paths in files.items()}
    names = {name: [os.path.basename(p) for p in sorted(paths)] for name, paths in files.items()}
    took = [spent() - begin, None]
    for flags in ((), ("distractors",), ("whitening", "distractors")):
        want = copy_maps(sets, names, sets["whitening"] if "whitening" in flags else None, sets["distractors"] if "distractors" in flags else None)
        begin = spent()
        said = json.loads(run(case.dinorun, "copy-detect", case.plan, "--weights", case.weights, "--data", copydays, "--resize", f"square {side}", "--json",
                              *(word for flag in flags for word in ("--" + flag, f"{copydays}/{flag}"))))
        took[1] = spent() - begin
        print(f"copy detection{' with ' + ' and '.join(flags) if flags else ''}: " + ", ".join(f"{b} {want[b]:.3f}" for b in ("strong", "jpegqual/3", "crops/80")))
        for block in BLOCKS:
            have = said["blocks"][block]["map"] / 100
            assert f"{have:.3f}" == f"{want[block]:.3f}", f"{block}: {have:.6f}, and in PyTorch {want[block]:.6f}"
    if speed:
        say_speed(f"{sum(map(len, sets.values()))} images", *took)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("graphs")
    parser.add_argument("photographs", nargs="?")
    parser.add_argument("--size", type=int, help="pixels of the long side, and of the square")
    parser.add_argument("--speed", action="store_true", help="print the times of both")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pictures = args.photographs
        if not pictures:
            pictures = folder + "/scenes"
            run(os.path.join(args.build, "draw_scenes"), "--out", pictures, "--images", "60", "--classes", "6", "--size", "90")
        paths = sorted(os.path.join(root, f) for root, _, files in os.walk(pictures) for f in files if "masks" not in root)
        case = Case(args.build, args.graphs, args.photographs, args.size, folder)
        for multiscale in (False, True):
            check_retrieval(case, paths, folder, multiscale, args.speed)
        check_copies(case, paths, folder, args.speed)


main()

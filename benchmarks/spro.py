"""How much CPU time AU-sPRO costs, beside MVTec's own script in the same run.

    python benchmarks/spro.py                          20 images of 400 x 800
    python benchmarks/spro.py --official DIR           the same files through MVTec's script too
    python benchmarks/spro.py --large                  100 images of 800 x 1600, memory too

DIR is the unpacked, unmodified `mvtec_loco_ad_evaluation`; it needs NumPy < 2, tifffile, Pillow, tqdm and
tabulate, so name another interpreter with `--python`. Both are run as whole processes: start, reading of
the maps (TIFF) and masks (PNG), evaluation. The second figure of ours is the evaluation alone.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from harness.metrics import LIMITS, Region, ScoredSample, auspro, image_metrics, trial_metrics
from harness.metrics.upsample import upsample

CATEGORY = "juice_bottle"
FOLDERS = {"good": "good", "logical": "logical_anomalies", "structural": "structural_anomalies"}
# As in a defects_config.json: absolute for logical, relative for structural anomalies.
SATURATION = {"logical": (5000, False), "structural": (1.0, True)}
PIXEL_VALUE = {"logical": 255, "structural": 254}


def image_labels(good: int, logical: int, structural: int) -> list[str]:
    """Labels in the order of the files."""
    return ["good"] * good + ["logical"] * logical + ["structural"] * structural


def region(mask: np.ndarray, label: str) -> Region:
    """A mask with the saturation threshold of its label."""
    threshold, relative = SATURATION[label]
    return Region(mask, threshold, relative, label)


def draw_mask(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """An ellipse of 1 to 6 % of the image."""
    height, width = size
    y, x = np.ogrid[:height, :width]
    ry, rx = rng.uniform(0.06, 0.14, 2) * size
    cy, cx = rng.uniform(ry, height - ry), rng.uniform(rx, width - rx)
    return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1


def draw_map(rng: np.random.Generator, mask: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """Smooth noise, raised inside the mask, with fine noise that leaves next to no ties; float32."""
    coarse = rng.normal(size=(size[0] // 20, size[1] // 20)).astype(np.float32)
    scores = upsample(coarse, size).copy()
    if mask is not None:
        scores[mask] += np.float32(rng.uniform(0.5, 2.5))
    scores += rng.normal(scale=0.05, size=size).astype(np.float32)
    return scores


def write_category(root: Path, labels: list[str], size: tuple[int, int], seed: int = 0) -> None:
    """Maps and masks in the layout that MVTec's script reads."""
    rng = np.random.default_rng(seed)
    for i, label in enumerate(labels):
        mask = None if label == "good" else draw_mask(rng, size)
        place = root / "maps" / CATEGORY / "test" / FOLDERS[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_map(rng, mask, size)).save(place / f"{i:03d}.tiff")
        if mask is not None:
            place = root / CATEGORY / "ground_truth" / FOLDERS[label] / f"{i:03d}"
            place.mkdir(parents=True)
            Image.fromarray((mask * PIXEL_VALUE[label]).astype(np.uint8)).save(place / "000.png")
    config = [
        {
            "defect_name": label,
            "pixel_value": PIXEL_VALUE[label],
            "saturation_threshold": threshold,
            "relative_saturation": relative,
        }
        for label, (threshold, relative) in SATURATION.items()
    ]
    (root / CATEGORY / "defects_config.json").write_text(json.dumps(config))


def evaluate(root: Path) -> dict:
    """Our figures of the files of `write_category`, and the CPU seconds of the evaluation alone."""
    maps, regions, labels = [], [], []
    for label, folder in FOLDERS.items():
        for path in sorted((root / "maps" / CATEGORY / "test" / folder).glob("*.tiff")):
            masks = sorted((root / CATEGORY / "ground_truth" / folder / path.stem).glob("*.png"))
            maps.append(np.array(Image.open(path)))
            regions.append([region(np.array(Image.open(m)), label) for m in masks])
            labels.append(label)
    start = time.process_time()
    areas = auspro(maps, regions, labels)
    seconds = time.process_time() - start
    scores = np.array([m.max() for m in maps])
    auroc = {
        label: image_metrics(scores[used], np.array(labels)[used] != "good")["auroc"]
        for label in SATURATION
        for used in [np.isin(labels, ["good", label])]
    }
    return {"auspro": areas, "auroc": auroc, "seconds": seconds}


def cpu_seconds(command: list[str], cwd: Path | None = None) -> float:
    """User and system seconds of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def beside_official(official: Path | None, python: str, repeats: int) -> None:
    """20 images of 400 x 800 through both programs."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_category(root, image_labels(12, 4, 4), (800, 400))
        command = [sys.executable, __file__, "--evaluate", str(root)]
        whole = min(cpu_seconds(command) for _ in range(repeats))
        runs = [evaluate(root) for _ in range(repeats)]
        alone = min(run["seconds"] for run in runs)
        print(f"ours, 20 images of 400 x 800: {alone:.3f} CPU s alone, {whole:.3f} CPU s as a process")
        if official is not None:
            _compare(root, official, python, runs[0], alone, whole)


def _compare(root: Path, official: Path, python: str, ours: dict, alone: float, whole: float) -> None:
    command = [python, "evaluate_experiment.py", "--object_name", CATEGORY, "--niceness", "0"]
    command += ["--dataset_base_dir", str(root), "--anomaly_maps_dir", str(root / "maps")]
    theirs = cpu_seconds([*command, "--output_dir", str(root / "out")], cwd=official)
    result = json.loads((root / "out" / "metrics.json").read_text())
    areas, auroc = result["localization"]["auc_spro"], result["classification"]["auc_roc"]
    names = FOLDERS | {"mean": "mean"}
    worst = max(
        abs(ours["auspro"][s][limit] - areas[names[s]][str(limit)])
        for s in ("logical", "structural", "mean")
        for limit in LIMITS
    )
    worst_auroc = max(abs(ours["auroc"][s] - auroc[names[s]]) for s in SATURATION)
    print(f"MVTec's script: {theirs:.2f} CPU s as a process")
    print(f"ratio: {theirs / alone:.1f} to the evaluation alone, {theirs / whole:.1f} as processes")
    print(f"largest difference: AU-sPRO {worst:.1e}, image AUROC {worst_auroc:.1e}")


def large_images() -> tuple[list[str], list[list[Region]], np.ndarray, tuple[int, int]]:
    """Labels, regions and maps of 80 x 40 of 100 images of 800 x 1600."""
    labels, size = image_labels(60, 20, 20), (1600, 800)
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(100, 80, 40)).astype(np.float32)
    masks = [None if label == "good" else draw_mask(rng, size) for label in labels]
    regions = [
        [] if mask is None else [region(mask, label)] for mask, label in zip(masks, labels, strict=True)
    ]
    return labels, regions, coarse, size


def large() -> None:
    """100 images of 800 x 1600 from small maps, as a trial does it."""
    labels, regions, coarse, size = large_images()
    samples = [ScoredSample(float(m.max()), s) for m, s in zip(coarse, labels, strict=True)]
    start = time.process_time()
    trial_metrics(["auspro"], samples, lambda i: coarse[i], lambda i: regions[i], [size] * 100)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"ours, 100 images of 800 x 1600: {seconds:.2f} CPU s, peak {peak:.0f} MiB (limits 10 s, 600)")


def main() -> None:
    """Parse the command line and run what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--official", type=Path, help="folder of MVTec's evaluate_experiment.py")
    parser.add_argument("--python", default=sys.executable, help="interpreter for MVTec's script")
    parser.add_argument("--large", action="store_true", help="100 images of 800 x 1600 instead")
    parser.add_argument("--repeats", type=int, default=5, help="runs of ours; the fastest counts")
    parser.add_argument("--evaluate", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.evaluate:
        evaluate(args.evaluate)
    elif args.large:
        large()
    else:
        beside_official(args.official, args.python, args.repeats)


if __name__ == "__main__":
    main()

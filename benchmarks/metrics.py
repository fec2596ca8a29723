"""What pixel metrics cost at the native size of images: CPU time per megapixel, and memory.

    python -m benchmarks.metrics [--images 40] [--size 1280] [--map 256] [--memory 10 40 160]

Half the images are good, the others show an ellipse of 1 to 6 %. The peer sorts the normal pixels of each
subset and looks the anomalous scores up in them, a metric at a time, which is the usual way to be exact;
both start from the same small maps, and their values have to be equal to the last bit. The yardstick is one
`np.sort` of every image's pixels, nothing else. Memory is that of a process of its own, above what it had
before, of all pixel metrics together; maps and masks are made as they are asked for.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.spro import draw_mask, region
from harness.metrics import METRICS, Evidence, Region, ScoredSample, subsets, trial_metrics, upsample
from harness.metrics.counts import Counts
from harness.metrics.regions import union
from harness.metrics.targets import distinct, targets_of
from harness.provenance import reset_peaks

LABELS = ("good", "logical", "good", "structural")
PIXEL = [name for name in METRICS.own if METRICS.load(name).kind == "pixel"]
Values = dict[tuple[str, str, float | None], float | None]


@dataclass(frozen=True)
class Images:
    """So many images, each a function of its number.

    Attributes:
        n, size: how many, and their side in pixels.
        low: side of their maps.
    """

    n: int
    size: int
    low: int

    @property
    def samples(self) -> list[ScoredSample]:
        """Labels; image scores do not matter here."""
        return [ScoredSample(0.0, LABELS[i % 4]) for i in range(self.n)]

    @property
    def native(self) -> list[tuple[int, int]]:
        """Size of every image."""
        return [(self.size, self.size)] * self.n

    def map(self, i: int) -> np.ndarray:
        """Smooth noise with a little fine noise, float32 (low, low)."""
        rng = np.random.default_rng([i, 0])
        smooth = upsample(rng.normal(size=(20, 20)).astype(np.float32), (self.low, self.low))
        return smooth + rng.normal(scale=0.05, size=smooth.shape).astype(np.float32)

    def regions(self, i: int) -> list[Region]:
        """One ellipse in every image that is not good."""
        if LABELS[i % 4] == "good":
            return []
        return [region(draw_mask(np.random.default_rng([i, 1]), self.native[i]), LABELS[i % 4])]


def ours(
    names: Sequence[str], images: Images, maps: Sequence[Any], regions: Sequence[Any], threads: int = 1
) -> Values:
    """The metrics as a trial has them."""
    rows = trial_metrics(names, images.samples, maps.__getitem__, regions.__getitem__, images.native, threads)
    return {(r.metric, r.subset, r.fpr_limit): r.value for r in rows if r.subset != "mean"}


def peer(name: str, images: Images, maps: Sequence[Any], regions: Sequence[Any]) -> Values:
    """One metric from sorted arrays of all pixels."""
    full = [upsample(m, s) for m, s in zip(maps, images.native, strict=True)]
    metric = METRICS.load(name)
    values: Values = {}
    for subset in subsets(images.samples):
        used = [i for i, s in enumerate(images.samples) if s.groups is None or subset in s.groups]
        evidence = _sorted_evidence(metric.targets, [full[i] for i in used], [regions[i] for i in used])
        for limit in metric.limits or (None,):
            values[name, subset, limit] = metric.function(evidence, limit)
    return values


def _sorted_evidence(kind: str, maps: Sequence[Any], regions: Sequence[Any]) -> Evidence:
    found = [
        t for m, rs in zip(maps, regions, strict=True) if rs for t in targets_of(m, rs, (), [kind])[kind]
    ]
    thresholds = distinct(found)
    normals = [m[~union(rs)] if rs else m.ravel() for m, rs in zip(maps, regions, strict=True)]
    every = np.concatenate(normals)
    every.sort()
    counts = Counts(thresholds.size)
    counts.grow(every.size)
    counts.add(every.searchsorted(thresholds, "left"), every.searchsorted(thresholds, "right"))
    places = [thresholds.searchsorted(target.scores) for target in found]
    return Evidence({kind: found}, thresholds, counts, lambda _: places)


def timed(function: Callable[[], Any], repeats: int = 1) -> tuple[Any, float, float]:
    """What a function gives, and its least CPU and wall seconds."""
    cpu, wall, found = [], [], None
    for _ in range(repeats):
        began, at = time.process_time(), time.perf_counter()
        found = function()
        cpu.append(time.process_time() - began)
        wall.append(time.perf_counter() - at)
    return found, min(cpu), min(wall)


def seconds(images: Images, repeats: int) -> None:
    """CPU seconds of every metric, ours and the peer's."""
    maps = [images.map(i) for i in range(images.n)]
    regions = [images.regions(i) for i in range(images.n)]
    megapixels = images.n * images.size**2 / 1e6
    _, up, _ = timed(partial(_each, maps, images, np.shape), repeats)
    _, both, _ = timed(partial(_each, maps, images, np.sort), repeats)
    yard = both - up
    print(f"{images.n} images of {images.size} x {images.size} from maps of {images.low} x {images.low}")
    print(f"np.sort of every image {yard / megapixels:.4f} CPU s/Mpx, upsampling {up / megapixels:.4f}")
    print(f"{'':14} {'peer':>8} {'ours':>8} {'ratio':>6} {'of sort':>8}  (CPU s/Mpx)")
    of_all, total = {}, 0.0
    for name in PIXEL:
        theirs, slow, _ = timed(partial(peer, name, images, maps, regions))
        mine, fast, _ = timed(partial(ours, [name], images, maps, regions), repeats)
        of_all |= theirs
        total += slow
        _line(name, slow / megapixels, fast / megapixels, yard / megapixels, theirs == mine)
    mine, fast, wall = timed(partial(ours, PIXEL, images, maps, regions), repeats)
    _line("all of them", total / megapixels, fast / megapixels, yard / megapixels, None)
    _threads(images, maps, regions, wall, mine, repeats)


def _each(maps: Sequence[Any], images: Images, function: Callable[[np.ndarray], Any]) -> None:
    for anomaly_map, size in zip(maps, images.native, strict=True):
        function(upsample(anomaly_map, size).ravel())


def _line(name: str, slow: float, fast: float, yard: float, same: bool | None) -> None:
    told = {True: "the same bits", False: "OTHER VALUES", None: ""}[same]
    print(f"{name:14} {slow:8.4f} {fast:8.4f} {slow / fast:6.1f} {fast / yard:8.2f}  {told}", flush=True)


def _threads(images: Images, maps: Any, regions: Any, alone: float, expected: Values, repeats: int) -> None:
    for threads in (2, 4):
        found, cpu, wall = timed(partial(ours, PIXEL, images, maps, regions, threads), repeats)
        told = "the same bits" if found == expected else "OTHER VALUES"
        print(
            f"all, {threads} threads: {wall:.2f} s instead of {alone:.2f} s of wall, {cpu:.2f} CPU s, {told}"
        )


def memory(images: Images, numbers: Sequence[int]) -> None:
    """Peak memory of so many images, each in a process of its own."""
    print(f"{'images':>8} {'anomalous Mpx':>14} {'peak MiB':>9} {'CPU s':>7}")
    for n in numbers:
        command = [sys.executable, "-m", "benchmarks.metrics", "--peak", str(n)]
        command += ["--size", str(images.size), "--map", str(images.low)]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True)


def peak(images: Images) -> None:
    """A line of `memory`."""
    marked = sum(r.area for i in range(images.n) for r in images.regions(i))
    work = partial(trial_metrics, PIXEL, images.samples, images.map, images.regions, images.native)
    trial_metrics(PIXEL, images.samples[:4], images.map, images.regions, images.native[:4])  # imports
    before = rss_mib("VmRSS")
    reset_peaks()
    _, cpu, _ = timed(work)
    print(f"{images.n:8} {marked / 1e6:14.2f} {rss_mib('VmHWM') - before:9.0f} {cpu:7.1f}")


def rss_mib(field: str) -> float:
    """Resident memory of this process, now or at most; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def main() -> None:
    """Parse the command line and run what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--size", type=int, default=1280, help="side of the images")
    parser.add_argument("--map", type=int, default=256, help="side of the maps")
    parser.add_argument("--memory", type=int, nargs="*", default=[10, 40, 160], help="numbers of images")
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours; the fastest counts")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        peak(Images(args.peak, args.size, args.map))
        return
    images = Images(args.images, args.size, args.map)
    seconds(images, args.repeats)
    memory(images, args.memory)


if __name__ == "__main__":
    main()

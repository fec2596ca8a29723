"""Pixels: images per second, how often an image is decoded, and how long a network waits.

    python -m benchmarks.pixels                      3 minutes
    python -m benchmarks.pixels --images 96

Images are PNGs of LOCO's size (1600 × 1280), smooth with noise, 3 MB each. The peer is the plain loop: one
image after the other, decoded anew for every size. The network is a sham that takes 5 ms per image, batches
of 32 cut in halves, as the store of features asks for them; it waits for pixels that are stored (warm), and
for ones that have to be decoded (cold).
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from harness.artifacts import ArtifactStore, no_store
from harness.data import ImageSet
from harness.data.samples import Sample
from harness.datasets.folders import Tree
from harness.datasets.splits import assemble
from methods.shared.pixels import Geometry, batches, resized, working

SIZES = tuple(map(Geometry.square, (64, 240, 256, 448)))  # EfficientAD, WinCLIP, PatchCore, CLIP-LAD as tried
WIDTH, HEIGHT = 1600, 1280
NETWORK_SECONDS = 0.005  # per image


def drawn(path: Path, seed: int) -> None:
    """A picture that PNG packs about as well as a photograph."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(20, 236, (10, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
    noise = rng.normal(0, 2.0, smooth.shape)
    Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8)).save(path)


def images_in(folder: Path, number: int) -> ImageSet:
    """New images as a data set hands them out."""
    paths = [folder / f"{i:04d}.png" for i in range(number)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(drawn, paths, range(number)))
    samples = tuple(Sample(path.name, path) for path in paths)
    split, _ = assemble(("bench", "noise", folder), Tree(samples, (), (), ()))
    return ImageSet.of_samples(split.train)


def timed(work: Callable[[], Any]) -> float:
    """Wall seconds: what threads are for."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def plain_loop(images: ImageSet, size: Geometry) -> None:
    """As it was: decoded to an array, back to a picture, resized."""
    for path in images.sources:
        with Image.open(path) as picture:  # type: ignore[arg-type]
            whole = np.asarray(picture.convert("RGB"))
        np.asarray(Image.fromarray(whole).resize((size.width, size.height), Image.Resampling.BILINEAR))


def ours(images: ImageSet, size: Geometry, threads: int) -> None:
    with working(threads):
        resized(images, size, no_store())


def speed(images: ImageSet) -> None:
    """Print images per second at one size, on 1 and 2 cores, each the best of three turns."""
    few = ImageSet(images.ids[:32], images.sources[:32])  # of no larger set: nothing runs ahead
    works = [partial(plain_loop, few, SIZES[2]), *(partial(ours, few, SIZES[2], t) for t in (1, 2))]
    turns = [[timed(work) for work in works] for _ in range(3)]  # by turns: other programs run as well
    before, one, two = map(min, zip(*turns, strict=True))
    n = len(few)
    print(
        f"one size, no store, images/s: plain loop {n / before:.1f}; ours on 1 core {n / one:.1f}, ", end=""
    )
    print(f"{n / one:.1f}, {before / one:.2f} times, on 2 cores {n / two:.1f}, {before / two:.2f} times")


def sweep(images: ImageSet, root: Path, threads: int) -> None:
    """Print decodes per image and seconds of four methods that want a size each."""
    before = timed(lambda: [plain_loop(images, size) for size in SIZES])
    stores = [ArtifactStore(root) for _ in SIZES]  # a process each

    def method(size: Geometry, store: ArtifactStore) -> None:
        with working(threads, SIZES):
            for part in batches(images, 32):
                resized(part, size, store)

    now = timed(lambda: [method(size, store) for size, store in zip(SIZES[::-1], stores, strict=True)])
    decodes = sum(store.counters["decodes"] for store in stores) / len(images)
    print(
        f"four sizes ({', '.join(str(s.width) for s in SIZES)}), {threads} cores: plain loop 4.00 decodes "
        f"per image, {before:.1f} s; ours {decodes:.2f} decodes per image, {now:.1f} s with storing, "
        f"{before / now:.2f} times"
    )


def waiting(images: ImageSet, store: ArtifactStore, size: Geometry, threads: int, what: str) -> None:
    """Print the part of the time that a network waits for its images."""
    waited = 0.0
    start = time.perf_counter()
    with working(threads, SIZES):
        for part in batches(images, 32):
            for half in (part.subset(range(0, len(part), 2)), part.subset(range(1, len(part), 2))):
                waited += timed(lambda half=half: np.stack(resized(half, size, store)))
                time.sleep(NETWORK_SECONDS * len(half))
    total = time.perf_counter() - start
    print(
        f"network of {1000 * NETWORK_SECONDS:g} ms per image, {threads} core{'s'[: threads - 1]}, {what}: "
        f"waits {waited / total:.1%} of {total:.2f} s ({1000 * waited / len(images):.2f} ms per image)"
    )


def main() -> None:
    """Run all three."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=64)
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        images = images_in(folder, arguments.images)
        megabytes = sum(p.stat().st_size for p in folder.glob("*.png")) / 1e6
        print(f"{len(images)} images of {WIDTH} × {HEIGHT}, {megabytes / len(images):.1f} MB each")
        speed(images)
        sweep(images, folder / "store", threads=2)
        for threads in (1, 2):
            cold = ArtifactStore(folder / f"cold-{threads}")
            waiting(images, cold, SIZES[2], threads, "cold")
            for size in (SIZES[2], SIZES[3]):
                waiting(images, ArtifactStore(cold.root), size, threads, f"warm, {size.width} × {size.width}")


if __name__ == "__main__":
    main()

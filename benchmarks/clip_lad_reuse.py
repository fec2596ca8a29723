"""What CLIP-LAD's stored arrays save: 15 trials (1, 2, 4 shots × 5 seeds) of one category.

    python -m benchmarks.clip_lad_reuse                2 minutes
    python -m benchmarks.clip_lad_reuse --images 100   nearer to a LOCO category

The peer is the same code in the same process with a store of its own per trial: what a trial that
shares nothing has to do, once per image. The demo model is the hardest case for the ratio: a pass of
ViT-L/14 costs about 500 times as much, and everything after it a few times as much.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from harness.artifacts import ArtifactStore
from harness.data import FitData, ImageSet
from harness.datasets.demo.scenes import scene
from harness.method import Context
from methods.clip_lad import ClipLad

CATEGORY = "pushpins"
SUPPORTS, SEEDS, SHOTS = 20, 5, (1, 2, 4)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of all threads, which do not depend on what else runs, and what came out."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def drawn(split: str, number: int) -> ImageSet:
    """Demo scenes in memory."""
    return ImageSet.of_arrays([scene(CATEGORY, 0, split, i, size=224).image for i in range(number)])


def trials(train: ImageSet, validation: ImageSet) -> Iterator[FitData]:
    """Nested supports, as the harness draws them."""
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(train)).tolist()
        for k in SHOTS:
            yield FitData(train.subset(order[:k]), validation, category=CATEGORY)


def scored(store: ArtifactStore, data: FitData, test: ImageSet, **params: Any) -> np.ndarray:
    """One trial."""
    method = ClipLad(Context(artifacts=store), weights="demo", image_size=224, **params)
    return method.fit(data).score(test).image


def sweep(folder: Path, every: list[FitData], test: ImageSet, shared: bool, **params: Any) -> tuple[int, Any]:
    """All trials; returns how many images went through the network, and the scores."""
    stores = [ArtifactStore(folder / ("shared" if shared else f"own{i}")) for i in range(len(every))]
    scores = [scored(store, data, test, **params) for store, data in zip(stores, every, strict=True)]
    return sum(store.counters["backbone_passes"] for store in stores), np.array(scores)


def main() -> None:
    """Run the sweep with one store, with 15, and once more with another reading of Eq. 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=40, help="test images")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train, validation, test = (
        drawn("train", SUPPORTS),
        drawn("validation", 10),
        drawn("test", arguments.images),
    )
    every = list(trials(train, validation))
    with TemporaryDirectory() as name:
        folder = Path(name)
        scored(ArtifactStore(folder / "warm"), every[0], test.subset([0]))  # imports and the model
        some, (few, ours) = timed(lambda: sweep(folder, every, test, True))
        much, (many, peers) = timed(lambda: sweep(folder, every, test, False))
        little, (none, _) = timed(lambda: sweep(folder, every, test, True, hist_score="cosine"))
    unique = len(test) + len(validation) + len({key for data in every for key in data.train.keys()})  # noqa: SIM118
    print(f"{len(every)} trials, {unique} different images: ", end="")
    print(f"{few} passes in {some:.1f} CPU s with one store, ", end="")
    print(f"{many} in {much:.1f} CPU s with one per trial, {much / some:.1f} times; ", end="")
    print(f"largest difference of a score {np.abs(ours - peers).max():.1g}")
    print(f"the same sweep with another hist_score: {none} passes in {little:.1f} CPU s")


if __name__ == "__main__":
    main()

"""What PatchCore's two economies save: coreset selection in rounds, and one network pass per image.

    python -m benchmarks.patchcore                     1 minute
    python -m benchmarks.patchcore --patches 100000    a full LOCO category's worth of patches

The peer of the coreset is the plain loop of the paper (and of its public implementations), in the same
process on the same points; both must select the same. The peer of the sweep is the same 15 trials
(1, 2, 4 shots × 5 seeds) without an artifact store.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from harness.artifacts import ArtifactStore
from harness.data import FitData, ImageSet
from harness.method import Context
from methods.patchcore import PatchCore
from methods.shared.patchcore.coreset import CHOSEN, STARTS, distances, k_centres

BACKBONE = "resnet18"


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of all threads, which do not depend on what else runs, and what came out."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def plain_loop(points: np.ndarray, number: int, seed: int) -> list[int]:
    """Every distance shortened after every selection."""
    z = torch.from_numpy(points)
    starts = np.random.default_rng([seed, 1]).choice(len(z), STARTS, replace=False)
    farness = distances(z, z[torch.from_numpy(starts)]).mean(dim=1)
    chosen: list[int] = []
    for _ in range(number):
        chosen.append(int(farness.argmax()))
        farness = torch.minimum(farness, distances(z, z[chosen[-1:]])[:, 0])
        farness[chosen[-1]] = CHOSEN
    return chosen


def patch_like(number: int) -> np.ndarray:
    """Points with the clustered, low-dimensional structure of patch features, projected to 128-d."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 3, (200, 12))
    inner = centres[rng.integers(0, 200, number)] + rng.gamma(1.0, 0.5, (number, 1)) * rng.normal(
        size=(number, 12)
    )
    mixing = rng.normal(size=(12, 128))
    return (inner @ mixing + 0.3 * rng.normal(size=(number, 128))).astype(np.float32)


def coreset(patches: int, ratio: float) -> None:
    """Print seconds of both selections and whether they agree."""
    points, number = patch_like(patches), int(patches * ratio)
    ours, chosen = timed(lambda: k_centres(points, number, 0))
    loop, expected = timed(lambda: plain_loop(points, number, 0))
    common = len(set(chosen.tolist()) & set(expected)) / number
    print(
        f"coreset {number} of {patches} patches: rounds {ours:.1f} CPU s, plain loop {loop:.1f} CPU s, ",
        end="",
    )
    print(f"{loop / ours:.1f} times; {common:.2%} of the selection in common")


def images(number: int) -> ImageSet:
    """Noise of LOCO's size."""
    rng = np.random.default_rng(0)
    return ImageSet.of_arrays([rng.integers(0, 255, (800, 400, 3), dtype=np.uint8) for _ in range(number)])


def sweep(weights: Path, store: ArtifactStore, train: ImageSet, test: ImageSet) -> int:
    """15 trials; returns how many images went through the network."""
    for k in (1, 2, 4):
        for seed in range(5):
            support = np.random.default_rng(seed).permutation(len(train))[:k].tolist()
            context = Context(run_seed=seed, artifacts=store)
            method = PatchCore(context, backbone=BACKBONE, weights=str(weights))
            method.fit(FitData(train.subset(support))).score(test)
    return store.counters["backbone_passes"]


def reuse(folder: Path) -> None:
    """Print seconds and passes of a small sweep with and without a store."""
    import timm
    from safetensors.torch import save_file

    weights = folder / "weights.safetensors"
    save_file(timm.create_model(BACKBONE).state_dict(), weights)
    train, test = images(20), images(20)
    with_store, few = timed(lambda: sweep(weights, ArtifactStore(folder / "store"), train, test))
    without, many = timed(lambda: sweep(weights, ArtifactStore(None), train, test))
    print(f"15 trials: {few} network passes in {with_store:.1f} CPU s with the store, ", end="")
    print(f"{many} in {without:.1f} CPU s without, {without / with_store:.1f} times")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patches", type=int, default=20_000)
    parser.add_argument("--ratio", type=float, default=0.1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    coreset(arguments.patches, arguments.ratio)
    with TemporaryDirectory() as folder:
        reuse(Path(folder))


if __name__ == "__main__":
    main()

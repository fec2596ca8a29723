"""What stored arrays save the methods on frozen features: nine demo sub-categories × 1, 2, 4 shots × seeds.

    python -m benchmarks.frozen_reuse --seeds 5         ten minutes of CPU, most of it without a store
    python -m benchmarks.frozen_reuse --seeds 2 --images 2 --only spade,padim

The peer is the same code in the same process without a store: what trials that share nothing have to do.
Every method runs with the parameters that it has in the demo, on the demo weights; PUAD with a training of
a few steps, whose students are shared only by trials of one support set and seed: there is little to save.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from harness.artifacts import ArtifactStore
from harness.data import FitData, ImageSet
from harness.datasets.demo.scenes.drawing import CATEGORIES, scene
from harness.method import Context
from harness.params import resolve
from methods import METHODS
from methods.shared.onepass import shared

NAMES = ("spade", "padim", "sinbad", "comad", "anomaly_dino", "subspace_ad", "puad")
FURTHER: Mapping[str, Mapping[str, Any]] = {"puad": {"steps": 4}}
SUPPORTS, VALIDATION, SHOTS = 8, 2, (1, 2, 4)
PASSES = ("backbone_passes", "student_passes")


@dataclass(frozen=True)
class Sub:
    """A sub-category, drawn: the images to support with, to validate with and to score."""

    name: str
    train: ImageSet
    validation: ImageSet
    test: ImageSet

    def trials(self, seeds: int) -> Iterator[tuple[int, FitData]]:
        """(seed, support) with nested supports, as the harness draws them."""
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(self.train)).tolist()
            for k in SHOTS:
                yield seed, FitData(self.train.subset(order[:k]), self.validation, category=self.name)


def drawn(images: int) -> list[Sub]:
    """The nine sub-categories in memory."""
    kinds = [(name, kind) for name, each in CATEGORIES.items() for kind in each.subtypes or (None,)]
    return [
        Sub(
            "/".join(filter(None, (name, kind))),
            *(
                ImageSet.of_arrays([scene(name, 0, split, i, 128, subtype=kind).image for i in range(number)])
                for split, number in (("train", SUPPORTS), ("validation", VALIDATION), ("test", images))
            ),
        )
        for name, kind in kinds
    ]


def params(name: str) -> dict[str, Any]:
    """Those of the demo, complete."""
    method = METHODS.load(name)
    return resolve(method, {**method.card.demo.params, "weights": "demo", **FURTHER.get(name, {})})


def reads(names: Sequence[str], native: tuple[int, int]) -> dict[str, list[str]]:
    """What all methods of the sweep read of each pass, as a worker is told it."""
    found: dict[str, list[str]] = {}
    for name in names:
        for of, what in METHODS.load(name).card.reads(params(name), native):
            found.setdefault(of, []).append(what)
    return found


def swept(
    name: str, subs: Sequence[Sub], seeds: int, root: Path | None
) -> tuple[Counter[str], float, np.ndarray]:
    """All trials of a method with one store, or without: (counters, CPU seconds, scores)."""
    method, given = METHODS.load(name), params(name)
    counters: Counter[str] = Counter()
    start, scores = time.process_time(), []
    for sub in subs:
        for seed, data in sub.trials(seeds):
            context = Context(run_seed=seed, artifacts=ArtifactStore(root))
            scores.append(method(context, **given).fit(data).score(sub.test).image)
            counters.update(context.artifacts.counters)
    return counters, time.process_time() - start, np.array(scores)


def passes(counters: Counter[str]) -> int:
    """How many images went through a network."""
    return sum(counters[name] for name in PASSES)


def line(few: float, many: float, some: float, much: float) -> str:
    """Passes with and without, CPU seconds with and without."""
    return (
        f"{few:6.0f} passes in {some:7.1f} CPU s with one store, "
        f"{many:7.0f} in {much:7.1f} without: {much / some:5.1f} times"
    )


def main() -> None:
    """Print passes and CPU seconds of every method, with the store and without."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="draws of each number of shots")
    parser.add_argument("--images", type=int, default=4, help="test images per sub-category")
    parser.add_argument("--only", default=",".join(NAMES), help="methods, separated by commas")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    subs, names = drawn(arguments.images), arguments.only.split(",")
    supports = sum(
        len({key for _, data in sub.trials(arguments.seeds) for key in data.train.keys()})  # noqa: SIM118
        for sub in subs
    )
    tests = sum(len(sub.test) for sub in subs)
    trials = len(subs) * len(SHOTS) * arguments.seeds
    print(
        f"{len(subs)} sub-categories, {trials} trials a method; different images: {supports} support, ",
        end="",
    )
    print(f"{tests} test, {VALIDATION * len(subs)} validation", flush=True)
    totals = np.zeros(4)
    with TemporaryDirectory() as folder, shared(reads(names, subs[0].test[0].shape[:2])):
        for name in names:
            swept(name, subs[:1], 1, None)  # imports and networks
            with_store, some, ours = swept(name, subs, arguments.seeds, Path(folder))
            without, much, peers = swept(name, subs, arguments.seeds, None)
            row = passes(with_store), passes(without), some, much
            totals += row
            apart = np.abs(ours - peers).max() / np.abs(peers).max()
            print(f"{name:13} {line(*row)}; scores {apart:.1g} apart (of the largest)", flush=True)
    print(f"{'all':13} {line(*totals)}")


if __name__ == "__main__":
    main()

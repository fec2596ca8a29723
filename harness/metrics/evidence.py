"""The two passes over anomaly maps behind every pixel metric.

First pass (`AnomalousScores`): the scores inside the anomalous regions. They are the only thresholds at
which any of the curves bends. Second pass (`PixelCounts`): how many anomaly-free pixels lie below each.
Both are additive over images and made of sorted scores and integers, so the outcome is the same, bit for
bit, for any order of images, any chunking and any number of workers:

    first = AnomalousScores(("regions",))            # in every worker
    first.add(anomaly_map, regions, groups)          # anomalous images; then first.merge(other)
    second = first.counts()                          # broadcast, in every worker
    second.add(anomaly_map, regions, groups)         # all images; then second.merge(other)
    second.evidence("logical")                       # what the metrics are functions of

Memory: the scores of the regions, two integers for each, and one chunk of maps.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from harness.metrics.ahead import ahead
from harness.metrics.counts import Counts, NormalCounts
from harness.metrics.regions import Region, union
from harness.metrics.targets import Groups, Target, all_groups, distinct, places_of, targets_of

Array = NDArray[Any]
Looked = tuple[list[Array], int, Groups | None]
"""Normal pixels of an image: where they are among the thresholds, how many, the subsets (None: all)."""


@final
class Evidence:
    """All that a pixel metric may depend on, for one subset of the images.

    Attributes:
        targets: kind ("regions", "components" or "pixels") -> targets in this subset.
        thresholds: the different scores of all of them, sorted, (m,).
        normals: counts of the normal pixels of this subset below and up to each threshold.
    """

    def __init__(
        self,
        targets: Mapping[str, Sequence[Target]],
        thresholds: Array,
        normals: Counts,
        places: Callable[[str], list[Array]],
    ):
        self.targets = targets
        self.thresholds = thresholds
        self.normals = normals
        self._find = places
        self._places: dict[str, list[Array]] = {}

    def places(self, kind: str) -> list[Array]:
        """For each target of a kind: where its scores are among the thresholds, (saturation,)."""
        if kind not in self._places:
            self._places[kind] = self._find(kind)
        return self._places[kind]


@final
class AnomalousScores:
    """First pass: the scores inside anomalous regions.

    Args:
        kinds: which targets to collect, of `targets.KINDS`.
    """

    def __init__(self, kinds: Collection[str] = ("regions",)):
        self.targets: dict[str, list[Target]] = {kind: [] for kind in sorted(kinds)}

    def add(self, anomaly_map: Array, regions: Sequence[Region], groups: Groups) -> None:
        """Take in one anomalous image.

        Args:
            anomaly_map: (h, w), finite, at the size of the masks.
            regions: its regions. Where they name defect types, each counts in its own type's subset.
            groups: subsets that the image counts in.
        """
        self.take(self.find(anomaly_map, regions, groups))

    def find(
        self, anomaly_map: Array, regions: Sequence[Region], groups: Groups
    ) -> Mapping[str, Sequence[Target]]:
        """The part of `add` that changes nothing: for other threads, before `take`."""
        return targets_of(anomaly_map, regions, groups, self.targets)

    def take(self, found: Mapping[str, Sequence[Target]]) -> None:
        """The rest of `add`."""
        for kind, targets in self.targets.items():
            targets += found[kind]

    def merge(self, other: Self) -> None:
        """Add what another worker collected."""
        self.take(other.targets)

    def counts(self) -> "PixelCounts":
        """The second pass, with nothing counted yet."""
        every = [target for targets in self.targets.values() for target in targets]
        thresholds = distinct(every)
        places = places_of(every, thresholds)
        within = {g: np.zeros(thresholds.size, bool) for g in sorted({g for t in every for g in t.groups})}
        for target, at in zip(every, places, strict=True):
            for group in target.groups:
                within[group][at] = True
        normals = NormalCounts(thresholds, {g: np.flatnonzero(used) for g, used in within.items()})
        return PixelCounts(self.targets, places, normals)


@final
class PixelCounts:
    """Second pass: the anomaly-free pixels below and up to every score of the first pass.

    Args:
        targets: of the finished first pass, by kind.
        places: where the scores of each of them, in order, are among the thresholds.
        normals: the counter, with all their scores as thresholds.
    """

    def __init__(
        self, targets: Mapping[str, Sequence[Target]], places: Sequence[Array], normals: NormalCounts
    ):
        rest = iter(places)
        self._found = {kind: [(target, next(rest)) for target in some] for kind, some in targets.items()}
        self._normals = normals

    def add(self, anomaly_map: Array, regions: Sequence[Region], groups: Groups | None) -> None:
        """Take in one image; least is to be done where images of the same subsets follow each other.

        Args:
            anomaly_map: (h, w), finite, at the size of the masks; it may be used again afterwards.
            regions: its regions, none if it is good.
            groups: as in the first pass; None for good images, which count in every subset.
        """
        self.count(self.sift(anomaly_map, regions, groups))

    def sift(self, anomaly_map: Array, regions: Sequence[Region], groups: Groups | None) -> Looked:
        """The part of `add` that changes nothing: for other threads, before `count`."""
        normals = anomaly_map[~union(regions)] if regions else anomaly_map.ravel()
        subsets = None if groups is None else all_groups(regions, groups)
        return self._normals.sift(normals), normals.size, subsets

    def count(self, looked: Looked) -> None:
        """The rest of `add`."""
        self._normals.count(*looked)

    def merge(self, other: Self) -> None:
        """Add what another worker counted after the same first pass."""
        self._normals.merge(other._normals)

    def evidence(self, subset: str) -> Evidence:
        """All that is known of one subset so far; without targets where it has none."""
        mine = {
            kind: [(t, at) for t, at in found if subset in t.groups] for kind, found in self._found.items()
        }
        thresholds, counts = self._normals.of(subset)
        rank = self._normals.rank(subset)
        return Evidence(
            {kind: [target for target, _ in found] for kind, found in mine.items()},
            thresholds,
            counts,
            lambda kind: [rank[at] for _, at in mine[kind]],
        )


def two_passes(
    load: Callable[[int], tuple[Array, Sequence[Region]]],
    groups: Sequence[Groups | None],
    kinds: Collection[str],
    threads: int = 1,
) -> PixelCounts:
    """Both passes over images that can be loaded twice.

    Args:
        load: index -> (map (h, w), regions of that size).
        groups: per image the subsets that it counts in; None if it is good.
        kinds: which targets to look for, of `targets.KINDS`.
        threads: that load and look at images; how many does not show in the outcome.
    """
    first = AnomalousScores(kinds)
    anomalous = [(i, members) for i, members in enumerate(groups) if members is not None]
    for found in ahead(lambda item: first.find(*load(item[0]), item[1]), anomalous, threads):
        first.take(found)
    second = first.counts()
    # Images of the same subsets one after the other.
    order = sorted(range(len(groups)), key=lambda i: groups[i] or ())
    for looked in ahead(lambda i: second.sift(*load(i), groups[i]), order, threads):
        second.count(looked)
    return second

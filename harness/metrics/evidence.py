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
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from harness.metrics.counts import Counts, NormalCounts, Sifted
from harness.metrics.regions import Region, components, union

Array = NDArray[Any]
Groups = tuple[str, ...]


@final
@dataclass(frozen=True)
class Target:
    """Something to be found in one image.

    Attributes:
        scores: of its `saturation` highest pixels, sorted; lower pixels cannot matter.
        groups: subsets that it counts in.
    """

    scores: Array
    groups: Groups

    @property
    def saturation(self) -> int:
        """Number of pixels at which it counts as found."""
        return self.scores.size


@final
class Evidence:
    """All that a pixel metric may depend on, for one subset of the images.

    Attributes:
        targets: kind ("regions", "components" or "pixels") -> targets in this subset.
        thresholds: the different scores of all of them, sorted, (m,).
        normals: counts of the normal pixels of this subset below and up to each threshold.
    """

    def __init__(self, targets: Mapping[str, Sequence[Target]], thresholds: Array, normals: Counts):
        self.targets = targets
        self.thresholds = thresholds
        self.normals = normals
        self._places: dict[str, list[Array]] = {}

    def places(self, kind: str) -> list[Array]:
        """For each target of a kind: where its scores are among the thresholds, (saturation,)."""
        if kind not in self._places:
            find = self.thresholds.searchsorted
            self._places[kind] = [find(target.scores).astype(np.uint32) for target in self.targets[kind]]
        return self._places[kind]


def _regions(scores: Array, regions: Sequence[Region]) -> list[tuple[Array, int]]:
    return [(scores[region.mask], region.saturation) for region in regions]


def _components(scores: Array, regions: Sequence[Region]) -> list[tuple[Array, int]]:
    return [(scores.ravel()[p], p.size) for p in components(union(regions))]


def _pixels(scores: Array, regions: Sequence[Region]) -> list[tuple[Array, int]]:
    inside = scores[union(regions)]
    return [(inside, inside.size)]


# What can be looked for in an image: kind -> (map, regions) -> (scores, saturation) of each target.
KINDS: dict[str, Callable[[Array, Sequence[Region]], list[tuple[Array, int]]]] = {
    "regions": _regions,
    "components": _components,
    "pixels": _pixels,
}


@final
class AnomalousScores:
    """First pass: the scores inside anomalous regions.

    Args:
        kinds: which targets to collect, of `KINDS`.
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
        for members, found_in in by_group(regions, groups):
            for kind, targets in self.targets.items():
                targets += [
                    Target(top_sorted(scores, saturation), found_in)
                    for scores, saturation in KINDS[kind](anomaly_map, members)
                ]

    def merge(self, other: Self) -> None:
        """Add what another worker collected."""
        for kind, targets in self.targets.items():
            targets += other.targets[kind]

    def in_group(self, group: str) -> dict[str, list[Target]]:
        """Targets of one subset, by kind."""
        return {
            kind: [target for target in targets if group in target.groups]
            for kind, targets in self.targets.items()
        }

    def counts(self) -> "PixelCounts":
        """The second pass, with nothing counted yet."""
        thresholds = distinct(self.targets)
        groups = sorted({g for targets in self.targets.values() for t in targets for g in t.groups})
        places = {g: thresholds.searchsorted(distinct(self.in_group(g))) for g in groups}
        return PixelCounts(self, NormalCounts(thresholds, places))


@final
class PixelCounts:
    """Second pass: the anomaly-free pixels below and up to every score of the first pass.

    Args:
        first: the finished first pass.
        normals: the counter, with all its scores as thresholds.
    """

    def __init__(self, first: AnomalousScores, normals: NormalCounts):
        self._first = first
        self._normals = normals

    def add(self, anomaly_map: Array, regions: Sequence[Region], groups: Groups | None) -> None:
        """Take in one image; least is to be done where images of the same subsets follow each other.

        Args:
            anomaly_map: (h, w), finite, at the size of the masks; it may be used again afterwards.
            regions: its regions, none if it is good.
            groups: as in the first pass; None for good images, which count in every subset.
        """
        self.count(self.sift(anomaly_map, regions, groups))

    def sift(self, anomaly_map: Array, regions: Sequence[Region], groups: Groups | None) -> Sifted:
        """The part of `add` that changes nothing: for other threads, before `count`."""
        normals = anomaly_map[~union(regions)] if regions else anomaly_map.ravel()
        return self._normals.sift(normals, None if groups is None else all_groups(regions, groups))

    def count(self, sifted: Sifted) -> None:
        """The rest of `add`."""
        self._normals.count(sifted)

    def merge(self, other: Self) -> None:
        """Add what another worker counted after the same first pass."""
        self._normals.merge(other._normals)

    def evidence(self, subset: str) -> Evidence:
        """All that is known of one subset so far; without targets where it has none."""
        return Evidence(self._first.in_group(subset), *self._normals.of(subset))


def two_passes(
    load: Callable[[int], tuple[Array, Sequence[Region]]],
    groups: Sequence[Groups | None],
    kinds: Collection[str],
) -> PixelCounts:
    """Both passes over images that can be loaded twice.

    Args:
        load: index -> (map (h, w), regions of that size).
        groups: per image the subsets that it counts in; None if it is good.
        kinds: which targets to look for, of `KINDS`.
    """
    first = AnomalousScores(kinds)
    for i, members in enumerate(groups):
        if members is not None:
            first.add(*load(i), members)
    second = first.counts()
    for i in sorted(range(len(groups)), key=lambda i: groups[i] or ()):
        second.add(*load(i), groups[i])
    return second


def all_groups(regions: Sequence[Region], groups: Groups) -> Groups:
    """Subsets that an image counts in: `groups` and the defect types of its regions."""
    return tuple(dict.fromkeys(groups + defects_of(regions)))


def defects_of(regions: Sequence[Region]) -> Groups:
    """Defect types that regions name, sorted."""
    return tuple(sorted({region.defect for region in regions if region.defect}))


def by_group(regions: Sequence[Region], groups: Groups) -> list[tuple[list[Region], Groups]]:
    """The sets of regions that are looked for together, each with the subsets that it counts in.

    A defect type's figure looks for the regions of that type only, while the normal pixels are those
    outside of all regions (MVTec's `get_auc_spros_per_defect_type`).
    """
    if len({region.defect for region in regions}) == 1:
        return [(list(regions), all_groups(regions, groups))]
    defects = defects_of(regions)
    together = tuple(group for group in groups if group not in defects)
    return [(list(regions), together), *(([r for r in regions if r.defect == d], (d,)) for d in defects)]


def top_sorted(scores: Array, n: int) -> Array:
    """The n highest of `scores`, sorted upwards."""
    if n < scores.size:
        scores = np.partition(scores, scores.size - n)[scores.size - n :]
    return np.sort(scores)


def distinct(targets: Mapping[str, Sequence[Target]]) -> Array:
    """All different scores of targets, sorted."""
    found = [target.scores for some in targets.values() for target in some]
    scores = np.concatenate(found) if found else np.zeros(0, np.float32)
    scores.sort()
    if scores.size == 0:
        return scores
    return scores[np.append(scores[1:] != scores[:-1], True)]

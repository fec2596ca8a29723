"""What is to be found in an anomalous image: sorted scores of regions, components or all marked pixels."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness.metrics.regions import Mask, Region, components, union

Array = NDArray[Any]
Groups = tuple[str, ...]


@final
@dataclass(frozen=True, eq=False)
class Target:
    """Something to be found in one image.

    Attributes:
        ordered: scores, sorted; the same array in targets of the same pixels.
        saturation: number of pixels at which it counts as found, the highest ones; lower ones cannot matter.
        groups: subsets that it counts in.
    """

    ordered: Array
    saturation: int
    groups: Groups

    @property
    def scores(self) -> Array:
        """Of its highest pixels, sorted, (saturation,)."""
        return self.highest(self.ordered)

    def highest(self, of_ordered: Array) -> Array:
        """That part of an array with one value for each of `ordered` which belongs to `scores`."""
        return of_ordered[of_ordered.size - self.saturation :]


@final
class _Look:
    """Some regions of one image; what several kinds of targets have in common is sorted once."""

    def __init__(self, scores: Array, regions: Sequence[Region], shared: bool):
        self.scores, self.regions, self.shared = scores, regions, shared

    @cached_property
    def inside(self) -> Mask:
        return union(self.regions)

    @cached_property
    def n(self) -> int:
        return int(np.count_nonzero(self.inside))

    @cached_property
    def whole(self) -> Array:
        return np.sort(self.scores[self.inside])


def _regions(look: _Look) -> list[tuple[Array, int]]:
    return [(_ordered(look, region), region.saturation) for region in look.regions]


def _ordered(look: _Look, region: Region) -> Array:
    if look.shared and region.area == look.n:
        return look.whole
    return top_sorted(look.scores[region.mask], region.saturation)


def _components(look: _Look) -> list[tuple[Array, int]]:
    found = components(look.inside)
    if look.shared and len(found) == 1:
        return _pixels(look)
    return [(np.sort(look.scores.ravel()[pixels]), pixels.size) for pixels in found]


def _pixels(look: _Look) -> list[tuple[Array, int]]:
    return [(look.whole, look.n)]


# What can be looked for in an image: kind -> sorted scores and saturation of each target.
KINDS: dict[str, Callable[[_Look], list[tuple[Array, int]]]] = {
    "regions": _regions,
    "components": _components,
    "pixels": _pixels,
}


def targets_of(
    anomaly_map: Array, regions: Sequence[Region], groups: Groups, kinds: Collection[str]
) -> dict[str, list[Target]]:
    """The targets of one anomalous image.

    Args:
        anomaly_map: (h, w), finite, at the size of the masks.
        regions: its regions. Where they name defect types, each counts in its own type's subset.
        groups: subsets that the image counts in.
        kinds: what to look for, of `KINDS`.
    """
    found: dict[str, list[Target]] = {kind: [] for kind in kinds}
    for members, found_in in by_group(regions, groups):
        look = _Look(anomaly_map, members, shared=len(kinds) > 1)
        for kind in kinds:
            found[kind] += [Target(ordered, n, found_in) for ordered, n in KINDS[kind](look)]
    return found


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


def distinct(targets: Iterable[Target]) -> Array:
    """All different scores of targets, sorted."""
    # The largest of those that share their pixels stands for all of them.
    largest = {id(t.ordered): t.scores for t in sorted(targets, key=lambda t: t.saturation)}
    scores = np.concatenate(list(largest.values())) if largest else np.zeros(0, np.float32)
    scores.sort()
    if scores.size == 0:
        return scores
    return scores[np.append(scores[1:] != scores[:-1], True)]


def places_of(targets: Sequence[Target], thresholds: Array) -> list[Array]:
    """For each target: where its scores are among sorted thresholds that have all of them, (saturation,)."""
    known: dict[int, Array] = {}
    for ordered in {id(t.ordered): t.ordered for t in targets}.values():
        known[id(ordered)] = thresholds.searchsorted(ordered).astype(np.uint32)
    return [t.highest(known[id(t.ordered)]) for t in targets]

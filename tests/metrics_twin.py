"""The slow and obvious twins of the fast metrics: every threshold, every pixel, rational numbers."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, pairwise

import numpy as np
from scipy import ndimage

from harness.metrics import Region
from harness.metrics.counts import Counts
from harness.metrics.evidence import Evidence
from harness.metrics.targets import Target, all_groups, by_group

Point = tuple[Fraction, Fraction]


def spro_points(maps: Sequence[np.ndarray], regions: Sequence[Sequence[Region]]) -> list[Point] | None:
    """(false-positive rate, mean sPRO) at every threshold that changes anything; None if not defined."""
    values = sorted({float(x) for m in maps for x in m.ravel()})
    n_normal = sum(int((~_union(m, rs)).sum()) for m, rs in zip(maps, regions, strict=True))
    if n_normal == 0 or not any(regions):
        return None
    return [_point(maps, regions, t, n_normal) for t in [values[0] - 1, *values]]


def _point(maps, regions, threshold: float, n_normal: int) -> Point:
    false_positives, spros = 0, []
    for m, rs in zip(maps, regions, strict=True):
        positive = m.astype(float) > threshold
        false_positives += int((positive & ~_union(m, rs)).sum())
        for r in rs:
            spros.append(min(Fraction(int((positive & r.mask).sum()), r.saturation), Fraction(1)))
    return Fraction(false_positives, n_normal), sum(spros, Fraction(0)) / len(spros)


def _union(m: np.ndarray, regions: Sequence[Region]) -> np.ndarray:
    inside = np.zeros(m.shape, bool)
    for region in regions:
        inside |= region.mask
    return inside


def area(points: Sequence[Point] | None, limit: float) -> float | None:
    """Trapezoids up to the limit, the last one cut there, divided by the limit."""
    if points is None:
        return None
    end, total = Fraction(limit), Fraction(0)
    for (x0, y0), (x1, y1) in pairwise(sorted(points)):
        if x0 < end and x1 > end:
            x1, y1 = end, y0 + (y1 - y0) * (end - x0) / (x1 - x0)
        if x1 <= end:
            total += (x1 - x0) * (y0 + y1) / 2
    return float(total / end)


def auspro(maps, regions, labels, subset: str, limit: float) -> float | None:
    """AU-sPRO of the good images and those of one label, or of all."""
    used = [i for i, s in enumerate(labels) if s == "good" or subset in (s, "all")]
    return area(spro_points([maps[i] for i in used], [regions[i] for i in used]), limit)


def aupro(maps, masks, limit: float) -> float | None:
    """AU-PRO: every 8-connected component is a region that has to be found whole."""
    regions = []
    for mask in masks:
        labelled, n = ndimage.label(mask, np.ones((3, 3)))
        regions.append([Region(labelled == k) for k in range(1, n + 1)])
    return area(spro_points(maps, regions), limit)


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> Fraction:
    """Share of pairs in the right order, ties one half."""
    wins = sum(Fraction((p > n) * 2 + (p == n), 2) for p in positives for n in negatives)
    return wins / (len(positives) * len(negatives))


def sample_auroc(rows: Sequence[tuple[str, float, bool]]) -> Fraction | None:
    """Of (product, score, anomalous) per view: every pair of products, each with its highest score."""
    products = dict.fromkeys(name for name, _, _ in rows)
    scores = {p: max(score for name, score, _ in rows if name == p) for p in products}
    bad = {p for p in products if any(b for name, _, b in rows if name == p)}
    good = set(products) - bad
    return auroc([scores[p] for p in bad], [scores[p] for p in good]) if bad and good else None


def average_precision(positives: Sequence[float], negatives: Sequence[float]) -> Fraction:
    """Sum over distinct thresholds of the step in recall times the precision."""
    total, before = Fraction(0), 0
    for t in sorted({*positives, *negatives}, reverse=True):
        hits, false = sum(p >= t for p in positives), sum(n >= t for n in negatives)
        total += Fraction(hits - before, len(positives)) * Fraction(hits, hits + false)
        before = hits
    return total


def best_f1(positives: Sequence[float], negatives: Sequence[float]) -> Fraction:
    """Largest F1 over the thresholds that are scores."""
    return max(
        Fraction(2 * hits, hits + sum(n >= t for n in negatives) + len(positives))
        for t in {*positives, *negatives}
        for hits in [sum(p >= t for p in positives)]
    )


def counts(thresholds: Sequence[float], normals: Sequence[float]) -> tuple[list[int], list[int]]:
    """How many of the normals are below, and up to, each threshold."""
    below = [sum(x < u for x in normals) for u in thresholds]
    return below, [sum(x <= u for x in normals) for u in thresholds]


def evidence(maps, regions, groups, subset: str) -> Evidence:
    """What pixel metrics are functions of, from one sort of all normal pixels of the subset."""
    found: dict[str, list[np.ndarray]] = {"regions": [], "components": [], "pixels": []}
    normals = [np.zeros(0, np.float32)]
    for m, rs, members in zip(maps, regions, groups, strict=True):
        if members is None or subset in all_groups(rs, members):
            normals.append(m[~_union(m, rs)])
        for some, found_in in by_group(rs, members) if members else ():
            if subset in found_in:
                inside = _union(m, some)
                labelled, n = ndimage.label(inside, np.ones((3, 3)))
                found["regions"] += [np.sort(m[r.mask])[-r.saturation :] for r in some]
                found["components"] += [np.sort(m[labelled == k]) for k in range(1, n + 1)]
                found["pixels"].append(np.sort(m[inside]))
    thresholds = np.unique(np.concatenate([np.zeros(0, np.float32), *chain(*found.values())]))
    counts, every = Counts(thresholds.size), np.sort(np.concatenate(normals))
    counts.grow(every.size if thresholds.size else 0)
    counts.add(every.searchsorted(thresholds, "left"), every.searchsorted(thresholds, "right"))
    targets = {kind: [Target(x, x.size, (subset,)) for x in some] for kind, some in found.items()}
    return Evidence(targets, thresholds, counts, lambda kind: list(map(thresholds.searchsorted, found[kind])))

"""The two passes: any order, any bins, any number of workers and threads, the same bits."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial

import metrics_twin
import numpy as np
import pytest

from harness.metrics import (
    LIMITS,
    AnomalousScores,
    Region,
    auspro,
    counts,
    image_metrics,
    sieve,
    two_passes,
    upsample,
)
from harness.metrics.curves import image_curves
from harness.metrics.evidence import Evidence
from harness.metrics.pixel import pixel_ap_at, pixel_auroc_at
from harness.metrics.spro import aupro_at, auspro_at
from harness.metrics.targets import defects_of

KINDS = ("regions", "components", "pixels")


def images(seed: int = 0, n: int = 12, levels: int = 500):
    """Maps, regions with defect types, and labels; ties are common."""
    rng = np.random.default_rng(seed)
    maps, regions, labels = [], [], []
    for i in range(n):
        labels.append(("good", "logical", "structural")[i % 3])
        maps.append(rng.integers(0, levels, (20, 30)).astype(np.float32) / 7)
        masks = [rng.random((20, 30)) < 0.1 for _ in range(0 if labels[-1] == "good" else 1 + i % 2)]
        regions.append([Region(m, (1.0, 30)[k], k == 0, f"type_{k}") for k, m in enumerate(masks)])
    return maps, regions, labels


def groups_of(labels):
    return [None if label == "good" else ("all", label) for label in labels]


def figures(evidence: Callable[[str], Evidence]) -> list[float | None]:
    """Every figure of every subset, to be compared bit for bit."""
    values = []
    for subset in ("all", "logical", "structural", "type_0", "type_1", "nowhere"):
        known = evidence(subset)
        values += [auspro_at(known, limit) for limit in LIMITS] + [aupro_at(known, limit) for limit in LIMITS]
        values += [pixel_auroc_at(known), pixel_ap_at(known)]
    return values


def in_one_go(maps, regions, labels):
    return figures(two_passes(lambda i: (maps[i], regions[i]), groups_of(labels), KINDS).evidence)


@pytest.mark.parametrize("seed", range(6))
def test_figures_are_those_of_one_sort_of_all_pixels_to_the_last_bit(seed: int):
    maps, regions, labels = (images(seed), smooth_images())[seed % 2] if seed else shapes()
    if seed == 4:
        maps = [m.astype((np.float32, np.float64)[i % 2]) for i, m in enumerate(maps)]
    expected = figures(partial(metrics_twin.evidence, maps, regions, groups_of(labels)))
    assert in_one_go(maps, regions, labels) == expected
    assert any(expected)


def shapes():
    """Constant maps, one that is flat but for a few pixels, a full mask, a region of one pixel."""
    one = np.zeros((20, 30), bool)
    one[3, 4] = True
    clipped = np.maximum(np.random.default_rng(0).normal(size=(20, 30)) - 1.5, 0).astype(np.float32)
    masks = [[], [one], [np.ones_like(one)], [one, ~one], [clipped > 0.5], []]
    maps = [np.full(one.shape, x, np.float32) for x in (0, 0, 1, -1)] + [clipped, clipped]
    regions = [[Region(m, 0.3, True, f"type_{k}") for k, m in enumerate(some)] for some in masks]
    return maps, regions, ["good", "logical", "structural", "logical", "structural", "good"]


def test_the_order_of_images_does_not_show():
    maps, regions, labels = images()
    order = np.random.default_rng(1).permutation(len(maps))
    shuffled = [[column[i] for i in order] for column in (maps, regions, labels)]
    assert in_one_go(*shuffled) == in_one_go(maps, regions, labels)
    assert None not in in_one_go(maps, regions, labels)[:-12]


@pytest.mark.parametrize(("most", "block"), [(8, 1), (64, 7), (1 << 20, 64)])
def test_bins_and_blocks_do_not_show(monkeypatch, most: int, block: int):
    expected = in_one_go(*images())
    monkeypatch.setattr(sieve, "FEWEST_BINS", most)
    monkeypatch.setattr(sieve, "MOST_BINS", most)
    monkeypatch.setattr(sieve, "BLOCK", block)
    assert in_one_go(*images()) == expected


@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_threads_does_not_show(threads: int):
    maps, regions, labels = images()
    found = two_passes(lambda i: (maps[i], regions[i]), groups_of(labels), KINDS, threads)
    assert figures(found.evidence) == in_one_go(maps, regions, labels)


@pytest.mark.parametrize("workers", [1, 3, 5])
def test_the_number_of_workers_does_not_show(workers: int):
    maps, regions, labels = images()
    groups, first = groups_of(labels), AnomalousScores(KINDS)
    for worker in range(workers):
        mine = AnomalousScores(KINDS)
        for i in range(worker, len(maps), workers):
            if members := groups[i]:
                mine.add(maps[i], regions[i], members)
        first.merge(mine)
    second = first.counts()
    for worker in range(workers):
        part = first.counts()
        for i in range(worker, len(maps), workers):
            part.add(maps[i], regions[i], groups[i])
        second.merge(part)
    assert figures(second.evidence) == in_one_go(maps, regions, labels)


def test_a_map_may_be_overwritten_after_it_was_added():
    maps, regions, labels = images()
    buffer = np.empty_like(maps[0])

    def load(i: int):
        buffer[:] = maps[i]
        return buffer, regions[i]

    assert figures(two_passes(load, groups_of(labels), KINDS).evidence) == in_one_go(maps, regions, labels)


def test_a_defect_types_figure_finds_its_own_regions_and_spares_all_others():
    maps, regions, labels = images()
    with_type = [
        label == "good" or "type_1" in defects_of(rs) for label, rs in zip(labels, regions, strict=True)
    ]
    chosen = np.flatnonzero(with_type)
    found = two_passes(lambda i: (maps[i], regions[i]), groups_of(labels), ["regions"]).evidence("type_1")
    below = at_least = n = 0
    top = max(region_scores(maps, regions, "type_1"))
    for i in chosen:
        normal = maps[i][~np.logical_or.reduce([r.mask for r in regions[i]] or [np.zeros((20, 30), bool)])]
        below, at_least, n = below + (normal < top).sum(), at_least + (normal <= top).sum(), n + normal.size
    assert (found.normals.below[-1], found.normals.up_to[-1], found.normals.n) == (below, at_least, n)
    assert len(found.targets["regions"]) == sum(r.defect == "type_1" for rs in regions for r in rs)


def region_scores(maps, regions, defect: str):
    pairs = [(m, r) for m, rs in zip(maps, regions, strict=True) for r in rs if r.defect == defect]
    return np.concatenate([m[r.mask] for m, r in pairs])


def test_pixel_metrics_equal_the_image_metrics_of_all_pixels():
    maps, regions, labels = images(levels=9)
    found = two_passes(lambda i: (maps[i], regions[i]), groups_of(labels), ["pixels"])
    masks = [np.logical_or.reduce([r.mask for r in rs] or [np.zeros((20, 30), bool)]) for rs in regions]
    pooled = defaultdict(list)
    for subset in ("all", "logical"):
        for m, mask, label in zip(maps, masks, labels, strict=True):
            if subset == "all" or label in ("good", subset):
                pooled[subset].append((m.ravel(), mask.ravel()))
        scores, truth = (np.concatenate(part) for part in zip(*pooled[subset], strict=True))
        expected, known = image_metrics(scores, truth), found.evidence(subset)
        assert pixel_auroc_at(known) == expected["auroc"]
        assert pixel_ap_at(known) == pytest.approx(expected["ap"], abs=1e-12)


def test_counts_beyond_32_bits():
    total = counts.Counts(2)
    total.grow(2**32 - 1)
    total.add(np.array([1, 2]), np.array([2**32 - 1, 3]))
    total.grow(5)
    total.add(np.array([5, 5]), np.array([5, 5]))
    assert total.up_to.tolist() == [2**32 + 4, 8] and total.below.tolist() == [6, 7]


def test_curves_per_image_give_the_areas_of_resamples():
    maps, regions, labels = images()
    curves = image_curves(maps, regions, labels)
    for resample in (np.arange(len(maps)), np.array([0, 0, 1, 2, 4, 4, 5, 9, 11])):
        exact = auspro(*[[column[i] for i in resample] for column in (maps, regions, labels)])
        for subset, areas in exact.items():
            for limit, value in areas.items():
                assert curves.area(resample, limit, subset) == pytest.approx(value, abs=1e-12)
    assert curves.area([0, 3, 6], 0.05) is None


def test_curves_on_few_thresholds_are_close():
    maps, regions, labels = smooth_images()
    curves, exact = image_curves(maps, regions, labels), auspro(maps, regions, labels)
    assert curves.thresholds.size < sum(r.area for rs in regions for r in rs) / 2
    everyone = np.arange(len(maps))
    for limit in LIMITS:
        assert curves.area(everyone, limit, "mean") == pytest.approx(exact["mean"][limit], abs=1e-4)


def smooth_images():
    """Maps as methods make them: small ones, resized."""
    rng = np.random.default_rng(0)
    maps = [upsample(rng.normal(size=(10, 15)), (120, 180)) for _ in range(9)]
    regions = [[] if i % 3 == 0 else [Region(m > np.quantile(m, 0.9))] for i, m in enumerate(maps)]
    noisy = [m + rng.normal(scale=0.5, size=m.shape) for m in maps]
    return noisy, regions, [("good", "logical", "structural")[i % 3] for i in range(9)]

"""AU-sPRO where the maps already lie on a GPU: the integer counts of `harness.metrics.spro`, the same areas.

`harness.metrics.auspro` comes here by itself when its maps are CUDA tensors. Counts are int64 and areas
float64: a float32 false-positive rate cannot tell counts above 2**24 apart.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from harness.errors import DataError
from harness.metrics.inputs import LIMITS, check_labels, check_size, checked_limits, mean
from harness.metrics.regions import Region, union
from harness.metrics.upsample import taps

# Pixels sorted at once; sorting needs about 28 bytes for each.
CHUNK_PIXELS = 1 << 28

# Subset -> labels of the anomalous images in it; good images belong to each.
SUBSETS = {"logical": ("logical",), "structural": ("structural",), "all": ("logical", "structural")}


class _Counts(NamedTuple):
    """#(normal < u) and #(normal <= u) for every threshold u, int64, of n normal pixels."""

    below: Tensor
    up_to: Tensor
    n: int


def auspro(
    maps: Sequence[Any],
    regions: Sequence[Sequence[Region]],
    labels: Sequence[str],
    limits: Sequence[float] = LIMITS,
) -> dict[str, dict[float, float | None]]:
    """AU-sPRO as `harness.metrics.auspro`, computed on the device of the maps.

    Args:
        maps: per image a floating tensor (h, w), all on one device; a lazy sequence is asked once per
            image and pass.
        regions: per image its regions; none for good images.
        labels: per image "good", "logical" or "structural".
        limits: of the false-positive rate, each in (0, 1].

    Raises:
        DataError: as there.
    """
    check_labels(maps, regions, labels)
    limits = checked_limits(limits)
    targets = {label: _targets(maps, regions, labels, label) for label in ("logical", "structural")}
    found = [scores for some in targets.values() for scores in some]
    if not found:
        return {s: dict.fromkeys(limits) for s in ("logical", "structural", "all", "mean")}
    thresholds = torch.unique(torch.cat(found))
    counts = {
        label: _count(thresholds, _normals(maps, regions, labels, label))
        for label in ("good", "logical", "structural")
    }
    areas = {}
    for subset, parts in SUBSETS.items():
        sought = [scores for part in parts for scores in targets[part]]
        areas[subset] = _areas(sought, thresholds, [counts[part] for part in ("good", *parts)], limits)
    return areas | {"mean": {t: mean(areas["logical"][t], areas["structural"][t]) for t in limits}}


def upsample(anomaly_map: Tensor, size: tuple[int, int]) -> Tensor:
    """`harness.metrics.upsample` for tensors: the same operations in the same order, so the same bits.

    Args:
        anomaly_map: floating (h, w).
        size: (H, W).
    """
    if tuple(anomaly_map.shape) == tuple(size):
        return anomaly_map
    return _along_rows(_along_rows(anomaly_map.T, size[1]).T, size[0])


def _along_rows(array: Tensor, n: int) -> Tensor:
    if array.shape[0] == n:
        return array
    below, above, weight = taps(array.shape[0], n)
    low = array[torch.from_numpy(below).to(array.device)]
    step = array[torch.from_numpy(above).to(array.device)] - low
    # Not torch.lerp: a fused multiply-add would round once less.
    step *= torch.from_numpy(weight).to(array.device, array.dtype)[:, None]
    return step.add_(low)


def _checked(anomaly_map: Tensor, regions: Sequence[Region], i: int) -> Tensor:
    check_size(tuple(anomaly_map.shape), regions, f"image {i}")
    if anomaly_map.ndim != 2 or not anomaly_map.is_floating_point():
        raise DataError(f"image {i}: an anomaly map must be floating (h, w), got {anomaly_map.shape}")
    if not bool(torch.isfinite(anomaly_map).all()):
        raise DataError(f"image {i}: anomaly map has NaN or infinite values")
    return anomaly_map.float() if anomaly_map.element_size() < 4 else anomaly_map


def _targets(
    maps: Sequence[Tensor], regions: Sequence[Sequence[Region]], labels: Sequence[str], label: str
) -> list[Tensor]:
    """The `saturation` highest scores of every region of the images of one label, sorted upwards."""
    found = []
    for i in range(len(labels)):
        if labels[i] == label:
            scores = _checked(maps[i], regions[i], i)
            for region in regions[i]:
                inside = scores[torch.from_numpy(region.mask).to(scores.device)]
                found.append(inside.sort().values[inside.numel() - region.saturation :])
    return found


def _normals(
    maps: Sequence[Tensor], regions: Sequence[Sequence[Region]], labels: Sequence[str], label: str
) -> Iterable[Tensor]:
    """Chunks of the normal pixels of the images of one label."""
    held: list[Tensor] = []
    for i in range(len(labels)):
        if labels[i] == label:
            scores = _checked(maps[i], regions[i], i)
            outside = torch.from_numpy(~union(regions[i])).to(scores.device) if regions[i] else ...
            held.append(scores[outside].flatten())
            if sum(part.numel() for part in held) >= CHUNK_PIXELS:
                yield torch.cat(held)
                held.clear()
    if held:
        yield torch.cat(held)


def _count(thresholds: Tensor, chunks: Iterable[Tensor]) -> _Counts:
    below = torch.zeros(thresholds.shape, dtype=torch.int64, device=thresholds.device)
    up_to, n = torch.zeros_like(below), 0
    for chunk in chunks:
        dtype = torch.promote_types(chunk.dtype, thresholds.dtype)
        ordered = chunk.to(dtype).sort().values
        below += torch.searchsorted(ordered, thresholds.to(dtype), right=False)
        up_to += torch.searchsorted(ordered, thresholds.to(dtype), right=True)
        n += chunk.numel()
    return _Counts(below, up_to, n)


def _areas(
    targets: Sequence[Tensor],
    thresholds: Tensor,
    counts: Sequence[_Counts],
    limits: Sequence[float],
) -> dict[float, float | None]:
    n = sum(part.n for part in counts)
    if not targets or n == 0:
        return dict.fromkeys(limits)
    below = torch.stack([part.below for part in counts]).sum(0)
    up_to = torch.stack([part.up_to for part in counts]).sum(0)
    start, end = (n - up_to).double() / n, (n - below).double() / n
    places = [torch.searchsorted(thresholds, scores.to(thresholds.dtype)) for scores in targets]
    areas = {}
    for limit in limits:
        ramps = _ramp_areas(start, end, limit)
        per_region = torch.stack([ramps[at].mean() for at in places])
        areas[limit] = float(per_region.sum()) / (len(places) * limit)
    return areas


def _ramp_areas(start: Tensor, end: Tensor, limit: float) -> Tensor:
    """`harness.metrics.spro.ramp_areas` for tensors."""
    whole = limit - (start + end) / 2
    cut = (limit - start) ** 2 / (2 * (end - start).clamp_min(1e-300))
    return torch.where(start >= limit, 0.0, torch.where(end <= limit, whole, cut))

"""How long one image takes: one at a time, after a warm-up; and how much memory was in use meanwhile."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness import gpu, provenance
from harness.data import ImageSet
from harness.data.digest import array_digest
from harness.failures import status_of
from harness.method import Method

SIZES = ((256, 256), (512, 512), (1024, 1224))  # height, width; those of MVTec's tool for AD 2
DRAWN = 8  # different images of a size: two alike in a row could be found in some cache of a library
Picture = NDArray[np.uint8]


@final
@dataclass(frozen=True)
class Timing:
    """What was measured at one size.

    Attributes:
        height, width: of the images.
        warmup, timed: images before the clock, and on it.
        mean_ms, std_ms, min_ms, max_ms: of one call of `score` with one image; the variance is divided by
            their number, as in MVTec's tool.
        peak_rss_mib, peak_gpu_mib: most memory of the process, and of its card (None without one).
        error: why there is nothing of this; empty otherwise.
    """

    height: int
    width: int
    warmup: int
    timed: int
    mean_ms: float | None = None
    std_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    peak_rss_mib: float | None = None
    peak_gpu_mib: float | None = None
    error: str = ""


def drawn(size: tuple[int, int]) -> list[Picture]:
    """Noise of a size (height, width), uint8 (h, w, 3) each; always the same."""
    rng = np.random.default_rng(size)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(DRAWN)]


def measure(method: Method, pictures: Sequence[Picture], warmup: int, timed: int) -> Timing:
    """Score images one by one; what goes wrong becomes the answer's `error`.

    Args:
        method: fitted. Its scores are arrays of the CPU, so that a card has ended when they are there.
        pictures: of one size, uint8 (h, w, 3) each; they take turns.
        warmup: calls that are not timed: libraries choose their kernels and reserve memory in the first ones.
        timed: calls that are.
    """
    height, width = pictures[0].shape[:2]
    sets = [ImageSet.of_arrays([one], [array_digest(one)]) for one in pictures]
    provenance.reset_peaks()
    try:
        for i in range(warmup):
            method.score(sets[i % len(sets)])
        seconds = [_seconds(method, sets[i % len(sets)]) for i in range(timed)]
    except Exception as error:  # noqa: BLE001 - another size, or another method, may well work
        return failed((height, width), error)
    return Timing(height, width, warmup, timed, *_milliseconds(seconds), **_peaks())


def failed(size: tuple[int, int], error: Exception) -> Timing:
    """What is said of a size (height, width) at which nothing could be measured."""
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return Timing(*size, 0, 0, error=f"{status_of(error)}: {said}")


def _seconds(method: Method, images: ImageSet) -> float:
    began = time.perf_counter()
    method.score(images)
    return time.perf_counter() - began


def _milliseconds(seconds: Sequence[float]) -> tuple[float, float, float, float]:
    found = 1000 * np.array(seconds)
    return float(found.mean()), float(found.std()), float(found.min()), float(found.max())


def _peaks() -> dict[str, Any]:
    gpu.note()
    return provenance.peaks()

"""(c) A patch bank as large as PSAD's on LOCO: nearest, leave-one-out; (d) AU-sPRO, on the CPU."""

from collections.abc import Iterator

import numpy as np

from benchmarks.gpu.row import Row, Scale, peak_gib, row, seconds
from benchmarks.psad_banks import patch_like
from benchmarks.spro import draw_map, draw_mask, image_labels, region
from harness.metrics import Region, auspro
from methods.psad.banks import PatchBank
from methods.shared.nearest import MemoryBank

IMAGES, PATCHES, DIMENSION = 351, 1024, 1536  # 360,000 rows, 2.2 GB


def search(scale: Scale) -> Iterator[Row]:
    """Seconds per query image of every way, and what they differ by."""
    images, patches = scale.of(IMAGES, 6), scale.of(PATCHES, 16)
    dimension = scale.of(DIMENSION, 32)
    rows = patch_like(images, patches, dimension, 1)
    query = patch_like(1, patches, dimension, 2)[0]
    flat = rows.reshape(-1, dimension)
    bank = MemoryBank(flat, scale.device)
    bank.search(query)  # the index is built, kernels are loaded
    yield row("MemoryBank, one image against the bank", seconds(lambda: bank.search(query), scale, 3), "s")
    few = query[:64]  # of a CPU's answers, which take longer
    found, exact = bank.search(few)[0], MemoryBank(flat).search(few)[0]
    apart = np.abs(found - exact).max() / exact.max()
    yield row("distances against those of faiss on the CPU: relative difference", float(apart), "")
    psad = PatchBank(rows, scale.device)
    psad.minima(rows[0, :1])
    aim = "a category (600 searches) < 30 s"
    yield row("PSAD's bank, one image", seconds(lambda: psad.minima(query), scale), "s", aim)
    left_out = seconds(lambda: psad.minima(rows[0], without=0), scale)
    yield row("PSAD's bank, one image left out", left_out, "s", aim)
    yield row("search: memory", peak_gib(scale), "GiB")


def spro(scale: Scale) -> Iterator[Row]:
    """A category's AU-sPRO at native size, which trials count on the CPU of their node."""
    maps, regions, labels = _category(scale.of(70, 2), (scale.of(850, 40), scale.of(1600, 40)))
    took = seconds(lambda: auspro(maps, regions, labels), scale, scale.of(3, 1))
    yield row("AU-sPRO of a category", took, "s", "< 5 s")


def _category(each: int, size: tuple[int, int]) -> tuple[list[np.ndarray], list[list[Region]], list[str]]:
    """Maps, regions and labels, as many of each kind as LOCO has in a category."""
    rng, labels = np.random.default_rng(0), image_labels(each, each, each)
    masks = [None if label == "good" else draw_mask(rng, size) for label in labels]
    maps = [draw_map(rng, mask, size) for mask in masks]
    pairs = zip(masks, labels, strict=True)
    return maps, [[] if mask is None else [region(mask, label)] for mask, label in pairs], labels

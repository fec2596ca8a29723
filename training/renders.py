"""Training scenes: drawn once, kept in memory and, if wished, in a folder.

Their split names are their own ("weights", "weights-heldout"), so no image of a generated demo data
set is ever among them.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from harness.datasets.demo import CATEGORIES, scene
from harness.datasets.demo.scenes.drawing import subtype_at
from training.journal import say

TRAIN, HELDOUT = "weights", "weights-heldout"
SIZE = 192  # shorter side in pixels, unless another is wished
KINDS = (None, "logical", "structural")
SHARES = (0.4, 0.5, 0.1)  # of the scenes: good, with a logical, with a structural defect
UNUSUAL = 7919  # keeps the choice of defects apart from the random numbers of the drawing
PORTION = 10  # scenes a process draws at a time


@dataclass(frozen=True)
class Renders:
    """Scenes of one category.

    Attributes:
        category: its name.
        images: uint8 (n, h, w, 3), sRGB.
        parts: uint8 (n, h, w), index into the category's part names.
        subtypes: product type of each, "" where there is none.
        defects: the defect of each, "" for a good one.
    """

    category: str
    images: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    subtypes: tuple[str, ...]
    defects: tuple[str, ...]

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self.images)


@dataclass(frozen=True)
class _Job:
    category: str
    split: str
    size: int
    seed: int
    first: int
    number: int


def renders(
    split: str, number: int, seed: int, workers: int, cache: Path | None, size: int = SIZE
) -> dict[str, Renders]:
    """`number` scenes of every category, drawn or, if they lie in `cache`, read.

    Args:
        split: `TRAIN` or `HELDOUT`.
        number: scenes per category.
        seed: seed of the scenes; the same as that of no data set is not needed, the split decides.
        workers: processes that draw.
        cache: folder for one .npz file per category, or None.
        size: shorter side in pixels.
    """
    return {name: _category(_Job(name, split, size, seed, 0, number), workers, cache) for name in CATEGORIES}


def _category(job: _Job, workers: int, cache: Path | None) -> Renders:
    name, number = job.category, job.number
    file = cache / f"{job.split}-{name}-{number}-{job.size}-{job.seed}.npz" if cache else None
    if file and file.is_file():
        return _read(name, file)
    say(f"drawing {number} scenes of {name}")
    portions = [replace(job, first=i, number=min(PORTION, number - i)) for i in range(0, number, PORTION)]
    drawn = _joined(name, list(_drawn(portions, workers)))
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        texts = {"subtypes": np.array(drawn.subtypes), "defects": np.array(drawn.defects)}
        np.savez(file, allow_pickle=False, images=drawn.images, parts=drawn.parts, **texts)
    return drawn


def _read(name: str, file: Path) -> Renders:
    with np.load(file) as held:
        texts = (tuple(str(t) for t in held[key]) for key in ("subtypes", "defects"))
        return Renders(name, held["images"], held["parts"], *texts)


def _drawn(jobs: Sequence[_Job], workers: int) -> Iterator[Renders]:
    if workers == 1:
        yield from map(_draw, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_draw, jobs)


def _draw(job: _Job) -> Renders:
    rows = [_one(job, job.first + i) for i in range(job.number)]
    images, parts, subtypes, defects = zip(*rows, strict=True)
    return Renders(job.category, np.stack(images), np.stack(parts), subtypes, defects)


def _one(job: _Job, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], str, str]:
    defect = defect_of(job.category, job.seed, job.split, index)
    wanted = (defect,) if defect else ()
    subtype = subtype_at(job.category, job.seed, job.split, index, wanted)
    drawn = scene(job.category, job.seed, job.split, index, job.size, defect, subtype)
    return drawn.image, drawn.parts, subtype or "", defect or ""


def defect_of(category: str, seed: int, split: str, index: int) -> str | None:
    """The defect of a scene, so that counts, sides and colours vary; None for a good one."""
    key = [seed, crc32(category.encode()), crc32(split.encode()), index, UNUSUAL]
    rng = np.random.default_rng(key)
    kind = KINDS[rng.choice(len(KINDS), p=SHARES)]
    names = CATEGORIES[category].of_kind(kind) if kind else []
    return names[rng.integers(len(names))] if names else None


def _joined(name: str, portions: Sequence[Renders]) -> Renders:
    images = np.concatenate([p.images for p in portions])
    parts = np.concatenate([p.parts for p in portions])
    subtypes = tuple(s for p in portions for s in p.subtypes)
    return Renders(name, images, parts, subtypes, tuple(d for p in portions for d in p.defects))

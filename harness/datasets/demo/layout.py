"""The demo data set on disk: MVTec LOCO's folders, plus part masks and product types."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from harness.datasets.demo.catalog import Category, Scene
from harness.datasets.demo.files import indexed, write, write_json, write_png
from harness.datasets.demo.manifest import MARKER, Settings, check, complete, write_manifest
from harness.datasets.demo.scenes.drawing import CATEGORIES, category_of, defects_at, scene, subtype_at
from harness.whole import PARTIALS

_BATCH = 4


@dataclass(frozen=True)
class Job:
    """One image to draw: `folder` is its place inside the category, e.g. `test/logical_anomalies`."""

    category: str
    folder: str
    index: int

    @property
    def stem(self) -> str:
        """File name without suffix."""
        return f"{self.index:03d}"

    def image(self) -> str:
        """Path of the image inside the root."""
        return f"{self.category}/{self.folder}/{self.stem}.png"

    @property
    def split(self) -> str:
        """Name under which the image's random numbers are drawn."""
        return self.folder.removesuffix("/good") if not self.folder.startswith("test") else self.folder


def generate(
    root: Path | str,
    *,
    size: int = 256,
    train: int = 40,
    validation: int = 10,
    good: int = 20,
    logical: int = 20,
    structural: int = 20,
    categories: Sequence[str] | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw the demo data set, or what is missing of it, in MVTec LOCO's layout.

    Beside LOCO's files every category gets `part_masks/<split>/<folder>/<stem>.png` (palette PNG, value =
    class index), `part_classes.json` (class names in index order), `subtypes.json` (image path ->
    product type) and the root gets `demo.json`. Files appear whole or not at all; an interrupted call is
    finished by the next one. The bytes depend on the settings only, not on `workers`.

    Args:
        root: folder of the data set, created if missing; `<root>/<category>/train/good/000.png` …
        size: shorter image side in pixels, at least 64.
        train: training images per category.
        validation: validation images per category.
        good: test images without anomaly per category.
        logical: test images with logical anomalies per category.
        structural: test images with structural anomalies per category.
        categories: names out of `CATEGORIES`; None: all.
        seed: seed of the data set.
        workers: processes; None: one per available core. More than one needs an importable `__main__`
            (a script guards its entry with `if __name__ == "__main__"`).
        progress: called with (images done, images in all) in this process.

    Returns:
        The root.

    Raises:
        DataError: bad settings, or `root` holds something else than this demo data set.
    """
    root = Path(root)
    settings = Settings(size, seed, _names(categories), train, validation, good, logical, structural)
    check(settings, workers)
    if complete(root, settings):
        return root
    write_manifest(root, settings, complete=False)
    jobs = [job for name in settings.categories for job in _jobs(name, settings)]
    missing = [job for job in jobs if not (root / job.image()).is_file()]
    _draw_all(root, settings, missing, len(jobs), workers, progress)
    for name in settings.categories:
        _describe(root, CATEGORIES[name], settings)
    write_manifest(root, settings, complete=True)
    for partial in root.rglob(PARTIALS):
        partial.unlink(missing_ok=True)
    return root


def _names(categories: Sequence[str] | None) -> tuple[str, ...]:
    if categories is None:
        return tuple(CATEGORIES)
    wanted = [category_of(name).name for name in categories]
    return tuple(name for name in CATEGORIES if name in wanted)


def _jobs(category: str, settings: Settings) -> Iterator[Job]:
    folders = {
        "train/good": settings.train,
        "validation/good": settings.validation,
        "test/good": settings.good,
        "test/logical_anomalies": settings.logical,
        "test/structural_anomalies": settings.structural,
    }
    for folder, count in folders.items():
        yield from (Job(category, folder, index) for index in range(count))


def _draw_all(
    root: Path,
    settings: Settings,
    missing: list[Job],
    total: int,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    done = total - len(missing)
    for batch in _finished(root, settings, missing, workers):
        done += batch
        if progress:
            progress(done, total)


def _finished(root: Path, settings: Settings, missing: list[Job], workers: int | None) -> Iterator[int]:
    """Number of images of every finished batch, drawn here or in other processes."""
    batches = [missing[i : i + _BATCH] for i in range(0, len(missing), _BATCH)]
    workers = min(_cores() if workers is None else workers, len(batches))
    if workers <= 1:
        yield from (_draw_batch(root, settings, batch) for batch in batches)
        return
    # spawn: the caller may hold threads or a GPU, which a fork would inherit half-way
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for future in as_completed([pool.submit(_draw_batch, root, settings, b) for b in batches]):
            yield future.result()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _draw_batch(root: Path, settings: Settings, batch: Iterable[Job]) -> int:
    count = 0
    for job in batch:
        _save(
            root,
            job,
            scene(job.category, settings.seed, job.split, job.index, settings.size, _defects(job, settings)),
        )
        count += 1
    return count


def _defects(job: Job, settings: Settings) -> tuple[str, ...]:
    kind = {"test/logical_anomalies": "logical", "test/structural_anomalies": "structural"}.get(job.folder)
    return defects_at(job.category, settings.seed, kind, job.index) if kind else ()


def _save(root: Path, job: Job, drawn: Scene) -> None:
    """Masks first, the image last: an image that is there is complete."""
    values = CATEGORIES[job.category].pixel_values()
    truth = f"{job.category}/ground_truth/{job.folder.removeprefix('test/')}/{job.stem}"
    for number, (defect, mask) in enumerate(drawn.regions):
        write_png(root, f"{truth}/{number:03d}.png", Image.fromarray(mask.astype(np.uint8) * values[defect]))
    write_png(root, f"{job.category}/part_masks/{job.folder}/{job.stem}.png", indexed(drawn.parts))
    write_png(root, job.image(), Image.fromarray(drawn.image))


def _describe(root: Path, category: Category, settings: Settings) -> None:
    """The files of a category that are not images."""
    write_json(root, f"{category.name}/defects_config.json", defects_config(category.name, settings.size))
    write_json(root, f"{category.name}/part_classes.json", list(category.parts))
    if category.subtypes:
        write_json(root, f"{category.name}/subtypes.json", _subtypes(category, settings))
    text = _README.format(name=category.name, marker=MARKER, about=category.about)
    write(root, f"{category.name}/readme.txt", lambda partial: partial.write_text(text, encoding="utf-8"))


_README = """{name}: {marker}.

{about}

Layout as in MVTec LOCO AD: train/good, validation/good, test/{{good,logical_anomalies,structural_anomalies}},
ground_truth/<type>/<image>/<region>.png (value = pixel_value in defects_config.json).
Added: part_masks/ (value = index in part_classes.json, 0 = background) and, where a category has
product types, subtypes.json (image -> type).
"""


def defects_config(category: str, size: int) -> list[dict]:
    """The entries of `defects_config.json`, with absolute saturation areas scaled to the image size."""
    known = category_of(category)
    values = known.pixel_values()
    return [
        {
            "defect_name": defect.name,
            "pixel_value": values[defect.name],
            "saturation_threshold": 1.0 if defect.area is None else max(1, round(defect.area * size**2)),
            "relative_saturation": defect.area is None,
        }
        for defect in known.defects
    ]


def _subtypes(category: Category, settings: Settings) -> dict[str, str]:
    return {
        f"{job.folder}/{job.stem}.png": subtype
        for job in _jobs(category.name, settings)
        if (subtype := subtype_at(job.category, settings.seed, job.split, job.index, _defects(job, settings)))
    }

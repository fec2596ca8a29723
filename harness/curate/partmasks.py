"""`python -m harness.data partmasks`: part labels where nobody has drawn any, and what is worth drawing.

A method that segments (`harness.method.Segmentation`) is fitted to a few training images and labels all of
them; the result stands in for labels and is marked so. Of the images it picks the few that the others
resemble, and lays them out for LabelMe.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.artifacts import ArtifactStore
from harness.cache import cache_root
from harness.data.fewshot import draw
from harness.data.images import FitData, ImageSet, decode, image_size
from harness.data.labels import ABOUT, CLASSES, STAND_IN, Labels
from harness.data.representatives import medoids
from harness.data.samples import Sample, Split
from harness.errors import ConfigError, NeedNotMet, nearest
from harness.method import Context, Segmentation, Task
from harness.params import Problem, resolve
from harness.registry import Registry
from harness.seeding import seeded

TO_LABEL = "to_label"  # folder of the images that are picked
N_L = 5  # of them, where the data set knows no sub-types (PSAD)
THUMBNAIL = (16, 16)  # pixels by which images are compared where no method has segmented them
BATCH = 16
Progress = Callable[[int, int], None]


@final
@dataclass(frozen=True)
class Segmenter:
    """A method that is to segment: the table of methods, its name, its hyper-parameters."""

    table: Registry
    name: str
    params: Mapping[str, Any]


@final
@dataclass(frozen=True)
class Written:
    """What a call has written.

    Attributes:
        masks: folder of the stand-in labels, or None.
        classes: names of their labels.
        picked: ids of the images worth labelling.
        to_label: folder where these were laid out.
    """

    masks: Path | None
    classes: tuple[str, ...]
    picked: tuple[str, ...]
    to_label: Path


def propose(
    split: Split,
    out: Path,
    method: Segmenter | None,
    shots: int | None = None,
    seed: int = 0,
    pick: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Written:
    """Write stand-in part labels of all training images, and the images worth labelling.

    Below `out`: `<category>/<image>.png` with `part_classes.json` and `labels.json`, to be used as
    `labels_dir: OUT`; and `to_label/<category>/<image>.png` with an empty LabelMe file beside each, to be
    used as `labels_dir: OUT/to_label` once somebody has drawn the parts.

    Args:
        split: the category.
        out: folder.
        method: what segments; None only picks images.
        shots: it is fitted to so many training images; None for all.
        seed: of the draw and of the method.
        pick: number of images to label; None for one of each sub-type, or 5.
        progress: called with (images done, images in all).

    Raises:
        ConfigError: no such method, it does not segment, or its parameters are wrong.
        NeedNotMet: it needs something that is not there.
    """
    masks, classes, described = None, (), None
    if method is not None:
        fitted = _fitted(split, method, shots, seed)
        masks = out / split.category
        classes, described = _write_masks(split, fitted, masks, progress)
        params = dict(method.params)
        about = {
            "by": method.name,
            "params": params,
            "shots": shots,
            "seed": seed,
            "marks": [STAND_IN],
        }
        _write_json(masks / CLASSES, list(classes))
        _write_json(masks / ABOUT, about)
    picked = _picked(split.train, _thumbnails(split.train) if described is None else described, pick)
    folder = out / TO_LABEL / split.category
    for sample in picked:
        _lay_out(sample, folder)
    return Written(masks, classes, tuple(sample.id for sample in picked), folder)


def _fitted(split: Split, method: Segmenter, shots: int | None, seed: int) -> Any:
    owner = method.table.load(method.name)
    if not hasattr(owner, "segment"):
        able = [name for name in method.table if hasattr(method.table.load(name), "segment")]
        close = nearest(method.name, able)
        raise ConfigError(f"--method {method.name}: does not segment{close}; {', '.join(able)} do")
    try:
        complete = resolve(owner, method.params)
    except Problem as error:
        raise ConfigError([f"--param {key}: {text}" for key, text in error.lines]) from error
    support = draw(split.train, shots, seed, dataset=split.dataset, category=split.category)
    n, masks = (len(support), len(split.validation)), bool(split.part_masks)
    task = Task(split.dataset, split.category, shots, *n, masks, tuple(support))
    if reason := owner.card.unmet(complete, task):
        raise NeedNotMet(f"{method.name}: {reason}")
    masks = {i: split.part_masks[s.id] for i, s in enumerate(support) if s.id in split.part_masks}
    images, validation = ImageSet.of_samples(support), ImageSet.of_samples(split.validation)
    data = FitData(images, validation, split.category, masks, split.part_classes)
    context = Context(seed, _device(), ArtifactStore(cache_root() / "artifacts"))
    with seeded(seed):
        return owner(context, **complete).fit(data)


def _device() -> str:
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _write_masks(
    split: Split, fitted: Any, folder: Path, progress: Progress
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Label every training image; the names of the labels, and each image's histogram of them."""
    names, histograms = ("background",), []
    for start in range(0, len(split.train), BATCH):
        samples = split.train[start : start + BATCH]
        found: Segmentation = fitted.segment(ImageSet.of_samples(samples))
        names = found.names
        for sample, labels in zip(samples, found.labels, strict=True):
            _write_mask(labels, sample, folder)
            histograms.append(np.bincount(labels.ravel(), minlength=len(names)) / labels.size)
        progress(start + len(samples), len(split.train))
    return names, np.stack(histograms)


def _write_mask(labels: Labels, sample: Sample, folder: Path) -> None:
    """As an index PNG at the native size of the image."""
    height, width = image_size(sample.path)
    path = (folder / sample.id).with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST).save(path)


def _thumbnails(samples: Sequence[Sample]) -> NDArray[np.float64]:
    small = [Image.fromarray(decode(s.path, s.rule)).resize(THUMBNAIL, Image.Resampling.BOX) for s in samples]
    return np.stack([np.asarray(image, np.float64).ravel() / 255 for image in small])


def _picked(samples: Sequence[Sample], vectors: NDArray[np.float64], number: int | None) -> list[Sample]:
    """k-medoids; of each sub-type one, where a manifest names them."""
    types = sorted({s.subtype for s in samples if s.subtype is not None})
    if number is not None or len(types) < 2:
        return [samples[i] for i in medoids(vectors, number or N_L)]
    groups = [[i for i, s in enumerate(samples) if s.subtype == name] for name in types]
    return [samples[group[medoids(vectors[group], 1)[0]]] for group in groups]


def _lay_out(sample: Sample, folder: Path) -> None:
    """A copy of the image and, if there is none yet, a LabelMe file without shapes."""
    picture = folder / sample.id
    picture.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sample.path, picture)
    height, width = image_size(sample.path)
    draft = {"version": "5.0.0", "flags": {}, "shapes": [], "imagePath": picture.name, "imageData": None}
    path = picture.with_suffix(".json")
    if not path.exists():
        _write_json(path, draft | {"imageHeight": height, "imageWidth": width})


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

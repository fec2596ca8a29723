"""Which training images have part labels, which of these are used, and what belongs to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness.data import FitData, ImageSet, Sample
from harness.data.labels import (
    LabelFolder,
    Labels,
    check_label_file,
    check_labels,
    find_labels,
    read_labels,
)
from harness.data.representatives import medoids
from harness.errors import ConfigError, DataError, NeedNotMet
from harness.method import Asset, Task
from methods.shared import weights
from methods.shared.pixels import native_size

N_L = 5  # labelled images where a category is of one type; of several types, one each
TYPES = {"juice_bottle": 3, "splicing_connectors": 3}  # product types of LOCO's categories (paper)
HIST_CLASSES = {"breakfast_box": (7, (1, 2, 3, 6))}  # N_C, and which count in L_hist (released code)
RESNET = "resnet101.tv_in1k"  # of `comp_encoder: r101_p5`
RESNET_LAYERS = ("layer1", "layer2", "layer3")
SHOWN = 3  # files in a message
HOW = (
    "give `labels_dir` with index PNGs or LabelMe files (`python -m harness.data partmasks` proposes some, "
    "and which images to label)"
)


def unmet(params: Mapping[str, Any], task: Task) -> str | None:
    """Why there are no labels for a task, or None.

    Raises:
        ConfigError: `hist_classes` does not fit them.
        DataError: there are, and they cannot be used; every file that is wrong is named.
    """
    root = params["labels_dir"]
    if root is None:
        return None if task.has_part_masks else f"needs part labels, and {task.dataset} has none; {HOW}"
    folder = find_labels(Path(root).expanduser(), task.category)
    if folder is None:
        return f"needs part labels, and {root} has none of {task.category}; {HOW}"
    if not task.train:
        return None
    labelled = {sample: path for sample in task.train if (path := folder.of(sample.id)) is not None}
    if not labelled:
        return _matching_none(folder, task)
    _check(labelled, folder)
    counted(params["hist_loss"], params["hist_classes"], task.category, len(folder.classes))
    return None


def _matching_none(folder: LabelFolder, task: Task) -> str:
    there = ", ".join(path.name for path in list(folder.files.values())[:SHOWN])
    return (
        f"needs part labels, and none of the {len(task.train)} training images ({task.train[0].id}, …) "
        f"has any in {folder.folder}, where there are {len(folder.files)} ({there}, …); {HOW}"
    )


def _check(labelled: Mapping[Sample, Path], folder: LabelFolder) -> None:
    problems = []
    for sample, path in labelled.items():
        try:
            check_label_file(path, folder.classes, sample.path)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))


def assets(params: Mapping[str, Any], category: str) -> tuple[Asset, ...]:
    """The weights of the networks and the labels in `labels_dir`.

    Raises:
        ConfigError, WeightsError: see `methods.shared.weights.find`.
        DataError: see `harness.data.labels.find_labels`.
    """
    return (*encoders(params, category), *labels(params, category))


def encoders(params: Mapping[str, Any], category: str) -> list[Asset]:
    """The weights of the frozen networks.

    Raises:
        ConfigError, WeightsError: see `methods.shared.weights.find`.
    """
    found = [*weights.assets(params, category)]
    if params["comp_encoder"] == "r101_p5" and "c" in params["banks"]:
        other = {"backbone": RESNET, "weights": comp_weights(params["weights"], params["comp_weights"])}
        found += weights.assets(other, category)
    return found


def labels(params: Mapping[str, Any], category: str) -> list[Asset]:
    """The labels in `labels_dir`, if there are any.

    Raises:
        DataError: see `harness.data.labels.find_labels`.
    """
    root = params["labels_dir"]
    folder = find_labels(Path(root).expanduser(), category) if root else None
    if folder is None:
        return []
    return [Asset(f"labels of {category}", folder.sha256, str(folder.folder), folder.marks)]


def comp_weights(of_backbone: str | None, own: str | None) -> str | None:
    """The `weights` of the second encoder: demo ones come along with those of the first."""
    return weights.DEMO if of_backbone == weights.DEMO else own


def counted(hist_loss: str, given: Sequence[int] | None, category: str, n_classes: int) -> tuple[int, ...]:
    """The classes of which L_hist takes the sum; none where it takes the mean over all (paper).

    Raises:
        ConfigError: the released code counts some classes of its own labels, and these are others.
    """
    if hist_loss == "paper_mean_x10":
        return ()
    theirs = HIST_CLASSES.get(category.partition("/")[0], (n_classes, range(1, n_classes)))
    if given is None and n_classes != theirs[0]:
        raise ConfigError(
            f"hist_loss: repo_sum_x1 counts classes {', '.join(map(str, theirs[1]))} of the {theirs[0]} that "
            f"{category} has there, but here it has {n_classes}: say with hist_classes which of these count"
        )
    wanted = tuple(theirs[1] if given is None else given)
    if wanted and max(wanted) >= n_classes:
        raise ConfigError(
            f"hist_classes: {max(wanted)} is no class of {category}; the last is {n_classes - 1}"
        )
    return wanted


@final
@dataclass(frozen=True)
class Known:
    """What can be known of the parts of a support set.

    Attributes:
        sources: index of a training image -> file or array with its labels.
        classes: names of the labels.
    """

    sources: Mapping[int, Path | Labels]
    classes: tuple[str, ...]

    @staticmethod
    def of(data: FitData, labels_dir: str | None) -> "Known":
        """The labels in `labels_dir`, else the data set's own part masks.

        Raises:
            DataError: see `harness.data.labels.find_labels`.
            NeedNotMet: no training image has labels.
        """
        folder = find_labels(Path(labels_dir).expanduser(), data.category) if labels_dir else None
        known = Known(data.part_masks, data.part_classes) if labels_dir is None else _in(folder, data.train)
        if not known.sources:
            where = labels_dir or "the data set"
            raise NeedNotMet(f"none of the {len(data.train)} training images has part labels in {where}")
        return known

    def read(self, train: ImageSet, index: int) -> Labels:
        """The label map of a training image at native size.

        Raises:
            DataError: see `harness.data.labels.read_labels`.
        """
        source = self.sources[index]
        if isinstance(source, Path):
            return read_labels(source, self.classes, native_size(train, index))
        return check_labels(source, self.classes, f"labels of {train.ids[index]}")


def _in(folder: LabelFolder | None, train: ImageSet) -> Known:
    if folder is None:
        return Known({}, ())
    found = {i: folder.of(name) for i, name in enumerate(train.ids)}
    return Known({i: path for i, path in found.items() if path is not None}, folder.classes)


def to_label(candidates: Sequence[int], number: int, pooled: NDArray[np.floating[Any]]) -> list[int]:
    """Which of the candidates are labelled: all, or so many medoids in the space of pooled features.

    Args:
        candidates: indices of training images.
        number: N_L.
        pooled: globally average-pooled features of all training images (n, d).
    """
    if len(candidates) <= number:
        return list(candidates)
    return [candidates[i] for i in medoids(pooled[list(candidates)], number)]


def matched(
    unlabelled: Sequence[int], labelled: Sequence[int], pooled: NDArray[np.floating[Any]]
) -> tuple[int, ...]:
    """For every unlabelled image the position of the labelled one nearest in pooled features.

    ("Handling Multiple Types of Products": that one's type is taken for its own.)
    """
    difference = pooled[list(unlabelled)][:, None] - pooled[list(labelled)][None]
    return tuple(int(i) for i in (difference**2).sum(axis=2).argmin(axis=1))

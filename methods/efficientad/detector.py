"""From trained networks to scores: two maps per image, their scale, their sum.

Batzner et al., EfficientAD, section 3.4; DFSC, section 4.1. The two maps of every image are stored under the
identity of the training, and so are the means that PUAD looks at, so that everything below costs no network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from harness.artifacts import Op
from harness.data import FitData, ImageSet, image_size
from harness.errors import NeedNotMet
from harness.method import Scores
from harness.metrics import upsample
from harness.views import Heat, View
from methods.efficientad.fitting import train_together, trained
from methods.efficientad.task import Task
from methods.shared.onepass import OnePass

Map = NDArray[np.float64]
NormSource = Literal["validation", "support", "none"]
BORDER = 4  # of the maps, in their pixels: what a PDN without padding does not see
LEAST_RANGE = 1e-12


@final
@dataclass(frozen=True)
class Fusion:
    """How two maps become one.

    Attributes:
        q_a, q_b: quantiles of the normal maps that become 0 and `scale`.
        norm_source: whose maps: validation images (training images where there are none), the training
            images, or none: maps are added as they are.
        sigmoid: whether each map goes through a sigmoid before they are added.
        scale: value at q_b.
    """

    q_a: float
    q_b: float
    norm_source: NormSource
    sigmoid: bool
    scale: float

    def levels(self, maps: Sequence[NDArray[np.float32]]) -> tuple[Map, Map]:
        """q_a and q_b of both kinds of maps, over all pixels of all images; each (2, 1, 1)."""
        pixels = np.stack(maps, axis=1).reshape(2, -1).astype(np.float64)
        a, b = np.quantile(pixels, [self.q_a, self.q_b], axis=1)
        return a[:, None, None], b[:, None, None]

    def fused(self, maps: NDArray[np.float32], levels: tuple[Map, Map] | None) -> tuple[Map, Map]:
        """(the combined map (h, w), both maps on their common scale (2, h, w)), in float64."""
        both = maps.astype(np.float64)
        if levels is not None:
            a, b = levels
            both = self.scale * (both - a) / np.maximum(b - a, LEAST_RANGE)
        return (expit(both) if self.sigmoid else both).mean(axis=0), both


@final
@dataclass(frozen=True, eq=False)
class Detector:
    """A trained student and autoencoder.

    Attributes:
        task: the training.
        weights: of both, see `members.evaluated`.
        fusion: how their maps are read.
        levels: quantiles of normal maps, or None.
    """

    task: Task
    weights: NDArray[np.float32]
    fusion: Fusion
    levels: tuple[Map, Map] | None

    def score(self, images: ImageSet) -> Scores:
        """The largest value of the combined map, enlarged to the image's size.

        Returns:
            Scores with the parts "st" (student and teacher) and "stae" (student and autoencoder), maxima
            of the two maps on their common scale, and maps that cover the whole image.
        """
        found = [self.fusion.fused(maps, self.levels) for maps in self._maps(images)]
        maps = [_bordered(fused) for fused, _ in found]
        tops = [upsample(m, size).max() for m, size in zip(maps, _sizes(images), strict=True)]
        st, stae = np.stack([both.max(axis=(1, 2)) for _, both in found], axis=1)
        return Scores(np.array(tops), {"st": st, "stae": stae}, np.stack(maps))

    def explain(self, images: ImageSet) -> list[tuple[View, ...]]:
        """The two maps, on their common scale."""
        found = [_bordered(self.fusion.fused(maps, self.levels)[1]) for maps in self._maps(images)]
        return [(Heat("student – teacher", st), Heat("student – autoencoder", sa)) for st, sa in found]

    def _maps(self, images: ImageSet) -> list[NDArray[np.float32]]:
        return self.reader.maps(images)

    @property
    def reader(self) -> "Reader":
        """What it sees of images."""
        return Reader(self.task, self.weights)


def fit(task: Task, fusion: Fusion, data: FitData) -> Detector:
    """Train, or find what was trained, and take the quantiles of normal maps.

    Raises:
        NeedNotMet: there is no training image.
        HarnessError: the training diverged.
        WeightsError, DataError: a file cannot be used.
    """
    if not len(task.images):
        raise NeedNotMet("EfficientAD needs at least one training image")
    weights = trained(task)
    normal = data.validation if fusion.norm_source == "validation" and len(data.validation) else data.train
    maps = [] if fusion.norm_source == "none" else Reader(task, weights).maps(normal)
    return Detector(task, weights, fusion, fusion.levels(maps) if maps else None)


def fit_together(tasks: Sequence[Task]) -> None:
    """Train several as one network; each `fit` then finds its own."""
    train_together([task for task in tasks if len(task.images)])


class Reader:
    """Runs trained networks; they are built when the first array is not in the store."""

    def __init__(self, task: Task, weights: NDArray[np.float32]) -> None:
        self.task, self.weights = task, weights

    def maps(self, images: ImageSet) -> list[NDArray[np.float32]]:
        """M_ST and M_AE of every image, (2, h, w), unpadded and raw."""
        return [found["maps"] for found in self._read(images, "maps")]

    def means(self, images: ImageSet) -> list[NDArray[np.float32]]:
        """Means over all places of S^T and of T of every image, (2, channels)."""
        return [found["means"] for found in self._read(images, "means")]

    def _read(self, images: ImageSet, name: str) -> Sequence[Mapping[str, NDArray[np.float32]]]:
        keys = [(self.task.key, key) for key in images.keys()]  # noqa: SIM118 - an ImageSet is no dict
        ops = {"maps": Op("efficientad_maps"), "means": Op("efficientad_means")}
        store = self.task.context.artifacts
        return OnePass(store, keys, ops, lambda m: self._pass(images.subset(m))).arrays([name])

    def _pass(self, images: ImageSet) -> list[dict[str, NDArray[np.float32]]]:
        import torch

        from methods.efficientad.teacher import batch_of
        from methods.shared.pixels import Geometry, resized
        from methods.shared.training.precision import arithmetic

        store, device = self.task.context.artifacts, self.task.context.device
        store.counters["student_passes"] += len(images)
        pixels = resized(images, Geometry.square(self.task.recipe.image_size), store)
        targets = self.task.teacher.maps(images, store)
        with torch.inference_mode(), arithmetic(self.task.recipe.precision):
            return [self._seen(batch_of(x, device), t) for x, t in zip(pixels, targets, strict=True)]

    def _seen(self, x: Any, target: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        import torch

        student, autoencoder, mean, deviation = self._networks
        T = (torch.from_numpy(np.array(target)).to(x.device) - mean) / deviation
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.task.recipe.precision == "bfloat16"):
            (S_T, S_A), A = student(x), autoencoder(x)
        M_ST = (T - S_T[0].float()).square().mean(dim=0)
        M_AE = (A[0].float() - S_A[0].float()).square().mean(dim=0)
        means = torch.stack([S_T[0].float().mean(dim=(1, 2)), T.mean(dim=(1, 2))])
        return {"maps": torch.stack([M_ST, M_AE]).cpu().numpy(), "means": means.cpu().numpy()}

    @cached_property
    def _networks(self) -> tuple[Any, ...]:
        import torch

        from methods.efficientad.members import evaluated
        from methods.shared.training.pdn import shape_of

        task, device = self.task, torch.device(self.task.context.device)
        shape = shape_of(task.teacher.network.state_dict())
        networks = evaluated(task.recipe, shape, torch.from_numpy(np.array(self.weights)), device)
        statistics = (torch.from_numpy(s)[:, None, None].to(device) for s in task.statistics())
        return *networks, *statistics


def _bordered(maps: Map) -> Map:
    """Maps (..., h, w) with a border of zeros, as wide as the image again."""
    return np.pad(maps, [(0, 0)] * (maps.ndim - 2) + [(BORDER, BORDER)] * 2)


def _sizes(images: ImageSet) -> list[tuple[int, int]]:
    """(height, width) of every image; of files, from their headers."""
    sources = images.sources
    return [image_size(s) if isinstance(s, Path) else (s.shape[0], s.shape[1]) for s in sources]

"""RePRI (Boudiaf et al., CVPR 2021): a classifier per image, fitted to the labels and to that image alone.

Each class, the background among them, is a task of its own: this class, or not. Its classifier is a prototype
w and a bias b over frozen features z of unit length: p = sigmoid(τ cos(z, w) - b). It begins with the mean
feature of the class and the mean logit of the query; gradient descent then minimises
CE + λ_KL D_KL(p̂ || π) + λ_H H over labelled pixels (CE) and pixels of the query (H: mean entropy; p̂: mean
probability, which is held at π).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from harness.data import ImageSet
from harness.data.digest import array_digest
from harness.data.labels import IGNORED, Labels
from harness.method import Context
from methods.psad.sources.dense import deep, dense, op_of, stored
from methods.psad.sources.source import Given
from methods.psad.sources.specs import RepriSpec, SupportSpec
from methods.psad.sources.supports import Supports, supports
from methods.shared.backbones.features import FeatureSpec

EPSILON = 1e-10  # in quotients and logarithms (public code)


class Labelled(NamedTuple):
    """The labelled pixels of a support set.

    Attributes:
        features: of unit length, (n, d); without pixels that count nowhere.
        parts: whether a pixel is of the task's class, 0 or 1, (tasks, n).
        classes: the class of each task; one that no labelled image has gets none.
        images: K, how many images they are from.
    """

    features: Tensor
    parts: Tensor
    classes: NDArray[np.uint8]
    images: int


class Classifiers(NamedTuple):
    """w (tasks, d) and b (tasks,)."""

    w: Tensor
    b: Tensor

    def logits(self, features: Tensor, temperature: float) -> Tensor:
        """τ cos(z, w) of features (n, d) of unit length: (tasks, n)."""
        return temperature * (self.w @ features.T) / (self.w.norm(dim=1, keepdim=True) + EPSILON)

    def foreground(self, features: Tensor, temperature: float) -> Tensor:
        """p, the probability of a task's class, (tasks, n)."""
        return (self.logits(features, temperature) - self.b[:, None]).sigmoid()


def begun(labelled: Labelled, query: Tensor, temperature: float) -> Classifiers:
    """Mean feature of each class, and mean logit of the query (n, d)."""
    w = labelled.parts @ labelled.features / (labelled.parts.sum(dim=1, keepdim=True) + EPSILON)
    without = Classifiers(w, w.new_zeros(len(w)))
    return Classifiers(w, without.logits(query, temperature).mean(dim=1))


def cross_entropy(p: Tensor, parts: Tensor) -> Tensor:
    """CE of each task over labelled pixels: p and parts (tasks, n) -> (tasks,)."""
    return -(parts * (p + EPSILON).log() + (1 - parts) * (1 - p + EPSILON).log()).mean(dim=1)


def entropy(p: Tensor) -> Tensor:
    """H of each task: mean entropy of two classes, p (tasks, n) -> (tasks,)."""
    return -(p * (p + EPSILON).log() + (1 - p) * (1 - p + EPSILON).log()).mean(dim=1)


def proportion(p: Tensor, pi: Tensor) -> Tensor:
    """D_KL(p̂ || π) of each task: p (tasks, n), π (tasks,) of the foreground -> (tasks,)."""
    mean = p.mean(dim=1)
    part = mean * ((mean + EPSILON) / (pi + EPSILON)).log()
    # a sigmoid of 17 is 1 in float32, and the logarithm of nothing would be no number
    rest = (1 - mean) * ((1 - mean + EPSILON) / (1 - pi + EPSILON)).log()
    return part + rest


def adapted(labelled: Labelled, query: Tensor, how: RepriSpec) -> Classifiers:
    """The classifiers of one image.

    Args:
        labelled: the support set.
        query: features of the image, of unit length (n, d).
        how: constants; before the step `repri_update`, π is taken anew from the query, and λ_KL grows by 1.
    """
    now, t = begun(labelled, query, how.repri_temperature), how.repri_temperature
    pi, kl, h = now.foreground(query, t).mean(dim=1), 1 / labelled.images, 1 / labelled.images
    for step in range(1, how.repri_steps + 1):
        if step == how.repri_update:
            pi, kl = now.foreground(query, t).mean(dim=1), kl + 1
        w, b = (x.detach().requires_grad_() for x in now)
        with torch.enable_grad():
            moving = Classifiers(w, b)
            p = moving.foreground(query, t)
            ce = cross_entropy(moving.foreground(labelled.features, t), labelled.parts)
            # tasks share nothing: the gradient of the sum is that of each
            loss = (ce + kl * proportion(p, pi) + h * entropy(p)).sum()
            steps = torch.autograd.grad(loss, (w, b))
        now = Classifiers(*(x.detach() - how.repri_rate * g for x, g in zip((w, b), steps, strict=True)))
    return now


def labelled_pixels(maps: Sequence[Tensor], labels: Sequence[Labels], n_classes: int) -> Labelled:
    """The support set from features (d, h, w) and label maps of any size.

    Labels are taken where the first of the pixels of a place is, as the public code does.
    """
    seen = [_nearest(y, z.shape[-2:]).ravel() for z, y in zip(maps, labels, strict=True)]
    y = np.concatenate(seen)
    classes = np.array([c for c in range(n_classes) if (y == c).any()], np.uint8)
    counts = torch.from_numpy(np.flatnonzero(y != IGNORED))
    features = torch.cat([z.flatten(1).T for z in maps])[counts.to(maps[0].device)]
    parts = torch.from_numpy((y[None, counts.numpy()] == classes[:, None]).astype(np.float32))
    return Labelled(features, parts.to(features.device), classes, len(maps))


def _nearest(labels: Labels, size: Sequence[int]) -> Labels:
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, labels.shape, strict=True))
    return labels[rows[:, None], columns]


def label_map(
    classifiers: Classifiers, labelled: Labelled, query: Tensor, size: Sequence[int], temperature: float
) -> Labels:
    """The class of the surest task of every pixel, uint8 of `size`."""
    if not len(labelled.classes):
        return np.zeros(tuple(size), np.uint8)
    height, width = query.shape[-2:]
    logits = classifiers.logits(query.flatten(1).T, temperature).unflatten(1, (height, width))
    whole = F.interpolate(logits[None], tuple(size), mode="bilinear", align_corners=True)[0]
    return labelled.classes[(whole - classifiers.b[:, None, None]).argmax(dim=0).cpu().numpy()]


@final
@dataclass
class RepriParts:
    """Fits its classifiers to each image when a map is first needed that nobody has stored.

    Attributes:
        spec: the frozen features.
        how: constants.
        support: the labelled images.
        context: device and store.
    """

    spec: FeatureSpec
    how: RepriSpec
    support: Supports
    context: Context
    _pixels: Labelled | None = field(default=None, init=False, repr=False)

    @property
    def key(self) -> str:
        """See `PartSource.key`."""
        op = op_of("psad_repri", self.spec, self.context, **vars(self.how), n_classes=self.n_classes)
        return op.key(*self.support.images.keys(), *map(array_digest, self.support.labels))

    @property
    def n_classes(self) -> int:
        """See `PartSource.n_classes`."""
        return len(self.support.classes)

    def labels(self, images: ImageSet) -> list[Labels]:
        """See `PartSource.labels`."""
        return stored(self.key, images, self.context, self._computed)

    def _computed(self, images: ImageSet) -> list[Labels]:
        return [self._of(query) for query in dense(images, self.spec, self.context)]

    def _of(self, query: Tensor) -> Labels:
        found = adapted(self.pixels, query.flatten(1).T, self.how)
        size, temperature = self.spec.geometry.shape, self.how.repri_temperature
        return label_map(found, self.pixels, query, size, temperature)

    @property
    def pixels(self) -> Labelled:
        """The labelled pixels, the same for all images."""
        if self._pixels is None:
            maps = list(dense(self.support.images, self.spec, self.context))
            self._pixels = labelled_pixels(maps, self.support.labels, self.n_classes)
        return self._pixels

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}


def source(given: Given, support: SupportSpec, spec: RepriSpec) -> tuple[RepriParts, tuple[str, ...]]:
    """RePRI on the encoder's two deeper blocks, and the names of its classes.

    Raises:
        ConfigError, WeightsError, DataError, NeedNotMet: see `supports`.
    """
    known = supports(given, support)
    return RepriParts(deep(given.encoder), spec, known, given.context), known.classes

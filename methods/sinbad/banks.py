"""What the normal images' sets look like, crop by crop, and how far another image's are from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from methods.sinbad.crops import PIXELS, CropSpec, Readings, drawn_directions
from methods.sinbad.sets import Values, descriptor, thresholds
from methods.sinbad.whitening import Whiten, Whitened

PER_PIXEL_SET = 10  # directions
PIXEL_SHRINKAGE = 1.0
Distances = Mapping[str, NDArray[np.float64]]


@final
@dataclass(frozen=True)
class SetSpec:
    """How sets are compared.

    Attributes:
        crops: what is kept of an image.
        shrinkage: of the covariance of descriptors of feature maps.
        whiten: see `whitening`.
        crop_mean: how the distances of the crops of one size become one: "plain", or "cubic" as in the public
            code, which lays them out as a picture and enlarges it to that of the smallest crops first.
        repetitions: how many pixel sets, each with directions of its own; 0 for none.
    """

    crops: CropSpec
    shrinkage: float
    whiten: Whiten
    crop_mean: Literal["cubic", "plain"]
    repetitions: int


@final
@dataclass(frozen=True)
class Bank:
    """Normal images.

    Attributes:
        spec: how they are compared.
        limits: layer -> thresholds of every crop; PIXELS -> of every repetition.
        normal: likewise, their whitened descriptors.
    """

    spec: SetSpec
    limits: Mapping[str, Sequence[NDArray[np.float32]]]
    normal: Mapping[str, Sequence[Whitened]]

    @classmethod
    def of(cls, images: Sequence[Readings], spec: SetSpec) -> "Bank":
        """The bank of one or more normal images; nothing is learned from any other."""
        limits: dict[str, list[NDArray[np.float32]]] = {}
        normal: dict[str, list[Whitened]] = {}
        for name in images[0]:
            limits[name], normal[name] = [], []
            shrinkage = PIXEL_SHRINKAGE if name == PIXELS else spec.shrinkage
            for place in range(places(name, images[0], spec)):
                values = np.stack([_set(each, name, place, spec) for each in images])
                limits[name].append(thresholds(values))
                vectors = np.stack([descriptor(each, limits[name][-1]) for each in values])
                normal[name].append(Whitened.of(vectors, shrinkage, spec.whiten))
        return cls(spec, limits, normal)

    def distances(self, image: Readings) -> Distances:
        """Layer -> squared distances, one per size of crops; PIXELS -> one per repetition."""
        every = {
            name: np.array([self._distance(image, name, i) for i in range(len(self.limits[name]))])
            for name in self.limits
        }
        return {name: each if name == PIXELS else self._per_ratio(each) for name, each in every.items()}

    def _distance(self, image: Readings, name: str, place: int) -> float:
        vector = descriptor(_set(image, name, place, self.spec), self.limits[name][place])
        return self.normal[name][place].nearest(vector)

    def _per_ratio(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        numbers = [len(self.spec.crops.boxes(ratio)) for ratio in self.spec.crops.ratios]
        parts = np.split(distances, np.cumsum(numbers)[:-1])
        side = round(max(numbers) ** 0.5)
        return np.array([part @ _weights(len(part), side, self.spec.crop_mean) for part in parts])


def places(name: str, image: Readings, spec: SetSpec) -> int:
    """How many sets of one name an image has: crops, or repetitions."""
    return spec.repetitions if name == PIXELS else len(image[name])


def _set(image: Readings, name: str, place: int, spec: SetSpec) -> Values:
    """(directions, elements)."""
    if name != PIXELS:
        return image[name][place]
    pixels = image[name].reshape(-1, 3).T.astype(np.float32) / 255
    return drawn_directions(spec.crops.seed, name, place, PER_PIXEL_SET, 3) @ pixels


def _weights(number: int, side: int, crop_mean: str) -> NDArray[np.float64]:
    """What each crop of one size counts in the mean; crops lie on a square."""
    if crop_mean == "plain":
        return np.full(number, 1 / number)
    import torch
    from torch.nn import functional as F

    own = round(number**0.5)
    each = torch.eye(number, dtype=torch.float64).view(number, 1, own, own)
    return F.interpolate(each, (side, side), mode="bicubic").mean(dim=(1, 2, 3)).numpy()

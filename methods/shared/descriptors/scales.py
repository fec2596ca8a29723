"""Maps of several fields and kinds on one scale: mean 0 and deviation 1 over normal images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from harness.method import Scores
from methods.shared.pixels import RGB

Maps = Mapping[str, NDArray[np.float32]]
Scales = Mapping[str, tuple[float, float]]


def scales(maps: Sequence[Maps]) -> Scales:
    """Kind -> mean and deviation over all pixels of some images, in float64.

    A deviation of 0 counts as 1: a single student has no variance.
    """
    found = {}
    for kind in maps[0]:
        mean = float(np.mean([m[kind].mean(dtype=np.float64) for m in maps]))
        squares = np.mean([np.square(m[kind] - mean, dtype=np.float64).mean() for m in maps])
        found[kind] = (mean, float(np.sqrt(squares)) or 1.0)
    return found


def fused(fields: Sequence[Maps], of: Sequence[Scales]) -> dict[str, NDArray[np.float32]]:
    """Kind -> mean over fields of its standardised maps of one image."""
    pairs = list(zip(fields, of, strict=True))
    return {
        kind: np.mean(np.stack([(m[kind] - s[kind][0]) / s[kind][1] for m, s in pairs]), axis=0)
        for kind in fields[0]
    }


class Field(Protocol):
    """What has learned one field of view."""

    def maps(self, image: RGB) -> Maps:
        """Kind -> what it says of every pixel of an image, (side, side)."""
        ...


@final
@dataclass(frozen=True)
class Fields:
    """All fields of view, and the scales of their maps.

    Attributes:
        fields: trained.
        of: the scales of each.
    """

    fields: Sequence[Field]
    of: Sequence[Scales]

    @staticmethod
    def scaled(fields: Sequence[Field], normal: Sequence[RGB]) -> "Fields":
        """With the scales of normal images."""
        return Fields(fields, [scales([field.maps(image) for image in normal]) for field in fields])

    def scores(self, images: Sequence[RGB]) -> Scores:
        """The largest value of the sum of all kinds of maps; of each kind as a part; the sums as maps."""
        found = [fused([field.maps(image) for field in self.fields], self.of) for image in images]
        maps = np.stack([np.sum(list(each.values()), axis=0) for each in found])
        parts = {kind: np.array([each[kind].max() for each in found], np.float64) for kind in found[0]}
        return Scores(maps.max(axis=(1, 2)).astype(np.float64), parts, maps)

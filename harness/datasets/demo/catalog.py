"""What a demo category is, and what drawing one image of it yields."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Region = tuple[str, Mask]


@dataclass(frozen=True)
class Scene:
    """One drawn image with everything that is known about it.

    Attributes:
        image: (h, w, 3) uint8, sRGB.
        parts: (h, w) uint8, index into the category's part names, 0 = background.
        regions: one (defect name, mask (h, w) bool) per anomalous region; empty for a good image.
        subtype: product type, or None in categories that have only one.
    """

    image: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    regions: list[Region]
    subtype: str | None = None


@dataclass(frozen=True)
class Defect:
    """A defect type.

    Attributes:
        name: as in `defects_config.json`.
        kind: `logical` or `structural`.
        area: saturation area in square units (shorter image side = 1); None: the whole region counts.
        subtype: the product type in which the defect occurs; None: in all.
    """

    name: str
    kind: str
    area: float | None = None
    subtype: str | None = None


Draw = Callable[[np.random.Generator, int, frozenset[str], str | None], Scene]


@dataclass(frozen=True)
class Category:
    """A demo category.

    Attributes:
        name: folder name, as in MVTec LOCO.
        aspect: width / height.
        parts: class names in index order, `parts[0]` is the background.
        defects: defect types; pixel values count down from 255 in this order.
        draw: draws one image from a random generator, a size, the wanted defects and the product type.
        about: a sentence for the readme.
        subtypes: product types.
        pairs: defects that may be asked for together in one image.
    """

    name: str
    aspect: float
    parts: tuple[str, ...]
    defects: tuple[Defect, ...]
    draw: Draw
    about: str
    subtypes: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()

    def of_kind(self, kind: str) -> list[str]:
        """Names of the logical or of the structural defects, in order."""
        return [d.name for d in self.defects if d.kind == kind]

    def pixel_values(self) -> dict[str, int]:
        """Pixel value of each defect type in the ground-truth masks."""
        return {defect.name: 255 - i for i, defect in enumerate(self.defects)}


def wants(defects: frozenset[str], *names: str) -> str | None:
    """The first of `names` that is among the wanted defects."""
    return next((name for name in names if name in defects), None)

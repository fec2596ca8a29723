"""How PSAD saw an image: its parts, their sizes beside those of the nearest normal image, its scores."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.data import ImageSet
from harness.views import Bars, Heat, Parts, Reference, View
from methods.psad.banks import Floats, histogram
from methods.psad.canvas import Canvas
from methods.psad.memory import Memory
from methods.psad.scaling import AdaptiveScaling

Scaling = Mapping[str, AdaptiveScaling]
TITLES = {"hist": "histogram", "comp": "composition", "patch": "patches"}


def pictures(
    images: ImageSet, canvas: Canvas, memory: Memory, scaling: Scaling, classes: Sequence[str]
) -> list[tuple[View, ...]]:
    """The views of every image.

    Args:
        images: a few of them; their maps are held together.
        canvas: on which the method sees them.
        memory: of the fitted method.
        scaling: of its banks.
        classes: names of the parts.
    """
    seen = canvas.framed(images, memory.parts.context.artifacts)
    found, labels = memory.evidence(seen), memory.parts.labels(seen)
    maps = None if found.maps is None else canvas.whole_maps(found.maps, images)
    whole = canvas.whole_labels(labels, images)
    scaled, order = found.scaled(scaling), found.nearest(scaling)
    nearest = memory.parts.labels(memory.images.subset(order))
    return [
        (
            Parts("parts", whole[i], tuple(classes)),
            *([] if maps is None else [Heat("distance to normal patches", maps[i])]),
            _scores({name: s[i] for name, s in scaled.items()}, scaling),
            _sizes(labels[i], nearest[i], classes),
            Reference("nearest normal image", memory.images.ids[order[i]]),
        )
        for i in range(len(images))
    ]


def _scores(scaled: Mapping[str, float], scaling: Scaling) -> Bars:
    names = tuple(f"{TITLES[name]} (÷ {scaling[name].scale:.3g})" for name in scaled)
    return Bars("scores", names, {"scaled": np.array([*scaled.values()])})


def _sizes(labels: NDArray[np.uint8], nearest: NDArray[np.uint8], classes: Sequence[str]) -> Bars:
    own, other = (_parts_of(m, len(classes)) for m in (labels, nearest))
    return Bars("part of the image", tuple(classes), {"this image": own, "nearest normal image": other})


def _parts_of(labels: NDArray[np.uint8], n_classes: int) -> Floats:
    return histogram(labels, n_classes, background=True) / labels.size

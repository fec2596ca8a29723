"""What a method can show of one image besides its anomaly map: maps, parts, bars, other images.

A method may have `explain(images) -> list[tuple[View, ...]]`, one tuple per image. Views are data;
`harness.show` and the reports draw them, and `harness.results.views` keeps them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray


@final
@dataclass(frozen=True, eq=False)
class Heat:
    """A scalar map over the image.

    Attributes:
        title: what it is.
        values: finite (h, w), of any resolution; higher = more anomalous.
    """

    title: str
    values: NDArray[np.floating[Any]]


@final
@dataclass(frozen=True, eq=False)
class Parts:
    """A division of the image into named parts.

    Attributes:
        title: what it is.
        labels: (h, w), of any resolution, values in 0..len(names) - 1.
        names: of the labels; 0 is the background.
    """

    title: str
    labels: NDArray[np.integer[Any]]
    names: tuple[str, ...]


@final
@dataclass(frozen=True, eq=False)
class Bars:
    """Named numbers side by side.

    Attributes:
        title: what they are.
        names: one per bar.
        series: name -> values (len(names),); "this image" beside what it is compared with.
    """

    title: str
    names: tuple[str, ...]
    series: Mapping[str, NDArray[np.floating[Any]]]


@final
@dataclass(frozen=True)
class Reference:
    """Another image of the category.

    Attributes:
        title: why it is shown ("nearest support image").
        image: its id.
    """

    title: str
    image: str


View = Heat | Parts | Bars | Reference

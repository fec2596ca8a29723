"""Drawing the views of an image (`harness.views`) into one PNG."""

from collections.abc import Callable, Sequence
from colorsys import hls_to_rgb
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.views import Bars, Heat, Parts, Reference, View

Pixels = NDArray[np.uint8]
PANEL = 3.0  # inches
PER_ROW = 4


def draw(
    image: Pixels, caption: str, views: Sequence[View], other: Callable[[str], Pixels], out: Path
) -> None:
    """Write a picture of an image and its views, side by side.

    Args:
        image: uint8 (h, w, 3).
        caption: printed above.
        views: what to show of it.
        other: id of another image of the category -> its pixels.
        out: a file whose suffix matplotlib knows (.png, .pdf, .svg).

    Raises:
        DataError: it cannot be written.
    """
    from matplotlib.figure import Figure

    count = len(views) + 1
    columns = min(PER_ROW, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(PANEL * columns, PANEL * rows + 0.3), layout="constrained")
    figure.suptitle(caption, fontsize=9)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    _photo(axes[0], "image", image)
    for ax, view in zip(axes[1:], views, strict=True):
        _draw(ax, view, image, other)
    try:
        figure.savefig(out, dpi=110)
    except (OSError, ValueError) as error:
        raise DataError(f"{out}: cannot be written ({error})") from error


def _draw(ax: Any, view: View, image: Pixels, other: Callable[[str], Pixels]) -> None:
    match view:
        case Heat():
            _photo(ax, view.title, image)
            ax.imshow(
                view.values, cmap="inferno", alpha=0.65, extent=_extent(image), interpolation="bilinear"
            )
        case Parts():
            _photo(ax, view.title, image)
            _parts(ax, view, image)
        case Bars():
            _bars(ax, view)
        case Reference():
            _photo(ax, f"{view.title}\n{view.image}", other(view.image))


def _photo(ax: Any, title: str, image: Pixels) -> None:
    ax.imshow(image)
    ax.set_title(title, fontsize=8)
    ax.set_axis_off()


def _parts(ax: Any, view: Parts, image: Pixels) -> None:
    present = [int(i) for i in np.unique(view.labels)]
    colours = np.array([part_colour(i) for i in range(max(present) + 1)], np.uint8)
    opacity = np.where(view.labels > 0, 0.6, 0.25)[..., None] * 255
    shown = np.concatenate([colours[view.labels], opacity.astype(np.uint8)], axis=2)
    ax.imshow(shown, extent=_extent(image), interpolation="nearest")
    for i in present:
        ax.plot([], [], "s", color=colours[i] / 255, label=view.names[i])
    ax.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False)


def _bars(ax: Any, view: Bars) -> None:
    width = 0.8 / max(len(view.series), 1)
    at = np.arange(len(view.names))
    for i, (name, values) in enumerate(view.series.items()):
        ax.barh(at + i * width, values, width, label=name)
    ax.set_yticks(at + 0.4 - width / 2, view.names, fontsize=6)
    ax.tick_params(axis="x", labelsize=6)
    ax.invert_yaxis()
    ax.set_title(view.title, fontsize=8)
    ax.legend(fontsize=6)


def _extent(image: Pixels) -> tuple[float, float, float, float]:
    height, width = image.shape[:2]
    return -0.5, width - 0.5, height - 0.5, -0.5


def part_colour(label: int) -> tuple[int, int, int]:
    """The colour of a part label: neighbours differ in hue and lightness; 0 is a dark grey."""
    if label == 0:
        return 60, 60, 60
    red, green, blue = hls_to_rgb((0.02 + 0.618034 * label) % 1, (0.48, 0.66, 0.74)[label % 3], 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)

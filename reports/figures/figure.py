"""What a figure is, before it has a format: panels of curves and histograms, with notes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, final


@final
@dataclass(frozen=True)
class Curve:
    """Points, joined or not.

    Attributes:
        label: its name in the legend, which curves of several panels may share.
        x, y: its points; of "steps", x has one more: the ends of the steps.
        spread: half the height of the band around each point; empty for none.
        open: which points are not of all planned seeds; empty for none.
        kind: how they are drawn.
        published: numbers of a paper, which are drawn apart from ours.
        like: label of the curve whose colour it has; "" for its own.
        best: index of the best point, if that is to be shown.
        names: what is written beside each point; empty for nothing.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    spread: tuple[float, ...] = ()
    open: tuple[bool, ...] = ()
    kind: Literal["line", "points", "steps"] = "line"
    published: bool = False
    like: str = ""
    best: int | None = None
    names: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Histogram:
    """How many images have a score between two edges.

    Attributes:
        label: its name in the legend.
        edges: of the bins.
        shares: of the images in each bin; their sum is 1.
    """

    label: str
    edges: tuple[float, ...]
    shares: tuple[float, ...]


@final
@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    series: tuple[Curve | Histogram, ...]
    x_label: str = ""


@final
@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        key: its file name.
        title: one line.
        x_label, y_label: what the axes of all panels show.
        panels: row by row.
        columns: panels in a row.
        notes: what has to be said of it; printed in the figure itself.
        log_x: the horizontal axis is logarithmic.
        ticks: position -> name, where the horizontal axis holds names.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    panels: tuple[Panel, ...]
    columns: int
    notes: tuple[str, ...] = ()
    log_x: bool = False
    ticks: Mapping[float, str] = field(default_factory=dict)


def mark_notes(marked: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """What numbers are marked as, and which: "Marked demo weights: winclip."; without names, all of them.

    Args:
        marked: name and marks of everything that the figure shows.
    """
    pairs = list(dict.fromkeys(marked))
    every = [name for name, _ in pairs]
    found = []
    for mark in dict.fromkeys(m for _, marks in pairs for m in marks):
        names = [name for name, marks in pairs if mark in marks]
        whole = set(names) == set(every)
        found.append(f"Marked {mark}" + ("." if whole else f": {', '.join(_methods(names, every))}."))
    return tuple(found)


def _methods(names: Sequence[str], every: Sequence[str]) -> list[str]:
    """Names without their settings wherever all settings of the method are among them."""
    others = {name.partition("[")[0] for name in set(every) - set(names)}
    short = ((name.partition("[")[0], name) for name in names)
    return list(dict.fromkeys(name if method in others else method for method, name in short))

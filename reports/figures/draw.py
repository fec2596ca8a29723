"""Figures as files: PDF and SVG for papers and pages, PNG for everything else."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.figures.figure import Curve, Figure, Histogram, Panel

FORMATS = ("pdf", "svg", "png")
# Okabe and Ito's colours, which the colour-blind can tell apart; markers differ as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A3D9A", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_STYLE: Any = {"font.size": 8, "axes.titlesize": 8, "legend.fontsize": 7, "svg.hashsalt": "ladder"}
_LINE = 0.13  # height of a line of notes, in inches
_ENTRY = 0.17  # of a row of the legend
_PER_INCH = 19  # characters of a note

Look = Mapping[str, tuple[str, str]]  # label -> colour, marker


def draw(figure: Figure, folder: Path) -> list[Path]:
    """Write a figure in every format; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        canvas = _canvas(figure)
        return [_write(canvas, folder / f"{_file(figure.key)}.{suffix}") for suffix in FORMATS]


def _file(key: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in key)


def _write(canvas: Canvas, path: Path) -> Path:
    dates = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}  # the same bytes for the same figure
    canvas.savefig(path, dpi=150, metadata=dates.get(path.suffix))
    return path


def _canvas(figure: Figure) -> Canvas:
    rows = -(-len(figure.panels) // figure.columns)
    width = max(1.9 * figure.columns + 0.6, 5.5)
    notes = [line for note in figure.notes for line in textwrap.wrap(note, round(_PER_INCH * width))]
    look, legend = _look(figure.panels), _legend(figure.panels, width)
    entries = -(-len(legend["handles"]) // legend["ncols"])
    heights = [2.7 if rows == 1 else 1.75 * rows + 0.6, 0.1 + _LINE * len(notes) + _ENTRY * entries]
    canvas = Canvas(figsize=(width, sum(heights)), layout="constrained")
    halves: Any = canvas.subfigures(2, 1, height_ratios=heights)
    above, below = halves
    every = list(above.subplots(rows, figure.columns, squeeze=False).flat)
    for axes, panel in zip(every, figure.panels, strict=False):
        _panel(axes, figure, panel, look)
    for axes in every[len(figure.panels) :]:
        axes.set_axis_off()
    above.suptitle(_plain(figure.title), fontsize=9)
    above.supylabel(figure.y_label, fontsize=8)
    above.supxlabel(figure.x_label, fontsize=8)
    below.legend(loc="upper center", **legend)
    below.text(0.01, 0.02, _plain("\n".join(notes)), fontsize=6.5, color="0.25", va="bottom")
    canvas.draw_without_rendering()
    canvas.set_layout_engine("none")  # done; once is enough for all formats
    return canvas


def _plain(text: str) -> str:
    """Without what matplotlib takes for mathematics."""
    return text.replace("$", r"\$")


def _look(panels: tuple[Panel, ...]) -> Look:
    """Colour and marker of every label that has its own."""
    own = [s.label for p in panels for s in p.series if not (isinstance(s, Curve) and s.like)]
    n = len(COLOURS)
    return {label: (COLOURS[i % n], MARKERS[(i + i // n) % n]) for i, label in enumerate(dict.fromkeys(own))}


def _legend(panels: tuple[Panel, ...], width: float) -> dict[str, Any]:
    look, handles = _look(panels), {}
    for series in (s for p in panels for s in p.series):
        if isinstance(series, Histogram):
            handles[series.label] = Patch(color=look[series.label][0], alpha=0.5, label=_plain(series.label))
        else:
            style = _curve_style(series, look) | {"label": _plain(series.label)}
            handles[series.label] = Line2D([], [], **style)
    longest = max(map(len, handles), default=1)
    columns = max(1, min(len(handles), round(_PER_INCH * width / (longest + 12))))
    return {"handles": list(handles.values()), "ncols": columns, "frameon": False, "borderpad": 0}


def _curve_style(curve: Curve, look: Look) -> Any:
    colour, marker = look.get(curve.like or curve.label, (COLOURS[-1], "o"))
    if curve.published:
        return {"color": colour, "marker": marker, "ls": ":", "lw": 1, "ms": 5, "mfc": "white"}
    joined = {"line": "-", "steps": "-", "points": "none"}[curve.kind]
    dots = "none" if curve.kind == "steps" else marker
    return {"color": colour, "marker": dots, "ls": joined, "lw": 1.2, "ms": 3.5}


def _panel(axes: Axes, figure: Figure, panel: Panel, look: Look) -> None:
    for series in panel.series:
        if isinstance(series, Histogram):
            axes.stairs(series.shares, series.edges, fill=True, alpha=0.5, color=look[series.label][0])
        else:
            _curve(axes, series, look)
    axes.set_title(_plain(panel.title))
    axes.set_xlabel(panel.x_label)
    axes.grid(alpha=0.25, lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    if figure.log_x and _decades(panel):
        axes.set_xscale("log")
    if figure.ticks:
        axes.set_xticks(list(figure.ticks), list(figure.ticks.values()))
    if not panel.series:
        axes.text(0.5, 0.5, "nothing yet", transform=axes.transAxes, ha="center", color="0.5")


def _decades(panel: Panel) -> bool:
    """Whether a logarithmic axis would have ticks enough."""
    x = [v for series in panel.series if isinstance(series, Curve) for v in series.x]
    return bool(x) and max(x) > 10 * min(x)


def _curve(axes: Axes, curve: Curve, look: Look) -> None:
    style = _curve_style(curve, look)
    if curve.kind == "steps":
        axes.stairs(curve.y, curve.x, baseline=None, color=style["color"], lw=style["lw"])
        return
    axes.plot(curve.x, curve.y, **style)
    if curve.spread:
        low, high = ([y + sign * s for y, s in zip(curve.y, curve.spread, strict=True)] for sign in (-1, 1))
        axes.fill_between(
            curve.x, low, high, color=style["color"], alpha=0.06 if curve.published else 0.15, lw=0
        )
    _points(axes, curve, style)


def _points(axes: Axes, curve: Curve, style: Any) -> None:
    """What is special about single points."""
    for x, y, missing in zip(curve.x, curve.y, curve.open, strict=False):
        if missing:
            axes.plot([x], [y], **style | {"mfc": "white"})
    if curve.best is not None:
        at = [curve.x[curve.best]], [curve.y[curve.best]]
        axes.plot(*at, marker="o", ms=9, mfc="none", mec=style["color"], mew=0.8)
    for x, y, name in zip(curve.x, curve.y, curve.names, strict=False):
        axes.annotate(name, (x, y), (3, 3), textcoords="offset points", fontsize=5.5, color="0.35")

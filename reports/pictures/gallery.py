"""Pictures of test images with their anomaly maps, where a run kept maps and its data set can be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from harness.data import Sample, Split, decode
from harness.data.decoding import AS_STORED
from harness.data.index import decode_mask
from harness.data.masks import mask_pixels
from harness.data.samples import GOOD, UNLABELLED
from harness.errors import HarnessError
from harness.inspection.drawing import part_colour
from harness.results.views import read_views
from harness.views import View
from reports.frame.load import Frame
from reports.frame.naming import shots_title, words
from reports.pictures.details import Detail, details
from reports.pictures.shown import (
    ORDER,
    ROWS,
    Shown,
    choose,
    disagreements,
    maps_of,
    read_split,
    shown_trial,
    trials_with_maps,
)
from reports.pictures.thumbnails import (
    Limits,
    Mask,
    Pixels,
    data_uri,
    small_mask,
    thumbnail,
    with_heat,
    with_mask,
    with_outline,
    with_parts,
)
from reports.tables.table import significant

LIMIT = 3_000_000  # characters of pictures on a page
MANY = 3000  # trials whose tables leave room for half of that on a page of 5 MB
PER_PICTURE = 10_000  # characters that a picture takes at most, as a rule
METHODS = 6  # at most so many in a category: the best


@final
@dataclass(frozen=True)
class Picture:
    """A cell: a data URI ("" for no picture), its words for those who cannot see it, and what is below it.

    Attributes:
        share: of the other good images that the method puts below this one; None where it is not a method's.
    """

    uri: str
    alt: str
    score: str = ""
    rank: str = ""
    share: float | None = None
    details: tuple[Detail, ...] = ()


@final
@dataclass(frozen=True)
class Row:
    """One test image: why it is shown, its category and file, label, defect types, and its pictures."""

    kind: str
    category: str
    file: str
    label: str
    defects: str
    cells: tuple[Picture, ...]

    @property
    def place(self) -> str:
        """What it is called where categories are together."""
        return f"{self.category}/{self.file}"


@final
@dataclass(frozen=True)
class Panel:
    """The pictures of one category.

    Attributes:
        key: anchor.
        title: the category.
        dataset: its data set.
        caption: who chose the images, and what has to be said of them.
        columns: headings, each with a second line.
        rows: one per image.
        legend: names of parts with their colours as `#rrggbb`.
    """

    key: str
    title: str
    dataset: str
    caption: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    legend: tuple[tuple[str, str], ...]

    @property
    def weight(self) -> int:
        """Characters of its pictures."""
        cells = [cell for row in self.rows for cell in row.cells]
        return sum(len(one.uri) for cell in cells for one in (cell, *cell.details))

    def without_details(self) -> "Panel":
        """The same, lighter."""
        bare = [replace(row, cells=tuple(replace(c, details=()) for c in row.cells)) for row in self.rows]
        return replace(self, rows=tuple(bare))


@final
@dataclass(frozen=True)
class Gallery:
    """All pictures, and sentences on what is left out."""

    panels: tuple[Panel, ...] = ()
    notes: tuple[str, ...] = ()


class _Column(NamedTuple):
    """A trial, its maps (n, h, w) of the shown images, the ends of their colour scale, and its views."""

    trial: Shown
    maps: NDArray[np.float32]
    limits: Limits
    views: Mapping[str, tuple[View, ...]]


def gallery(frame: Frame) -> Gallery:
    """Pictures of every category with kept maps, as many as a page should hold.

    Of each method and category the trial with the most shots, among these the one of the lowest seed.
    Reads maps, scores, and the data set as the sweep file names it; a category that cannot be read is
    left out with a note.
    """
    limit = LIMIT if len(frame.trials) <= MANY else LIMIT // 2
    groups = [trials for _, trials in trials_with_maps(frame).groupby(["dataset", "category"], sort=False)]
    columns = sum(3 + min(METHODS, len(trials)) for trials in groups)
    kinds = ROWS if columns * len(ROWS) * PER_PICTURE <= limit else ORDER
    panels: list[Panel] = []
    left_out: dict[str, list[str]] = {}
    for number, trials in enumerate(groups):
        made = _panel_or_reason(frame, trials, kinds, f"pictures-{number + 1}")
        room = limit - sum(panel.weight for panel in panels)
        if isinstance(made, Panel) and made.weight > room / (len(groups) - number):
            made = made.without_details()
        if isinstance(made, Panel) and made.weight <= room:
            panels.append(made)
        else:
            reason = f"more than {limit / 1e6:g} MB" if isinstance(made, Panel) else made
            left_out.setdefault(reason, []).append(words(str(trials["category"].iloc[0])))
    return Gallery(tuple(panels), tuple(f"No pictures of {', '.join(c)}: {r}." for r, c in left_out.items()))


def _panel_or_reason(frame: Frame, trials: pd.DataFrame, kinds: Sequence[str], key: str) -> Panel | str:
    try:
        return _panel(frame, trials, kinds, key)
    except (HarnessError, OSError, pa.ArrowException) as error:
        return " ".join(str(error).split())


def _panel(frame: Frame, trials: pd.DataFrame, kinds: Sequence[str], key: str) -> Panel:
    """The pictures of a category."""
    row = trials.iloc[0]
    split = read_split(frame.sources[row["run"]], row["category"], row["fingerprint"])
    shown = [shown_trial(frame, r) for _, r in trials.iterrows()]
    ranked = sorted(shown, key=lambda s: -(s.auroc or 0))
    samples = {sample.id: sample for sample in split.test}
    picked = choose(ranked[0].scores, kinds)
    picked += [pick for pick in disagreements(*ranked[:2]) if pick[1] not in {image for _, image in picked}]
    chosen = [(kind, samples[image]) for kind, image in picked]
    images = [sample for _, sample in chosen]
    columns = [_column(s, images) for s in sorted(ranked[:METHODS], key=shown.index)]
    parts = any(sample.id in split.part_masks for sample in images)
    rows = tuple(_row(kind, k, s, split, parts, columns) for k, (kind, s) in enumerate(chosen))
    title = words(split.category)
    if frame.trials["dataset"].nunique() > 1:
        title += f" · {row['dataset']}"
    headings, legend = _headings(columns, parts, split), _legend(split, images)
    return Panel(key, title, str(row["dataset"]), _caption(ranked, split), headings, rows, legend)


def _column(trial: Shown, images: Sequence[Sample]) -> _Column:
    maps = maps_of(trial, images)
    low, high = np.nanquantile(maps, [0.5, 0.998])
    views = read_views(trial.run, trial.row["trial_id"]) or {}
    return _Column(trial, maps, (float(low), float(high)), views)


def _row(kind: str, k: int, sample: Sample, split: Split, parts: bool, columns: Sequence[_Column]) -> Row:
    picture = thumbnail(decode(sample.path, sample.rule))
    mask = _mask(sample, picture)
    cells = [Picture(data_uri(picture), f"{sample.id}, {sample.label}"), _truth(sample, picture, mask)]
    cells += [_parts(sample, picture, split)] if parts else []
    samples = {s.id: s for s in (*split.train, *split.validation, *split.test)}
    for column in columns:
        drawn = with_outline(with_heat(picture, column.maps[k], column.limits), mask)
        scored = _scored(sample, column.trial, data_uri(drawn))
        cells.append(replace(scored, details=details(column.views.get(sample.id, ()), picture, samples)))
    defects = ", ".join(words(d) for d in sample.defects)
    return Row(kind, split.category, sample.id, words(sample.label), defects, tuple(cells))


def _mask(sample: Sample, picture: Pixels) -> Mask:
    mask = np.zeros(picture.shape[:2], bool)
    for number in range(len(sample.masks)):
        mask |= small_mask(mask_pixels(sample, number) > 0, picture)
    return mask


def _truth(sample: Sample, picture: Pixels, mask: Mask) -> Picture:
    if not sample.masks:
        return Picture("", {GOOD: "nothing to find", UNLABELLED: "not known"}.get(sample.label, "no mask"))
    return Picture(data_uri(with_mask(picture, mask)), f"anomalous region of {sample.id}")


def _parts(sample: Sample, picture: Pixels, split: Split) -> Picture:
    if sample.id not in split.part_masks:
        return Picture("", "not known")
    labels = decode_mask(split.part_masks[sample.id], AS_STORED)
    return Picture(data_uri(with_parts(picture, labels)), f"parts of {sample.id}")


def _scored(sample: Sample, trial: Shown, uri: str) -> Picture:
    score = float(trial.scores["score"].get(sample.id, np.nan))
    good = trial.scores.loc[trial.scores["label"] == GOOD, "score"].drop(sample.id, errors="ignore")
    others = "others" if sample.label == GOOD else "good"
    rank = f"above {int((good < score).sum())}/{len(good)} {others}" if len(good) else ""
    share = float((good < score).mean()) if len(good) else None
    told = f"anomaly map of {trial.row['variant']}, score {score:.3g}"
    return Picture(uri, told, _number(score), rank, share)


def _number(score: float) -> str:
    return significant(score) if 1e-3 <= abs(score) < 1e5 else f"{score:.3g}"


def _headings(columns: Sequence[_Column], parts: bool, split: Split) -> tuple[tuple[str, str], ...]:
    fixed = [("Image", ""), ("Ground truth", ""), ("Parts", "of the data set")][: 3 if parts else 2]
    trials = [c.trial.row for c in columns]
    return (*fixed, *((str(t["variant"]), _second_line(t, split)) for t in trials))


def _second_line(trial: pd.Series, split: Split) -> str:
    return ", ".join([shots_title(int(trial["shots"])), *(m for m in trial["marks"] if m not in split.marks)])


def _caption(ranked: Sequence[Shown], split: Split) -> str:
    """Who chose the images, who is not shown, and the marks of the data set."""
    best, rest = ranked[0], [str(s.row["variant"]) for s in ranked[METHODS:]]
    value = "" if best.auroc is None else f", AUROC {100 * best.auroc:.1f}"
    told = [f"Highest and lowest by the scores of {best.row['variant']}{value}"]
    told += [f"Not shown, with a lower AUROC: {', '.join(rest)}"] if rest else []
    told += [", ".join(split.marks).capitalize()] if split.marks else []
    return ". ".join(told) + "."


def _legend(split: Split, images: Sequence[Sample]) -> tuple[tuple[str, str], ...]:
    """The parts in those images and their colours."""
    files = [split.part_masks[s.id] for s in images if s.id in split.part_masks]
    seen = sorted({int(v) for file in files for v in np.unique(decode_mask(file, AS_STORED)) if v})
    names = dict(enumerate(split.part_classes))
    return tuple((words(names.get(v, str(v))), "#{:02x}{:02x}{:02x}".format(*part_colour(v))) for v in seen)

"""A report: the state of its runs and its tables in sections."""

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

from reports.frame import protocols
from reports.frame.load import MISSING, Frame
from reports.frame.undefined import undefined_notes
from reports.numbers import numbers
from reports.page import page_data
from reports.page.headline import Headline, headline
from reports.pages import SubPage, subpages
from reports.papers import paper_tables
from reports.pictures.gallery import Gallery, gallery
from reports.references import Reference, references
from reports.tables import make_tables
from reports.tables.table import Cell, Table


@final
@dataclass(frozen=True)
class State:
    """How far the runs are.

    Attributes:
        counts: status -> planned trials, `MISSING` among them.
        last: when the last trial ended, in words; "" if none has.
    """

    counts: Counter[str]
    last: str

    @property
    def planned(self) -> int:
        return self.counts.total()

    @property
    def ended(self) -> int:
        return self.planned - self.counts[MISSING]

    @property
    def ok(self) -> int:
        return self.counts["ok"]

    @property
    def skipped(self) -> int:
        return self.counts["skipped"]

    @property
    def not_ok(self) -> int:
        """Ended, neither ok nor skipped for a reason known beforehand."""
        return self.ended - self.ok - self.skipped

    @property
    def half_finished(self) -> bool:
        """Numbers may still change."""
        return self.ended < self.planned

    @property
    def headline(self) -> str:
        """One line for the top of every format."""
        if not self.planned:
            return "empty: no trial is planned"
        if self.half_finished:
            return f"half-finished: {self.ended} of {self.planned} trials" + self._without_numbers
        return f"finished: {self.planned} of {self.planned} trials" + self._without_numbers

    @property
    def _without_numbers(self) -> str:
        counts = {"not ok": self.not_ok, "skipped": self.skipped}
        return "".join(f", {n} {word}" for word, n in counts.items() if n)


@final
@dataclass(frozen=True)
class Section:
    """Tables under one heading.

    Attributes:
        key: anchor.
        title: heading.
        tables: what is in it.
        empty: what to say where there is no table.
        folded: formats that can fold show only the titles of its tables at first.
    """

    key: str
    title: str
    tables: tuple[Table, ...]
    empty: str
    folded: bool = False


@final
@dataclass(frozen=True)
class Report:
    """Everything that a format needs.

    Attributes:
        title: the names of the sweeps.
        state: how far they are.
        notes: what a reader has to know about how runs were put together.
        sections: the tables.
        pictures: for formats that can show them.
        figures: (title, data URI of an image), for the same.
        page: what a page can be searched for (`reports.page`); empty for none.
        watched: seconds after which a page looks for a newer one; 0 for never.
        headline: what a page begins with; None where nothing has been measured.
        subpages: pages beside it, of methods and categories.
        numbers: key -> cell (`reports.numbers`), for formats in which a text can name one.
        references: whose work it stands on, for the same.
        drawn: figures as such formats take them: PDF files, relative to the folder of the document.
    """

    title: str
    state: State
    notes: tuple[str, ...]
    sections: tuple[Section, ...]
    pictures: Gallery = field(default_factory=Gallery)
    figures: Sequence[tuple[str, str]] = ()
    page: Mapping[str, Any] = field(default_factory=dict)
    watched: int = 0
    headline: Headline | None = None
    subpages: tuple[SubPage, ...] = ()
    numbers: Mapping[str, Cell] = field(default_factory=dict)
    references: Sequence[Reference] = ()
    drawn: Sequence[str] = ()

    @property
    def tables(self) -> list[Table]:
        """All tables, in order."""
        return [table for section in self.sections for table in section.tables]

    @property
    def main(self) -> list[Table]:
        """What the terminal shows: the averages, or, while there are none, the last table by category."""
        results = next((s.tables for s in self.sections if s.key == "results"), ())
        moved = [t for t in self.tables if t.key.startswith("moved")]
        return moved or [t for t in results if t.key.startswith("overview")] or list(results[-1:])


# In order; `empty` "" leaves a section without tables out. Sections that tables name beyond these stand
# before the last, which is there to be looked up.
SECTIONS = (
    Section("leaderboard", "Leaderboard", (), "", folded=True),
    Section("results", "Results", (), "No trial is ok yet: no number to show."),
    Section("papers", "The papers’ tables", (), ""),
    Section("further", "Further metrics", (), "No other metric so far.", folded=True),
    Section("conditions", "By condition of the test images", (), "", folded=True),
    Section("differences", "What the differences are worth", (), ""),
    Section("coverage", "Coverage and failures", (), "No trial is planned."),
    Section("cost", "Cost", (), "No trial has ended yet."),
    Section("provenance", "Provenance", (), "No run."),
)


def with_page(
    report: Report, frame: Frame, *, pictures: bool = True, figures: Sequence[Path] = (), watched: int = 0
) -> Report:
    """The report with what only a page can show: pictures, figures, every trial and image.

    Args:
        report: of the frame.
        frame: the runs.
        pictures: whether images and anomaly maps are wanted.
        figures: their files; those in SVG are shown.
        watched: seconds after which the page looks for a newer one; 0 for never.
    """
    shown = gallery(frame) if pictures else Gallery()
    drawn = [(path.stem, _svg(path)) for path in figures if path.suffix == ".svg"]
    return replace(
        report,
        pictures=shown,
        figures=drawn,
        page=page_data(frame),
        watched=watched,
        headline=headline(frame, shown),
        subpages=subpages(frame, shown),
    )


def with_text(report: Report, frame: Frame, figures: Sequence[Path] = ()) -> Report:
    """The report with what only a document for people who write papers can use.

    Args:
        report: of the frame.
        frame: the runs.
        figures: files of figures, in a folder beside that of the document; those in PDF are shown.
    """
    drawn = [f"../{path.parent.name}/{path.name}" for path in figures if path.suffix == ".pdf"]
    return replace(report, numbers=numbers(frame), references=references(frame), drawn=drawn)


def _svg(path: Path) -> str:
    """As an image of its own, so that names inside it stay apart from those of others."""
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def build(frame: Frame, papers: Sequence[str] = ()) -> Report:
    """The report on a frame, with tables of papers (`reports.papers`)."""
    tables, notes = make_tables(frame, set(papers))
    sections = in_sections([*tables, *paper_tables(frame, papers)])
    title = ", ".join(dict.fromkeys(source.name for source in frame.sources))
    notes = (*protocols.notes(frame), *frame.notes, *undefined_notes(frame.metrics), *notes)
    return Report(title, state(frame), notes, sections)


def in_sections(tables: Sequence[Table]) -> tuple[Section, ...]:
    """Tables under the headings that they name, those of the report first."""
    by_section: dict[str, list[Table]] = {}
    for table in tables:
        by_section.setdefault(table.section, []).append(table)
    known = [replace(s, tables=tuple(by_section.pop(s.key, ()))) for s in SECTIONS]
    more = [Section(_anchor(title), title, tuple(some), "") for title, some in by_section.items()]
    return tuple(s for s in (*known[:-1], *more, known[-1]) if s.tables or s.empty)


def _anchor(title: str) -> str:
    """Of a section that a table names: apart from those that the page has by itself."""
    return "section-" + re.sub(r"\W+", "-", title).strip("-").lower()


def state(frame: Frame) -> State:
    """How far the runs of a frame are."""
    ended = frame.trials["finished_at"].dropna()
    last = f"{ended.max():%Y-%m-%d %H:%M} UTC" if len(ended) else ""
    return State(Counter(map(str, frame.trials["status"])), last)

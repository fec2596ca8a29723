"""What a table of a paper is, as data: rows, columns, contestants, and the protocol behind every number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, final

from reports.frame.cells import DDOF
from reports.frame.naming import FULL
from reports.papers.ledger import MEAN, Key, Published, numbers

LOCO = ("breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors")
JUICES = tuple(f"juice_bottle/{name}" for name in ("banana", "cherry", "orange"))
CABLES = tuple(f"splicing_connectors/{name}" for name in ("red", "blue", "yellow"))
NINE = ("breakfast_box", *JUICES, "pushpins", "screw_bag", *CABLES)

Values = Mapping[str, tuple[Any, ...]]  # parameter -> values that are meant, the preferred one first


@final
@dataclass(frozen=True)
class Line:
    """A row or a column of a paper's table.

    Attributes:
        label: as the paper prints it.
        at: fields of the ledger's key that it fixes.
        where: parameters of ours that it fixes.
        group: heading that it shares with its neighbours; "" for none.
    """

    label: str
    at: Mapping[str, str] = field(default_factory=dict)
    where: Values = field(default_factory=dict)
    group: str = ""


@final
@dataclass(frozen=True)
class Contestant:
    """A method of the paper and the one of ours that stands for it.

    Attributes:
        published: its name in the ledger.
        ours: the name of our method.
        settings: parameters of ours without which a trial belongs to another table.
        paper: parameters that the paper states; other values are not comparable with its numbers.
        oracle: parameter that the paper has chosen per category; "" for none.
    """

    published: str
    ours: str
    settings: Values = field(default_factory=dict)
    paper: Mapping[str, Any] = field(default_factory=dict)
    oracle: str = ""


@final
@dataclass(frozen=True)
class PaperTable:
    """One table of a paper.

    Attributes:
        key: its name on the command line and in file names.
        source, table: its place in the ledger.
        title: one line.
        protocol: how the numbers came about, in words: training images, test images, average, repeats.
        stub: heading of the row names.
        rows, columns: the lines of its body.
        contestants: its methods, by their name in the ledger.
        own: the method that the paper is about, by its name in the ledger.
        fixed: fields of the ledger's key that are the same in all cells.
        metric, limit: what is measured.
        categories: those that an average is over.
        shots: setting of the ledger -> numbers of shots that are averaged; `FULL` for all images.
        draw: rule by which the supports have to be drawn; "" for any that knows no sub-types.
        ddof: of the standard deviation of ours.
        config: the sweep file that makes it.
        also_apart: of the axes, those whose values are columns of their own besides.
        aside: parameters of ours that tell no columns apart.
        notes: what a reader of the published numbers has to know.
    """

    key: str
    source: str
    table: str
    title: str
    protocol: str
    stub: str
    rows: tuple[Line, ...]
    columns: tuple[Line, ...]
    contestants: tuple[Contestant, ...]
    own: str
    fixed: Mapping[str, str] = field(default_factory=dict)
    metric: str = "auroc"
    limit: float | None = None
    categories: tuple[str, ...] = LOCO
    shots: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: {"full": (FULL,)})
    draw: str = ""
    ddof: int = DDOF
    config: str = ""
    also_apart: frozenset[str] = frozenset()
    aside: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @cached_property
    def methods_are_rows(self) -> bool:
        """Methods stand below each other."""
        return any("method" in row.at for row in self.rows)

    @cached_property
    def axes(self) -> frozenset[str]:
        """Parameters of ours that are rows or columns of the table."""
        return frozenset(name for line in (*self.rows, *self.columns) for name in line.where)

    @cached_property
    def published(self) -> Mapping[tuple[str, str], Published]:
        """(row label in its group, column label) -> the printed cell."""
        cells = numbers(self.source, self.table)
        found = {}
        for row, column in product(self.rows, self.columns):
            place = self.place(row, column)
            one = next((c for key, c in cells.items() if _agrees(key, place)), None)
            if one is not None:
                found[name(row), name(column)] = one
        return found

    def place(self, row: Line, column: Line) -> Mapping[str, str]:
        """The fields of the ledger's key of a cell."""
        return {"subset": MEAN, "category": MEAN, "setting": "full"} | {**self.fixed, **row.at, **column.at}

    def contestant(self, method: str) -> Contestant:
        """The contestant of that name in the ledger."""
        return next(c for c in self.contestants if c.published == method)


def name(line: Line) -> str:
    """A line as nothing else is called in its table."""
    return f"{line.group}/{line.label}"


_PATCHCORE = Contestant("PatchCore", "patchcore", paper={"backbone": "wide_resnet50_2"})


def contestants(names: Sequence[str], *own: Contestant) -> tuple[Contestant, ...]:
    """Contestants of these names in the ledger; those of which nothing else is said are ours by name."""
    special = {c.published: c for c in (_PATCHCORE, *own)}
    return tuple(special.get(n, Contestant(n, n.lower().replace("-", "_"))) for n in names)


def _agrees(key: Key, place: Mapping[str, str]) -> bool:
    return all(getattr(key, field) == value for field, value in place.items())

"""A page of one method or one category, before it has a format."""

from dataclasses import dataclass
from typing import final

from harness.confined import component
from reports.frame.load import Frame
from reports.frame.naming import words
from reports.pictures.gallery import Panel
from reports.tables.table import Table


@final
@dataclass(frozen=True)
class Fact:
    """A line of what is known: its name, its words, and an address of the web or "" for none."""

    name: str
    text: str
    url: str = ""


@final
@dataclass(frozen=True)
class Pair:
    """A published number beside ours, both in percent, and what they are of."""

    place: str
    published: float
    ours: float


@final
@dataclass(frozen=True)
class SubPage:
    """One page.

    Attributes:
        file: below the folder of the report, with a folder of its own in front.
        title: the method, or the category.
        lead: one sentence; "" for none.
        badges: words that decide with what it may be compared.
        facts: what is known of it.
        tables: its numbers, first of all its cells.
        panels: its pictures.
        pairs: published numbers beside ours.
        notes: what has to be said.
    """

    file: str
    title: str
    lead: str
    badges: tuple[str, ...]
    facts: tuple[Fact, ...]
    tables: tuple[Table, ...]
    panels: tuple[Panel, ...] = ()
    pairs: tuple[Pair, ...] = ()
    notes: tuple[str, ...] = ()


def method_file(method: str) -> str:
    """Where the page of a method lies."""
    return f"methods/{component(method)}.html"


def category_file(dataset: str, category: str) -> str:
    """Where the page of a category lies."""
    return f"categories/{component(f'{dataset} {category}'.replace(' ', '-'))}.html"


def page_files(frame: Frame) -> dict[str, dict[str, str]]:
    """Where the pages of methods and of categories lie, by key and by title."""
    places = frame.trials[["dataset", "category"]].drop_duplicates().itertuples(index=False, name=None)
    return {
        "methods": {m: method_file(m) for m in frame.trials["method"].unique()},
        "categories": {f"{words(c)} · {d}": category_file(d, c) for d, c in places},
    }

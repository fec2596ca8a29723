"""`python -m reports ledger`: published numbers by method, protocol and data set, and how sure they are."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.errors import ConfigError, HarnessError, nearest
from harness.metrics.table import scale_of
from reports.frame.naming import words
from reports.papers.ledger import ABSENT, MEAN, Published, ledger, printed_tables
from reports.papers.origin import Origin, origin, protocols
from reports.render import csv as render_csv
from reports.render import markdown as render_markdown
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, text

RENDER: Mapping[str, Callable[[Table], str]] = {"md": render_markdown.table, "csv": render_csv.render}
Entry = tuple[Published, Origin]

_FILTERS: Mapping[str, Callable[[Entry], str]] = {
    "method": lambda entry: entry[0].key.method,
    "protocol": lambda entry: entry[1].protocol,
    "dataset": lambda entry: entry[1].dataset,
    "source": lambda entry: entry[0].key.source,
    "setting": lambda entry: entry[0].key.setting,
    "metric": lambda entry: entry[0].key.metric,
    "selection": lambda entry: entry[1].selection,
    "seen": lambda entry: entry[1].seen,
}
_COLUMNS: Mapping[str, Callable[[Entry], str]] = {
    "dataset": _FILTERS["dataset"],
    "protocol": _FILTERS["protocol"],
    "setting": lambda entry: _said(entry[0].key.setting, entry[0].key.param),
    "category": lambda entry: words(entry[0].key.category),
    "subset": lambda entry: entry[0].key.subset,
    "metric": lambda entry: scale_of(entry[0].key.metric, {}).title,
}
_ORIGIN: Mapping[str, Callable[[Entry], str]] = {
    "selection on test": _FILTERS["selection"],
    "seen": _FILTERS["seen"],
    "source": lambda entry: f"{entry[1].paper}, {entry[1].venue} {entry[1].year}, {entry[0].key.table}",
}
_LONG: Mapping[str, Callable[[Entry], str]] = {
    "version": lambda entry: entry[1].version,
    "evidence": lambda entry: entry[1].evidence,
    "where": lambda entry: entry[1].where,
}


def main(arguments: Sequence[str]) -> int:
    """Print what is known of published numbers; 0, or 2 where a word is not in the ledger."""
    options = _parser().parse_args(arguments)
    try:
        found = chosen({name: getattr(options, name) for name in _FILTERS}, categories=options.categories)
    except HarnessError as error:
        print(f"reports ledger: {error}", file=sys.stderr)
        return 2
    print(RENDER[options.format](listed(found, long=options.format == "csv")))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports ledger",
        description="Published numbers, under which protocol they were made, and how sure they are.",
        epilog=f"Protocols: {', '.join(protocols())}.",
    )
    for name in _FILTERS:
        parser.add_argument(f"--{name}", default="", metavar="NAMES", help="only these, with commas between")
    parser.add_argument(
        "--categories", action="store_true", help="also single categories, not averages alone"
    )
    parser.add_argument("--format", choices=RENDER, default="md", help="default %(default)s; csv says more")
    return parser


def chosen(wanted: Mapping[str, str], *, categories: bool = False) -> list[Entry]:
    """Numbers of the ledger that have one of the wanted words each.

    Args:
        wanted: filter -> words with commas between; "" for all.
        categories: also numbers of single categories.

    Raises:
        ConfigError: a word that no number has.
    """
    every = [(one, origin(key)) for key, one in ledger().items()]
    kept = every if categories else [entry for entry in every if entry[0].key.category == MEAN]
    for name in (name for name, listed in wanted.items() if listed):
        words_of = (_FILTERS[name](entry) for entry in every)
        known = list(dict.fromkeys([*words_of, *(protocols() if name == "protocol" else ())]))
        names = {_known(name, word.strip(), known) for word in wanted[name].split(",")}
        kept = [entry for entry in kept if _FILTERS[name](entry) in names]
    return kept


def _known(option: str, word: str, known: Sequence[str]) -> str:
    found = next((name for name in known if name.lower() == word.lower()), None)
    if found is None:
        near = nearest(word, known) or nearest(word.lower(), list(map(str.lower, known)))
        raise ConfigError(f"--{option}: unknown {word!r}{near}; known: {', '.join(known)}")
    return found


def listed(entries: Sequence[Entry], *, long: bool = False) -> Table:
    """Numbers of the ledger as a table, a group per data set and protocol; notes say where they were read."""
    texts = {**_COLUMNS, **_ORIGIN, **(_LONG if long else {})}
    before, after = (
        [Column(n.replace(" ", "_"), n, Kind.TEXT) for n in some] for some in (_COLUMNS, [*texts][6:])
    )
    columns = (*before, Column("value", "published", Kind.PUBLISHED), *after)
    rows = tuple(_row(entry, texts, len(_COLUMNS)) for entry in entries)
    caption = f"{len(entries)} published numbers, in percent, as printed; 'full': all training images."
    notes = () if long else tuple(dict.fromkeys(_notes(entries)))
    return Table("ledger", "Published numbers", caption, "Method", columns, (Group("", rows),), notes)


def _row(entry: Entry, texts: Mapping[str, Callable[[Entry], str]], at: int) -> Row:
    cells = [text(of(entry)) for of in texts.values()]
    return Row(entry[0].key.method, (*cells[:at], number(entry[0]), *cells[at:]))


def number(one: Published) -> Cell:
    """A published number as a cell."""
    spread = "" if one.std is None else f"{one.std:.{one.decimals}f}"
    return Cell(one.text, one.value, spread, one.std)


def _said(setting: str, param: str) -> str:
    return setting if param == ABSENT else f"{setting}; {param}"


def _notes(entries: Iterable[Entry]) -> Iterable[str]:
    entries = list(entries)
    for one, _ in entries:
        table = printed_tables()[one.key.source, one.key.table]
        yield f"{table.paper}, {one.key.table}: {table.caption}. Seen: {table.where}."
    for one, said in entries:
        yield f"Selection on test of {one.key.method} in {said.paper}: {said.selection} ({said.evidence})."
    for protocol in dict.fromkeys(said.protocol for _, said in entries):
        yield f"Protocol {protocol}: {protocols()[protocol]}"

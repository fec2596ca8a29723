"""What is written from records and cards into files that people read: notices, a table, the demo sweep.

A block stands between two lines, one with `begin NAME` and one with `end NAME` as remarks of its file; what
is between them is never edited by hand. Only Ladder's own entries are written, not those of packages.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.datasets import DATASETS
from harness.errors import ConfigError, DataError
from harness.inspection.entries import training
from harness.method import Card, Demo
from harness.metrics import METRICS
from harness.registry import Registry
from harness.whole import whole

Methods = Registry[Any]
COMMAND = "python -m harness.list --write"
NOTICES, README, DEMO = "NOTICES.md", "README.md", "configs/demo.yaml"


def write(root: Path, methods: Methods) -> list[Path]:
    """Bring every block below a checkout up to date.

    Args:
        root: of the checkout.
        methods: the registry.

    Returns:
        The files that were changed.

    Raises:
        ConfigError: no checkout.
        DataError: a file cannot be read or written, or lacks the lines between which a block stands.
    """
    changed = [(root / name, text) for name, text in texts(root, methods).items() if text is not None]
    for path, text in changed:
        try:
            with whole(path) as hidden:
                hidden.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror})") from error
    return [path for path, _ in changed]


def texts(root: Path, methods: Methods) -> dict[str, str | None]:
    """File -> its text with every block up to date; None where it is.

    Raises:
        ConfigError, DataError: see `write`.
    """
    found: dict[str, str | None] = {}
    for name, blocks in BLOCKS.items():
        path = root / name
        if not path.is_file():
            raise ConfigError(f"{root}: no checkout of Ladder ({name} is missing); --write works in one")
        old = new = path.read_text(encoding="utf-8")
        for block, lines in blocks.items():
            new = replaced(path, new, block, lines(methods))
        found[name] = None if new == old else new
    return found


def replaced(path: Path, text: str, block: str, lines: Iterable[str]) -> str:
    """A text with the lines of one block in place of those that are there.

    Raises:
        DataError: the block's first or last line is missing, or there twice.
    """
    old = text.splitlines()
    places = [[i for i, line in enumerate(old) if f"{word} {block} " in line] for word in ("begin", "end")]
    if not all(len(found) == 1 for found in places):
        raise DataError(
            f"{path}: needs one line with `begin {block} (…)` and one with `end {block} …` as remarks"
        )
    (first,), (last,) = places
    return "\n".join([*old[: first + 1], *lines, *old[last:], ""])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *rows):
        yield "|" + "|".join(cell if cell == "---" else f" {cell} " for cell in row) + "|"


def _cards(methods: Methods) -> Iterator[tuple[str, Any, Card]]:
    for name in methods.own:
        owner = methods.load(name)
        yield name, owner, owner.card


def _method_notices(methods: Methods) -> Iterator[str]:
    rows = (
        (f"`{name}`", card.licence, card.weights_licence or "–", _references(card))
        for name, _, card in _cards(methods)
    )
    return _table(("name", "licence", "weights by default", "reference"), rows)


def _references(card: Card) -> str:
    first = card.paper.markdown if card.paper else "this project"
    return ". ".join([first, *(f"{what}: {paper.markdown}" for what, paper in card.further)])


def _metric_notices(methods: Methods) -> Iterator[str]:
    del methods
    records = ((name, METRICS.load(name).paper) for name in METRICS.own)
    return _table(("name", "reference"), ((f"`{n}`", paper.markdown) for n, paper in records if paper))


def _dataset_notices(methods: Methods) -> Iterator[str]:
    del methods
    records = ((name, DATASETS.load(name)) for name in DATASETS.own)
    rows = ((f"`{name}`", r.licence, r.citation or "–") for name, r in records)
    return _table(("name", "licence", "reference"), rows)


def _method_table(methods: Methods) -> Iterator[str]:
    rows = (
        (
            f"[{card.title}]({_where(owner)}) `{name}`",
            card.summary,
            ", ".join([training(card), *sorted(card.uses)]),
            card.paper.link if card.paper else "–",
        )
        for name, owner, card in _cards(methods)
    )
    return _table(("method", "what it does", "learns from", "paper"), rows)


def _where(owner: type) -> str:
    """Its README.md, or the file it is in, from the root of the checkout."""
    file = Path(sys.modules[owner.__module__].__file__ or "")
    shown = file.with_name("README.md") if file.with_name("README.md").is_file() else file
    return shown.relative_to(file.parents[len(owner.__module__.split(".")) - 1]).as_posix()


def _demo_entries(methods: Methods) -> Iterator[str]:
    for name, _, card in _cards(methods):
        if card.demo is not None:
            yield from _demo_entry(name, card, card.demo)


def _demo_entry(name: str, card: Card, demo: Demo) -> Iterator[str]:
    yield f"  - name: {name}" + (f"  # {demo.note}" if demo.note else "")
    for key, value in {**demo.axes, **({"params": dict(demo.params)} if demo.params else {})}.items():
        plain = json.loads(json.dumps(value))  # tuples become lists
        words = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10**6)
        yield f"    {key}: {words.strip()}"
    if card.resources.cpus > 1:  # small work: as many trials at a time as there are cores
        yield "    resources: {cpus: 1}"


Lines = Callable[[Methods], Iterator[str]]
BLOCKS: Mapping[str, Mapping[str, Lines]] = {
    NOTICES: {"methods": _method_notices, "metrics": _metric_notices, "datasets": _dataset_notices},
    README: {"methods": _method_table},
    DEMO: {"methods": _demo_entries},
}

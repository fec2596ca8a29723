"""`python -m harness.list methods|datasets|metrics|protocols [NAME]`: what there is to choose from.

Without NAME a table, with it everything known about one entry. `--write` brings up to date what is written
from the records and cards of Ladder's own entries: tables in NOTICES.md and README.md, the methods of
configs/demo.yaml. Beside `harness.sweep` this looks upwards, to the table of methods; nobody imports it. Exit
codes: 0, or 2 for an unknown name.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.text import Text

import harness
from harness.console import leave, show
from harness.datasets import DATASETS
from harness.inspection.entries import dataset_entry, method_entry, metric_entry, protocol_entry
from harness.inspection.entry_words import card, overview
from harness.inspection.generated import write
from harness.metrics import METRICS
from harness.protocols import names as protocols
from methods import METHODS

ROOT = Path(harness.__file__).parent.parent
Kind = tuple[Callable[[], Sequence[str]], Callable[[str], dict[str, Any]], tuple[str, ...]]
KINDS: Mapping[str, Kind] = {
    "methods": (
        METHODS.names,
        partial(method_entry, METHODS),
        ("name", "title", "training", "uses", "resources", "licence", "summary"),
    ),
    "datasets": (DATASETS.names, dataset_entry, ("name", "title", "licence", "summary")),
    "protocols": (
        protocols,
        protocol_entry,
        ("name", "title", "categories", "shots", "seeds", "support", "number"),
    ),
    "metrics": (METRICS.names, metric_entry, ("name", "title", "kind", "unit", "limits", "summary")),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Raises:
        ConfigError: unknown name, or nothing to write to: this is no checkout.
        DataError: a file cannot be read or written, or has no place for what is written.
    """
    options = parser().parse_args(arguments)
    if options.write:
        written = write(ROOT, METHODS)
        print("\n".join(f"written: {path}" for path in written) or "up to date")
        return 0
    names, describe, columns = KINDS[options.kind]
    if options.name:
        entry = describe(options.name)
        print(json.dumps(entry, indent=2, ensure_ascii=False)) if options.json else show(card(entry))
        return 0
    entries = [describe(name) for name in names()]
    if options.json:
        print(json.dumps(entries, indent=2, ensure_ascii=False))
    else:
        more = Text(f"more: python -m harness.list {options.kind} NAME")
        show([overview(entries, columns), more])
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.list", description="The methods, data sets, metrics and protocols there are."
    )
    parser.add_argument("kind", choices=tuple(KINDS), nargs="?", default="methods", help="what to list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of them: card, parameters, licence")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--write", action="store_true", help="write tables and entries that come from cards into their files"
    )
    return parser


if __name__ == "__main__":
    leave(main)

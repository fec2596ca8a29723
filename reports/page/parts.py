"""A page in parts: what is shown on demand lies in files beside it, so that the page itself opens at once.

A part is a script that hands its JSON to the page, because a page opened from a folder may load scripts and
may not read files. Its name ends in a digest of its content: a page never gets parts of another build.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from reports.page.columns import words

FOLDER = "report-data"
ROWS = 1000  # trials in a part

Parts = dict[str, str]  # file name -> text


def in_parts(page: Mapping[str, Any]) -> tuple[dict[str, Any], Parts]:
    """What a page can be searched for, without what only an opened trial or category shows; and that."""
    found: Parts = {}
    trials, details = page["trials"], _details(page["trials"])
    of_trials = [_added(found, "trials", detail) for detail in details]
    rest = {name: column for name, column in trials.items() if name != "details"}
    images = [_panel(found, panel) for panel in page["images"]]
    return {**page, "trials": rest | {"parts": of_trials, "rows": ROWS}, "images": images}, found


def part(name: str, content: Any) -> tuple[str, str]:
    """Name and text of a part."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    key = f"{name}-{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:12]}"
    return key, f"ladderPart({json.dumps(key)},{text});\n"


def file_of(key: str) -> str:
    """The file of a part, below the folder of the page."""
    return f"{FOLDER}/{key}.js"


def _added(parts: Parts, name: str, content: Any) -> str:
    key, text = part(name, content)
    parts[file_of(key)] = text
    return key


def _details(trials: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The words of trials that only a card shows, a thousand trials each."""
    columns = {
        name: [column["words"][i] for i in column["index"]] for name, column in trials["details"].items()
    }
    starts = range(0, len(trials["id"]), ROWS)
    return [{n: words(column[i : i + ROWS]) for n, column in columns.items()} for i in starts]


def _panel(parts: Parts, panel: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: panel[name] for name in ("dataset", "category")}
    return known | {"part": _added(parts, "images", {n: c for n, c in panel.items() if n not in known})}

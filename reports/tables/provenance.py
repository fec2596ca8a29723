"""Where numbers come from: runs, code, machines, weights, images, and the command that makes them again."""

import json
import shlex
from collections.abc import Iterable
from typing import Any

import pandas as pd
import yaml

from harness.confined import component
from reports.frame.cells import DDOF
from reports.frame.load import MISSING, Frame, LoadedRun
from reports.frame.naming import words
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, text

HASH = 12  # hexadecimal digits of a sha256 that are shown

_STATISTICS = (
    f"mean ± sample standard deviation over seeds, ddof = {DDOF}; averages over categories per seed first; "
    "fractions × 100; undefined metrics print as –; trials that are not ok enter no mean"
)


def provenance(frame: Frame) -> list[Table]:
    """One group of rows per run."""
    several = len(frame.sources) > 1
    groups = [
        Group(
            source.label if several else "",
            tuple(_rows(source, frame.trials[frame.trials["run"] == i])),
        )
        for i, source in enumerate(frame.sources)
    ]
    columns = (Column("value", "Value", Kind.TEXT),)
    caption = "Everything that is needed to judge and to repeat the numbers."
    return [Table("provenance", "Provenance", caption, "What", columns, tuple(groups), (), "provenance")]


def sweep_files(frame: Frame) -> dict[str, str]:
    """File name -> text of the resolved sweep files of the runs."""
    return {sweep_file(s): sweep_text(s) for s in frame.sources}


def sweep_file(source: LoadedRun) -> str:
    """Name of the resolved sweep file beside the report."""
    return f"sweep-{component(source.label)}.yaml"


def sweep_text(source: LoadedRun) -> str:
    """The resolved sweep file."""
    return yaml.safe_dump(source.config, sort_keys=False, allow_unicode=True)


def _rows(source: LoadedRun, trials: pd.DataFrame) -> Iterable[Row]:
    yield from (Row(name, (cell,)) for name, cell in facts(source, trials))
    where = f"{sweep_file(source)} beside this report, as resolved"
    yield Row("sweep file", (text(where),), sweep_text(source))


def facts(source: LoadedRun, trials: pd.DataFrame) -> list[tuple[str, Cell]]:
    """Names and values of what is known about a run."""
    ended = trials[trials["status"] != MISSING]
    return [
        ("sweep", text(source.name)),
        ("folder", text(str(source.path))),
        *_protocols(source),
        ("trials", text(f"{len(ended)} of {len(trials)} planned have ended")),
        ("from – to", text(_period(ended))),
        ("code", text(_listed(_commits(ended)))),
        ("versions", text(_listed(_versions(ended)))),
        ("hosts", text(_listed(ended["host"].dropna()))),
        ("devices", text(_listed(ended["gpu_name"].fillna(ended["device"]).dropna()))),
        ("weights, sha256", text(_listed(_weights(ended)))),
        ("images, fingerprint", text(_listed(_images(ended)))),
        ("statistics", text(_STATISTICS)),
        ("go on, or again", text(_again(source))),
    ]


def _protocols(source: LoadedRun) -> Iterable[tuple[str, Cell]]:
    """What the run is measured under, with its sources; nothing of a sweep that names no protocol."""
    if labels := [record["label"] for record in source.protocols if record["protocol"]]:
        yield "protocols", text("; ".join(labels))
        sources = (text for record in source.protocols for text in record["sources"])
        yield "sources of protocols", text(_listed(sources))


def _again(source: LoadedRun) -> str:
    return shlex.join(["python", "-m", "harness.sweep", sweep_file(source), f"out={source.path}"])


def _listed(found: Iterable[Any]) -> str:
    return "; ".join(dict.fromkeys(map(str, found)))


def _period(ended: pd.DataFrame) -> str:
    if ended.empty:
        return ""
    first, last = ended["started_at"].min(), ended["finished_at"].max()
    times = [t.strftime("%Y-%m-%d %H:%M") for t in (first, last) if not pd.isna(t)]
    return " – ".join(times) + " UTC"


def _commits(ended: pd.DataFrame) -> Iterable[str]:
    pairs = ended[["git_commit", "git_dirty"]].dropna(subset=["git_commit"]).drop_duplicates()
    for commit, dirty in pairs.itertuples(index=False):
        yield f"git {commit[:HASH]}" + (" with uncommitted changes" if dirty is True else "")


def _versions(ended: pd.DataFrame) -> Iterable[str]:
    for found in ended["versions"].dropna().drop_duplicates():
        yield ", ".join(f"{name} {version}" for name, version in json.loads(found).items())


def _weights(ended: pd.DataFrame) -> Iterable[str]:
    for listed in ended["weights"]:
        if listed is not None and not isinstance(listed, float):
            yield from (f"{w['name']} {w['sha256'][:HASH]}" for w in listed)


def _images(ended: pd.DataFrame) -> Iterable[str]:
    columns = ["dataset", "category", "fingerprint"]
    for dataset, category, found in ended[columns].dropna().drop_duplicates().itertuples(index=False):
        yield f"{dataset} {words(category)} {found[:HASH]}"

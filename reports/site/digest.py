"""What a site keeps of one run: the columns that leaderboards are made from, and the run in words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import pandas as pd

from harness.results import Run, read_run
from reports.frame.cells import SUBSETS
from reports.frame.load import MISSING, LoadedRun, planned, stale_rows
from reports.frame.naming import hashes
from reports.tables.provenance import facts

BETWEEN = "\x1f"  # joins texts of a row; what cannot be seen is in no name
NAMED = 40  # failures of a run that a page lists
WIDEST = 300  # characters of a reason

_IDENTITY = ["trial_id", "method", "method_version", "params", "dataset", "category", "fingerprint"]
_PLACE = ["shots", "split_seed", "run_seed", "status", "marks", "protocols", "weights"]
_COST = ["n_test", "ms_per_image", "total_seconds", "device", "gpu_share", "finished_at"]
_METRICS = ["trial_id", "subset", "metric", "fpr_limit", "value", "metric_version", "map_rule"]


@final
@dataclass(frozen=True)
class Digest:
    """One run in words; all of it is plain data.

    Attributes:
        path: its folder, as it was given.
        name: of its sweep.
        config: its resolved sweep file.
        scales, cards: as the run keeps them.
        protocols: label -> title and sources of the protocols that it was measured under.
        counts: status -> planned trials.
        methods: method -> status -> planned trials.
        datasets, marks: of its trials.
        last: when the last trial ended, in words; "" if none has.
        facts: (name, text) of its provenance.
        failures: (status, method, reason, trials), the most frequent first.
        notes: what is wrong with it, one sentence each.
        damaged: some of its files cannot be read.
        stale: rows of earlier plans.
    """

    path: str
    name: str
    config: dict[str, Any]
    scales: dict[str, Any]
    cards: dict[str, Any]
    protocols: dict[str, str]
    counts: dict[str, int]
    methods: dict[str, dict[str, int]]
    datasets: list[str]
    marks: list[str]
    last: str
    facts: list[tuple[str, str]]
    failures: list[tuple[str, str, str, int]]
    notes: list[str]
    damaged: bool
    stale: int

    @property
    def planned(self) -> int:
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        return self.planned - self.counts.get(MISSING, 0)

    @property
    def source(self) -> LoadedRun:
        """As frames name the runs that they are made from."""
        return LoadedRun(Path(self.path), self.name, self.name, self.config, self.stale)


class Read(NamedTuple):
    """A digest with its tables: trials, and metrics of those that are ok."""

    digest: Digest
    trials: pd.DataFrame
    metrics: pd.DataFrame


def read_digest(path: Path) -> Read:
    """Read a run.

    Raises:
        DataError: it is not a run, or its plan cannot be read.
    """
    run = read_run(path, scores=False)
    trials = planned(run)
    ok = set(trials.loc[trials["status"] == "ok", "trial_id"])
    wanted = run.metrics["subset"].isin(list(SUBSETS)) & run.metrics["trial_id"].isin(ok)
    metrics = run.metrics.loc[wanted, _METRICS].reset_index(drop=True)
    return Read(_digest(path, run, trials), _slim(trials), metrics)


def _slim(trials: pd.DataFrame) -> pd.DataFrame:
    """Columns that leaderboards need; lists as texts, which take a tenth of the memory."""
    joined = {name: [_joined(listed) for listed in trials[name]] for name in ("marks", "protocols")}
    weights = [BETWEEN.join(f"{n} {s}" for n, s in _pairs(w)) for w in trials["weights"]]
    found = trials[[*_IDENTITY, *_PLACE, *_COST]]
    return found.assign(**joined, weights=weights).astype({"marks": str, "protocols": str, "weights": str})


def _joined(listed: Any) -> str:
    return "" if listed is None or isinstance(listed, float) else BETWEEN.join(map(str, listed))


def _pairs(weights: Any) -> Iterable[tuple[str, str]]:
    found = hashes(weights)
    return found if isinstance(found, tuple) else ()


def _digest(path: Path, run: Run, trials: pd.DataFrame) -> Digest:
    name = str(run.config.get("name") or path.name)
    ended = trials["finished_at"].dropna()
    source = LoadedRun(path, name, name, run.config, 0)
    return Digest(
        path=str(path),
        name=name,
        config=run.config,
        scales=dict(run.scales),
        cards=dict(run.cards),
        protocols=_protocols(run.protocols),
        counts=_counted(trials["status"]),
        methods={str(m): _counted(some) for m, some in trials.groupby("method", sort=False)["status"]},
        datasets=[str(name) for name in trials["dataset"].unique()],
        marks=sorted({mark for marks in trials["marks"] for mark in marks}),
        last=f"{ended.max():%Y-%m-%d %H:%M} UTC" if len(ended) else "",
        facts=[(key, cell.text) for key, cell in facts(source, trials) if cell.text],
        failures=_failures(trials),
        notes=list(run.notes),
        damaged=bool(run.damage),
        stale=stale_rows(run),
    )


def _counted(statuses: pd.Series) -> dict[str, int]:
    return {str(status): int(n) for status, n in Counter(statuses).items()}


def _protocols(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Label -> title and sources, of what a run says of its protocols."""
    found = {}
    for record in records:
        said = [record.get("title"), *(record.get("sources") or [])]
        found[str(record.get("label"))] = "; ".join(str(words) for words in said if words)
    return found


def _failures(trials: pd.DataFrame) -> list[tuple[str, str, str, int]]:
    bad = trials[~trials["status"].isin(["ok", MISSING])]
    reasons = bad["reason"].fillna(bad["error_type"]).fillna("").astype(str).str.slice(0, WIDEST)
    found = Counter(zip(bad["status"], bad["method"], reasons, strict=True))
    return [(str(s), str(m), str(r), n) for (s, m, r), n in found.most_common(NAMED)]

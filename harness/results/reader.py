"""Reading a run, finished or not, without touching it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import pandas as pd

from harness.errors import DataError, nearest
from harness.results.journal import leftovers
from harness.results.schema import PLAN, SCHEMAS
from harness.results.tables import Tables, concat, parts, read_columns, rows_to_tables, without


@final
@dataclass(frozen=True)
class Run:
    """Everything that a run directory holds.

    Attributes:
        path: the directory.
        config: resolved configuration (`sweep.json`).
        plan: one row per planned trial.
        trials, metrics, scores: the result tables (`harness.results.schema`), one trial row per trial_id.
        scales: metric -> what the run says of its values (`harness.metrics.scale_of`).
    """

    path: Path
    config: dict[str, Any]
    plan: pd.DataFrame
    trials: pd.DataFrame
    metrics: pd.DataFrame
    scores: pd.DataFrame
    scales: Mapping[str, Any]

    @property
    def remaining(self) -> pd.DataFrame:
        """Planned trials without a row."""
        return self.plan[~self.plan["trial_id"].isin(self.trials["trial_id"])]


def read_run(path: Path, *, scores: bool = True) -> Run:
    """Read a run, including results that are so far only in a journal.

    Args:
        path: the run directory.
        scores: also the per-image table, the largest of the three.

    Raises:
        DataError: `path` is not a run directory.
    """
    config = _config(path)
    tables = concat(_newest(path, scores))
    frames = {name: table.to_pandas() for name, table in tables.items() if scores or name != "scores"}
    trials = frames["trials"].sort_values("finished_at").drop_duplicates("trial_id", keep="last")
    return Run(
        path,
        config["config"],
        _plan(path),
        trials.reset_index(drop=True),
        frames["metrics"],
        frames.get("scores", tables["scores"].slice(0, 0).to_pandas()),
        config.get("metrics") or {},
    )


def _plan(path: Path) -> pd.DataFrame:
    """The plan; empty where the driver was killed before it could write one."""
    file = path / "plan.parquet"
    return (read_columns(file) if file.exists() else PLAN.empty_table()).to_pandas()


def _newest(path: Path, scores: bool) -> list[Tables]:
    """The tables of journal and parts, each trial from where it was written last.

    A driver killed between writing a trial again and removing its older rows leaves both.
    """
    found = [rows_to_tables(leftovers(path))]
    seen = set(found[0]["trials"]["trial_id"].to_pylist())
    for part in reversed(parts(path)):
        found.append(without(part.read(scores=scores), seen))
        seen |= set(found[-1]["trials"]["trial_id"].to_pylist())
    return found[::-1]


def read_scores(path: Path, trial_id: str) -> pd.DataFrame:
    """The per-image scores of one trial; of a large run this is much faster than all of them."""
    for result in leftovers(path):
        if result.trial["trial_id"] == trial_id:
            return rows_to_tables([result])["scores"].to_pandas()
    for part in reversed(parts(path)):
        if trial_id in part.ids():
            return part.scores(trial_id).to_pandas()
    return SCHEMAS["scores"].empty_table().to_pandas()


def statuses(path: Path) -> dict[str, str]:
    """trial_id -> status of every trial that has ended; reads two columns only."""
    journal = leftovers(path)  # first: what it holds may move into a part meanwhile
    found: dict[str, str] = {}
    for part in parts(path):
        if part.path("trials").exists():
            table = read_columns(part.path("trials"), ["trial_id", "status"])
            found |= dict(zip(*table.to_pydict().values(), strict=True))
    return found | {r.trial["trial_id"]: r.trial["status"] for r in journal}


def _config(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / "sweep.json").read_text())
    except OSError:
        raise DataError(f"{path}: not a run directory (no sweep.json){_nearby(path)}") from None
    except ValueError as error:
        raise DataError(f"{path / 'sweep.json'}: not JSON ({error})") from error


def _nearby(path: Path) -> str:
    siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    return nearest(path.name, siblings)

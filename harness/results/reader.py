"""Reading a run, finished or not, without touching it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import pandas as pd
import pyarrow.parquet as pq

from harness.errors import DataError, nearest
from harness.results.journal import leftovers
from harness.results.tables import concat, parts, rows_to_tables, without


@final
@dataclass(frozen=True)
class Run:
    """Everything that a run directory holds.

    Attributes:
        path: the directory.
        config: resolved configuration (`sweep.json`).
        plan: one row per planned trial.
        trials, metrics, scores: the result tables (`harness.results.schema`), one trial row per trial_id.
    """

    path: Path
    config: dict[str, Any]
    plan: pd.DataFrame
    trials: pd.DataFrame
    metrics: pd.DataFrame
    scores: pd.DataFrame

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
    journal = rows_to_tables(leftovers(path)[0])
    fresh = set(journal["trials"]["trial_id"].to_pylist())
    tables = concat([*(without(p.read(), fresh) for p in parts(path)), journal])
    frames = {name: table.to_pandas() for name, table in tables.items() if scores or name != "scores"}
    trials = frames["trials"].sort_values("finished_at").drop_duplicates("trial_id", keep="last")
    return Run(
        path,
        config["config"],
        pq.read_table(path / "plan.parquet").to_pandas(),
        trials.reset_index(drop=True),
        frames["metrics"],
        frames.get("scores", tables["scores"].slice(0, 0).to_pandas()),
    )


def statuses(path: Path) -> dict[str, str]:
    """trial_id -> status of every trial that has ended; reads two columns only."""
    found: dict[str, str] = {}
    for part in parts(path):
        if part.path("trials").exists():
            table = pq.read_table(part.path("trials"), columns=["trial_id", "status"], partitioning=None)
            found |= dict(zip(*table.to_pydict().values(), strict=True))
    return found | {r.trial["trial_id"]: r.trial["status"] for r in leftovers(path)[0]}


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

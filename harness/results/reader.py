"""Reading a run, finished or not, without touching it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import pandas as pd

from harness.errors import DamagedFile, DataError, nearest, outermost
from harness.results.journal import leftovers, read_journals
from harness.results.parquet import absent, read_parquet
from harness.results.schema import PLAN, SCHEMAS
from harness.results.standing import UNMEASURED, lacking, lacking_notes, standing
from harness.results.tables import Part, Tables, concat, parts, rows_to_tables, without

PLAN_FILE, SWEEP_FILE = "plan.parquet", "sweep.json"


@final
@dataclass(frozen=True)
class Sweep:
    """What `sweep.json` holds.

    Attributes:
        config: resolved configuration.
        scales: metric -> what is known of its values (`harness.metrics.scale_of`).
        cards: method -> what it declared of itself; empty in runs of earlier versions.
        protocols: what it is measured under (`harness.protocols.parts.records`).
        as_written: whether it is as the sweep wrote it; None where it does not say.
    """

    config: dict[str, Any]
    scales: Mapping[str, Any]
    cards: Mapping[str, Any]
    as_written: bool | None
    protocols: tuple[Mapping[str, Any], ...] = ()


@final
@dataclass(frozen=True)
class Run:
    """Everything that a run directory holds.

    Attributes:
        path: the directory.
        config: resolved configuration (`sweep.json`).
        plan: one row per planned trial; none where the plan is among `damage`.
        trials, metrics, scores: the result tables (`harness.results.schema`), one trial row per trial_id.
        scales: metric -> what the run says of its values (`harness.metrics.scale_of`).
        cards: method -> what it declared of itself; empty in runs of earlier versions.
        lacking: trial_id -> what a trial that had ended ok lacks of its numbers ("metrics", "scores"); it is
            in none of the three tables.
        damage: files and journal lines that cannot be read; what they hold is in no table.
        remarks: what a reader should know of files that can be read.
        protocols: what it is measured under (`harness.protocols.parts.records`).
    """

    path: Path
    config: dict[str, Any]
    plan: pd.DataFrame
    trials: pd.DataFrame
    metrics: pd.DataFrame
    scores: pd.DataFrame
    scales: Mapping[str, Any]
    cards: Mapping[str, Any]
    lacking: Mapping[str, str]
    damage: tuple[DamagedFile, ...]
    remarks: tuple[str, ...]
    protocols: tuple[Mapping[str, Any], ...] = ()

    @property
    def remaining(self) -> pd.DataFrame:
        """Planned trials without a row."""
        return self.plan[~self.plan["trial_id"].isin(self.trials["trial_id"])]

    @property
    def known_plan(self) -> pd.DataFrame:
        """The plan.

        Raises:
            DamagedFile: it cannot be read, so that nobody knows what is missing.
        """
        for error in self.damage:
            if error.path == self.path / PLAN_FILE:
                again = "the same sweep command writes it anew"
                raise DamagedFile(error.path, f"{error.why}; {again}", error.lost)
        return self.plan

    @property
    def notes(self) -> tuple[str, ...]:
        """What is wrong with the run, one sentence each."""
        told = [f"{error}: what it holds counts as missing" for error in self.damage]
        return (*told, *lacking_notes(self.path, self.lacking), *self.remarks)


def read_run(path: Path, *, scores: bool = True, unmeasured: bool = False) -> Run:
    """Read a run, including results that are so far only in a journal.

    What cannot be read is left out and named in the answer.

    Args:
        path: the run directory.
        scores: also the per-image table, the largest of the three.
        unmeasured: leave trials that lack nothing but their metrics in the tables, for who computes those.

    Raises:
        DataError: `path` is not a run directory.
    """
    sweep = read_sweep(path)
    damage: list[DamagedFile] = []
    tables, lost = _tables(path, scores, damage)
    gone = [i for i, what in lost.items() if not (unmeasured and what == UNMEASURED)]
    frames = {name: table.to_pandas() for name, table in without(tables, gone).items()}
    trials = frames["trials"].sort_values("finished_at").drop_duplicates("trial_id", keep="last")
    return Run(
        path,
        sweep.config,
        _plan(path, damage),
        trials.reset_index(drop=True),
        frames["metrics"],
        frames["scores"],
        sweep.scales,
        sweep.cards,
        lost,
        outermost(damage),
        (f"{path / SWEEP_FILE}: changed since the sweep wrote it",) if sweep.as_written is False else (),
        sweep.protocols,
    )


def _plan(path: Path, damage: list[DamagedFile]) -> pd.DataFrame:
    """The plan; empty where the driver was killed before it could write one."""
    try:
        return read_parquet(path / PLAN_FILE, PLAN).to_pandas()
    except DamagedFile as error:
        damage.append(error)
        return PLAN.empty_table().to_pandas()


def _tables(path: Path, scores: bool, damage: list[DamagedFile]) -> tuple[Tables, dict[str, str]]:
    """The tables of journal and parts, each trial from where it was written last, and what trials lack.

    A driver killed between writing a trial again and removing its older rows leaves both.
    """
    journal = read_journals(path)
    damage += journal.damage
    found, lost, seen = [rows_to_tables(list(journal.results.values()))], dict[str, str](), set[str]()
    columns = {} if scores else {"scores": ("trial_id",)}
    for part in reversed(parts(path, damage.append)):
        seen |= set(found[-1]["trials"]["trial_id"].to_pylist())
        found.append(without(part.read(damage.append, **columns), seen))
    for tables in found:
        lost |= lacking(tables)
    return concat(_whole(tables, scores) for tables in found[::-1]), lost


def _whole(tables: Tables, scores: bool) -> Tables:
    return tables if scores else tables | {"scores": SCHEMAS["scores"].empty_table()}


def read_scores(path: Path, trial_id: str) -> pd.DataFrame:
    """The per-image scores of one trial; of a large run this is much faster than all of them.

    Raises:
        DamagedFile: they cannot be read.
    """
    for result in leftovers(path):
        if result.trial["trial_id"] == trial_id:
            return rows_to_tables([result])["scores"].to_pandas()
    for part in reversed(parts(path)):
        if trial_id in readable_ids(part):
            return part.scores(trial_id).to_pandas()
    return SCHEMAS["scores"].empty_table().to_pandas()


def readable_ids(part: Part) -> set[str]:
    """The trials that a part holds; none where that cannot be read, which `read_run` has told."""
    try:
        return part.ids()
    except DamagedFile:
        return set()


def statuses(path: Path) -> Mapping[str, str]:
    """trial_id -> status of every trial that has ended and whose numbers are there."""
    return standing(path).statuses


def config_digest(content: Mapping[str, Any]) -> str:
    """What `sweep.json` says of its own content, so that a change shows."""
    parts = [content.get("config"), content.get("metrics")]
    parts += [content["methods"]] if "methods" in content else []
    parts += [content["protocols"]] if "protocols" in content else []
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_sweep(path: Path) -> Sweep:
    """`sweep.json`.

    Raises:
        DataError: `path` is not a run directory, or the file cannot be read.
    """
    file = path / SWEEP_FILE
    content = _json(file)
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise DamagedFile(file, "is not what a sweep writes (it has no config)", lost=True)
    as_written = content["digest"] == config_digest(content) if "digest" in content else None
    scales, cards = (
        found if isinstance(found := content.get(k), dict) else {} for k in ("metrics", "methods")
    )
    listed = tuple(protocols) if isinstance(protocols := content.get("protocols"), list) else ()
    return Sweep(config, scales, cards, as_written, listed)


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        absent(file, error)
        raise no_run(file.parent) from None
    except (ValueError, RecursionError) as error:
        raise DamagedFile(file, f"not JSON ({error})", lost=True) from error


def no_run(path: Path) -> DataError:
    """The error of a path that is not a run directory; names a neighbour of a similar name."""
    try:
        siblings = [p.name for p in path.parent.iterdir() if p.is_dir() and p.name != path.name]
    except OSError:
        siblings = []
    return DataError(f"{path}: not a run directory (no {SWEEP_FILE}){nearest(path.name, siblings)}")

"""Parts of the result tables in memory, and their atomic way to disk."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, final

import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DamagedFile
from harness.results.parquet import absent, read_parquet, table_of, write_parquet
from harness.results.schema import SCHEMAS
from harness.trial import TrialResult

Tables = dict[str, pa.Table]
Report = Callable[[DamagedFile], None]
ORDER = ("scores", "metrics", "trials")  # a row in trials/ promises its rows in the other two
_PART = re.compile(r"part-(\d+)\.parquet")


def rows_to_tables(results: Sequence[TrialResult]) -> Tables:
    """The rows of trials as one Arrow table per result table."""
    rows: dict[str, list[Mapping[str, Any]]] = {"trials": [], "metrics": [], "scores": []}
    for result in results:
        tag = {"trial_id": result.trial["trial_id"]}
        rows["trials"].append(_with_times(result.trial))
        rows["metrics"] += [tag | dict(row) for row in result.metrics]
        rows["scores"] += [tag | dict(row) for row in result.scores]
    return {name: table_of(rows[name], schema) for name, schema in SCHEMAS.items()}


def _with_times(row: Mapping[str, Any]) -> dict[str, Any]:
    times = ("started_at", "finished_at")
    return dict(row) | {t: datetime.fromisoformat(row[t]) for t in times if row.get(t)}


def concat(parts: Iterable[Tables]) -> Tables:
    """Tables one after the other."""
    listed = list(parts)
    return {
        name: pa.concat_tables([schema.empty_table(), *(p[name] for p in listed)])
        for name, schema in SCHEMAS.items()
    }


def without(tables: Tables, trial_ids: Iterable[str]) -> Tables:
    """Tables less the rows of some trials."""
    gone = pa.array(list(trial_ids), pa.string())
    return {name: table.filter(~pc.field("trial_id").isin(gone)) for name, table in tables.items()}


def of_trials(tables: Tables) -> Tables:
    """Tables less rows whose trial is not in `trials`."""
    known = tables["trials"]["trial_id"].combine_chunks()
    return {name: table.filter(pc.field("trial_id").isin(known)) for name, table in tables.items()}


@final
class Part:
    """One numbered file in each of the three table folders."""

    def __init__(self, run: Path, number: int):
        self.run, self.number = run, number

    def path(self, table: str) -> Path:
        return self.run / table / f"part-{self.number:05d}.parquet"

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """One table of the part; no rows where there is no file.

        Raises:
            DamagedFile: it cannot be read, or is not what was written.
        """
        return read_parquet(self.path(name), SCHEMAS[name], columns)

    def read(self, report: Report | None = None, **columns: Sequence[str]) -> Tables:
        """The part's tables less rows whose trial never reached trials/.

        Args:
            report: told of each table that cannot be read and then has no rows; without, that is raised.
            columns: of a table, if not all; `trial_id` is among them.

        Raises:
            DamagedFile: see `report`.
        """
        found: Tables = {}
        for name in SCHEMAS:  # trials first: what it has on disk by then is in the others too
            try:
                found[name] = self.table(name, columns.get(name))
            except DamagedFile as error:
                if report is None:
                    raise
                report(error)
                found[name] = _empty(name, columns.get(name))
        return of_trials(found)

    def ids(self) -> set[str]:
        """The trials that the part holds.

        Raises:
            DamagedFile: that cannot be read.
        """
        return set(self.table("trials", ["trial_id"])["trial_id"].to_pylist())

    def scores(self, trial_id: str) -> pa.Table:
        """The per-image scores of one trial."""
        return self.table("scores").filter(pc.field("trial_id") == trial_id)

    def write(self, tables: Tables) -> None:
        """Replace the part on disk, table by table, `trials` last."""
        for name in ORDER:
            write_parquet(self.path(name), tables[name])

    def shrink(self, tables: Tables) -> None:
        """Replace the part by less of it: `trials` first, so that no row is without what it promises."""
        for name in reversed(ORDER):
            write_parquet(self.path(name), tables[name])


def _empty(name: str, columns: Sequence[str] | None) -> pa.Table:
    return SCHEMAS[name].empty_table().select(list(columns or SCHEMAS[name].names))


def parts(run: Path, report: Report | None = None) -> list[Part]:
    """The parts of a run, in order.

    Args:
        run: its directory.
        report: told of each table folder that cannot be read; without, that is raised.

    Raises:
        DamagedFile: see `report`.
    """
    numbers: set[int] = set()
    for table in SCHEMAS:
        try:
            numbers |= {int(found[1]) for name in listed(run / table) if (found := _PART.fullmatch(name))}
        except DamagedFile as error:
            if report is None:
                raise
            report(error)
    return [Part(run, n) for n in sorted(numbers)]


def listed(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where there is no folder.

    Raises:
        DamagedFile: it cannot be read.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        absent(folder, error)
        return []

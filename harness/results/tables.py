"""Parts of the result tables in memory, and their atomic way to disk."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.results.schema import SCHEMA_VERSION, SCHEMAS
from harness.trial import TrialResult
from harness.whole import whole

Tables = dict[str, pa.Table]
ORDER = ("scores", "metrics", "trials")  # a row in trials/ promises its rows in the other two


def rows_to_tables(results: Sequence[TrialResult]) -> Tables:
    """The rows of trials as one Arrow table per result table."""
    rows: dict[str, list[Mapping[str, Any]]] = {"trials": [], "metrics": [], "scores": []}
    for result in results:
        tag = {"trial_id": result.trial["trial_id"]}
        rows["trials"].append(_with_times(result.trial))
        rows["metrics"] += [tag | dict(row) for row in result.metrics]
        rows["scores"] += [tag | dict(row) for row in result.scores]
    return {name: pa.Table.from_pylist(rows[name], schema=schema) for name, schema in SCHEMAS.items()}


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


@final
class Part:
    """One numbered file in each of the three table folders."""

    def __init__(self, run: Path, number: int):
        self.run, self.number = run, number

    def path(self, table: str) -> Path:
        return self.run / table / f"part-{self.number:05d}.parquet"

    def read(self, *, scores: bool = True) -> Tables:
        """The part's tables less rows whose trial never reached trials/; `scores` may be left out."""
        tables = {
            n: _read(self.path(n), schema) if scores or n != "scores" else schema.empty_table()
            for n, schema in SCHEMAS.items()
        }
        known = tables["trials"]["trial_id"].combine_chunks()
        return {name: table.filter(pc.field("trial_id").isin(known)) for name, table in tables.items()}

    def ids(self) -> set[str]:
        """The trials that the part holds."""
        path = self.path("trials")
        if not path.exists():
            return set()
        return set(read_columns(path, ["trial_id"])["trial_id"].to_pylist())

    def scores(self, trial_id: str) -> pa.Table:
        """The per-image scores of one trial."""
        table = _read(self.path("scores"), SCHEMAS["scores"])
        return table.filter(pc.field("trial_id") == trial_id)

    def write(self, tables: Tables) -> None:
        """Replace the part on disk, table by table, `trials` last."""
        for name in ORDER:
            write_parquet(self.path(name), tables[name])


def parts(run: Path) -> list[Part]:
    """The parts of a run, in order."""
    numbers = {int(p.stem.split("-")[1]) for t in SCHEMAS for p in (run / t).glob("part-*.parquet")}
    return [Part(run, n) for n in sorted(numbers)]


def read_columns(path: Path, names: Sequence[str] | None = None) -> pa.Table:
    """Columns of one file, all by default; a `key=value` in its path is no column."""
    with pq.ParquetFile(path) as file:
        return file.read(columns=names)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    """A table in today's schema: columns that an older file lacks are null."""
    if not path.exists():
        return schema.empty_table()
    table = read_columns(path)
    columns = [
        table[f.name].cast(f.type) if f.name in table.column_names else pa.nulls(len(table), f.type)
        for f in schema
    ]
    return pa.table(columns, schema=schema)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a file under another name, make it durable, rename it."""
    stamped = table.replace_schema_metadata({"ladder_schema": str(SCHEMA_VERSION)})
    with whole(path) as hidden:
        pq.write_table(stamped, hidden, compression="zstd")

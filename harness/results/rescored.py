"""Metrics computed anew, put in place of the old ones; under the lock of the run, when nobody writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.results.parquet import table_of, write_parquet
from harness.results.schema import METRICS
from harness.results.tables import Part, parts


def replace_metrics(run: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Replace rows of the metrics table.

    Args:
        run: a run directory whose journal is empty.
        rows: trial_id -> its new rows, without trial_id. Old rows of the same trial and metric go; rows
            of metrics that are not computed anew stay.
    """
    for part in parts(run):
        mine = {i: rows[i] for i in part.ids() & rows.keys()}
        if mine:
            write_parquet(part.path("metrics"), _merged(part, mine))


def _merged(part: Part, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> pa.Table:
    gone = {(i, row["metric"]) for i, found in rows.items() for row in found}
    old = part.read()["metrics"]
    pairs = zip(old["trial_id"].to_pylist(), old["metric"].to_pylist(), strict=True)
    kept = old.filter(pa.array([pair not in gone for pair in pairs], pa.bool_()))
    new = [{"trial_id": i, **row} for i, found in rows.items() for row in found]
    return pa.concat_tables([kept, table_of(new, METRICS)])

"""The files of a run: three Parquet tables, their journal, the configuration and the plan."""

from harness.results.directory import locked, write_plan, write_sweep
from harness.results.reader import Run, read_run, statuses
from harness.results.schema import SCHEMA_VERSION, SCHEMAS
from harness.results.writer import RunWriter

__all__ = [
    "SCHEMAS",
    "SCHEMA_VERSION",
    "Run",
    "RunWriter",
    "locked",
    "read_run",
    "statuses",
    "write_plan",
    "write_sweep",
]

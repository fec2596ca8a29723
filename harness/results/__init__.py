"""The files of a run: three Parquet tables, their journal, the configuration and the plan."""

from harness.results.adopt import Gathered, adopt, gather
from harness.results.directory import held, locked, write_plan, write_scales, write_sweep
from harness.results.driver import Driver, read_driver
from harness.results.journal import started_without_end
from harness.results.mend import check_mendable, mend
from harness.results.reader import Run, read_run, read_scores, statuses
from harness.results.schema import SCHEMA_VERSION, SCHEMAS
from harness.results.standing import Standing, lacking_notes, standing
from harness.results.writer import RunWriter

__all__ = [
    "SCHEMAS",
    "SCHEMA_VERSION",
    "Driver",
    "Gathered",
    "Run",
    "RunWriter",
    "Standing",
    "adopt",
    "check_mendable",
    "gather",
    "held",
    "lacking_notes",
    "locked",
    "mend",
    "read_driver",
    "read_run",
    "read_scores",
    "standing",
    "started_without_end",
    "statuses",
    "write_plan",
    "write_scales",
    "write_sweep",
]

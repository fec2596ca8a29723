"""The columns of the score table that comparisons need, of any number of trials."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness.results.journal import leftovers
from harness.results.reader import readable_ids
from harness.results.tables import parts, rows_to_tables

COLUMNS = ["trial_id", "image", "label", "score"]


def read_score_columns(path: Path, trial_ids: Collection[str]) -> pd.DataFrame:
    """Scores of some trials, those that are only in a journal included; each trial as it was written last.

    Args:
        path: a run directory.
        trial_ids: trials; those that have no scores are left out.

    Raises:
        DamagedFile: they cannot be read.

    Returns:
        Columns `trial_id, image, label` (categorical) and `score`.
    """
    wanted = set(trial_ids)
    journal = [r for r in leftovers(path) if r.trial["trial_id"] in wanted]
    found = [rows_to_tables(journal)["scores"].select(COLUMNS)]
    wanted -= {r.trial["trial_id"] for r in journal}
    for part in reversed(parts(path)):
        mine = readable_ids(part) & wanted
        wanted -= mine
        if mine:
            table = part.table("scores", COLUMNS)
            found.append(table.filter(pc.field("trial_id").isin(pa.array(sorted(mine), pa.string()))))
    return pa.concat_tables(found).to_pandas(categories=COLUMNS[:3])

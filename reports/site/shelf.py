"""The hidden folder of a site: digests of runs, leaderboards, and what was there at the last build.

All of it can be computed again. What cannot be read, or was written by another version, counts as not there.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import Any, final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.whole import whole
from reports.leaderboard import Board, Standing
from reports.site.digest import Digest, Read, read_digest
from reports.watching import stamp

FOLDER = ".ladder"
_RECORDS = [field.name for kind in (Digest, Board, Standing) for field in fields(kind)]
VERSION = hashlib.sha256(json.dumps([1, _RECORDS]).encode()).hexdigest()[:12]  # of everything here


def key_of(*words: str) -> str:
    """A file name for anything."""
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@final
class Kept:
    """The digest of one run on the shelf, and its tables, which are read when they are needed.

    Attributes:
        digest: the run in words.
        stamp: changes when the run does.
    """

    def __init__(self, folder: Path, digest: Digest, stamp: str):
        self.folder, self.digest, self.stamp = folder, digest, stamp

    @cached_property
    def labels(self) -> list[str]:
        """Every value of the column `protocols` of its trials."""
        return (
            pq.read_table(self.folder / "trials.parquet", columns=["protocols"])["protocols"]
            .unique()
            .to_pylist()
        )

    def trials(self) -> pd.DataFrame:
        """See `reports.site.digest.Read`."""
        return pq.read_table(self.folder / "trials.parquet").to_pandas()

    def metrics(self, trial_ids: pa.Array) -> pa.Table:
        """The rows of some trials."""
        table = pq.read_table(self.folder / "metrics.parquet")
        return table.filter(pc.is_in(table["trial_id"], trial_ids))  # pyright: ignore[reportAttributeAccessIssue]


@final
class Shelf:
    """The shelf of a site.

    Args:
        site: the folder of the site.
    """

    def __init__(self, site: Path):
        self.folder = site / FOLDER
        self.read: list[str] = []  # runs that were read, not taken from the shelf

    def digest(self, run: Path) -> Kept:
        """The digest of a run, read anew only where the run has changed.

        Raises:
            DataError: it is not a run, or its plan cannot be read.
        """
        folder = self.folder / "runs" / key_of(str(run.absolute()))
        now = hashlib.sha256(repr((VERSION, stamp([run]))).encode()).hexdigest()
        known = self.json(folder / "digest.json")
        if known is not None and known.get("stamp") == now and (folder / "metrics.parquet").is_file():
            return Kept(folder, _digest(known["digest"]), now)
        self.read.append(str(run))
        found = read_digest(run)
        self._write_tables(folder, found)
        self.write(folder / "digest.json", {"stamp": now, "digest": asdict(found.digest)})
        return Kept(folder, found.digest, now)

    def _write_tables(self, folder: Path, found: Read) -> None:
        (folder / "digest.json").unlink(missing_ok=True)  # it vouches for the tables
        for name, frame in (("trials", found.trials), ("metrics", found.metrics)):
            with whole(folder / f"{name}.parquet", durable=False) as hidden:
                pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), hidden, compression="zstd")

    def made(self, name: str, key: str, make: Callable[[], Any]) -> Any:
        """Something computed, kept as JSON until its key changes."""
        path = self.folder / "made" / f"{key_of(name)}.json"
        known = self.json(path)
        if known is not None and known.get("key") == key:
            return known["value"]
        value = json.loads(json.dumps(make()))
        self.write(path, {"key": key, "value": value})
        return value

    def tidy(self, kept: Sequence[Kept]) -> None:
        """Remove digests of runs that the site no longer has."""
        wanted = {run.folder for run in kept}
        for folder in (self.folder / "runs").glob("*"):
            if folder not in wanted:
                shutil.rmtree(folder)

    def json(self, path: Path) -> Any:
        """The content of a file of this version; None where there is none."""
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) and found.get("version") == VERSION else None

    def write(self, path: Path, content: dict[str, Any]) -> None:
        """Put such a file in its place."""
        with whole(path, durable=False) as hidden:
            hidden.write_text(json.dumps({"version": VERSION, **content}), encoding="utf-8")


def _digest(known: dict[str, Any]) -> Digest:
    lists = {name: [tuple(entry) for entry in known[name]] for name in ("facts", "failures")}
    return Digest(**{**known, **lists})

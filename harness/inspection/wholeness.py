"""What of a run is whole: every file against its digest, the tables against each other."""

import hashlib
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pyarrow as pa

from harness.errors import DamagedFile, DataError
from harness.results import aside, maps, views
from harness.results.driver import FILE as DRIVER
from harness.results.driver import read_driver
from harness.results.journal import Journalled, read_journals
from harness.results.kept import kept_path
from harness.results.parquet import absent, checked_bytes, is_whole, read_parquet
from harness.results.reader import PLAN_FILE, SWEEP_FILE, no_run, read_sweep
from harness.results.schema import PLAN, SCHEMAS
from harness.results.standing import Standing, lacking_notes, standing
from harness.results.tables import listed, parts

WHOLE, BARE, DAMAGED, MISSING = "whole", "no digest", "damaged", "missing"
KINDS = (maps.KIND, views.KIND)
Claims = Mapping[Path, tuple[str, str]]  # kept file -> its sha256 and its trial


@final
@dataclass(frozen=True)
class Finding:
    """One file.

    Attributes:
        path: where it lies.
        state: "whole", "no digest" (readable, written before there were digests), "damaged" or "missing".
        why: what is wrong.
        trial_id: whose file it is, of kept maps and views.
    """

    path: Path
    state: str
    why: str = ""
    trial_id: str = ""

    @property
    def bad(self) -> bool:
        """Whether something has to be done."""
        return self.state in (DAMAGED, MISSING)


@final
@dataclass(frozen=True)
class Wholeness:
    """What of a run is whole.

    Attributes:
        run: its directory.
        files: every file that holds results.
        lacking: trial_id -> what ok trials lack of their numbers.
        ended: trials that have ended and whose numbers are there.
        notes: what is unusual and no fault.
    """

    run: Path
    files: Sequence[Finding]
    lacking: Mapping[str, str]
    ended: int
    notes: Sequence[str]

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged, missing or lacking."""
        return not self.lacking and not any(found.bad for found in self.files)

    @property
    def counts(self) -> dict[str, int]:
        """State -> files."""
        return dict(Counter(found.state for found in self.files))

    @property
    def problems(self) -> list[str]:
        """A sentence for each thing that is not whole."""
        bad = [f"{found.path}: {found.why or found.state}" for found in self.files if found.bad]
        return bad + lacking_notes(self.run, self.lacking)


def wholeness(run: Path) -> Wholeness:
    """Look at every file of a run anew.

    Raises:
        DataError: there is no run.
    """
    if not any(os.path.lexists(run / name) for name in (SWEEP_FILE, *SCHEMAS)):
        raise no_run(run)
    stands, journal = standing(run), read_journals(run)
    files = [_sweep(run), _parquet(run / PLAN_FILE, PLAN), *_tables(run), *_journal(journal), *_driver(run)]
    notes = (*_unrun(run, stands), *_waiting(journal), *_strangers(run), *_aside(run))
    return Wholeness(run, [*files, *_kept(run)], stands.lacking, len(stands.statuses), notes)


def _sweep(run: Path) -> Finding:
    file = run / SWEEP_FILE
    try:
        as_written = read_sweep(run).as_written
    except DataError as error:
        return _damaged(error) if isinstance(error, DamagedFile) else Finding(file, MISSING)
    if as_written is False:
        return Finding(file, DAMAGED, "changed since the sweep wrote it")
    return Finding(file, WHOLE if as_written else BARE)


def _damaged(error: DamagedFile, trial_id: str = "") -> Finding:
    return Finding(error.path, DAMAGED, error.why, trial_id)


def _parquet(path: Path, schema: pa.Schema) -> Finding:
    try:
        data = checked_bytes(path, anew=True)
        if data is None:
            return Finding(path, MISSING)
        read_parquet(path, schema)
    except DamagedFile as error:
        return _damaged(error)
    return Finding(path, WHOLE if is_whole(data) else BARE)


def _tables(run: Path) -> Iterator[Finding]:
    damage: list[DamagedFile] = []
    for part in parts(run, damage.append):
        yield from (_parquet(part.path(name), schema) for name, schema in SCHEMAS.items())
    yield from map(_damaged, damage)


def _journal(journal: Journalled) -> Iterator[Finding]:
    yield from map(_damaged, journal.damage)


def _driver(run: Path) -> Iterator[Finding]:
    if os.path.lexists(run / DRIVER):
        readable = read_driver(run) is not None
        yield Finding(run / DRIVER, WHOLE) if readable else Finding(run / DRIVER, DAMAGED, "cannot be read")


def _kept(run: Path) -> Iterator[Finding]:
    """Kept maps and views: those that a trial says it has, and those of runs that did not say."""
    claims = _claims(run)
    yield from (_claimed(path, *claim) for path, claim in claims.items())
    for kind in KINDS:
        try:
            found = [run / kind / name for name in listed(run / kind) if name.endswith(".npz")]
        except DamagedFile as error:
            yield _damaged(error)
            continue
        yield from (_unclaimed(path) for path in found if path not in claims)


def _claims(run: Path) -> Claims:
    claims: dict[Path, tuple[str, str]] = {}
    for part in parts(run, lambda _: None):
        trials = part.read(lambda _: None, trials=("trial_id", "kept"))["trials"].to_pylist()
        for row in trials:
            named = {kept_path(run, k["name"], row["trial_id"]): k["sha256"] for k in row["kept"] or ()}
            claims |= {path: (sha256, row["trial_id"]) for path, sha256 in named.items()}
    return claims


def _claimed(path: Path, sha256: str, trial_id: str) -> Finding:
    try:
        data = path.read_bytes()
    except OSError as error:
        return _not_there(path, error, trial_id)
    if hashlib.sha256(data).hexdigest() != sha256:
        return Finding(path, DAMAGED, "is not what was written (its digest differs)", trial_id)
    return Finding(path, WHOLE, trial_id=trial_id)


def _not_there(path: Path, error: OSError, trial_id: str) -> Finding:
    try:
        absent(path, error)
    except DamagedFile as damage:
        return _damaged(damage, trial_id)
    return Finding(path, MISSING, trial_id=trial_id)


def _unclaimed(path: Path) -> Finding:
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
    except OSError as error:
        return _not_there(path, error, path.stem)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        return Finding(path, DAMAGED, f"cannot be read ({error})", path.stem)
    return Finding(path, DAMAGED, f"{bad} is damaged", path.stem) if bad else Finding(path, BARE)


def _unrun(run: Path, stands: Standing) -> Iterator[str]:
    try:
        planned = read_parquet(run / PLAN_FILE, PLAN, ["trial_id"])["trial_id"].to_pylist()
    except DamagedFile:
        return
    left = sum(i not in stands.statuses and i not in stands.lacking for i in planned)
    if left:
        yield f"{left} of {len(planned)} planned trials have no row"


def _waiting(journal: Journalled) -> Iterator[str]:
    if journal.results:
        yield f"results of {len(journal.results)} trials are in the journal and not yet in the tables"


def _strangers(run: Path) -> Iterator[str]:
    """Files that programs would read as parts of a table, and Ladder does not."""
    ours = {part.path(name) for part in parts(run, lambda _: None) for name in SCHEMAS}
    for table in SCHEMAS:
        try:
            names = [name for name in listed(run / table) if not name.startswith((".", "_"))]
        except DamagedFile:
            continue
        yield from (f"{run / table / n}: no part of the table" for n in names if run / table / n not in ours)


def _aside(run: Path) -> Iterator[str]:
    try:
        found = listed(run / aside.FOLDER)
    except DamagedFile:
        return
    if found:
        yield f"{run / aside.FOLDER}: {len(found)} things that were set aside; nothing reads them"

"""`python -m reports site RUN… [--out DIR]`: one static site over runs."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.addresses import local
from harness.errors import DataError, HarnessError
from harness.whole import whole
from reports.site.changes import changes, remembered, snapshot
from reports.site.gathering import gather
from reports.site.pages import pages
from reports.site.reported import reports_of
from reports.site.shelf import Kept, Shelf
from reports.site.view import Site, counted
from reports.watching import every, watch


@final
@dataclass(frozen=True)
class Built:
    """What a build did.

    Attributes:
        site: what was built.
        read: runs that were read; the others had not changed.
        written: pages that are new or differ.
        damaged: some run cannot be read, or not all of it.
    """

    site: Site
    read: tuple[str, ...]
    written: int
    damaged: bool


def main(arguments: Sequence[str]) -> int:
    """Build a site; 0, or 2 where a run cannot be read (the rest is built) or an option is wrong."""
    options = _parser().parse_args(arguments)
    try:
        if options.watch is None:
            return _told(build(options.runs, options.out), options.out)
        return watch(options.runs, lambda going: _once(options, going), options.watch)
    except HarnessError as error:
        print(f"reports site: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports site",
        description="One static site over runs: leaderboards per protocol, methods, runs, what has changed.",
        epilog="It is opened from its folder or served by any web server. The same command again reads "
        "only runs that have changed.",
    )
    parser.add_argument("runs", nargs="+", type=local, metavar="RUN", help="a run directory")
    parser.add_argument("--out", type=local, default=Path("site"), help="folder (default %(default)s)")
    parser.add_argument(
        "--watch", nargs="?", type=every, const=30, metavar="SECONDS",
        help="build it again while sweeps go on; pages refresh themselves (default %(const)s)",
    )  # fmt: skip
    return parser


def _once(options: argparse.Namespace, going: bool) -> int:
    return _told(build(options.runs, options.out, options.watch if going else 0), options.out)


def _told(built: Built, out: Path) -> int:
    site = built.site
    told = [counted(len(site.runs), "run"), f"{len(built.read)} read", counted(site.trials, "trial")]
    boards = sum(len(gathered.boards) for gathered in site.gathered)
    print(f"{out / 'index.html'}: {', '.join([*told, counted(boards, 'leaderboard')])}; "
          f"{counted(built.written, 'page')} written")  # fmt: skip
    for path, why in site.broken.items():
        print(f"reports site: {path}: {why}", file=sys.stderr)
    for run in (run for run in site.runs if run.damaged):
        print(f"reports site: {run.path}: some of it cannot be read; see its page", file=sys.stderr)
    return 2 if built.damaged else 0


def build(runs: Sequence[Path], out: Path, watched: int = 0) -> Built:
    """Build or renew a site.

    Args:
        runs: run directories; one given twice counts once, and the site itself is none.
        out: folder of the site.
        watched: seconds after which its pages look for newer ones; 0 for never.

    Raises:
        DataError: the site cannot be written.
    """
    try:
        wanted = [
            run for run in dict.fromkeys(runs) if run.resolve() != out.resolve()
        ]  # of runs/* --out runs/site
        return _build(wanted, out, watched)
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror})") from None


def _build(runs: Sequence[Path], out: Path, watched: int) -> Built:
    shelf = Shelf(out)
    kept, broken = _digests(runs, shelf)
    gathered = list(gather(kept, shelf))
    digests = [run.digest for run in kept]
    known = shelf.json(shelf.folder / "state.json") or {}
    now = snapshot(digests, gathered, broken)
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    changed = remembered(known.get("changes", []), changes(known.get("snapshot"), now), when)
    site = Site(digests, gathered, broken, changed, _different(kept), reports_of(digests, out), watched)
    written = _write(site, out)
    shelf.write(shelf.folder / "state.json", {"snapshot": now, "changes": changed})
    shelf.tidy(kept)
    return Built(site, tuple(shelf.read), written, bool(broken) or any(run.damaged for run in digests))


def _digests(runs: Sequence[Path], shelf: Shelf) -> tuple[list[Kept], dict[str, str]]:
    kept, broken = [], dict[str, str]()
    for path in runs:
        try:
            kept.append(shelf.digest(path))
        except DataError as error:
            broken[str(path)] = str(error).removeprefix(f"{path}: ")
    return kept, broken


def _different(kept: Sequence[Kept]) -> int:
    """Planned trials, those of several runs once."""
    ids = [pq.read_table(run.folder / "trials.parquet", columns=["trial_id"])["trial_id"] for run in kept]
    chunks = [chunk.cast(pa.string()) for some in ids for chunk in some.chunks]
    return int(pc.count_distinct(pa.chunked_array(chunks, pa.string())).as_py())  # pyright: ignore[reportAttributeAccessIssue]


def _write(site: Site, out: Path) -> int:
    """Pages that differ, the index last, and no others than those of this build."""
    made = dict(pages(site))
    written = 0
    for where, text in [
        *((w, t) for w, t in made.items() if w != "index.html"),
        ("index.html", made["index.html"]),
    ]:
        path, data = out / where, text.encode("utf-8", "backslashreplace")
        if not path.is_file() or path.read_bytes() != data:
            with whole(path, durable=False) as hidden:
                hidden.write_bytes(data)
            written += 1
    for folder in ("boards", "methods", "runs"):
        for path in (out / folder).glob("*.html"):
            if f"{folder}/{path.name}" not in made:
                path.unlink()
    return written

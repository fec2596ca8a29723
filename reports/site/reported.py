"""Reports of runs inside a site: a copy of each that has been made, so that the site can be served alone."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.whole import whole
from reports.page.parts import FOLDER as PARTS
from reports.render.html import PAGE
from reports.site.digest import Digest
from reports.site.shelf import key_of
from reports.watching import newest

REPORTS = "reports"  # folder of a site
BESIDE = (f"{PARTS}/*.js", "*/*.html")  # what a report's page reads, and the pages that it leads to


def reports_of(runs: Sequence[Digest], out: Path) -> Mapping[str, tuple[str, bool]]:
    """Run -> address of its report below the site, and whether it is older than its run."""
    found = {}
    for run in runs:
        made = Path(run.path) / "report" / PAGE
        name = key_of(run.path)
        if made.is_file():
            _copy(made, out / REPORTS / name)
            found[run.path] = f"{REPORTS}/{name}/{PAGE}", made.stat().st_mtime_ns < newest(Path(run.path))
    for folder in (out / REPORTS).glob("*"):
        if folder.name not in {address.split("/")[1] for address, _ in found.values()}:
            shutil.rmtree(folder)
    return found


def _copy(page: Path, folder: Path) -> None:
    """The page with what it leads to and reads, where that differs from what is there; the page last."""
    beside = [path for kind in BESIDE for path in sorted(page.parent.glob(kind))]
    for path in [*beside, page]:
        target = folder / path.relative_to(page.parent)
        if not _same(path, target):
            with whole(target, durable=False) as hidden:
                shutil.copy2(path, hidden)
    wanted = {path.relative_to(page.parent) for path in beside}
    for path in [path for kind in BESIDE for path in folder.glob(kind)]:
        if path.relative_to(folder) not in wanted:
            path.unlink()


def _same(first: Path, second: Path) -> bool:
    """Of the same size and time: copies keep the time."""
    if not second.is_file():
        return False
    a, b = first.stat(), second.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)

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
    """The page with its parts, where they differ from what is there; the page last, which asks for them."""
    parts = sorted((page.parent / PARTS).glob("*.js"))
    for path in [*parts, page]:
        target = folder / path.relative_to(page.parent)
        facts = path.stat()
        if not target.is_file() or (target.stat().st_size, target.stat().st_mtime_ns) != (
            facts.st_size,
            facts.st_mtime_ns,
        ):
            with whole(target, durable=False) as hidden:
                shutil.copy2(path, hidden)
    for path in (folder / PARTS).glob("*.js"):
        if path.name not in {part.name for part in parts}:
            path.unlink()

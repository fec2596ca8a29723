"""The manifest of a demo folder: with which settings it was drawn, and whether all of it is there."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.datasets.demo.files import write_json
from harness.datasets.demo.scenes.drawing import CATEGORIES, MIN_SIZE
from harness.errors import DataError
from harness.whole import PARTIALS

VERSION = 1
MARKER = "demo data, procedural: drawn by a program, not photographed; numbers on it are demo numbers"


@dataclass(frozen=True)
class Settings:
    """Everything that decides what lies in a demo folder."""

    size: int
    seed: int
    categories: tuple[str, ...]
    train: int
    validation: int
    good: int
    logical: int
    structural: int
    version: int = VERSION


def check(settings: Settings, workers: int | None) -> None:
    """Refuse settings that cannot be drawn, all of them at once.

    Raises:
        DataError: what is wrong with each.
    """
    problems = []
    if settings.size < MIN_SIZE:
        problems.append(f"size {settings.size}: at least {MIN_SIZE}")
    for key in ("train", "validation", "good", "logical", "structural", "seed"):
        if getattr(settings, key) < 0:
            problems.append(f"{key} {getattr(settings, key)}: not negative")
    if workers is not None and workers < 1:
        problems.append(f"workers {workers}: at least 1")
    if not settings.categories:
        problems.append(f"categories: at least one of {', '.join(CATEGORIES)}")
    if problems:
        raise DataError("demo data set: " + "; ".join(problems))


def complete(root: Path, settings: Settings) -> bool:
    """Whether the folder is finished; an unfinished, absent or empty one is to be (re)started.

    Raises:
        DataError: it holds something else.
    """
    if not root.exists():
        return False
    if not root.is_dir() or (
        not (root / "demo.json").is_file() and set(root.iterdir()) - set(root.glob(PARTIALS))
    ):
        raise DataError(f"{root}: neither empty nor a demo data set (no demo.json); choose another folder")
    if not (root / "demo.json").is_file():
        return False
    found = read_manifest(root)
    wanted = json.loads(json.dumps(asdict(settings)))
    differ = [
        f"{k}: there {found['settings'].get(k)}, asked for {wanted[k]}"
        for k in wanted
        if found["settings"].get(k) != wanted[k]
    ]
    if differ:
        raise DataError(
            f"{root}: holds demo data with other settings ({'; '.join(differ)}); "
            "choose another folder or delete it"
        )
    return bool(found["complete"])


def read_manifest(root: Path) -> dict:
    """The content of a demo folder's `demo.json`.

    Raises:
        DataError: it is absent or something else.
    """
    path = root / "demo.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found["settings"], dict) and "complete" in found:
            return found
    except FileNotFoundError:
        raise DataError(f"{path}: not there; {root} is no demo data set") from None
    except (ValueError, KeyError, TypeError):
        pass
    raise DataError(f"{path}: not the manifest of a demo data set; choose another folder or delete this one")


def write_manifest(root: Path, settings: Settings, complete: bool) -> None:
    """Say in the root what it holds, or is to hold."""
    per_category = (
        settings.train + settings.validation + settings.good + settings.logical + settings.structural
    )
    content = {
        "demo": True,
        "note": MARKER,
        "generator": "harness.datasets.demo",
        "settings": asdict(settings),
        "images": per_category * len(settings.categories),
        "complete": complete,
    }
    write_json(root, "demo.json", content)

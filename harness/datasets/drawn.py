"""What was drawn by this program says so: the mark of its numbers, and the files by which it is known."""

import json
from pathlib import Path
from typing import Any

DEMO_MARK = "demo data"
DEMO, SKETCH = "demo.json", "sketch.json"


def demo_state(root: Path) -> tuple[list[str], list[str]]:
    """The mark of demo data, whatever reads it, and the problem if drawing it was interrupted."""
    return _state(root / DEMO, "the demo data")


def sketch_state(root: Path) -> tuple[list[str], list[str]]:
    """The same of a sketch (`harness.data sketch`): its numbers are those of demo data."""
    return _state(root / SKETCH, "the sketch")


def sketched(root: Path) -> str:
    """The name of the data set that a folder is a sketch of; empty if it is none."""
    try:
        content = json.loads((root / SKETCH).read_text(encoding="utf-8"))
        return str(content.get("dataset", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _state(path: Path, what: str) -> tuple[list[str], list[str]]:
    if not path.is_file():
        return [], []
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        complete = content.get("complete", True)
    except (OSError, ValueError, AttributeError) as error:
        return [DEMO_MARK], [f"{path}: not readable ({error})"]
    return [DEMO_MARK], [] if complete else [f"{path.parent}: drawing {what} was interrupted; run it again"]

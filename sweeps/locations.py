"""Where a sweep file wants to write and read: folders that cannot be, and files that are none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.config import Problems
from harness.places import no_file, no_folder, trouble
from methods.shared.installed import INSTALLED
from methods.shared.weights import DEMO

NAMED = frozenset({DEMO, *INSTALLED})  # in place of a path: what ships with the project, or installs


def place_problems(raw: Mapping[str, Any]) -> Problems:
    """Folders that cannot be, a manifest that is none, weights that are no path; all before anything runs."""
    support, cache = (part if isinstance(part := raw.get(k), dict) else {} for k in ("support", "cache"))
    found = [("out", _no_run(raw)), ("cache.folder", _unusable(cache.get("folder"), no_folder))]
    weights = raw.get("weights")
    if isinstance(weights, str) and weights not in ("", *NAMED):
        found.append(("weights", trouble(weights)))
    if support.get("rule") == "manifest":
        given = support.get("manifest")
        found.append(
            ("support.manifest", _unusable(given, no_file) if given else "is what the rule draws from")
        )
    return [(key, text) for key, text in found if text]


def _no_run(raw: Mapping[str, Any]) -> str:
    out, name = raw.get("out"), raw.get("name")
    own = str(Path("runs", name)) if isinstance(name, str) and name and not trouble(name) else None
    return _unusable(own if out is None else out, no_folder)


def _unusable(value: Any, look: Any) -> str:
    """What stands at a place against its use; quiet where the schema speaks."""
    if not isinstance(value, str) or "${" in value or trouble(value):
        return ""
    return look(Path(value).expanduser().absolute())

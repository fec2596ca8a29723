"""What is remembered from sweep to sweep: small JSON files in the cache folder, an economy and no truth.

Every run writes them as it goes, so that they hold what the tables of earlier runs would say, for whoever has
the same `LADDER_CACHE`: nobody reads those tables for it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from harness.trial import Trial
from harness.whole import whole

VERSION = 1
MOST_KEPT = 20_000  # entries, some 3 MB; the longest unused go first
MANY = 8  # values of a parameter: more are an axis that is scanned, not settings that weigh differently


@final
class Kinds:
    """Names for trials that cost alike: method, shots, input sizes, and parameters that are names or counts.

    Floating-point parameters (margins, quantiles) weigh nothing, nor do parameters of which a sweep tries
    many values: each of them would be the first of its kind.

    Args:
        trials: of the sweep.

    Attributes:
        images: that such a trial scores, on average.
    """

    def __init__(self, trials: Iterable[Trial]):
        self._values: dict[tuple[str, str], set[str]] = {}
        self._names: dict[str, str] = {}
        found = list(trials)
        self.images = sum(trial.images for trial in found) / max(len(found), 1)
        for trial in found:
            for name, value in trial.params.items():
                seen = self._values.setdefault((trial.method, name), set())
                if len(seen) <= MANY:
                    seen.add(repr(value))

    def of(self, trial: Trial) -> str:
        """The kind of a trial, whatever its category: "patchcore 4-shot 256x256 1f0a93"."""
        if trial.id not in self._names:
            shots = "full" if trial.shots is None else f"{trial.shots}-shot"
            sizes = "+".join("x".join(str(n) for n in size if n is not None) for size in trial.sizes)
            words = (trial.method, shots, sizes, self._weighty(trial))
            self._names[trial.id] = " ".join(word for word in words if word)
        return self._names[trial.id]

    def _weighty(self, trial: Trial) -> str:
        found = [
            (name, value)
            for name, value in sorted(trial.params.items())
            if not isinstance(value, float)
            and name not in trial.paths  # the same weights may lie elsewhere tomorrow
            and len(self._values.get((trial.method, name), ())) <= MANY
        ]
        return hashlib.sha256(json.dumps(found, default=repr).encode()).hexdigest()[:6]


def recall(path: Path | None) -> dict[str, dict[str, Any]]:
    """Entries of a file; none where there is none, or where it is not what was written."""
    if path is None:
        return {}
    # OSError: nobody's, on a disk that is gone; ValueError: half a file, or not text
    with suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("version") == VERSION:
            entries = content.get("entries")
            if isinstance(entries, dict):
                return {key: e for key, e in entries.items() if isinstance(e, dict)}
    return {}


def keep(path: Path | None, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Put entries beside those that other sweeps wrote meanwhile; what cannot be written is forgotten."""
    if path is None or not entries:
        return
    there = {key: e for key, e in recall(path).items() if key not in entries}
    # ours last: they were used last
    latest = dict(list({**there, **entries}.items())[-MOST_KEPT:])
    with suppress(OSError), whole(path, durable=False) as hidden:
        hidden.write_text(json.dumps({"version": VERSION, "entries": latest}, indent=0), encoding="utf-8")


def numbers(value: Any) -> list[float]:
    """The finite, non-negative numbers of a list; anything else is damage and left out."""
    found = value if isinstance(value, list) else [value]
    # bool is an int; NaN compares with nothing
    return [float(n) for n in found if isinstance(n, int | float) and n is not True and 0 <= n < 1e12]

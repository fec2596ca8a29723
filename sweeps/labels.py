"""Under which protocols the trials of a sweep are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

from harness.config import SweepConfig
from harness.protocols.parts import as_planned, label_of, records, told
from harness.trial import Trial


@final
class Labels:
    """What tables call the protocols of a sweep, by trial.

    Args:
        config: the sweep.
    """

    def __init__(self, config: SweepConfig):
        self._records = {record["label"]: record for record in records(config.record())}
        self._of: dict[str, list[str]] = {}

    def asks(self, label: str, trials: Sequence[Trial]) -> None:
        """One protocol asks for these trials; nothing of a sweep that names none."""
        if not label:
            return
        final = label_of(self._records[label], {trial.category for trial in trials})
        for trial in trials:
            self._of.setdefault(trial.id, []).append(final)

    def on(self, trial: Trial) -> Trial:
        """The trial with the protocols that ask for it."""
        found = self._of.get(trial.id)
        return replace(trial, protocols=tuple(found)) if found else trial

    def told(self) -> list[str]:
        """What the sweep is measured under: a line for each protocol, or for each step between two."""
        found = as_planned(list(self._records.values()), {label for of in self._of.values() for label in of})
        if not (found and found[0]["step"]):
            return [told(record) for record in found]
        return _path(found)


def _path(found: Sequence[Mapping[str, Any]]) -> list[str]:
    ends = [record for record in found if record["protocol"]]
    steps = [f"{r['step']['factor']}: {r['step']['what']}" for r in found if r["step"].get("factor")]
    return [f"from {told(ends[0])}", f"to {told(ends[-1])}", *dict.fromkeys(f"  {step}" for step in steps)]

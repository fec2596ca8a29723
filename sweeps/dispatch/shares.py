"""How much of a card a trial gets: what trials of its kind were seen to need, with some room."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from harness.method import Resources
from sweeps.dispatch.memory import keep, numbers, recall

HEADROOM = 1.15  # fragments, and categories with more images than those that were measured
RECENT = 32  # peaks kept per kind; the greatest counts, so that one odd trial is forgotten in time
GRAIN = 100  # shares are hundredths, rounded up: equal shares let Tune reuse a process
FILE = "packing.json"


@final
class Shares:
    """Memory that kinds of trials need on a card, in MiB, from this sweep and earlier ones.

    Args:
        folder: where `packing.json` lies, shared between sweeps; None keeps nothing.
    """

    def __init__(self, folder: Path | None = None):
        self._path = folder / FILE if folder else None
        # kind -> latest peaks; a trial that ran out counts with twice what it had
        self._peaks = {
            kind: peaks for kind, e in recall(self._path).items() if (peaks := numbers(e.get("mib")))
        }
        # where cards' sizes are unknown only shares can be doubled
        self._least: dict[str, float] = {}
        self._changed: set[str] = set()

    def need(self, kind: str) -> float | None:
        """MiB at the peak, or None while nothing is known."""
        return max(self._peaks[kind]) if kind in self._peaks else None

    def share(self, kind: str, wanted: Resources, card_mib: float | None) -> float:
        """GPUs for a trial: 0, a share in hundredths, or whole ones.

        Args:
            kind: see `Kinds`.
            wanted: of the method and the sweep file.
            card_mib: memory of a card of the node; None if unknown.
        """
        if wanted.gpus > 1:
            return float(math.ceil(wanted.gpus))
        if not wanted.auto or not wanted.gpus:
            return wanted.gpus
        # floor: three of 0.34 are not three on a card; ten-thousandths are Ray's own grain
        fair = math.floor(10_000 / wanted.most_per_card) / 10_000
        return min(max(self._measured(kind, wanted, card_mib), fair), 1.0)

    def _measured(self, kind: str, wanted: Resources, card_mib: float | None) -> float:
        need = self.need(kind)
        if not card_mib:
            return max(wanted.gpus, self._least.get(kind, 0.0))
        # the first of its kind has a card for itself
        return 1.0 if need is None else math.ceil(need * HEADROOM / card_mib * GRAIN) / GRAIN

    def learn(self, kind: str, peak_mib: float | None) -> None:
        """A trial that had a card has ended ok; None: it used none of its memory."""
        self._add(kind, peak_mib or 0.0)

    def short(self, kind: str, share: float, card_mib: float | None) -> None:
        """A trial ran out of its share; its kind gets twice as much from now on."""
        self._least[kind] = min(2 * share, 1.0)
        if card_mib:
            # without the headroom that is added again
            self._add(kind, 2 * share * card_mib / HEADROOM)

    def _add(self, kind: str, mib: float) -> None:
        self._peaks[kind] = [*self._peaks.get(kind, []), mib][-RECENT:]
        self._changed.add(kind)

    def save(self) -> None:
        """Keep what was learned."""
        keep(self._path, {kind: _entry(self._peaks[kind]) for kind in self._changed})
        self._changed.clear()


def _entry(peaks: list[float]) -> Mapping[str, Any]:
    return {"mib": [round(mib) for mib in peaks]}

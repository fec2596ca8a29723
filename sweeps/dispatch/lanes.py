"""What waits to be started, sorted into lanes of trials that are alike."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

from harness.method import Resources
from harness.trial import Trial
from sweeps.dispatch.memory import Kinds
from sweeps.plan import WorkUnit, unit_id

Block = tuple[Trial, ...]  # trials that stay together: a stack, else one trial
Arrays = tuple[object, ...]  # what identifies the arrays that a trial finds or computes


@final
@dataclass(eq=False)
class Lane:
    """Trials of one kind and category, with the same resources.

    Attributes:
        kind: what decides their memory (`Kinds`, and how many train as one).
        wanted: resources as the sweep asks for them.
        arrays: what their arrays depend on; trials of other methods may share them.
        sample: one of them, to speak for all.
        blocks: that wait, in order.
        passed: how often shorter ones were started while the first block had no room.
        barred: nodes that cannot run them, though they run others -> "host: why".
    """

    kind: str
    wanted: Resources
    arrays: Arrays
    sample: Trial
    blocks: deque[Block] = field(default_factory=deque)
    passed: int = 0
    barred: dict[str, str] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """How many trials wait; all blocks of a lane are of one length."""
        return len(self.blocks) * len(self.blocks[0]) if self.blocks else 0

    def cut(self, most: int) -> Block:
        """Take out the next `most` trials, or a stack."""
        if len(self.blocks[0]) > 1:
            return self.blocks.popleft()
        taken = []
        while self.blocks and len(self.blocks[0]) == 1 and len(taken) < most:
            taken += self.blocks.popleft()
        return tuple(taken)


@final
class Lanes:
    """All that waits.

    Args:
        units: as planned; the dispatcher divides them anew, only stacks stay whole.
        kinds: of their trials.
    """

    def __init__(self, units: Iterable[WorkUnit], kinds: Kinds):
        self._kinds = kinds
        self._lanes: dict[tuple[object, ...], Lane] = {}
        for unit in units:
            self.add(unit)

    def __iter__(self) -> Iterator[Lane]:
        """Lanes in which something waits."""
        return (lane for lane in self._lanes.values() if lane.blocks)

    def __len__(self) -> int:
        """How many trials wait."""
        return sum(lane.waiting for lane in self)

    def add(self, unit: WorkUnit, again: bool = False) -> None:
        """Queue trials; those that come back go first: they were the longest."""
        blocks = [unit.trials] if unit.together else [(trial,) for trial in unit.trials]
        for block in reversed(blocks) if again else blocks:
            lane = self._lane(block, unit.resources)
            lane.blocks.appendleft(block) if again else lane.blocks.append(block)

    def _lane(self, block: Block, wanted: Resources) -> Lane:
        first, stack = block[0], f" x{len(block)}" if len(block) > 1 else ""
        kind = self._kinds.of(first) + stack
        key = (kind, first.dataset, first.category, wanted)
        if key not in self._lanes:
            weights = tuple(sorted(asset.sha256 for asset in first.assets))
            arrays = (first.fingerprint, first.category, first.sizes, weights)
            self._lanes[key] = Lane(kind, wanted, arrays, first)
        return self._lanes[key]


def unit_of(trials: Sequence[Trial], resources: Resources) -> WorkUnit:
    """A unit of these trials."""
    return WorkUnit(unit_id(trials), tuple(trials), resources)

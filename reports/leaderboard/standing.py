"""What a leaderboard is, before it has a format."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Standing:
    """One method on one board.

    Attributes:
        variant: the method as tables name it.
        method: its key.
        rank: 1 + the number of methods in better groups; None where it has no number over all units.
        mean_rank: over units, ties counted half; None likewise, and where nobody else has one.
        improvability: 0 to 1, see `reports.leaderboard.ranks.improvability`.
        value: mean over units of the mean over seeds, as metrics give it.
        std: sample standard deviation over seeds of the mean over units; None for one seed.
        low, high: ends of the interval of the value over images; None where images do not give it.
        seconds_per_image: median over its ok trials.
        gpu_hours, cpu_hours: of its trials that ended, ok or not; None where none ran on that.
        ok, planned: trials.
        seeds: most that are in one of its cells.
        marks: what has to be said of its numbers.
        badges: what decides with whom it may be compared ("trained", "text").
        why: what keeps it from being ranked, "" if nothing does.
        units: unit -> its mean over seeds, for units that are complete.
    """

    variant: str
    method: str
    rank: int | None
    mean_rank: float | None
    improvability: float | None
    value: float | None
    std: float | None
    low: float | None
    high: float | None
    seconds_per_image: float | None
    gpu_hours: float | None
    cpu_hours: float | None
    ok: int
    planned: int
    seeds: int
    marks: tuple[str, ...]
    badges: tuple[str, ...]
    why: str
    units: dict[str, float]

    @property
    def hours(self) -> float | None:
        """Of a GPU, where it ran on one, else of a CPU."""
        return self.cpu_hours if self.gpu_hours is None else self.gpu_hours


@final
@dataclass(frozen=True)
class Board:
    """One leaderboard.

    Attributes:
        dataset: as tables name it.
        protocol: the rule by which supports were drawn, or the name that the sweep gives to its protocol; ""
            where neither is known.
        measure: metric with its limit, as one word.
        title: the same as printed.
        subset: all, logical, structural or mean.
        shots: number of support images; `reports.frame.naming.FULL` for all.
        units: categories that the numbers are means over.
        left_out: categories that have no part in them, each with the reason.
        tested: ranks are groups of methods that images cannot tell apart, else the order of the numbers.
        higher_is_better: None where nobody knows, and then nobody is ranked.
        standings: ranked ones first.
    """

    dataset: str
    protocol: str
    measure: str
    title: str
    subset: str
    shots: int
    units: tuple[str, ...]
    left_out: dict[str, str]
    tested: bool
    higher_is_better: bool | None
    standings: tuple[Standing, ...]

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What no other board of a frame has."""
        return self.dataset, self.protocol, self.measure, self.subset, self.shots

    @property
    def ranked(self) -> list[Standing]:
        """Those with a rank."""
        return [s for s in self.standings if s.rank is not None]

    @property
    def leaders(self) -> list[Standing]:
        """The first group: the best, and those that cannot be told from it."""
        return [s for s in self.standings if s.rank == 1]

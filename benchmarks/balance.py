"""How well the dispatcher balances, packs and places: sweeps on declared costs, played through an event loop.

    python -m benchmarks.balance [--seeds N]

Nothing is computed and no time passes: what a trial takes, what it needs of a card and what its arrays cost
is drawn once (1 s to 2 h), and the dispatcher is told as each trial ends. *Makespan* is held against the
bound that no schedule can beat: all work over all slots, or the longest trial. *Passes* are computations of
one category's arrays, over the unique ones. The peer is the plan as it was: units of one method and
category, in the order of the sweep file, each to the slot that is free first.
"""

import argparse
import heapq
import itertools
import random
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.method import Asset, Resources
from harness.trial import Trial
from sweeps.dispatch import Assignment, Costs, Dispatcher, Kinds, Node, Shares
from sweeps.plan import WorkUnit, make_plan

CATEGORIES, METHODS, SHOTS, SEEDS = 9, 8, (1, 4, None), 5
SHORTEST, LONGEST = 1.0, 7200.0  # seconds of a trial
START = 0.1  # seconds that Tune and the cluster take to begin a unit
BACKBONES = 5  # for eight methods: some share one
CARD_MIB = 24_000


@dataclass(frozen=True)
class World:
    """What is true of a sweep, and what its cards say.

    Attributes:
        trials: of the sweep.
        seconds: trial id -> what it takes where its arrays are.
        arrays: trial id -> what it computes where they are not, and the seconds of that.
        peaks: trial id -> MiB that it needs of a card.
        guesses: method -> seconds that its card says.
    """

    trials: Sequence[Trial]
    seconds: Mapping[str, float]
    arrays: Mapping[str, tuple[object, float]]
    peaks: Mapping[str, float]
    guesses: Mapping[str, float]

    @property
    def passes(self) -> Mapping[object, float]:
        """Arrays -> seconds to compute them once."""
        return dict(self.arrays.values())

    def bound(self, slots: int) -> float:
        """Seconds that no schedule can beat."""
        work = sum(self.seconds.values()) + sum(self.passes.values())
        return max(work / slots, max(self.seconds.values()))


@dataclass
class Played:
    """What came of it."""

    makespan: float = 0.0
    units: int = 0
    passes: int = 0
    ooms: int = 0
    asked: float = 0.0  # share-seconds of cards that were given
    needed: float = 0.0  # and that were needed
    order: list[str] = field(default_factory=list)


def world(seed: int, known: float, shots: Sequence[int | None] = SHOTS, seeds: int = SEEDS) -> World:
    """A sweep of 9 categories × 8 methods.

    Args:
        seed: of everything that is drawn.
        known: factor by which the cards' guesses are off, up or down; 0 where they say nothing.
        shots, seeds: of every method and category.
    """
    draw = random.Random(seed)
    base = [SHORTEST * (LONGEST / SHORTEST) ** ((m + draw.random()) / METHODS) for m in range(METHODS)]
    draw.shuffle(base)
    size = [draw.uniform(0.6, 1.5) for _ in range(CATEGORIES)]
    # what a category takes goes with its images, loosely
    images = [round(100 * s * draw.uniform(0.8, 1.25)) for s in size]
    # networks of similar size over the same images, whatever follows
    passing = [draw.uniform(10.0, 60.0) for _ in range(BACKBONES)]
    trials, seconds, arrays, peaks = [], {}, {}, {}
    for m, c, k, n in itertools.product(range(METHODS), range(CATEGORIES), shots, range(seeds)):
        asset = Asset(f"backbone{m % BACKBONES}", str(m % BACKBONES))
        trial = Trial(
            f"m{m}", 1, {}, "sim", f"c{c}", f"f{c}", k, ("p",), n, n, assets=(asset,), images=images[c]
        )
        scale = size[c] * {1: 0.5, 4: 0.7, None: 1.2}[k] * draw.uniform(0.9, 1.1)
        trials.append(trial)
        seconds[trial.id] = min(max(base[m] * scale, SHORTEST), LONGEST)
        arrays[trial.id] = ((c, m % BACKBONES), passing[m % BACKBONES] * size[c])
        peaks[trial.id] = (1500 + 900 * m) * draw.uniform(0.9, 1.0) * (1.2 if k is None else 1.0)
    guesses = {f"m{m}": base[m] * known ** draw.choice((-1, 1)) if known else 60.0 for m in range(METHODS)}
    return World(trials, seconds, arrays, peaks, guesses)


def play(truth: World, nodes: Sequence[Node], wanted: Resources, shared_store: bool = False) -> Played:
    """A sweep from its first trial to its last."""
    now, played = [0.0], Played()
    kinds = Kinds(truth.trials)
    units = make_plan([(t, wanted) for t in truth.trials], {}).units
    dispatcher = Dispatcher(
        units,
        kinds=kinds,
        costs=Costs(kinds, guess=truth.guesses.__getitem__),
        shares=Shares(),
        clock=lambda: now[0],
    )
    for node in nodes if shared_store else ():
        dispatcher.shares_store(node.id)
    events: list[tuple[float, int, Assignment, int]] = []
    number = itertools.count()
    there: dict[str, set[object]] = {}

    def begin(assignment: Assignment, index: int, delay: float) -> None:
        trial = assignment.unit.trials[index]
        arrays, cost = truth.arrays[trial.id]
        place = there.setdefault("" if shared_store else assignment.node, set())
        computed[trial.id] = arrays not in place
        place.add(arrays)
        took[trial.id] = truth.seconds[trial.id] + cost * computed[trial.id]
        short = assignment.resources.gpus * CARD_MIB < truth.peaks[trial.id] and assignment.resources.gpus
        end = now[0] + delay + took[trial.id] * (0.5 if short else 1.0)
        heapq.heappush(events, (end, next(number), assignment, index))

    def fill() -> None:
        while assignment := dispatcher.next(nodes):
            played.units += 1
            played.order.append(assignment.unit.trials[0].id)
            begin(assignment, 0, START)

    computed: dict[str, bool] = {}
    took: dict[str, float] = {}
    fill()
    while events:
        now[0], _, assignment, index = heapq.heappop(events)
        trial, unit, share = assignment.unit.trials[index], assignment.unit.id, assignment.resources.gpus
        row = {"trial_id": trial.id, "status": "ok", "total_seconds": took[trial.id], "device": "cuda:0"}
        row |= {"artifact_computes": int(computed[trial.id]), "peak_gpu_mib": truth.peaks[trial.id]}
        played.passes += computed[trial.id]
        if share and share * CARD_MIB < truth.peaks[trial.id]:
            played.ooms += 1
            assert dispatcher.oom(unit, row | {"status": "oom"})
        else:
            dispatcher.trial_ended(unit, row)
            played.asked += share * took[trial.id]
            played.needed += truth.peaks[trial.id] / CARD_MIB * took[trial.id]
        if index + 1 < len(assignment.unit.trials) and dispatcher.go_on(unit):
            begin(assignment, index + 1, 0.0)
        else:
            dispatcher.unit_ended(unit)
            fill()
    assert dispatcher.done
    played.makespan = now[0]
    return played


def before(truth: World, nodes: Sequence[Node]) -> float:
    """Makespan of units in the order of the sweep file, sized by the driver's two cores."""
    units = make_plan([(t, Resources()) for t in truth.trials], {}).units
    slots = [(0.0, n, node.id) for n, node in enumerate(n for n in nodes for _ in range(int(n.cpus)))]
    there: set[tuple[str, object]] = set()
    for unit in units:
        free, n, node = heapq.heappop(slots)
        heapq.heappush(slots, (free + START + _unit_seconds(truth, unit, node, there), n, node))
    return max(slots)[0]


def _unit_seconds(truth: World, unit: WorkUnit, node: str, there: set[tuple[str, object]]) -> float:
    total = 0.0
    for trial in unit.trials:
        arrays, cost = truth.arrays[trial.id]
        total += truth.seconds[trial.id] + cost * ((node, arrays) not in there)
        there.add((node, arrays))
    return total


def clusters() -> Iterator[tuple[str, list[Node]]]:
    """Nodes by their slots."""
    for slots in ([2], [2, 2], [1, 1, 1, 1], [2, 2, 2, 2], [8, 4, 2, 2], [4, 4, 4, 4]):
        yield "+".join(map(str, slots)), [Node(str(i), f"n{i}", n) for i, n in enumerate(slots)]


def worst(values: Iterable[float]) -> str:
    found = list(values)
    return f"{statistics.mean(found):.2f} / {max(found):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="sweeps that are drawn")
    seeds = range(parser.parse_args().seeds)
    print(f"makespan / bound and passes / unique, each: mean / worst of {len(seeds)}")
    names = ("trials", "slots", "guesses", "makespan", "passes", "units", "before")
    print("{:>7} {:>8} {:>7} {:>12} {:>12} {:>6} {:>12}".format(*names))
    for shots, number in ((SHOTS, SEEDS), ((4,), 2)):
        for name, nodes in clusters():
            for known in (0.0, 3.0):
                truths = [world(seed, known, shots, number) for seed in seeds]
                line(name, nodes, truths, f"±{known:g}×" if known else "none")
    cards(seeds)


def line(name: str, nodes: Sequence[Node], truths: Sequence[World], guesses: str) -> None:
    slots = int(sum(node.cpus for node in nodes))
    played = [play(truth, nodes, Resources()) for truth in truths]
    spans = worst(p.makespan / t.bound(slots) for p, t in zip(played, truths, strict=True))
    passes = worst(p.passes / len(t.passes) for p, t in zip(played, truths, strict=True))
    old = worst(before(t, nodes) / t.bound(slots) for t in truths)
    units = statistics.mean(p.units for p in played)
    shown = f"{len(truths[0].trials):7d} {name:>8} {guesses:>7} {spans:>12} {passes:>12}"
    print(f"{shown} {units:6.0f} {old:>12}", flush=True)


def cards(seeds: Iterable[int]) -> None:
    """Packing of cards of 24 GB, against a whole card for every trial; shares given over memory needed."""
    print(f"\n{'cards':>7} {'time of whole cards':>20} {'given / needed':>16} {'oom':>5}")
    for count in (1, 4):
        nodes = [Node(str(i), f"n{i}", 32, 1, (CARD_MIB,)) for i in range(count)]
        auto = [play(world(seed, 3.0), nodes, Resources(gpus=0.25)) for seed in seeds]
        whole = [play(world(seed, 3.0), nodes, Resources(gpus=1, auto=False)) for seed in seeds]
        faster = worst(a.makespan / w.makespan for a, w in zip(auto, whole, strict=True))
        given = worst(p.asked / p.needed for p in auto)
        print(f"{count:7d} {faster:>20} {given:>16} {sum(p.ooms for p in auto):5d}", flush=True)


if __name__ == "__main__":
    main()

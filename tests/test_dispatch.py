"""What starts next: whole, longest first, never more than a node has, and everything once."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.balance import CARD_MIB, play, world
from benchmarks.balance import clusters as slotted
from harness.method import Resources
from harness.trial import Trial
from sweeps.dispatch import Assignment, Costs, Dispatcher, Kinds, Node, Shares
from sweeps.dispatch.costs import Expected
from sweeps.dispatch.forecast import Forecast
from sweeps.plan import WorkUnit, unit_id

BASE = Trial("m", 1, {}, "d", "c", "f", 1, ("p",), 0, 0)
CARD = Resources(gpus=0.25, cpus=1)
HEAD, CARDS = Node("h", "head", 4), Node("g", "cards", 8, 2, (24_000, 24_000))


def unit(number: int = 1, wanted: Resources = CARD, **changes: Any) -> WorkUnit:
    trials = tuple(replace(BASE, run_seed=n, **changes) for n in range(number))
    return WorkUnit(unit_id(trials), trials, wanted)


def dispatcher(
    *units: WorkUnit, folder: Path | None = None, guess: float = 60.0, **options: Any
) -> Dispatcher:
    kinds = Kinds(t for u in units for t in u.trials)
    costs = Costs(kinds, folder, lambda method: guess)
    return Dispatcher(units, kinds=kinds, costs=costs, shares=Shares(folder), **options)


def started(d: Dispatcher, *nodes: Node) -> list[Assignment]:
    return list(iter(lambda: d.next(nodes), None))


def end(d: Dispatcher, a: Assignment, seconds: float = 1.0, peak: float | None = 3000.0, **more: Any) -> None:
    for trial in a.unit.trials:
        row = {"trial_id": trial.id, "status": "ok", "total_seconds": seconds, "peak_gpu_mib": peak} | more
        d.trial_ended(a.unit.id, row)
    d.unit_ended(a.unit.id)


@st.composite
def clusters(draw: st.DrawFn) -> list[Node]:
    sizes = st.tuples(st.integers(0, 8), st.integers(0, 4), st.sampled_from([0, 8_000, 24_000]))
    made = draw(st.lists(sizes, min_size=1, max_size=4))
    return [
        Node(str(i), f"n{i}", cpus, gpus, (mib,) * gpus if mib else ())
        for i, (cpus, gpus, mib) in enumerate(made)
    ]


WANTED = st.builds(
    Resources,
    gpus=st.sampled_from([0, 0.25, 0.5, 1, 2]),
    cpus=st.sampled_from([0.5, 1, 3, 16]),
    auto=st.booleans(),
    most_per_card=st.sampled_from([1, 3, 8]),
)


@settings(max_examples=60, deadline=None)
@given(clusters(), st.lists(st.tuples(st.integers(1, 12), WANTED), max_size=4), st.data())
def test_every_trial_runs_once_and_no_node_gives_more_than_it_has(
    nodes: list[Node], asked: list[tuple[int, Resources]], data: st.DataObject
):
    units = [unit(n, wanted, method=f"m{i}") for i, (n, wanted) in enumerate(asked)]
    d = dispatcher(*units, patience=0)
    d.without_gpus(nodes)
    ran: Counter[str] = Counter()
    while True:
        started(d, *nodes)
        _within(d, nodes)
        if not d.running:
            break
        a = data.draw(st.sampled_from(list(d.running.values())))
        ran.update(t.id for t in a.unit.trials)
        end(d, a, seconds=data.draw(st.sampled_from([0.1, 100.0])), peak=data.draw(st.floats(0, 30_000)))
    left = [t.id for u in d.give_up(nodes) for t in u.trials]
    assert d.done
    assert sorted([*ran.elements(), *left]) == sorted(t.id for u in units for t in u.trials)
    # what no node holds, and nothing else, is left
    holding = [n for n in nodes if n.cpus]
    most = max((n.gpus for n in holding), default=0)
    no_cards = not any(n.gpus for n in nodes)
    fine = [u for u in units if holding and (no_cards or u.resources.gpus <= most)]
    assert len(ran) == sum(len(u.trials) for u in fine)


def _within(d: Dispatcher, nodes: list[Node]) -> None:
    for node in nodes:
        here = [a.resources for a in d.running.values() if a.node == node.id]
        assert sum(r.cpus for r in here) <= node.cpus + 1e-6
        assert sum(r.gpus for r in here) <= node.gpus + 1e-6
        # shares of one card cannot lie on two
        assert sum(r.gpus > 0.5 for r in here) <= node.gpus


def test_cores_and_cards_are_of_one_node():
    one_core = Node("g", "cards", 1, 4)
    (a,) = started(dispatcher(unit(wanted=replace(CARD, cpus=2))), HEAD, one_core)
    assert (a.node, a.resources.cpus, a.resources.gpus) == ("g", 1, 0.25)


def test_a_card_that_comes_late_is_waited_for_and_used():
    now = [0.0]
    d = dispatcher(unit(8), clock=lambda: now[0])
    assert not started(d, HEAD) and d.without_gpus([HEAD]) is None
    now[0] = 59
    assert d.without_gpus([HEAD]) is None
    assert {a.node for a in started(d, HEAD, CARDS)} == {"g"}
    now[0] = 1000
    # it has had cards: their loss is no reason to go on without
    assert d.without_gpus([HEAD]) is None and not started(d, HEAD)


def test_a_cluster_without_cards_says_so_once_and_goes_back_when_one_comes():
    d = dispatcher(unit(9), unit(3, wanted=Resources(), method="plain"), patience=0)
    assert d.without_gpus([HEAD], pending=True) is None
    assert "no GPU in the cluster: m run on CPUs" in (d.without_gpus([HEAD]) or "")
    assert d.without_gpus([HEAD]) is None
    first = started(d, HEAD)
    assert {a.unit.trials[0].method for a in first} <= {"m", "plain"}
    assert all(a.resources.gpus == 0 for a in first)
    late = started(d, HEAD, CARDS)
    assert late and all(a.node == "g" and a.resources.gpus for a in late if a.unit.trials[0].method == "m")


def test_a_head_without_cores_is_no_place():
    assert not started(dispatcher(unit(wanted=Resources())), Node("h", "head", 0))


def test_the_first_of_a_kind_has_a_card_and_the_others_what_it_needed():
    d = dispatcher(unit(20))
    first = started(d, CARDS)
    assert [a.resources.gpus for a in first] == [1.0, 1.0]
    end(d, first[0], peak=4000.0)
    assert {a.resources.gpus for a in started(d, CARDS)} == {0.2}  # 4000 × 1.15 / 24000, rounded up


def test_a_number_that_was_written_down_is_kept_to():
    d = dispatcher(unit(20, wanted=replace(CARD, auto=False)))
    end(d, started(d, CARDS)[0], peak=20_000.0)
    assert {a.resources.gpus for a in started(d, CARDS)} == {0.25}


def test_the_method_says_how_many_share_a_card():
    shares = Shares()
    shares.learn("k", 10.0)
    for most in (1, 3, 8):
        share = shares.share("k", replace(CARD, most_per_card=most), 24_000)
        assert share * most <= 1 < share * (most + 1)


def test_who_runs_out_gets_twice_as_much_and_that_is_remembered(tmp_path: Path):
    d = dispatcher(unit(3), folder=tmp_path)
    end(d, started(d, CARDS)[0], peak=4000.0)
    shares = []
    for _ in range(4):
        a = started(d, CARDS)[-1]
        shares.append(a.resources.gpus)
        row = {"trial_id": a.unit.trials[0].id, "status": "oom", "device": "cuda:0"}
        again = d.oom(a.unit.id, row)
        assert again == (not d.go_on(a.unit.id)) == (shares[-1] < 1)
        d.unit_ended(a.unit.id)
    assert shares == [0.2, 0.4, 0.8, 1.0]
    d.save()
    later = dispatcher(unit(3), folder=tmp_path)
    assert {a.resources.gpus for a in started(later, CARDS)} == {1.0}


def test_memory_of_the_machine_is_no_matter_of_shares():
    d = dispatcher(unit())
    (a,) = started(d, CARDS)
    assert not d.oom(a.unit.id, {"trial_id": a.unit.trials[0].id, "status": "oom"})


@pytest.mark.parametrize(
    "content", ["", "[]", '{"version": 1, "entries": {"k": {"mib": ["x", -1]}}}', "\x00"]
)
def test_a_damaged_memory_is_none(tmp_path: Path, content: str):
    for name in ("packing.json", "costs.json"):
        (tmp_path / name).write_text(content)
    d = dispatcher(unit(), folder=tmp_path)
    (a,) = started(d, CARDS)
    end(d, a)
    d.save()
    assert Shares(tmp_path).need(Kinds([BASE]).of(BASE)) == 3000


def test_what_no_node_holds_is_said_after_a_minute_and_given_up():
    d = dispatcher(unit(2, wanted=Resources(gpus=3, cpus=2)), unit(wanted=Resources(), method="plain"))
    assert d.stuck([CARDS], now=0.0) == d.stuck([CARDS], now=59.0) == []
    said = d.stuck([CARDS], now=60.0)
    assert said == [
        "no node can hold m: it asks for 2 CPUs and 3 GPUs of one node",
        "cards has 8 CPUs and 2 GPUs of 24000 MiB",
    ]
    assert [len(u.trials) for u in d.give_up([CARDS])] == [1, 1]
    assert d.waiting == 1


def test_a_node_that_was_put_aside_gets_nothing():
    d = dispatcher(unit(40, wanted=Resources()), guess=0.1)
    d.put_aside("g", "no data")
    assert {a.node for a in started(d, HEAD, CARDS)} == {"h"}
    assert d.aside == {"g": "no data"}


def test_what_the_last_node_cannot_run_waits_for_another_and_the_rest_goes_on():
    units = [unit(3, Resources(), category=c, fingerprint=c) for c in "ab"]
    d, now = dispatcher(*units, guess=1e4), 1000.0
    one, two = Node("1", "one", 2), Node("2", "two", 2)
    bad, *others = started(d, one)
    d.bar(bad.unit.id, "one: no such folder")
    assert not d.go_on(bad.unit.id)
    for a in (bad, *others):
        d.unit_ended(a.unit.id)
    (category,) = {a.unit.trials[0].category for a in started(d, one)}
    assert category != bad.unit.trials[0].category
    assert d.stuck([one], now=now) == []
    said, has = d.stuck([one], now=now + 60)
    assert said == "no healthy node is left for m (it asks for 1 CPUs of one node): one: no such folder"
    assert has == "one has 2 CPUs and 0 GPUs"
    assert {t.category for a in started(d, one, two) if a.node == "2" for t in a.unit.trials} == {*"ab"} - {
        category
    }
    assert not d.give_up([one, two])
    assert {t.category for u in d.give_up([one]) for t in u.trials} == {*"ab"} - {category}


@pytest.mark.parametrize("seen", ["", "1", "12", "123"])
def test_where_all_nodes_see_one_store_it_matters_nothing_where_a_trial_runs(seen: str):
    nodes = [Node(n, n, 1) for n in "123"]
    d = dispatcher(unit(60, Resources()), most=1)
    for node in seen:
        d.shares_store(node)
    homes = d._homes  # what the choice is told
    homes.add(("a",), "1")
    assert homes.of(("a",), "123") == (set() if seen == "123" else {"1", *(seen if "1" in seen else "")})
    # what a node has computed there survives it
    assert homes.of(("a",), "23") == (set("2") if seen == "12" else set())
    assert len(started(d, *nodes)) == 3


def test_longest_first_as_soon_as_it_is_known():
    d = dispatcher(unit(3, Resources(), method="short"), unit(3, Resources(), method="long"))
    one = Node("h", "head", 1)
    order = []
    while a := d.next([one]):
        order.append(a.unit.trials[0].method)
        end(d, a, seconds=100.0 if order[-1] == "long" else 1.0)
    assert order[:2] == ["short", "long"] and order[-1] == "short" and order[2] == "long"


def test_what_was_not_measured_goes_with_the_images_and_with_what_still_runs():
    now = [0.0]
    units = [unit(2, Resources(), category=c, images=n) for c, n in (("a", 100), ("b", 300), ("c", 200))]
    d = dispatcher(*units, clock=lambda: now[0], guess=20.0)
    one = Node("h", "head", 1)
    first = d.next([one])
    assert first and first.unit.trials[0].category == "b"  # most images
    end(d, first, seconds=30.0)
    second = d.next([one])
    assert second and second.unit.trials[0].category == "b" and d.next([one]) is None
    ahead = Forecast(d._costs, d._rooms, d._given.now.values(), 0.0)
    seconds = {lane.sample.category: ahead.expected(lane) for lane in d._lanes}
    assert seconds == {"a": Expected(10.0, 2), "c": Expected(20.0, 2)}
    # it should have taken 30 s and runs for 600: whatever is like it may take as long
    later = Forecast(d._costs, d._rooms, d._given.now.values(), 600.0)
    assert {lane.sample.category: later.seconds(lane) for lane in d._lanes} == {"a": 200.0, "c": 400.0}


def test_a_large_trial_is_not_overtaken_for_ever():
    whole, half = replace(CARD, gpus=1, auto=False), replace(CARD, gpus=0.5, auto=False)
    d = dispatcher(unit(1, whole, method="big"), unit(60, half), most=1)
    # half a card is all there is at first, so that there is never a moment at which a whole one is free
    (first,) = started(d, Node("g", "cards", 8, 0.5))
    end(d, first, seconds=10.0)
    running, seen = started(d, Node("g", "cards", 8, 0.5)), []
    while "big" not in seen:
        running += (new := started(d, Node("g", "cards", 8, 1)))
        seen += [a.unit.trials[0].method for a in new]
        end(d, running.pop(0), seconds=10.0)
    assert 8 < len(seen) < 12


def test_a_running_unit_gives_back_what_others_could_begin():
    d = dispatcher(unit(20, Resources()), guess=1.0)
    one = Node("h", "head", 1)
    end(d, started(d, one)[0], seconds=0.01)
    (a,) = started(d, one)
    assert len(a.unit.trials) == 19 and d.waiting == 0
    two = [one, Node("i", "other", 1)]
    assert d.next(two) is None
    assert d.go_on(a.unit.id)  # 0.2 seconds are not worth it
    d.trial_ended(a.unit.id, {"trial_id": a.unit.trials[0].id, "status": "ok", "total_seconds": 100.0})
    assert not d.go_on(a.unit.id)
    d.unit_ended(a.unit.id)
    assert {b.node for b in started(d, *two)} == {"h", "i"}


def test_units_of_a_category_stay_where_its_arrays_are_until_somebody_is_idle():
    units = [unit(6, Resources(), category=c, fingerprint=c, method=m) for m in ("m", "n") for c in "ab"]
    d, nodes = dispatcher(*units, most=1), [Node("1", "one", 1), Node("2", "two", 1)]
    where: dict[str, set[str]] = {"a": set(), "b": set()}
    left = sorted(started(d, *nodes), key=lambda a: a.node)
    while left:
        a = left.pop(0)
        where[a.unit.trials[0].category].add(a.node)
        end(d, a, seconds=10.0)
        # the last trials are anybody's: an idle slot costs more than the arrays of one
        left += started(d, *nodes) if d.waiting > 2 else []
    assert sorted(map(len, where.values())) == [1, 1]
    d2 = dispatcher(unit(20, Resources()), most=1)
    assert {a.node for a in started(d2, *nodes)} == {"1", "2"}  # one category alone is for all


@pytest.mark.parametrize(
    ("slots", "known", "many"), [("2+2+2+2", 3.0, False), ("4+4+4+4", 0.0, False), ("8+4+2+2", 0.0, True)]
)
def test_makespan_and_passes_stay_near_what_is_possible(slots: str, known: float, many: bool):
    """What `benchmarks/balance.py` prints, of one sweep each."""
    truth, nodes = world(1, known) if many else world(1, known, (4,), 2), dict(slotted())[slots]
    played = play(truth, nodes, Resources())
    assert played.makespan <= 1.15 * truth.bound(sum(int(node.cpus) for node in nodes))
    assert played.passes <= 1.25 * len(truth.passes)


def test_packing_gives_what_is_needed_and_no_trial_runs_out():
    truth, nodes = world(7, 3.0, (1, None), 4), [Node("g", "cards", 32, 1, (CARD_MIB,))]
    packed = play(truth, nodes, Resources(gpus=0.25))
    alone = play(truth, nodes, Resources(gpus=1, auto=False))
    assert packed.ooms == 0
    assert packed.makespan < 0.6 * alone.makespan
    assert packed.needed < packed.asked < 3 * packed.needed


def test_a_stack_stays_together():
    trials = tuple(replace(BASE, run_seed=n, together="all") for n in range(6))
    d = dispatcher(WorkUnit("u", trials, Resources(stack=6)))
    (a,) = started(d, HEAD)
    assert a.unit.trials == trials and a.unit.together
    d.trial_ended(a.unit.id, {"trial_id": trials[0].id, "status": "failed"})
    assert d.go_on(a.unit.id)
    d.unit_ended(a.unit.id)
    d.unit_ended(a.unit.id)  # told twice, by Tune and by the death of the node
    assert [b.unit.trials for b in started(d, HEAD)] == [trials[1:]]

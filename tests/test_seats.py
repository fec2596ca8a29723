"""Seats without a cluster: whatever breaks, every trial gets one row, and the row says why."""

import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.progress_reporter import TrialProgressCallback
from test_dispatch import CARD, dispatcher, unit

from harness.failures import REFUSED
from harness.method import Resources
from harness.rows import Job, base_row
from harness.source import Source
from harness.trial import Status, Trial, TrialResult
from sweeps.dispatch import Node
from sweeps.plan import WorkUnit
from sweeps.ray.board import LOSSES, Board
from sweeps.ray.process import plain
from sweeps.ray.seat import Seat
from sweeps.ray.supervisor import Heard, Supervisor
from sweeps.ray.waiting import Waiting
from sweeps.sign import put
from sweeps.worker import Setting


@dataclass
class Nodes:
    """Nodes that never change."""

    nodes: Sequence[Node]
    parked: Counter[str] = field(default_factory=Counter)

    @property
    def hosts(self) -> dict[str, str]:
        return {node.id: node.host for node in self.nodes}

    def now(self, fresh: bool = False) -> Sequence[Node]:
        return self.nodes

    def alive(self) -> set[str]:
        return set(self.hosts)

    def park(self, node: str, gpus: float) -> None:
        self.parked[node] += int(gpus)


class Rows:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.running: list[str] = []
        self.said: list[str] = []

    @property
    def ended_ids(self) -> set[str]:
        return {row["trial_id"] for row in self.rows}

    def started(self, trial_id: str) -> None:
        self.running.append(trial_id)

    def interrupted(self, trial_ids: Sequence[str]) -> None:
        self.running = [t for t in self.running if t not in trial_ids]

    def finished(self, result: TrialResult) -> None:
        self.rows.append(dict(result.trial))
        self.interrupted([result.trial["trial_id"]])

    def say(self, line: str) -> None:
        self.said.append(line)


def board(nodes: Sequence[Node], *units: WorkUnit, grows: bool = False, **options: Any) -> Board:
    setting = Setting(Source("mvtec_ad", Path("/none")), Job(), None, 1.0, Path("/none"))
    return Board(dispatcher(*units, **options), Nodes(nodes), Rows(), setting, units, grows)  # type: ignore[arg-type]


def row(trial: Trial, seat: Seat, status: Status = Status.OK, **more: Any) -> TrialResult:
    job = Job(unit=seat.unit_id)
    return TrialResult({**base_row(trial, job), "status": status, "total_seconds": 1.0, **more})


def seated(b: Board) -> Seat:
    seat = b.open()
    assert seat is not None
    b.came_up(seat)
    return seat


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 9), st.booleans(), st.data())
def test_every_trial_gets_one_row_whatever_breaks(number: int, cards: bool, data: st.DataObject):
    wanted = replace(CARD, gpus=0.5 if cards else 0.0)
    b = board([Node("a", "a", 2, 1, (9000,)), Node("b", "b", 1, 1)], unit(number, wanted, method="m"))
    behind: dict[str, list[TrialResult]] = {}  # metrics under way, by seat
    for _ in range(400):
        while (seat := b.open()) is not None:
            behind[seat.id] = []
        if b.finished:
            break
        seat = b.seats[data.draw(st.sampled_from(sorted(b.seats)))]
        if not seat.up:
            b.came_up(seat)
            continue
        event = data.draw(st.sampled_from(["ends", "ends", "ends", "measured later", "dies", "oom"]))
        if event == "dies":
            b.lost(seat, "on purpose")
            continue
        results, late = [], behind[seat.id]
        if seat.current:
            status = Status.OOM if event == "oom" else Status.OK
            result = row(seat.current[0], seat, status, device="cuda:0" if cards else "cpu")
            (late if event == "measured later" else results).append(result)
        else:
            results.append(late.pop(0))
        last = seat.unit is None or seat.next + 1 == len(seat.unit.trials)
        ids = [r.trial["trial_id"] for r in late]
        step = b.heard(seat, Heard(results, last, ids))
        assert step.stays or not late
        assert step.stays == (seat.id in b.seats)
    rows: Any = b.ledger
    assert b.finished
    assert len(rows.rows) == number == len(rows.ended_ids)
    assert not rows.running


def test_a_trial_that_is_lost_again_and_again_is_a_row_with_its_cause():
    b = board([Node("a", "host-a", 1)], unit(1, Resources(), method="m"))
    for _ in range(LOSSES):
        assert not b.finished
        b.lost(seated(b), "ActorDiedError: the supervisor was killed")
    rows: Any = b.ledger
    (lost,) = rows.rows
    assert (lost["status"], lost["host"], lost["attempt"]) == ("lost", "host-a", LOSSES)
    assert lost["reason"].endswith("was lost: ActorDiedError: the supervisor was killed")
    assert b.finished


def test_where_no_supervisor_comes_up_nothing_more_is_begun():
    b = board([Node("a", "bad", 8), Node("b", "good", 1)], unit(3, Resources(), method="m"))
    for _ in range(20):
        seat = b.open()
        if seat and seat.node == "a":
            b.lost(seat, "ModuleNotFoundError: No module named 'sweeps'")
    rows: Any = b.ledger
    assert rows.said == [
        "bad is put aside: no supervisor comes up there: ModuleNotFoundError: No module named 'sweeps'"
    ]
    assert not rows.rows


def test_where_no_supervisor_comes_up_on_any_node_everything_is_a_row():
    b = board([Node("a", "only", 1)], unit(2, Resources(), method="m"))
    while not b.finished:
        seat = b.open()
        assert seat is not None
        b.lost(seat, "ModuleNotFoundError: No module named 'sweeps'")
    rows: Any = b.ledger
    assert [(row["status"], row["reason"]) for row in rows.rows] == 2 * [
        ("lost", "node only: no supervisor comes up there: ModuleNotFoundError: No module named 'sweeps'")
    ]


def test_the_trials_of_the_last_node_wait_where_nodes_may_join():
    refuses = {"error_type": REFUSED, "reason": "numpy is 1, planned with 2"}
    b = board([Node("a", "only", 1)], unit(3, Resources(), method="m"), grows=True)
    seat = seated(b)
    step = b.heard(seat, Heard([row(seat.current[0], seat, Status.LOST, **refuses)], True, []))
    rows: Any = b.ledger
    assert not step.stays and not b.open() and not b.finished
    assert rows.said == [
        "no healthy node is left for m, which waits for one: only: numpy is 1, planned with 2"
    ]
    b.nodes.nodes = [*b.nodes.nodes, Node("b", "late", 1)]  # type: ignore[attr-defined]
    seat = seated(b)
    assert (seat.node, rows.rows) == ("b", [])


def test_who_waits_in_vain_for_a_healthy_node_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sweeps.ray.waiting.demand", lambda bundles: None)
    asked = unit(2, Resources(), method="m")
    b = board([Node("a", "only", 1)], asked, grows=True, patience=0.0)
    seat = seated(b)
    refuses = {"error_type": REFUSED, "reason": "numpy is 1, planned with 2"}
    b.heard(seat, Heard([row(seat.current[0], seat, Status.LOST, **refuses)], True, []))
    Waiting(b, [asked], grows=True).look()
    rows: Any = b.ledger
    why = "no healthy node is left for m (it asks for 1 CPUs of one node): only: numpy is 1, planned with 2"
    assert [(r["status"], r["reason"]) for r in rows.rows] == 2 * [
        ("lost", f"{why}; only has 1 CPUs and 0 GPUs")
    ]
    assert b.finished and not b.refusal


def test_who_sees_the_sign_of_the_driver_shares_its_store(tmp_path: Path):
    store = tmp_path / "store"
    with put(store, tmp_path / "run") as sign, put(store, tmp_path / "other") as other:
        assert sign and other and sign.seen() and other.seen()
        # a folder of the same name on another machine
        assert not replace(sign, word="another").seen()
        assert not replace(sign, path=tmp_path / "nowhere" / sign.path.name).seen()
        supervisor = object.__new__(Supervisor)
        setting = Setting(Source("mvtec_ad", Path("/none")), Job(), store, 1.0, Path("/none"), sign=sign)
        supervisor.setup({}, setting)
        heard = pickle.loads(supervisor.step()["heard"])  # noqa: S301 - just pickled
        assert heard.shares
    assert not list(store.iterdir()) and not sign.seen()
    with put(None, tmp_path) as none, put(Path("/proc/none"), tmp_path) as refused:
        assert none is refused is None


def test_tune_prints_nothing_of_a_seat_that_ends_without_a_result(capsys: pytest.CaptureFixture[str]):
    from sweeps.ray.tuning import unprinted

    seat: Any = MagicMock(last_result={})
    for progress, words in ((TrialProgressCallback(), "completed"), (unprinted(), "")):
        progress.on_trial_complete(0, [], seat)
        assert (words in capsys.readouterr().out) if words else not capsys.readouterr().out


def test_rays_text_is_one_line_that_begins_with_what_was_raised():
    text = (
        "\x1b[36mray::Worker\x1b[39m (pid=1)\n  File x\nModuleNotFoundError: No module named 'sweeps'\n\nmore"
    )
    assert plain(text).startswith(
        "ModuleNotFoundError: No module named 'sweeps' | ray::Worker (pid=1) File x"
    )
    assert plain("nothing was raised\n here") == "nothing was raised here"


@pytest.mark.parametrize("fault", ["", "cuda:0 cannot be used"])
def test_a_broken_card_keeps_its_seat(fault: str):
    b = board([Node("a", "a", 1, 1)], unit(2, replace(CARD, gpus=1, auto=False), method="m"))
    seat = seated(b)
    assert seat.unit
    crashed, last = row(seat.current[0], seat, Status.CRASHED), len(seat.unit.trials) == 1
    step = b.heard(seat, Heard([crashed], last, [], fault))
    assert (seat.id in b.parked) == bool(fault)
    assert step.stays
    assert bool(step.unit or seat.current) == (not fault)

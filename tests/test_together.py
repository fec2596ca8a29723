"""Trials that are trained as one: the same rows as alone, whatever happens on the way."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import LIMIT, start_sweep, sweep, sweep_here, wait_for

from harness.method import Resources
from harness.results import read_run
from harness.trial import Trial, TrialResult
from sweeps.plan import Plan, make_plan
from sweeps.together import Together

Write = Callable[..., Path]
STEPS = 6
TRIAL = Trial("m", 1, {}, "d", "c", "f", None, ("p",), None, 0, together="all but the margin")


def planned(number: int, stack: int = 3, **changes: object) -> list[tuple[Trial, Resources]]:
    return [(replace(TRIAL, run_seed=n, **changes), Resources(stack=stack)) for n in range(number)]


def stacks(plan: Plan) -> list[list[int | None]]:
    return [[t.run_seed for t in unit.trials] for unit in plan.units]


def test_trials_that_can_train_together_are_a_unit():
    plan = make_plan(planned(7), {}, slots=100)
    assert stacks(plan) == [[0, 1, 2], [3, 4, 5], [6]]
    assert [unit.together for unit in plan.units] == [True, True, False]


def test_what_differs_in_more_is_kept_apart():
    mixed = planned(2) + planned(2, support=("q",)) + planned(2, together="else") + planned(2, category="b")
    assert len(make_plan(mixed, {}).units) == 4
    alone = make_plan(planned(4, together=None), {}, unit_trials=4)
    assert stacks(alone) == [[0, 1, 2, 3]]
    assert not alone.units[0].together
    assert not any(unit.together for unit in make_plan(planned(4, stack=1), {}, unit_trials=4).units)


def test_a_stack_stays_what_it_was_while_its_trials_end():
    every = planned(7)
    done = {every[n][0].id: "ok" for n in (0, 1, 4)}
    assert stacks(make_plan(every, done)) == [[2], [3, 5], [6]]
    assert stacks(make_plan(every, {}, limit=4)) == [[0, 1, 2], [3]]
    assert stacks(make_plan(every, {}, unit_trials=2)) == [[0, 1], [2, 3], [4, 5], [6]]


def test_a_row_bears_its_share():
    row = {"fit_seconds": 1.0, "score_seconds": 2.0, "total_seconds": 3.5, "peak_rss_mib": 9.0}
    told = Together(4, 20.0, None, {"peak_rss_mib": 7.0, "peak_gpu_mib": None}).told(TrialResult(row)).trial
    shared = {"fit_seconds": 6.0, "total_seconds": 8.5, "together": 4, "together_error": None}
    assert told == row | shared
    crashed = Together(4, 20.0, "crashed").told(TrialResult({"status": "crashed"})).trial
    assert crashed == {"status": "crashed", "together": 4, "together_error": "crashed"}


@pytest.fixture
def summed(sweep_file: Write, tmp_path: Path) -> Write:
    """Writes a sweep over one category; keyword arguments that are lists are its grid."""

    def write(
        stack: int = 3, seconds: float = 0.0, minutes: float = 2.0, gate: str = "", **grid: list[object]
    ) -> Path:
        (tmp_path / "log").write_text("")
        method = {
            "name": "summed",
            "params": {"log": str(tmp_path / "log"), "seconds": seconds, "gate": gate},
            "grid": grid,
            "resources": {"stack": stack, "timeout_minutes": minutes},
        }
        return sweep_file(methods=[method], categories=["cap"], shots=["full"], seeds=2)

    return write


def rows(run: Path) -> pd.DataFrame:
    trials = read_run(run).trials
    params = trials["params"].map(json.loads)
    named = {key: params.map(lambda p, key=key: p[key]) for key in ("margin", "behaviour")}
    return trials.assign(**named).sort_values("trial_id", ignore_index=True)


def scores(run: Path) -> pd.Series:
    return read_run(run).scores.set_index(["trial_id", "image"])["score"].sort_index()


def log(folder: Path) -> list[tuple[int, int, int]]:
    """(process, members, step) of every step that was taken."""
    lines = (folder / "log").read_text().splitlines()
    return [tuple(int(word) for word in line.split()) for line in lines]  # pyright: ignore[reportReturnType]


def run(path: Path, *words: str, code: int = 0) -> str:
    done = (sweep_here if "serial" in words else sweep)(path, *words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_rows_are_those_of_single_training(summed: Write, tmp_path: Path):
    said = run(summed(stack=3, margin=[0.0, 1.0]), f"out={tmp_path / 'three'}", "--backend", "serial")
    assert "4 to run, 3 of them trained together in 1 stacks" in said
    assert Counter(members for _, members, _ in log(tmp_path)) == {3: STEPS, 1: STEPS}
    run(summed(stack=1, margin=[0.0, 1.0]), f"out={tmp_path / 'one'}", "--backend", "serial")
    assert Counter(members for _, members, _ in log(tmp_path)) == {1: 4 * STEPS}
    pd.testing.assert_series_equal(scores(tmp_path / "three"), scores(tmp_path / "one"), check_exact=True)
    assert len(set(scores(tmp_path / "one"))) > STEPS  # the members did learn different things
    assert sorted(rows(tmp_path / "three")["together"].fillna(1)) == [1, 3, 3, 3]
    assert rows(tmp_path / "one")["together"].isna().all()


def test_an_economy_that_fails_is_none(summed: Write, tmp_path: Path):
    """An exception, and a member that is left out, end in the rows of single training."""
    path = summed(stack=4, seconds=0.02, margin=[0.0, 1.0], behaviour=["raise", "diverge"])
    said = run(path, "--backend", "serial")
    assert "training 4 trials together broke off: ValueError: training together went wrong on purp" in said
    found = rows(tmp_path / "run")
    assert (found["status"] == "ok").all()
    assert (found["together"] == 4).all()
    broken = found["behaviour"] == "raise"
    assert found.loc[broken, "together_error"].str.startswith("ValueError: training together").all()
    assert found.loc[~broken, "together_error"].isna().all()
    assert (found["fit_seconds"] >= 0.02 * STEPS / 4).all()
    alone = Counter(step for _, members, step in log(tmp_path) if members == 1)
    assert alone == {0: 2, 1: 2, 2: 2, 3: 6, 4: 6, 5: 6}  # two diverged, four broke off after three steps
    run(summed(stack=1, seconds=0.02, margin=[0.0, 1.0], behaviour=["raise", "diverge"]), f"out={tmp_path}/1",
        "--backend", "serial")  # fmt: skip
    pd.testing.assert_series_equal(scores(tmp_path / "run"), scores(tmp_path / "1"), check_exact=True)


@pytest.mark.ray
def test_no_way_to_die_while_training_together_costs_a_row(summed: Write, tmp_path: Path):
    kinds = ["ok", "exit", "exit_once", "hang"]
    said = run(summed(stack=2, minutes=0.1, behaviour=kinds))
    found = rows(tmp_path / "run")
    assert (found["status"] == "ok").all()
    assert (found["together"] == 2).all()
    assert (found["attempt"] == 1).all()
    errors = found.groupby("behaviour")["together_error"].first()
    assert errors[["ok", "exit_once"]].isna().all()
    assert errors["exit"].startswith("crashed: ")
    assert errors["hang"] == "timeout: still running after 0.2 minutes"
    assert "training 2 trials together broke off: timeout" in said
    assert (found.query("behaviour == 'hang'")["fit_seconds"] > 6).all()
    run(summed(stack=1, behaviour=kinds), f"out={tmp_path}/1", "--backend", "serial")
    pd.testing.assert_series_equal(scores(tmp_path / "run"), scores(tmp_path / "1"), check_exact=True)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_training_goes_on_at_its_own_checkpoint(summed: Write, tmp_path: Path, end: signal.Signals):
    gate = tmp_path / "gate"
    path = summed(stack=4, gate=str(gate), margin=[0.0, 1.0])
    driver = start_sweep(path, "--backend", "serial")
    wait_for(lambda: len(log(tmp_path)) > STEPS // 2)
    driver.send_signal(end)
    driver.communicate(timeout=LIMIT)
    assert driver.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL)
    gate.touch()
    run(path, "--backend", "serial")
    steps = [(members, step) for _, members, step in log(tmp_path)]
    assert len({process for process, _, _ in log(tmp_path)}) == 2
    assert sorted(steps) == sorted([(4, STEPS // 2), *((4, step) for step in range(STEPS))])
    assert (rows(tmp_path / "run")["status"] == "ok").all()

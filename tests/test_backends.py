"""Sweeps as users run them: rows for what fails, and every way in which a sweep can end before it is done."""

import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import LIMIT, lives, start_sweep, sweep, sweep_here, wait_for

from harness.results import read_run

GRID = {"name": "mean_image", "grid": {"pooling": ["max", "mean"]}}
Write = Callable[..., Path]


def statuses(run: Path) -> dict[str, int]:
    return read_run(run).trials["status"].value_counts().to_dict()


def test_one_failing_category_is_a_row_and_the_rest_is_kept(sweep_file: Write, tmp_path: Path):
    faulty = {"name": "faulty", "params": {"behaviour": "raise", "category": "cap"}}
    done = sweep_here(sweep_file(methods=[faulty, GRID]), "--backend", "serial")
    assert done.returncode == 1
    assert statuses(tmp_path / "run") == {"ok": 8, "failed": 1}
    row = read_run(tmp_path / "run").trials.query("status == 'failed'").iloc[0]
    assert (row.category, row.error_type) == ("cap", "ValueError")
    assert "on purpose" in row.reason
    assert "_misbehave" in row.traceback
    assert "--retry failed" in done.stdout


def test_failed_rows_stay_until_they_are_retried(sweep_file: Write, tmp_path: Path):
    path = sweep_file(methods=[{"name": "faulty", "params": {"behaviour": "raise", "category": "cap"}}])
    assert sweep_here(path, "--backend", "serial").returncode == 1
    assert "0 to run" in sweep_here(path, "--backend", "serial").stdout
    first = read_run(tmp_path / "run").trials
    assert "1 to run" in sweep_here(path, "--backend", "serial", "--retry", "failed").stdout
    second = read_run(tmp_path / "run").trials
    assert len(second) == len(first) == 3
    assert second["finished_at"].max() > first["finished_at"].max()


def test_declined_and_unusable_trials_are_rows_too(sweep_file: Write, tmp_path: Path):
    methods = [{"name": "faulty", "grid": {"behaviour": ["declined", "not_finite"]}}]
    assert sweep_here(sweep_file(methods=methods), "--backend", "serial").returncode == 1
    trials = read_run(tmp_path / "run").trials
    assert trials["status"].value_counts().to_dict() == {"skipped": 3, "failed": 3}
    assert set(trials.query("status == 'skipped'")["reason"]) == {"it declines"}
    assert trials.query("status == 'failed'")["reason"].str.contains("test/good/000.png is not finite").all()


def fits(log: Path) -> int:
    return len(log.read_text().splitlines())


def ended(run: Path) -> int:
    return len(read_run(run).trials) if (run / "plan.parquet").exists() else 0


@pytest.fixture
def slow(sweep_file: Write, tmp_path: Path) -> Path:
    """Twelve trials, of which three go through; the others wait until the gate is there."""
    (tmp_path / "log").touch()
    params = {"log": str(tmp_path / "log"), "gate": str(tmp_path / "gate"), "free": 3}
    return sweep_file(methods=[{"name": "faulty", "params": params}], seeds=4)


def workers(log: Path) -> set[int]:
    return {int(line.split()[0]) for line in log.read_text().splitlines()}


def goes_on(again: "subprocess.CompletedProcess[str]", folder: Path, before: int) -> None:
    """The three trials that had ended were kept, and the nine others ran."""
    assert again.returncode == 0, again.stdout + again.stderr
    assert "3 already there" in again.stdout
    assert fits(folder / "log") - before == 9
    assert statuses(folder / "run") == {"ok": 12}


@pytest.mark.ray
@pytest.mark.parametrize(
    ("backend", "number", "code"),
    [
        ("serial", signal.SIGUSR1, 143),
        pytest.param("ray", signal.SIGINT, 130, marks=pytest.mark.slow),  # goes the way of SIGTERM
        ("ray", signal.SIGTERM, 143),
    ],
)
def test_an_end_in_order_keeps_what_is_finished(
    slow: Path, tmp_path: Path, backend: str, number: int, code: int
):
    words = ("--backend", backend, "--on-end", f"echo $LADDER_STATE $LADDER_OK > '{tmp_path}/told'")
    driver = start_sweep(slow, *words)
    wait_for(lambda: fits(tmp_path / "log") > 3)
    wait_for(lambda: ended(tmp_path / "run") == 3)
    driver.send_signal(number)
    output = driver.communicate(timeout=LIMIT)[0]
    assert driver.returncode == code, output
    assert shlex.join(["python", "-m", "harness.sweep", str(slow), *words]) in output
    assert (tmp_path / "told").read_text() == "interrupted 3\n"
    wait_for(lambda: not any(map(lives, workers(tmp_path / "log"))))
    before = fits(tmp_path / "log")
    (tmp_path / "gate").touch()
    goes_on(sweep_here(slow, "--backend", "serial"), tmp_path, before)


def killed(driver: "subprocess.Popen[str]", folder: Path) -> int:
    """Kills a driver of which three trials have ended; how many fits there were by then."""
    wait_for(lambda: fits(folder / "log") > 3)
    wait_for(lambda: ended(folder / "run") == 3)
    driver.kill()
    driver.communicate(timeout=LIMIT)
    wait_for(lambda: not any(map(lives, workers(folder / "log"))))  # the orphans go down by themselves
    return fits(folder / "log")


def test_a_killed_driver_loses_nothing_finished(slow: Path, tmp_path: Path):
    before = killed(start_sweep(slow, "--backend", "serial"), tmp_path)
    (tmp_path / "gate").touch()
    goes_on(sweep_here(slow, "--backend", "serial"), tmp_path, before)


@pytest.mark.ray
def test_nor_does_one_of_ray(slow: Path, tmp_path: Path):
    before = killed(start_sweep(slow), tmp_path)
    (tmp_path / "gate").touch()
    goes_on(sweep(slow), tmp_path, before)


@pytest.mark.ray
def test_killed_workers_are_replaced(slow: Path, tmp_path: Path):
    driver = start_sweep(slow)
    wait_for(lambda: fits(tmp_path / "log") > 3)
    victim = int((tmp_path / "log").read_text().splitlines()[3].split()[0])
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: not lives(victim))
    (tmp_path / "gate").touch()
    output = driver.communicate(timeout=LIMIT)[0]
    assert driver.returncode == 0, output
    assert statuses(tmp_path / "run") == {"ok": 12}
    assert fits(tmp_path / "log") == 13  # only what was under way ran twice


def test_a_second_driver_is_refused(slow: Path, tmp_path: Path):
    driver = start_sweep(slow, "--backend", "serial")
    wait_for(lambda: fits(tmp_path / "log") > 3)
    second = sweep_here(slow, "--backend", "serial")
    assert second.returncode == 2
    assert f"process {driver.pid}" in second.stderr
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=LIMIT)
    assert driver.returncode == 130


def test_editing_the_file_runs_the_difference(sweep_file: Write, tmp_path: Path):
    assert sweep_here(sweep_file(), "--backend", "serial").returncode == 0
    more = sweep_here(sweep_file(methods=[GRID], seeds=2), "--backend", "serial")
    assert "12 trials planned, 3 already there, 0 to skip, 9 to run" in more.stdout


@pytest.mark.ray
def test_a_cpu_for_a_gpu_is_said_and_marked_on_both_backends(sweep_file: Write, tmp_path: Path):
    methods = [{"name": "mean_image", "resources": {"gpus": gpus}} for gpus in (0.5, 0)]
    path = sweep_file(methods=methods[:1], categories=["cap"])
    for backend in ("serial", "ray"):
        done = sweep_here(path, "--backend", backend, f"out={tmp_path / backend}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "mean_image run on CPUs (gpus: 0 says that it is meant)" in done.stdout
        assert [list(m) for m in read_run(tmp_path / backend).trials["marks"]] == [["a CPU for a GPU"]]
    meant = sweep_here(sweep_file(methods=methods[1:], categories=["cap"], out=str(tmp_path / "meant")))
    assert "run on CPUs" not in meant.stdout
    assert [list(m) for m in read_run(tmp_path / "meant").trials["marks"]] == [[]]

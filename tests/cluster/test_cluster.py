"""Sweeps on Ray's clusters: of one node, and of several, unequal, late, broken, dying.

What Ray decides is left to Ray; one head serves all tests of this file.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pandas as pd
import pytest
from conftest import LIMIT, cpu_seconds, sweep, sweep_here, wait_for
from ray.cluster_utils import Cluster
from raylets import add, kill, raylets

from harness.results import read_run
from sweeps.dispatch import Dispatcher
from sweeps.doctor.examine import Asked
from sweeps.health import Health
from sweeps.ray import backend
from sweeps.ray_doctor import examine_cluster

pytestmark = pytest.mark.ray
Write = Callable[..., Path]
HALF = {"gpus": 0.5, "cpus": 2}


@pytest.fixture(scope="module")
def idle() -> Iterator[Cluster]:
    """A head that is to do no work; a test adds the nodes that do, and takes them away again."""
    with pytest.MonkeyPatch.context() as patch, raylets(patch, num_cpus=0) as cluster:
        yield cluster


@pytest.fixture
def cluster(idle: Cluster) -> Iterator[Cluster]:
    yield idle
    for node in list(idle.worker_nodes):
        idle.remove_node(node)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


def faulty(log: Path, resources: dict[str, object] | None = None, **params: object) -> dict[str, object]:
    return {"name": "faulty", "params": {"log": str(log), **params}, "resources": resources or {"gpus": 0}}


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(work)
        yield
        job.result()


def trials(run: Path) -> pd.DataFrame:
    return read_run(run).trials


def fitted(log: Path) -> Counter[str]:
    return Counter(" ".join(line.split()[1:]) for line in log.read_text().splitlines())


def scores(run: Path) -> pd.Series:
    return read_run(run).scores.set_index(["trial_id", "image"])["score"].sort_index()


def test_serial_and_ray_give_identical_scores_and_a_rerun_does_nothing(
    cluster: Cluster, sweep_file: Write, tmp_path: Path
):
    add(cluster, num_cpus=2)
    grid = {"name": "mean_image", "grid": {"pooling": ["max", "mean"]}}
    path = sweep_file(methods=[grid], shots=[1, 2, "full"], seeds=2, metrics=["auroc", "aupro"])
    where = {"serial": ("--backend", "serial"), "ray": ("--address", cluster.address)}
    for kind, words in where.items():
        done = sweep_here(path, f"out={tmp_path / kind}", *words)
        assert done.returncode == 0, done.stdout + done.stderr
    pd.testing.assert_series_equal(scores(tmp_path / "serial"), scores(tmp_path / "ray"), check_exact=True)
    began = cpu_seconds()
    again = sweep(path, f"out={tmp_path / 'ray'}")
    assert again.returncode == 0
    assert "0 to run" in again.stdout
    assert cpu_seconds() - began < 5


def test_no_way_to_die_ends_the_sweep(cluster: Cluster, sweep_file: Write, tmp_path: Path, log: Path):
    """Exceptions keep the worker; crashes, hangs (also in C) and lack of memory end as rows of their kind."""
    add(cluster, num_cpus=2)
    expected = {
        "raise": "failed",
        "exit": "crashed",
        "segfault": "crashed",
        "memory": "oom",
        "hang": "timeout",
        "hang_in_c": "timeout",
        "crash_once": "ok",
        "ok": "ok",
    }
    hangs = [kind for kind in expected if "hang" in kind]
    ends = [kind for kind in expected if kind not in hangs]
    quick = faulty(log, category="cap") | {"grid": {"behaviour": ends}}
    brief = {"gpus": 0, "timeout_minutes": 0.1}
    hanging = faulty(log, brief, category="cap") | {"grid": {"behaviour": hangs}}
    path = sweep_file(methods=[quick, hanging], categories=["cap", "nut"])
    done = sweep_here(path, "--address", cluster.address)
    assert done.returncode == 1, done.stdout + done.stderr
    rows = trials(tmp_path / "run")
    rows["behaviour"] = rows["params"].map(lambda text: json.loads(text)["behaviour"])
    on_cap = rows.query("category == 'cap'").set_index("behaviour")
    assert on_cap["status"].to_dict() == expected
    attempts = on_cap["attempt"].to_dict()
    assert attempts == {**dict.fromkeys(expected, 1), "exit": 2, "segfault": 2, "memory": 2, "crash_once": 2}
    assert set(rows.query("category == 'nut'")["status"]) == {"ok"}


def test_nodes_that_come_late_are_used_with_their_cards(
    cluster: Cluster, sweep_file: Write, tmp_path: Path, log: Path
):
    path = sweep_file(methods=[faulty(log, HALF)], seeds=2)
    begun = tmp_path / "run" / ".tune"

    def join() -> None:
        wait_for(begun.exists)
        # fewer cores than asked for: a trial gets what there is
        add(cluster, num_cpus=1, num_gpus=1)

    with meanwhile(join):
        done = sweep_here(path, "--address", cluster.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 node, 0 GPUs, 0 CPUs: 0 trials at a time" in done.stdout
    rows = trials(tmp_path / "run")
    assert set(zip(rows["status"], rows["device"], rows["gpu_share"], rows["cpus"], strict=True)) == {
        ("ok", "cuda:0", 0.5, 1.0)
    }
    assert set(fitted(log).values()) == {1}


def test_metrics_beside_the_card_are_those_of_the_plain_path(
    cluster: Cluster, sweep_file: Write, tmp_path: Path
):
    add(cluster, num_cpus=1, num_gpus=1)
    where = {"card": ("--address", cluster.address), "cores": ("--backend", "serial")}
    for kind, words in where.items():
        method = {"name": "mean_image", "resources": {"gpus": 0.5}}
        path = sweep_file(methods=[method], metrics=["auroc", "aupro"], out=str(tmp_path / kind))
        done = sweep_here(path, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    card, cores = (read_run(tmp_path / kind) for kind in where)
    assert set(card.trials["device"]) == {"cuda:0"}
    assert card.trials["metric_seconds"].gt(0).all()
    keys = ["trial_id", "subset", "metric", "fpr_limit"]
    values = [run.metrics.sort_values(keys)["value"].reset_index(drop=True) for run in (card, cores)]
    pd.testing.assert_series_equal(*values, check_exact=True)


def test_a_dead_node_costs_its_own_trials_only(
    cluster: Cluster, sweep_file: Write, tmp_path: Path, log: Path
):
    stays, goes = (add(cluster, num_cpus=1) for _ in range(2))
    gate = tmp_path / "gate"
    path = sweep_file(methods=[faulty(log, gate=str(gate))], seeds=2)

    def lose() -> None:
        wait_for(lambda: len(fitted(log)) == 2)
        kill(cluster, goes)
        gate.touch()

    with meanwhile(lose):
        done = sweep_here(path, "--address", cluster.address)
    assert stays in cluster.worker_nodes
    assert done.returncode == 0, done.stdout + done.stderr
    assert trials(tmp_path / "run")["status"].tolist() == ["ok"] * 6
    assert sorted(fitted(log).values()) == [1, 1, 1, 1, 1, 2]


@pytest.mark.slow  # as the node of another version, which is put aside on the same way
def test_a_broken_node_is_put_aside_and_its_trials_go_elsewhere(
    cluster: Cluster, sweep_file: Write, tmp_path: Path, log: Path
):
    add(cluster, num_cpus=1, env_vars={"LADDER_BROKEN_NODE": "1"})
    add(cluster, num_cpus=1)
    path = sweep_file(methods=[faulty(log, behaviour="broken_node")], seeds=3)
    done = sweep_here(path, "--address", cluster.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert trials(tmp_path / "run")["status"].tolist() == ["ok"] * 9
    assert "is put aside" in done.stdout
    assert "Input/output error" in done.stdout


def test_where_no_healthy_node_is_left_trials_wait_for_one(
    cluster: Cluster, sweep_file: Write, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
):
    add(cluster, num_cpus=1, env_vars={"LADDER_BROKEN_NODE": "1"})
    barred, bar = Event(), Dispatcher.bar

    def seen(dispatcher: Dispatcher, unit: str, why: str) -> None:
        bar(dispatcher, unit, why)
        barred.set()

    def join() -> None:
        assert barred.wait(LIMIT)
        add(cluster, num_cpus=1)

    monkeypatch.setattr(Dispatcher, "bar", seen)
    path = sweep_file(methods=[faulty(log, behaviour="broken_node")], categories=["cap"], seeds=2)
    with meanwhile(join):
        done = sweep_here(path, "--address", cluster.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no healthy node is left for faulty, which waits for one: " in done.stdout
    assert trials(tmp_path / "run")["status"].tolist() == ["ok"] * 2


@pytest.mark.slow  # half a minute of waiting for a card to be tried
def test_a_broken_card_is_held_and_what_has_no_card_left_is_said(
    cluster: Cluster, sweep_file: Write, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backend, "PATIENCE", 0.0)
    add(cluster, num_cpus=1, num_gpus=1)
    broken = faulty(log, {"gpus": 1}, behaviour="broken_card")
    done = sweep_here(sweep_file(methods=[broken], seeds=2), "--address", cluster.address)
    assert done.returncode == 1, done.stdout + done.stderr
    rows = trials(tmp_path / "run")
    assert Counter(rows["status"]) == {"crashed": 3, "lost": 3}
    assert "a card is not used any more" in done.stdout
    reason = rows.query("status == 'lost'")["reason"].iloc[0]
    assert "no node can hold faulty" in reason
    assert "1 CPUs and 0 GPUs" in reason


def test_what_no_node_can_hold_is_refused(
    cluster: Cluster, sweep_file: Write, log: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backend, "PATIENCE", 0.0)
    add(cluster, num_cpus=1, num_gpus=1)
    done = sweep_here(sweep_file(methods=[faulty(log, {"gpus": 2})]), "--address", cluster.address)
    assert done.returncode == 2, done.stdout
    assert "asks for 1 CPUs and 2 GPUs" in done.stderr
    assert "has 1 CPUs and 1 GPUs" in done.stderr
    assert not log.read_text()


@pytest.mark.slow  # the mark is held on both backends by test_backends
def test_no_card_anywhere_is_said_and_marked(
    cluster: Cluster, sweep_file: Write, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backend, "PATIENCE", 0.0)
    add(cluster, num_cpus=2)
    done = sweep_here(sweep_file(methods=[faulty(log, HALF)]), "--address", cluster.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no GPU in the cluster: faulty run on CPUs" in done.stdout
    rows = trials(tmp_path / "run")
    assert {tuple(marks) for marks in rows["marks"]} == {("a CPU for a GPU",)}
    assert set(rows["device"]) == {"cpu"}
    assert json.loads(rows["params"].iloc[0])["behaviour"] == "ok"


def test_an_address_where_nobody_listens_is_refused(
    sweep_file: Write, log: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backend, "CALL_SECONDS", 0.01)
    done = sweep_here(sweep_file(methods=[faulty(log)]), "--address", "127.0.0.1:1")
    assert done.returncode == 2
    assert "--address 127.0.0.1:1: [Errno 111] Connection refused" in done.stderr


def test_a_node_with_another_version_of_the_method_computes_nothing(
    cluster: Cluster, sweep_file: Write, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
):
    add(cluster, num_cpus=1)
    add(cluster, num_cpus=1, env_vars={"LADDER_FAULTY_VERSION": "7"})
    gate, put_aside = tmp_path / "gate", Health.put_aside

    def opened(health: Health, node: str, host: str, why: str) -> None:
        put_aside(health, node, host, why)
        gate.touch()

    # the good node is not to run all of them before the other one has come up
    monkeypatch.setattr(Health, "put_aside", opened)
    path = sweep_file(methods=[faulty(log, gate=str(gate))], categories=["cap"], seeds=4, unit_trials=1)
    done = sweep_here(path, "--address", str(cluster.address))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = trials(tmp_path / "run")
    assert (set(rows["status"]), set(rows["method_version"])) == ({"ok"}, {1})
    assert set(fitted(log).values()) == {1}
    assert "went elsewhere: method faulty is version 7, planned with version 1" in done.stdout


def test_every_node_is_looked_at(cluster: Cluster, tmp_path: Path):
    add(cluster, num_cpus=1)
    found = examine_cluster(cluster.address, Asked(run=tmp_path, cache=tmp_path, numbers=False))
    names = [{finding.name for finding in machine.findings} for machine in found.values()]
    assert len(names) == 2 and all({"clock", "memory", "python"} <= each for each in names)

"""What a worker has to show before it may run a trial, and when a node gets none any more."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grimp
import pytest

from harness.config import load
from harness.errors import ConfigError, DataError, NotAsPlanned, WeightsError
from harness.failures import REFUSED, Blame, blame, uncoloured
from harness.method import Asset, Resources
from harness.results import read_run
from harness.trial import Status, Trial, TrialResult
from sweeps import handshake
from sweeps.drive import _setting
from sweeps.expand import expand
from sweeps.handshake import DOORS, Shown, answer, code_digest, compare, shown
from sweeps.health import ATTEMPTS, Health
from sweeps.plan import WorkUnit
from sweeps.together import train
from sweeps.worker import Setting, execute

OURS = Shown(
    "head",
    {"ladder": "0.5.0", "python": "3.11.7", "torch": "2.9.0+cu128", "numpy": "2.2.0", "pandas": "3.1.0"},
    {"harness": "a" * 64, "methods.shared": "b" * 64},
    {"mean_image": 1},
    {"auroc": 2},
    {"resnet": "c" * 64},
)


@pytest.mark.parametrize(
    ("change", "problem", "note"),
    [
        ({}, None, None),
        ({"versions": {"torch": "2.9.0"}}, None, "torch is 2.9.0, planned with 2.9.0+cu128"),
        ({"versions": {"python": "3.12.1", "pandas": None}}, None, "python is 3.12.1, planned with 3.11.7"),
        ({"versions": {"torch": "2.8.1"}},
         "torch is 2.8.1, planned with 2.9.0+cu128 (pip install torch==2.9.0)", None),
        ({"versions": {"numpy": None}},
         "numpy is not there, planned with 2.2.0 (pip install numpy==2.2.0)", None),
        ({"versions": {"ladder": "0.4.9"}, "code": {"harness": "d" * 64}},
         "ladder is 0.4.9, planned with 0.5.0 (pip install ladder-bench==0.5.0)", None),
        ({"code": {"harness": "d" * 64}},
         "code of harness is dddddddd, planned with aaaaaaaa (the same commit or wheel on every node)", None),
        ({"methods": {"mean_image": 7}},
         "method mean_image is version 7, planned with version 1 (the same version of it on every node)",
         None),
        ({"metrics": {"auroc": 1}},
         "metric auroc is version 1, planned with version 2 (the same version of it on every node)",
         None),
        ({"weights": {"resnet": "e" * 64}},
         "weights resnet is eeeeeeee, planned with cccccccc (copy the file there)", None),
    ],
)  # fmt: skip
def test_what_can_change_a_number_is_a_problem_and_the_rest_a_note(
    change: dict[str, Any], problem: str | None, note: str | None
):
    fields = {name: {**getattr(OURS, name), **values} for name, values in change.items()}
    fields = {name: {k: v for k, v in values.items() if v is not None} for name, values in fields.items()}
    problems, notes = compare(OURS, replace(OURS, host="node3", **fields))
    assert (problems, notes) == ([problem] if problem else [], [note] if note else [])


def test_a_worker_shows_less_than_the_planner_has():
    theirs = shown(["mean_image"], ["auroc"])
    assert compare(shown(["mean_image", "psad"], ["auroc", "aupro"]), theirs) == ([], [])
    assert theirs.methods == {"mean_image": 1} and "faiss" in theirs.versions
    with pytest.raises(ConfigError, match="unknown method 'nobody'"):
        shown(["nobody"], [])


def test_code_is_every_file_that_can_change_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "shown_package"
    (package / "inner").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "inner/a.py": "x = 1",
        "inner/b.json": "{}",
        "README.md": "a",
    }.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))

    def digest() -> str:
        code_digest.cache_clear()
        return code_digest("shown_package")

    first = digest()
    (package / "README.md").write_text("b")
    assert digest() == first
    for name in ("inner/a.py", "inner/b.json"):
        before, old = digest(), (package / name).read_text()
        (package / name).write_text(old + " ")
        assert digest() != before
    (package / "inner/a.py").rename(package / "inner/c.py")
    assert digest() != before
    code_digest.cache_clear()
    assert len({code_digest(name) for name in ("harness", "methods.shared", "methods.mean_image")}) == 3


def test_what_is_left_out_of_the_code_is_never_run_by_a_trial():
    graph = grimp.build_graph("harness", "methods", "sweeps", cache_dir=None)
    roots = [m for m in graph.modules if m.startswith("methods.")] + ["sweeps.worker", "sweeps.together"]
    used = set(roots).union(*(graph.find_upstream_modules(root) for root in roots))
    left_out = {"harness." + door.removesuffix(".py") for door in DOORS}
    assert {m for m in used if ".".join(m.split(".")[:2]) in left_out} == set()


# --- before the first trial ---------------------------------------------------------------------------------


@pytest.fixture
def planned(sweep_file: Callable[..., Path]) -> tuple[Trial, Setting]:
    config = load(sweep_file(categories=["cap"]))
    (trial, _), *_ = expand(config)
    return trial, replace(_setting(config, [trial]), expected=shown(["mean_image"], ["auroc"]))


@pytest.fixture(autouse=True)
def _first_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_ANSWERS", {})


def test_a_worker_that_has_the_same_runs_the_trial(planned: tuple[Trial, Setting]):
    trial, setting = planned
    row = execute(trial, setting, Resources()).trial
    assert (row["status"], row["notes"]) == ("ok", [])


def test_another_method_is_refused_and_nothing_is_computed(planned: tuple[Trial, Setting]):
    trial, setting = planned
    assert setting.expected
    other = replace(setting, expected=replace(setting.expected, methods={"mean_image": 7}))
    result = execute(trial, other, Resources(), unit="u")
    assert (result.trial["status"], result.trial["error_type"], result.trial["unit"]) == (
        "lost",
        REFUSED,
        "u",
    )
    assert "method mean_image is version 1, planned with version 7" in result.trial["reason"]
    assert not result.metrics and not result.scores
    broken = train(WorkUnit("u", (trial, trial), Resources()), other)
    assert "planned with version 7" in (broken.error or "")


def test_a_harmless_difference_is_a_note_in_the_row(planned: tuple[Trial, Setting]):
    trial, setting = planned
    assert setting.expected
    versions = {**setting.expected.versions, "pandas": "0.1"}
    row = execute(
        trial, replace(setting, expected=replace(setting.expected, versions=versions)), Resources()
    ).trial
    assert row["status"] == "ok"
    assert any("pandas is" in note and "planned with 0.1" in note for note in row["notes"])


def test_without_data_or_weights_a_node_is_refused_and_with_other_data_to_blame(
    planned: tuple[Trial, Setting], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trial, setting = planned
    assert setting.expected
    said = answer(trial, ["auroc"], tmp_path / "nowhere", setting.expected).problem
    assert f"{tmp_path / 'nowhere'}: no such folder" in said
    heavy = replace(trial, assets=(Asset("resnet", "0" * 64),))
    card = replace(
        handshake.METHODS.load("mean_image").card, assets=lambda params, category: [Asset("resnet", "1" * 64)]
    )
    monkeypatch.setattr(handshake.METHODS.load("mean_image"), "card", card)
    monkeypatch.setattr(handshake, "_ANSWERS", {})
    assert "weights resnet is 11111111" in answer(heavy, ["auroc"], tmp_path, setting.expected).problem
    missing = replace(card, assets=_raiser(WeightsError("weights: no file /w/resnet.pth")))
    monkeypatch.setattr(handshake.METHODS.load("mean_image"), "card", missing)
    monkeypatch.setattr(handshake, "_ANSWERS", {})
    assert answer(heavy, ["auroc"], tmp_path, setting.expected).problem == "weights: no file /w/resnet.pth"
    foreign = replace(trial, fingerprint="0" * 64)
    monkeypatch.undo()
    row = execute(foreign, replace(setting, expected=None), Resources()).trial
    assert (row["status"], row["error_type"]) == ("failed", "NotAsPlanned")
    assert blame(row) is Blame.NODE


def _raiser(error: Exception) -> Callable[..., Sequence[Asset]]:
    def raises(params: Any, category: str) -> Sequence[Asset]:
        raise error

    return raises


# --- who is to blame ----------------------------------------------------------------------------------------

NODE = [
    (OSError(28, "No space left on device"), "OSError"),
    (OSError(30, "Read-only file system"), "OSError"),
    (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "AcceleratorError"),
    (RuntimeError("No CUDA GPUs are available"), "RuntimeError"),
    (RuntimeError("Found no NVIDIA driver on your system."), "RuntimeError"),
    (ModuleNotFoundError("No module named 'timm.layers'"), "ModuleNotFoundError"),
    (NotAsPlanned("cap: the images here are not the ones that were planned with"), "NotAsPlanned"),
]
TRIAL = [
    (ValueError("this went wrong"), "ValueError"),
    (ModuleNotFoundError("No module named 'nobody_has_this'"), "ModuleNotFoundError"),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), "RuntimeError"),
    (DataError("a.png: the file was changed during the sweep"), "DataError"),
    (WeightsError("the keys do not fit"), "WeightsError"),
    (FileNotFoundError(2, "No such file or directory", "x"), "FileNotFoundError"),
]


@pytest.mark.parametrize(
    ("error", "kind", "whose"),
    [(*each, Blame.NODE) for each in NODE] + [(*each, Blame.TRIAL) for each in TRIAL],
    ids=lambda value: str(value)[:30],
)
def test_blame(error: Exception, kind: str, whose: Blame):
    assert blame(error) is whose
    row = {"error_type": kind, "reason": str(error)}
    assert blame(row | {"status": "failed"}) is whose
    assert blame(row | {"status": "crashed"}) is whose
    for fine in ("ok", "skipped", "oom", "timeout"):
        assert blame(row | {"status": fine}) is Blame.TRIAL


def test_a_package_that_the_planner_lacks_too_is_no_fault_of_the_node():
    row = {
        "status": "crashed",
        "error_type": None,
        "reason": "\x1b[36mray::Worker\x1b[39m No module named 'sweeps'",
    }
    assert blame(row) is Blame.NODE
    assert blame(row, has=lambda name: name != "sweeps") is Blame.TRIAL
    assert uncoloured(row["reason"]) == "ray::Worker No module named 'sweeps'"


# --- when a node is put aside -------------------------------------------------------------------------------

FULL = {"status": "failed", "error_type": "OSError", "reason": "[Errno 28] No space left on device"}
REFUSES = {"status": "lost", "error_type": REFUSED, "reason": "numpy is 1, planned with 2"}
OK = {"status": "ok", "error_type": None, "reason": None}
WRONG = {"status": "failed", "error_type": "ValueError", "reason": "of its own"}


def result(row: dict[str, Any], trial: int) -> TrialResult:
    return TrialResult({"trial_id": f"t{trial}", "host": "?", "method": "m", **row})


@pytest.mark.parametrize(
    ("rows", "aside_at"),
    [
        ([REFUSES], 0),
        ([FULL, FULL], 1),
        ([FULL, WRONG, FULL], 2),
        ([FULL, OK, FULL, OK, FULL, FULL], 5),
        ([WRONG] * 6, None),
    ],
)
def test_a_node_is_put_aside(rows: list[dict[str, Any]], aside_at: int | None):
    health = Health()
    verdicts = [health.judge(result(row, i), "n1", "alpha", others=2) for i, row in enumerate(rows)]
    assert [i for i, verdict in enumerate(verdicts) if verdict.aside] == (
        [] if aside_at is None else [aside_at]
    )
    spoilt = [row in (FULL, REFUSES) for row in rows]
    assert [verdict.result is None for verdict in verdicts] == spoilt  # those run again, the others stand
    assert len(list(health.lines())) == len(health.aside) == (aside_at is not None)
    for line in health.lines():
        assert line.startswith(f"node alpha was put aside, {sum(spoilt)} trial")


def test_the_last_node_is_kept_and_its_rows_say_why():
    health = Health()
    for i in range(3):
        kept, aside, _ = health.judge(result(FULL, i), "n1", "alpha", others=0)
        assert kept and aside is None
        assert kept.trial["status"] == Status.LOST
        assert kept.trial["reason"] == "node alpha: OSError: [Errno 28] No space left on device"
        assert (kept.trial["error_type"], kept.trial["host"]) == ("OSError", "alpha")
    assert list(health.lines()) == []


@pytest.mark.parametrize(("row", "waits_at"), [(REFUSES, 0), (FULL, 1)])
def test_where_nodes_may_join_the_last_one_is_kept_and_its_trials_wait(row: dict[str, Any], waits_at: int):
    health = Health()
    for number in range(ATTEMPTS):
        kept, aside, waits = health.judge(result(row, 0), "n1", "alpha", others=0, grows=True)
        last = number == ATTEMPTS - 1
        assert (kept is not None, aside) == (last, None)
        assert (waits is not None) == (number >= waits_at and not last)
        assert not waits or waits.endswith(row["reason"])
        assert health.judge(result(OK, 1), "n1", "alpha", others=0, grows=True).result


def test_a_trial_that_no_node_can_run_is_given_up():
    health = Health()
    tries = [health.judge(result(FULL, 0), f"n{i}", f"h{i}", others=9).result for i in range(ATTEMPTS)]
    assert [row is None for row in tries] == [True] * (ATTEMPTS - 1) + [False]


@pytest.mark.parametrize("row", [REFUSES, FULL])
def test_a_node_is_put_aside_once(row: dict[str, Any]):
    health = Health()
    verdicts = [health.judge(result(row, i), "n1", "alpha", others=1) for i in range(5)]
    assert sum(verdict.aside is not None for verdict in verdicts) == 1
    (line,) = health.lines()
    assert line.startswith("node alpha was put aside, 5 trials went elsewhere: ")


def test_a_node_that_is_put_aside_by_others_is_named_too():
    health = Health()
    for why in ("no supervisor comes up there", "and again"):
        health.put_aside("n1", "alpha", why)
    assert list(health.lines()) == ["node alpha was put aside: no supervisor comes up there"]


def test_lost_of_a_node_is_retried_like_any_lost(sweep_file: Callable[..., Path], tmp_path: Path):
    from conftest import sweep_here

    path = sweep_file(categories=["cap"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweeps.serial.execute", _as_on_a_full_node)
        assert sweep_here(path, "--backend", "serial").returncode == 1
    row = read_run(tmp_path / "run").trials.iloc[0]
    assert (row.status, row.error_type) == ("lost", "OSError")
    assert sweep_here(path, "--backend", "serial", "--retry", "lost").returncode == 0


def _as_on_a_full_node(trial: Trial, setting: Setting, resources: Resources, **more: Any) -> TrialResult:
    row = dict(execute(trial, setting, resources).trial) | FULL
    found = Health().judge(TrialResult(row), "n1", "alpha", others=0).result
    assert found
    return found

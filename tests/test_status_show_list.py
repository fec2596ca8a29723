"""The commands that only look: `harness.status`, `harness.show`, `harness.list`."""

import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import environment, sweep_here, write_tree

from harness import list as listing
from harness import show, status
from harness.console import leave
from harness.datasets import DATASETS
from harness.errors import ConfigError, DataError
from harness.inspection.entries import dataset_entry, method_entry
from harness.inspection.record import record_of
from harness.inspection.state import state_of
from harness.inspection.state_words import next_steps
from harness.metrics.table import METRICS
from harness.results import locked, read_driver, read_run, read_scores
from harness.results.plain import duration, title
from harness.results.writer import RunWriter
from methods import METHODS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 planned trials: 10 ok, 2 failed, 4 missing."""
    folder = tmp_path_factory.mktemp("status")
    content = {
        "name": "looked-at",
        "dataset": {"name": "mvtec_ad", "root": str(write_tree(folder / "data", ("bolt", "cap")))},
        "shots": [1, 2],
        "seeds": 2,
        "methods": [
            {"name": "mean_image"},
            {"name": "faulty", "params": {"behaviour": "raise", "category": "cap"}},
        ],
        "out": str(folder / "run"),
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    done = sweep_here(path, "--backend", "serial", "--only", "method=mean_image")
    assert done.returncode == 1, done.stderr
    done = sweep_here(path, "--backend", "serial", "--only", "method=faulty,shots=1", "--retry", "lost")
    assert done.returncode == 1, done.stderr
    return folder / "run"


COUNTS = {"ok": 10, "failed": 2, "missing": 4}


# --- status -------------------------------------------------------------------------------------------------


def test_status_counts_every_planned_trial(run: Path, capsys: pytest.CaptureFixture[str]):
    assert status.main([str(run)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{run}: nobody works on it"
    assert said[1].startswith(
        "12 of 16 trials ended: 10 ok, 2 failed, 4 missing; the missing ones take about "
    )
    assert said[2].split() == ["method", "planned", "ok", "failed", "missing", "each"]
    assert said[3].split()[:5] == ["mean_image", "8", "8", "0", "0"]
    assert said[4].split()[:5] == ["faulty", "8", "2", "2", "4"]
    assert said[5].startswith("2 × failed faulty (ValueError): this went wrong on purpose  [e.g. ")


def test_status_says_what_to_type_next(run: Path):
    state = state_of(run)
    example = state.failures[0].example
    again = (
        f"python -m harness.sweep {run.parent / 'sweep.yaml'} --backend serial --only method=faulty,shots=1"
    )
    assert next_steps(state) == [
        f"python -m harness.show {run} {example}",
        f"{again} --retry lost   (runs the missing trials)",
        f"{again} --retry lost --retry failed",
    ]


def test_status_as_json(run: Path, capsys: pytest.CaptureFixture[str]):
    assert status.main([str(run), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["planned"], found["counts"]) == ("looked-at", 16, COUNTS)
    assert found["methods"]["faulty"] == {"ok": 2, "failed": 2, "missing": 4}
    assert found["alive"] is False
    assert [row["status"] for row in found["not_ok"]] == ["failed", "failed"]
    assert found["failures"][0]["trials"] == 2
    assert found["left_seconds"] is None
    assert found["work_seconds"] == pytest.approx(4 * found["seconds"]["faulty"])


def test_status_lists_failed_trials_one_by_one(run: Path, capsys: pytest.CaptureFixture[str]):
    status.main([str(run), "--failed"])
    said = capsys.readouterr().out
    bad = read_run(run).trials.query("status == 'failed'")
    assert len(bad) == 2
    for trial_id in bad["trial_id"]:
        assert f"{trial_id} failed faulty/cap/1-shot/seed " in said


def test_status_of_a_finished_run_is_0_and_leads_to_the_report(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    plan = read_run(run).plan
    copy = _copy(run, tmp_path)
    plan[plan["method"] == "mean_image"].to_parquet(copy / "plan.parquet")
    assert status.main([str(copy)]) == 0
    said = capsys.readouterr().out
    assert "8 of 8 trials ended: 8 ok; 4 rows of an earlier plan" in said
    assert said.splitlines()[-1] == f"next: python -m reports {copy}"


def test_no_such_run_names_the_nearest(run: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        leave(lambda: status.main([str(run.parent / "rum")]))
    said = capsys.readouterr().err
    assert said.startswith(f"error: {run.parent / 'rum'}: not a run directory")
    assert "(did you mean 'run'?)" in said


def test_a_living_driver_is_seen_by_its_lock_and_the_rest_is_estimated(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy = _copy(run, tmp_path)
    with locked(copy):
        assert state_of(copy).alive is True
        assert state_of(copy).left_seconds is None  # nothing has ended since it started
        _began(copy, hours=2)
        state = state_of(copy)
        assert state.driver is not None
        assert state.driver.command == shlex.join(["python", *sys.orig_argv[1:]])
        done = read_run(copy).trials["total_seconds"].sum()
        assert state.left_seconds == pytest.approx(state.work_seconds * 7200 / done, rel=0.01)
        status.main([str(copy)])
        assert capsys.readouterr().out.startswith(f"{copy}: running, process {os.getpid()}")
    assert state_of(copy).alive is False


def test_a_driver_elsewhere_is_judged_by_the_lock_alone(run: Path, tmp_path: Path):
    copy = _copy(run, tmp_path)
    _rewrite(copy, host="another-machine", pid=1)
    assert state_of(copy).alive is False
    (copy / ".lock").unlink(missing_ok=True)
    assert state_of(copy).alive is False


def test_trials_that_a_dead_driver_left_are_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy = _copy(run, tmp_path)
    missing = read_run(copy).remaining["trial_id"].iloc[0]
    writer = RunWriter(copy)
    writer.started(missing)
    status.main([str(copy)])
    assert "unfinished when it stopped: faulty/bolt/2-shot/seed 0" in capsys.readouterr().out
    assert state_of(copy).counts == COUNTS
    writer.close()


def test_results_that_are_only_in_a_journal_count(run: Path, tmp_path: Path):
    copy = _copy(run, tmp_path)
    before = read_run(copy)
    row = before.trials.iloc[0].to_dict()
    chosen = before.remaining["trial_id"].iloc[0]
    event = {"event": "finished", "metrics": [{"metric": "auroc"}], "scores": [{"score": 1.0}]}
    finished = row["finished_at"].isoformat()
    event["trial"] = {"trial_id": chosen, "method": "faulty", "status": "ok", "finished_at": finished}
    journal = copy / "journal"
    journal.mkdir(exist_ok=True)
    (journal / "x.jsonl").write_text(json.dumps(event) + '\n{"event": "fin')
    assert state_of(copy).counts == {"ok": 11, "failed": 2, "missing": 3}


def test_watch_ends_when_nobody_works_on_the_run(run: Path, capsys: pytest.CaptureFixture[str]):
    assert status.main([str(run), "--watch", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["counts"] == COUNTS


def test_a_run_that_was_killed_before_its_plan_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "sweep.json").write_text('{"schema_version": 1, "config": {"name": "x"}}')
    assert status.main([str(tmp_path)]) == 1
    assert "nobody has worked on it yet" in capsys.readouterr().out


# --- show ---------------------------------------------------------------------------------------------------


@pytest.fixture
def scored(run: Path) -> pd.Series:
    trials = read_run(run).trials
    return trials[(trials["status"] == "ok") & (trials["shots"] == 2)].iloc[0]


def test_show_prints_everything_about_a_trial(
    run: Path, scored: pd.Series, capsys: pytest.CaptureFixture[str]
):
    assert show.main([str(run), scored.trial_id]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"mean_image/{scored.category}/2-shot/seed 0  {scored.trial_id}  ok\n")
    for words in (
        "parameters",
        "image_size",
        "support (2 images): train/good/",
        "metrics (percent)",
        "auroc",
    ):
        assert words in said
    for words in (
        "good images with the highest scores",
        "test/square/",
        "cost",
        "ms_per_image",
        "git_commit",
    ):
        assert words in said


def test_show_takes_a_prefix_and_refuses_an_ambiguous_one(run: Path, scored: pd.Series):
    known = list(read_run(run).plan["trial_id"])
    prefix = next(p for n in range(1, 17) if sum(k.startswith(p := scored.trial_id[:n]) for k in known) == 1)
    assert record_of(run, prefix).trial["trial_id"] == scored.trial_id
    with pytest.raises(DataError, match=r"16 trials begin with ''"):
        record_of(run, "")


def test_show_names_the_nearest_of_an_unknown_id(run: Path, scored: pd.Series):
    wrong = scored.trial_id[:15] + ("0" if scored.trial_id[15] != "0" else "1")
    with pytest.raises(
        DataError, match=rf"no trial '{wrong}' \(did you mean '{scored.trial_id}'\?\); there are 16"
    ):
        record_of(run, wrong)


def test_show_orders_images_from_the_wrong_end(run: Path, scored: pd.Series):
    record = record_of(run, scored.trial_id)
    images = read_run(run).scores.query("trial_id == @scored.trial_id")
    good, bad = images[images["label"] == "good"], images[images["label"] != "good"]
    assert record.alarming[0]["score"] == good["score"].max()
    assert record.overlooked[0]["score"] == bad["score"].min()
    assert len(record.images) == len(images) == 8


def test_show_of_a_failed_trial_has_its_traceback(run: Path, capsys: pytest.CaptureFixture[str]):
    failed = state_of(run).failures[0].example
    assert show.main([str(run), failed]) == 1
    said = capsys.readouterr().out
    assert "reason: ValueError: this went wrong on purpose" in said
    assert "_misbehave" in said


def test_show_of_a_planned_trial_says_that_it_is_missing(run: Path, capsys: pytest.CaptureFixture[str]):
    missing = read_run(run).remaining["trial_id"].iloc[0]
    assert show.main([str(run), missing]) == 1
    assert capsys.readouterr().out.splitlines()[0] == f"faulty/bolt/2-shot/seed 0  {missing}  missing"


def test_show_as_json_keeps_types(run: Path, scored: pd.Series, capsys: pytest.CaptureFixture[str]):
    show.main([str(run), scored.trial_id, "--json"])
    found = json.loads(capsys.readouterr().out)
    trial = found["trial"]
    assert (trial["shots"], trial["run_seed"], trial["weights"]) == (2, None, [])
    assert trial["params"] == {"image_size": 64, "pooling": "max", "smoothing": 1.0}
    assert datetime.fromisoformat(trial["started_at"]).tzinfo is not None
    assert {row["metric"] for row in found["metrics"]} == {"auroc", "ap", "f1max"}
    assert all(isinstance(row["score"], float) for row in found["images"])


def test_scores_of_one_trial_are_those_in_the_whole_table(run: Path, scored: pd.Series):
    every = read_run(run).scores
    twin = every[every["trial_id"] == scored.trial_id].reset_index(drop=True)
    pd.testing.assert_frame_equal(read_scores(run, scored.trial_id), twin)
    assert read_scores(run, "0" * 16).empty


# --- list ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "names"),
    [("methods", METHODS.names()), ("datasets", DATASETS.names()), ("metrics", list(METRICS))],
)
def test_list_has_a_line_for_everything(kind: str, names: list[str], capsys: pytest.CaptureFixture[str]):
    assert listing.main([kind]) == 0
    firsts = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:1].strip()]
    assert [word for word in firsts if word in names] == names
    assert listing.main([kind, "--json"]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == names


def test_list_of_one_method_shows_its_card_and_parameters(capsys: pytest.CaptureFixture[str]):
    listing.main(["methods", "mean_image"])
    said = capsys.readouterr().out
    assert "Mean image" in said
    assert "pooling" in said
    assert "max, mean" in said
    listing.main(["methods", "mean_image", "--json"])
    parameters = {p["name"]: p for p in json.loads(capsys.readouterr().out)["parameters"]}
    assert parameters["pooling"] == {
        "name": "pooling",
        "type": "choice",
        "default": "max",
        "required": False,
        "allowed": "max, mean",
        "summary": "how the map becomes the image score.",
    }
    assert (parameters["image_size"]["type"], parameters["image_size"]["allowed"]) == ("int", "> 0; ≤ 8192")


def test_list_of_one_data_set_shows_counts_and_options(capsys: pytest.CaptureFixture[str]):
    listing.main(["datasets", "mvtec_loco"])
    said = capsys.readouterr().out
    for words in (
        "CC BY-NC-SA 4.0",
        "IJCV",
        "test logical",
        "juice_bottle",
        "subtype_rule",
        "drop_ambiguous",
    ):
        assert words in said


@pytest.mark.parametrize("kind", ["methods", "datasets", "metrics"])
def test_list_of_an_unknown_name_names_the_nearest(kind: str):
    known = {"methods": "patchcore", "datasets": "mvtec_ad", "metrics": "auroc"}[kind]
    with pytest.raises(ConfigError, match=rf"did you mean '{known}'\?"):
        listing.main([kind, known + "x"])


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_says_what_it_is_and_what_its_parameters_mean(name: str):
    entry = method_entry(METHODS, name)
    assert entry["title"] and entry["summary"] and entry["licence"]
    assert [p["name"] for p in entry["parameters"] if not p["summary"]] == []


@pytest.mark.parametrize("name", DATASETS.names())
def test_every_data_set_says_what_it_is_and_what_its_options_mean(name: str):
    entry = dataset_entry(name)
    assert entry["title"] and entry["summary"] and entry["licence"]
    assert [p["name"] for p in entry["parameters"] if not p["summary"]] == []


# --- all three --------------------------------------------------------------------------------------------

PROBE = """
import json, sys, runpy
for module, *words in json.loads(sys.argv[1]):
    sys.argv = [module, *words]
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        assert end.code == 0, (module, end.code)
print("HEAVY", sorted({"torch", "ray", "timm"} & set(sys.modules)))
"""


def test_none_of_them_imports_torch_or_ray(run: Path, scored: pd.Series, tmp_path: Path):
    plan = read_run(run).plan
    finished = _copy(run, tmp_path)
    plan[plan["method"] == "mean_image"].to_parquet(finished / "plan.parquet")
    commands = (["status", finished], ["show", run, scored.trial_id], ["list", "methods", "patchcore"])
    words = json.dumps([[f"harness.{name}", *map(str, rest)] for name, *rest in commands])
    command = [sys.executable, "-c", PROBE, words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_a_reader_that_has_seen_enough_is_no_error(run: Path, scored: pd.Series):
    command = f"{sys.executable} -m harness.show {run} {scored.trial_id} --json | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment(), check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.034, "0.03s"), (4.26, "4.3s"), (12.7, "12s"), (200, "3m20s"), (3900, "1h05m")]
)
def test_durations(seconds: float, words: str):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("shots", "split", "seed", "words"),
    [
        (4, 1, 1, "m/c/4-shot/seed 1"),
        (None, None, 0, "m/c/full/seed 0"),
        (2, 1, 0, "m/c/2-shot/seed 1+0"),
        (0, None, None, "m/c/any shots"),
    ],
)
def test_titles(shots: int | None, split: int | None, seed: int | None, words: str):
    row = {"method": "m", "category": "c", "shots": shots, "split_seed": split, "run_seed": seed}
    assert title(row) == words


def _copy(run: Path, folder: Path) -> Path:
    return Path(copytree(run, folder / "copy"))


def _rewrite(run: Path, **values: Any) -> None:
    path = run / "driver.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _began(run: Path, hours: int) -> None:
    driver = read_driver(run)
    assert driver is not None
    _rewrite(run, started_at=(datetime.now(UTC) - timedelta(hours=hours)).isoformat())

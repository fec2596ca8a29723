"""A run told to other tools: the same numbers read back by the tool itself, and nothing twice."""

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from reports_synthetic import FIVE, Entry, write_run

from harness.results import read_run
from reports.command import main
from reports.export import mlflow as to_mlflow
from reports.export import results
from reports.export import wandb as to_wandb
from reports.export.records import Record, sweep_record, trial_records
from reports.export.tools import plain
from reports.frame.cards import MethodCard
from reports.frame.load import Frame, load

SCHEMA = Path(results.__file__).with_name("results.schema.json")
FAILED = {"status": "oom", "error_type": "OutOfMemoryError", "reason": "too | large"}


def entries(level: float = 0.8, broken: bool = True) -> list[Entry]:
    """Ok, failed and missing trials of two settings of a method, and a zero-shot one with a mark."""

    def fate(category: str, shots: int | None, seed: int | None) -> Mapping[str, Any] | None:
        if not broken or category != "pushpins":
            return {}
        return FAILED if seed == 0 else None

    params = {"backbone": "wide_resnet50_2.tv_in1k", "image_size": 224}
    return [
        Entry("patchcore", level, {**params, "k": 9}, shots=(4,), seeds=(0, 1)),
        Entry("patchcore", 0.7, {**params, "k": 1}, shots=(4,), seeds=(0, 1), fate=fate),
        Entry("clip", 0.6, shots=(0,), seeds=(None,), marks=("demo weights",)),
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("export") / "few", entries(), FIVE, dataset="mvtec_loco")


@pytest.fixture(scope="module")
def frame(run: Path) -> Frame:
    return load([run])


def values(run: Path) -> dict[str, dict[str, float]]:
    """What the run's own tables hold: trial -> name -> value."""
    found: dict[str, dict[str, float]] = {}
    for row in read_run(run).metrics.dropna(subset=["value"]).itertuples():
        limit = "" if math.isnan(row.fpr_limit) else f"_fpr{row.fpr_limit:g}"  # pyright: ignore[reportArgumentType]
        name = f"{row.metric}{limit}/{row.subset}"
        found.setdefault(str(row.trial_id), {})[name] = float(row.value)  # pyright: ignore[reportArgumentType]
    return found


def test_every_trial_that_has_ended_is_a_record(run: Path, frame: Frame):
    records = list(trial_records(frame))
    ended = read_run(run).trials
    assert [r.id for r in records] == [t for t in frame.trials["trial_id"] if t in set(ended["trial_id"])]
    assert len(records) == 10 + 9 + 5 and len(frame.trials) == 25
    known = values(run)
    for record in records:
        measured = {n: v for n, v in record.metrics.items() if "/" in n}
        assert measured == known.get(record.id, {})
        assert record.params["category"] in FIVE and record.started and record.finished
    newer = replace(frame, metrics=frame.metrics.assign(measure=frame.metrics["measure"] + " v2"))
    for old, new in zip(records, trial_records(newer), strict=True):
        assert not {n for n in old.metrics if "/" in n} & set(new.metrics)
    (failed,) = [r for r in records if r.status != "ok"]
    assert (failed.status, failed.tags["reason"]) == ("oom", "too | large")
    assert {r.tags.get("marks") for r in records if r.params["method"] == "clip"} == {"demo weights"}


def test_a_sweep_is_told_with_its_complete_averages_only(frame: Frame):
    sweep = sweep_record(frame, frame.sources[0])
    assert sweep.status == "incomplete" and sweep.metrics["trials_missing"] == 1
    complete = [name for name in sweep.metrics if name.startswith("patchcore")]
    assert complete and all(name.startswith("patchcore[k=9]/4-shot/") for name in complete)
    mine = frame.metrics.query("variant == 'patchcore[k=9]' and metric == 'auroc' and subset == 'all'")
    assert sweep.metrics["patchcore[k=9]/4-shot/auroc/all"] == pytest.approx(mine["value"].mean())


def test_two_sweeps_of_one_name_are_two(run: Path, frame: Frame, tmp_path: Path):
    other = load([write_run(tmp_path / "few", entries(), FIVE, dataset="mvtec_loco")])
    ids = {sweep_record(f, f.sources[0]).id for f in (frame, other, load([run]))}
    assert len(ids) == 2 and all(re.fullmatch(r"few-[0-9a-f]{8}", one) for one in ids)


def test_names_that_a_tool_would_not_take_stay_different():
    found = plain(["a@b", "a b", "a?b", "pâté/1.5:x-y"])
    assert found == {"a@b": "a_b", "a b": "a b", "a?b": "a_b_", "pâté/1.5:x-y": "pâté/1.5:x-y"}


def test_what_a_record_says_is_in_its_digest(frame: Frame):
    records = list(trial_records(frame))
    assert len({r.digest for r in records}) == len(records)
    assert next(iter(trial_records(frame))).digest == records[0].digest
    changed = replace(records[0], metrics={**records[0].metrics, "auroc/all": 0.5})
    assert changed.digest != records[0].digest


# --- MLflow


def mlflow_runs(out: Path) -> list[Any]:
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(tracking_uri=out.as_uri())
    (experiment,) = [e for e in client.search_experiments() if e.name == "few"]
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the exporter sets by itself, so that it goes again."""
    for name in (to_mlflow.ALLOW, to_mlflow.SILENT):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv(to_wandb.SILENT, "false")


def test_mlflow_reads_back_the_same_numbers_and_nothing_is_written_twice(
    run: Path, frame: Frame, tmp_path: Path
):
    pytest.importorskip("mlflow")
    assert main(["export", str(run), "--to", "mlflow", "--out", str(tmp_path)]) == 0
    runs = mlflow_runs(tmp_path)
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    trials = {r.data.tags["trial_id"]: r for r in runs if r is not parent}
    assert {r.data.tags["mlflow.parentRunId"] for r in trials.values()} == {parent.info.run_id}
    for record in trial_records(frame):
        told = trials.pop(record.id)
        assert told.data.metrics == record.metrics
        assert (
            told.data.params.items()
            >= {"method": record.params["method"], "shots": record.params["shots"]}.items()
        )
        assert told.info.status == {"ok": "FINISHED", "oom": "FAILED"}[record.status]
        assert told.info.start_time == int(record.started.timestamp() * 1000)  # pyright: ignore
    assert trials == {} and parent.data.metrics["trials_missing"] == 1
    assert main(["export", str(run), "--to", "mlflow", "--out", str(tmp_path)]) == 0
    assert {r.info.run_id for r in mlflow_runs(tmp_path)} == {r.info.run_id for r in runs}


def test_mlflow_gets_what_has_changed_since(tmp_path: Path):
    pytest.importorskip("mlflow")
    sweep = Record("few", "few", {}, {}, {})
    trials = [Record(f"t{i}", f"trial {i}", {"k": str(i)}, {"auroc/all": 0.1 * i}, {}) for i in range(3)]
    to_mlflow.write(sweep, trials[:2], tmp_path)
    before = {r.data.tags["ladder.id"]: r.info.run_id for r in mlflow_runs(tmp_path)}
    trials[1] = replace(trials[1], metrics={"auroc/all": 0.9})
    to_mlflow.write(sweep, trials, tmp_path)
    after = {r.data.tags["ladder.id"]: r for r in mlflow_runs(tmp_path)}
    assert set(after) == {"few", "few/t0", "few/t1", "few/t2"}
    assert after["few/t0"].info.run_id == before["few/t0"]
    assert after["few/t1"].info.run_id != before["few/t1"]
    assert after["few/t1"].data.metrics == {"auroc/all": 0.9}


def test_mlflow_takes_any_name_and_texts_of_any_length(tmp_path: Path):
    pytest.importorskip("mlflow")
    odd = Record(
        "t", "odd", {"params.prompt": "x" * 9000}, {"auroc/a%b": 1.0, "auroc/a?b": 0.5}, {"why": "y" * 9000}
    )
    many = {f"m{i}/all": float(i) for i in range(230)}
    to_mlflow.write(Record("few", "few", {}, many, {}), [odd], tmp_path)
    found = {r.data.tags["ladder.id"]: r.data for r in mlflow_runs(tmp_path)}
    assert found["few/t"].metrics == {"auroc/a_b": 1.0, "auroc/a_b_": 0.5}
    assert len(found["few/t"].params["params.prompt"]) == 6000
    assert found["few"].metrics == many


# --- TensorBoard


def test_tensorboard_reads_back_the_same_numbers_and_a_second_export_changes_no_byte(
    run: Path, frame: Frame, tmp_path: Path
):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2
    from tensorboard.util import tensor_util

    assert main(["export", str(run), "--to", "tensorboard", "--out", str(tmp_path)]) == 0
    (sweep,) = tmp_path.iterdir()
    folders = {folder.name[-8:]: folder for folder in sweep.iterdir()}
    for record in trial_records(frame):
        events = EventAccumulator(str(folders.pop(record.id[:8])))
        events.Reload()
        for name, value in record.metrics.items():
            (event,) = events.Tensors(name)
            assert float(tensor_util.make_ndarray(event.tensor_proto)) == pytest.approx(value, rel=1e-6)
            assert event.wall_time == record.finished.timestamp()  # pyright: ignore
        said = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        params = plugin_data_pb2.HParamsPluginData.FromString(said).session_start_info.hparams
        assert params["method"].string_value == record.params["method"]
        if "params.image_size" in record.params:
            assert params["params.image_size"].number_value == 224
    assert set(folders) == {"sweep"}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*tfevents*")}
    assert main(["export", str(run), "--to", "tensorboard", "--out", str(tmp_path)]) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# --- Weights & Biases


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of an offline run: a log of LevelDB, whose blocks and checksums are not looked at here."""
    pb = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    raw, at, held = path.read_bytes(), 7, b""  # after the head
    while at + 7 <= len(raw):
        left = 32768 - at % 32768
        if left < 7:  # nothing fits into the end of a block
            at += left
            continue
        length, kind = int.from_bytes(raw[at + 4 : at + 6], "little"), raw[at + 6]
        held += raw[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield pb.Record.FromString(held)
            held = b""


def wandb_run(folder: Path) -> tuple[Any, dict[str, float]]:
    (path,) = folder.glob("run-*.wandb")
    told, summary = None, {}
    for record in wandb_records(path):
        told = record.run if record.HasField("run") else told
        for update in record.summary.update if record.HasField("summary") else ():
            summary[update.key or "/".join(update.nested_key)] = json.loads(update.value_json)
    return told, summary


def test_wandb_holds_the_same_numbers_and_keeps_what_has_not_changed(tmp_path: Path):
    pytest.importorskip("wandb")
    sweep = Record("few", "few", {}, {"trials_ok": 2.0}, {})
    trials = [
        Record(f"t{i}", f"trial {i}", {"k": str(i)}, {"auroc/all": 0.1 + i}, {"marks": "demo data"})
        for i in range(2)
    ]
    to_wandb.write(sweep, trials, tmp_path)
    before = {folder.name for folder in (tmp_path / "wandb").glob("offline-run-*")}
    assert len(before) == 3
    trials[1] = replace(trials[1], metrics={"auroc/all": 0.5}, status="failed")
    to_wandb.write(sweep, trials, tmp_path)
    after = {folder.name: folder for folder in (tmp_path / "wandb").glob("offline-run-*")}
    assert len(after) == 3 and len(before & set(after)) >= 2
    for trial in trials:
        told, summary = next(wandb_run(f) for name, f in after.items() if name.endswith(f"-{trial.id}"))
        assert summary.items() >= trial.metrics.items()
        assert (told.project, told.run_group, told.job_type) == ("few", "few", "trial")
        assert list(told.tags) == [trial.status, "demo data"]
        assert {u.key: json.loads(u.value_json) for u in told.config.update}["k"] == trial.params["k"]


# --- JSON


def written(frame: Frame, tmp_path: Path, **more: Any) -> dict[str, Any]:
    said = json.loads(results.write(frame, frame.sources[0], tmp_path, **more).read_text("utf-8"))
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(said)
    return said


CARD = MethodCard(
    "patchcore",
    "PatchCore",
    "",
    "training-free",
    (),
    "Roth et al.: Towards Total Recall. CVPR 2022",
    "https://arxiv.org/abs/2106.08265",
    "Apache-2.0",
    "BSD-3-Clause (wide_resnet50_2)",
)


def under(frame: Frame, label: str | None) -> Frame:
    protocols = [[label] if label else [] for _ in frame.trials.index]
    cards = {**frame.cards, "patchcore": CARD}
    return replace(frame, trials=frame.trials.assign(protocols=protocols), cards=cards)


def test_json_names_benchmarks_by_protocol_and_models_by_network_and_resolution(frame: Frame, tmp_path: Path):
    said = written(under(frame, "clip_lad"), tmp_path, code="https://example.org/ladder")
    first, second = said["results"]  # the setting with missing trials has no average
    assert first["benchmark"] == "MVTec LOCO AD (4-shot, CLIP-LAD protocol)"
    assert first["model"] == "PatchCore (wide_resnet50_2.tv_in1k, 224 px)"
    assert first["openness"]["code_licence"] == "Apache-2.0"
    assert first["method"]["params"]["k"] == 9 and first["code"]["url"] == "https://example.org/ladder"
    auroc = next(m for m in first["metrics"] if (m["metric"], m["subset"]) == ("auroc", "all"))
    mine = frame.metrics.query("variant == 'patchcore[k=9]' and metric == 'auroc' and subset == 'all'")
    per_seed = mine.groupby("seed")["value"].mean()
    assert auroc["score"] == pytest.approx(100 * per_seed.mean()) and auroc["seeds"] == 2
    assert auroc["std"] == pytest.approx(100 * per_seed.std(ddof=1))
    assert {m["fpr_limit"] for m in first["metrics"] if m["metric"] == "auspro"} == {0.05, 0.3}
    assert second["benchmark"] == "MVTec LOCO AD (zero-shot, CLIP-LAD protocol)"
    assert second["marks"] == ["demo weights"] and second["metrics"][0]["std"] is None


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (None, "MVTec LOCO AD (4-shot)"),
        ("clip_lad, with seeds 10", "MVTec LOCO AD (4-shot, CLIP-LAD protocol, with seeds 10)"),
        ("house_rules", "MVTec LOCO AD (4-shot, house_rules protocol)"),
    ],
)
def test_json_says_what_was_changed_of_a_protocol(
    frame: Frame, tmp_path: Path, label: str | None, expected: str
):
    assert written(under(frame, label), tmp_path)["results"][0]["benchmark"] == expected


def test_averages_of_two_protocols_are_told_apart(frame: Frame, tmp_path: Path):
    labels = ("clip_lad", "objectcore, with seeds 2")
    told = tuple({"label": label, "protocol": label, "title": label, "step": ""} for label in labels)
    listed = [[labels[0]] if method == "clip" else [*labels] for method in frame.trials["method"]]
    source = replace(frame.sources[0], protocols=told)
    both = replace(frame, sources=(source,), trials=frame.trials.assign(protocols=listed))
    said = written(both, tmp_path)["results"]
    assert [record["benchmark"] for record in said] == [
        "MVTec LOCO AD (4-shot, CLIP-LAD protocol)",
        "MVTec LOCO AD (zero-shot, CLIP-LAD protocol)",
        "MVTec LOCO AD (4-shot, ObjectCore protocol, with seeds 2)",
    ]
    names = sweep_record(both, source).metrics
    assert {n.partition("/")[0] for n in names if "/" in n} == {f"mvtec_loco, {label}" for label in labels}


def test_json_of_a_data_set_that_nobody_registered(tmp_path: Path):
    path = write_run(tmp_path / "own", [Entry("mean_image", 0.5, seeds=(0,))], ("a",), dataset="mine")
    said = written(load([path]), tmp_path)
    assert said["results"][0]["dataset"] == {
        "name": "mine",
        "title": "mine",
        "licence": None,
        "url": None,
        "citation": None,
    }
    assert said["results"][0]["model"] == "mean_image"


def test_a_path_is_no_name_of_a_network():
    assert results.model("X", {"weights": "/home/me/w.pth", "image_size": [320, 640]}) == "X (320 × 640 px)"
    assert results.model("X", {"weights": None}) == "X"


# --- the command


def test_the_command_says_where_and_how_to_look(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["export", str(run), "--to", "json", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "results.json")
    assert main(["export", str(tmp_path), "--to", "json"]) == 2
    assert "reports export: " in capsys.readouterr().err


@pytest.mark.parametrize("to", ["mlflow", "wandb", "tensorboard"])
def test_a_missing_tool_is_one_sentence_with_its_extra(
    run: Path, tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in [name for name in sys.modules if name.partition(".")[0] == to]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, to, None)  # as if it were not installed
    assert main(["export", str(run), "--to", to, "--out", str(tmp_path / to)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"--to {to} needs {to}" in said
    assert f"python -m pip install 'ladder-bench[{to}]'" in said
    assert not list(tmp_path.iterdir())


def test_numbers_in_files_are_finite(frame: Frame):
    assert all(math.isfinite(v) for record in trial_records(frame) for v in record.metrics.values())
    assert all(a.id != b.id for a, b in pairwise(trial_records(frame)))

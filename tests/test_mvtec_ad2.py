"""MVTec AD 2: its splits, its lightings, and what becomes of test images without labels."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import sweep_here
from data_trees import SIZE, mvtec_ad2
from pydantic import TypeAdapter, ValidationError

from harness.curate.check import check
from harness.data import UNLABELLED
from harness.datasets import DATASETS
from harness.datasets.mvtec_ad2 import COUNTS, MVTEC_AD2, TOTALS, Ad2Options
from harness.errors import DataError
from harness.metrics import CONDITION, METRICS
from harness.metrics.image import auroc
from harness.rows import metric_rows
from reports.frame.load import load
from reports.tables.accuracy import conditions

Write = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return mvtec_ad2(tmp_path / "data")


def test_the_public_split_has_labels_masks_and_lightings(root: Path):
    split = MVTEC_AD2.read(root, "can")
    assert (len(split.train), len(split.validation), len(split.test)) == (4, 3, 8)
    assert [(s.label, s.condition) for s in split.test[:4]] == [
        ("good", "overexposed"),
        ("good", "regular"),
    ] * 2
    bad = split.test[4]
    assert bad.label == "bad" and [path.name for path in bad.masks] == ["000_overexposed_mask.png"]
    assert {s.condition for s in split.train} == {"regular"}
    assert split.limits == {"aupro": (0.05,)}


@pytest.mark.parametrize(
    ("test", "ids"),
    [
        ("private", ["test_private/000_regular.png", "test_private/001_regular.png"]),
        ("private_mixed", ["test_private_mixed/000_mixed.png", "test_private_mixed/001_mixed.png"]),
    ],
)
def test_the_private_splits_have_no_labels(root: Path, test: Any, ids: list[str]):
    split = MVTEC_AD2.read(root, "can", Ad2Options(test))
    assert [s.id for s in split.test] == ids
    assert {(s.label, s.defects, s.masks) for s in split.test} == {(UNLABELLED, (), ())}
    assert split.fingerprint != MVTEC_AD2.read(root, "can").fingerprint
    both = MVTEC_AD2.read(root, "can", Ad2Options("server"))
    assert set(ids) < {s.id for s in both.test} and len(both.test) == 4


def test_a_private_split_that_is_not_there_is_said(root: Path):
    for path in sorted((root / "can/test_private").iterdir()):
        path.unlink()
    (root / "can/test_private").rmdir()
    assert MVTEC_AD2.read(root, "can").marks == ("unofficial split",)  # of the mixed ones too few are there
    with pytest.raises(DataError, match="can/test_private: no such folder"):
        MVTEC_AD2.read(root, "can", Ad2Options("private"))


def test_no_validation_images_are_said_and_limits_count_once(root: Path):
    shutil.rmtree(root / "can/validation")
    notes = check(root, MVTEC_AD2, Ad2Options(pro_limits=(0.05, 0.3, 0.05))).notes
    assert "can: no validation image to fix a threshold on: seg_f1 will be empty" in notes
    assert MVTEC_AD2.read(root, "can", Ad2Options(pro_limits=(0.05, 0.3, 0.05))).limits == {
        "aupro": (0.05, 0.3)
    }


def test_a_folder_of_another_data_set_is_no_root(tmp_path: Path):
    (tmp_path / "tubes/train/good").mkdir(parents=True)
    with pytest.raises(DataError, match="no category of mvtec_ad2 in this folder"):
        MVTEC_AD2.names(tmp_path)


def test_the_numbers_of_the_archive():
    assert sum(splits["test_private"] for splits in COUNTS.values()) == 2045
    assert sum(TOTALS.values()) + 2 * 2045 == 8004


@pytest.mark.parametrize("wrong", [{"test": "secret"}, {"pro_limits": []}, {"pro_limits": [1.5]}])
def test_options_that_cannot_be_meant_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        TypeAdapter(Ad2Options).validate_python(wrong)


def test_check_knows_it_and_says_what_differs(root: Path):
    report = check(root, MVTEC_AD2)
    assert not report.problems
    assert "can: other counts than the official archive: test_private 2 (archive: 321)" in report.notes[0]
    everything = check(mvtec_ad2(root, *COUNTS), MVTEC_AD2)
    assert "train: 32 images in all categories together (archive: 2,528)" in everything.notes
    unlabelled = check(root, MVTEC_AD2, Ad2Options("private"))
    assert any("test images without labels" in note for note in unlabelled.notes)


def test_each_lighting_is_judged_on_its_own(root: Path):
    split = MVTEC_AD2.read(root, "can")
    rng = np.random.default_rng(0)
    scores, maps = rng.random(8), rng.random((8, *SIZE), dtype=np.float32)
    rows = metric_rows(["auroc", "aupro"], split, scores, maps)
    assert {row["fpr_limit"] for row in rows if row["metric"] == "aupro"} == {0.05}
    found = {row["subset"]: row for row in rows if row["metric"] == "auroc"}
    assert list(found) == ["all", "bad", f"{CONDITION}overexposed", f"{CONDITION}regular"]
    dark = np.array([s.condition == "overexposed" for s in split.test])
    bad = np.array([s.label == "bad" for s in split.test])
    assert found[f"{CONDITION}overexposed"]["value"] == auroc(scores[dark], bad[dark])
    assert (found[f"{CONDITION}regular"]["n_normal"], found[f"{CONDITION}regular"]["n_anomalous"]) == (2, 2)


def test_without_labels_every_metric_is_null_and_there_are_scores_and_maps(
    root: Path, sweep_file: Write, tmp_path: Path
):
    dataset = {"name": "mvtec_ad2", "root": str(root), "test": "server"}
    metrics = list(METRICS)
    path = sweep_file(dataset=dataset, metrics=metrics, keep_maps=True)
    done = sweep_here(path, "--backend", "serial")
    assert done.returncode == 0 and "can, rice: test images without labels" in done.stdout, done.stdout
    rows = pd.read_parquet(tmp_path / "run/metrics")
    assert set(rows["metric"]) == set(metrics) and rows["value"].isna().all()
    assert set(rows["subset"]) == {"all"} and not rows[["n_normal", "n_anomalous"]].to_numpy().any()
    scores = pd.read_parquet(tmp_path / "run/scores")
    assert set(scores["label"]) == {UNLABELLED} and set(scores["condition"]) == {"regular", "mixed"}
    assert len(list((tmp_path / "run/maps").iterdir())) == 2


def test_a_report_shows_each_lighting(root: Path, sweep_file: Write, tmp_path: Path):
    path = sweep_file(dataset={"name": "mvtec_ad2", "root": str(root)}, metrics=["auroc", "aupro"])
    assert sweep_here(path, "--backend", "serial").returncode == 0
    tables = conditions(load([tmp_path / "run"]))
    assert [table.title.split(",")[0] for table in tables] == ["AUROC", "AU-PRO (FPR ≤ 0.05)"]
    assert all(table.title.endswith("by condition") for table in tables)
    rows = pd.read_parquet(tmp_path / "run/metrics").query("metric == 'auroc'")
    for group in tables[0].groups:
        (row,) = group.rows
        mine = rows[rows["subset"] == f"{CONDITION}{group.label}"]["value"]
        assert [cell.value for cell in row.cells[:2]] == mine.tolist()
        assert row.cells[2].value == pytest.approx(mine.mean())
    assert [group.label for group in tables[0].groups] == ["overexposed", "regular"]


def test_a_folder_in_this_layout_is_recognised(root: Path):
    assert [
        n for n in DATASETS if n not in ("folder", "mvtec_ad2") and DATASETS.load(n).recognise(root)
    ] == []
    assert MVTEC_AD2.recognise(root)

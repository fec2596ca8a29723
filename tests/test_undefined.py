"""Metrics that cannot exist: told while planning, by `harness.data check`, and once in a report."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_tree
from reports_synthetic import Entry, metric_row, write_run

from harness.config import load
from harness.curate.check import check
from harness.datasets import DATASETS
from harness.metrics import METRICS, Region, ScoredSample, trial_metrics
from harness.metrics.defined import undefined
from harness.sweep import main
from reports.frame.load import load as load_runs
from reports.report import build
from sweeps.drive import Options, plan_sweep
from sweeps.problems import CHECKS

Write = Callable[..., Path]
GOOD, BAD, LOGICAL, STRUCTURAL = "good", "hole", "logical", "structural"
UNLABELLED = "unlabelled"
IMAGE, PIXEL = ["auroc", "ap", "f1max"], ["pixel_auroc", "pixel_ap", "aupro", "auspro"]


def test_images_without_labels_are_left_out_beside_others():
    assert undefined([GOOD, BAD, UNLABELLED], True, IMAGE) == []
    assert undefined([GOOD, UNLABELLED], True, IMAGE)[0].startswith("no anomalous test image: auroc")
    (line,) = undefined([UNLABELLED], False, IMAGE)
    assert line.startswith("test images without labels (their scores and maps are kept): auroc, ap, f1max")


@pytest.mark.parametrize(
    ("labels", "masks", "said"),
    [
        ([GOOD, BAD], True, []),
        ([GOOD, LOGICAL, STRUCTURAL], True, []),
        ([GOOD], False, ["no anomalous test image: auroc, ap, f1max, pixel_auroc, pixel_ap, aupro, auspro"]),
        ([BAD], True, ["no good test image: auroc, ap, f1max"]),
        ([GOOD, BAD], False, ["no masks: pixel_auroc, pixel_ap, aupro, auspro"]),
        ([GOOD, LOGICAL], True, ["no structural test image: its metrics and the mean of both"]),
        (
            [STRUCTURAL],
            True,
            ["no good test image: auroc, ap, f1max", "no logical test image: its metrics and"],
        ),
    ],
)
def test_what_is_foretold_is_what_comes(labels: list[str], masks: bool, said: list[str]):
    found = undefined(labels, masks, IMAGE + PIXEL)
    assert len(found) == len(said) and all(map(str.startswith, found, said))
    anomaly_map = np.arange(12.0).reshape(3, 4)
    samples = [ScoredSample(float(i), label) for i, label in enumerate(labels)]

    def regions(i: int) -> list[Region]:
        return [] if labels[i] == GOOD else [Region(anomaly_map > 8)]

    known = regions if masks or BAD not in labels else None
    rows = trial_metrics(IMAGE + PIXEL, samples, lambda i: anomaly_map, known)
    empty = {row.metric for row in rows if row.subset == "all" and row.value is None}
    empty |= set(IMAGE + PIXEL) - {row.metric for row in rows}
    foretold = {name for line in found for name in METRICS if name in line.replace(",", "").split()}
    assert empty == foretold
    for subset in (LOGICAL, STRUCTURAL):
        values = [row.value for row in rows if row.subset == subset]
        absent = any(line.startswith(f"no {subset} ") for line in found)
        assert not values or (set(values) == {None}) == (absent or (GOOD not in labels and len(values) == 3))


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """bolt has no good test image, cap no anomalous one, nut no masks."""
    root = write_tree(tmp_path / "data", ("bolt", "cap", "nut"), train=2, test=2)
    for folder in ("bolt/test/good", "cap/test/square", "cap/ground_truth/square", "nut/ground_truth/square"):
        for file in (root / folder).iterdir():
            file.unlink()
        (root / folder).rmdir()
    (root / "nut/ground_truth").rmdir()
    return root


def test_the_plan_says_what_will_be_empty(
    uneven: Path, sweep_file: Write, capsys: pytest.CaptureFixture[str]
):
    dataset = {"name": "folder", "root": str(uneven), "masks": "ground_truth"}
    path = sweep_file(dataset=dataset, metrics=["auroc", "aupro"])
    notes = plan_sweep(load(path, (), CHECKS), Options()).notes
    assert notes == (
        "bolt: no good test image: auroc will be empty",
        "cap: no anomalous test image: auroc, aupro will be empty",
        "nut: no masks: aupro will be empty",
    )
    assert main([str(path), "--dry-run"]) == 0
    assert notes[0] in capsys.readouterr().out


def test_check_says_so_too(uneven: Path):
    folder = DATASETS.load("folder")
    notes = check(uneven, folder, folder.Options()).notes
    assert "bolt: no good test image: auroc, ap, f1max will be empty" in notes
    assert any(note.startswith("nut: no masks: pixel_auroc") for note in notes)


def test_a_report_gives_the_reason_once(tmp_path: Path):
    def rows(row: Mapping[str, Any], value: float) -> list[dict[str, Any]]:
        normal = 0 if row["category"] in ("bolt", "cap") else 5
        found = {"all": (normal and value) or None, "logical": None, "structural": (normal and value) or None}
        numbers = {"all": 4, "logical": 0, "structural": 4}
        return [
            metric_row(s, name, v) | {"n_normal": normal, "n_anomalous": numbers[s]}
            for name in ("auroc", "ap")
            for s, v in found.items()
        ]

    run = write_run(
        tmp_path / "run", [Entry("mean_image", 0.7), Entry("psad", 0.8)], ("bolt", "cap", "nut"), rows
    )
    notes = [note for note in build(load_runs([run])).notes if "hence" in note]
    assert notes == [
        "loco: no good test image in bolt, cap, hence (–) no auroc, ap.",
        "loco: no logical test image in nut, hence (–) no auroc, ap of logical anomalies, "
        "nor a mean of logical and structural.",
    ]

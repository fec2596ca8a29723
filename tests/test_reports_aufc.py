"""AUFC and the pooled F1-max under it, against the definitions of the VAND 2025 challenge written out."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports_synthetic import Entry, metric_row, write_run

from harness.metrics import ScoredSample, trial_metrics
from harness.results import read_run
from reports.frame.load import load
from reports.tables.aufc import area, aufc
from reports.tables.table import Table

SHOTS = (1, 2, 4, 8)
CATEGORIES = ("pushpins", "screw_bag")


@pytest.mark.parametrize("seed", range(4))
def test_f1max_of_all_is_the_challenges_image_score(seed: int):
    """Its test set is one: good images, and anomalies of both kinds; a threshold per distinct score."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(["good", "logical", "structural"], 40)
    scores = np.round(rng.normal(labels != "good", 1.0), 1)  # ties
    found = trial_metrics(
        ["f1max"], [ScoredSample(float(s), str(x)) for s, x in zip(scores, labels, strict=True)]
    )
    (pooled,) = (row.value for row in found if row.subset == "all")
    best = 0.0
    for threshold in sorted(set(scores)):
        flagged, anomalous = scores >= threshold, labels != "good"
        precision = (flagged & anomalous).sum() / flagged.sum()
        recall = (flagged & anomalous).sum() / anomalous.sum()
        best = max(best, 2 * precision * recall / (precision + recall + 1e-10))
    assert pooled == pytest.approx(best, abs=1e-9)


def test_area_is_that_of_trapezoids_over_the_range():
    assert area(SHOTS, [0.5, 0.6, 0.7, 0.9]) == pytest.approx((0.55 + 2 * 0.65 + 4 * 0.8) / 7)
    assert area((1, 8), [0.3, 0.3]) == pytest.approx(0.3)


def _lost(category: str, shots: int | None, seed: int | None) -> Mapping[str, Any] | None:
    return None if (category, shots, seed) == ("pushpins", 4, 1) else {}


def _f1(row: Mapping[str, Any], value: float) -> list[dict[str, Any]]:
    empty = row["method"] == "blind" and row["category"] == "pushpins" and row["shots"] == 2
    return [metric_row("all", "f1max", None if empty else value), metric_row("logical", "f1max", 0.1)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    entries = [
        Entry("patchcore", 0.8, shots=SHOTS, marks=("demo weights",)),
        Entry("gappy", 0.9, shots=SHOTS, fate=_lost),
        Entry("blind", 0.9, shots=SHOTS),
        Entry("short", 0.9, shots=(1, 2)),
        Entry("winclip", 0.7, shots=(0,), seeds=(None,)),
    ]
    return write_run(tmp_path / "run", entries, CATEGORIES, _f1)


def _challenge(run: Path, method: str) -> float:
    """Mean over seeds by shots and category, over categories by shots, then the area: in that order."""
    found = read_run(run)
    trials = {row["trial_id"]: row for row in found.trials.to_dict("records")}
    cells = defaultdict(list)
    for row in found.metrics.query("subset == 'all'").to_dict("records"):
        trial = trials[row["trial_id"]]
        if trial["method"] == method:
            cells[trial["shots"], trial["category"]].append(row["value"])
    curve = [np.mean([np.mean(cells[k, c]) for c in CATEGORIES]) for k in SHOTS]
    x = [(k - SHOTS[0]) / (SHOTS[-1] - SHOTS[0]) for k in SHOTS]
    return float(sum((x[i + 1] - x[i]) * (curve[i] + curve[i + 1]) / 2 for i in range(3)))


def _row(table: Table, name: str) -> list[Any]:
    return next([cell.value for cell in row.cells] for row in table.groups[0].rows if row.label == name)


def test_the_average_is_the_challenges_and_gaps_are_blank_with_their_reason(run: Path):
    (table,) = aufc(load([run]))
    assert table.title == "AUFC, 1 to 8 shots · loco" and table.section == "results"
    *own, average = _row(table, "patchcore")
    assert average == pytest.approx(_challenge(run, "patchcore"))
    assert np.mean(own) == pytest.approx(average)
    (cell,) = (row.cells[-1] for row in table.groups[0].rows if row.label == "patchcore")
    assert (cell.n, cell.marks) == (3, ("demo weights",)) and (cell.std or 0) > 0

    assert _row(table, "gappy")[0] is None and _row(table, "gappy")[1] is not None
    assert _row(table, "gappy")[-1] is None is _row(table, "blind")[-1]
    assert _row(table, "short") == [None] * 3
    assert "No area for gappy: 2/3 seeds at 4 shots in pushpins." in table.notes
    assert "No area for blind: undefined in pushpins." in table.notes
    assert "No area for short: not planned at 4 shots in pushpins, screw bag." in table.notes
    level = read_run(run)
    ids = level.trials[level.trials["method"] == "winclip"]["trial_id"]
    values = level.metrics[level.metrics["trial_id"].isin(ids) & (level.metrics["subset"] == "all")]["value"]
    assert _row(table, "winclip (zero-shot)")[-1] == pytest.approx(values.mean())


@pytest.mark.parametrize(("shots", "said"), [((1, 2), True), (SHOTS, False)])
def test_other_numbers_of_shots_are_not_the_challenges(tmp_path: Path, shots: tuple[int, ...], said: bool):
    (table,) = aufc(load([write_run(tmp_path / "run", [Entry("m", 0.5, shots=shots)], CATEGORIES, _f1)]))
    assert any("not those of its leaderboard" in note for note in table.notes) == said


@pytest.mark.parametrize("shots", [(4,), (None,), (1, None)])
def test_one_number_of_shots_has_no_area(tmp_path: Path, shots: tuple[int | None, ...]):
    assert aufc(load([write_run(tmp_path / "run", [Entry("m", 0.5, shots=shots)], CATEGORIES, _f1)])) == []

import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reports_synthetic import CATEGORIES, Entry, metric_row, metric_rows, showcase, unfinished, write_run

from harness.errors import DataError
from harness.results import read_run
from reports.frame.cells import DDOF, averages, cells
from reports.frame.load import FULL, load
from reports.frame.naming import measure_labels
from reports.stats import spread

ORANGE = "juice_bottle/orange"


def only(frame: pd.DataFrame, **wanted: object) -> dict:
    """The one row with these values."""
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0].to_dict()


def test_cells_and_averages_agree_with_plain_loops(tmp_path: Path):
    write_run(tmp_path / "run", showcase())
    run, frame = read_run(tmp_path / "run"), load([tmp_path / "run"])
    trials = {row["trial_id"]: row for row in run.trials.to_dict("records") if row["status"] == "ok"}
    by_cell, by_seed = defaultdict(list), defaultdict(list)
    for row in run.metrics.to_dict("records"):
        trial = trials[row["trial_id"]]
        if row["metric"] == "auroc" and row["subset"] == "logical":
            place = trial["method"], trial["params"], trial["shots"]
            by_cell[(*place, trial["category"])].append(row["value"])
            by_seed[(*place, trial["run_seed"])].append(row["value"])
    found = cells(frame)
    found = found[(found["measure"] == "auroc") & (found["subset"] == "logical") & (found["n"] > 0)]
    expected = [spread(values, ddof=DDOF) for values in by_cell.values()]
    assert sorted(found["mean"]) == pytest.approx(sorted(s.mean for s in expected), abs=1e-12)
    stds = sorted(s.std for s in expected if s.std is not None)
    assert sorted(found["std"].dropna()) == pytest.approx(stds, abs=1e-12)
    whole = defaultdict(list)
    for (method, params, shots, _), values in by_seed.items():
        whole[method, params, shots].append(statistics.mean(values))
    means = averages(frame, cells(frame))
    row = only(means, variant="mean_image", shots=4, measure="auroc", subset="logical")
    assert row["mean"] == pytest.approx(statistics.mean(whole["mean_image", "{}", 4]), abs=1e-12)
    assert row["std"] == pytest.approx(statistics.stdev(whole["mean_image", "{}", 4]), abs=1e-12)
    assert (row["n"], row["why"]) == (3, {})


def test_an_average_over_incomplete_cells_is_blank_and_says_why(tmp_path: Path):
    frame = load([write_run(tmp_path / "run", showcase())])
    row = only(averages(frame, cells(frame)), variant="psad", shots=1, measure="auroc", subset="logical")
    assert pd.isna(row["mean"])
    assert row["why"] == {"breakfast_box": "2/3 seeds", ORANGE: "skipped"}


def test_an_undefined_value_is_no_number_and_blanks_the_average(tmp_path: Path):
    frame = load([write_run(tmp_path / "run", [Entry("m", 0.8)])])
    every = cells(frame)
    cell = only(every, category=ORANGE, shots=1, measure="auroc", subset="structural")
    assert (cell["n"], cell["planned"], cell["ok"]) == (0, 3, 3)
    row = only(averages(frame, every), shots=1, measure="auroc", subset="structural")
    assert pd.isna(row["mean"])
    assert row["why"] == {ORANGE: "undefined"}


def test_a_mean_over_seeds_of_which_one_is_undefined_is_undefined(tmp_path: Path):
    def first_undefined(row, value):
        return [metric_row("all", "auroc", None if row["run_seed"] == 0 else value)]

    frame = load([write_run(tmp_path / "run", [Entry("m", 0.8, shots=(1,))], metrics=first_undefined)])
    assert cells(frame)["mean"].isna().all()
    assert set(averages(frame, cells(frame))["why"].iloc[0].values()) == {"undefined"}


def test_a_deterministic_method_is_one_trial_without_a_standard_deviation(tmp_path: Path):
    frame = load([write_run(tmp_path / "run", [Entry("m", 0.8, shots=(None,), seeds=(None,))])])
    every = cells(frame)
    cell = only(every, category=ORANGE, measure="auroc", subset="logical")
    assert (cell["n"], cell["planned"], cell["shots"]) == (1, 1, FULL)
    assert pd.isna(cell["std"])
    row = only(averages(frame, every), measure="auroc", subset="logical")
    assert row["n"] == 1
    assert pd.isna(row["std"])


def test_a_method_planned_on_fewer_categories_has_no_average(tmp_path: Path):
    wide = write_run(tmp_path / "wide", [Entry("a", 0.8)])
    narrow = write_run(tmp_path / "narrow", [Entry("b", 0.8)], CATEGORIES[:2])
    frame = load([wide, narrow])
    means = averages(frame, cells(frame))
    assert only(means, variant="b", shots=1, measure="auroc", subset="all")["why"] == {ORANGE: "not planned"}
    assert only(means, variant="a", shots=1, measure="auroc", subset="all")["n"] == 3


def test_settings_of_a_method_are_named_by_what_differs(tmp_path: Path):
    frame = load([write_run(tmp_path / "run", showcase())])
    assert list(dict.fromkeys(frame.trials["variant"])) == [
        "mean_image",
        "patchcore[coreset_ratio=0.01]",
        "patchcore[coreset_ratio=0.1]",
        "psad",
        "winclip",
    ]


def test_planned_trials_without_a_row_are_missing_and_rows_of_earlier_plans_left_out(tmp_path: Path):
    write_run(tmp_path / "run", [Entry("a", 0.8), Entry("b", 0.8)])
    write_run(tmp_path / "run", [Entry("a", 0.8), Entry("c", 0.8, fate=unfinished)])
    frame = load([tmp_path / "run"])
    assert set(frame.trials["method"]) == {"a", "c"}
    assert frame.sources[0].stale == 18
    assert "18 trials of earlier plans left out" in frame.notes[0]
    statuses = frame.trials.loc[frame.trials["method"] == "c", "status"].value_counts()
    assert statuses.to_dict() == {"missing": 10, "ok": 8}
    assert "b" not in set(frame.metrics["variant"])


def test_the_same_trial_in_two_runs_counts_once_and_differing_numbers_are_named(tmp_path: Path):
    def shifted(row, value):
        return metric_rows(row, value + 0.02 * (row["category"] == ORANGE))

    lost = Entry("m", 0.8, fate=lambda *_: {"status": "lost", "reason": "node"})
    ok, bad, other = (tmp_path / n for n in ("ok", "bad", "other"))
    write_run(ok, [Entry("m", 0.8)])
    write_run(bad, [lost])
    write_run(other, [Entry("m", 0.8)], metrics=shifted)
    frame = load([bad, ok])
    assert len(frame.trials) == 18
    assert set(frame.trials["status"]) == {"ok"}
    assert len(frame.notes) == 1
    assert "18 trials planned in more than one of" in frame.notes[0]
    conflict = load([ok, other]).notes[-1]
    assert conflict.startswith("Conflict: 6 trials with the same identity but different numbers: m ")
    assert "(by 2 points)" in conflict
    assert "and 1 more" in conflict


def test_runs_with_other_weights_or_other_images_never_share_a_cell(tmp_path: Path):
    a = write_run(tmp_path / "a", [Entry("m", 0.8, weights=(("w", "aa"),))])
    b = write_run(tmp_path / "b", [Entry("m", 0.8, weights=(("w", "bb"),))])
    assert set(load([a, b]).trials["variant"]) == {"m (a)", "m (b)"}
    images = Entry("m", 0.8, seeds=(7,), fate=lambda *_: {"fingerprint": "other"})
    c = write_run(tmp_path / "c", [images])
    d = write_run(tmp_path / "d", [replace(images, seeds=(8,), fate=lambda *_: {})])
    assert set(load([c, d]).trials["dataset"]) == {"loco (c)", "loco (d)"}


def test_definitions_of_a_metric_never_share_a_table(tmp_path: Path):
    def versions(row, value):
        return [metric_row("all", "ap", value) | {"metric_version": 1 + row["run_seed"]}]

    frame = load([write_run(tmp_path / "run", [Entry("m", 0.8)], metrics=versions)])
    assert set(frame.metrics["measure"]) == {"ap v1", "ap v2", "ap v3"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "sweep.json").unlink(), "not a run directory"),
        (lambda run: (run / "plan.parquet").write_bytes(b"PAR1 or so"), "cannot be read"),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(tmp_path: Path, damage, message: str):
    run = write_run(tmp_path / "run", [Entry("m", 0.8)])
    damage(run)
    with pytest.raises(DataError, match=message) as error:
        load([run])
    assert "\n" not in str(error.value)


def test_measures_are_named_by_their_definition_whatever_the_number_of_rows():
    random = np.random.default_rng(0)
    rows = 400
    metrics = pd.DataFrame(
        {
            "metric": random.choice(["auroc", "auspro"], rows),
            "fpr_limit": random.choice([0.05, 0.3, np.nan], rows),
            "metric_version": random.choice([1, 2], rows),
            "map_rule": random.choice(np.array(["bilinear", None], object), rows),
        },
        index=np.arange(rows) + 7,
    )
    slow = []
    for row in metrics.to_dict("records"):
        limit = "" if pd.isna(row["fpr_limit"]) else f"@{row['fpr_limit']:g}"
        rule = "" if pd.isna(row["map_rule"]) else f", {row['map_rule']}"
        slow.append(f"{row['metric']}{limit} v{row['metric_version']}{rule}")
    found = measure_labels(metrics)
    assert found.tolist() == slow
    assert found.index.equals(metrics.index)
    once = metrics[(metrics["metric_version"] == 1) & metrics["map_rule"].isna()]
    assert set(measure_labels(once)) == {
        "auroc",
        "auroc@0.05",
        "auroc@0.3",
        "auspro",
        "auspro@0.05",
        "auspro@0.3",
    }
    assert measure_labels(metrics[:0]).empty

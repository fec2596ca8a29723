"""Two runs side by side, and several as one."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reports_synthetic import CATEGORIES, Entry, metric_row, write_run

from harness.errors import DataError
from harness.results import RunWriter, read_run, write_plan, write_sweep
from harness.trial import TrialResult
from reports import diff, merge
from reports.command import main
from reports.frame.load import load
from reports.stats import Bootstrap, paired_auroc

ENTRY = Entry("m", 0.8, shots=(1,))


def better(row, value):
    return [metric_row("all", "auroc", value + 0.1 * (row["category"] == CATEGORIES[0]))]


def plain(row, value):
    return [metric_row("all", "auroc", value)]


def test_the_same_run_twice_differs_in_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    a = write_run(tmp_path / "a", [ENTRY])
    assert main(["diff", str(a), str(a)]) == 0
    out = capsys.readouterr().out
    assert "cells are the same in both" in out
    assert "The same in everything that is recorded." in out


def test_differing_cells_are_listed_with_their_difference(tmp_path: Path):
    a = write_run(tmp_path / "a", [ENTRY], metrics=plain)
    b = write_run(tmp_path / "b", [ENTRY], metrics=better)
    report = diff.compare(load([a]), load([b]))
    (table,) = report.sections[0].tables
    (group,) = table.groups
    assert group.label == "AUROC, all anomalies, pooled"
    assert [r.label for r in group.rows] == ["m, 1-shot, breakfast box · loco"]
    assert group.rows[0].cells[2].text == "+10.00"
    assert report.notes[0].endswith("2 cells are the same in both.")


def test_cells_of_only_one_run_and_what_the_other_has(tmp_path: Path):
    lost = replace(ENTRY, fate=lambda c, *_: {"status": "oom"} if c == CATEGORIES[0] else {})
    a, b = write_run(tmp_path / "a", [ENTRY]), write_run(tmp_path / "b", [lost, Entry("n", 0.7, shots=(1,))])
    report = diff.compare(load([a]), load([b]))
    states = {r.label: [c.text for c in r.cells] for r in report.sections[1].tables[0].groups[0].rows}
    assert states["m, 1-shot, breakfast box · loco"] == ["3 of 3 seeds", "oom"]
    assert states["n, 1-shot, juice bottle/cherry · loco"] == ["not planned or not measured", "3 of 3 seeds"]


def test_settings_have_the_same_name_in_both_runs(tmp_path: Path):
    one = Entry("m", 0.8, {"k": 1}, shots=(1,))
    a = write_run(tmp_path / "a", [one], metrics=plain)
    b = write_run(tmp_path / "b", [one, Entry("m", 0.7, {"k": 2}, shots=(1,))], metrics=better)
    (table,) = diff.compare(load([a]), load([b])).sections[0].tables
    assert [r.label for r in table.groups[0].rows] == ["m[k=1], 1-shot, breakfast box · loco"]


def scored(path: Path, shift: float) -> Path:
    """A run of one trial whose scores separate the classes a little better with a higher shift."""
    draw = np.random.default_rng(0)
    base = [(f"{i:03d}.png", "good" if i < 30 else "logical", draw.normal()) for i in range(60)]
    scores = [(n, c, s + (c != "good") * (1 + shift * draw.normal())) for n, c, s in base]
    row = {
        "trial_id": f"{path.name}1",
        "method": "m",
        "params": "{}",
        "dataset": "loco",
        "category": "box",
        "shots": 1,
        "split_seed": 0,
        "run_seed": 0,
        "marks": [],
    }
    path.mkdir()
    write_sweep(path, {"name": path.name})
    write_plan(path, [row])
    writer = RunWriter(path)
    labels, values = np.array([c != "good" for _, c, _ in scores]), np.array([s for *_, s in scores])
    area = float((values[labels][:, None] > values[~labels]).mean())
    done = row | {"status": "ok", "fingerprint": "f", "finished_at": "2026-01-02T03:05:05+00:00"}
    rows = tuple({"image": n, "label": c, "score": s, "parts": {}} for n, c, s in scores)
    writer.finished(TrialResult(done, (metric_row("all", "auroc", area),), rows))
    writer.close()
    return path


def test_a_difference_on_common_images_has_an_interval_and_a_p_value(tmp_path: Path):
    a, b = scored(tmp_path / "a", 0.0), scored(tmp_path / "b", 1.0)
    (table,) = diff.compare(load([a]), load([b])).sections[0].tables
    cells = table.groups[0].rows[0].cells
    scores = [read_run(p).scores.sort_values("image") for p in (a, b)]
    first, second = (s["score"].to_numpy() for s in scores)
    expected = paired_auroc(second, first, scores[0]["label"].tolist(), "all", Bootstrap(resamples=2000))
    assert expected is not None
    assert cells[2].value == pytest.approx(expected.value, abs=1e-12)
    assert cells[5].value == pytest.approx(expected.p, abs=1e-12)
    assert cells[3].value < cells[2].value < cells[4].value
    assert cells[6].value == cells[5].value  # a family of one


def test_diff_writes_every_format_and_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    a, b = (write_run(tmp_path / n, [ENTRY], metrics=m) for n, m in (("a", plain), ("b", better)))
    assert main(["diff", str(a), str(b), "--out", str(tmp_path / "out")]) == 1
    rows = list(csv.DictReader((tmp_path / "out/csv/differing.csv").read_text().splitlines()))
    assert float(rows[0]["difference"]) == pytest.approx(0.1)
    assert (tmp_path / "out/report.html").is_file()
    assert main(["diff", str(a), str(tmp_path / "c")]) == 2
    assert "not a run directory" in capsys.readouterr().err


def test_of_very_many_rows_the_first_are_shown_and_csv_has_them_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(diff, "LISTED", 2)
    a = write_run(tmp_path / "a", [ENTRY], metrics=plain)
    b = write_run(tmp_path / "b", [ENTRY], metrics=lambda row, value: [metric_row("all", "auroc", value / 2)])
    assert main(["diff", str(a), str(b), "--out", str(tmp_path / "out")]) == 1
    assert "1 more rows are in the CSV file" in capsys.readouterr().out
    whole, shown = ((tmp_path / "out" / name).read_text() for name in ("csv/differing.csv", "report.md"))
    rows = [f"m, 1-shot, {category.replace('_', ' ')} · loco" for category in CATEGORIES]
    assert [(row in whole, row in shown) for row in rows].count((True, True)) == 2
    assert all(row in whole for row in rows)


def test_merged_runs_are_one_run_with_all_their_rows(tmp_path: Path):
    a = write_run(tmp_path / "a", [ENTRY])
    b = write_run(tmp_path / "b", [Entry("n", 0.7, shots=(1,), fate=lambda c, *_: None if c == "x" else {})])
    (a / "maps").mkdir()
    kept = read_run(a).trials["trial_id"].iloc[0]
    (a / "maps" / f"{kept}.npz").write_bytes(b"maps")
    assert main(["merge", str(a), str(b), "--out", str(tmp_path / "c")]) == 0
    runs = [read_run(tmp_path / name) for name in "abc"]
    for name in ("plan", "trials", "metrics", "scores"):
        of = [getattr(run, name).sort_values(["trial_id"], kind="stable") for run in runs]
        expected = pd.concat(of[:2]).sort_values("trial_id", kind="stable").reset_index(drop=True)
        pd.testing.assert_frame_equal(of[2].reset_index(drop=True), expected)
    assert (tmp_path / "c" / "maps" / f"{kept}.npz").read_bytes() == b"maps"
    assert runs[2].config["name"] == "a+b"
    assert [m["name"] for m in runs[2].config["merged"]] == ["a", "b"]


def test_conflicts_are_named_and_refused_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    a, b = (write_run(tmp_path / n, [ENTRY], metrics=m) for n, m in (("a", plain), ("b", better)))
    words = ["merge", str(a), str(b), "--out", str(tmp_path / "c")]
    assert main(words) == 1
    assert (
        "Conflict: 3 trials with the same identity but different numbers: m breakfast_box"
        in capsys.readouterr().out
    )
    assert not (tmp_path / "c").exists()
    assert main([*words, "--keep-latest"]) == 0
    assert len(read_run(tmp_path / "c").trials) == len(read_run(a).trials)
    assert main([*words, "--keep-latest"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_an_ok_row_wins_over_a_lost_one(tmp_path: Path):
    lost = replace(ENTRY, fate=lambda *_: {"status": "lost"})
    a, b = write_run(tmp_path / "a", [lost]), write_run(tmp_path / "b", [ENTRY])
    merge.merge(load([a, b]), tmp_path / "c")
    assert set(read_run(tmp_path / "c").trials["status"]) == {"ok"}


def test_what_must_not_share_cells_does_not_become_one_run(tmp_path: Path):
    a = write_run(tmp_path / "a", [replace(ENTRY, weights=(("w", "aa"),))])
    b = write_run(tmp_path / "b", [replace(ENTRY, weights=(("w", "bb"),))])
    with pytest.raises(DataError, match=r"m \(a\), m \(b\): other images, weights or versions"):
        merge.merge(load([a, b]), tmp_path / "c")
    c = write_run(tmp_path / "c", [Entry("n", 0.7)], support="vand2025")
    with pytest.raises(DataError, match="by different rules"):
        merge.merge(load([a, c]), tmp_path / "d")

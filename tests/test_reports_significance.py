"""What differences are worth: the fast bootstrap against a slow twin, and the tables made of it."""

import csv
import io
import os
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from reports_synthetic import CATEGORIES, FIVE, LOCO, Entry, metric_row, with_scores, write_run

from harness.errors import DataError
from harness.metrics.image import ap, auroc, f1max
from harness.metrics.weighted import weighted
from harness.results.parquet import write_parquet
from harness.results.schema import SCORES
from harness.results.score_table import read_score_columns
from harness.results.tables import parts
from reports.command import FORMATS
from reports.frame.load import load
from reports.report import Report, build
from reports.stats import (
    Bootstrap,
    ResampledImages,
    compare,
    delong,
    difference,
    family,
    holm,
    interval,
    mean_area,
    paired_auroc,
    paired_interval,
    paired_seeds,
    score_table,
    weighted_interval,
)

GOLDEN = Path(__file__).parent / "golden"


def scored(labels: Sequence[str], seeds: int, shift: float, seed: int) -> np.ndarray:
    """Scores with many ties."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 6, (seeds, len(labels))) + shift * (np.array(labels) != "good")


def slow_auroc(scores: np.ndarray, labels: Sequence[str], subset: str):
    """The mean over seeds of the AUROC of listed images."""
    kinds = np.array(labels)

    def one(indices: np.ndarray, subset: str) -> float:
        used = indices[(kinds[indices] == "good") | (kinds[indices] == subset) | (subset == "all")]
        values = [auroc(row[used], kinds[used] != "good") for row in scores]
        return float(np.mean(values))

    if subset != "mean":
        return lambda indices: one(indices, subset)
    return lambda indices: (one(indices, "logical") + one(indices, "structural")) / 2


@pytest.mark.parametrize("kind", ["bca", "percentile"])
@pytest.mark.parametrize("subset", ["all", "logical", "structural", "mean"])
def test_paired_auroc_equals_resampling_image_by_image(subset, kind):
    first, second = scored(LOCO, 3, 1.0, 0), scored(LOCO, 2, 0.5, 1)
    options = Bootstrap(resamples=100, kind=kind)
    twins = [slow_auroc(scores, LOCO, subset) for scores in (first, second)]
    slow = paired_interval(*twins, LOCO, options)
    fast = paired_auroc(first, second, LOCO, subset, options)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high), abs=1e-12)


def test_the_p_of_one_seed_is_delongs_and_of_several_that_of_averaged_placements():
    first, second = scored(LOCO, 1, 1.0, 0), scored(LOCO, 1, 0.5, 1)
    anomalous = np.array(LOCO) != "good"
    expected = delong(first[0], second[0], anomalous).p
    assert paired_auroc(first, second, LOCO).p == pytest.approx(expected, abs=1e-12)
    # The same run three times tells no more about images than one.
    again = np.repeat(first, 3, axis=0)
    assert paired_auroc(again, second, LOCO).p == pytest.approx(expected, abs=1e-12)
    assert paired_auroc(first, first, LOCO).p == 1.0


def test_p_of_averaged_seeds_agrees_with_the_bootstrap():
    labels = ("good",) * 60 + ("other",) * 60
    for seed in range(4):
        first, second = (
            np.random.default_rng([seed, i]).normal(size=(3, 120)) + shift * (np.array(labels) != "good")
            for i, shift in enumerate((1.0, 0.8))
        )
        twins = [slow_auroc(scores, labels, "all") for scores in (first, second)]
        slow = paired_interval(*twins, labels, Bootstrap(resamples=400))
        assert paired_auroc(first, second, labels).p == pytest.approx(slow.p, abs=0.08)


def test_areas_that_are_not_defined():
    assert paired_auroc([1.0, 2.0], [2.0, 1.0], ["good", "good"]) is None
    assert paired_auroc([1.0, 2.0], [2.0, 1.0], ["logical", "logical"]) is None
    assert paired_auroc([1.0, 2.0], [2.0, 1.0], ["good", "logical"], "structural") is None
    assert paired_auroc([1.0, 2.0], [2.0, 1.0], ["good", "logical"], "mean") is None
    single = paired_auroc([1.0, 2.0], [2.0, 1.0], ["good", "logical"])
    assert (single.value, single.low, single.high, single.p) == (1.0, 1.0, 1.0, None)
    with pytest.raises(DataError, match="3 scores for 2 images"):
        paired_auroc([1.0, 2.0, 3.0], [2.0, 1.0, 3.0], ["good", "logical"])


def test_the_mean_over_categories_is_drawn_independently():
    options = [Bootstrap(resamples=2000, seed=i) for i in range(2)]
    first, second = scored(LOCO, 2, 1.5, 0), scored(LOCO, 2, 0.5, 1)
    images = [ResampledImages(LOCO, o) for o in options]
    pairs = [(i.areas(first)["all"], i.areas(second)["all"]) for i in images]
    one = difference(*pairs[0], options[0])
    both = difference(*(mean_area(side) for side in zip(*pairs, strict=True)), options[0])
    assert both.value == pytest.approx(one.value)
    # Two independent categories of the same spread: the width shrinks by the square root of two.
    assert (both.high - both.low) / (one.high - one.low) == pytest.approx(0.5**0.5, abs=0.06)


@pytest.mark.parametrize(("name", "metric"), [("auroc", auroc), ("ap", ap), ("f1max", f1max)])
def test_weighted_metrics_equal_repeated_images(name, metric):
    scores, anomalous = scored(LOCO, 1, 1.0, 3)[0], np.array(LOCO) != "good"
    options = Bootstrap(resamples=60)
    slow = interval(lambda i: metric(scores[i], anomalous[i]), LOCO, options)
    fast = weighted_interval(weighted(name, scores, anomalous), LOCO, options)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high), abs=1e-12)
    nothing = weighted(name, scores, anomalous)(np.array([anomalous, ~anomalous], float))
    assert np.isnan(nothing).all()


def test_seeds_belong_together_where_they_are_equal_or_have_no_meaning():
    seeded = [(0, 0), (1, 1), (2, 2)]
    assert paired_seeds(seeded, seeded[::-1]) == [(0, 2), (1, 1), (2, 0)]
    assert paired_seeds(seeded, [(None, None)]) == [(0, 0), (1, 0), (2, 0)]
    assert paired_seeds([(0, None), (1, None)], [(0, 7), (0, 8)]) == [(0, 0), (0, 1)]
    assert paired_seeds(seeded, [(5, 5)]) == []


def test_a_family_is_adjusted_together():
    found = {name: paired_auroc(scored(LOCO, 1, s, 0), scored(LOCO, 1, 0, 1), LOCO) for name, s in NAMED}
    assert list(family(found).values()) == holm([d.p for d in found.values()])
    assert family({"a": None}) == {"a": None}


PAIR = [Entry(name, 0.9, shots=(4,)) for name in ("strong", "weak")]
NAMED = (("strong", 3.0), ("weak", 0.5))


def rows(trial_id: str, images: Sequence[str], scores: Sequence[float]) -> pd.DataFrame:
    labels = ["good" if image.startswith("g") else "logical" for image in images]
    return pd.DataFrame({"trial_id": trial_id, "image": images, "label": labels, "score": scores})


def test_score_table_pairs_images_whatever_their_order():
    found = score_table(
        pd.concat([rows("a", ["l1", "g1", "g0"], [3, 2, 1]), rows("b", ["g0", "g1", "l1"], [4, 5, 6])]),
        ["b", "a"],
    )
    assert found.images == ("g0", "g1", "l1")
    assert found.labels == ("good", "good", "logical")
    assert found.scores.tolist() == [[4, 5, 6], [1, 2, 3]]
    assert found.of(["a"]).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (rows("b", ["g0"], [1.0]), "trial b lacks l0: not the same test images"),
        (rows("b", ["g0", "l0", "l0"], [1.0, 2.0, 2.0]), "trial b has l0 more than once"),
        (rows("b", ["g0", "l0"], [1.0, np.nan]), "trial b has no finite score for l0"),
        (rows("b", ["g0", "l0"], [1.0, 2.0]).assign(label="good"), "trial b has another label for l0"),
        (rows("c", ["g0", "l0"], [1.0, 2.0]), "trial b has no scores"),
    ],
)
def test_score_table_refuses_what_is_no_pair(second: pd.DataFrame, message: str):
    with pytest.raises(DataError, match=message):
        score_table(pd.concat([rows("a", ["g0", "l0"], [1.0, 2.0]), second]), ["a", "b"])


LEVELS = {"strong": 0.3, "middle": 0.12, "weak": 0.05, "zero": 0.0}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Three methods, one of them zero-shot with a mark, one with a failed trial, in five categories."""
    place = tmp_path_factory.mktemp("significance")

    def fate(category: str, shots: int | None, seed: int | None) -> dict[str, str]:
        return {"status": "failed"} if category == "pushpins" and seed == 1 else {}

    entries = [
        Entry("weak", 0.7, shots=(4,), seeds=(0, 1)),
        Entry("strong", 0.9, shots=(4,), seeds=(0, 1), fate=fate),
        Entry("zero", 0.6, shots=(0,), seeds=(None,), marks=("demo weights",)),
    ]
    with_scores(write_run(place / "runs/three", entries, FIVE), LEVELS)
    with chdir(place):
        return build(load([Path("runs/three")]))


def table_of(report: Report, key: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(FORMATS["csv"](report)[f"csv/{key}.csv"])))


@pytest.mark.parametrize("name", ["csv", "tex", "md"])
def test_golden_files(report: Report, name: str):
    """`LADDER_UPDATE_GOLDEN=1` writes them anew; look at the diff."""
    if name == "md":
        whole = FORMATS["md"](report)["report.md"]
        made = whole[whole.index("## What the differences are worth") : whole.index("## Coverage")]
    else:
        made = FORMATS[name](report)[f"{name}/differences_loco_4_shot.{name}"]
    kept = GOLDEN / f"differences.{name}"
    if os.environ.get("LADDER_UPDATE_GOLDEN"):
        kept.write_text(made, encoding="utf-8")
    if name != "csv":
        assert made == kept.read_text(encoding="utf-8")
        return
    # Sixteen digits of a sum may differ between machines in the last.
    for ours, theirs in zip(*(csv.reader(io.StringIO(t)) for t in (made, kept.read_text())), strict=True):
        assert list(map(rounded, ours)) == list(map(rounded, theirs))


def rounded(word: str) -> str:
    try:
        return f"{float(word):.9f}"
    except ValueError:
        return word


def test_five_categories_cannot_be_significant_and_the_report_says_so(report: Report):
    sentence = (
        "With 5 categories that differ, Wilcoxon's test gives no p below 0.0625: no difference over "
        "categories can be significant at 5 %."
    )
    assert sentence in FORMATS["md"](report)["report.md"]
    assert "no difference over categories can be significant at 5 %" in FORMATS["html"](report)["report.html"]
    over = table_of(report, "differences_over_categories_loco_4_shot")
    assert {row["n"] for row in over} <= {"4", "5"}
    assert min(float(row["p"]) for row in over) == 0.0625


def test_numbers_in_the_table_are_those_of_the_functions(tmp_path: Path):
    entries = [Entry(name, 0.8, shots=(4,), seeds=(0, 1)) for name in ("strong", "weak")]
    run = with_scores(write_run(tmp_path / "two", entries, FIVE[:2]), LEVELS)
    found = table_of(build(load([run])), "differences_loco_4_shot")
    trials = pd.read_parquet(run / "trials").query("category == 'juice_bottle'").sort_values("split_seed")
    ids = {m: trials.query("method == @m")["trial_id"].tolist() for m in ("strong", "weak")}
    every = ids["strong"] + ids["weak"]
    table = score_table(read_score_columns(run, every), every)
    options = Bootstrap(compare.BOOTSTRAP.resamples, seed=crc32(b"juice_bottle"))
    pair = table.of(ids["strong"]), table.of(ids["weak"])
    expected = paired_auroc(*pair, table.labels, "logical", options)
    row = next(row for row in found if row["category"] == "juice bottle")
    assert row["group"] == "strong minus weak"
    numbers = [float(row[f"logical_{key}"]) for key in ("difference", "low", "high")]
    assert numbers == pytest.approx([expected.value, expected.low, expected.high], abs=1e-12)
    assert float(row["logical_p"]) >= expected.p


def test_marks_and_missing_seeds_do_not_get_lost(report: Report):
    table = next(t for t in report.tables if t.key == "differences_loco_4_shot")
    labels = [group.label for group in table.groups]
    assert labels == ["strong minus weak", "strong minus zero", "weak minus zero"]  # best first
    assert table.footnotes == {"demo weights": "a"}
    assert [bool(group.rows[0].cells[0].marks) for group in table.groups] == [False, True, True]


def test_many_methods_are_compared_with_the_best_complete_one(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(compare, "OTHERS", 3)
    entries = [Entry("m", 0.8, {"k": k}, shots=(4,), seeds=(0,)) for k in range(5)]
    entries += [Entry("strong", 0.9, shots=(4,), seeds=(0,))]
    run = with_scores(write_run(tmp_path / "many", entries, FIVE[:2]), LEVELS)
    found = next(t for t in build(load([run])).tables if t.key == "differences_loco_4_shot")
    assert len(found.groups) == 3
    assert all(group.label.startswith("strong minus m[k=") for group in found.groups)
    note = "More than 4 methods: the best complete one, strong, with the 3 next best of the 5 others."
    assert note in found.notes


def keys(report: Report) -> list[str]:
    return [section.key for section in report.sections]


def test_there_is_no_section_without_two_methods_on_common_images(tmp_path: Path):
    def apart(category: str, shots: int | None, seed: int | None) -> dict[str, str]:
        return {"status": "failed"} if category == FIVE[1] else {}

    def other(category: str, shots: int | None, seed: int | None) -> dict[str, str]:
        return {"status": "failed"} if category == FIVE[0] else {}

    one = with_scores(write_run(tmp_path / "one", [Entry("strong", 0.9)]), LEVELS)
    both = [Entry("strong", 0.9, fate=apart), Entry("weak", 0.7, fate=other)]
    disjoint = with_scores(write_run(tmp_path / "disjoint", both, FIVE[:2]), LEVELS)
    pair = PAIR
    good = with_scores(write_run(tmp_path / "good", pair), LEVELS, ["good"] * 5)
    seeds = [Entry("strong", 0.9, shots=(4,), seeds=(0,)), Entry("weak", 0.7, shots=(4,), seeds=(1,))]
    unpaired = with_scores(write_run(tmp_path / "unpaired", seeds), LEVELS)
    for run in (one, disjoint, good, unpaired):
        assert "differences" not in keys(build(load([run])))
    assert "differences" in keys(build(load([with_scores(write_run(tmp_path / "two", pair), LEVELS)])))


def test_data_sets_without_logical_and_structural_defects_have_one_column_group(tmp_path: Path):
    run = write_run(tmp_path / "ad", PAIR, FIVE[:1])
    with_scores(run, LEVELS, ["good"] * 8 + ["crack"] * 6 + ["dent"] * 2)
    row = table_of(build(load([run])), "differences_loco_4_shot")[0]
    assert [key for key in row if key.startswith(("logical", "structural"))] == []
    assert float(row["all_low"]) <= float(row["all_difference"]) <= float(row["all_high"])


def test_a_subset_that_a_category_lacks_is_a_dash(tmp_path: Path):
    run = write_run(tmp_path / "lacks", PAIR, FIVE[:2])
    with_scores(run, LEVELS)
    for part in parts(run):
        tables = part.read()
        category = {t["trial_id"]: t["category"] for t in tables["trials"].to_pylist()}
        kept = [
            row
            for row in tables["scores"].to_pylist()
            if row["label"] != "structural" or category[row["trial_id"]] != FIVE[0]
        ]
        write_parquet(part.path("scores"), pa.Table.from_pylist(kept, schema=SCORES))
    report = build(load([run]))
    table = next(t for t in report.tables if t.key == "differences_loco_4_shot")
    cells = table.groups[0].rows[0].cells
    assert [cell.text for cell in cells[4:8]] == ["–"] * 4
    over = table_of(report, "differences_over_categories_loco_4_shot")
    assert {row["group"]: row["categories"] for row in over} == {
        "Logical anomalies": "2",
        "Structural anomalies": "1",
        "Mean of logical and structural": "1",
        "All anomalies, pooled": "2",
    }


def test_trials_of_other_images_are_not_compared(tmp_path: Path):
    run = write_run(tmp_path / "other", PAIR, CATEGORIES)
    with_scores(run, LEVELS)
    part = parts(run)[0]
    rows = part.read()["trials"].to_pylist()
    weak = {t["trial_id"] for t in rows if (t["method"], t["category"]) == ("weak", "breakfast_box")}
    scores = part.read()["scores"].to_pylist()
    moved = [row | {"image": f"{row['image']}x"} if row["trial_id"] in weak else row for row in scores]
    write_parquet(part.path("scores"), pa.Table.from_pylist(moved, schema=SCORES))
    table = next(t for t in build(load([run])).tables if t.key == "differences_loco_4_shot")
    assert "Not compared, other test images: breakfast box." in table.notes
    assert [row.label for row in table.groups[0].rows] == ["juice bottle/cherry", "juice bottle/orange"]


def test_intervals_of_single_trials_have_a_table_of_their_own(tmp_path: Path):
    def metrics(row, value):
        bounds = {"ci_low": value - 0.1, "ci_high": value + 0.1}
        return [metric_row("all", "auroc", value) | bounds, metric_row("all", "ap", value)]

    entries = [Entry("alone", 0.8, shots=(0,), seeds=(None,)), Entry("seeded", 0.7, shots=(4,), seeds=(0, 1))]
    report = build(load([write_run(tmp_path / "ci", entries, FIVE[:2], metrics)]))
    found = table_of(report, "intervals_auroc_loco_zero_shot")
    assert [row["group"] for row in found] == ["alone", "alone"]
    assert float(found[0]["all_high"]) - float(found[0]["all_value"]) == pytest.approx(0.1)
    assert not [t for t in report.tables if t.key.startswith("intervals_auroc_loco_4")]
    assert not [t for t in report.tables if t.key.startswith("intervals_ap")]


def test_methods_of_several_runs_are_compared(tmp_path: Path):
    runs = [with_scores(write_run(tmp_path / e.name, [e], FIVE[:2]), LEVELS) for e in PAIR]
    one = with_scores(write_run(tmp_path / "both", PAIR, FIVE[:2]), LEVELS)
    key = "differences_loco_4_shot"
    assert table_of(build(load(runs)), key) == table_of(build(load([one])), key)

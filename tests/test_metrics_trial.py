"""All metrics of one trial: which rows there are, what is null, and what is refused."""

import subprocess
import sys

import metrics_twin
import numpy as np
import pytest

from harness.errors import ConfigError, DataError
from harness.metrics import METRICS, Moments, Region, ScoredSample, auspro, subsets, trial_metrics, upsample

SIZE = (24, 32)


def loco(seed: int = 0, labels=("good", "good", "logical", "structural", "logical", "good")):
    """Samples with small maps and regions; the last logical image shows two defect types."""
    rng = np.random.default_rng(seed)
    samples, maps, regions = [], [], []
    for i, label in enumerate(labels):
        defects = {"good": (), "logical": ("missing", "extra")[: 1 + (i == 4)], "structural": ("scratch",)}[
            label
        ]
        samples.append(
            ScoredSample(float(rng.normal() + 2 * (label != "good")), label, defects, f"{label}/{i}", f"{i}")
        )
        maps.append(rng.random((6, 8), dtype=np.float32))
        regions.append([Region(rng.random(SIZE) < 0.2, 40, False, d) for d in defects])
    return samples, maps, regions


VALIDATION = Moments(2, 48, 0.3, 0.1, 0.0, 1.0)  # of maps in [0, 1]


def rows_of(names, samples, maps=None, regions=None, native=None):
    found = trial_metrics(
        names,
        samples,
        None if maps is None else lambda i: maps[i],
        None if regions is None else lambda i: regions[i],
        native,
        validation=VALIDATION,
    )
    return {(row.metric, row.subset, row.fpr_limit): row for row in found}


def test_every_metric_on_every_subset():
    samples, maps, regions = loco()
    rows = rows_of(list(METRICS), samples, maps, regions, [SIZE] * 6)
    names = ["all", "logical", "structural", "extra", "missing", "scratch", "mean"]
    expected = {(m, s, t) for m in METRICS for s in names for t in METRICS.load(m).limits or (None,)}
    assert set(rows) == expected and subsets(samples) == names[:-1]
    assert all(0 <= row.value <= 1 for row in rows.values())
    for subset in names:  # each image is a product of its own
        assert rows["sample_auroc", subset, None].value == rows["auroc", subset, None].value
    numbers = {s: (rows["auroc", s, None].n_normal, rows["auroc", s, None].n_anomalous) for s in names}
    assert numbers == {
        "all": (3, 3), "logical": (3, 2), "structural": (3, 1), "mean": (3, 3),
        "missing": (3, 2), "extra": (3, 1), "scratch": (3, 1),
    }  # fmt: skip


def test_values_are_those_of_the_public_functions():
    samples, maps, regions = loco()
    rows = rows_of(["auspro"], samples, maps, regions, [SIZE] * 6)
    full = [upsample(m, SIZE) for m in maps]
    for subset, areas in auspro(full, regions, [s.label for s in samples]).items():
        for limit, value in areas.items():
            assert rows["auspro", subset, limit].value == value


def test_a_defect_type_is_judged_by_its_own_regions():
    samples, maps, regions = loco()
    rows = rows_of(["auspro"], samples, maps, regions, [SIZE] * 6)
    used = [0, 1, 4, 5]
    both = auspro(
        [upsample(maps[i], SIZE) for i in used], [regions[i] for i in used], [samples[i].label for i in used]
    )
    only_extra = rows["auspro", "extra", 1.0].value
    only_missing = rows_of(["auspro"], *alone(samples, maps, regions, used))["auspro", "missing", 1.0].value
    assert only_extra != only_missing
    assert both["logical"][1.0] == pytest.approx((only_extra + only_missing) / 2, abs=1e-12)


def alone(samples, maps, regions, used):
    return [samples[i] for i in used], [maps[i] for i in used], [regions[i] for i in used], [SIZE] * len(used)


def test_the_image_metric_of_all_is_the_weighted_mean_of_the_parts():
    samples, *_ = loco()
    rows = rows_of(["auroc"], samples)
    logical, structural = (rows["auroc", s, None].value for s in ("logical", "structural"))
    assert rows["auroc", "all", None].value == pytest.approx((2 * logical + structural) / 3)
    assert rows["auroc", "mean", None].value == (logical + structural) / 2


def test_what_is_not_defined_is_null_and_so_is_its_mean():
    samples, maps, regions = loco(labels=("good", "logical"))
    rows = rows_of(["auroc", "auspro"], samples, maps, regions, [SIZE] * 2)
    for metric, limit in (("auroc", None), ("auspro", 0.05)):
        assert rows[metric, "logical", limit].value is not None
        assert rows[metric, "structural", limit].value is None
        assert rows[metric, "mean", limit].value is None
    assert rows["auroc", "structural", None].n_anomalous == 0


def test_without_normal_images_image_metrics_are_null():
    samples, maps, regions = loco(labels=("logical", "structural"))
    rows = rows_of(["auroc", "ap", "f1max"], samples, maps, regions, [SIZE] * 2)
    assert {row.value for row in rows.values()} == {None}


def test_only_good_images():
    samples, maps, regions = loco(labels=("good", "good"))
    rows = rows_of(["auroc", "pixel_ap", "auspro"], samples, maps, regions, [SIZE] * 2)
    assert {row.subset for row in rows.values()} == {"all"}
    assert {row.value for row in rows.values()} == {None}


def test_data_sets_with_defect_folders_have_no_logical_rows():
    samples = [ScoredSample(0.0, "good"), ScoredSample(1.0, "hole", "hole"), ScoredSample(2.0, "crack")]
    maps = [np.zeros(SIZE), np.eye(*SIZE), np.eye(*SIZE)]
    regions = [[], [Region(np.eye(*SIZE))], [Region(np.eye(*SIZE))]]
    rows = rows_of(["auroc", "pixel_auroc"], samples, maps, regions)
    assert {row.subset for row in rows.values()} == {"all", "hole", "crack"}
    assert {row.value for row in rows.values()} == {1.0}


def test_pixel_metrics_need_maps_and_regions():
    samples, maps, regions = loco()
    names = ["auspro", "auroc", "aupro"]
    assert {key[0] for key in rows_of(names, samples)} == {"auroc"}
    assert {key[0] for key in rows_of(names, samples, maps)} == {"auroc"}
    assert {key[0] for key in rows_of(names, samples, None, regions)} == {"auroc"}


@pytest.mark.parametrize(
    ("index", "broken_map", "broken_regions", "message"),
    [
        (2, np.full((6, 8), np.nan, np.float32), None, "logical/2: anomaly map has 48 NaN"),
        (0, np.zeros(5), None, r"good/0: an anomaly map must be \(h, w\)"),
        (3, None, [], "structural/3: labelled 'structural' but has 0 anomalous regions"),
        (1, None, [Region(np.ones(SIZE))], "good/1: labelled 'good' but has 1 anomalous regions"),
        (
            2,
            None,
            [Region(np.ones((5, 5)))],
            r"logical/2: anomaly map is \(24, 32\) but its mask is \(5, 5\)",
        ),
    ],
)
def test_wrong_input_is_refused_with_the_images_name(index, broken_map, broken_regions, message: str):
    samples, maps, regions = loco()
    maps[index] = maps[index] if broken_map is None else broken_map
    regions[index] = regions[index] if broken_regions is None else broken_regions
    with pytest.raises(DataError, match=message):
        rows_of(["auspro"], samples, maps, regions, [SIZE] * 6)


def test_maps_of_another_size_need_a_rule():
    samples, maps, regions = loco()
    with pytest.raises(DataError, match="no rule for resizing was given"):
        rows_of(["auspro"], samples, maps, regions)


def test_wrong_names_and_scores_are_refused():
    samples, *_ = loco()
    with pytest.raises(ConfigError, match="unknown metric 'aurok'"):
        trial_metrics(["aurok"], samples)
    with pytest.raises(DataError, match="good/x: image score is nan"):
        trial_metrics(["auroc"], [*samples, ScoredSample(float("nan"), "good", name="good/x")])


def test_metrics_and_statistics_need_no_torch():
    code = "import sys, harness.metrics, reports.stats; print({'torch', 'ray', 'scipy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


# --- products that several images show ----------------------------------------------------------------------


def _views(rows):
    return [
        ScoredSample(score, label, (), f"{name}/{i}", name) for i, (name, score, label) in enumerate(rows)
    ]


def test_a_product_is_scored_by_the_highest_of_its_views_and_is_bad_if_any_is():
    """By hand: good products score 3 and 5; bad ones 4 (its bad view 2) and 6: three of four pairs won."""
    rows = rows_of(["auroc", "sample_auroc"], _views([
        ("a", 3.0, "good"), ("a", 1.0, "good"), ("b", 5.0, "good"),
        ("c", 2.0, "pit"), ("c", 4.0, "good"), ("d", 6.0, "dent"), ("d", 0.0, "pit"),
    ]))  # fmt: skip
    found = rows["sample_auroc", "all", None]
    assert (found.value, found.n_normal, found.n_anomalous) == (3 / 4, 2, 2)
    assert (rows["auroc", "all", None].n_normal, rows["auroc", "all", None].n_anomalous) == (4, 3)
    # d alone shows a dent; c is no good product although one of its views is a good image
    dent = rows["sample_auroc", "dent", None]
    assert (dent.value, dent.n_normal, dent.n_anomalous) == (1.0, 2, 1)


@pytest.mark.parametrize("seed", range(20))
def test_sample_auroc_is_its_slow_twin(seed: int):
    rng = np.random.default_rng(seed)
    rows = [(f"p{rng.integers(6)}", float(rng.integers(5)), rng.random() < 0.2) for _ in range(25)]
    samples = _views([(name, score, "pit" if bad else "good") for name, score, bad in rows])
    value = rows_of(["sample_auroc"], samples)["sample_auroc", "all", None].value
    twin = metrics_twin.sample_auroc(rows)
    assert value == (None if twin is None else float(twin))
    shuffled = [samples[i] for i in rng.permutation(len(samples))]
    assert rows_of(["sample_auroc"], shuffled)["sample_auroc", "all", None].value == value


@pytest.mark.parametrize("views", [(None, None, None, None), ("a", "b", None, "c")])
def test_without_products_there_is_no_sample_auroc(views):
    labels = ("good", "good", "logical", "structural")
    samples = [ScoredSample(1.0, label, (), "", view) for label, view in zip(labels, views, strict=True)]
    rows = rows_of(["sample_auroc"], samples)
    assert {key[1] for key in rows} == {"all", "logical", "structural", "mean"}
    assert {(row.value, row.n_normal, row.n_anomalous) for row in rows.values()} == {(None, 0, 0)}

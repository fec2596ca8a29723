"""Kept maps, and metrics computed from them without a model."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from harness import maps as maps_command
from harness import rescore
from harness.data import UNLABELLED, Sample, Split
from harness.data.masks import regions as read_regions
from harness.errors import DataError
from harness.inspection.intervals import resampled_areas, with_intervals
from harness.metrics import Region
from harness.metrics.curves import image_curves
from harness.metrics.image import ap
from harness.results import read_run
from harness.results.kept import write_kept
from harness.results.maps import maps_path, pack, read_maps
from harness.results.schema import SCHEMAS
from harness.results.tables import Part
from harness.rows import metric_rows
from harness.sweep import main as sweep
from reports.stats import Bootstrap, interval

KEYS = ["trial_id", "subset", "metric", "fpr_limit"]
Write = Callable[..., Path]


@pytest.fixture
def run(sweep_file: Write, tmp_path: Path) -> Path:
    """A finished sweep with maps, two trials."""
    path = sweep_file(categories=["bolt", "nut"], metrics=["auroc", "aupro"], keep_maps=True)
    assert sweep([str(path), "--backend", "serial"]) == 0
    return tmp_path / "run"


def metrics(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "metrics").set_index(KEYS).sort_index()


def test_rescoring_gives_the_numbers_of_the_run_again(run: Path):
    before = metrics(run)
    assert rescore.main([str(run)]) == 0
    after = metrics(run)
    image = before.index.get_level_values("metric") == "auroc"
    pd.testing.assert_frame_equal(before[image], after[image])
    difference = (before["value"] - after["value"]).abs()
    assert difference.max() < 2e-3  # float16 rounds
    assert after[~image]["map_rule"].str.endswith("kept as float16").all()


@pytest.mark.parametrize("low", [0.0, 1e-9, 10.0, -2300.0, 1e6])
def test_kept_maps_lose_a_share_of_their_range_and_not_of_their_size(low: float, tmp_path: Path):
    """Log-likelihoods lie far from 0, close together: on a scale from 0 on they would be ten values."""
    high = low + max(1.0, abs(low) / 1000)
    maps = np.random.default_rng(0).uniform(low, high, (2, 30, 40)).astype(np.float32)
    write_kept(tmp_path, "maps", "t", pack(["a", "b"], maps))
    kept = read_maps(tmp_path, "t")
    assert kept is not None and kept.maps.dtype == np.float32
    step = 2 * float(np.spacing(np.float32(abs(low) + 1)))  # of float32 itself
    assert np.abs(kept.maps.astype(float) - maps).max() <= (high - low) / 4000 + step
    assert (np.diff(kept.maps.ravel()[maps.ravel().argsort()]) >= 0).all()


def test_kept_maps_of_earlier_versions_are_read(tmp_path: Path):
    shares = np.array([[[-1.0, 0.25]]], np.float16)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ids=np.array(["a"]), maps=shares, scale=np.float32(8))
    write_kept(tmp_path, "maps", "t", buffer.getvalue())
    kept = read_maps(tmp_path, "t")
    assert kept is not None and kept.maps.tolist() == [[[-8.0, 2.0]]]


def test_a_metric_can_be_added_afterwards(run: Path, capsys: pytest.CaptureFixture[str]):
    before = metrics(run)
    assert rescore.main([str(run), "--metrics", "ap,pixel_auroc"]) == 0
    assert "ap, pixel_auroc of 2 trials, pixel metrics of 2 with kept maps" in capsys.readouterr().out
    after = metrics(run)
    assert set(after.index.get_level_values("metric")) == {"auroc", "aupro", "ap", "pixel_auroc"}
    pd.testing.assert_frame_equal(before, after.loc[before.index])
    assert rescore.main([str(run), "--metrics", "ap"]) == 0
    assert metrics(run).index.is_unique


def lose_metrics(run: Path) -> None:
    for path in (run / "metrics").iterdir():
        path.unlink()


def test_lost_metrics_come_back(run: Path, capsys: pytest.CaptureFixture[str]):
    before = metrics(run)
    lose_metrics(run)
    assert set(read_run(run).lacking.values()) == {"metrics"}
    assert rescore.main([str(run), "--metrics", "ap"]) == 0  # with those that the sweep wants
    assert read_run(run).lacking == {}
    after = metrics(run)
    assert set(after.index.get_level_values("metric")) == {"auroc", "aupro", "ap"}
    image = before.index.get_level_values("metric") == "auroc"
    pd.testing.assert_frame_equal(before[image], after.loc[before.index][image])


def test_metrics_that_cannot_all_come_back_are_left_to_the_sweep(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    before = metrics(run)
    lose_metrics(run)
    next((run / "maps").iterdir()).unlink()
    assert rescore.main([str(run)]) == 0
    assert "of 1 trials, pixel metrics of 1 with kept maps; 1 without metrics and maps" in (
        capsys.readouterr().out
    )
    assert len(read_run(run).lacking) == 1
    assert sweep([str(tmp_path / "sweep.yaml"), "--backend", "serial"]) == 0
    assert "1 ok trial (" in capsys.readouterr().out
    assert (metrics(run)["value"] - before["value"]).abs().max() < 2e-3


def test_scores_of_other_images_are_no_scores(run: Path, capsys: pytest.CaptureFixture[str]):
    part = Part(run, 0)
    tables = part.read()
    names = [f"{image}.jpg" for image in tables["scores"]["image"].to_pylist()]
    scores = tables["scores"].set_column(1, "image", pa.array(names))
    part.write(tables | {"scores": scores.cast(SCHEMAS["scores"])})
    assert rescore.main([str(run)]) == 2
    assert "are not of the test images of bolt" in capsys.readouterr().err


def test_without_maps_only_image_metrics_are_computed_anew(run: Path, capsys: pytest.CaptureFixture[str]):
    for path in (run / "maps").iterdir():
        path.unlink()
    before = metrics(run)
    assert rescore.main([str(run)]) == 0
    assert "pixel metrics of 0 with kept maps" in capsys.readouterr().out
    pd.testing.assert_frame_equal(before, metrics(run))


def test_rescoring_refuses_other_images_and_unknown_metrics(
    run: Path, tree: Path, capsys: pytest.CaptureFixture[str]
):
    assert rescore.main([str(run), "--metrics", "auspr"]) == 2
    assert "did you mean 'auspro'" in capsys.readouterr().err
    image = tree / "nut" / "test" / "good" / "000.png"
    content = image.read_bytes()
    try:
        Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(image)
        assert rescore.main([str(run)]) == 2
        assert "nut: the images are not those" in capsys.readouterr().err
    finally:
        image.write_bytes(content)


def test_maps_are_exported_at_native_size_for_other_evaluators(run: Path, tmp_path: Path):
    trial = read_run(run).trials.query("category == 'bolt'").iloc[0]
    assert maps_command.main([str(run), trial.trial_id, "--out", str(tmp_path / "tiff")]) == 0
    files = sorted((tmp_path / "tiff").rglob("*.tiff"))
    assert len(files) == trial.n_test
    assert files[0].relative_to(tmp_path / "tiff").as_posix() == "bolt/test/good/000.tiff"
    with Image.open(files[0]) as picture:
        assert picture.size == (24, 24)
        values = np.asarray(picture)
    assert values.dtype == np.float32
    scores = read_run(run).scores.query("trial_id == @trial.trial_id").set_index("image")["score"]
    assert values.max() <= scores["test/good/000.png"] * 1.01
    assert maps_command.main([str(run), "nothing", "--out", str(tmp_path)]) == 2


SUBSETS = ("all", "logical", "structural", "mean")


def test_intervals_are_added_and_lie_around_the_values(run: Path, capsys: pytest.CaptureFixture[str]):
    before = metrics(run)
    assert before["ci_low"].isna().all()
    options = ["--intervals", "--resamples", "50", "--metrics", "auroc,aupro,pixel_auroc"]
    assert rescore.main([str(run), *options]) == 0
    assert "trials, pixel metrics of 2 with kept maps, 8 intervals" in capsys.readouterr().out
    after = metrics(run).reset_index()
    known = after["ci_low"].notna()
    assert (known == (after["subset"].isin(SUBSETS) & (after["metric"] != "pixel_auroc"))).all()
    found = after[known]
    assert (found["ci_low"] <= found["value"] + 1e-3).all()
    assert (found["ci_high"] >= found["value"] - 1e-3).all()
    assert (found["ci_low"] <= found["ci_high"]).all()
    assert rescore.main([str(run)]) == 0  # anew, without
    assert metrics(run).query("metric == 'auroc'")["ci_low"].isna().all()


def test_without_maps_only_image_metrics_have_intervals(run: Path):
    for path in (run / "maps").iterdir():
        path.unlink()
    assert rescore.main([str(run), "--intervals", "--resamples", "20"]) == 0
    known = metrics(run).reset_index().query("ci_low.notna()", engine="python")
    assert set(known["metric"]) == {"auroc"}


def test_a_wrong_number_of_resamples_is_refused(run: Path, capsys: pytest.CaptureFixture[str]):
    assert rescore.main([str(run), "--intervals", "--resamples", "-1"]) == 2
    assert "resamples at least 1" in capsys.readouterr().err


LABELS = ["good"] * 5 + ["logical"] * 4 + ["structural"] * 3


def squares(rng: np.random.Generator, label: str) -> list[Region]:
    """Two regions per anomalous image, one of which is found at half of it."""
    if label == "good":
        return []
    masks = np.zeros((2, 12, 12), bool)
    for mask in masks:
        y, x = rng.integers(0, 8, 2)
        mask[y : y + 4, x : x + 4] = True
    return [Region(masks[0]), Region(masks[1], 0.5)]


@pytest.mark.parametrize("subset", ["all", "logical", "structural"])
def test_resampled_areas_equal_those_of_listed_images(subset: str):
    rng = np.random.default_rng(0)
    regions = [squares(rng, label) for label in LABELS]
    maps = [rng.integers(0, 40, (12, 12)) + 9.0 * sum(r.mask for r in found) for found in regions]
    curves = image_curves(maps, regions, LABELS)
    options = Bootstrap(resamples=30)
    fast = resampled_areas(curves, options.weights(LABELS), [0.05, 0.3], subset)
    for indices, areas in zip(options.draw(LABELS), fast, strict=True):
        slow = [curves.area(indices, limit, subset) for limit in (0.05, 0.3)]
        assert areas == pytest.approx(slow, abs=1e-12)
    empty = np.zeros((1, len(LABELS)))
    assert np.isnan(resampled_areas(curves, empty, [0.3], subset)).all()


def loco(folder: Path, regions: list[list[Region]]) -> Split:
    """A category whose masks are those regions."""
    samples = []
    for i, (label, found) in enumerate(zip(LABELS, regions, strict=True)):
        path, masks = folder / f"{i}.png", []
        Image.fromarray(np.zeros((12, 12), np.uint8)).save(path)
        for k, region in enumerate(found):
            masks.append(folder / f"{i}_{k}_mask.png")
            Image.fromarray(region.mask.astype(np.uint8) * 255).save(masks[-1])
        samples.append(Sample(f"{i}.png", path, label, masks=tuple(masks)))
    return Split("loco", "box", (), (), tuple(samples))


def test_intervals_of_a_category_of_loco_equal_those_of_single_statistics(tmp_path: Path):
    rng = np.random.default_rng(1)
    split = loco(tmp_path, [squares(rng, label) for label in LABELS])
    maps = rng.random((len(LABELS), 12, 12))
    image = rng.integers(0, 5, len(LABELS)) + (np.array(LABELS) != "good")
    names = ["ap", "auspro", "aupro"]
    options = Bootstrap(resamples=40)
    scores = image.astype(float)
    rows = with_intervals(metric_rows(names, split, scores, maps), split, scores, maps, options)
    found = {(r["metric"], r["subset"], r["fpr_limit"]): (r["ci_low"], r["ci_high"]) for r in rows}
    kinds = np.array(LABELS)

    def mean_ap(indices: np.ndarray) -> float:
        halves = [indices[np.isin(kinds[indices], ["good", s])] for s in ("logical", "structural")]
        return sum(ap(scores[i], kinds[i] != "good") for i in halves) / 2

    slow = interval(mean_ap, LABELS, options)
    assert found["ap", "mean", None] == pytest.approx((slow.low, slow.high), abs=1e-12)
    curves = image_curves(maps, [read_regions(s, split) for s in split.test], LABELS)
    percentiles = Bootstrap(resamples=40, kind="percentile")
    for subset in SUBSETS:
        slow = interval(lambda i, s=subset: curves.area(i, 0.3, s), LABELS, percentiles)
        assert found["auspro", subset, 0.3] == pytest.approx((slow.low, slow.high), abs=1e-12)
    assert all(low is not None for (_, subset, _), (low, _) in found.items() if subset in SUBSETS)


def test_images_without_masks_or_labels_are_in_no_interval_of_pixels(tmp_path: Path):
    rng = np.random.default_rng(1)
    whole = loco(tmp_path, [squares(rng, label) for label in LABELS])
    n, maps, scores = len(LABELS), rng.random((len(LABELS), 12, 12)), rng.random(len(LABELS))
    bare = [replace(s, masks=()) if i == n - 1 else s for i, s in enumerate(whole.test)]
    partly, options = replace(whole, test=tuple(bare)), Bootstrap(resamples=20)
    rows = metric_rows(["aupro"], partly, scores, maps)
    found = {r["subset"]: r for r in with_intervals(rows, partly, scores, maps, options)}
    pooled = found["all"]
    assert pooled["ci_low"] <= pooled["value"] <= pooled["ci_high"]
    unknown = replace(whole, test=tuple(replace(s, label=UNLABELLED, masks=()) for s in whole.test))
    rows = metric_rows(["auroc", "aupro"], unknown, scores, maps)
    assert len(rows) == 4  # AU-PRO at its three limits
    for row in with_intervals(rows, unknown, scores, maps, options):
        assert (row["value"], row["ci_low"], row["ci_high"]) == (None, None, None)


def test_what_is_not_defined_has_no_interval(tmp_path: Path):
    rng = np.random.default_rng(1)
    whole = loco(tmp_path, [squares(rng, label) for label in LABELS])
    split = replace(whole, test=whole.test[:9])  # nothing structural
    scores, maps = rng.random(9), rng.random((9, 12, 12))
    rows = metric_rows(["auroc", "auspro"], split, scores, maps)
    found = with_intervals(rows, split, scores, maps, Bootstrap(resamples=10))
    defined = {r["subset"] for r in found if r["ci_low"] is not None}
    assert defined == {"all", "logical"}
    assert {r["subset"] for r in found if r["value"] is None} == {"structural", "mean"}


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_maps_of_any_magnitude_survive_keeping(tmp_path: Path, scale: float):
    maps = np.random.default_rng(0).random((3, 5, 7)) * scale
    write_kept(tmp_path, "maps", "t", pack(["a", "b", "c"], maps))
    kept = read_maps(tmp_path, "t")
    assert kept is not None
    assert kept.ids == ("a", "b", "c")
    np.testing.assert_allclose(kept.maps, maps, rtol=2e-3, atol=1e-4 * scale)


def test_damaged_maps_are_named(tmp_path: Path):
    write_kept(tmp_path, "maps", "t", b"no maps")
    with pytest.raises(DataError, match=str(maps_path(tmp_path, "t"))):
        read_maps(tmp_path, "t")
    assert read_maps(tmp_path, "other") is None

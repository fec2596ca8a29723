"""SegF1: the threshold comes from validation images alone, and every pixel counts once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import sweep_here
from data_trees import mvtec_ad2

from harness import rescore
from harness.data import ImageSet, image_size
from harness.data.masks import regions as read_regions
from harness.datasets.mvtec_ad2 import MVTEC_AD2
from harness.errors import ConfigError
from harness.method import Context
from harness.metrics import Moments, Region, ScoredSample, moments, trial_metrics, upsample
from harness.metrics.image import AUROC
from harness.metrics.segmentation import SEG_F1, Tally, seg_f1, tallies
from harness.metrics.threshold import MEAN_3_STD
from harness.run import fit_data
from methods import METHODS

Write = Callable[..., Path]


def twin(maps, wanted, inside, threshold: float) -> float | None:
    """All pixels in one row: `wanted` are to be found, what else is `inside` of a region is left out."""
    flagged = np.concatenate([m.ravel().astype(float) for m in maps]) > threshold
    positive = np.concatenate([w.ravel() for w in wanted])
    counted = positive | ~np.concatenate([i.ravel() for i in inside])
    found, precision_of, recall_of = flagged & positive & counted, flagged & counted, positive
    if not recall_of.any():
        return None
    if not found.any():
        return 0.0
    precision, recall = found.sum() / precision_of.sum(), found.sum() / recall_of.sum()
    return 2 * precision * recall / (precision + recall)


def images(seed: int):
    """Three good images, and four with regions of one or two types, of two sizes."""
    rng = np.random.default_rng(seed)
    samples, maps, regions = [], [], []
    for i, defects in enumerate([(), ("cut",), (), ("cut", "hole"), ("hole",), (), ("cut",)]):
        size = (9, 7) if i % 2 else (6, 8)
        label = "bad" if defects else "good"
        samples.append(ScoredSample(float(i), label, defects, str(i)))
        maps.append(np.round(rng.random(size, dtype=np.float32), 1))  # ties with the threshold
        regions.append([Region(rng.random(size) < 0.3, 1.0, True, d) for d in defects])
    return samples, maps, regions


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threads", [1, 3])
def test_it_is_the_f1_of_all_pixels_in_one_row(seed: int, threads: int):
    samples, maps, regions = images(seed)
    known = Moments(3, 99, 0.3, 0.1, 0.0, 1.0)
    rows = trial_metrics(
        ["seg_f1"], samples, maps.__getitem__, regions.__getitem__, threads=threads, validation=known
    )
    assert {row.threshold for row in rows} == {0.3 + 3 * 0.1}

    def of(regions, subset: str):
        return [r.mask for r in regions if subset in ("all", "bad", r.defect)]

    for row in rows:
        used = [i for i, s in enumerate(samples) if s.groups is None or row.subset in s.groups]
        blank = [np.zeros((1, *maps[i].shape), bool) for i in used]
        wanted = [np.any([*b, *of(regions[i], row.subset)], 0) for b, i in zip(blank, used, strict=True)]
        inside = [np.any([*b, *of(regions[i], "all")], 0) for b, i in zip(blank, used, strict=True)]
        expected = twin([maps[i] for i in used], wanted, inside, 0.3 + 3 * 0.1)
        assert row.value == pytest.approx(expected, abs=1e-15)


def test_a_pixel_of_exactly_the_threshold_is_not_flagged():
    at = np.float32(0.1)  # above the double 0.1
    load = [(np.full((1, 2), at), [Region(np.array([[1, 0]]))])].__getitem__
    found = tallies(load, [("all",)], [float(at), 0.1])["all"]
    assert found == [Tally(0, 1, 0), Tally(1, 0, 1)]


def test_without_an_anomalous_pixel_it_is_not_defined():
    assert seg_f1(Tally(0, 0, 5)) is None
    assert seg_f1(Tally(0, 3, 0)) == 0.0


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_are_those_of_all_pixels_together(offset: float):
    rng = np.random.default_rng(1)
    maps = [rng.normal(offset, 1 + i, (5 + i, 4)) for i in range(6)]
    pixels = np.concatenate([m.ravel() for m in maps])
    found = moments(maps)
    assert found is not None and (found.images, found.pixels) == (6, pixels.size)
    assert found.mean == pytest.approx(pixels.mean(), rel=1e-14)
    assert found.std == pytest.approx(pixels.std(), rel=1e-9)
    assert (found.low, found.high) == (pixels.min(), pixels.max())
    assert MEAN_3_STD.of(found) == found.mean + 3 * found.std
    assert moments([]) is None


def test_a_cut_belongs_to_a_pixel_metric_without_limits():
    with pytest.raises(ConfigError, match="cut belongs to pixel metrics"):
        replace(AUROC, cut=MEAN_3_STD)
    with pytest.raises(ConfigError, match="a cut or limits"):
        replace(SEG_F1, limits=(0.05,))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return mvtec_ad2(tmp_path / "data", "can")


def run(root: Path, sweep_file: Write, tmp_path: Path, **keys) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials and metrics of a sweep over MVTec AD 2."""
    out = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
    path = sweep_file(**{"dataset": {"name": "mvtec_ad2", "root": str(root)}, "out": str(out)} | keys)
    done = sweep_here(path, "--backend", "serial")
    assert done.returncode == 0, done.stdout + done.stderr
    return pd.read_parquet(out / "trials"), pd.read_parquet(out / "metrics")


def test_the_threshold_is_fixed_on_validation_images_and_moves_nothing_else(
    root: Path, sweep_file: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    trials, metrics = run(root, sweep_file, tmp_path, metrics=["auroc", "aupro", "seg_f1"], keep_maps=True)
    plain, others = run(root, sweep_file, tmp_path, metrics=["auroc", "aupro"], keep_maps=True)
    assert list(trials["trial_id"]) == list(plain["trial_id"])
    assert plain["validation_maps"].isna().all() and plain["validation_seconds"].isna().all()
    mine = metrics[metrics["metric"] != "seg_f1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, others)

    split = MVTEC_AD2.read(root, "can")
    trial = trials.iloc[0]
    method = METHODS.load("mean_image")(Context(run_seed=0)).fit(fit_data(trial["support"], split))
    seen = method.score(ImageSet.of_samples(split.validation)).maps
    assert seen is not None
    full = [upsample(m, image_size(s.path)) for m, s in zip(seen, split.validation, strict=True)]
    pixels = np.concatenate([m.ravel().astype(float) for m in full])
    assert trial["validation_maps"]["images"] == 3 and trial["validation_seconds"] > 0
    pooled = metrics[(metrics["metric"] == "seg_f1") & (metrics["subset"] == "all")].iloc[0]
    assert pooled["threshold"] == pytest.approx(pixels.mean() + 3 * pixels.std())
    assert pooled["map_rule"].endswith("threshold: mean + 3 std of all pixels of the validation maps")
    tested = method.score(ImageSet.of_samples(split.test)).maps
    assert tested is not None
    shown = [upsample(m, image_size(s.path)) for m, s in zip(tested, split.test, strict=True)]
    regions = [[r.mask for r in read_regions(s, split)] for s in split.test]
    masks = [np.any(r or [np.zeros(m.shape, bool)], 0) for r, m in zip(regions, shown, strict=True)]
    assert pooled["value"] > 0
    assert pooled["value"] == pytest.approx(twin(shown, masks, masks, pooled["threshold"]))

    assert rescore.main([str(tmp_path / "run0"), "--metrics", "seg_f1"]) == 0
    again = pd.read_parquet(tmp_path / "run0/metrics").query("metric == 'seg_f1' and subset == 'all'").iloc[0]
    assert again["threshold"] == pooled["threshold"]
    assert again["value"] == pytest.approx(pooled["value"], abs=0.02)  # of maps kept as float16
    capsys.readouterr()
    assert rescore.main([str(tmp_path / "run1"), "--metrics", "auroc,seg_f1"]) == 0
    told = capsys.readouterr().out
    assert "seg_f1 of 1 is left as it was" in told and "seg_f1 of 1 trials" not in told
    assert "left to the sweep" not in told  # it has its metrics
    assert set(pd.read_parquet(tmp_path / "run1/metrics")["metric"]) == {"auroc", "aupro"}


def test_without_validation_images_it_is_null_and_the_reason_is_told(
    root: Path, sweep_file: Write, tmp_path: Path
):
    for path in list((root / "can/validation/good").iterdir()):
        path.unlink()
    (root / "can/validation/good").rmdir()
    trials, metrics = run(root, sweep_file, tmp_path, metrics=["auroc", "seg_f1"])
    rows = metrics[metrics["metric"] == "seg_f1"]
    assert len(rows) and rows["value"].isna().all() and rows["threshold"].isna().all()
    assert trials.iloc[0]["notes"].tolist() == [
        "seg_f1: no validation image to fix a threshold on, hence no value"
    ]
    dry = sweep_here(tmp_path / "sweep.yaml", "--dry-run")
    assert "can: no validation image to fix a threshold on: seg_f1 will be empty" in dry.stdout

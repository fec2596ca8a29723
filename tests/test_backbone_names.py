"""Names of backbones and layers: known while planning, from a child that alone imports torch."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import environment
from safetensors.torch import save_file

from harness.config import load
from harness.errors import ConfigError
from methods.shared.backbones import names
from methods.shared.backbones.names import ask  # that of a session answers in this process
from sweeps.problems import CHECKS

Write = Callable[..., Path]
KEYS = ["conv1.weight", "layer1.0.conv1.weight", "layer2.weight"]
KNOWN = {
    "error": "",
    "layers": ["conv1", "layer1", "layer1.0", "layer1.0.conv1", "layer2"],
    "keys": KEYS,
    "patch": None,
}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that a stand-in of the child was asked for; it knows `net`."""
    found: list[str] = []

    def ask(*backbones: str) -> dict[str, object]:
        found.extend(backbones)
        unknown = {
            "error": f"{backbones[0]!r} is not a model of timm",
            "layers": [],
            "keys": [],
            "patch": None,
        }
        return {} if backbones == ("none",) else {backbones[0]: KNOWN if backbones == ("net",) else unknown}

    monkeypatch.setattr(names, "ask", ask)
    monkeypatch.setenv("LADDER_CACHE", str(tmp_path / "cache"))
    names.facts.cache_clear()
    return found


def said(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, (), CHECKS)
    return [line.removeprefix(f"{path}: methods.0.") for line in caught.value.problems]


def test_every_layer_and_backbone_that_is_not_there_is_said_where_it_is_written(
    sweep_file: Write, asked: list[str]
):
    grid = {"backbone": ["net", "nut"], "layers": [["layer1"], ["layer3", "layer2"]]}
    assert said(sweep_file(methods=[{"name": "patchcore", "grid": grid}])) == [
        "grid.layers: backbone 'net' has no layer 'layer3' (did you mean 'layer2'?); "
        "it has: conv1, layer1, layer1.0, layer2",
        "grid.backbone: 'nut' is not a model of timm",
    ]
    assert asked == ["net", "nut"]


def test_a_name_is_asked_once_and_kept(sweep_file: Write, asked: list[str], tmp_path: Path):
    path = sweep_file(methods=[{"name": "patchcore", "params": {"backbone": "net", "layers": ["layer1"]}}])
    for _ in range(2):
        load(path, (), CHECKS)
        names.facts.cache_clear()
    assert asked == ["net"]
    (kept,) = (tmp_path / "cache" / "backbones").iterdir()
    kept.write_text(json.dumps({"error": 3}))  # damaged: asked again
    load(path, (), CHECKS)
    assert asked == ["net", "net"]


def test_what_a_method_takes_by_default_is_not_asked(sweep_file: Write, asked: list[str]):
    load(sweep_file(methods=[{"name": "patchcore"}, {"name": "psad"}, {"name": "mean_image"}]), (), CHECKS)
    assert asked == []


def test_demo_weights_are_of_another_backbone(sweep_file: Write, asked: list[str]):
    params = {"weights": "demo", "backbone": "any", "layers": ["layer1"]}
    assert said(sweep_file(methods=[{"name": "patchcore", "params": params}]))[0].startswith(
        "params.backbone"
    )
    assert asked == ["resnet10t"]


@pytest.mark.parametrize(
    ("method", "key", "layer"), [("spade", "global_layer", "global_pool"), ("sinbad", "layers", "layer4")]
)
def test_what_the_demo_weights_do_not_reach_is_said(method: str, key: str, layer: str, sweep_file: Write):
    (line,) = said(sweep_file(methods=[{"name": method, "params": {"weights": "demo"}}]))
    assert f"{layer!r} is not among what the demo weights (resnet10t) hold: " in line and key in line
    assert "conv1, layer1, layer2, layer3" in line.replace("bn1, ", "")


def test_where_nobody_can_say_nothing_is_said(sweep_file: Write, asked: list[str]):
    load(sweep_file(methods=[{"name": "patchcore", "params": {"backbone": "none"}}]), (), CHECKS)
    assert asked == ["none"]


def test_the_child_knows_timm_and_torchvision_and_its_parent_stays_free_of_torch():
    wanted = ("test_resnet", "resnot18", "torchvision:squeezenet1_1", "torchvision:squeeze", "resnet18.nope")
    code = (
        "import json, sys\n"
        "from methods.shared.backbones.names import ask\n"
        "print(json.dumps(ask(*sys.argv[1:])))\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *wanted], capture_output=True, text=True, env=environment(), check=True
    )
    found = json.loads(done.stdout)
    assert {"layer1", "layer4.0.conv1"} <= set(found["test_resnet"]["layers"])
    assert "features.5" in found["torchvision:squeezenet1_1"]["layers"]
    assert "is not a model of timm (did you mean 'resnet18'?)" in found["resnot18"]["error"]
    assert "is not a model of torchvision" in found["torchvision:squeeze"]["error"]
    assert "timm has no such weights of 'resnet18'" in found["resnet18.nope"]["error"]


@pytest.mark.parametrize(
    "code", ["raise SystemExit(1)", "print('no json')", "pass", "import time; time.sleep(60)"]
)
def test_a_child_that_fails_or_hangs_says_nothing(monkeypatch: pytest.MonkeyPatch, code: str):
    run = subprocess.run
    monkeypatch.setattr(names, "SECONDS", 0.5)
    monkeypatch.setattr(subprocess, "run", lambda words, **options: run([words[0], "-c", code], **options))
    assert ask("net") == {}


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        (KEYS, ""),
        ([f"module.model.{key}" for key in KEYS], ""),
        (KEYS[:1], ""),
        ([*KEYS, "head.bias"], "3 of its 4 keys are those of 'net'; the others: head.bias; 'net' has: conv1"),
        (["blocks.0.norm1.weight"], "0 of its 1 keys are those of 'net'; the others: blocks.0.norm1.weight"),
    ],
    ids=["own", "wrapped", "a part", "more", "of another network"],
)
def test_keys_of_a_file_are_held_against_its_backbone(
    keys: list[str], wrong: str, sweep_file: Write, asked: list[str], tmp_path: Path
):
    file = tmp_path / "net.safetensors"
    save_file({key: torch.zeros(1) for key in keys}, file)
    params = {"backbone": "net", "layers": ["layer1"], "weights": str(file)}
    path = sweep_file(methods=[{"name": "patchcore", "params": params}])
    if not wrong:
        load(path, (), CHECKS)
        return
    (line,) = said(path)
    assert line.startswith(f"params.weights: {file}: ") and wrong in line

"""Where weights come from, and what is said when they are missing or do not fit."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoints import checkpoint
from safetensors.torch import load_file, save_file

import methods.shared.weights
from harness.errors import ConfigError, WeightsError
from methods.shared.backbones.frozen import load
from methods.shared.weights import assets, find


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint("test_resnet", tmp_path_factory.mktemp("weights"))


def changed(weights: Path, folder: Path, drop: str = "", **more: torch.Tensor) -> Path:
    """A copy of a checkpoint without the keys that start with `drop`, and with further keys."""
    state = {k: v for k, v in load_file(weights).items() if not drop or not k.startswith(drop)}
    path = folder / "changed.safetensors"
    save_file(state | more, path)
    return path


def loaded(path: Path, *layers: str) -> torch.nn.Module:
    return load(find("test_resnet", str(path)), layers, "cpu").model


def test_a_checkpoint_is_loaded_into_the_plain_model(weights: Path):
    model = loaded(weights, "layer2")
    for key, value in load_file(weights).items():
        assert torch.equal(model.state_dict()[key], value)
    assert not model.training


def test_layers_that_are_not_reached_may_be_missing(weights: Path, tmp_path: Path):
    path = changed(weights, tmp_path, drop="layer4")
    full, partial = loaded(weights, "layer3"), loaded(path, "layer3")
    key = "layer3.0.conv1.weight"
    assert torch.equal(partial.state_dict()[key], full.state_dict()[key])


def test_layers_that_are_reached_may_not_be_missing(weights: Path, tmp_path: Path):
    with pytest.raises(WeightsError, match=r"missing: layer2\.0\.") as caught:
        loaded(changed(weights, tmp_path, drop="layer2"), "layer3")
    assert "layer4" not in str(caught.value)


def test_unexpected_keys_are_refused(weights: Path, tmp_path: Path):
    path = changed(weights, tmp_path, stranger=torch.zeros(1))
    with pytest.raises(WeightsError, match="unexpected: stranger"):
        loaded(path, "layer2")


def test_another_shape_is_refused_where_it_is_reached(weights: Path, tmp_path: Path):
    head = changed(weights, tmp_path, **{"fc.weight": torch.zeros(7, 3)})
    loaded(head, "layer2")
    stem = changed(weights, tmp_path, **{"bn1.weight": torch.zeros(3)})
    with pytest.raises(WeightsError, match=r"of another shape: bn1\.weight"):
        load.cache_clear()
        loaded(stem, "layer2")


def test_wrapped_and_prefixed_pth_files_are_read(weights: Path, tmp_path: Path):
    state = {f"module.{k}": v for k, v in load_file(weights).items()}
    path = tmp_path / "trained.pth"
    torch.save({"state_dict": state}, path)
    assert torch.equal(loaded(path, "layer2").state_dict()["fc.bias"], state["module.fc.bias"])


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pth"])
def test_an_unreadable_file_is_named(name: str, tmp_path: Path):
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=f"{name}: no (safetensors )?file"):
        loaded(tmp_path / name, "layer2")


def test_a_missing_file_is_refused_with_the_nearest(weights: Path):
    with pytest.raises(WeightsError, match=r"no file .*test_resnett.*did you mean 'test_resnet.safetensors'"):
        find("test_resnet", str(weights.with_name("test_resnett.safetensors")))


def test_an_unknown_layer_is_refused_with_the_nearest(weights: Path):
    with pytest.raises(ConfigError, match=r"no layer 'layer9' \(did you mean 'layer\d'\?\); it has: conv1"):
        loaded(weights, "layer9")


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ("resnet_18", "not a model of timm.*did you mean"),
        ("resnet18.nobody", r"no such weights of 'resnet18'; it has: .*resnet18\.tv_in1k"),
        ("torchvision:resnet_18", "not a model of torchvision.*did you mean"),
        ("torchvision:resnet18.nobody", "torchvision has of 'resnet18': IMAGENET1K_V1"),
    ],
)
def test_an_unknown_backbone_is_refused(backbone: str, words: str):
    with pytest.raises(ConfigError, match=words):
        find(backbone, None)


@pytest.mark.parametrize("backbone", ["resnet18.tv_in1k", "resnet18", "torchvision:resnet18"])
def test_without_cache_and_network_the_way_out_is_said(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("methods.shared.weights.reachable", lambda url: False)
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"give `weights: PATH` .* or `weights: demo`"):
        find(backbone, None)


def test_cached_weights_are_found_without_torch(weights: Path, tmp_path: Path):
    """A file in the Hugging Face cache, as that library lays it out."""
    repository = tmp_path / "models--timm--test_resnet.r160_in1k"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "model.safetensors").write_bytes(weights.read_bytes())
    code = (
        "import sys; from methods.shared.weights import assets\n"
        "print(assets({'backbone': 'test_resnet.r160_in1k', 'weights': None})[0].sha256)\n"
        "print('torch' in sys.modules)"
    )
    env = os.environ | {"HF_HUB_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [hashlib.sha256(weights.read_bytes()).hexdigest(), "False"]


def test_assets_hash_the_content_and_not_the_path(weights: Path, tmp_path: Path):
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(weights.read_bytes())
    one, other = (assets({"backbone": "test_resnet", "weights": str(p)}) for p in (weights, copy))
    assert one == other
    assert one[0].path != other[0].path


def test_demo_weights_appear_with_a_file_and_an_entry(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(methods.shared.weights, "DEMO_FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="no demo weights for the backbone"):
        find("wide_resnet50_2.tv_in1k", "demo")
    (tmp_path / "small.safetensors").write_bytes(weights.read_bytes())
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    entry = {"file": "small.safetensors", "architecture": "test_resnet", "sha256": digest, "mean": [0, 0, 0]}
    (tmp_path / "manifest.json").write_text(json.dumps({"backbones": {"wide_resnet50_2": entry}}))
    found = find("wide_resnet50_2.tv_in1k", "demo")
    assert (found.backbone, found.mean) == ("test_resnet", (0, 0, 0))
    (asset,) = assets({"backbone": "wide_resnet50_2.tv_in1k", "weights": "demo"})
    assert (asset.sha256, asset.marks) == (digest, ("demo weights",))
    assert load(found, ("layer2",), "cpu").mean.abs().sum() == 0


def test_tampered_demo_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(methods.shared.weights, "DEMO_FOLDER", tmp_path)
    (tmp_path / "small.safetensors").write_bytes(b"other bytes")
    entry = {"file": "small.safetensors", "architecture": "test_resnet", "sha256": "0" * 64}
    (tmp_path / "manifest.json").write_text(json.dumps({"backbones": {"*": entry}}))
    with pytest.raises(WeightsError, match="not the file its manifest describes"):
        find("resnet18", "demo")


def test_the_manifest_that_ships_describes_what_ships():
    manifest = json.loads((methods.shared.weights.DEMO_FOLDER / "manifest.json").read_text())
    for backbone, entry in manifest["backbones"].items():
        assert find(backbone, "demo").path.name == entry["file"]


@pytest.mark.parametrize(
    ("backbone", "layer", "shape"),
    [
        ("torchvision:squeezenet1_1", "features.5", (128, 7, 7)),
        ("vit_tiny_patch16_224", "blocks.2", (192, 4, 4)),
    ],
)
def test_other_libraries_and_tokens(backbone: str, layer: str, shape: tuple[int, ...], tmp_path: Path):
    import timm
    import torchvision
    from numpy import zeros

    name = backbone.partition(":")[2]
    model = torchvision.models.get_model(name) if name else timm.create_model(backbone)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    network = load(find(backbone, str(tmp_path / "w.safetensors")), (layer,), "cpu")
    (maps,) = network([zeros((64, 64, 3), "uint8")])
    assert maps[layer].shape == shape

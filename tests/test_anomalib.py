"""The adapter of anomalib: what planning says without it, and what its models do where it is installed."""

import ast
import pickle
import signal
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from checkpoints import checkpoint
from conftest import ROOT

from harness.checks.plates import plates
from harness.data import FitData, ImageSet
from harness.errors import NeedNotMet, WeightsError
from harness.method import Context, Task
from harness.params import Problem, resolve
from methods.anomalib import Anomalib, asked, loading, room, sources
from methods.anomalib.catalogue import CATALOGUE, canonical
from methods.padim import PaDiM
from methods.shared.pixels import Geometry

CARD = Anomalib.card
TASK = Task("d", "c", 4, 4, 0, False)
# What is read of anomalib while planning: heads of functions.
SOURCES = {
    "image/padim": """
class Padim(MemoryBankMixin, AnomalibModule):
    def __init__(self, backbone: str = "resnet18", layers: list[str] = ["layer1"], pre_trained: bool = True,
                 n_features: int | None = None, pre_processor: nn.Module | bool = True,
                 post_processor: nn.Module | bool = True) -> None: ...
""",
    "image/stfpm": """
class Stfpm(AnomalibModule):
    def __init__(self, backbone: str = "resnet18", layers: Sequence[str] = ("layer1",)) -> None: ...
""",
    "image/dfkde": """
class Dfkde(MemoryBankMixin, AnomalibModule):
    def __init__(self, backbone: str = "resnet18", n_pca_components: int = 16) -> None: ...
""",
    "image/dinomaly": """
class Dinomaly(AnomalibModule):
    def __init__(self, encoder_name: str = "vit_base_patch14_reg4_dinov2") -> None: ...
    @classmethod
    def configure_pre_processor(cls, image_size: tuple[int, int] | None = None, crop_size: int = None): ...
""",
    "image/draem": """
class Draem(AnomalibModule):
    def __init__(self, dtd_dir: Path | str | None = "./datasets/dtd", beta: float | tuple[float, float] = 0.1,
                 pre_processor: PreProcessor | bool = True) -> None: ...
""",
    "image/dsr": """
class Dsr(AnomalibModule):
    def __init__(self, latent_anomaly_strength: float = 0.2) -> None: ...
""",
    "image/efficient_ad": """
class EfficientAd(AnomalibModule):
    def __init__(self, imagenet_dir: Path | str = "./datasets/imagenette",
                 model_size: EfficientAdModelSize | str = EfficientAdModelSize.S) -> None: ...
""",
    "image/ganomaly": """
class Ganomaly(AnomalibModule):
    def __init__(self, wadv: int = 1, lr: float = 0.0002) -> None: ...
""",
    "image/cfa": """
class Cfa(AnomalibModule):
    def __init__(self, backbone: str = "wide_resnet50_2") -> None: ...
""",
    "image/winclip": """
class WinClip(AnomalibModule):
    def __init__(self, class_name: str | None = None, k_shot: int = 0, scales: tuple = (2, 3)) -> None: ...
""",
    "image/mh_patchcore": """
class MHPatchcore(MemoryBankMixin, AnomalibModule):
    def __init__(self, backbone: str = "wide_resnet50_2.tv2_in1k", pre_trained: bool = True) -> None: ...
""",
    "image/patchcore": """
class Patchcore(MemoryBankMixin, AnomalibModule):
    def __init__(self, backbone: str = "wide_resnet50_2", layers: Sequence[str] = ("layer2", "layer3"),
                 pre_trained: bool = True, coreset_sampling_ratio: float = 0.1) -> None: ...
""",
    "image/reverse_distillation": """
class ReverseDistillation(AnomalibModule):
    def __init__(self, backbone: str = "wide_resnet50_2", pre_trained: bool = True) -> None: ...
""",
    "image/uflow": """
class Uflow(AnomalibModule):
    def __init__(self, backbone: str = "mcait") -> None: ...
""",
}


@pytest.fixture
def heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An anomalib of which nothing but heads of functions is there; nobody may import it."""
    package = tmp_path / "site/anomalib"
    for folder, text in SOURCES.items():
        (package / "models" / folder).mkdir(parents=True)
        (package / "models" / folder / "lightning_model.py").write_text(text)
    (package / "__init__.py").write_text("raise AssertionError('planning imports anomalib')")
    monkeypatch.delitem(sys.modules, "anomalib", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(sources, "version", lambda name: "2.7.0")
    monkeypatch.setattr(asked, "cache", lambda: tmp_path / "cache")
    sources.signature.cache_clear()
    yield tmp_path
    sources.signature.cache_clear()


def params(**given: Any) -> dict[str, Any]:
    return resolve(Anomalib, given)


def said(**given: Any) -> list[tuple[str, str]]:
    return list(CARD.problems(params(**given)))


# --- names, versions, imports -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("Padim", "Padim"),
        ("padim", "Padim"),
        ("reverse_distillation", "ReverseDistillation"),
        ("win_clip", "WinClip"),
        ("anomaly_d_i_n_o", "AnomalyDINO"),
        ("mhpatchcore", "MHPatchcore"),
    ],
)
def test_a_model_goes_by_its_class_or_its_name_in_small_letters(given: str, meant: str):
    assert canonical(given) == meant
    assert params(model=given)["model"] == meant  # one identity, however it is written


def test_an_unknown_model_is_one_error_with_the_nearest_name():
    with pytest.raises(Problem) as caught:
        params(model="Patchcor")
    ((key, text),) = caught.value.lines
    assert key == "model"
    assert "anomalib has no model 'Patchcor' (did you mean 'Patchcore'?)" in text
    assert "WinClip" in text


def test_the_extra_has_the_range_that_is_checked():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras[CARD.extra] == [f"anomalib{sources.WORKS}"]
    assert sources.MINOR.rstrip(".") in sources.WORKS


@pytest.mark.parametrize("model", ["Padim", "Fuvas"])
def test_without_anomalib_one_error_says_with_what_to_install_it(model: str, monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(sources, "version", absent)
    ((key, text),) = said(model=model, init_args={"no": 1})
    assert key == "model"
    assert "anomalib is not installed" in text and "pip install 'ladder-bench[anomalib]'" in text
    assert CARD.unmet(params(model=model), TASK) == text


@pytest.mark.parametrize("version", ["2.6.2", "2.8.0", "1.2.0", "2.70.0"])
def test_another_anomalib_is_named_with_what_works(version: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "version", lambda name: version)
    ((_, text),) = said()
    assert text.startswith(f"anomalib {version} is installed, and >=2.7,<2.8 is what works here")


def test_no_module_imports_anomalib_or_lightning_by_a_statement():
    """They are imported by name where a model is built, and never by a reader of the registry."""
    for file in (ROOT / "methods/anomalib").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in named}.isdisjoint({"anomalib", "lightning"}), file


# --- planning -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("heads")
@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"init_args": {"n_feature": 3}}, "init_args.n_feature", "did you mean 'n_features'?"),
        ({"init_args": {"n_features": "many"}}, "init_args.n_features", "integer"),
        ({"init_args": {"pre_trained": 1}}, "init_args.pre_trained", "true or false"),
        ({"init_args": {"layers": "layer1"}}, "init_args.layers", "list"),
        ({"init_args": {"post_processor": True}}, "init_args.post_processor", "belongs to the harness"),
        ({"max_steps": 5}, "max_steps", "does not train"),
        ({"images": "/tmp"}, "images", "takes no further images"),
        ({"crop": 10}, "crop", "cuts nothing out"),
        ({"model": "Dinomaly", "max_steps": 1, "crop": 30}, "crop", "give an image_size"),
        ({"crop": 10, "image_size": 20}, "crop", "cuts nothing out"),
        ({"model": "stfpm"}, "max_steps", "give max_steps or max_epochs"),
        ({"model": "Dinomaly", "max_steps": 1, "image_size": 20, "crop": 30}, "crop", "no smaller"),
        ({"model": "draem", "max_steps": 1, "init_args": {"dtd_dir": "x"}}, "init_args.dtd_dir", "`images:`"),
        ({"model": "efficient_ad", "max_steps": 1, "batch_size": 2}, "batch_size", "one image at a time"),
        ({"model": "ganomaly", "max_steps": 1, "weights": "/w.pth"}, "weights", "loads no weights"),
        ({"model": "cfa", "max_steps": 1, "weights": "/w.pth"}, "weights", "torchvision"),
        ({"model": "mh_patchcore", "image_size": 128}, "image_size", "224 x 224"),
        ({"model": "win_clip", "image_size": 224}, "image_size", "240 x 240"),
        ({"model": "win_clip", "init_args": {"k_shot": "two"}}, "init_args.k_shot", "integer"),
    ],
)
def test_what_is_wrong_is_said_while_planning(given: dict[str, Any], key: str, words: str):
    ((place, text),) = said(**given)
    assert place == key
    assert words in text


@pytest.mark.usefixtures("heads")
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"weights": "demo", "init_args": {"n_features": None, "layers": ["layer1", "layer2"]}},
        {"model": "Dinomaly", "max_steps": 1, "image_size": 28, "crop": 14},
        {"model": "ganomaly", "max_epochs": 3, "weights": "demo", "init_args": {"wadv": 2, "lr": 1}},
        {"model": "draem", "max_steps": 1, "images": "/x", "init_args": {"beta": [0.1, 0.9]}},
        {"model": "draem", "max_steps": 1, "init_args": {"beta": 0.5}},
        {"model": "efficient_ad", "max_steps": 1, "init_args": {"model_size": "medium"}},
        {"model": "winclip", "image_size": 240, "init_args": {"scales": [2], "class_name": None}},
        {"model": "Fuvas", "init_args": {"whatever": 1}},  # skipped, whatever it is given
    ],
)
def test_what_is_right_is_let_through(given: dict[str, Any]):
    assert said(**given) == []


def test_the_sweep_that_ships_is_right(heads: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asked.names, "facts", lambda name: None)  # a child process would import timm
    listed = yaml.safe_load((ROOT / "configs/anomalib.yaml").read_text())["methods"]
    found = [entry["params"] for entry in listed if entry["name"] == "anomalib"]
    assert [said(**given) for given in found] == [[]] * 5


def test_a_network_or_layer_that_there_is_not_is_said(heads: Path, monkeypatch: pytest.MonkeyPatch):
    known = {"error": "", "layers": ["layer1", "layer2"], "keys": [], "patch": None}
    monkeypatch.setattr(
        asked.names, "facts", lambda name: known | {"error": "no net"} if name == "rn" else known
    )
    assert said(init_args={"backbone": "rn"}) == [("init_args.backbone", "no net")]
    ((key, text),) = said(init_args={"layers": ["layer1", "layer22"]})
    assert key == "init_args.layers" and "did you mean 'layer2'?" in text


@pytest.mark.usefixtures("heads")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": "Fuvas"}, ["videos"]),
        ({"model": "VlmAd"}, ["language model"]),
        ({"model": "draem", "max_steps": 1}, ["textures", "robots.ox.ac.uk", "`images:`"]),
        (
            {"model": "dsr", "max_steps": 1},
            ["cache/pre_trained/dsr/vq_model", "github.com", "`weights: PATH`"],
        ),
        ({"model": "dsr", "max_steps": 1, "weights": "/no/such"}, ["no file /no/such"]),
        ({"model": "win_clip", "weights": "demo"}, ["WinClip: no demo weights fit it"]),
        ({"model": "efficient_ad", "max_steps": 1, "images": "/x"}, ["pretrained_teacher_small.pth"]),
        (
            {"model": "efficient_ad", "max_steps": 1, "images": "/x", "init_args": {"model_size": "medium"}},
            ["pretrained_teacher_medium.pth"],
        ),
    ],
)
def test_what_is_missing_is_a_reason_to_skip_and_says_where_it_belongs(
    given: dict[str, Any], words: list[str]
):
    reason = CARD.unmet(params(**given), TASK)
    assert reason is not None
    assert all(word in reason for word in words), reason


@pytest.mark.usefixtures("heads")
@pytest.mark.parametrize(
    ("given", "least"),
    [
        ({"model": "patchcore"}, 1),
        ({"model": "padim"}, 2),
        ({"model": "dfkde"}, 16),
        ({"model": "dfkde", "init_args": {"n_pca_components": 3}}, 3),
    ],
)
def test_fewer_images_than_a_model_can_learn_from_are_a_reason_to_skip(given: dict[str, Any], least: int):
    wanted = params(weights="demo", **given)
    fewer, enough = (Task("d", "c", n, n, 0, False) for n in (least - 1, least))
    assert f"needs at least {least} training images" in (CARD.unmet(wanted, fewer) or "")
    assert CARD.unmet(wanted, enough) is None


def test_weights_that_no_cache_has_are_a_reason_to_skip(heads: Path, monkeypatch: pytest.MonkeyPatch):
    def unreachable(name: str, weights: str | None) -> Any:
        raise WeightsError(f"the weights of {name!r} are not in the local cache; give `weights: PATH`")

    monkeypatch.setattr(asked, "find", unreachable)
    assert "'resnet18' are not in the local cache" in (CARD.unmet(params(), TASK) or "")
    assert CARD.unmet(params(init_args={"pre_trained": False}), TASK) is None
    both = params(model="uflow", max_steps=1)
    assert "'cait_m48_448'" in (CARD.unmet(both, TASK) or "")


def test_weights_and_further_images_are_in_the_identity(heads: Path):
    folder = heads / "textures"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"1234")
    kept = heads / "cache/pre_trained/dsr/vq_model_pretrained_128_4096.pckl"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    (codebook,) = CARD.assets(params(model="dsr", max_steps=1), "c")
    assert codebook.path == str(kept)
    given = params(model="draem", max_steps=1, images=str(folder))
    (before,) = CARD.assets(given, "c")
    (folder / "b.png").write_bytes(b"5")
    asked._listed.cache_clear()
    (after,) = CARD.assets(given, "c")
    assert before.name == "images" and before.sha256 != after.sha256
    (net,) = CARD.assets(params(weights="demo"), "c")
    assert net.marks == ("demo weights",)


@pytest.mark.usefixtures("heads")
def test_sizes_are_named_where_they_are_known():
    assert CARD.sizes(params(), (9, 9)) == ()
    assert CARD.sizes(params(image_size=64), (9, 9)) == (Geometry.square(64),)
    assert CARD.sizes(params(model="winclip"), (9, 9)) == (Geometry.square(240),)


@pytest.mark.usefixtures("heads")
def test_only_a_model_without_references_sees_no_shots():
    assert CARD.ignores(params(model="winclip", init_args={"k_shot": 0})) == {"shots", "split_seed"}
    assert CARD.ignores(params(model="winclip")) == frozenset()
    assert CARD.ignores(params()) == frozenset()


# --- weights, without anomalib ------------------------------------------------------------------------------


def test_a_network_is_filled_from_a_file_and_lacks_nothing(tmp_path: Path):
    import timm

    file = checkpoint("test_resnet", tmp_path)
    create = loading._from_timm(timm.create_model, str(file))
    plain = timm.create_model("test_resnet", features_only=True, out_indices=[1, 2])
    filled = create(
        "test_resnet", pretrained=True, pretrained_cfg=None, features_only=True, out_indices=[1, 2]
    )
    wanted = loading.read(file)
    assert all(torch.equal(value, wanted[key]) for key, value in filled.state_dict().items())
    assert not torch.equal(plain.state_dict()["layer1.0.conv1.weight"], wanted["layer1.0.conv1.weight"])
    assert not torch.equal(
        create("test_resnet").state_dict()["layer1.0.conv1.weight"], wanted["layer1.0.conv1.weight"]
    )


@pytest.mark.parametrize(
    ("change", "words"), [("less", "it lacks 1 of its tensors"), ("more", "of other names")]
)
def test_a_file_that_does_not_fit_is_refused(change: str, words: str, tmp_path: Path):
    import timm
    from safetensors.torch import load_file, save_file

    state = load_file(checkpoint("test_resnet", tmp_path))
    if change == "less":
        del state["layer2.0.conv1.weight"]
    else:
        state["strange.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "other.safetensors")
    create = loading._from_timm(timm.create_model, str(tmp_path / "other.safetensors"))
    with pytest.raises(WeightsError, match=words):
        create("test_resnet", pretrained=True, features_only=True, out_indices=[1, 2])


def test_the_authors_teacher_is_named_as_anomalib_names_it():
    state = {f"{n}.{what}": torch.tensor(float(n)) for n in (0, 11, 3, 8) for what in ("weight", "bias")}
    found = loading._numbered(state)
    assert [float(found[f"conv{n}.weight"]) for n in (1, 2, 3, 4)] == [0, 3, 8, 11]
    assert loading._numbered(found) == found


def test_the_demo_network_stands_in_for_teacher_and_student():
    import timm

    create = loading._from_timm(timm.create_model, "demo")
    teacher = create("resnet18", pretrained=True, features_only=True, out_indices=[1])
    student = create("resnet18", pretrained=False, features_only=True, out_indices=[1])
    shapes = [{k: v.shape for k, v in each.state_dict().items()} for each in (teacher, student)]
    assert shapes[0] == shapes[1]


def test_a_missing_network_is_a_need_that_is_not_met(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str, weights: str | None) -> Any:
        raise WeightsError(f"{name} is nowhere")

    monkeypatch.setattr(loading, "find", absent)
    with pytest.raises(NeedNotMet, match="resnet18 is nowhere"):
        loading._from_timm(lambda *a, **k: None, None)("resnet18", pretrained=True)
    with pytest.raises(NeedNotMet, match=r"https://there would have to be downloaded"):
        loading._refused("https://there", "file", progress=True)


def test_attributes_are_put_back_whatever_happens():
    place = ("methods.anomalib.catalogue", "TV")
    with pytest.raises(KeyboardInterrupt), loading.replaced({place: "x"}):
        assert asked.import_module("methods.anomalib.catalogue").TV == "x"
        raise KeyboardInterrupt
    assert asked.import_module("methods.anomalib.catalogue").TV == "torchvision:"


# --- the room, without anomalib -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "epochs", "batches", "limits"),
    [
        (10, None, 3, {"max_epochs": 4, "max_steps": 10}),
        (None, 7, 3, {"max_epochs": 7, "max_steps": -1}),
        (10, 2, 3, {"max_epochs": 2, "max_steps": 10}),
        (10, 9, 3, {"max_epochs": 4, "max_steps": 10}),
    ],
)
def test_both_limits_are_told_to_schedules(steps: Any, epochs: Any, batches: int, limits: dict[str, int]):
    order = room.Order(params(model="stfpm", max_steps=steps, max_epochs=epochs), Context())
    assert room._limits(order, batches) == limits
    assert room._limits(room.Order(params(), Context()), batches) == {}


def test_what_lies_outside_of_a_cut_out_centre_has_the_least_value():
    detector = room.Detector(None, Geometry.square(8), 4, 0, "float32")
    inner = torch.arange(1.0, 5.0).reshape(2, 2)
    found = detector._whole(inner)  # half the resolution of the centre, so half that of the image
    assert found.shape == (4, 4)
    assert found[1:3, 1:3].tolist() == inner.tolist()
    assert found.sum() == inner.sum() + 12


def test_ctrl_c_stays_ctrl_c():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), room._interruptible():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # as Lightning does
            raise SystemExit(1)  # noqa: B904 - likewise
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(SystemExit), room._interruptible():
        raise SystemExit(3)


# --- where anomalib is installed ----------------------------------------------------------------------------


def few(count: int) -> FitData:
    return FitData(plates().train.subset(range(count)), category="plate")


def detector(seed: int = 0, count: int = 3, **given: Any) -> Anomalib:
    return Anomalib(Context(run_seed=seed), **params(**given)).fit(few(count))


STFPM: dict[str, Any] = {
    "model": "stfpm",
    "weights": "demo",
    "image_size": 64,
    "max_steps": 3,
    "batch_size": 2,
}


def test_the_catalogue_is_what_anomalib_offers():
    models = pytest.importorskip("anomalib.models")
    assert set(CATALOGUE) == set(models.__all__)
    for name, entry in CATALOGUE.items():
        known = sources.signature(name)
        assert {entry.images, entry.sized} - {""} <= set(known), name
        if not entry.never:
            entry.backbones(asked.arguments(params(model=name)))  # the arguments that it asks for are there
            assert Path(models.__file__).with_name("models").parent.joinpath(entry.folder).is_dir(), name


def test_heads_are_read_as_python_reads_them():
    from inspect import signature

    models = pytest.importorskip("anomalib.models")
    for name in CATALOGUE:
        wanted = [
            k for k, p in signature(getattr(models, name)).parameters.items() if p.kind != p.VAR_KEYWORD
        ]
        assert list(sources.signature(name)) == wanted, name


def test_padim_through_the_adapter_is_our_padim(tmp_path: Path):
    """All channels, so that no draw decides; away from the border, which the two mirror differently."""
    pytest.importorskip("anomalib")
    weights = str(checkpoint("resnet18", tmp_path))
    layers = ["layer1", "layer2"]
    theirs = detector(
        count=6,
        model="padim",
        weights=weights,
        image_size=96,
        init_args={"backbone": "resnet18", "layers": layers, "n_features": 192},
    )
    ours = PaDiM(
        Context(),
        backbone="resnet18",
        layers=tuple(layers),
        weights=weights,
        image_size=96,
        dimension=None,
        regularisation=0.01001,
    ).fit(few(6))
    images = plates().test.subset([0, 5, 12])
    a, b = theirs.score(images), ours.score(images)
    assert a.maps is not None and b.maps is not None
    inside = np.s_[:, 20:-20, 20:-20]
    np.testing.assert_allclose(a.maps[inside], b.maps[inside], rtol=2e-4)
    np.testing.assert_allclose(a.image, b.image, rtol=0.02)
    assert np.array_equal(a.image, a.maps.max(axis=(1, 2)))


def test_a_training_has_our_seed_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    pytest.importorskip("anomalib")
    monkeypatch.chdir(tmp_path)
    images = plates().test.subset([0, 12])
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (detector(seed=n, **STFPM).score(images) for n in (0, 0, 1))
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    assert torch.equal(state, torch.get_rng_state())
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_it_trains_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch):
    lightning = pytest.importorskip("lightning.pytorch")
    pytest.importorskip("anomalib")
    plain, seen = lightning.Trainer.fit, []

    def watched(trainer: Any, *args: Any, **options: Any) -> None:
        plain(trainer, *args, **options)
        seen.append((trainer.global_step, trainer.current_epoch))

    monkeypatch.setattr(lightning.Trainer, "fit", watched)
    detector(**STFPM)
    detector(**STFPM | {"max_steps": None, "max_epochs": 2})
    assert seen == [(3, 2), (4, 2)]


def test_a_generator_and_its_discriminator_train_and_have_no_map():
    pytest.importorskip("anomalib")
    found = detector(model="ganomaly", image_size=64, max_steps=2, init_args={"n_features": 8})
    scores = found.score(plates().test.subset([0, 12]))
    assert scores.maps is None and np.isfinite(scores.image).all()
    again = pickle.loads(pickle.dumps(found)).score(plates().test.subset([0, 12]))  # noqa: S301
    assert np.array_equal(again.image, scores.image)


def test_a_download_that_nobody_has_foreseen_is_refused():
    download = pytest.importorskip("anomalib.data.utils.download")
    with loading.offline(None), pytest.raises(NeedNotMet, match="would have to be downloaded"):
        download.urlretrieve("https://example.org/x.zip", filename="x.zip")


def images_of(count: int) -> ImageSet:
    return ImageSet.of_arrays([np.full((32, 32, 3), 40 * n, np.uint8) for n in range(count)])


def test_references_are_the_support_images_in_their_order():
    """WinCLIP asks the data module for its first k images; Lightning's data module hands them out."""
    pytest.importorskip("anomalib")
    order = room.Order(params(model="winclip", batch_size=2), Context())
    feed = room._fed(order, FitData(images_of(5), category="juice"), Geometry.square(32))
    seen = [float(each) for batch in feed.train_dataloader() for each in batch.image.mean(dim=(1, 2, 3))]
    np.testing.assert_allclose(seen, [40 * n / 255 for n in range(5)], rtol=1e-6)
    assert feed.category == "juice" and len(feed.val_dataloader().dataset) == 5


def test_quiet_is_quiet(capfd: pytest.CaptureFixture[str]):
    with room.quiet():
        print("a banner")
    print("an answer")
    assert capfd.readouterr().out == "an answer\n"

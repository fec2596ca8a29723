"""Patch networks and what is trained on them (ST, GCAD): dense and strided, against slow twins."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from harness.checks.plates import plates
from harness.data import FitData
from harness.errors import NeedNotMet, WeightsError
from harness.method import Context, Scores
from methods.gcad import GCAD
from methods.gcad.networks import Bottleneck, Regressor
from methods.shared.descriptors import distill
from methods.shared.descriptors.networks import Descriptor
from methods.shared.descriptors.plans import LAYERS, reduction
from methods.shared.descriptors.scales import fused, scales
from methods.shared.descriptors.teachers import assets, digests, file_of, loaded, unmet
from methods.shared.descriptors.teaching import error, moments, placed, taught
from methods.st import ST
from methods.st.training import variance

TINY: dict[type, dict[str, Any]] = {
    ST: {"students": 2, "fields": (17,)},
    GCAD: {"hidden": 8, "code": 8, "fields": (17,)},
}
COMMON: dict[str, Any] = {
    "teachers": "random",
    "width": 0.05,
    "image_size": 32,
    "steps": 5,
    "learning_rate": 0.003,
}


@pytest.mark.parametrize("field", LAYERS)
def test_every_pixels_description_is_that_of_its_patch(field: int):
    torch.manual_seed(field)
    network = Descriptor(field, 0.05)
    images = torch.randn(2, 3, field + 5, field + 8)
    found, half = network(images), field // 2
    assert found.shape == (2, 128, field + 5, field + 8)
    assert reduction(LAYERS[field]) < field
    for y, x in ((0, 0), (4, 7), (2, 3)):
        patch = network.patches(images[:, :, y : y + field, x : x + field])
        np.testing.assert_allclose(found[:, :, y + half, x + half].detach(), patch.detach(), atol=1e-5)


def test_widths_are_the_papers():
    assert [tuple(c.weight.shape) for c in Descriptor(33).convolutions] == [  # type: ignore[union-attr]
        (128, 3, 5, 5),
        (256, 128, 5, 5),
        (256, 256, 2, 2),
        (128, 256, 4, 4),
    ]


def test_error_variance_and_moments_equal_plain_loops():
    given = torch.randn(3, 1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    wanted = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    for y in range(2):
        for x in range(2):
            rows, target = given[:, 0, :, y, x], wanted[0, :, y, x]
            plain = sum((rows.mean(0)[c] - target[c]) ** 2 for c in range(4))
            assert float(error(given.mean(0), wanted)[0, y, x]) == pytest.approx(float(plain), rel=1e-5)
            spread = (rows.square().sum(1)).mean() - rows.mean(0).square().sum()
            assert float(variance(given)[0, y, x]) == pytest.approx(float(spread), abs=1e-5)
    maps = [np.random.default_rng(n).normal(2, 3, (2, 4, 4)).astype(np.float32) for n in range(3)]
    maps = [np.concatenate([m, np.ones((1, 4, 4), np.float32)]) for m in maps]
    found = moments(maps, "cpu")
    pixels = np.stack(maps).transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_allclose(found.mean.flatten(), pixels.mean(1), rtol=1e-5)
    np.testing.assert_allclose(found.deviation.flatten()[:2], pixels[:2].std(1), rtol=1e-5)
    assert found.deviation.flatten()[2] == 1  # a channel that says nothing


def test_maps_on_one_scale_have_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    maps = [
        {"a": rng.normal(5, 2, (4, 4)).astype(np.float32), "b": np.zeros((4, 4), np.float32)}
        for _ in range(9)
    ]
    of = scales(maps)
    whole = np.stack([fused([m], [of])["a"] for m in maps])
    assert whole.mean() == pytest.approx(0, abs=1e-5) and whole.std() == pytest.approx(1, rel=1e-5)
    assert of["b"] == (0, 1)
    both = fused([maps[0], maps[1]], [of, of])["a"]
    np.testing.assert_allclose(
        both, (fused([maps[0]], [of])["a"] + fused([maps[1]], [of])["a"]) / 2, atol=1e-6
    )


@pytest.mark.parametrize("side", [32, 48, 256])
def test_both_global_networks_describe_a_fourth_of_the_grid(side: int):
    x = torch.zeros(1, 3, side, side)
    with torch.inference_mode():
        assert Bottleneck(side, 8, 4)(x).shape == (1, 128, side // 4, side // 4)
        assert Regressor(side, 4)(x).shape == (1, 128, side // 4, side // 4)


def scored(kind: type, shots: int = 3, **params: Any) -> Scores:
    method = kind(Context(), **(COMMON | TINY[kind] | params))
    method.fit(FitData(plates().train.subset(range(shots)), plates().validation))
    return method.score(plates().test)


@pytest.mark.parametrize("kind", TINY)
def test_images_stand_for_themselves_and_one_is_enough(kind: type):
    method = kind(Context(), **(COMMON | TINY[kind])).fit(FitData(plates().train.subset([0])))
    test = plates().test
    whole = method.score(test)
    apart = np.concatenate([method.score(test.subset([i])).image for i in range(3)])
    np.testing.assert_array_equal(whole.image[:3], apart)
    np.testing.assert_allclose(whole.image, whole.maps.max(axis=(1, 2)))
    assert np.isfinite(whole.image).all() and whole.maps.shape[1:] == (32, 32)


def test_what_is_learned_from_is_standardised_in_its_place():
    teacher = loaded("random", 17, 0.05, "cpu")
    pixels = [np.random.default_rng(n).integers(0, 256, (9, 9, 3), np.uint8) for n in range(3)]
    held, found = taught(teacher, pixels, "cpu")
    with torch.no_grad():
        plain = torch.cat([found.standardised(teacher(placed(each, "cpu"))) for each in pixels])
    assert torch.equal(held.batch([0, 1, 2])["wanted"], plain)


def test_a_field_is_known_by_its_own_teacher(tmp_path: Path):
    for field in (17, 33):
        network = loaded("random", field, 0.05, "cpu")
        save_file(network.state_dict(), file_of(str(tmp_path), field), {"width": "0.05"})
    of_one, of_both = ({"teachers": str(tmp_path), "fields": f, "width": 1.0} for f in ((17,), (17, 33)))
    assert digests(of_one, 17) == digests(of_both, 17) and list(digests(of_both, 17)) == ["teacher p17"]


@pytest.mark.parametrize("kind", TINY)
def test_scales_are_those_of_the_images_asked_for(kind: type):
    assert not np.array_equal(scored(kind).image, scored(kind, calibration="train").image)


@pytest.mark.parametrize("kind", TINY)
def test_without_teachers_it_is_said(kind: Any, tmp_path: Path):
    assert "random" in (unmet({"teachers": None}, None) or "")
    with pytest.raises(NeedNotMet):
        kind(Context()).fit(FitData(plates().train))
    with pytest.raises(WeightsError, match="p17"):
        assets({"teachers": str(tmp_path), "fields": [17], "width": 1.0}, "")
    (random,) = assets({"teachers": "random", "fields": [17], "width": 1.0}, "")
    assert random.marks == ("random teachers",)


def test_compactness_is_the_sum_of_squared_correlations():
    values = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    matrix = np.corrcoef(values.numpy().T)
    plain = sum(matrix[i, j] ** 2 for i in range(4) for j in range(4) if i != j)
    assert float(distill.compactness(values)) == pytest.approx(plain, rel=1e-5)
    assert float(distill.compactness(values[:1])) == 0


def test_teachers_are_distilled_gone_on_with_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for n in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(images / f"{n}.png")

    def run(out: str, steps: int = 4) -> int:
        words = f"--images {images} --out {tmp_path / out} --fields 17 --weights demo --layer layer2"
        words += f" --width 0.05 --steps {steps} --batch 4 --device cpu"
        monkeypatch.setattr("sys.argv", ["distill", *words.split()])
        return distill.main()

    monkeypatch.setattr(distill, "EVERY", 2)
    assert run("whole") == 0
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        calls: list[Tensor] = []

        def stopping(*given: Tensor) -> dict[str, Tensor]:
            calls.append(given[0])
            if len(calls) == 4:
                raise KeyboardInterrupt
            return real(*given)

        real = distill.terms
        patched.setattr(distill, "terms", stopping)
        run("stopped")
    assert run("stopped") == 0
    files = [file_of(str(tmp_path / name), 17) for name in ("whole", "stopped")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert json.loads(files[0].with_suffix(".json").read_text())["recipe"]["field"] == 17
    assert run("whole") == 0 and "there already" in capsys.readouterr().out
    teacher = loaded(str(tmp_path / "whole"), 17, 1.0, "cpu")
    assert teacher.width == 0.05 and not any(p.requires_grad for p in teacher.parameters())
    params = {"teachers": str(tmp_path / "whole"), "fields": [17], "width": 1.0}
    (asset,) = assets(params, "")
    found = scored(ST, teachers=params["teachers"])
    assert asset.name == "teacher p17" and np.isfinite(found.image).all()
    assert F.mse_loss(torch.tensor(found.image), torch.tensor(scored(ST).image)) > 0

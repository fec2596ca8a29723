"""Teachers of EfficientAD from a command: written, gone on with, refused."""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

from harness.console import leave
from methods.efficientad import distill, teacher_pairs
from methods.efficientad.teacher_files import TeacherSpec
from methods.efficientad.teacher_pairs import PairSampler
from methods.shared.training.distillation import Moments, Pair, Precision, distil, join, on_grid
from methods.shared.training.pdn import pdn_from, pdn_small, shape_of
from methods.shared.training.steps import Plan

STEPS = 9
Command = Callable[..., int]


class _Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images, two of them in a sub-folder."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    for i in range(6):
        name = f"more/{i}.jpg" if i > 3 else f"{i}.png"
        noise = np.random.default_rng(i).integers(0, 256, (5, 6, 3), np.uint8)
        Image.fromarray(noise).resize((60, 50)).save(folder / name)
    return folder


@pytest.fixture
def command(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command; its exit code. A word that is given replaces the usual one."""
    monkeypatch.setattr(distill, "EVERY", 4)
    monkeypatch.setitem(distill.STUDENTS, "S", partial(pdn_small, widths=(8, 8, 8)))

    def run(*words: str | Path, **options: object) -> int:
        usual = {
            "backbone": "resnet18",
            "weights": "demo",
            "images": pictures,
            "out": tmp_path / "t.safetensors",
        }
        usual |= {"image_size": 64, "steps": STEPS, "batch": 2, "maps": 24, "rate": 1e-3, "device": "cpu"}
        given = {k: v for k, v in (usual | options).items() if v is not None}
        pairs = ((f"--{k.replace('_', '-')}", str(v)) for k, v in given.items())
        monkeypatch.setattr(sys, "argv", ["distill", *(w for pair in pairs for w in pair), *map(str, words)])
        with pytest.raises(SystemExit) as end:
            leave(distill.main)
        assert isinstance(end.value.code, int)
        return end.value.code

    return run


def equal(one: Path, other: Path) -> bool:
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_teacher_and_its_card(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert command() == 0
    said = capsys.readouterr().out
    assert "target of 6 of 6 images" in said
    assert "step 8 of 9: squared difference" in said
    assert "of the target's variance" in said
    state = load_file(tmp_path / "t.safetensors")
    assert shape_of(state) == ("S", (8, 8, 8), 24)
    with torch.no_grad():
        assert pdn_from(state)(torch.zeros(1, 3, 64, 64)).shape == (1, 24, 8, 8)
    card = json.loads((tmp_path / "t.json").read_text())
    assert card["marks"] == ["demo weights"]
    assert card["n_images"] == 6
    assert card["recipe"]["layers"] == ["layer2", "layer3"]
    assert [step for step, _ in card["loss_curve"]] == [4, 8, 9]
    assert card["loss_curve"][0][1] > card["loss_curve"][1][1]
    assert {p.name for p in tmp_path.iterdir()} == {"t.safetensors", "t.json"}


def test_the_same_command_again_does_nothing_and_another_one_is_refused(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert command() == 0
    before = (tmp_path / "t.safetensors").stat().st_mtime_ns
    assert command() == 0
    assert "this teacher is there already" in capsys.readouterr().out
    assert command(steps=10, seed=1) == 2
    assert "exists and is of another recipe (steps, seed)" in capsys.readouterr().err
    assert (tmp_path / "t.safetensors").stat().st_mtime_ns == before


def test_a_killed_run_goes_on_and_ends_bit_for_bit_as_an_uninterrupted_one(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    taken: list[int] = []
    pair = PairSampler.pair

    def killed_at_seven(self: PairSampler, step: int) -> Pair:
        taken.append(step)
        if step == 7 and taken.count(7) == 1:
            raise _Killed
        return pair(self, step)

    assert command(out=tmp_path / "whole.safetensors") == 0
    monkeypatch.setattr(PairSampler, "pair", killed_at_seven)
    with pytest.raises(_Killed):
        command()
    assert command(batch=3) == 2
    assert "a run of another recipe was stopped here (batch differ)" in capsys.readouterr().err
    assert command() == 0
    assert taken == [*range(8), *range(4, 9)]
    assert "target of" not in capsys.readouterr().out
    assert equal(tmp_path / "whole.safetensors", tmp_path / "t.safetensors")
    whole, again = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "t"))
    assert again["loss_curve"] == whole["loss_curve"]
    assert again["sha256"] == whole["sha256"]


@pytest.mark.parametrize("name", ["state.pt", "moments.pt", "recipe.json"])
def test_what_a_killed_run_left_damaged_is_set_aside(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
):
    pair = PairSampler.pair

    def killed_at_seven(self: PairSampler, step: int) -> Pair:
        if step == 7:
            raise _Killed
        return pair(self, step)

    assert command(out=tmp_path / "whole.safetensors") == 0
    with monkeypatch.context() as patched, pytest.raises(_Killed):
        patched.setattr(PairSampler, "pair", killed_at_seven)
        command()
    capsys.readouterr()
    (tmp_path / "t.safetensors.work" / name).write_bytes(b"{]")
    assert command() == 0
    said = capsys.readouterr()
    assert "note: " in said.err and "set aside" in said.err and name in said.err
    assert ("target of" in said.out) is (name != "state.pt")
    assert equal(tmp_path / "whole.safetensors", tmp_path / "t.safetensors")
    (tmp_path / "t.json").write_text("")
    assert command() == 2
    assert "its card" in capsys.readouterr().err


def test_kept_features_change_nothing(command: Command, tmp_path: Path):
    assert command() == 0
    for name in ("filling", "filled"):
        assert command(out=tmp_path / f"{name}.safetensors", cache=tmp_path / "store") == 0
        assert equal(tmp_path / f"{name}.safetensors", tmp_path / "t.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet81", "weights": "x.safetensors"}, "weights: no file"),
        ({"backbone": "resnet81d", "weights": None}, "is not a model of timm (did you mean 'resnet"),
        ({"layers": "layer9"}, "has no layer 'layer9' (did you mean 'layer"),
        ({"images": "nowhere"}, "--images nowhere: no folder"),
        ({"images": "."}, "no images in it or below (allowed: .png"),
        ({"image_size": 8}, "--image-size 8: has to be at least 64"),
        ({"out": "teacher.pth"}, "has to end in .safetensors"),
    ],
)
def test_wrong_input_is_refused_before_any_work(
    command: Command, options: dict[str, object], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert command(**options) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_unreadable_images_are_named(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "broken"
    folder.mkdir()
    Image.new("RGB", (40, 40)).save(folder / "good.png")
    (folder / "bad.jpg").write_bytes(b"no image")
    assert command(images=folder) == 2
    assert f"{folder / 'bad.jpg'}: not a readable image" in capsys.readouterr().err


def test_the_target_is_that_of_patchcore():
    """Against its definition, position by position, with 3 × 3 means taken before the bins of channels."""
    maps = [torch.randn(1, 6, 4, 4), torch.randn(1, 10, 2, 2)]
    fast = join(maps, 4, 8)
    means = [F.pad(m, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1).mean(dim=(-2, -1)) for m in maps]
    for y in range(4):
        for x in range(4):
            layers = [means[0][0, :, y, x], F.interpolate(means[1], (4, 4), mode="bilinear")[0, :, y, x]]
            binned = [value for layer in layers for value in _bins(layer.tolist(), 8)]
            assert fast[0, :, y, x].tolist() == pytest.approx(_bins(binned, 4), abs=1e-5)


def _bins(values: list[float], number: int) -> list[float]:
    """Means of `number` neighbouring, perhaps overlapping parts that cover everything."""
    edges = [(i * len(values) // number, -(-(i + 1) * len(values) // number)) for i in range(number)]
    return [sum(values[a:b]) / (b - a) for a, b in edges]


def test_moments_and_grids():
    maps = 3 * torch.randn(8, 2, 5, 5) + 1
    done = Moments.of(maps.split(1)).normalised(maps)
    torch.testing.assert_close(done.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(done.std(dim=(0, 2, 3)), torch.ones(2), atol=0.01, rtol=0)
    assert on_grid(maps, (5, 5)) is maps
    assert on_grid(maps, (9, 4)).shape == (8, 2, 9, 4)


@pytest.mark.parametrize("number", [1, 2, 50, 300])
def test_the_rate_never_exceeds_its_peak(number: int):
    plan = Plan(number, 2.0)
    assert max(plan.rate(step) for step in range(number)) <= 2.0
    assert {Plan(number, 2.0, constant=True).rate(step) for step in range(number)} == {2.0}


@pytest.mark.parametrize(("size", "parameters"), [("S", 2.69e6), ("M", 8.03e6)])
def test_students_have_the_published_sizes(size: str, parameters: float):
    recipe = TeacherSpec("b", "w", (), "i", size, 384, 512, 1, 1, 1e-4, "constant", 0, "float32")
    student = recipe.student()
    assert sum(p.numel() for p in student.parameters()) == pytest.approx(parameters, rel=0.01)
    assert torch.equal(next(student.parameters()), next(recipe.student().parameters()))


def test_without_a_store_features_stay_where_they_are_and_are_the_same(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """To the bit on a CPU, in both precisions; nothing goes through numpy and back."""
    for precision in ("float32", "bfloat16"):
        stored, plain = (tmp_path / f"{precision}-{name}.safetensors" for name in ("stored", "plain"))
        assert command(out=stored, cache=tmp_path / "store", precision=precision, steps=2) == 0
        with monkeypatch.context() as patched:
            patched.setattr(teacher_pairs, "features", None)  # whoever asks the store fails
            assert command(out=plain, precision=precision, steps=2) == 0
        assert equal(stored, plain)


@pytest.mark.parametrize(("precision", "tf32"), [("float32", False), ("bfloat16", True)])
def test_float32_is_float32_in_the_students_steps(precision: Precision, tf32: bool):
    """Outside, torch lets a card take TF32 for every convolution."""
    seen: list[tuple[bool, bool]] = []

    class Looking(torch.nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            result = super().forward(input)
            if result.requires_grad:
                result.register_hook(lambda _: look())
            look()
            return result

    def look() -> None:
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic))

    pair = Pair(torch.rand(1, 3, 8, 8), torch.rand(1, 2, 8, 8))
    assert torch.backends.cudnn.allow_tf32
    distil(Looking(3, 2, 3, padding=1), lambda step: pair, Plan(1, 1e-3), None, print, precision)
    assert seen == [(tf32, True)] * 2
    assert torch.backends.cudnn.allow_tf32

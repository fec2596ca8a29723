"""STFPM: the loss and the map against slow twins; which epoch is kept; the student's architecture."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional as F

from harness.checks.plates import plates
from harness.data import FitData
from harness.errors import NeedNotMet
from harness.method import Context
from harness.notes import noted
from methods.stfpm import STFPM, training
from methods.stfpm.selection import Best, held_out
from methods.stfpm.student import Student

QUICK: dict[str, Any] = {"weights": "demo", "image_size": 64, "steps": 3}
DATA = FitData(plates().train, plates().validation)
LAYERS = ("layer1", "layer2", "layer3")


def test_the_distance_is_its_equation():
    teacher, student = torch.randn(2, 3, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    found = training.distance(teacher, student)
    for place in ((0, 1, 2), (2, 3, 0)):
        i, y, x = place
        a, b = teacher[i, :, y, x].double(), student[i, :, y, x].double()
        assert float(found[place]) == pytest.approx(
            float((a / a.norm() - b / b.norm()).square().sum()), rel=1e-5
        )


def test_the_student_ends_with_the_last_layer_and_begins_as_torchvisions_does():
    student = Student(timm.create_model("resnet18"), LAYERS)
    names = [name for name, _ in student.named_parameters()]
    assert not any(name.startswith(("model.layer4", "model.fc")) for name in names)
    assert sum(p.numel() for p in student.parameters()) == 2_782_784
    scales = [m.weight for m in student.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(scales) == 15 and all(bool((s == 1).all()) for s in scales)
    assert [tuple(f.shape) for f in student(torch.zeros(2, 3, 64, 64))] == [
        (2, 64, 16, 16),
        (2, 128, 8, 8),
        (2, 256, 4, 4),
    ]


def test_the_map_is_the_product_of_the_levels():
    pair = STFPM(Context(), **QUICK).fit(DATA).pair
    batch = pair.inputs(plates().test.subset([0])).batch([0])
    with torch.no_grad():
        levels = [training.distance(t, s)[None] for t, s in pair.levels(batch)]
    product = torch.ones(1, 1, 16, 16)
    for level in levels:
        product = product * F.interpolate(level, (16, 16), mode="bilinear")
    torch.testing.assert_close(pair.product(batch), product[0])
    expected = F.interpolate(product, (64, 64), mode="bilinear")[0, 0]
    torch.testing.assert_close(torch.from_numpy(pair.map(batch)), expected)


def test_the_epoch_with_the_least_value_is_kept():
    student = Student(timm.create_model("test_resnet"), ("layer1",))
    best, (weight, *_) = Best(student), student.parameters()
    for value in (3.0, 1.0, 2.0):
        torch.nn.init.constant_(weight, value)
        best.look(student, torch.tensor(value))
    assert bool((next(best.kept.parameters()) == 1.0).all()) and float(best.least) == 1.0


@pytest.mark.parametrize(("select", "looked"), [("last", None), ("train20", 2), ("val", 3)])
def test_what_is_held_out_is_looked_at_once_an_epoch(
    select: Any, looked: int | None, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[str, ...]] = []
    values: list[float] = []
    look, chooser = Best.look, training._chooser
    monkeypatch.setattr(Best, "look", lambda *given: (values.append(float(given[2])), look(*given)))

    def choosing(pair: Any, best: Any, selection: Any, *rest: Any) -> Any:
        seen.append(tuple(selection.keys()))
        return chooser(pair, best, selection, *rest)

    monkeypatch.setattr(training, "_chooser", choosing)
    data = FitData(DATA.train.subset(range(6)), DATA.validation.subset(range(3)))
    method = STFPM(Context(), **{**QUICK, "batch_size": 2, "steps": 7}, stfpm_select=select).fit(data)
    assert len(method.score(plates().test.subset([0])).image) == 1
    if looked is None:
        assert not seen
        return
    images = data.validation if select == "val" else data.train.subset(held_out(6))
    assert seen == [tuple(images.keys())] and len(seen[0]) == looked
    assert len(values) == (3 if select == "val" else 4)  # epochs of three or two steps, and the last step


def test_with_one_image_nothing_is_held_out_and_the_row_says_so():
    data = FitData(DATA.train.subset([0]), DATA.validation.subset([]))
    for select in ("train20", "val"):
        with noted() as notes:
            STFPM(Context(), **QUICK, stfpm_select=select).fit(data)
        assert [n for n in notes if f"stfpm_select: {select}: there are no images" in n]


def test_without_images_there_is_nothing_to_learn():
    with pytest.raises(NeedNotMet, match="at least one"):
        STFPM(Context(), **QUICK).fit(replace(DATA, train=DATA.train.subset([])))


def test_held_out_images_are_a_fifth_rounded_up():
    assert [len(held_out(n)) for n in (1, 2, 5, 6, 100)] == [1, 1, 1, 2, 20]
    assert held_out(50) == held_out(50)


def test_seed_decides_the_scores():
    found = [
        STFPM(Context(s), **QUICK).fit(DATA).score(plates().test.subset([0])).image[0] for s in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]
    assert np.isfinite(found).all()

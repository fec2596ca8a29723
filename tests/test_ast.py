"""AST: its flow, its student and its losses, each against a slow twin; every image stands for itself."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.checks.plates import plates
from harness.data import FitData
from harness.errors import NeedNotMet
from harness.method import Context
from harness.params import resolve
from methods.ast import AST
from methods.ast.networks import Coupling, Student, Teacher, distance, positions, unlikelihood
from methods.shared.training import draws

TINY: dict[str, Any] = {
    "weights": "demo",
    "layer": "layer2",
    "image_size": 64,
    "steps": 6,
    "student_hidden": 16,
    "learning_rate": 0.002,
}


def woken(network: torch.nn.Module) -> torch.nn.Module:
    """With scales that are not 0 any more."""
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            parameter.data.fill_(0.7)
    return network.eval()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))


def test_positions_are_the_sines_and_cosines_of_their_places():
    found = positions(8, 3, 4)
    assert found.shape == (8, 3, 4)
    for y in range(3):
        for x in range(4):
            rates = [1.0, 1e4 ** (-2 / 4)]
            across = [f(x * r) for r in rates for f in (np.sin, np.cos)]
            down = [f(y * r) for r in rates for f in (np.sin, np.cos)]
            np.testing.assert_allclose(found[:, y, x], across + down, atol=1e-6)


def test_before_training_the_teacher_only_orders_channels(x: Tensor):
    with draws.seeded(0, 0):
        teacher = Teacher(5, 4, 3, 1.9)
    where = positions(4, 3, 4).expand(2, -1, -1, -1)
    z, volume = teacher(x, where)
    assert torch.equal(z.sort(dim=1).values, x.sort(dim=1).values) and not volume.any()


def test_the_teachers_volume_is_that_of_its_jacobian():
    """On a grid of one position every subnet is a function of that position alone."""
    with draws.seeded(1, 0):
        teacher: Any = woken(Teacher(5, 4, 3, 1.9))
    where, one = positions(4, 1, 1)[None], torch.randn(5, generator=torch.Generator().manual_seed(1))
    volume = teacher(one.view(1, 5, 1, 1), where)[1].item()
    jacobian = torch.autograd.functional.jacobian(
        lambda v: teacher(v.view(1, 5, 1, 1), where)[0].flatten(), one
    )
    assert volume == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), abs=1e-5)
    assert abs(volume) > 1e-3


def test_a_coupling_can_be_undone(x: Tensor):
    with draws.seeded(2, 0):
        block: Any = woken(Coupling(5, 4, 3, 3, 1.9, 2))
    where = positions(4, 3, 4).expand(2, -1, -1, -1)
    one, two = block(x, where)[0].split([2, 3], dim=1)
    scale, shift = block.of_first(torch.cat([one, where], dim=1), 1.9)
    two = (two - shift) / scale.exp()
    scale, shift = block.of_second(torch.cat([two, where], dim=1), 1.9)
    one = (one - shift) / scale.exp()
    np.testing.assert_allclose(torch.cat([one, two], dim=1)[:, block.order.argsort()].detach(), x, atol=1e-5)


def test_losses_equal_plain_sums(x: Tensor):
    volume = x[:, 0]
    for n in range(2):
        plain = 0.5 * sum(x[n, c] ** 2 for c in range(5)) - volume[n]
        np.testing.assert_allclose(unlikelihood(x, volume)[n], plain, rtol=1e-6)
        mean = sum((x[n, c] - 1) ** 2 for c in range(5)) / 5
        np.testing.assert_allclose(distance(x, torch.ones_like(x))[n], mean, rtol=1e-6)


def test_the_student_is_as_wide_as_asked_and_gives_as_many_channels():
    student = Student(5, 4, 16)
    shapes = [tuple(p.shape) for name, p in student.named_parameters() if name.endswith("weight")]
    assert shapes[0] == (16, 9, 3, 3) and shapes[-1] == (5, 16, 3, 3) and shapes.count((16, 16, 3, 3)) == 8


@pytest.mark.parametrize("shots", [1, 3])
def test_few_images_are_trained_on_and_every_image_stands_for_itself(shots: int):
    # fewer than a batch of eight: the authors' loader is empty there
    method = AST(Context(), **TINY).fit(FitData(plates().train.subset(range(shots))))
    test = plates().test
    whole = method.score(test)
    apart = [method.score(test.subset([i])).image for i in range(3)]
    np.testing.assert_array_equal(whole.image[:3], np.concatenate(apart))
    assert whole.maps is not None and whole.maps.shape[1:] == (8, 8)
    np.testing.assert_allclose(whole.image, whole.maps.max(axis=(1, 2)))
    means = (
        AST(Context(), **TINY, pooling="mean").fit(FitData(plates().train.subset(range(shots)))).score(test)
    )
    np.testing.assert_allclose(means.image, whole.maps.mean(axis=(1, 2)), rtol=1e-5)


def test_no_training_image_and_no_such_layer_are_said():
    with pytest.raises(NeedNotMet):
        AST(Context(), **TINY).fit(FitData(plates().train.subset([])))
    problems = AST.card.problems(resolve(AST, {"weights": "demo", "layer": "layer9"}))
    assert [key for key, _ in problems] == ["layer"]

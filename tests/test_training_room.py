"""The training room: killed trainings, draws, losses that are not finite, what the store keeps, graphs."""

import os
import signal
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stores import child, ended
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData
from harness.errors import ConfigError, HarnessError
from harness.method import Context
from harness.notes import noted
from methods import METHODS
from methods.shared.training import draws, held, room
from methods.shared.training.feeding import Feeding
from methods.shared.training.optimisers import adam, minimise, sgd
from methods.shared.training.room import Pace, Training, train

DATA = FitData(plates().train, plates().validation)
STEPS = 10
OFTEN = Pace(block=2, seconds=0)
# every method that is trained here, with what shows in seconds that it goes on as if nothing had happened
TRAINED: dict[str, dict[str, Any]] = {
    "draem": {"image_size": 64, "width": 2, "discriminator_width": 2, "steps": 5, "batch_size": 2},
    "f_anogan": {"image_size": 32, "latent": 8, "gan_steps": 5, "encoder_steps": 5, "n_critic": 2},
    "ast": {
        "weights": "demo",
        "layer": "layer2",
        "image_size": 64,
        "steps": 4,
        "batch_size": 3,
        "student_hidden": 16,
    },
    "gcad": {
        "teachers": "random",
        "fields": [17],
        "width": 0.05,
        "hidden": 8,
        "code": 4,
        "image_size": 32,
        "steps": 6,
    },
    "st": {
        "teachers": "random",
        "fields": [17, 33],
        "students": 2,
        "width": 0.05,
        "image_size": 32,
        "steps": 4,
    },
    "promptad": {
        "weights": "demo",
        "image_size": 40,
        "memory_blocks": [1, 3],
        "normal_contexts": 1,
        "abnormal_contexts": 1,
        "steps": 4,
        "maps": False,
    },
    "rd4ad": {"weights": "demo", "image_size": 64, "steps": 5, "batch_size": 3},
    "stfpm": {"weights": "demo", "image_size": 64, "steps": 5, "batch_size": 3, "stfpm_select": "train20"},
}


@pytest.fixture(autouse=True)
def one_thread():
    """Threads decide the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Net(nn.Sequential):
    def __init__(self) -> None:
        with draws.seeded(0, 1):
            super().__init__(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def batch(step: int) -> dict[str, Tensor]:
    return {"x": torch.from_numpy(draws.rng(0, 0, step).normal(size=(5, 3)).astype(np.float32))}


def toy(**changes: Any) -> Training:
    """Two networks, two optimisers; the second takes every other step."""
    first, second = Net(), Net()
    descents = adam(first.parameters(), 0.01), sgd(second.parameters(), 0.1, momentum=0.9)

    def step(number: int, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = minimise({"first": first(data["x"]).square().mean()}, descents[0])
        if number % 2 == 0:
            found |= minimise(
                {"second": (second(data["x"]) - first(data["x"]).detach()).abs().mean()}, descents[1]
            )
        return found

    given: dict[str, Any] = {
        "method": "toy",
        "identity": {},
        "inputs": ("a",),
        "modules": {"first": first, "second": second},
        "optimisers": {"first": descents[0], "second": descents[1]},
        "batch": batch,
        "step": step,
        "terms": ("first", "second"),
        "steps": STEPS,
        "rate": lambda n: 0.9**n,
    }
    return Training(**given | changes)


def numbers(training: Training) -> list[Tensor]:
    return [t.clone() for m in training.modules.values() for t in m.state_dict().values()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def whole() -> list[Tensor]:
    training = toy()
    train(training, Context())
    return numbers(training)


def at(step: int, action: Callable[[], object]) -> Callable[[int], dict[str, Tensor]]:
    """Batches, and something that happens instead of one of them."""

    def made(number: int) -> dict[str, Tensor]:
        if number == step:
            action()
        return batch(number)

    return made


def test_a_killed_training_ends_with_the_bits_of_one_that_was_not(tmp_path: Path):
    expected, context = whole(), Context(scratch=tmp_path)
    kill = at(6, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert ended(child(lambda: train(toy(batch=kill), context, OFTEN))) == -signal.SIGKILL
    steps: list[int] = []
    training = toy(batch=lambda n: (steps.append(n), batch(n))[1])
    train(training, context)
    assert steps == [6, 7, 8, 9] and same(numbers(training), expected)
    again = toy(batch=at(0, pytest.fail))
    train(again, context)
    assert same(numbers(again), expected)
    header, *rows = (tmp_path / "losses.csv").read_text().splitlines()
    assert header == "step,first,second" and [row.split(",")[0] for row in rows] == [
        str(n) for n in range(STEPS)
    ]
    assert rows[1].endswith(",") and not rows[2].endswith(",")


def test_a_state_of_another_network_is_set_aside(tmp_path: Path):
    train(toy(batch=batch), Context(scratch=tmp_path), OFTEN)
    (path,) = tmp_path.glob("*.pt")
    content = torch.load(path, weights_only=True)
    content["optimisers"]["first"]["state"][0]["exp_avg"] = torch.zeros(2, 2)
    torch.save(content, path)
    training = toy()
    with noted() as notes:
        train(training, Context(scratch=tmp_path))
    assert same(numbers(training), whole()) and len(notes) == 1 and "another shape" in notes[0]


def test_the_pace_and_a_thread_beside_change_nothing():
    for ahead in (False, True):
        training = toy(ahead=ahead)
        train(training, Context(), OFTEN)
        assert same(numbers(training), whole())


def test_an_error_in_a_batch_ends_the_training():
    with pytest.raises(ZeroDivisionError):
        train(toy(batch=lambda n: batch(n // (5 - n)), ahead=True), Context())


def test_another_seed_is_another_training():
    training = toy()
    train(training, Context(run_seed=1))
    assert not same(numbers(training), whole())


def test_a_loss_that_is_not_finite_names_the_step(tmp_path: Path):
    broken = toy(batch=lambda n: {"x": batch(n)["x"] / (n != 4)}, name="teacher")
    with pytest.raises(
        HarnessError, match="training of the teacher diverged at step 4: first nan, second nan"
    ):
        train(broken, Context(scratch=tmp_path))
    assert len((tmp_path / "losses-teacher.csv").read_text().splitlines()) == 6


def test_generators_are_left_as_they_were():
    before = torch.get_rng_state()
    train(toy(), Context())
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_are_frozen_afterwards_and_found_in_the_store(tmp_path: Path):
    store = ArtifactStore(tmp_path / "store")
    train(toy(), Context(artifacts=store))
    found = toy(batch=at(0, pytest.fail))
    train(found, Context(artifacts=store, scratch=tmp_path))
    assert same(numbers(found), whole())
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == STEPS + 1
    for module in found.modules.values():
        assert not module.training and not any(p.requires_grad for p in module.parameters())
    with pytest.raises(pytest.fail.Exception):
        train(toy(batch=at(0, pytest.fail), name="other"), Context(artifacts=store))


def test_what_looks_on_is_called_after_every_step():
    steps: list[int] = []
    train(toy(after=steps.append), Context())
    assert steps == list(range(STEPS))


def test_batches_take_every_image_once_an_epoch():
    assert draws.batches(7, 3) == 3 and draws.batches(2, 3) == 1
    epochs = [[draws.batch(3, 0, 3 * e + i, 7, 3) for i in range(3)] for e in range(3)]
    assert all(sorted(chain.from_iterable(epoch)) == list(range(7)) for epoch in epochs)
    assert [len(b) for b in epochs[0]] == [3, 3, 1] and epochs[0] != epochs[1]


def test_held_arrays_come_as_batches(monkeypatch: pytest.MonkeyPatch):
    arrays = [{"a": np.full((2, 2), i, np.float16), "b": np.full(3, i, np.uint8)} for i in range(4)]
    found = held.Held(arrays, "cpu").batch([2, 0])
    assert found["a"].dtype == torch.float32 and found["a"][:, 0, 0].tolist() == [2, 0]
    assert found["b"].dtype == torch.uint8
    placed = held.Held(arrays, "cpu")
    placed.placed = [placed._tensors([i]) for i in range(2)]  # as a card holds the first ones
    for name, tensor in placed.batch([3, 1]).items():
        assert torch.equal(tensor, held.Held(arrays, "cpu").batch([3, 1])[name])


class Watched(TorchDispatchMode):
    """What a CUDA graph cannot hold: numbers that come from the device or from the host."""

    FORBIDDEN = ("_local_scalar_dense", "lift_fresh", "nonzero", "masked_select")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(name in str(func) for name in self.FORBIDDEN), func
        return func(*args, **(kwargs or {}))


class Killed(Exception):
    """Stands for SIGKILL: nothing is tidied up."""


def method(name: str, scratch: Path | None = None, store: Path | None = None) -> Any:
    artifacts: dict[str, Any] = {} if store is None else {"artifacts": ArtifactStore(store)}
    return METHODS.load(name)(Context(scratch=scratch, **artifacts), **TRAINED[name])


@pytest.mark.parametrize("name", TRAINED)
def test_a_method_that_was_killed_scores_as_if_nothing_had_happened(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = tmp_path / "features"
    taken: list[int] = []
    take = Feeding.take

    def counting(self: Any, step: int) -> Any:
        taken.append(step)
        return take(self, step)

    monkeypatch.setattr(Feeding, "take", counting)
    expected = method(name, store=store).fit(DATA).score(plates().test)
    all_steps, taken[:] = list(taken), []
    stop = round(0.6 * len(all_steps))

    def killing(self: Any, step: int) -> Any:
        if len(taken) == stop:
            raise Killed
        return counting(self, step)

    scratch = tmp_path / "scratch"
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Feeding, "take", killing)
        patched.setattr(room.train, "__defaults__", (OFTEN,))
        method(name, scratch).fit(DATA)
    before, taken[:] = list(taken), []
    found = method(name, scratch).fit(DATA).score(plates().test)
    assert before + taken[len(before) + len(taken) - len(all_steps) :] == all_steps and len(taken) < len(
        all_steps
    )
    np.testing.assert_array_equal(found.image, expected.image)
    assert found.maps is None or np.array_equal(found.maps, expected.maps)


@pytest.mark.parametrize("name", TRAINED)
def test_a_method_that_diverges_names_the_step(name: str, monkeypatch: pytest.MonkeyPatch):
    take = Feeding.take

    def breaking(self: Any, step: int) -> Any:
        terms = take(self, step)
        return {k: t * float("nan") for k, t in terms.items()} if step == 3 else terms

    monkeypatch.setattr(Feeding, "take", breaking)
    with pytest.raises(HarnessError, match="diverged at step 3"):
        method(name).fit(DATA)


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_could_be_captured_as_a_cuda_graph(name: str, monkeypatch: pytest.MonkeyPatch):
    """Every step that says so takes nothing from the host, and brings nothing there."""
    seen: list[bool] = []
    build = Feeding.__init__

    def watching(self: Any, batch: Any, step: Any, steps: int, device: Any, graph: bool, ahead: bool) -> None:
        def watched(number: int, data: Any) -> Any:
            if not graph or not number:  # the first step prepares the optimiser
                return step(number, data)
            seen.append(True)
            with Watched():
                return step(number, data)

        build(self, batch, watched, steps, device, graph, ahead)

    monkeypatch.setattr(Feeding, "__init__", watching)
    method(name).fit(DATA)
    assert seen


ALONE: dict[str, dict[str, Any]] = {  # sides at which one place is left of a layer with batch normalisation
    "ast": {"weights": "demo", "layer": "layer2", "image_size": 8, "steps": 1, "student_hidden": 8},
    "stfpm": {"weights": "demo", "image_size": 16, "steps": 1},
}


@pytest.mark.parametrize("name", ALONE)
def test_an_image_alone_of_which_one_place_is_left_is_said(name: str):
    with pytest.raises(ConfigError, match=r"image_size.* batch_size"):
        METHODS.load(name)(Context(), **ALONE[name]).fit(FitData(DATA.train.subset([0])))


def test_a_training_is_known_by_its_kind_of_device_and_not_by_its_number():
    keys = {d: room._traces(toy(), Context(device=d)).op.key() for d in ("cpu", "cuda:0", "cuda:1")}
    assert keys["cpu"] != keys["cuda:0"] == keys["cuda:1"]

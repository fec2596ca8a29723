"""What is made ahead of a training: the same numbers as made in place, errors where they belong."""

import threading
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.data import FitData
from harness.method import Context
from methods.efficientad import EfficientAD, stepper
from methods.efficientad import train as training
from methods.efficientad.ahead import AHEAD, MOVING, Ahead
from methods.efficientad.stepper import Feeder
from methods.efficientad.train import Pace, train

STEPS = 6
AMONG: ContextVar[str] = ContextVar("AMONG", default="nobody")


def threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith("ahead")}


class Maker:
    """Step n is n everywhere; remembers what it was asked for."""

    def __init__(self, broken: int = -1) -> None:
        self.made: list[int] = []
        self.among: list[str] = []
        self.broken = broken

    def __call__(self, step: int, buffer: torch.Tensor) -> None:
        if step == self.broken:
            raise OSError(f"no image for {step}")
        self.made.append(step)
        self.among.append(AMONG.get())
        buffer.fill_(step)


def test_steps_come_in_any_order_and_nothing_is_made_after_the_last():
    place, maker = torch.zeros(2, 3), Maker()
    coming = Ahead(maker, 9, place)
    for step in (0, 1, 2, 7, 8, 8, 3, 4, 20):
        coming.fill(step)
        assert (place == step).all()
    coming.close()
    assert maker.made[:3] == [0, 1, 2] and max(s for s in maker.made if s != 20) == 8
    assert len(coming.free) == AHEAD


def test_an_error_reaches_the_step_that_needs_the_image_and_no_other():
    place = torch.zeros(1)
    coming = Ahead(Maker(broken=3), 9, place)
    for step in (0, 1, 2):
        coming.fill(step)
    with pytest.raises(OSError, match="no image for 3"):
        coming.fill(3)
    coming.fill(4)
    assert place == 4
    coming.close()
    assert len(coming.free) == AHEAD


def test_the_thread_has_the_context_of_the_training_and_ends_with_it():
    before = threads()
    token = AMONG.set("a trial with one core")
    try:
        maker = Maker()
        coming = Ahead(maker, 3, torch.zeros(1))
        coming.fill(0)
        (mine,) = threads() - before
        coming.close()
    finally:
        AMONG.reset(token)
    assert set(maker.among) == {"a trial with one core"}
    assert not mine.is_alive()


def test_a_thread_that_nobody_closed_ends_with_its_owner():
    before = threads()
    coming = Ahead(Maker(), 3, torch.zeros(1))
    coming.fill(0)
    (mine,) = threads() - before
    del coming
    mine.join(60)
    assert not mine.is_alive()


def test_a_buffer_is_not_written_while_a_card_may_read_it(monkeypatch: pytest.MonkeyPatch):
    """The card is slow: no copy is through before it is waited for."""
    reading: dict[int, Any] = {}

    class Slow:
        def record(self) -> None:
            self.buffer = current[0]
            reading[self.buffer] = self

        def synchronize(self) -> None:
            reading.pop(self.buffer, None)

    current: list[int] = []
    place = torch.zeros(1)
    faults: list[int] = []

    def make(step: int, buffer: torch.Tensor) -> None:
        if buffer.data_ptr() in reading:
            faults.append(step)
        buffer.fill_(step)

    coming = Ahead(make, 40, place, Slow)
    give_back = coming._give_back
    monkeypatch.setattr(
        coming,
        "_give_back",
        lambda buffer: (current.__setitem__(slice(None), [buffer.data_ptr()]), give_back(buffer)),
    )
    for step in range(40):
        coming.fill(step)
        assert place == step and len(reading) < MOVING
    coming.close()
    assert not faults


# In a training


@pytest.fixture
def others(tmp_path: Path) -> str:
    """A folder of images of other things."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "others"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(folder / f"{i}.png")
    return str(folder)


def task(folder: Path, others: str, seed: int = 0, scratch: Path | None = None) -> Any:
    context = Context(seed, artifacts=ArtifactStore(folder / "store"), scratch=scratch)
    options: dict[str, Any] = {
        "weights": "demo",
        "image_size": 64,
        "steps": STEPS,
        "imagenet_penalty": others,
    }
    return EfficientAD(context, **options)._task(FitData(plates().train))


class InPlace:
    """The slow twin: every step's image when the step needs it."""

    def __init__(self, make: Any, steps: int, place: torch.Tensor) -> None:
        self.make, self.place = make, place

    def fill(self, step: int) -> None:
        self.make(step, self.place)

    def close(self) -> None:
        pass


def test_a_training_is_the_same_to_the_bit(tmp_path: Path, others: str, monkeypatch: pytest.MonkeyPatch):
    before = threads()
    tasks = [task(tmp_path, others, seed) for seed in (0, 1)]
    found = train(tasks)
    monkeypatch.setattr(stepper, "Ahead", InPlace)
    for a, b in zip(found, train(tasks), strict=True):
        assert a.weights is not None and b.weights is not None
        assert np.array_equal(a.weights, b.weights) and np.array_equal(a.losses, b.losses)
        assert (a.losses[:, 1] > 0).all()
    assert not threads() - before


def test_a_killed_training_goes_on_to_the_bit(tmp_path: Path, others: str, monkeypatch: pytest.MonkeyPatch):
    whole = train([task(tmp_path, others)])[0]
    cut = task(tmp_path, others, scratch=tmp_path / "scratch")
    fill, before = Feeder.fill, threads()

    def killing(self: Any, step: int) -> None:
        if step == 3:
            raise KeyboardInterrupt
        fill(self, step)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Feeder, "fill", killing)
        train([cut], Pace(block=2, seconds=0))
    assert not threads() - before
    assert training.steps_done(cut) == 2
    again = train([cut])[0]
    assert again.weights is not None and whole.weights is not None
    assert np.array_equal(again.weights, whole.weights) and np.array_equal(again.losses, whole.losses)


def test_an_image_that_cannot_be_read_ends_the_training(tmp_path: Path, others: str):
    bad = task(tmp_path, others)
    (Path(others) / "1.png").write_bytes(b"no image")
    before = threads()
    with pytest.raises(Exception, match=r"1\.png"):
        train([bad])
    assert not threads() - before

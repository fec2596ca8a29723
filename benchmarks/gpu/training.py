"""(a) Steps of EfficientAD and DFSC: single steps, CUDA graphs, precisions, eight stacked; loss traces."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.row import Row, Scale, peak_gib, row, seconds
from harness.artifacts import ArtifactStore
from harness.data import FitData, ImageSet
from harness.method import Context
from methods.efficientad import EfficientAD, EfficientADDFSC
from methods.efficientad import stepper as steps_of
from methods.efficientad.stepper import Stepper
from methods.shared.training.pdn import pdn_small

SCHEDULE = 70_000  # steps of the papers
AIM = "≤ 100 s alone, ≤ 60 s each of eight (H200)"
TRACED = 20
PRECISIONS = ("float32", "tf32", "bfloat16")


def training(scale: Scale) -> Iterator[Row]:
    """Milliseconds per step and the whole schedule's seconds, per method, precision and stack."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(pdn_small().state_dict(), folder / "teacher.pth")
        precisions = PRECISIONS if scale.on_gpu else ("float32",)
        for cls in (EfficientADDFSC, EfficientAD):
            for precision in precisions:
                yield from _timed(cls, precision, 1, scale, folder)
        yield from _timed(EfficientADDFSC, precisions[-1], 8 if not scale.tiny else 2, scale, folder)
        yield from _eager(scale, folder, precisions[-1])
        yield from _traces(scale, folder, precisions)


def stepper(cls: Any, precision: str, members: int, scale: Scale, folder: Path) -> Stepper:
    """A training as trials have it: four images, teacher maps in the store."""
    rng, side = np.random.default_rng(0), scale.of(256, 64)
    images = [rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for _ in range(4)]
    data, store = FitData(ImageSet.of_arrays(images)), ArtifactStore(folder / "store")
    options: dict[str, Any] = {
        "weights": str(folder / "teacher.pth"), "precision": precision, "image_size": side,
    }  # fmt: skip
    contexts = [Context(seed, scale.device, store) for seed in range(members)]
    return Stepper([cls(context, **options)._task(data) for context in contexts])


def _timed(cls: Any, precision: str, members: int, scale: Scale, folder: Path) -> Iterator[Row]:
    training, number = stepper(cls, precision, members, scale, folder), iter(range(10**9))
    for _ in range(scale.of(20, 1)):  # algorithms are chosen, the graph is captured
        training.take(next(number))
    step = seconds(lambda: training.take(next(number)), scale, scale.of(200, 2))
    what = f"{cls.card.title}, {precision}, {members} together"
    yield row(f"{what}: per step and member", 1000 * step / members, "ms")
    yield row(f"{what}: {SCHEDULE} steps, per member", SCHEDULE * step / members, "s", AIM)
    yield row(f"{what}: memory", peak_gib(scale), "GiB")


def _eager(scale: Scale, folder: Path, precision: str) -> Iterator[Row]:
    """The same without a CUDA graph."""
    captured, steps_of._captured = steps_of._captured, lambda step, device: step
    try:
        training, number = stepper(EfficientADDFSC, precision, 1, scale, folder), iter(range(10**9))
        for _ in range(scale.of(10, 1)):
            training.take(next(number))
        step = seconds(lambda: training.take(next(number)), scale, scale.of(100, 2))
    finally:
        steps_of._captured = captured
    yield row(f"{EfficientADDFSC.card.title}, {precision}, no graph: per step", 1000 * step, "ms")


def _traces(scale: Scale, folder: Path, precisions: tuple[str, ...]) -> Iterator[Row]:
    """Losses of the first steps against float32's: what a precision changes."""
    found = {}
    for precision in precisions:
        training = stepper(EfficientADDFSC, precision, 1, scale, folder)
        found[precision] = np.stack([training.take(i).cpu().numpy() for i in range(scale.of(TRACED, 3))])
    for precision in precisions:
        apart = np.abs(found[precision] - found["float32"]).max() / np.abs(found["float32"]).max()
        yield row(f"loss trace, {precision} against float32: relative difference", float(apart), "")

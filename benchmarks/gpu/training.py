"""(a) Steps of EfficientAD and DFSC: single steps, CUDA graphs, precisions, eight stacked; loss traces.

Of what a card chooses or does otherwise than a CPU, every side is timed: ways of joint convolutions,
losses at once or one by one, the autoencoder in planes or channels last, images decoded ahead.
"""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu.row import Row, Scale, peak_gib, row, seconds
from harness.artifacts import ArtifactStore
from harness.data import FitData, ImageSet
from harness.method import Context
from methods.efficientad import EfficientAD, EfficientADDFSC, networks
from methods.efficientad import stepper as steps_of
from methods.efficientad.networks import JointConv2d
from methods.efficientad.stepper import Stepper
from methods.efficientad.ways import WAYS, Clock, by_events
from methods.shared.training.pdn import pdn_small
from methods.shared.training.precision import arithmetic

SCHEDULE = 70_000  # steps of the papers
AIM = "≤ 100 s alone, ≤ 60 s each of eight (H200)"
TRACED = 20
PRECISIONS = ("float32", "tf32", "bfloat16")
OTHERS = (300, 400)  # size of the penalty's images, of which ImageNet's are mostly


def training(scale: Scale) -> Iterator[Row]:
    """Milliseconds per step and the whole schedule's seconds, per method, precision and stack."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(pdn_small().state_dict(), folder / "teacher.pth")
        precisions = PRECISIONS if scale.on_gpu else ("float32",)
        for cls in (EfficientADDFSC, EfficientAD):
            for precision in precisions:
                yield from _timed(cls, precision, 1, scale, folder)
        yield from _penalty(scale, folder, precisions[-1])
        for precision in precisions:
            yield from _timed(EfficientADDFSC, precision, scale.of(8, 2), scale, folder)
            yield from _ways(scale, folder, precision)
        yield from _sides(scale, folder, precisions[-1])
        yield from _eager(scale, folder, precisions[-1])
        yield from _traces(scale, folder, precisions)


def stepper(
    cls: Any,
    precision: str,
    members: int,
    scale: Scale,
    folder: Path,
    clock: Clock | None = None,
    **more: Any,
) -> Stepper:
    """A training as trials have it: four images, teacher maps in the store."""
    rng, side = np.random.default_rng(0), scale.of(256, 64)
    images = [rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for _ in range(4)]
    data, store = FitData(ImageSet.of_arrays(images)), ArtifactStore(folder / "store")
    options: dict[str, Any] = {
        "weights": str(folder / "teacher.pth"), "precision": precision, "image_size": side, **more,
    }  # fmt: skip
    contexts = [Context(seed, scale.device, store) for seed in range(members)]
    return Stepper([cls(context, **options)._task(data) for context in contexts], clock)


def _step(training: Stepper, scale: Scale) -> float:
    """Seconds of a step, in the arithmetic of its training."""
    number = count()
    with arithmetic(training.recipe.precision, timed=True):
        for _ in range(scale.of(20, 1)):  # algorithms are chosen, the graph is captured
            training.take(next(number))
        found = seconds(lambda: training.take(next(number)), scale, scale.of(200, 2))
    training.close()
    return found


def _timed(cls: Any, precision: str, members: int, scale: Scale, folder: Path) -> Iterator[Row]:
    step = _step(stepper(cls, precision, members, scale, folder), scale)
    what = f"{cls.card.title}, {precision}, {members} together"
    yield row(f"{what}: per step and member", 1000 * step / members, "ms")
    yield row(f"{what}: {SCHEDULE} steps, per member", SCHEDULE * step / members, "s", AIM)
    yield row(f"{what}: memory", peak_gib(scale), "GiB")


def _ways(scale: Scale, folder: Path, precision: str) -> Iterator[Row]:
    """Both ways of every joint convolution, forwards and backwards; a training takes the faster one."""
    found: list[float] = []

    def clock(run: Callable[[], object]) -> float:
        found.append(float("nan"))  # if it cannot be run
        found[-1] = by_events(run) if scale.on_gpu else 1000 * seconds(run, scale)
        return found[-1]

    members = scale.of(8, 2)
    training = stepper(EfficientADDFSC, precision, members, scale, folder, clock)
    both = {"student": training.members.student, "autoencoder": training.members.autoencoder}
    named = [(f"{k}.{n}", m) for k, v in both.items() for n, m in v.named_modules()]
    names = [name for name, module in named if isinstance(module, JointConv2d)]
    for name, way, *took in zip(names, training.ways, found[::2], found[1::2], strict=True):
        for tried, value in zip(WAYS, took, strict=True):
            mark = " (taken)" if tried == way else ""
            yield row(f"{precision}, {members} together, {name}: {tried}{mark}", value, "ms")


def _sides(scale: Scale, folder: Path, precision: str) -> Iterator[Row]:
    """A stack whose losses are taken one by one, or whose autoencoder is channels last."""
    members = scale.of(8, 2)
    for what, change in (("losses at once", _at_once), ("losses one by one", _one_by_one)):
        training = stepper(EfficientADDFSC, precision, members, scale, folder)
        change(training)
        step = _step(training, scale)
        yield row(
            f"{precision}, {members} together, {what}: per step and member", 1000 * step / members, "ms"
        )
    for what, change in (("in planes", networks.in_planes), ("channels last", networks.channels_last)):
        yield row(f"autoencoder {what}, forwards and backwards", 1000 * _autoencoder(change, scale), "ms")


def _at_once(training: Stepper) -> None:
    members = training.members
    members.at_once = members.losses_at_once(members.mean.shape[1])


def _one_by_one(training: Stepper) -> None:
    training.members.at_once = None


def _autoencoder(change: Callable[[Any], Any], scale: Scale) -> float:
    side = scale.of(256, 64)
    network = change(networks.Autoencoder(384, side, True, False).to(scale.device))
    x = torch.rand(1, 3, side, side, device=scale.device).contiguous(memory_format=torch.channels_last)

    def once() -> None:
        network(x).square().mean().backward()

    with arithmetic("tf32", timed=True):
        seconds(once, scale, 3)
        return seconds(once, scale, scale.of(50, 1))


def _penalty(scale: Scale, folder: Path, precision: str) -> Iterator[Row]:
    """Vanilla with a penalty, its images decoded ahead of the steps."""
    rng, place = np.random.default_rng(1), folder / "others"
    place.mkdir()
    for i in range(scale.of(256, 4)):  # more than the steps that are timed: none is found in the store
        Image.fromarray(rng.integers(0, 255, (*OTHERS, 3), np.uint8)).save(place / f"{i}.jpg")
    training = stepper(EfficientAD, precision, 1, scale, folder, imagenet_penalty=str(place))
    step = _step(training, scale)
    yield row(f"{EfficientAD.card.title} with penalty, {precision}: per step", 1000 * step, "ms")


def _eager(scale: Scale, folder: Path, precision: str) -> Iterator[Row]:
    """The same without a CUDA graph."""
    captured, steps_of.captured = steps_of.captured, lambda step, device: step
    try:
        step = _step(stepper(EfficientADDFSC, precision, 1, scale, folder), scale)
    finally:
        steps_of.captured = captured
    yield row(f"{EfficientADDFSC.card.title}, {precision}, no graph: per step", 1000 * step, "ms")


def _traces(scale: Scale, folder: Path, precisions: tuple[str, ...]) -> Iterator[Row]:
    """Losses of the first steps against float32's: what a precision changes."""
    found = {}
    for precision in precisions:
        training = stepper(EfficientADDFSC, precision, 1, scale, folder)
        with arithmetic(training.recipe.precision, timed=True):
            found[precision] = np.stack([training.take(i).cpu().numpy() for i in range(scale.of(TRACED, 3))])
    for precision in precisions:
        apart = np.abs(found[precision] - found["float32"]).max() / np.abs(found["float32"]).max()
        yield row(f"loss trace, {precision} against float32: relative difference", float(apart), "")

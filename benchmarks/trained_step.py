"""Time and memory of one training step of the methods of the training room, beside another implementation.

    python -m benchmarks.trained_step                              ours, as a trial has them
    python -m benchmarks.trained_step rd4ad --python PYTHON        and anomalib's, of a Python that has it
    python -m benchmarks.trained_step --device cuda:0              wall time on a GPU

Weights are random on both sides, inputs 256 x 256. DRAEM has no frozen network, and samples are made in the
step on both sides (one image is half a minute of a core). Of others, a step takes stored features of the
frozen network, as every trial has them from its first epoch on; the peer's runs it. Every contestant is a
process of its own and they take steps in turn, so that all see the same machine. On a CPU the figure is the
CPU time of one thread, the fastest of the steps; memory is the peak of the process.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __package__ in (None, ""):  # a contestant's process, whose interpreter does not know this project
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.efficientad_step import _timed

SIDE = 256
# method -> its frozen network and what is set of its hyper-parameters
OURS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "rd4ad": ("wide_resnet50_2", {}),
    "stfpm": ("resnet18", {}),
    "draem": (None, {}),
}


class Ready(Exception):
    """The training has come to its first step."""


def begun(name: str, device: str, images: int, folder: Path, **more: Any) -> Any:
    """A method's own training before its first step, its data as a trial has them."""
    import numpy as np

    from harness.artifacts import ArtifactStore
    from harness.data import FitData, ImageSet
    from harness.method import Context
    from methods import METHODS
    from methods.shared.training import room

    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(images)]
    backbone, given = OURS[name]
    options = (
        dict(given)
        if backbone is None
        else {**given, "backbone": backbone, "weights": _file(backbone, folder)}
    )
    runs: list[room._Run] = []

    def stopped(run: room._Run, pace: room.Pace) -> None:
        runs.append(run)
        raise Ready

    room._Run.train, room.Feeding.close = stopped, lambda feeding: None
    context = Context(0, device, ArtifactStore(folder / "store"))
    method = METHODS.load(name)(context, **{"image_size": SIDE, **options, **more})
    if name == "draem":
        method.batch_size = images  # drawn with replacement, however few there are
    try:
        method.fit(FitData(ImageSet.of_arrays(pictures)))
    except Ready:
        return runs[0]


def ours(name: str, device: str, images: int, folder: Path) -> Callable[[], Any]:
    """One step of it."""
    from methods.shared.training.precision import arithmetic

    run, steps = begun(name, device, images, folder), count()

    def take() -> None:
        with arithmetic(run.training.precision, timed=True):  # as in a training
            run._take(next(steps))

    return take


def _file(backbone: str, folder: Path) -> str:
    import timm
    import torch

    path = folder / f"{backbone}.pth"
    if not path.is_file():
        torch.save(timm.create_model(backbone).state_dict(), path)
    return str(path)


def rd4ad(images: Any) -> Callable[[], Any]:
    import torch
    from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode
    from anomalib.models.image.reverse_distillation.components.bottleneck import get_bottleneck_layer
    from anomalib.models.image.reverse_distillation.loss import ReverseDistillationLoss
    from anomalib.models.image.reverse_distillation.torch_model import ReverseDistillationModel

    layers = ("layer1", "layer2", "layer3")
    mode = AnomalyMapGenerationMode.ADD
    model = ReverseDistillationModel("wide_resnet50_2", (SIDE, SIDE), layers, mode, pre_trained=False)
    # its own is half as wide inside as the authors' and ours
    model.bottleneck = get_bottleneck_layer("wide_resnet50_2", width_per_group=128)
    model = model.to(images.device).train()
    trained = [*model.decoder.parameters(), *model.bottleneck.parameters()]
    optimiser = torch.optim.Adam(trained, lr=0.005, betas=(0.5, 0.99))
    return _descent(optimiser, lambda: ReverseDistillationLoss()(*model(images)))


def stfpm(images: Any) -> Callable[[], Any]:
    import timm
    import torch

    build = timm.create_model  # its teacher is asked for with the weights of the hub
    timm.create_model = lambda *args, **kwargs: build(*args, **{**kwargs, "pretrained": False})
    from anomalib.models.image.stfpm.loss import STFPMLoss
    from anomalib.models.image.stfpm.torch_model import STFPMModel

    model = STFPMModel(("layer1", "layer2", "layer3"), "resnet18").to(images.device).train()
    optimiser = torch.optim.SGD(model.student_model.parameters(), lr=0.4, momentum=0.9, weight_decay=0.001)
    return _descent(optimiser, lambda: STFPMLoss()(*model(images)))


def draem(images: Any) -> Callable[[], Any]:
    import torch
    from anomalib.data.utils.generators.perlin import PerlinAnomalyGenerator
    from anomalib.models.image.draem.loss import DraemLoss
    from anomalib.models.image.draem.torch_model import DraemModel

    model, spoil = DraemModel().to(images.device).train(), PerlinAnomalyGenerator(blend_factor=(0.1, 1.0))
    criterion, optimiser = DraemLoss(), torch.optim.Adam(model.parameters(), lr=0.0001)

    def loss() -> Any:
        spoiled, mask = spoil(images)
        reconstruction, prediction = model(spoiled)
        return criterion(images, reconstruction, mask, prediction)

    return _descent(optimiser, loss)


def _descent(optimiser: Any, loss: Callable[[], Any]) -> Callable[[], Any]:
    def take() -> None:
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()

    return take


PEERS: dict[str, Callable[[Any], Callable[[], Any]]] = {"rd4ad": rd4ad, "stfpm": stfpm, "draem": draem}


def serve(name: str, device: str, images: int, folder: Path) -> None:
    """Take as many steps as every line of the input says; answer with seconds per step and MiB."""
    import torch

    if device == "cpu":
        torch.set_num_threads(1)
    method, _, peer = name.partition(" ")
    if peer:
        take = PEERS[method](torch.rand(images, 3, SIDE, SIDE, device=device))
    else:
        take = ours(method, device, images, folder)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(_timed(take, int(line), device)), flush=True)


class Contestant:
    """A process that takes steps when it is told to."""

    def __init__(self, name: str, python: str, arguments: argparse.Namespace, folder: str) -> None:
        given = ["--device", arguments.device, "--images", str(arguments.images), "--folder", folder]
        command = [python, "-W", "ignore", __file__, "--serve", name, *given]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True, **pipes)
        self.name, self.seconds, self.memory = name, float("inf"), 0.0
        self._answer()

    def run(self, steps: int) -> None:
        """Take steps; the fastest run counts."""
        assert self.process.stdin is not None
        print(steps, file=self.process.stdin, flush=True)
        seconds, self.memory = self._answer()
        self.seconds = min(self.seconds, seconds)

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if line.startswith(("[", '"')):  # libraries may print before
                return json.loads(line)
        raise SystemExit(f"{self.name}: ended with {self.process.wait()}")


def main() -> None:
    """Let all of them take steps in turn, and print what a step cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", help=f"of {', '.join(OURS)}; all by default")
    parser.add_argument("--python", help="an interpreter that has anomalib")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=4, help="in a step: as many as there are to train on")
    parser.add_argument("--rounds", type=int, default=2, help="times that everybody has his turn")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.device, arguments.images, arguments.folder)
        return
    for name in arguments.methods or OURS:
        with TemporaryDirectory() as folder:
            _compare(name, arguments, folder)


def _compare(name: str, arguments: argparse.Namespace, folder: str) -> None:
    both = [Contestant(name, sys.executable, arguments, folder)]
    if arguments.python and name in PEERS:
        both.append(Contestant(f"{name} anomalib", arguments.python, arguments, folder))
    for _ in range(arguments.rounds + 1):  # the first is for warming up, and never the fastest
        for contestant in both:
            contestant.run(1 if arguments.device == "cpu" else 100)
    for c in both:
        c.process.terminate()
        kind = "CPU " if arguments.device == "cpu" else ""
        ratio = f"{both[0].seconds / c.seconds:5.2f} times as fast as ours"
        print(f"{c.name:20} {c.seconds:8.3f} {kind}s per step, {ratio}, {c.memory:6.0f} MiB")


if __name__ == "__main__":
    main()

"""Time and memory of one training step of EfficientAD at 256 x 256, batch 1, beside anomalib's.

    python -m benchmarks.efficientad_step                      ours
    python -m benchmarks.efficientad_step --python PYTHON      and anomalib's, of an interpreter that has it
    python -m benchmarks.efficientad_step --device cuda:0      wall time on a GPU; precisions, eight stacked

Every contestant is a process of its own and they take steps in turn, so that all see the same machine. On a
CPU the figure is the CPU time of all threads, the fastest of the steps; memory is the peak of the process.
anomalib's step always has the ImageNet penalty: the like-for-like peer is "vanilla with penalty".
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

ON_CPU = ("vanilla", "vanilla with penalty", "dfsc")
ON_GPU = (*ON_CPU, "dfsc tf32", "dfsc bfloat16", "dfsc tf32, 8 stacked", "dfsc bfloat16, 8 stacked")
SIDE = 256


def ours(name: str, device: str, folder: Path) -> Callable[[], Any]:
    """One step of our trainer, its data as a trial would have them: teacher maps are stored."""
    import numpy as np
    import torch

    from harness.artifacts import ArtifactStore
    from harness.data import FitData, ImageSet
    from harness.method import Context
    from methods.efficientad import EfficientAD, EfficientADDFSC
    from methods.efficientad.stepper import Stepper
    from methods.shared.training.precision import arithmetic

    rng = np.random.default_rng(0)
    data = FitData(
        ImageSet.of_arrays([rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(4)])
    )
    precision = next((p for p in ("tf32", "bfloat16") if p in name), "float32")
    options: dict[str, Any] = {"weights": str(_teacher(folder)), "precision": precision}
    cls = EfficientADDFSC if "dfsc" in name else EfficientAD
    if "penalty" in name:
        options["imagenet_penalty"] = str(_others(folder, rng))
    store = ArtifactStore(folder / "store")
    contexts = [Context(seed, device, store) for seed in range(8 if "stacked" in name else 1)]
    torch.set_num_threads(torch.get_num_threads() if device != "cpu" else 1)
    stepper, steps = Stepper([cls(context, **options)._task(data) for context in contexts]), count()

    def take() -> None:
        with arithmetic(stepper.recipe.precision, timed=True):  # as in a training
            stepper.take(next(steps))

    return take


def _teacher(folder: Path) -> Path:
    import torch

    from methods.shared.training.pdn import pdn_small

    path = folder / "teacher.pth"
    if not path.is_file():
        torch.save(pdn_small().state_dict(), path)
    return path


def _others(folder: Path, rng: Any) -> Path:
    import numpy as np
    from PIL import Image

    place = folder / "others"
    place.mkdir(exist_ok=True)
    for i in range(4):
        Image.fromarray(rng.integers(0, 255, (300, 400, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return place


def anomalibs(device: str) -> Callable[[], Any]:
    """One step of anomalib's model and optimiser; data are at hand already."""
    import torch
    from anomalib.models.image.efficient_ad.torch_model import EfficientAdModel

    torch.set_num_threads(torch.get_num_threads() if device != "cpu" else 1)
    model = EfficientAdModel().to(device)
    model.mean_std.update({"mean": torch.zeros(1, 384, 1, 1), "std": torch.ones(1, 384, 1, 1)})
    model.train().to(device)
    model.teacher.eval()
    trained = [*model.student.parameters(), *model.ae.parameters()]
    optimiser = torch.optim.Adam(trained, lr=1e-4, weight_decay=1e-5)
    image, other = (torch.rand(1, 3, SIDE, SIDE, device=device) for _ in range(2))

    def take() -> None:
        optimiser.zero_grad()
        sum(model(image, other)).backward()
        optimiser.step()

    return take


def serve(name: str, device: str, folder: Path) -> None:
    """Take as many steps as every line of the input says; answer with seconds per step and MiB."""
    take = anomalibs(device) if name == "anomalib" else ours(name, device, folder)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(_timed(take, int(line), device)), flush=True)


def _timed(take: Callable[[], Any], steps: int, device: str) -> tuple[float, float]:
    import torch

    if device == "cpu":
        start = time.process_time()
        for _ in range(steps):
            take()
        return (time.process_time() - start) / steps, resource.getrusage(
            resource.RUSAGE_SELF
        ).ru_maxrss / 1024
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        take()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps, torch.cuda.max_memory_reserved() / 2**20


class Contestant:
    """A process that takes steps when it is told to."""

    def __init__(self, name: str, python: str, device: str, folder: str) -> None:
        command = [python, "-W", "ignore", __file__, "--serve", name, "--device", device, "--folder", folder]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.name, self.seconds, self.memory = name, float("inf"), 0.0
        self._answer()

    def run(self, steps: int) -> None:
        """Take steps; the fastest run counts."""
        assert self.process.stdin is not None
        print(steps, file=self.process.stdin, flush=True)
        seconds, self.memory = self._answer()
        self.seconds = min(self.seconds, seconds)

    def _answer(self) -> Any:
        output: IO[str] | None = self.process.stdout
        line = output.readline() if output else ""
        if not line:
            raise SystemExit(f"{self.name}: ended with {self.process.wait()}")
        return json.loads(line)


def main() -> None:
    """Let all of them take steps in turn, and print what a step cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", help="an interpreter that has anomalib")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3, help="times that everybody has his turn")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.device, arguments.folder)
        return
    with TemporaryDirectory() as folder:
        _compare(arguments, folder)


def _compare(arguments: argparse.Namespace, folder: str) -> None:
    on_cpu = arguments.device == "cpu"
    peers = [("anomalib", arguments.python)] if arguments.python else []
    names = [*((name, sys.executable) for name in (ON_CPU if on_cpu else ON_GPU)), *peers]
    all_of_them = [Contestant(name, python, arguments.device, folder) for name, python in names]
    for _ in range(arguments.rounds + 1):  # the first is for warming up, and never the fastest
        for contestant in all_of_them:
            contestant.run(1 if on_cpu else 200)
    reference = all_of_them[0].seconds
    for c in all_of_them:
        c.process.terminate()
        print(
            f"{c.name:26} {1000 * c.seconds:8.1f} ms per step{' (CPU)' if on_cpu else ''}, "
            f"{reference / c.seconds:5.2f} times as fast as vanilla, {c.memory:6.0f} MiB"
        )


if __name__ == "__main__":
    main()

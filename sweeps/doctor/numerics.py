"""What this device computes, tried with the demo weights: the same twice, precisions, search, graphs.

A process of its own (`python -m sweeps.doctor.numerics DEVICE`), one JSON line per finding: a driver that
kills the process, or a library that hangs, is then a finding too.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from sweeps.doctor.finding import Finding, Level, amber, green, looked, red

SECONDS = 100  # the whole of it; a cold GPU takes half a minute to compile and load its kernels
BF16_DIFFERENCE = 0.05  # of the largest feature: three decimal digits through some ten layers
TF32_DIFFERENCE = 0.005
SEARCH = (2000, 64, 50)  # rows, dimension, queries


def numerics(device: str) -> Iterator[Finding]:
    """The findings of the process; what it did not get to say is one red finding."""
    command = [sys.executable, "-m", "sweeps.doctor.numerics", device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        text = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        yield from _read(text)
        yield red(
            "numbers", "time", f"{device} did not answer within {SECONDS} s", "restart the driver or the node"
        )
        return
    yield from _read(done.stdout)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
        said = f"{device}: the process ended early ({last[:200]})"
        mend = "try `python -c 'import torch, faiss'`; install the packages anew if that fails"
        yield red("numbers", "process", said, mend)


def _read(text: str) -> Iterator[Finding]:
    for line in text.splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            yield Finding(**entry | {"level": Level(entry["level"])})


def _main(device: str) -> None:
    for look in (_start, _repeated, _precisions, _search, _graph):
        for finding in looked("numbers", lambda look=look: look(device)):
            print(json.dumps(asdict(finding)), flush=True)


def _start(device: str) -> Iterator[Finding]:
    """One allocation and one convolution: what fails here would fail in every trial."""
    began = time.perf_counter()
    if fault := fault_of(device):
        yield red("numbers", "device", *fault)
        raise SystemExit(0)
    import torch

    seconds, facts = time.perf_counter() - began, {"torch": torch.__version__}
    yield green(
        "numbers",
        "device",
        f"torch {torch.__version__} computes on {device}",
        **facts,
        start_seconds=round(seconds, 1),
    )


def fault_of(device: str) -> tuple[str, str] | None:
    """Why nothing can be computed on a device, and the mend; None where it computes."""
    import torch

    try:
        with torch.inference_mode():
            x = torch.ones(1, 3, 32, 32, device=device)
            torch.nn.Conv2d(3, 4, 3).to(device)(x).sum().item()
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts
        said = " ".join(str(error).split())[:200]
        return f"{device} cannot be used: {said}", _mend(said)
    return None


def _mend(said: str) -> str:
    known = {
        "driver on your system is too old": "update the driver, or install a torch wheel of an older CUDA",
        "not compiled with CUDA": "install a torch wheel with CUDA (pytorch.org), this one is for CPUs",
        "busy or unavailable": "nvidia-smi -c DEFAULT: the card admits one process only",
        "no kernel image": "the card is too old or too new for this torch wheel",
        "out of memory": "end what fills the card (nvidia-smi)",
    }
    return next((mend for words, mend in known.items() if words in said), "see `nvidia-smi` and dmesg")


def _repeated(device: str) -> Iterator[Finding]:
    """The same trial twice has to give the same scores to the bit on a CPU."""
    import numpy as np

    first, second = (_scores(device) for _ in range(2))
    apart = float(np.abs(first - second).max())
    said = f"PatchCore on demo weights twice: largest difference {apart:.1e}"
    if apart == 0:
        yield green("numbers", "same twice", said, scores=round(float(first.sum()), 3))
    else:
        make = red if device == "cpu" else amber
        yield make(
            "numbers", "same twice", said, "set CUBLAS_WORKSPACE_CONFIG=:4096:8; repeats differ that much"
        )


def _scores(device: str) -> Any:
    from harness.artifacts import no_store
    from harness.checks.plates import plates
    from harness.method import Context
    from harness.seeding import seeded
    from methods import METHODS

    made = plates()
    with seeded(0):
        context = Context(0, device, no_store())
        method = METHODS.load("patchcore")(context, weights="demo", image_size=64)
        return method.fit(made.fit_data()).score(made.test).image


def _precisions(device: str) -> Iterator[Finding]:
    """How far lower precisions move features, per family of backbones."""
    for family, run in _families(device).items():
        exact = run("float32")
        for precision, limit in (("bfloat16", BF16_DIFFERENCE), *_tf32(device)):
            apart = _relative(run(precision), exact)
            said = f"{family}: {precision} against float32, relative difference {apart:.1e}"
            make: Callable[..., Finding] = green
            if apart > limit:
                yield amber("numbers", f"{family} {precision}", said, f"keep precision: float32 for {family}")
            else:
                yield make("numbers", f"{family} {precision}", said)


def _tf32(device: str) -> list[tuple[str, float]]:
    return [("tf32", TF32_DIFFERENCE)] if device.startswith("cuda") else []


def _families(device: str) -> dict[str, Callable[[str], Any]]:
    """Family -> a pass of its smallest member that ships, under a precision."""
    import torch

    from methods.shared.backbones.frozen import load
    from methods.shared.checkpoints import read
    from methods.shared.openclip.model import model_of
    from methods.shared.openclip.spec import ClipSpec
    from methods.shared.training.pdn import pdn_from
    from methods.shared.weights import demo, find

    residual = load(find("wide_resnet50_2", "demo"), ("layer2",), device).model
    teacher = pdn_from(read(demo("pdn_small", "teachers").path)).to(device)
    clip = model_of(ClipSpec("ViT-B-16", None, "demo", 64), device).visual  # its patches are of 8 pixels
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 64, 64, generator=generator).to(device)
    return {
        name: lambda precision, network=network: _pass(network, picture, device, precision)
        for name, network in (("residual network", residual), ("PDN", teacher), ("vision transformer", clip))
    }


def _pass(network: Any, picture: Any, device: str, precision: str) -> Any:
    import torch

    low = getattr(torch, precision, torch.float32)
    kind = device.partition(":")[0]
    fast = precision == "tf32"
    with (
        torch.inference_mode(),
        torch.autocast(kind, dtype=low, enabled=low is not torch.float32),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=fast),
    ):
        torch.backends.cuda.matmul.allow_tf32 = fast
        found = network(picture)
    return (found[0] if isinstance(found, tuple) else found).float().cpu()


def _relative(found: Any, exact: Any) -> float:
    return float((found - exact).abs().max() / exact.abs().max())


def _search(device: str) -> Iterator[Finding]:
    """Nearest neighbours against distances in float64."""
    import numpy as np

    from methods.shared.nearest import MemoryBank

    rows, dimension, queries = SEARCH
    rng = np.random.default_rng(0)
    bank = rng.standard_normal((rows, dimension), np.float32)
    asked = rng.standard_normal((queries, dimension), np.float32)
    exact = np.sqrt(((asked[:, None].astype(np.float64) - bank[None]) ** 2).sum(axis=2)).min(axis=1)
    found = MemoryBank(bank, device).search(asked)[0][:, 0]
    apart = float(np.abs(found - exact).max())
    said = f"nearest neighbours on {device}: largest difference {apart:.1e}"
    if apart > 1e-3:
        yield red("numbers", "search", said, "install torch and faiss-cpu anew; the answers are wrong here")
    else:
        yield green("numbers", "search", said)


def _graph(device: str) -> Iterator[Finding]:
    """A CUDA graph of a training step against the step itself."""
    if not device.startswith("cuda"):
        return
    import torch

    layer = torch.nn.Linear(64, 64, device=device)
    x = torch.randn(8, 64, device=device)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):  # libraries choose their algorithms outside the capture
            layer(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = layer(x)
    graph.replay()
    apart = float((captured - layer(x)).abs().max())
    said = f"a captured CUDA graph against the step itself: largest difference {apart:.1e}"
    if apart > 1e-4:
        yield amber(
            "numbers", "graph", said, "training falls back to single steps; report the driver version"
        )
    else:
        yield green("numbers", "graph", said)


if __name__ == "__main__":
    _main(sys.argv[1])

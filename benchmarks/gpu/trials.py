"""(e) Memory of every method, (f) four trials on one card at once, (g) the demo on the card against a CPU."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import yaml

from benchmarks.gpu.row import Row, Scale, row

ROOT = Path(__file__).parents[2]
CPUS = 4  # threads of a trial
DEMO = ROOT / "configs" / "demo.yaml"  # every method, with what makes it small


def demo(scale: Scale) -> Iterator[Row]:
    """Every method through `harness.sweep` on the device and on the CPU: memory, and scores compared."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _draw(folder, scale)
        scores = {}
        for device in dict.fromkeys((scale.device, "cpu")):
            run = _swept(folder, device, scale)
            trials = pd.read_parquet(run / "trials")
            ok = int((trials.status == "ok").sum())
            yield row(f"demo sweep on {device}: trials that are ok, of {len(trials)}", ok, "trials")
            yield row(f"demo sweep on {device}", float(trials.total_seconds.sum()), "s")
            yield from _memory(trials)
            for fallen in trials[trials.status != "ok"].itertuples():
                yield row(f"{fallen.method} on {device}: {fallen.status}, {fallen.reason}"[:300], 0, "")
            scores[device] = _scores(run, trials)
        if len(scores) > 1:
            yield from _apart(scores[scale.device], scores["cpu"], scale)


def _memory(trials: pd.DataFrame) -> Iterator[Row]:
    for method, peak in trials.groupby("method").peak_gpu_mib.max().dropna().items():
        yield row(f"{method}: memory of one trial", float(peak), "MiB")


def _apart(first: pd.DataFrame, second: pd.DataFrame, scale: Scale) -> Iterator[Row]:
    pairs = first.merge(second, on=["trial_id", "method", "image"])
    for method, both in pairs.groupby("method"):
        apart = (both.score_x - both.score_y).abs().max() / both.score_y.abs().max()
        yield row(f"{method}: scores on {scale.device} against a CPU, relative", float(apart), "")


def _draw(folder: Path, scale: Scale) -> None:
    words = [
        "--size",
        "64",
        "--train",
        "4",
        "--validation",
        "2",
        "--good",
        "3",
        "--logical",
        "3",
        "--structural",
        "3",
    ]
    words += ["--categories", "juice_bottle"]
    _run("harness.data", "demo", str(folder / "data"), *(words if scale.tiny else words[2:]))


def _swept(folder: Path, device: str, scale: Scale) -> Path:
    share = 1.0 if device != "cpu" else 0.0
    methods = [
        {"name": m["name"], "params": m.get("params", {}), "resources": {"gpus": share, "cpus": CPUS}}
        for m in yaml.safe_load(DEMO.read_text())["methods"]
        if not scale.tiny or m["name"] in ("mean_image", "patchcore")
    ]
    content = {
        "name": "gpu", "dataset": {"name": "demo", "root": str(folder / "data")}, "weights": "demo",
        "shots": [4], "seeds": 1, "methods": methods, "metrics": ["auroc"], "out": str(folder / device),
        "cache": {"folder": str(folder / f"store-{device.partition(':')[0]}")},
    }  # fmt: skip
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    _run("harness.sweep", str(path), "--backend", "serial")
    return folder / device


def _run(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode > 1:  # trials that are not ok are rows, and told
        raise SystemExit(f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def _scores(run: Path, trials: pd.DataFrame) -> pd.DataFrame:
    found = pd.read_parquet(run / "scores").merge(trials[["trial_id", "method"]], on="trial_id")
    return found.sort_values(["method", "trial_id", "image"], ignore_index=True)


def sharing(scale: Scale) -> Iterator[Row]:
    """Four trainings on one card at once against one after the other: what a quarter of a card is worth."""
    number, steps = scale.of(4, 2), scale.of(500, 2)
    alone = _together(1, steps, scale)
    at_once = _together(number, steps, scale)
    yield row(f"one training of {steps} steps", alone, "s")
    yield row(f"{number} trainings at once", at_once, "s")
    yield row(f"{number} at once against one after the other", number * alone / at_once, "times as fast")


def _together(number: int, steps: int, scale: Scale) -> float:
    """Wall seconds from the moment when all are ready until all are done."""
    code = (
        "import sys; from pathlib import Path; from tempfile import mkdtemp; import torch\n"
        "from benchmarks.gpu.row import Scale; from benchmarks.gpu.training import stepper\n"
        "from methods.efficientad import EfficientADDFSC; from methods.shared.training.pdn import pdn_small\n"
        f"folder = Path(mkdtemp()); torch.save(pdn_small().state_dict(), folder / 'teacher.pth')\n"
        f"training = stepper(EfficientADDFSC, 'float32', 1, Scale({scale.device!r}, {scale.tiny}), folder)\n"
        "training.take(0); print('ready', flush=True); input()\n"
        f"for i in range({steps}): training.take(i).sum().item()\n"
        "print('done', flush=True)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, **pipes) for _ in range(number)]
    for process in processes:
        _heard(process, "ready")
    began = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        print(file=process.stdin, flush=True)
    for process in processes:
        _heard(process, "done")
        process.wait()
    return time.perf_counter() - began


def _heard(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdout is not None
    if process.stdout.readline().strip() != word:
        raise SystemExit(f"a training ended with {process.wait()}")


def peer(scale: Scale) -> Iterator[Row]:
    """(h) anomalib's training loop beside, where this interpreter has it."""
    try:
        from benchmarks.efficientad_step import anomalibs

        take = anomalibs(scale.device)
    except ImportError:
        yield row("anomalib's EfficientAD: not installed here", 0, "")
        return
    from benchmarks.gpu.row import seconds

    take()
    yield row("anomalib's EfficientAD: per step", 1000 * seconds(take, scale, scale.of(50, 1)), "ms")

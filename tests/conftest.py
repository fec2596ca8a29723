"""What several test files share: a tiny data set, sweep files, and the command line as users start it."""

import gc
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # read by the libraries below: small arrays, idle threads spin
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # where a trial has two, they share what cores are free

import numpy as np
import pytest
import yaml
from filelock import FileLock
from hypothesis import HealthCheck, settings
from PIL import Image

from harness.sweep import main as sweep_main
from methods import METHODS
from methods.shared.backbones import names

ROOT = Path(__file__).parent.parent
PLUGIN = ROOT / "tests" / "plugin"
LIMIT = 300  # seconds after which what a test waits for never happens; generous, because machines are busy

# No clock decides, and every run draws the same examples; `--hypothesis-profile default` looks for new ones.
QUICK_TO_COMPLAIN = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
settings.register_profile(
    "ladder", deadline=None, derandomize=True, database=None, suppress_health_check=QUICK_TO_COMPLAIN
)
settings.load_profile("ladder")

Shared = Callable[[str, Callable[[Path], object]], Path]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Half a million objects are imported here, and stay: no look for garbage (0.3 s) goes through them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the cache of the person who runs it."""
    os.environ["LADDER_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _facts_of_backbones() -> Iterator[None]:
    """This process has torch: it answers itself what a child would need four seconds of imports for."""

    def ask(*backbones: str) -> dict[str, Any]:
        from methods.shared.backbones.listing import facts

        return {backbone: facts(backbone) for backbone in backbones}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "ask", ask)
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """`shared(name, make)` is a folder that `make` has filled, once for all workers of a test run."""
    base = tmp_path_factory.getbasetemp()  # of this worker, beside those of the others
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, made = root / "shared" / name, root / "shared" / f"{name}.made"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(folder.parent / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a failed attempt left
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return once


def write_tree(
    root: Path, categories: tuple[str, ...], *, train: int = 6, test: int = 4, side: int = 24
) -> Path:
    """A tiny data set in MVTec AD's layout: noise, with a bright square where it is defective."""
    for category in categories:
        rng = np.random.default_rng(len(category))
        for folder, number in (("train/good", train), ("test/good", test), ("test/square", test)):
            for i in range(number):
                image = rng.integers(0, 120, (side, side, 3)).astype(np.uint8)
                mask = np.zeros((side, side), np.uint8)
                if folder == "test/square":
                    image[4:12, 6:14] = 250
                    mask[4:12, 6:14] = 255
                    _save(root / category / "ground_truth/square" / f"{i:03d}_mask.png", mask)
                _save(root / category / folder / f"{i:03d}.png", image)
    return root


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three categories: bolt, cap, nut."""
    return write_tree(tmp_path_factory.mktemp("tree"), ("bolt", "cap", "nut"))


@pytest.fixture
def sweep_file(tmp_path: Path, tree: Path) -> Callable[..., Path]:
    """Writes a sweep file over `tree`; keyword arguments replace its keys."""

    def write(**keys: Any) -> Path:
        content = {
            "name": "t",
            "dataset": {"name": "mvtec_ad", "root": str(tree)},
            "shots": [1],
            "methods": [{"name": "mean_image"}],
            "out": str(tmp_path / "run"),
            "cache": {"folder": str(tmp_path / "store")},
        }
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(content | keys))
        return path

    return write


def environment() -> dict[str, str]:
    """The environment of a user who has installed the misbehaving methods."""
    paths = [str(ROOT), str(PLUGIN), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200"}


def sweep(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """`python -m harness.sweep …`, to its end."""
    command = [sys.executable, "-m", "harness.sweep", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=LIMIT, cwd=PLUGIN, check=False
    )


def sweep_here(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, without the second or two that Python, pandas and torch need to start.

    For what a sweep does; how a process starts, ends and imports is seen with `sweep` and `start_sweep`.
    """
    given, out, err = [str(word) for word in words], io.StringIO(), io.StringIO()
    assert METHODS.external is not None  # looked up, and kept, before the plugin is on the path
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("COLUMNS", "200")
        patch.setattr(sys, "orig_argv", [sys.executable, "-m", "harness.sweep", *given])
        patch.syspath_prepend(str(PLUGIN))
        for point in (p for d in distributions(path=[str(PLUGIN)]) for p in d.entry_points):
            patch.setitem(METHODS._table, point.name, point.value)
        try:
            code = sweep_main(given)
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
    return subprocess.CompletedProcess(given, code, out.getvalue(), err.getvalue())


def wait_for(event: Callable[[], object]) -> None:
    """Until something has happened."""
    end = time.monotonic() + LIMIT
    while not event():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def lives(process: int) -> bool:
    """Whether a process, not necessarily a child, has not ended; one that nobody buries has."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def cpu_seconds() -> float:
    """CPU seconds of all finished child processes; a limit in them holds on a busy machine too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def start_sweep(*words: str | Path) -> "subprocess.Popen[str]":
    """`python -m harness.sweep …`, to be disturbed; leads a process group of its own."""
    command = [sys.executable, "-m", "harness.sweep", *map(str, words)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        cwd=PLUGIN,
        start_new_session=True,
        preexec_fn=_hears_interrupts,
    )


def _hears_interrupts() -> None:
    """A shell that runs the tests in the background has them ignore SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

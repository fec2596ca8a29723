"""What several test files share: a tiny data set, sweep files, and the command line as users start it."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by the libraries below: small arrays, idle threads spin

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parent.parent
PLUGIN = ROOT / "tests" / "plugin"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the cache of the person who runs it."""
    os.environ["LADDER_CACHE"] = str(tmp_path_factory.mktemp("cache"))


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


def sweep(*words: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """`python -m harness.sweep …`, to its end."""
    command = [sys.executable, "-m", "harness.sweep", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=timeout, cwd=PLUGIN, check=False
    )


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
    )

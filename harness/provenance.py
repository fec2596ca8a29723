"""Where and with what a trial ran."""

import json
import os
import platform
import socket
import subprocess
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import harness
from harness import gpu

PACKAGES = (
    "numpy", "scipy", "torch", "torchvision", "timm", "open_clip_torch", "faiss-cpu", "pillow",
    "albumentations", "opencv-python-headless", "pandas", "ray", "anomalib", "lightning",
)  # fmt: skip


# once per process: `git status` takes longer than a small trial
@lru_cache(maxsize=1)
def software() -> dict[str, Any]:
    """Versions, commit and host, in the columns of the trials table."""
    versions = {"ladder": harness.__version__, "python": platform.python_version()}
    versions |= {name: v for name in PACKAGES if (v := _version(name))}
    commit, dirty = _git()
    return {
        "versions": json.dumps(versions),
        "git_commit": commit,
        "git_dirty": dirty,
        "host": socket.gethostname(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git() -> tuple[str | None, bool | None]:
    """Commit and dirtiness of the checkout that the code runs from; nothing if it is not a checkout."""
    root = Path(harness.__file__).parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _run(root, "rev-parse", "HEAD")
        # untracked files are mostly results and data
        return commit, bool(_run(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _run(root: Path, *words: str) -> str:
    done = subprocess.run(
        # ten seconds: a network disk may hang, and provenance is not worth waiting for
        ["git", "-C", str(root), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def reset_peaks() -> None:
    """Begin to measure peak memory anew."""
    with suppress(OSError):  # not Linux: the peak of the whole process is reported
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from the current size
    gpu.reset_peak()


def peaks() -> dict[str, float | None]:
    """Peak memory since `reset_peaks`, in MiB."""
    return {"peak_rss_mib": _peak_rss_mib(), "peak_gpu_mib": gpu.peak_mib()}


def _peak_rss_mib() -> float | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next((x for x in status.splitlines() if x.startswith("VmHWM")), None)
    # the kernel counts in KiB
    return float(line.split()[1]) / 1024 if line else None


def gpu_name() -> str | None:
    """Name of the GPU in use, if torch has been used on one."""
    cuda = gpu.cuda()
    return cuda.get_device_name() if cuda else None


def thread_count(cpus: float) -> int:
    """Threads that `cpus` cores allow, at least one."""
    # rounded down: half a core is one thread, one and a half are too
    return max(1, min(int(cpus), os.cpu_count() or 1))

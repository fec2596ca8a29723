"""What an exception inside a trial means: of the trial, of memory, or of the device; and who is to blame.

Only what the trial itself is to blame for is `failed`. Where memory ran out it may do better beside other
neighbours (`oom`); where the device has a fault nothing else can run in this process, and the trial gets
another one (`crashed`). What comes of the node alone is no result of the trial at all (`lost`): another node
runs it.
"""

import importlib.util
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from harness import gpu
from harness.errors import NeedNotMet, NotAsPlanned
from harness.trial import Status

# By words, not by class: torch is not imported for it, and cuDNN, cuBLAS and faiss raise plain RuntimeErrors.
MEMORY = (
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "device_allocation_failed",
    "cannot allocate memory",
    "defaultcpuallocator",
)
# cuDNN passes over every algorithm that finds no room for its workspace, and then has none left
NO_ENGINE = "unable to find an engine"
DEVICE = (
    "cuda error",
    "cuda driver error",
    "cuda unknown error",
    "no cuda gpus are available",
    "cudnn_status_execution_failed",
    "cudnn_status_mapping_error",
    "cudnn_status_internal_error",
    "cublas_status_execution_failed",
    "cublas_status_not_initialized",
    "cublas_status_internal_error",
    "uncorrectable ecc",
)
# What only a machine can have. An illegal access or a failed launch is not here: a kernel of a method may
# do that anywhere.
BROKEN = (
    "uncorrectable ecc",
    "ecc error",
    "fallen off the bus",
    "nvrm: xid",
    "hardware error",
    "no cuda gpus are available",
    "no cuda-capable device",
    "found no nvidia driver",
    "driver/library version mismatch",
    "cuda driver version is insufficient",
    "cuda unknown error",
    "system not yet initialized",
    "no space left on device",
    "read-only file system",
    "disk quota exceeded",
    "input/output error",
    "stale file handle",
    "transport endpoint is not connected",
)
MODULE = re.compile(r"No module named '([\w.]+)'")
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # Ray paints the tracebacks that it passes on
SPOILT = (Status.FAILED, Status.CRASHED, Status.LOST)  # statuses behind which a node may stand
REFUSED = "NodeRefused"  # error type of a trial that a node must not run (`sweeps.handshake`)


class Blame(StrEnum):
    """Whose fault it is that a trial has no result."""

    NODE = "node"
    TRIAL = "trial"


def status_of(error: BaseException) -> Status:
    """The status of the row of a trial that ended in `error`."""
    if isinstance(error, NeedNotMet):
        return Status.SKIPPED
    words = str(error).lower()
    kind = type(error).__name__
    if kind in ("OutOfMemoryError", "MemoryError") or any(word in words for word in MEMORY):
        return Status.OOM
    if NO_ENGINE in words and gpu.short_of_memory():
        return Status.OOM
    # a fault may show itself first in words that nobody has seen; then the device says so itself
    if any(word in words for word in DEVICE) or not gpu.usable():
        return Status.CRASHED
    return Status.FAILED


def blame(ended: BaseException | Mapping[str, Any], has: Callable[[str], bool] | None = None) -> Blame:
    """Whether the node or the trial is to blame.

    Args:
        ended: an exception, or the row of a trial; rows that are fine, out of memory or out of time never
            speak against a node.
        has: whether a package is there in the process that planned the trial: one that is lacking there
            too is lacking everywhere. By default this process.
    """
    if isinstance(ended, BaseException):
        kind, words = type(ended).__name__, str(ended)
    elif ended["status"] in SPOILT:
        kind, words = ended.get("error_type") or "", ended.get("reason") or ""
    else:
        return Blame.TRIAL
    lacking = MODULE.search(words)
    if lacking:
        return Blame.NODE if (has or _here)(lacking[1].partition(".")[0]) else Blame.TRIAL
    guilty = kind in (REFUSED, NotAsPlanned.__name__) or any(word in words.lower() for word in BROKEN)
    return Blame.NODE if guilty else Blame.TRIAL


def _here(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def uncoloured(text: str) -> str:
    """A text without the codes that colour it on a terminal."""
    return COLOURS.sub("", text)

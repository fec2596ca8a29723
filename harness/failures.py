"""What an exception inside a trial means: of the trial, of memory, or of the device.

Only what the trial itself is to blame for is `failed`. Where memory ran out it may do better beside other
neighbours (`oom`); where the device has a fault nothing else can run in this process, and the trial gets
another one (`crashed`).
"""

from harness import gpu
from harness.errors import NeedNotMet
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

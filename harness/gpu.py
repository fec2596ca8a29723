"""The GPU of this process, asked only where torch has begun to use one: to import torch, or to ask more of
one that has not, would take two seconds and half a gigabyte of a card that others want.
"""

import gc
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import Any

MIB = 1 << 20
SHORT = 0.1  # of a card's memory that is free: below, "no engine found" means that none had room
CONTEXT_MIB = 600  # of the libraries and kernels of one process, which torch does not count
SMI_SECONDS = 10

_beside = 0.0  # MiB that the process held outside torch's allocator, the most that was seen


def cuda() -> Any:
    """torch.cuda if this process uses a GPU, else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch and torch.cuda.is_initialized() else None


def reset_peak() -> None:
    """Begin to measure peak memory anew."""
    global _beside
    _beside = 0.0
    if found := cuda():
        found.reset_peak_memory_stats()


def note() -> None:
    """Look at what the process holds beside torch's tensors (CUDA itself); at the end of a phase."""
    global _beside
    if found := cuda():
        held = _held_mib()
        if held is not None:
            _beside = max(_beside, held - found.memory_reserved() / MIB)


def peak_mib() -> float | None:
    """What the process needed of its card at most since `reset_peak`, in MiB; None without a GPU.

    Reserved by torch's allocator at its peak (blocks that lie free in it are nobody else's), and what the
    driver says that the process holds beside; where the driver does not say, a usual context.
    """
    found = cuda()
    if found is None:
        return None
    return found.max_memory_reserved() / MIB + (_beside or CONTEXT_MIB)


def _held_mib() -> float | None:
    """What the driver says that this process holds; None where it does not know it (other pid namespace)."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return None
    command = [smi, "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=SMI_SECONDS, check=True)
        pairs = [line.split(",") for line in done.stdout.splitlines() if line.count(",") == 1]
        mine = [
            float(used) for pid, used in pairs if pid.strip() == str(os.getpid()) and used.strip().isdigit()
        ]
        return sum(mine) if mine else None
    return None


def fence(share: float) -> None:
    """Keep torch of this process within its share of the card.

    Ray counts shares and enforces none: without the fence a trial that is too big takes the memory of its
    neighbours, and they fail.
    """
    torch = sys.modules.get("torch")
    if torch and share < 1 and torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory / MIB
        torch.cuda.set_per_process_memory_fraction(max(share - CONTEXT_MIB / total, 0.01), 0)


def release() -> None:
    """Give back what a trial has left on the card: a warm process keeps its greatest pool otherwise."""
    if found := cuda():
        gc.collect()  # cycles through frames and modules hold tensors until somebody looks
        with suppress(RuntimeError):  # of a card that is broken: the next use will say so
            found.empty_cache()


def short_of_memory() -> bool:
    """Whether the card is nearly full."""
    found = cuda()
    if found is None:
        return False
    try:
        free, total = found.mem_get_info()
    except RuntimeError:
        return False
    return free < SHORT * total


def usable() -> bool:
    """Whether the GPU of this process still computes; true without one."""
    found = cuda()
    if found is None:
        return True
    torch: Any = sys.modules["torch"]
    try:
        return torch.zeros(1, device="cuda").item() == 0
    except RuntimeError:
        return False

"""What the errors of a GPU are taken for, which cards count, and what a training leaves behind."""

import gc
import socket
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import gpu
from harness.errors import NeedNotMet
from harness.failures import status_of
from harness.trial import Status
from sweeps.doctor.numerics import fault_of
from sweeps.worker import _cards, gpus_here


class Card:
    """torch.cuda of a process that uses a card, as far as it is asked."""

    def __init__(self, free: float = 0.5, held: float = 3000.0):
        self.free, self.held, self.emptied, self.fraction = free, held, 0, None

    def is_initialized(self) -> bool:
        return True

    is_available = is_initialized

    def mem_get_info(self) -> tuple[int, int]:
        return int(self.free * 80e9), int(80e9)

    def max_memory_reserved(self) -> int:
        return 2048 << 20

    def memory_reserved(self) -> int:
        return 1024 << 20

    def reset_peak_memory_stats(self) -> None:
        pass

    def empty_cache(self) -> None:
        self.emptied += 1

    def get_device_properties(self, number: int) -> Any:
        return SimpleNamespace(total_memory=80_000 << 20)

    def set_per_process_memory_fraction(self, fraction: float, number: int) -> None:
        self.fraction = fraction


class Zeros:
    def item(self) -> int:
        return 0


def use(card: Card, monkeypatch: pytest.MonkeyPatch, works: bool = True) -> None:
    def zeros(*size: int, device: str) -> Zeros:
        if works:
            return Zeros()
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=card, zeros=zeros))


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", Status.OOM),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", Status.OOM),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", Status.OOM),
        ("Error in faiss: cudaMalloc error out of memory [2]", Status.OOM),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", Status.CRASHED),
        ("cuDNN error: CUDNN_STATUS_MAPPING_ERROR", Status.CRASHED),
        ("No CUDA GPUs are available", Status.CRASHED),
        ("CUDA error: an illegal memory access was encountered", Status.CRASHED),
        ("CUDA driver error: unknown error", Status.CRASHED),
        ("mat1 and mat2 shapes cannot be multiplied", Status.FAILED),
        ("", Status.FAILED),
    ],
)
def test_words_of_libraries(words: str, status: Status):
    assert status_of(RuntimeError(words)) == status


def test_classes():
    assert status_of(MemoryError()) == Status.OOM
    assert status_of(NeedNotMet("no masks")) == Status.SKIPPED


def test_no_engine_is_memory_on_a_full_card_alone(monkeypatch: pytest.MonkeyPatch):
    error = RuntimeError("FIND was unable to find an engine to execute this computation")
    use(Card(free=0.02), monkeypatch)
    assert status_of(error) == Status.OOM
    use(Card(free=0.9), monkeypatch)
    assert status_of(error) == Status.FAILED


def test_a_fault_in_unknown_words_is_found_by_using_the_card(monkeypatch: pytest.MonkeyPatch):
    use(Card(), monkeypatch, works=False)
    assert status_of(ValueError("something else")) == Status.CRASHED


def test_peak_is_what_the_process_held(monkeypatch: pytest.MonkeyPatch):
    use(Card(), monkeypatch)
    monkeypatch.setattr(gpu, "_held_mib", lambda: 3000.0)
    gpu.reset_peak()
    gpu.note()
    assert gpu.peak_mib() == 2048 + (3000 - 1024)  # its greatest pool, and what lay beside the present one
    monkeypatch.setattr(gpu, "_held_mib", lambda: None)
    gpu.reset_peak()
    gpu.note()
    assert gpu.peak_mib() == 2048 + gpu.CONTEXT_MIB


def test_fence_and_release(monkeypatch: pytest.MonkeyPatch):
    card = Card()
    use(card, monkeypatch)
    gpu.fence(0.25)
    assert card.fraction == pytest.approx(0.25 - gpu.CONTEXT_MIB / 80_000)
    gpu.release()
    assert card.emptied == 1


def test_without_a_card_nothing_is_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    gpu.fence(0.5)
    gpu.release()
    assert gpu.peak_mib() is None and gpu.usable() and not gpu.short_of_memory()


@pytest.mark.parametrize(
    ("files", "visible", "number"),
    [
        ([], None, 0),
        (["dev/nvidia0", "dev/nvidia1", "dev/nvidiactl"], None, 2),
        (["dev/nvidia0", "dev/nvidia1"], "1", 1),
        (["dev/nvidia0", "dev/nvidia1"], "", 0),
        (["dev/nvidia0", "dev/nvidia1"], "1,-1,0", 1),
        (["dev/nvidia0"], "MIG-ab,MIG-cd", 2),
        (["proc/driver/nvidia/gpus/a", "proc/driver/nvidia/gpus/b", "dev/nvidia1"], None, 1),
        (["proc/driver/nvidia/gpus/a"], None, 1),
        (["dev/dxg"], None, 1),
        ([], "0", 0),
    ],
)
def test_cards_that_count(
    files: list[str], visible: str | None, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("sweeps.worker._cards", lambda: _cards(tmp_path))
    assert gpus_here() == number


def test_a_card_that_is_not_there_is_one_sentence():
    said, mend = fault_of("cuda:0") or ("", "")
    assert said.startswith("cuda:0 cannot be used") and mend


def test_a_finished_training_is_freed_at_once(tmp_path: Path):
    """By reference counts alone: a cycle would keep it on a card until Python happens to look."""
    import numpy as np

    from harness.data import FitData, ImageSet
    from harness.method import Context
    from methods.efficientad import EfficientAD
    from methods.efficientad.stepper import Stepper

    images = ImageSet.of_arrays([np.zeros((64, 64, 3), np.uint8)])
    method = EfficientAD(Context(), weights="demo", image_size=64, steps=2)
    stepper = Stepper([method._task(FitData(images))])
    stepper.take(0)
    members = weakref.ref(stepper.members)
    gc.disable()
    try:
        del stepper
        assert members() is None
    finally:
        gc.enable()


def test_failures_are_told_by_cause():
    from sweeps.progress import failure_lines

    page, pointer = "a.pth: a saved web page", "a.pth: a Git-LFS pointer of 72 bytes"
    reasons = [page, pointer, "training diverged at step 7", "training diverged at step 19", page]
    rows = [
        {
            "status": "failed",
            "error_type": "WeightsError",
            "method": "m",
            "reason": reason,
            "trial_id": str(i),
        }
        for i, reason in enumerate(reasons)
    ]
    lines = failure_lines(rows)
    assert [line.partition(" [")[0] for line in lines] == [
        "2 × failed m (WeightsError): a.pth: a saved web page ",
        "2 × failed m (WeightsError): training diverged at step 7 ",
        "1 × failed m (WeightsError): a.pth: a Git-LFS pointer of 72 bytes ",
    ]


def test_failures_on_other_machines_name_them():
    from sweeps.progress import failure_lines

    row = {"status": "crashed", "error_type": None, "method": "m", "reason": "died", "trial_id": "t"}
    rows = [row | {"host": host} for host in ("n2", "n1", "n2", "n3", "n4")]
    assert failure_lines(rows) == ["5 × crashed m: died, on n2 (2), n1 (1), n3 (1) and 1 more  [e.g. t]"]
    assert failure_lines([row | {"host": "n1"}]) == ["1 × crashed m: died, on n1  [e.g. t]"]
    assert failure_lines([row | {"host": socket.gethostname()}]) == ["1 × crashed m: died  [e.g. t]"]

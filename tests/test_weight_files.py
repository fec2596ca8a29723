"""Files of weights as people have them: taken where a table of tensors can be found, else named in words."""

import argparse
import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from harness.errors import WeightsError
from methods.shared.checkpoints import read
from methods.shared.training.pdn import pdn_from, pdn_small, shape_of
from methods.shared.weight_files import shapes_of, unwrapped
from methods.shared.weights import find

NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2)))
STATE = NET.state_dict()
KEYS = set(STATE)


class Told:
    """Does something when it is unpickled by ordinary means."""

    def __reduce__(self):
        return (exec, ("import pathlib; pathlib.Path('harm').write_text('done')",))


def saved(path: Path, content: object, **options: object) -> Path:
    torch.save(content, path, **options)
    return path


TAKEN: dict[str, Callable[[Path], Path]] = {
    "plain": lambda f: saved(f / "w.pth", STATE),
    "legacy": lambda f: saved(f / "w.pth", STATE, _use_new_zipfile_serialization=False),
    "parameters": lambda f: saved(f / "w.pth", dict(NET.named_parameters()) | dict(NET.named_buffers())),
    "half": lambda f: saved(f / "w.pth", {k: v.half() for k, v in STATE.items()}),
    "beside arguments and NumPy numbers": lambda f: saved(
        f / "w.pth",
        {"state_dict": STATE, "args": argparse.Namespace(lr=1), "best": np.float64(0.9), "at": Path("/x")},
    ),
    "among arguments": lambda f: saved(f / "w.pth", {**STATE, "args": argparse.Namespace(lr=1), "epoch": 3}),
    "under a name of its own": lambda f: saved(f / "w.pth", {"net": STATE, "optimizer": {"lr": 1}}),
    "a module pickled whole": lambda f: saved(f / "w.pth", NET),
    "a module pickled whole, legacy": lambda f: saved(f / "w.pt", NET, _use_new_zipfile_serialization=False),
    "a module in a dictionary": lambda f: saved(f / "w.pth", {"model": NET, "epoch": 1}),
    "beside something that runs": lambda f: saved(f / "w.pth", {"state_dict": STATE, "more": Told()}),
}


def lfs(folder: Path) -> Path:
    path = folder / "w.pth"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 132863336\n")
    return path


def page(folder: Path) -> Path:
    path = folder / "w.safetensors"
    path.write_text("\n<!DOCTYPE html><html><body>Sign in</body></html>")
    return path


def script(folder: Path) -> Path:
    path = folder / "w.pt"
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), str(path))
    return path


def cut(path: Path, keep: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def tensors(folder: Path) -> Path:
    path = folder / "w.safetensors"
    save_file(dict(STATE), path)
    return path


def zipped(folder: Path) -> Path:
    path = folder / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return path


def written(folder: Path, content: bytes, name: str = "w.pth") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "pointer": (lfs, "a Git-LFS pointer of 72 bytes.*git lfs pull"),
    "page": (page, "a saved web page"),
    "program": (script, r"TorchScript program.*torch\.jit\.load\('"),
    "empty": (lambda f: written(f, b""), "is empty"),
    "packed": (lambda f: written(f, b"\x1f\x8b\x08rest"), "a compressed archive; unpack it"),
    "cut archive": (lambda f: cut(saved(f / "w.pth", STATE)), "cut off"),
    "cut tensors": (lambda f: cut(tensors(f), 0.9), r"cut off or added to: \d+ bytes"),
    "cut header": (lambda f: cut(tensors(f), 0.05), "cut off"),
    "other archive": (zipped, r"a zip archive that torch\.save did not write"),
    "other pickle": (lambda f: written(f, pickle.dumps({"a": 1})), "a pickle that torch.save did not"),
    "noise": (lambda f: written(f, bytes(range(256)) * 9), "no file of weights, or damaged"),
    "noise as tensors": (lambda f: written(f, bytes(range(256)), "w.safetensors"), "no safetensors file"),
    "no table": (lambda f: saved(f / "w.pth", {"epoch": 3}), "holds no table of tensors"),
    "a tensor alone": (lambda f: saved(f / "w.pth", torch.zeros(2)), "holds no table of tensors"),
    "several tables": (
        lambda f: saved(f / "w.pth", {"student": STATE, "teacher": STATE}),
        r"several tables \('student', 'teacher'\); keep one: torch\.save\(torch\.load\(FILE\)\['student'\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TAKEN)
def test_tables_are_found(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    path = TAKEN[what](tmp_path)
    known, found = shapes_of(path), read(path)
    assert known is not None and set(known) == set(found) == KEYS
    for key, value in STATE.items():
        assert tuple(known[key]) == tuple(value.shape)
        assert torch.allclose(found[key].float(), value.float(), atol=1e-3)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("what", REFUSED)
def test_other_files_are_named_before_anything_starts(what: str, tmp_path: Path):
    make, message = REFUSED[what]
    path = make(tmp_path)
    for attempt in (lambda: find("test_resnet", str(path)), lambda: read(path)):
        with pytest.raises(WeightsError, match=message) as caught:
            attempt()
        assert str(path) in str(caught.value)
        assert "weights_only" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_damage_never_ends_in_anything_but_our_error(tmp_path: Path):
    """Every byte of the head and many of the rest, changed."""
    whole = io.BytesIO()
    torch.save(STATE, whole, _use_new_zipfile_serialization=False)
    content = whole.getvalue()
    rng = np.random.default_rng(0)
    for place in [*range(0, 300, 3), *rng.integers(0, len(content), 150)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path = written(tmp_path, bytes(damaged), f"{place}.pth")
        try:
            shapes_of(path)
        except WeightsError:
            continue


def test_prefixes_of_wrappers_go_only_where_the_keys_fit_without_them():
    own = {"conv.weight", "model.bias"}
    assert unwrapped({"model.conv.weight": 1, "criterion.weight": 2}, {"conv.weight"}) == {"conv.weight": 1}
    assert unwrapped({"module.model.conv.weight": 1}, {"conv.weight"}) == {"conv.weight": 1}
    kept = {"conv.weight": 1, "model.bias": 2}
    assert unwrapped(kept, own) == kept
    strange = {"model.other": 1}
    assert unwrapped(strange, {"conv.weight"}) == strange


def test_a_published_teacher_is_taken_from_a_module_pickled_whole(tmp_path: Path):
    teacher = pdn_small(8, (4, 5, 6))
    found = read(saved(tmp_path / "teacher_final.pth", teacher))
    again = pdn_from({f"model.{key}": value for key, value in found.items()})
    assert shape_of(found).widths == (4, 5, 6)
    for key, value in teacher.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


def test_no_torch_is_needed_to_look(tmp_path: Path):
    path = saved(tmp_path / "w.pth", NET)
    code = "import sys; from pathlib import Path; from methods.shared.weight_files import shapes_of\n"
    code += f"assert len(shapes_of(Path({str(path)!r}))) == {len(KEYS)} and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

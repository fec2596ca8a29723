"""Training states: what is done with a damaged one, what becomes of them after a trial; and notes."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from harness.data import FitData, ImageSet
from harness.errors import HarnessError
from harness.method import Card, Context, Scores
from harness.notes import Note, note, noted
from harness.results import read_run
from harness.sweep import main
from harness.trial import TrialResult
from methods import METHODS
from methods.shared.training.states import DAMAGED, keep, restored
from methods.shared.training.steps import Plan, steps
from sweeps.together import Together

Write = Callable[..., Path]


def in_a_tensor(path: Path) -> None:
    content = path.read_bytes()
    weight = torch.load(path, weights_only=True)["layer"]["weight"].numpy().tobytes()
    at = content.index(weight)
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        change(content)
        keep(content, path)

    return damage


def other_moments(content: dict[str, Any]) -> None:
    content["optimiser"]["state"][0]["exp_avg"] = torch.zeros(7, 3)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "random": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "one bit": in_a_tensor,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "another shape": changed(lambda c: c["layer"].update(weight=torch.zeros(2, 3))),
    "another key": changed(lambda c: c["layer"].update(scale=torch.zeros(1))),
    "no step": changed(lambda c: c.pop("step")),
    "beyond the end": changed(lambda c: c.update(step=11)),
    "no optimiser": changed(lambda c: c.pop("optimiser")),
    "another optimiser": changed(other_moments),
}


def trained(state: Path | None, taken: list[int], stop: int = 99) -> torch.Tensor:
    """A layer after ten steps; the state is written after every second one."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 1)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1.0)
    for step in steps(Plan(10, 0.1, every=2), {"layer": layer}, optimiser, state):
        if step == stop:
            break
        taken.append(step)
        optimiser.zero_grad()
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        layer(x).square().mean().backward()
        optimiser.step()
    return layer.weight.detach().clone()


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_state_is_set_aside_and_the_training_starts_again(tmp_path: Path, kind: str):
    whole, state, taken = trained(None, []), tmp_path / "state.pt", list[int]()
    for _ in range(2):  # what was set aside before makes room
        trained(state, [], stop=7)
        DAMAGE[kind](state)
        damaged = state.read_bytes() if state.is_file() else None
        taken.clear()
        with pytest.warns(
            Note, match=r"state\.pt: no state to go on from \(.+\); set aside as state\.pt\.dam"
        ):
            assert torch.equal(trained(state, taken), whole)
        assert taken == list(range(10))
        aside = tmp_path / f"state.pt{DAMAGED}"
        assert aside.is_dir() if damaged is None else aside.read_bytes() == damaged
        assert torch.equal(trained(state, taken), whole)
        assert taken == list(range(10))  # the new state is a good one
        state.unlink()


def test_a_good_state_is_gone_on_from_in_silence(tmp_path: Path):
    taken: list[int] = []
    trained(tmp_path / "state.pt", taken, stop=7)
    assert torch.equal(trained(tmp_path / "state.pt", taken), trained(None, []))
    assert taken == [*range(7), *range(6, 10)]


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_a_machine_without_memory_is_no_damaged_state(tmp_path: Path, error: Exception):
    keep({"step": 1}, tmp_path / "state.pt")

    def take(content: Any) -> None:
        raise error

    with pytest.raises(type(error)):
        restored(tmp_path / "state.pt", take)
    assert restored(tmp_path / "state.pt", lambda content: content["step"]) == 1
    assert restored(tmp_path / "none.pt", take) is restored(None, take) is None


def test_what_cannot_be_set_aside_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "state.pt").write_bytes(b"")

    def refused(*names: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.replace", refused)
    with pytest.raises(
        HarnessError, match=r"state\.pt: File is not a zip file; and it cannot be set aside: R"
    ):
        restored(tmp_path / "state.pt", lambda content: content)


# Notes


def test_notes_are_collected_and_other_warnings_left_alone():
    with pytest.warns(UserWarning, match="mine") as others, noted() as found:
        for _ in range(2):
            note("again")
        warnings.warn("mine", UserWarning, stacklevel=1)
    assert found == ["again", "again"]
    assert [str(w.message) for w in others] == ["mine"]
    with pytest.warns(Note, match="alone"):
        note("alone")


def test_every_row_of_a_stack_bears_its_notes():
    shared = Together(2, 1.0, notes=("of all",))
    assert shared.told(TrialResult({"notes": ["own"]})).trial["notes"] == ["of all", "own"]
    assert shared.told(TrialResult({})).trial["notes"] == ["of all"]
    assert Together(2, 1.0).told(TrialResult({"notes": ["own"]})).trial["notes"] == ["own"]


# What becomes of states


@dataclass
class Remembering:
    """Leaves a state, a folder and a curve; fails while `broken` exists."""

    card: ClassVar[Card] = Card(title="Remembering", summary="Keeps states.", licence="Apache-2.0")
    context: Context
    broken: str = "none"

    def fit(self, data: FitData) -> "Remembering":
        scratch = self.context.scratch
        assert scratch is not None
        if (scratch / "state.pt").is_file():
            note("went on")
        (scratch / "more").mkdir(parents=True, exist_ok=True)
        for name in ("state.pt", "more/state.pt", "state.pt.damaged", "losses.csv"):
            (scratch / name).write_text("step")
        if Path(self.broken).exists():
            raise HarnessError("broken")
        return self

    def score(self, images: ImageSet) -> Scores:
        return Scores(np.array([float(image.mean()) for image in images]))


@pytest.fixture
def run(sweep_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    monkeypatch.setitem(METHODS._table, "remembering", "test_states:Remembering")
    method = {"name": "remembering", "params": {"broken": str(tmp_path / "broken")}}
    path = sweep_file(methods=[method], categories=["cap"])
    yield lambda *words: main([str(path), "--backend", "serial", *words])


def left(tmp_path: Path) -> set[str]:
    (folder,) = (tmp_path / "run" / "scratch").iterdir()
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_states_stay_until_their_trial_is_ok(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "broken").touch()
    assert run() == 1
    assert "state.pt" in left(tmp_path)
    (tmp_path / "broken").unlink()
    assert run("--retry", "failed") == 0
    assert left(tmp_path) == {"losses.csv"}
    assert list(read_run(tmp_path / "run").trials["notes"].iloc[0]) == ["went on"]
    assert "note: went on" in capsys.readouterr().out


def test_states_are_kept_where_that_is_asked_for_and_go_when_it_no_longer_is(
    run: Callable[..., int], tmp_path: Path
):
    assert run("keep_checkpoints=true") == 0
    every = {"state.pt", "more/state.pt", "state.pt.damaged", "losses.csv"}
    assert left(tmp_path) == every
    assert run("keep_checkpoints=true") == 0
    assert left(tmp_path) == every
    assert run() == 0  # nothing to run; what an older version or a killed process left goes as well
    assert left(tmp_path) == {"losses.csv"}

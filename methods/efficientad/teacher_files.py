"""What decides a distilled teacher, and the files in which it is made: weights, card, state to go on from."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from harness.data.digest import file_digest
from harness.errors import ConfigError
from harness.whole import whole
from methods.shared.training import pdn
from methods.shared.training.distillation import Moments, Precision
from methods.shared.training.states import keep, restored, set_aside

STUDENTS = {"S": pdn.pdn_small, "M": pdn.pdn_medium}


@dataclass(frozen=True)
class TeacherSpec:
    """Everything that decides a teacher's weights, on one kind of device with one number of threads.

    Attributes:
        backbone, weights, layers: the large network, sha256 of its weights, the modules it is read at.
        images: sha256 of the images' names and sizes in bytes.
        size, maps: which PDN.
        image_size: side of the pictures that the large network sees; the PDN sees half of it.
        steps, batch, rate, schedule, seed, precision: of the training.
    """

    backbone: str
    weights: str
    layers: tuple[str, ...]
    images: str
    size: str
    maps: int
    image_size: int
    steps: int
    batch: int
    rate: float
    schedule: str
    seed: int
    precision: Precision

    def differences(self, card: Path) -> list[str]:
        """Names of what a card's recipe has otherwise; all of them if there is no card that can be read."""
        kept = recipe_in(card) or {}
        return [k for k, v in json.loads(json.dumps(asdict(self))).items() if kept.get(k) != v]

    def student(self) -> nn.Module:
        """The PDN before its training."""
        torch.manual_seed(self.seed)
        return STUDENTS[self.size](self.maps, padding=True)


def recipe_in(card: Path) -> dict[str, Any] | None:
    """The recipe that a card names; None if the file is not there or cannot be read."""
    try:
        return dict(json.loads(card.read_bytes())["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Files:
    """Where a teacher, its card and what is needed to go on lie.

    Args:
        out: the file of weights.

    Raises:
        ConfigError: the name has a wrong ending, or its folder cannot be written.
    """

    def __init__(self, out: Path) -> None:
        if out.suffix != ".safetensors":
            raise ConfigError(f"--out {out}: the name has to end in .safetensors")
        self.out, self.card = out, out.with_suffix(".json")
        self.work = out.with_name(out.name + ".work")
        self.settings, self.state = self.work / "recipe.json", self.work / "state.pt"
        self.moments = self.work / "moments.pt"
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--out {out}: {error.strerror}") from error
        if not os.access(out.parent, os.W_OK):
            raise ConfigError(f"--out {out}: the folder cannot be written")

    def finished(self, recipe: TeacherSpec) -> bool:
        """Whether this very teacher is there.

        Raises:
            ConfigError: another teacher is there, or the beginning of another one.
        """
        if self.out.exists() and (differing := recipe.differences(self.card)):
            what = f"is of another recipe ({', '.join(differing)})"
            what = what if recipe_in(self.card) else f"its card {self.card} cannot be read"
            raise ConfigError(f"--out {self.out}: exists and {what}")
        if self._begun() and (differing := recipe.differences(self.settings)):
            raise ConfigError(
                f"{self.work}: a run of another recipe was stopped here ({', '.join(differing)} differ); "
                "go on with that one, remove the folder, or choose another --out"
            )
        return self.out.exists()

    def _begun(self) -> bool:
        """Whether a run was stopped here; a state that does not say of which recipe it is is of no use."""
        if self.settings.exists() and recipe_in(self.settings) is None:
            set_aside(self.work, f"{self.settings.name} cannot be read")
        return self.settings.exists()

    def begin(self, recipe: TeacherSpec) -> None:
        """Remember what is being made."""
        self.work.mkdir(exist_ok=True)
        _write(self.settings, lambda path: path.write_text(json.dumps({"recipe": asdict(recipe)})))

    def moments_of(self, calibrated: Callable[[], Moments], device: str) -> Moments:
        """Mean and deviation of the target, taken once."""
        found = restored(self.moments, lambda content: Moments(**content))
        if found is None:
            found = calibrated()
            keep({k: v.cpu() for k, v in found._asdict().items()}, self.moments)
        return Moments(*(m.to(device) for m in found))

    def finish(self, student: nn.Module, card: dict[str, Any]) -> None:
        """Write weights and card; forget what was needed to go on."""
        weights = self.work / self.out.name
        save_file({k: v.detach().cpu().contiguous() for k, v in student.state_dict().items()}, weights)
        card = {"file": self.out.name, "sha256": file_digest(weights), **card}
        _write(self.card, lambda path: path.write_text(json.dumps(card, indent=2) + "\n"))
        weights.replace(self.out)
        shutil.rmtree(self.work)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    with whole(path) as partial:
        write(partial)

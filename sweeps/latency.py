"""The methods whose latency is asked for: those of a sweep file, or that of a recorded trial, fitted anew."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL import Image

from harness.config import load
from harness.data import Split, decode
from harness.errors import ConfigError, NeedNotMet
from harness.inspection.latency import DRAWN, Picture, Timing, drawn, failed, measure
from harness.method import Context
from harness.run import fit_data
from harness.seeding import seeded
from harness.source import Source, recorded_split
from methods import METHODS
from sweeps.expand import expand
from sweeps.problems import CHECKS, kinds
from sweeps.worker import gpus_here, threads


@final
@dataclass(frozen=True)
class Asked:
    """How it is measured.

    Attributes:
        device: "cpu" or "cuda".
        cpus: threads of numeric libraries.
        sizes: (height, width) of the images.
        warmup, timed: images at each of them.
        real: test images, resized, instead of noise.
    """

    device: str
    cpus: int
    sizes: tuple[tuple[int, int], ...]
    warmup: int
    timed: int
    real: bool = False


@final
@dataclass(frozen=True)
class Candidate:
    """A method on its support set; fields as in `trials/`."""

    method: str
    params: Mapping[str, Any]
    support: tuple[str, ...]
    run_seed: int
    validation: bool
    split: Split


def of_trial(config: Mapping[str, Any], trial: Mapping[str, Any]) -> Candidate:
    """The method of a recorded trial.

    Args:
        config: what the run was configured with (`sweep.json`).
        trial: its row, parameters decoded.

    Raises:
        DataError: its images are not there, or have changed.
    """
    split = recorded_split(config, trial["category"], trial["fingerprint"])
    seed, validation = trial["run_seed"] or 0, trial["n_validation"] != 0
    return Candidate(trial["method"], trial["params"], tuple(trial["support"]), seed, validation, split)


def of_config(path: Path, overrides: Sequence[str] = ()) -> list[Candidate]:
    """Every method of a sweep file with each of its settings, on the first category, shots and seed it has.

    Raises:
        ConfigError, NeedNotMet: the sweep file is wrong, or none of its methods can run.
    """
    config = load(path, overrides, CHECKS, kinds)
    source, found, reasons = Source.of(config.dataset), dict[str, Candidate](), dict[str, str]()
    splits: dict[str, Split] = {}
    for trial, _ in expand(config, path):
        setting = repr((trial.method, trial.params))
        if trial.reason:
            reasons[trial.method] = trial.reason
        elif setting not in found:
            split = splits.setdefault(trial.category, source.split(trial.category))
            found[setting] = Candidate(
                trial.method, trial.params, trial.support, trial.run_seed or 0, trial.validation, split
            )
    if not found:
        raise NeedNotMet("; ".join(f"{name}: {why}" for name, why in reasons.items()) or f"{path}: no trial")
    return list(found.values())


def timings(candidate: Candidate, asked: Asked) -> Iterator[Timing]:
    """Fit a method, and measure it at one size after the other; nothing of it is kept in a store.

    Where it cannot be fitted, that is what every size says.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    if asked.device == "cuda" and not gpus_here():
        raise ConfigError("--device cuda: no GPU here")
    device = "cuda:0" if asked.device == "cuda" else "cpu"
    # an artifact store would find what it has seen before, and that is not what an inspection line does
    context = Context(run_seed=candidate.run_seed, device=device)
    with threads(asked.cpus), seeded(candidate.run_seed):
        try:
            method = METHODS.load(candidate.method)(context, **candidate.params)
            method.fit(fit_data(candidate.support, candidate.split, candidate.validation))
        except Exception as error:  # noqa: BLE001 - of several methods the others are measured
            yield from (failed(size, error) for size in asked.sizes)
            return
        for size in asked.sizes:
            pictures = _real(candidate.split, size) if asked.real else drawn(size)
            yield measure(method, pictures, asked.warmup, asked.timed)


def _real(split: Split, size: tuple[int, int]) -> list[Picture]:
    """The first test images, resized to (height, width)."""
    pictures = [Image.fromarray(decode(s.path, s.rule)) for s in split.test[:DRAWN]]
    return [np.asarray(picture.resize((size[1], size[0]))) for picture in pictures]


def seen(candidate: Candidate, size: tuple[int, int]) -> str:
    """The size at which a method looks at an image of a size, as far as its card says it."""
    found = METHODS.load(candidate.method).card.sizes(candidate.params, size)
    return ", ".join(f"{crop or height}x{crop or width}" for height, width, crop in found)

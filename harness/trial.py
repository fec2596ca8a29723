"""One trial as pure data: what is run, what identifies it, and what comes of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, final

from harness.method import Asset, Read, Size

IDENTITY_VERSION = 1


class Status(StrEnum):
    """How a planned trial ended."""

    OK = "ok"
    FAILED = "failed"  # an exception inside the trial
    SKIPPED = "skipped"  # a need of the method is not met here
    TIMEOUT = "timeout"
    OOM = "oom"  # ended by the memory monitor, or out of GPU memory
    CRASHED = "crashed"  # the worker process died
    LOST = "lost"  # the node died, or is not fit to run it, or the driver lost it


@final
@dataclass(frozen=True, eq=False)
class Trial:
    """One method on one support set of one category.

    Attributes:
        method, method_version: which contestant.
        params: complete hyper-parameters, defaults filled in.
        dataset, category, fingerprint: which images; the fingerprint is the content.
        shots: size of the support set; None = all training images; 0 = the method ignores it.
        support: ids of the training images, in order of the draw.
        split_seed, run_seed: seeds of the draw and of the method; None = cannot change the numbers.
        assets: files whose content decides the numbers.
        paths: hyper-parameters that are paths, hence not part of the identity.
        marks: what tables must say of its numbers ("demo data", "unofficial split"); not identity.
        reason: why it is skipped, if the planner already knows; not identity.
        together: trials that have this in common can be trained as one (`Card.together`); not identity.
        sizes: at which it asks for images (`Card.sizes`); not identity.
        reads: what it reads of passes (`Card.reads`); not identity.
        images: how many it scores, for guesses of what it takes; the fingerprint knows which.
        protocols: under which the sweep asks for it, as tables call them; not identity.
        validation: whether the method is given the validation images; part of the identity where it is not.
        later: hyper-parameters that came after the version, each with the value at which it is no part of
            the identity (`Card.later`).
    """

    method: str
    method_version: int
    params: Mapping[str, Any]
    dataset: str
    category: str
    fingerprint: str
    shots: int | None
    support: tuple[str, ...]
    split_seed: int | None
    run_seed: int | None
    assets: tuple[Asset, ...] = ()
    paths: frozenset[str] = frozenset()
    marks: tuple[str, ...] = ()
    reason: str | None = None
    together: str | None = None
    sizes: tuple[Size, ...] = ()
    reads: tuple[Read, ...] = ()
    images: int = 0
    protocols: tuple[str, ...] = ()
    validation: bool = True
    later: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Everything that can change the numbers, and nothing else."""
        return {
            "identity_version": IDENTITY_VERSION,
            "method": self.method,
            "method_version": self.method_version,
            "params": {k: v for k, v in self.params.items() if not self._silent(k, v)},
            "dataset": self.dataset,
            "category": self.category,
            "fingerprint": self.fingerprint,
            "shots": self.shots,
            "support": _digest(self.support),
            "split_seed": self.split_seed,
            "run_seed": self.run_seed,
            "assets": sorted((a.name, a.sha256) for a in self.assets),
            # trials of earlier versions, which all had them, keep their ids
            **({} if self.validation else {"validation": False}),
        }

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits of the sha256 of `identity` in canonical JSON."""
        return _digest(self.identity)[:16]

    def _silent(self, name: str, value: Any) -> bool:
        """Whether a hyper-parameter is no part of the identity."""
        return name in self.paths or (name in self.later and self.later[name] == value)

    def __str__(self) -> str:
        shots = "full" if self.shots is None else f"{self.shots}-shot"
        seeds = f"split{_seed(self.split_seed)}-run{_seed(self.run_seed)}"
        return f"{self.method}/{self.dataset}/{self.category}/{shots}/{seeds}"


@final
@dataclass(frozen=True)
class TrialResult:
    """What came of a trial: rows of the three tables (see `harness.results`).

    Attributes:
        trial: its row of `trials/`.
        metrics: its rows of `metrics/`, without trial_id.
        scores: its rows of `scores/`, without trial_id.
        kept: kind ("maps", "views") -> content of the file of that kind (`harness.results.kept`).
    """

    trial: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...] = ()
    scores: tuple[Mapping[str, Any], ...] = ()
    kept: Mapping[str, bytes] = field(default_factory=dict)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _seed(seed: int | None) -> str:
    return "-" if seed is None else str(seed)

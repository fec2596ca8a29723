"""What a worker shows before its first trial, and what of it has to be as the sweep was planned with.

A sweep is planned in one process and computed in others, on nodes that may hold another version of Ladder,
other libraries, other weights, other data. What can change a number is a refusal, and the node gets no more
trials; what cannot is a note in the row.
"""

import hashlib
import importlib.util
import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, final

from harness import provenance
from harness.errors import HarnessError
from harness.failures import REFUSED, Blame, blame
from harness.method import Asset, Card
from harness.metrics import METRICS
from harness.rows import Job
from harness.run import ended
from harness.trial import Status, Trial, TrialResult
from methods import METHODS

# Kernels, decoders, samplers: another version of these is another number.
CHANGING = (
    "ladder", "numpy", "scipy", "torch", "torchvision", "timm", "open_clip_torch", "faiss", "pillow",
    "albumentations", "opencv-python-headless",
)  # fmt: skip
PRODUCTS = {"ladder": "ladder-bench"}  # what pip calls it, where that is another name
CODE = (".py", ".json", ".yaml", ".txt")  # files of a package that can change a number
# Of `harness`: front doors, and what stands behind them alone. No trial ever runs them.
DOORS = (
    "sweep.py", "list.py", "show.py", "status.py", "verify.py", "rescore.py", "maps.py", "doctor.py",
    "curate", "inspection", "checks",
)  # fmt: skip
DIGITS = 8  # of a hash, for people


@final
@dataclass(frozen=True)
class Shown:
    """What a process shows of itself; plain data.

    Attributes:
        host: where it runs.
        versions: package -> version; "ladder" and "python" among them.
        code: package -> sha256 of its files.
        methods, metrics: name -> version of its record.
        weights: name of an asset -> sha256 of its content.
    """

    host: str
    versions: Mapping[str, str]
    code: Mapping[str, str]
    methods: Mapping[str, int]
    metrics: Mapping[str, int]
    weights: Mapping[str, str] = field(default_factory=dict)


def shown(methods: Iterable[str], metrics: Sequence[str], assets: Iterable[Asset] = ()) -> Shown:
    """What this process has of what such trials need.

    Args:
        methods: names of methods that are to run.
        metrics: names of metrics.
        assets: files whose content decides the numbers, as found here.

    Raises:
        HarnessError: a method or a metric is not known here.
    """
    owners = {name: METHODS.load(name) for name in methods}
    rooms = ("harness", "methods.shared", "sweeps.worker", "sweeps.together")
    rooms = (*rooms, *(_room(owner.__module__) for owner in owners.values()))
    return Shown(
        host=socket.gethostname(),
        versions=_versions(),
        code={room: code_digest(room) for room in rooms},
        methods={name: owner.card.version for name, owner in owners.items()},
        metrics={name: METRICS.load(name).version for name in metrics},
        weights={asset.name: asset.sha256 for asset in assets},
    )


def _versions() -> Mapping[str, str]:
    versions: Mapping[str, str] = json.loads(provenance.software()["versions"])
    return {name.removesuffix("-cpu"): version for name, version in versions.items()}  # faiss


def _room(module: str) -> str:
    """The package whose files a method is made of."""
    words = module.split(".")
    return ".".join(words[:2]) if words[0] == "methods" else words[0]


@cache
def code_digest(module: str) -> str:
    """sha256 over names and contents of the files of a module or package, without the doors of `harness`."""
    spec = importlib.util.find_spec(module)
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    single = [(Path(spec.origin).name, Path(spec.origin))] if spec and spec.origin and not folders else []
    inside = [(path.relative_to(f).as_posix(), path) for f in folders for path in sorted(f.rglob("*"))]
    digest = hashlib.sha256()
    for name, path in (*single, *inside):
        door = module == "harness" and name.partition("/")[0] in DOORS
        if path.suffix in CODE and path.is_file() and not door:
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def compare(expected: Shown, theirs: Shown) -> tuple[list[str], list[str]]:
    """What differs between the process that planned a sweep and one that is to compute a part of it.

    Args:
        expected: of the planner.
        theirs: of the worker; only what it shows is compared.

    Returns:
        Problems, which can change numbers, each with what mends it; and notes, which cannot.
    """
    problems, notes = [], []
    for name, ours in expected.versions.items():
        their = theirs.versions.get(name)
        if their != ours:
            sentence = f"{name} is {their or 'not there'}, planned with {ours}"
            if name in CHANGING and _release(their) != _release(ours):
                problems.append(f"{sentence} (pip install {PRODUCTS.get(name, name)}=={_release(ours)})")
            elif their:
                notes.append(sentence)
    same = "the same version of it on every node"
    problems += _different("method", expected.methods, theirs.methods, same)
    problems += _different("metric", expected.metrics, theirs.metrics, same)
    # another version is other code in any case, and has been said
    if not problems:
        problems += _different(
            "code of", expected.code, theirs.code, "the same commit or wheel on every node"
        )
    return problems + _different("weights", expected.weights, theirs.weights, "copy the file there"), notes


def _release(version: str | None) -> str:
    """2.9.0 of 2.9.0+cu128: the same source, built for another machine."""
    return (version or "").partition("+")[0]


def _different(what: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], mend: str) -> list[str]:
    return [
        f"{what} {name} is {_short(their)}, planned with {_short(ours[name])} ({mend})"
        for name, their in theirs.items()
        if name in ours and their != ours[name]
    ]


def _short(value: Any) -> str:
    return value[:DIGITS] if isinstance(value, str) else f"version {value}"


@final
@dataclass(frozen=True)
class Answer:
    """How a node stands to a trial.

    Attributes:
        problem: why it must not run it; "" if it may.
        notes: what differs and cannot change a number.
    """

    problem: str = ""
    notes: tuple[str, ...] = ()


def answer(trial: Trial, metrics: Sequence[str], root: Path, expected: Shown) -> Answer:
    """Whether this process may run a trial that was planned elsewhere.

    The images themselves are held against the plan by `run_trial`; here only whether there are any.

    Args:
        trial: the trial.
        metrics: names of metrics.
        root: folder of the data set.
        expected: what the planner has.
    """
    key = (trial.method, trial.category, json.dumps(trial.params, sort_keys=True, default=str))
    if key not in _ANSWERS:
        _ANSWERS[key] = _answer(trial, metrics, root, expected)
    return _ANSWERS[key]


# Of this process, which serves one sweep: weights are hashed once, not once per shot and seed.
_ANSWERS: dict[tuple[str, ...], Answer] = {}


def _answer(trial: Trial, metrics: Sequence[str], root: Path, expected: Shown) -> Answer:
    if not root.is_dir():
        return Answer(f"{root}: no such folder, the data set was planned from there (copy or mount it)")
    try:
        card: Card = METHODS.load(trial.method).card
        here = shown([trial.method], metrics, card.assets(trial.params, trial.category))
    except HarnessError as error:  # all of it was there where the sweep was planned
        return Answer(str(error))
    except Exception as error:
        if blame(error) is Blame.NODE:
            return Answer(f"{type(error).__name__}: {error}")
        raise
    planned = {asset.name: asset.sha256 for asset in trial.assets}
    problems, notes = compare(replace(expected, weights=planned), here)
    return Answer("; ".join(problems), tuple(f"{here.host}: {note}" for note in notes))


def refused(trial: Trial, job: Job, problem: str) -> TrialResult:
    """The row of a trial that a node must not run."""
    result = ended(trial, job, Status.LOST, problem)
    return TrialResult({**result.trial, "error_type": REFUSED})

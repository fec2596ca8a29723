"""Checks of what a method says of itself: card, fields, parameters, imports."""

import json
import subprocess
import sys
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, getfile, signature
from pathlib import Path
from typing import Any, get_args

from harness.checks.subject import Subject, require
from harness.method import Card, Context, Task, Use
from harness.params import resolve


def card_complete(subject: Subject) -> None:
    """The card names title, summary, licence and version, says what it learns from, and links its paper."""
    card = subject.cls.card
    require(isinstance(card, Card), "`card` is not a harness.method.Card")
    for name in ("title", "summary", "licence"):
        require(getattr(card, name), f"card.{name} is empty")
    require(card.version >= 1, f"card.version is {card.version}, the first is 1")
    file = getfile(subject.cls)
    says = "`trained=True` (it learns weights) or `trained=False` (it remembers or measures)"
    require(card.trained is not None, f"{file}: the card does not say whether it is trained; add {says}")
    strange = sorted(card.uses - set(get_args(Use)))
    require(not strange, f"card.uses has {strange}; allowed: {', '.join(get_args(Use))}")
    require(not card.paper or card.paper.url, f"{file}: the card's paper has no url")
    names = {f.name for f in fields(subject.cls)}
    require(card.paths <= names, f"card.paths names no fields: {sorted(card.paths - names)}")
    axes = {"shots", "split_seed", "run_seed"}
    ignored = card.ignores(subject.params)
    require(ignored <= axes, f"card.ignores gives {sorted(ignored - axes)}; axes are {sorted(axes)}")


def readme_exists(subject: Subject) -> None:
    """A method in a folder of its own has its method card there."""
    folder = Path(getfile(subject.cls)).parent
    # the battery's own tests define methods too, in a file
    own = folder.name not in ("methods", "tests") and (folder / "__init__.py").is_file()
    require(not own or (folder / "README.md").is_file(), f"{folder} has no README.md (method card)")


def defaults_immutable(subject: Subject) -> None:
    """It is a dataclass led by `context`, and no default can be changed from outside."""
    require(is_dataclass(subject.cls), "not a dataclass")
    first, *rest = (f for f in fields(subject.cls) if f.init)
    require(first.name == "context", f"the first field is {first.name!r}, not 'context'")
    # also what dataclasses let pass, such as an array: it would be shared by all instances
    mutable = [f.name for f in rest if f.default is not MISSING and not _plain(f.default)]
    require(not mutable, f"defaults that are not plain values: {mutable}")
    # they would take a misspelt parameter without a word
    kinds = [p.kind for p in signature(subject.cls).parameters.values()]
    require(Parameter.VAR_KEYWORD not in kinds, "the constructor takes **kwargs")


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(_plain(v) for v in value)
    return value is None or isinstance(value, bool | int | float | str)


def import_is_light(subject: Subject) -> None:
    """Importing the class imports neither torch nor Ray: plans and errors stay fast."""
    cls = subject.cls
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; import {cls.__module__}\n"
        "print(*sorted({'torch', 'ray'} & sys.modules.keys()))"
    )
    # a process of its own: in this one torch has long been imported
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"cannot be imported alone: {done.stderr[-500:]}")
    require(not done.stdout.split(), f"importing {cls.__module__} imports {done.stdout.strip()}")


def params_survive_json(subject: Subject) -> None:
    """Hyper-parameters survive JSON: a trial can be read back and run again."""
    again = resolve(subject.cls, json.loads(json.dumps(subject.params)))
    require(again == subject.params, f"{subject.params} becomes {again}")


def repr_shows_params(subject: Subject) -> None:
    """Every hyper-parameter can be read off repr()."""
    method = subject.cls(Context(), **subject.params)
    missing = [name for name in subject.params if f"{name}={getattr(method, name)!r}" not in repr(method)]
    require(not missing, f"repr() lacks {missing}")


def needs_are_stated(subject: Subject) -> None:
    """`card.unmet` answers with a sentence or None, whatever the task."""
    # one image and nothing else; a few with everything; all images
    for shots, validation, masks in ((1, 0, False), (4, 9, True), (None, 9, False)):
        task = Task("d", "c", shots, shots or 9, validation, masks)
        reason = subject.cls.card.unmet(subject.params, task)
        require(reason is None or (isinstance(reason, str) and bool(reason)), f"unmet gives {reason!r}")

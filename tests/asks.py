"""What a new entry needs beside its file and its line: sentences that name the file and what to write."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from conftest import ROOT

from harness.inspection.generated import COMMAND, texts
from harness.registry import Registry

FEW_SHOT = "configs/fewshot.yaml"


def of_method(name: str, methods: Registry[Any]) -> Iterator[str]:
    """What is lacking of one of our own methods beside what `harness.list --write` writes."""
    owner = methods.load(name)
    file = Path(sys.modules[owner.__module__].__file__ or "")
    own_folder = file.parent.name == name
    if own_folder and not file.with_name("README.md").is_file():
        yield f"{file.parent}/README.md: write the method's card (paper, equation → code, readings, licence)"
    if not own_folder and not sys.modules[owner.__module__].__doc__:
        yield f"{file}: begin with a docstring that says what it is"
    if owner.card.extra:
        return  # it is in no sweep that ships for everybody
    if owner.card.demo is None:
        yield f"{file}: add to the Card the line\n        demo=Demo({{…}}),"
    if name not in _listed(FEW_SHOT):
        yield f"{FEW_SHOT}: add below `methods:` the line\n  - name: {name}"


def _listed(config: str) -> list[str]:
    return [entry["name"] for entry in yaml.safe_load((ROOT / config).read_text())["methods"]]


def of_texts(methods: Registry[Any]) -> list[str]:
    """Files that are not what the cards and records say."""
    return [f"{name}: run {COMMAND}" for name, text in texts(ROOT, methods).items() if text is not None]

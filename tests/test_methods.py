"""The battery of `harness.checks` over every registered method, ids `method:check`.

A new method needs no line here: what it declares (`check_params`, a `backbone`) is enough.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from checkpoints import checkpoint

from harness.checks import CHECKS, Check, check_method
from harness.params import resolve
from methods import METHODS


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of randomly initialised checkpoints, one per backbone."""
    return tmp_path_factory.mktemp("checkpoints")


@cache
def battery(name: str, folder: Path) -> dict[str, Check]:
    method = METHODS.load(name)
    defaults = resolve(method, getattr(method, "check_params", {}))
    given: dict[str, Any] = {}
    if method.card.extra:
        pytest.importorskip(method.card.extra)
    if defaults.get("weights", "") is None:
        given["weights"] = str(checkpoint(defaults["backbone"], folder))
    return {check.name: check for check in check_method(method, **given)}


def cases() -> Iterator[Any]:
    for name in METHODS:
        for check in CHECKS:
            yield pytest.param(name, check, id=f"{name}:{check}")


@pytest.mark.parametrize(("name", "check"), cases())
def test_method_passes(name: str, check: str, checkpoints: Path):
    battery(name, checkpoints)[check].run()

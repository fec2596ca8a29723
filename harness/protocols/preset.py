"""A protocol as it is written down: one YAML file beside this module."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, final

from harness.document import read
from harness.errors import ConfigError, nearest

FOLDER = Path(__file__).parent
# keys of a sweep file that a protocol may set, in the order in which they are told
KEYS = ("dataset", "categories", "shots", "seeds", "support", "validation", "input", "number", "metrics")


@final
@dataclass(frozen=True)
class Preset:
    """A protocol.

    Attributes:
        name: of its file.
        title: for people.
        sources: papers with the section, repositories with commit, file and line.
        dataset: data sets that it is defined on; the first is the one of its numbers.
        keys: key of a sweep file -> value.
        params: method -> hyper-parameters that the protocol fixes.
        names: data set -> the categories that its word for them stands for.
        said: key -> where the source says it.
        unknown: what the source does not say -> that, and what is taken instead.
    """

    name: str
    title: str
    sources: Sequence[str]
    dataset: Sequence[str]
    keys: Mapping[str, Any]
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)

    def fixed(self, method: str) -> Mapping[str, Any]:
        """The hyper-parameters of a method that the protocol fixes, its input size aside."""
        return self.params.get(method) or {}


@cache
def names() -> tuple[str, ...]:
    """The names of all protocols."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def unknown(name: str) -> str:
    """The sentence for a name that is none."""
    return f"unknown protocol {name[:80]!r}{nearest(name, names())}; known: {', '.join(names())}"


@cache
def preset(name: str) -> Preset:
    """The protocol of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in names():
        raise ConfigError(unknown(name))
    return Preset(name, **read(FOLDER / f"{name}.yaml"))

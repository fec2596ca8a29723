"""What a look at one thing has found: a level, a sentence, and what to do."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, final


class Level(StrEnum):
    """Green: fine. Amber: works, with something to know. Red: trials would fail or numbers be wrong."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@final
@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        topic: what was looked at ("disk", "gpu").
        name: which one of several ("cache folder"); with the topic it is the same on every node.
        level: how bad it is.
        said: what was found, one sentence.
        mend: what to do about it; every red one has it.
        facts: numbers behind the sentence, JSON-able; two nodes are compared by them.
    """

    topic: str
    name: str
    level: Level
    said: str
    mend: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def green(topic: str, name: str, said: str, **facts: Any) -> Finding:
    """Nothing to do."""
    return Finding(topic, name, Level.GREEN, said, "", facts)


def amber(topic: str, name: str, said: str, mend: str, **facts: Any) -> Finding:
    """Works, with something to know."""
    return Finding(topic, name, Level.AMBER, said, mend, facts)


def red(topic: str, name: str, said: str, mend: str, **facts: Any) -> Finding:
    """Would fail, or be wrong."""
    return Finding(topic, name, Level.RED, said, mend, facts)


Look = Callable[[], Iterator[Finding]]


def looked(topic: str, look: Look) -> Iterator[Finding]:
    """The findings of one look; one that fails itself is a red finding and ends no other."""
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001 - a doctor who faints at one patient still sees the others
        kind, said = type(error).__name__, " ".join(str(error).split())[:300]
        yield red(
            topic, "look", f"could not be looked at ({kind}: {said})", "report this with the line above"
        )

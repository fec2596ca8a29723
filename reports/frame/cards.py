"""What the methods of runs declared of themselves, as the runs keep it; any of it may be missing or wrong."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

WEB = ("https://", "http://")


@final
@dataclass(frozen=True)
class MethodCard:
    """A method in words; every text but `name` may be empty.

    Attributes:
        name: its key in sweep files.
        title: as papers print it; the key where nobody has said.
        summary: one sentence.
        training: "trained" or "training-free".
        uses: what it may learn from or be told besides images of the category ("text", "part labels").
        paper: the work that it implements.
        url: where that can be read; only addresses of the web.
        licence: of its code.
        weights_licence: of the pretrained weights that it loads by default, with their names.
        version: of the method; 0 where nobody has said.
    """

    name: str
    title: str
    summary: str = ""
    training: str = ""
    uses: tuple[str, ...] = ()
    paper: str = ""
    url: str = ""
    licence: str = ""
    weights_licence: str = ""
    version: int = 0

    @property
    def badges(self) -> tuple[str, ...]:
        """What decides with whom it may be compared, in a word each."""
        return tuple(filter(None, (self.training, *self.uses)))


def method_cards(recorded: Iterable[Mapping[str, Any]], methods: Sequence[str]) -> dict[str, MethodCard]:
    """The cards of methods, by their keys; where runs differ, the first that says something counts.

    Args:
        recorded: by run, method -> what it declared (`harness.inspection.entries.declared`).
        methods: keys of those that are wanted.
    """
    said: dict[str, Mapping[str, Any]] = {}
    for cards in recorded:
        for name, entry in cards.items():
            if isinstance(entry, Mapping) and entry:
                said.setdefault(str(name), entry)
    made = {name: _card(name, said.get(name, {})) for name in dict.fromkeys(methods)}
    return {name: _apart(card, list(made.values())) for name, card in made.items()}


def _card(name: str, entry: Mapping[str, Any]) -> MethodCard:
    def text(key: str) -> str:
        found = entry.get(key)
        return " ".join(found.split()) if isinstance(found, str) else ""

    uses, version, url = entry.get("uses"), entry.get("version"), text("url")
    return MethodCard(
        name,
        # brackets hold the settings of a method wherever it is named
        text("title").replace("[", "(").replace("]", ")") or name,
        text("summary"),
        text("training"),
        tuple(u for u in uses if isinstance(u, str)) if isinstance(uses, list) else (),
        text("paper"),
        url if url.startswith(WEB) else "",
        text("licence"),
        text("weights_licence"),
        version if isinstance(version, int) else 0,
    )


def _apart(card: MethodCard, every: Sequence[MethodCard]) -> MethodCard:
    """With the key in its title where another method has the same."""
    if [other.title for other in every].count(card.title) < 2 or card.title == card.name:
        return card
    return MethodCard(**{**vars(card), "title": f"{card.title} · {card.name}"})

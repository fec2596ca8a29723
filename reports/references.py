"""Whose work the numbers of a frame stand on: methods, data sets, and Ladder."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

import harness
from harness.datasets import DATASETS
from reports.frame.load import Frame

TITLE = "Ladder: a distributed benchmark harness for few-shot logical anomaly detection"
_CITED = re.compile(r"(?P<authors>[^:]+): (?P<title>.+)\. (?P<venue>.+)", re.DOTALL)
_YEAR = re.compile(r"(?:19|20)\d\d(?!.*(?:19|20)\d\d)")  # the last one
_SMALL = {"a", "an", "the", "on", "of", "for", "in", "and", "with", "to"}


@final
@dataclass(frozen=True)
class Reference:
    """One work.

    Attributes:
        key: by which texts cite it; unique among references.
        authors: family names, without "et al.".
        title, venue, url: "" where nobody has said.
        others: there are more authors than named.
        of: what of the run it is the source of.
    """

    key: str
    authors: tuple[str, ...]
    title: str
    venue: str
    url: str = ""
    others: bool = False
    of: str = ""

    @property
    def year(self) -> str:
        """The year in its venue, "" for none."""
        found = _YEAR.search(self.venue)
        return found[0] if found else ""


def references(frame: Frame) -> tuple[Reference, ...]:
    """Methods in the order of the plan, then data sets, then Ladder; each work once."""
    found: dict[str, Reference] = {}
    for one in (*_methods(frame), *_datasets(frame), _ladder()):
        same = found.setdefault(_plain(one.title), one)
        if same is not one:
            found[_plain(one.title)] = _joined(same, one)
    return _distinct(tuple(found.values()))


def _joined(first: Reference, second: Reference) -> Reference:
    """One work that is the source of two things, with the fuller of its two venues."""
    both = filter(None, dict.fromkeys((first.of, second.of)))
    return replace(first, venue=max(first.venue, second.venue, key=len), of=", ".join(both))


def cited(text: str, url: str = "", of: str = "") -> Reference | None:
    """A work from the way in which cards cite it: "Roth, Pemula: Towards …. CVPR 2022".

    None of a text that is nothing of that kind.
    """
    found = _CITED.fullmatch(" ".join(text.split()).removesuffix("."))
    if found is None:
        return None
    authors = tuple(
        name.strip() for name in found["authors"].removesuffix("et al.").split(",") if name.strip()
    )
    one = Reference("", authors, found["title"], found["venue"], url, found["authors"].endswith("et al."), of)
    return replace(one, key=_key(one))


def _methods(frame: Frame) -> Iterator[Reference]:
    for method in frame.trials["method"].drop_duplicates():
        card = frame.cards.get(method)
        one = cited(card.paper, card.url, card.title) if card else None
        if one is not None:
            yield one


def _datasets(frame: Frame) -> Iterator[Reference]:
    for name in frame.trials["dataset"].str.partition(" ")[0].drop_duplicates():
        if name in DATASETS:
            record = DATASETS.load(name)
            one = cited(record.citation, record.url, record.title)
            if one is not None:
                yield one


def _ladder() -> Reference:
    return Reference("ladder", ("The Ladder contributors",), TITLE, f"version {harness.__version__}")


def _key(one: Reference) -> str:
    """Family name, year and first word of the title that says something: `roth2022total`."""
    said = [w for w in re.findall(r"\w+", _plain(one.title)) if w not in _SMALL] or ["work"]
    return re.sub(r"\W", "", _plain(one.authors[0]) if one.authors else "") + one.year + said[0]


def _plain(text: str) -> str:
    spelt = text.lower().replace("æ", "ae").replace("ø", "o").replace("ß", "ss")
    return unicodedata.normalize("NFKD", spelt).encode("ascii", "ignore").decode()


def _distinct(every: tuple[Reference, ...]) -> tuple[Reference, ...]:
    """Keys with a letter behind them from the second of the same on."""
    seen: dict[str, int] = {}
    made = []
    for one in every:
        n = seen[one.key] = seen.get(one.key, 0) + 1
        made.append(one if n == 1 else replace(one, key=f"{one.key}{chr(ord('a') + n - 1)}"))
    return tuple(made)

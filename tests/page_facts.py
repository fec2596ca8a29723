"""What can be read off a page's HTML without a browser: what everybody who listens or types needs of it."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "link", "img", "input", "br", "hr", "wbr", "path", "circle", "line", "rect"}


class Facts(HTMLParser):
    """Elements of a page as (name, attributes, names of the elements around it), and texts of some."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str], tuple[str, ...]]] = []
        self.texts: list[str] = []  # beside `elements`
        self._place: list[int] = []  # of the open ones among them
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}, tuple(self.open)))
        self.texts.append("")
        if tag not in VOID:
            self.open.append(tag)
            self._place.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        while tag in self.open:
            self._place.pop()
            if self.open.pop() == tag:
                return

    def handle_data(self, data: str) -> None:
        for place in self._place:
            self.texts[place] += data

    def of(self, *names: str) -> Iterator[tuple[str, dict[str, str], tuple[str, ...], str]]:
        for (name, attributes, around), text in zip(self.elements, self.texts, strict=True):
            if name in names:
                yield name, attributes, around, text


def faults(page: str) -> list[str]:
    """What is wrong with a page, in words."""
    facts = Facts(page)
    return [*_frame(facts), *_names(facts), *_tables(facts), *_contrasts(page)]


def _frame(facts: Facts) -> Iterator[str]:
    """One of each landmark, headings without gaps, ids once, links inside the page that lead somewhere."""
    for name in ("main", "header", "h1", "title", "nav"):
        if len(list(facts.of(name))) != 1:
            yield f"not one {name}"
    if not next(facts.of("html"))[1].get("lang"):
        yield "no language"
    levels = [int(name[1]) for name, *_ in facts.of("h1", "h2", "h3", "h4")]
    yield from (f"h{b} after h{a}" for a, b in pairwise(levels) if b > a + 1)
    ids = [attributes["id"] for _, attributes, _ in facts.elements if "id" in attributes]
    yield from (f"id {one} twice" for one in set(ids) if ids.count(one) > 1)
    for _, attributes, _ in facts.elements:
        for key in ("aria-labelledby", "aria-describedby", "for"):
            yield from (
                f"{key}={one}: no such id" for one in attributes.get(key, "").split() if one not in ids
            )


def _names(facts: Facts) -> Iterator[str]:
    """What is operated or seen has a name."""
    for name, attributes, around, text in facts.of("a", "button", "select", "input", "img"):
        said = text.strip() or attributes.get("aria-label") or attributes.get("alt")
        labelled = name in ("select", "input") and "label" in around
        picture = name == "a" and not text.strip()  # then its picture is its name, which is looked at too
        if not (said or labelled or picture):
            yield f"{name} {attributes} has no name"
    regions = [attributes for _, attributes, _ in facts.elements if attributes.get("role") == "region"]
    for attributes in regions:
        if attributes.get("tabindex") != "0" or not attributes.get("aria-label"):
            yield f"region {attributes} cannot be scrolled with keys, or has no name"
    for _, _, around, _ in facts.of("select"):
        if "form" in around and not any(
            a.get("role") == "status" or "aria-live" in a for _, a, _ in facts.elements
        ):
            yield "switches without a live region"


def _tables(facts: Facts) -> Iterator[str]:
    captions = [around for *_, around, _ in facts.of("caption")]
    tables = [around for _, _, around, _ in facts.of("table") if "figure" not in around]
    if len(captions) < len(tables):
        yield f"{len(tables)} tables, {len(captions)} captions"
    for _, attributes, around, text in facts.of("th"):
        if attributes.get("scope") not in ("col", "row", "colgroup", "rowgroup"):
            yield f"heading {text!r} without a scope in {around[-1]}"


_PAIRS = [(a, b) for a in ("ink", "soft", "faint", "accent", "ok", "bad", "wait") for b in ("page", "sheet")]
_PAIRS += [("wait", "waittint"), ("accent", "tint"), ("ink", "tint"), ("ink", "waittint")]


def _contrasts(page: str) -> Iterator[str]:
    """Colours of text against what lies under it, WCAG 2.2's 4.5 : 1, in both schemes."""
    for scheme, block in enumerate(re.findall(r":root \{(.*?)\}", page, re.S)):
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))
        for text, ground in _PAIRS:
            found = contrast(colours[text], colours[ground])
            if found < 4.5:
                yield f"{'dark' if scheme else 'light'}: {text} on {ground} is {found:.2f} : 1"


def contrast(first: str, second: str) -> float:
    """WCAG's ratio of two colours (#rrggbb)."""
    a, b = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (a + 0.05) / (b + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

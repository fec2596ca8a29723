"""References as `results.bib`, and as the list at the end of a LaTeX document."""

import re
from collections.abc import Iterator, Sequence

from reports.references import Reference
from reports.render.escapes import breakable, escaped

_CONFERENCE = re.compile(r"[A-Z][A-Za-z]*[A-Z][A-Za-z]* (?:19|20)\d\d(?: Workshops)?")
_JOURNAL = re.compile(r"(?P<name>[A-Za-z ]+?) (?P<volume>\d+)(?:, (?P<pages>\d+-\d+))?, (?:19|20)\d\d")
_ARXIV = re.compile(r"arXiv[: ](?P<number>\d{4}\.\d{4,5})")


def bibliography(references: Sequence[Reference]) -> str:
    """A BibTeX file in plain ASCII; accents are commands that every engine knows."""
    return "\n\n".join(_entry(one) for one in references) + "\n"


def _entry(one: Reference) -> str:
    kind, where = _where(one)
    authors = " and ".join(
        [*(f"{{{escaped(name)}}}" for name in one.authors), *(["others"] if one.others else [])]
    )
    fields = {"author": authors, "title": f"{{{escaped(one.title)}}}", **where, "year": one.year}
    fields |= {"url": one.url.replace("%", r"\%"), "note": f"Of: {escaped(one.of)}" if one.of else ""}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{one.key},", *lines, "}"])


def _where(one: Reference) -> tuple[str, dict[str, str]]:
    """The kind of an entry and the fields that say where it appeared."""
    if arxiv := _ARXIV.match(one.venue):
        return "misc", {"eprint": arxiv["number"], "archiveprefix": "arXiv"}
    if journal := _JOURNAL.fullmatch(one.venue):
        pages = (journal["pages"] or "").replace("-", "--")
        return "article", {"journal": journal["name"], "volume": journal["volume"], "pages": pages}
    if _CONFERENCE.fullmatch(one.venue):
        return "inproceedings", {"booktitle": one.venue.replace(one.year, "").replace("  ", " ").strip()}
    return "misc", {"howpublished": "" if one.venue == one.year else escaped(one.venue)}


def listed(references: Sequence[Reference]) -> Iterator[str]:
    """The same as a list of a document, which needs no second program."""
    if not references:
        return
    yield rf"\begin{{thebibliography}}{{{len(references)}}}"
    for one in references:
        authors = ", ".join(one.authors) + (" et al." if one.others else "")
        words = f"{escaped(authors)}: \\emph{{{escaped(one.title)}}}. {escaped(one.venue)}."
        link = rf" \texttt{{{breakable(one.url)}}}." if one.url else ""
        yield rf"\bibitem{{{one.key}}} {words}{link}" + (f" ({escaped(one.of)})" if one.of else "")
    yield r"\end{thebibliography}"

"""What the ledger calls methods of ours, and how their published numbers were chosen."""

from functools import cache

from reports.papers import PAPERS
from reports.papers.ledger import ledger
from reports.papers.origin import Selection, origin
from reports.tables.published import plain


@cache
def names_of(method: str, title: str) -> frozenset[str]:
    """What the ledger calls a method, without case and signs."""
    listed = (c.published for spec in PAPERS.values() for c in spec.contestants if c.ours == method)
    return frozenset(map(plain, (title, *listed)))


@cache
def selection(method: str, title: str) -> str:
    """Whether published numbers of a method were chosen by results on test images, in a badge; "" if they
    were not, or if there are none.
    """
    names = names_of(method, title)
    found = {origin(key).selection for key in ledger() if plain(key.method) in names}
    if Selection.YES in found:
        return "published: selected on test"
    return ""

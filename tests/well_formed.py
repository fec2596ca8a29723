"""Pages as a parser sees them: tags that are closed, ids, links."""

from html.parser import HTMLParser


class Parsed(HTMLParser):
    """Remembers open elements and every attribute that could load something."""

    void = frozenset({"meta", "wbr", "br", "link", "img", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.stack, self.ids, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [v for k, v in attrs if k in ("href", "src", "srcset", "action", "data")]
        self.stack += [] if tag in self.void else [tag]

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def read(page: str) -> Parsed:
    """A page whose tags are all closed in order."""
    found = Parsed()
    found.feed(page)
    assert found.stack == []
    return found

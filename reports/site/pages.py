"""From a site to its files."""

from collections.abc import Iterator
from typing import Any, final

from reports.frame.cards import MethodCard, method_cards
from reports.leaderboard import Board
from reports.render.html import environment, texts
from reports.render.policy import policy
from reports.site import rows
from reports.site.digest import Digest
from reports.site.gathering import Gathered
from reports.site.view import Site, board_page, counted, method_page, run_page

_PACKAGE = "reports.site"


def pages(site: Site) -> Iterator[tuple[str, str]]:
    """Every page: its address below the site, and its text."""
    page = _Renderer(site)
    cards = method_cards([run.cards for run in site.runs], list(rows.methods(site)))
    yield page("index", "index.html", **rows.index(site, cards))
    yield page("changes", "changes.html")
    for gathered in site.gathered:
        for measure, boards in rows.by_measure(gathered).items():
            yield page("board", board_page(gathered, measure), page=_board(site, gathered, boards))
    for method, card in cards.items():
        yield page("method", method_page(method), page=_method(site, card), tone="done")
    for run in site.runs:
        tone = "done" if run.planned == run.ended and not run.damaged else "waiting"
        yield page("run", run_page(run), page=_run(site, run, cards), tone=tone)


@final
class _Renderer:
    """Fills templates in with what all pages share."""

    def __init__(self, site: Site):
        self.site = site
        self.style = texts("page.css", "explore.css", "site.css", package=_PACKAGE)
        self.script = texts("basics.js", "site.js", package=_PACKAGE)

    def __call__(self, template: str, where: str, **more: Any) -> tuple[str, str]:
        site = self.site
        text = environment(_PACKAGE).get_template(f"{template}.html.j2").render(
            site=site, here=where, up="../" * where.count("/"), places=[("Changes", "changes.html")],
            style=self.style, script=self.script, policy=policy(self.style, self.script),
            watched=site.watched, counted=counted,
            **{"tone": "waiting" if site.missing or site.broken else "done", **more},
        )  # fmt: skip
        return where, text


def _board(site: Site, gathered: Gathered, boards: list[Board]) -> dict[str, Any]:
    others = [
        (found[0].title, board_page(gathered, measure))
        for measure, found in rows.by_measure(gathered).items()
        if measure != boards[0].measure
    ]
    shown = [rows.board(site, gathered, board, f"board-{i}") for i, board in enumerate(boards)]
    return {
        "title": f"{boards[0].title} · {gathered.dataset}",
        "protocol": gathered.protocol,
        "notes": [*rows.sources(site, gathered), *gathered.notes],
        "others": others,
        "shots": list(dict.fromkeys(board["shots"] for board in shown)),
        "subsets": list(dict.fromkeys(board["subset"] for board in shown)),
        "boards": shown,
    }


def _method(site: Site, card: MethodCard) -> dict[str, Any]:
    facts = {
        "key": card.name,
        "version": str(card.version or ""),
        "paper": card.paper,
        "address": card.url,
        "licence": card.licence,
        "weights": card.weights_licence,
    }
    return {
        "title": card.title,
        "summary": card.summary,
        "badges": card.badges,
        "facts": [(name, text) for name, text in facts.items() if text],
        "heads": rows.PLACES,
        "rows": rows.places(site, card.name),
        "run_heads": rows.METHOD_RUNS,
        "runs": rows.runs_of(site, card.name),
    }


def _run(site: Site, run: Digest, cards: dict[str, MethodCard]) -> dict[str, Any]:
    report, older = site.reports.get(run.path, ("", False))
    return {
        "title": run.name,
        "path": run.path,
        "state": rows.state(run),
        "notes": run.notes,
        "report": report,
        "older": older,
        "heads": rows.RUN_METHODS,
        "rows": rows.methods_of(run, cards),
        "failure_heads": rows.FAILURES,
        "failures": rows.failures(run, cards),
        "facts": [*run.facts, *(("protocol " + name, said) for name, said in run.protocols.items())],
    }

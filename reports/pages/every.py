"""All pages beside a report."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.data.samples import GOOD
from reports.frame.load import Frame
from reports.frame.naming import words
from reports.frame.protocols import apart
from reports.pages.beside import beside
from reports.pages.seen import seen
from reports.pages.subpage import Fact, SubPage, category_file, method_file
from reports.pages.tables import cost, images_of_category, images_of_method, of_category, of_method, standings
from reports.papers.named import selection
from reports.pictures.gallery import Gallery, Panel, Row

FIXED = ("Image", "Ground truth", "Parts")  # columns of a panel that are no method's


def subpages(frame: Frame, gallery: Gallery) -> tuple[SubPage, ...]:
    """A page of every method and of every category of a frame, with pictures of a gallery."""
    methods = list(dict.fromkeys(frame.trials["method"]))
    places = frame.trials[["dataset", "category"]].drop_duplicates().itertuples(index=False, name=None)
    frames = apart(frame)  # numbers are those of whole protocols, which may share trials
    pages = [_method(frame, frames, gallery, str(method)) for method in methods]
    return (*pages, *(_category(frame, frames, gallery, str(d), str(c)) for d, c in places))


def _method(frame: Frame, frames: Sequence[Frame], gallery: Gallery, method: str) -> SubPage:
    card, trials = frame.cards[method], frame.trials[frame.trials["method"] == method]
    found = [one for one in seen(frame) if one.method == method]
    table, pairs = beside(frame, method)
    made = (
        *standings(frame, method), *(t for one in frames for t in of_method(one, method)),
        *images_of_method(found),
        *cost(trials, by_shots=True), *table,
    )  # fmt: skip
    variants = set(trials["variant"])
    panels = (_panel_of(panel, variants) for panel in gallery.panels)
    notes = () if table else ("The ledger has no published number of it for a cell that this report has.",)
    badges = tuple(filter(None, (*card.badges, selection(method, card.title))))
    facts = tuple(_facts(frame, method))
    shown = tuple(panel for panel in panels if panel is not None)
    return SubPage(
        method_file(method), card.title, card.summary, badges, facts, _keyed(made), shown, pairs, notes
    )


def _keyed(made: tuple) -> tuple:
    """Tables with keys that differ on one page."""
    return tuple(replace(table, key=f"{table.key}-{i + 1}") for i, table in enumerate(made))


def _facts(frame: Frame, method: str) -> Iterator[Fact]:
    card, trials = frame.cards[method], frame.trials[frame.trials["method"] == method]
    weights = [w["name"] for listed in trials["weights"] if _listed(listed) for w in listed]
    marks = sorted({m for marks in trials["marks"] for m in marks})
    ok = int((trials["status"] == "ok").sum())
    named = [
        Fact("Paper", card.paper, card.url),
        Fact("Key in sweep files", method),
        Fact("Version", str(card.version or "")),
        Fact("Backbone, weights", ", ".join(dict.fromkeys(weights))),
        Fact("Licence of the code", card.licence),
        Fact("Licence of the weights", card.weights_licence),
        Fact("Trials", f"{ok} of {len(trials)} ok"),
        Fact("Marks", ", ".join(marks)),
        Fact("Parameters", "; ".join(dict.fromkeys(p for p in trials["params"] if p and p != "{}"))),
    ]
    yield from (fact for fact in named if fact.text)


def _listed(value: object) -> bool:
    return value is not None and not isinstance(value, float)


def _panel_of(panel: Panel, variants: set[str]) -> Panel | None:
    """The columns of a method in a panel, and of its rows what it caught best and missed most."""
    mine = [i for i, (name, _) in enumerate(panel.columns) if name in variants]
    if not mine:
        return None
    keep = [*(i for i, (name, _) in enumerate(panel.columns[:3]) if name in FIXED), *mine]
    rows = [row for row in panel.rows if row.cells[mine[0]].share is not None and row.label != GOOD]
    rows.sort(key=lambda row: -(row.cells[mine[0]].share or 0.0))
    best = list(dict.fromkeys([*rows[:1], *rows[-1:]]))
    shown = [
        _row_of(row, keep, kind) for row, kind in zip(best, ("caught best", "missed most"), strict=False)
    ]
    caption = "Of the images that the report shows."
    columns = tuple(panel.columns[i] for i in keep)
    return replace(panel, caption=caption, columns=columns, rows=tuple(shown))


def _row_of(row: Row, keep: list[int], kind: str) -> Row:
    return replace(row, kind=kind, cells=tuple(replace(row.cells[i], details=()) for i in keep))


def _category(
    frame: Frame, frames: Sequence[Frame], gallery: Gallery, dataset: str, category: str
) -> SubPage:
    t = frame.trials
    trials = t[(t["dataset"] == dataset) & (t["category"] == category)]
    found = [one for one in seen(frame) if (one.dataset, one.category) == (dataset, category)]
    made = (
        *(
            table for one in frames
            for name in one.trials.loc[one.trials.index.isin(trials.index), "dataset"].unique()
            for table in of_category(one, str(name), category)
        ),
        *images_of_category(found), *cost(trials, by_shots=False),
    )  # fmt: skip
    panels = tuple(
        p for p in gallery.panels if p.dataset == dataset and p.rows and p.rows[0].category == category
    )
    prints = ", ".join(f[:12] for f in trials["fingerprint"].dropna().unique())
    labels = found[0].images if found else ()
    counts: dict[str, int] = {}
    for _, label, _ in labels:
        counts[label] = counts.get(label, 0) + 1
    facts = [
        Fact("Data set", dataset),
        Fact("Test images", ", ".join(f"{n} {words(label)}" for label, n in sorted(counts.items()))),
        Fact("Trials", f"{int((trials['status'] == 'ok').sum())} of {len(trials)} ok"),
        Fact("Fingerprint of its images", prints),
    ]
    title = f"{words(category)} · {dataset}"
    listed = tuple(fact for fact in facts if fact.text)
    return SubPage(category_file(dataset, category), title, "", (), listed, _keyed(made), panels)

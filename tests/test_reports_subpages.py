"""Pages of methods and categories beside a report: their numbers, their links, and words that mean harm."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from browser import CHROMIUM, browser
from reports_synthetic import FIVE, Entry, measured, write_run
from well_formed import read

from harness.results import read_run, write_sweep
from reports.frame.cells import cells
from reports.frame.load import load
from reports.pages import SubPage
from reports.pages.seen import seen
from reports.papers.ledger import Key, ledger
from reports.papers.named import selection
from reports.render.formats import FORMATS, write
from reports.report import Report, build, with_page
from reports.tables.table import Table

NASTY = '<b onload="x">&"\'{{ 7 * 7 }}</script><script>alert(1)</script>'
LOADS = r"@import|url\(|<script|<link|<img src=\"[^d]|fetch\("


def made(*runs: Path) -> Report:
    frame = load(list(runs))
    return with_page(build(frame), frame)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    entries = [Entry("patchcore", 0.8, {"k": k}, (None,), (0,)) for k in (1, 9)]
    entries += [Entry("clip_lad", 0.8, shots=(1, 4), seeds=(0, 1))]
    run = write_run(tmp_path_factory.mktemp("pages") / "run", entries, FIVE, dataset="mvtec_loco")
    measured(run, {"patchcore": 0.2, "clip_lad": 0.1})
    card = {
        "title": "PatchCore",
        "summary": "Distances.",
        "training": "training-free",
        "url": "https://a.b/c",
    }
    write_sweep(run, read_run(run).config, cards={"patchcore": card | {"paper": "Somebody: Something. 2022"}})
    return run


@pytest.fixture(scope="module")
def report(run: Path) -> Report:
    return made(run)


def page_of(report: Report, file: str) -> SubPage:
    return next(sub for sub in report.subpages if sub.file == file)


def table_of(sub: SubPage, start: str) -> Table:
    return next(table for table in sub.tables if table.key.startswith(start))


def test_every_method_and_category_has_a_page_that_everything_links_to(report: Report):
    files = FORMATS["html"](report)
    assert {f for f in files if "/" in f} == {
        "methods/patchcore.html",
        "methods/clip_lad.html",
        *(f"categories/mvtec_loco-{c}.html" for c in FIVE),
    }
    linked = set()
    for file, page in files.items():
        parsed = read(page)
        assert len(parsed.ids) == len(set(parsed.ids)), file
        for link in parsed.links:
            if link.startswith("#"):
                assert link[1:] in parsed.ids, file
            elif not link.startswith(("https://a.b/c", "data:")):
                place = Path(file).parent / unquote(link)
                linked.add(re.sub(r"[^/]+/\.\./", "", place.as_posix()))
    assert linked == set(files)


def test_pages_load_nothing_and_have_no_script(report: Report):
    for sub in report.subpages:
        page = FORMATS["html"](report)[sub.file]
        assert not re.search(LOADS, page)
        assert "script-src 'none'" in page
    assert 'href="https://a.b/c" rel="noreferrer"' in FORMATS["html"](report)["methods/patchcore.html"]


def test_a_methods_cells_are_those_of_the_frame(run: Path, report: Report):
    frame = load([run])
    sub = page_of(report, "methods/patchcore.html")
    assert (sub.title, sub.lead, sub.badges) == ("PatchCore", "Distances.", ("training-free",))
    every = (
        cells(frame)
        .query("measure == 'auroc' and subset == 'all'")
        .set_index(["variant", "shots", "category"])
    )
    group = next(g for g in table_of(sub, "cells").groups if g.label == "All anomalies, pooled")
    assert [row.label for row in group.rows] == ["PatchCore[k=1], full", "PatchCore[k=9], full"]
    for row, k in zip(group.rows, (1, 9), strict=True):
        wanted = [every["mean"][f"PatchCore[k={k}]"].droplevel("shots")[c] for c in FIVE]
        assert [cell.value for cell in row.cells[:-1]] == pytest.approx(wanted)
    ranks = [row.cells[0].text for row in table_of(sub, "standings").groups[0].rows]
    assert ranks and all(r.isdigit() for r in ranks)


def test_published_numbers_stand_beside_ours_cell_by_cell(run: Path, report: Report):
    sub = page_of(report, "methods/patchcore.html")
    key = Key("psad", "table1", "PatchCore", "pushpins", "logical", "full", "-", "auroc")
    printed = ledger()[key].value
    frame = load([run])
    m = frame.metrics.query("category == 'pushpins' and measure == 'auroc' and subset == 'logical'")
    ours = 100 * m[m["variant"] == "PatchCore[k=9]"]["value"].item()
    place = "PatchCore[k=9]: pushpins, logical, full, AUROC"
    row = next(
        r for r in table_of(sub, "published").groups[0].rows if r.label == place and "PSAD" in r.cells[4].text
    )
    assert (row.cells[0].value, row.cells[1].value) == (
        pytest.approx(printed / 100),
        pytest.approx(ours / 100),
    )
    assert row.cells[2].value == pytest.approx(ours - printed)
    assert len(sub.pairs) == len(table_of(sub, "published").groups[0].rows)
    assert FORMATS["html"](report)[sub.file].count("<circle") == len(sub.pairs)
    assert any("average" in pair.place for pair in sub.pairs)
    few = [pair.place for pair in page_of(report, "methods/clip_lad.html").pairs]
    assert few and not any("average" in place for place in few)  # its average is over nine sub-categories


def test_a_number_that_was_chosen_on_test_gives_its_method_a_badge():
    assert selection("promptad", "PromptAD") == "published: selected on test"
    assert selection("mean_image", "Mean image") == ""


def test_caught_and_missed_images_are_the_ends_of_the_ranking(run: Path):
    for one in seen(load([run])):
        shares = {name: share for name, _, share in one.images}
        assert [shares[n] for n in one.missed] == sorted(shares[n] for n in one.missed)
        assert [shares[n] for n in one.alarms] == sorted((shares[n] for n in one.alarms), reverse=True)
        assert len(one.missed) + len(one.alarms) == len(one.images)


def test_words_that_mean_harm_are_only_words_on_every_page(tmp_path: Path):
    entries = [
        Entry(f"m/{NASTY}", 0.8, {"p": NASTY}, (4,), (0, 1), (NASTY,)),
        Entry("../../up", 0.7, {}, (4,), (0, 1)),
    ]
    run = measured(write_run(tmp_path / "run", entries, (NASTY, "plain"), dataset=NASTY), {})
    card = dict.fromkeys(("title", "summary", "training", "paper", "licence", "weights_licence"), NASTY)
    cards = {e.name: card | {"uses": [NASTY], "url": f"https://x/{NASTY}"} for e in entries}
    write_sweep(run, read_run(run).config, cards=cards)
    report = made(run)
    files = FORMATS["html"](report)
    write(tmp_path / "out", files)
    assert {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*.html")} == {"out"}
    for page in files.values():
        assert "<b " not in page and 'onload="x' not in re.sub(r"<script type=\"application/json.*", "", page)
        assert "alert(1)</script" not in page and "<script>alert" not in page
        read(page)
    if CHROMIUM:
        with browser(tmp_path / "profile") as tab:
            for file in files:
                tab.open(tmp_path / "out" / file)
                assert tab.run("document.querySelectorAll('b, [onload]').length") == 0
            assert tab.complaints == []


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_from_the_leaderboard_to_a_method_and_back(report: Report, tmp_path: Path):
    write(tmp_path / "out", FORMATS["html"](report))
    with browser(tmp_path / "profile") as tab:
        tab.open(tmp_path / "out" / "report.html")
        tab.choose("#board-subset", "logical")
        tab.follow("#board-table tbody th a", until="location.pathname.includes('/methods/')")
        assert tab.text("h1") in ("PatchCore", "clip_lad")
        assert tab.run("document.documentElement.scrollWidth") <= 1300
        for width, dark in ((390, True), (1300, False)):
            tab.open(tmp_path / "out" / "methods" / "patchcore.html", width=width, dark=dark)
            assert tab.run("document.documentElement.scrollWidth") <= width
        tab.follow("header a[href='../report.html']", until="location.pathname.endsWith('/report.html')")
        assert tab.complaints == []

"""The page in a real browser: clicked, typed into and read."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Page, browser
from conftest import wait_for
from reports_synthetic import (
    FIVE,
    TRACE,
    Entry,
    measured,
    metric_row,
    metric_rows,
    showcase,
    unfinished,
    write_run,
)

from harness.metrics import Scale
from harness.results import read_run, write_scales, write_sweep
from reports.frame.load import load
from reports.page import page_data, parts
from reports.page.columns import measurements, thousandths, words
from reports.papers import PAPERS
from reports.pictures.shown import above
from reports.render import html
from reports.render.formats import FORMATS, write
from reports.render.html import render
from reports.report import build, with_page

needs_browser = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")


def write_page(folder: Path, *runs: Path, papers: tuple[str, ...] = (), watched: int = 0) -> Path:
    frame = load(list(runs))
    path = folder / "report.html"
    path.write_text(render(with_page(build(frame, papers), frame, watched=watched)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return write_page(folder, write_run(folder / "few", showcase(), images=6), papers=tuple(PAPERS))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page
        assert page.complaints == []


def test_the_data_of_a_page_are_every_trial_and_its_numbers(tmp_path: Path):
    run = write_run(tmp_path / "run", showcase())
    frame = load([run])
    found = page_data(frame)["trials"]
    assert found["id"] == frame.trials["trial_id"].tolist()
    status = found["words"]["status"]
    assert [status["words"][i] for i in status["index"]] == frame.trials["status"].tolist()
    logical = next(m for m in found["measures"] if m["title"] == "AUROC, logical")["values"]
    m = frame.metrics[(frame.metrics["measure"] == "auroc") & (frame.metrics["subset"] == "logical")]
    by_id = dict(zip(m["trial_id"], m["value"], strict=True))
    for trial, value in zip(found["id"], logical, strict=True):
        assert value == (round(1e4 * by_id[trial]) if trial in by_id else None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_columns_are_small_and_lose_nothing_that_is_shown():
    assert words(["a", None, "a", float("nan"), "b"]) == {"words": ["a", "", "b"], "index": [0, 1, 0, 1, 2]}
    assert measurements([1234.5678, None, float("nan"), 0.00012345]) == [1235.0, None, None, 0.0001234]
    assert thousandths([0.98765, None, float("nan")]) == [9876, None, None]


def test_ranks_of_images_are_shares_of_the_other_good_ones():
    scores = np.array([1.0, 2.0, 3.0, 2.0, 9.0, np.nan])
    good = np.array([True, True, True, False, False, False])
    assert above(scores, good) == [0.0, 0.5, 1.0, pytest.approx(1 / 3), 1.0, None]
    assert above(np.array([1.0]), np.array([True])) == [None]


def test_images_are_ranked_by_the_trial_with_the_most_shots(tmp_path: Path):
    run = write_run(tmp_path / "run", [Entry("a", 0.8), Entry("b", 0.7)], images=5)
    found = page_data(load([run]))["images"]
    assert [panel["category"] for panel in found] == [
        "breakfast_box",
        "juice_bottle/cherry",
        "juice_bottle/orange",
    ]
    assert {m["shots"] for panel in found for m in panel["methods"]} == {"4-shot"}
    areas = [[m["area"] for m in panel["methods"]] for panel in found]
    assert areas == [sorted(a, reverse=True) for a in areas]


@needs_browser
def test_a_click_on_a_heading_sorts_and_the_third_restores(tab: Page, report: Path):
    tab.open(report)
    names = "#table-overview_auroc_loco tbody th"
    numbers = "#table-overview_auroc_loco tbody td:nth-child(2)"
    before = tab.texts(names)
    tab.click("#table-overview_auroc_loco thead tr:last-child th:first-child button")
    found = [float(t.split()[0]) for t in tab.texts(numbers) if t]
    assert found == sorted(found, reverse=True)
    assert (
        tab.run("document.querySelector('#table-overview_auroc_loco th[aria-sort]').ariaSort") == "descending"
    )
    tab.click("#table-overview_auroc_loco thead tr:last-child th:first-child button")
    assert [float(t.split()[0]) for t in tab.texts(numbers) if t] == sorted(found)
    assert tab.texts(numbers)[-1] == ""  # what has no number stays last
    tab.click("#table-overview_auroc_loco thead tr:last-child th:first-child button")
    assert tab.texts(names) == before


@needs_browser
def test_where_lower_is_better_the_first_click_brings_the_lowest(tab: Page, tmp_path: Path):
    entries = [Entry("middling", 0.8), Entry("good", 0.9), Entry("bad", 0.6)]
    run = write_run(
        tmp_path / "run", entries, metrics=lambda row, value: [metric_row("all", "rate", 1 - value)]
    )
    write_scales(run, {"rate": Scale("Rate", "ms", 2, higher_is_better=False).record()})
    tab.open(write_page(tmp_path, run))
    names = "#table-rate_loco_4_shot tbody tr:not(.group) th"
    tab.click("#table-rate_loco_4_shot thead th:last-of-type button")
    tab.click("#table-rate_loco_4_shot thead tr:last-child th:nth-child(2) button")
    assert tab.texts(names) == ["good", "middling", "bad"]
    tab.choose("#trial-category", "breakfast_box")
    assert tab.texts("#category-methods tbody th")[0] == "good"
    shown = [float(t.split()[0]) for t in tab.texts("#category-methods tbody td:nth-child(4)")]
    assert shown == sorted(shown) and max(shown) < 1
    tab.click("#trial-table thead th:nth-child(6) button")
    rates = [float(t) for t in tab.texts("#trial-table tbody td:nth-child(6)")]
    assert rates == sorted(rates)


@pytest.fixture(scope="module")
def boarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a tested leaderboard over two data sets, one of them with a method that failed."""
    folder = tmp_path_factory.mktemp("boarded")

    def fate(category: str, shots: int | None, seed: int | None) -> dict[str, str]:
        return {"status": "failed", "reason": "no"} if category == FIVE[1] and shots == 4 else {}

    names = ("strong", "alike", "weak")
    entries = [Entry(name, 0.8, {"k": 1}, seeds=(0, 1), marks=("demo",)) for name in names]
    entries += [Entry("broken", 0.8, seeds=(0, 1), fate=fate)]
    levels = {"strong": 0.3, "alike": 0.28, "weak": 0.02, "broken": 0.1}
    one = measured(write_run(folder / "one", entries, FIVE[:2]), levels)
    cards = {"strong": {"title": "Strong-1", "training": "trained", "uses": ["text"]}}
    write_sweep(one, read_run(one).config, cards=cards)
    two = measured(write_run(folder / "two", entries[:2], FIVE[:1], dataset="other"), levels)
    return write_page(folder, one, two)


@needs_browser
def test_the_page_begins_with_who_wins_and_switches_in_place(tab: Page, boarded: Path):
    tab.open(boarded)
    assert tab.texts("h2")[0] == "Leaderboard"
    assert tab.text("#board-name") == "AUROC, pooled, 1-shot · loco"  # with most methods ranked
    before = tab.run("document.querySelector('#board-table tbody').innerText")
    notes = tab.texts("#board-notes li")
    assert [t for t in tab.texts("#board-told dd") if t] == tab.texts("#board-told dd")
    assert tab.texts("#board-table .badge") == ["trained", "text"]
    tab.choose("#board-shots", "4")
    assert tab.text("#board-name") == "AUROC, pooled, 4-shot · loco"
    assert tab.texts("#board-table tbody td.rank")[-1] == "–"
    assert "not ranked: failed in juice bottle" in tab.text("#board-table tr.unranked")
    assert "broken (failed in juice bottle)" in tab.texts("#board-told dd")[3]
    assert "board_shots=4" in tab.run("location.hash")
    tab.choose("#board-measure", "auspro@0.05")
    assert tab.text("#board-table thead th:nth-child(3)") == "AU-sPRO (FPR ≤ 0.05)"
    assert "not tested" in tab.texts("#board-told dd")[1]
    tab.choose("#board-dataset", "other")
    assert tab.text("#board-name").endswith("other")
    assert len(tab.texts("#board-table tbody tr")) == 2
    for axis, value in (("measure", "auroc"), ("dataset", "loco"), ("subset", "all"), ("shots", "1")):
        tab.choose(f"#board-{axis}", value)
    assert tab.run("document.querySelector('#board-table tbody').innerText") == before
    assert tab.texts("#board-notes li") == notes


def _of_two_versions(folder: Path) -> list[Path]:
    """Two runs whose metrics are not defined alike and whose supports were drawn by other rules."""
    entries = [[Entry(name, 0.8, shots=(4,)) for name in pair] for pair in (("a", "b"), ("c", "d"))]
    second = {"metrics": lambda row, value: [m | {"metric_version": 2} for m in metric_rows(row, value)]}
    first = write_run(folder / "first", entries[0], FIVE[:2])
    return [first, write_run(folder / "second", entries[1], FIVE[:2], support="per_subtype", **second)]


def _half(category: str, shots: int | None, seed: int | None) -> dict[str, str] | None:
    return None if category != FIVE[0] else {}


STATES: dict[str, Callable[[Path], list[Path]]] = {
    "one method": lambda p: [measured(write_run(p / "one", [Entry("alone", 0.8)], FIVE[:2]), {})],
    "half-finished": lambda p: [
        measured(write_run(p / "half", [Entry("a", 0.8), Entry("b", 0.7, fate=_half)], FIVE[:2]), {"a": 0.1})
    ],
    "two versions of a metric": _of_two_versions,
    "thirty methods": lambda p: [
        measured(
            write_run(p / "many", [Entry(f"m{i:02}", 0.8, {}, (4,), (0,)) for i in range(30)], FIVE[:2]),
            {f"m{i:02}": i / 100 for i in range(30)},
        )
    ],
}
FIRST = {
    "one method": ("alone", "has nobody beside it", 1),
    "half-finished": ("a", "", 2),
    "two versions of a metric": ("", "", 2),
    "thirty methods": ("m29", "", 30),
}


@needs_browser
@pytest.mark.parametrize("state", STATES)
def test_whatever_state_runs_are_in_the_page_begins_with_a_board(tab: Page, tmp_path: Path, state: str):
    tab.open(write_page(tmp_path, *STATES[state](tmp_path)), width=390)
    best, said, rows = FIRST[state]
    assert tab.texts("h2")[:2] == ["Leaderboard", "Comparison"]
    assert len(tab.texts("#board-table tbody tr")) == rows
    assert best in tab.texts("#board-told dd")[0] and said in tab.texts("#board-told dd")[0]
    assert tab.run("document.documentElement.scrollWidth") <= 390
    if state == "half-finished":
        assert "not ranked: b (pending in juice bottle)" in tab.texts("#board-told dd")[3]
    if state == "two versions of a metric":
        tab.choose("#board-protocol", "per_subtype")
        assert tab.text("#board-value") == "AUROC [v2]"
    if state == "thirty methods":
        assert len(tab.texts("#wins tbody tr")) == 30
        tab.open(tmp_path / "report.html")
        assert tab.run("document.querySelectorAll('#front g.dot text').length") >= 25


@needs_browser
def test_what_is_compared_follows_the_board(tab: Page, boarded: Path):
    tab.open(boarded)
    names = tab.run("[...document.querySelectorAll('#front g.dot')].map((g) => g.getAttribute('aria-label'))")
    assert len(names) == 4 and any(n.startswith("Strong-1: ") and "seconds per image" in n for n in names)
    tab.choose("#front-cost", "hours")
    assert "CPU-hours" in tab.run("document.querySelector('#front g.dot').getAttribute('aria-label')")
    boxes = tab.run(
        "[...document.querySelectorAll('#front g.dot text')].map((t) => t.getBoundingClientRect().toJSON())"
    )
    assert len(boxes) == 4
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            apart = (
                a["right"] <= b["left"]
                or b["right"] <= a["left"]
                or a["bottom"] <= b["top"]
                or b["bottom"] <= a["top"]
            )
            assert apart, (a, b)
    assert "only" in tab.text("#critical-words") or "fewer" in tab.text("#critical-words")
    assert tab.texts("#wins tbody th")[0] == tab.texts("#wins thead th")[1]
    tab.run("document.querySelector('#wins tbody td:not(.self)').focus()")
    assert re.search(r"wins \d+ % \(\d+ – \d+\) of 8", tab.text("#wins-told"))
    tab.choose("#board-dataset", "other")
    assert len(tab.texts("#wins tbody th")) == 2


@needs_browser
def test_a_board_that_was_sent_to_somebody_opens_as_it_was_and_sorts(tab: Page, boarded: Path):
    tab.open(boarded, "#leaderboard?board_subset=structural&board_shots=4")
    assert tab.text("#board-name") == "AUROC, structural, 4-shot · loco"
    tab.click("#board-table thead th:nth-child(7) button")  # seconds: the first click brings the quickest
    seconds = [float(t) for t in tab.texts("#board-table tbody td:nth-child(7)")]
    assert seconds == sorted(seconds)
    tab.choose("#filter", "weak")
    assert [t.split("\n")[0] for t in tab.texts("#board-table tbody th")] == [
        "weaka"
    ]  # with the letter of its mark
    tab.choose("#filter", "")


@needs_browser
def test_groups_stay_together_when_sorted_and_details_below_their_row(tab: Page, report: Path):
    tab.open(report)
    tab.click("#table-auroc_loco_4_shot thead th.stub button")
    groups = tab.texts("#table-auroc_loco_4_shot tr.group")
    assert groups == [
        "Logical anomalies",
        "Structural anomalies",
        "Mean of logical and structural",
        "All anomalies, pooled",
    ]
    tab.click("#table-failures thead th.stub button")
    shown = tab.run("[...document.querySelectorAll('#table-failures tbody tr')].map((r) => r.className)")
    assert shown.count("detail") == 1
    at = shown.index("detail")
    assert "oom" in tab.run(f"document.querySelectorAll('#table-failures tbody tr')[{at - 1}].innerText")


@needs_browser
def test_the_filter_leaves_matching_rows_in_every_table(tab: Page, report: Path):
    tab.open(report)
    tab.choose("#filter", "patchcore")
    names = tab.texts("#results tbody th[scope=row]")
    assert names
    assert all(name.startswith("patchcore") for name in names)
    assert "filter=patchcore" in tab.run("location.hash")
    tab.choose("#filter", "")
    assert any(name.startswith("psad") for name in tab.texts("#results tbody th[scope=row]"))


@needs_browser
def test_trials_are_found_by_category_method_status_and_words(tab: Page, report: Path):
    tab.open(report)
    assert tab.text("#trial-count") == "75 of 75 trials"
    tab.choose("#trial-category", "breakfast_box")
    assert tab.text("#trial-count") == "25 of 75 trials"  # 6 + 6 + 6 + 6 + 1
    assert tab.texts("#category-methods h3") == ["breakfast box"]
    means = [float(t.split()[0]) for t in tab.texts("#category-methods tbody td:nth-child(4)")]
    assert means == sorted(means, reverse=True)
    tab.choose("#trial-status", "oom")
    assert tab.text("#trial-count") == "2 of 75 trials"
    tab.choose("#trial-search", "node1 3.50")
    assert tab.text("#trial-count") == "1 of 75 trials"
    tab.click("#clear-trials")
    assert tab.text("#trial-count") == "75 of 75 trials"


@needs_browser
def test_a_trial_unfolds_to_its_error_and_the_commands_that_repeat_it(tab: Page, report: Path):
    tab.open(report, "#trials?status=oom")
    tab.click("#trial-table tbody button")
    card = tab.text(".card")
    trial = tab.run("document.querySelector('#trial-table tr.open').dataset.trial")
    assert f"--only id={trial}" in card
    assert f"{report.parent / 'few'} {trial}" in card
    assert "CUDA out of memory: tried to allocate 3.50 GiB on node1" in card
    assert TRACE.splitlines()[1].strip() in tab.text(".card pre")
    assert f"trial={trial}" in tab.run("location.hash")
    tab.open(report, f"#trials?trial={trial}")
    assert trial in tab.text(".card")


@needs_browser
def test_everything_can_be_reached_with_the_keyboard(tab: Page, report: Path):
    tab.open(report)
    tab.run("document.querySelector('#trial-table tbody button').focus()")
    tab.press("Enter")
    assert tab.run("document.querySelectorAll('.card').length") == 1
    tab.run("document.querySelector('#table-cost thead th:nth-child(3) button').focus()")
    tab.press("Enter")
    assert tab.run("document.querySelector('#table-cost th[aria-sort]').cellIndex") == 2


@needs_browser
def test_images_that_one_method_finds_and_another_misses(tab: Page, tmp_path: Path):
    run = write_run(
        tmp_path / "run", [Entry("a", 0.8, shots=(1,), seeds=(0,)), Entry("b", 0.7, shots=(1,), seeds=(0,))]
    )
    frame = load([run])
    report = with_page(build(frame), frame)
    panel = {
        "dataset": "loco",
        "category": "box",
        "names": ["good/1.png", "bad/1.png", "bad/2.png", "bad/3.png"],
        "labels": {"words": ["good", "logical"], "index": [0, 1, 1, 1]},
        "methods": [
            {"name": n, "shots": "1-shot", "trial": n, "area": 0.8, "above": shares}
            for n, shares in (("a", [990, 1000, 100, 960]), ("b", [0, 990, 200, 10]))
        ],
    }
    path = tmp_path / "report.html"
    path.write_text(render(report.__class__(**{**vars(report), "page": {**report.page, "images": [panel]}})))
    tab.open(path)
    assert tab.texts("#image-table tbody th") == ["bad/3.png"]
    assert tab.texts("#image-table tbody td")[1:] == ["96.0 %", "1.0 %"]
    tab.choose("#image-kind", "missed")
    assert tab.texts("#image-table tbody th") == ["bad/2.png"]
    tab.choose("#image-kind", "alarms")
    assert tab.texts("#image-table tbody th") == ["good/1.png"]
    tab.choose("#image-a", "1")
    assert tab.texts("#image-table tbody th") == []


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1300])
def test_nothing_sticks_out_in_either_theme_at_any_width(tab: Page, report: Path, dark: bool, width: int):
    tab.open(report, width=width, dark=dark)
    assert tab.run("document.documentElement.scrollWidth") <= width
    paper = tab.run("getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, re.findall(r"\d+", paper)[:3])) / 3
    assert (lightness < 60) == dark


@needs_browser
def test_published_numbers_look_different_on_the_page(tab: Page, report: Path):
    tab.open(report)
    style = "getComputedStyle(document.querySelector('#table-psad1 td.published')).fontStyle"
    assert tab.run(style) == "italic"


@needs_browser
@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([], "empty: no trial is planned"),
        ([Entry("a", 0.8, fate=lambda *_: None)], "half-finished: 0 of 18 trials"),
        ([Entry("a", 0.8, fate=lambda *_: {"status": "failed", "reason": "</script><b>"})], "18 not ok"),
        ([Entry("a", 0.8, fate=unfinished)], "half-finished: 8 of 18 trials"),
    ],
)
def test_runs_with_little_in_them_give_a_page(tab: Page, tmp_path: Path, entries: list[Entry], told: str):
    path = write_page(tmp_path, write_run(tmp_path / "run", entries))
    tab.open(path)
    assert told in tab.text("header")
    assert tab.texts("h2")[0] in ("Results", "Leaderboard")
    assert ("Trials" in tab.texts("h2")) == bool(entries)
    assert tab.run("document.querySelectorAll('main b').length") == 0


@needs_browser
def test_a_watched_page_looks_for_a_newer_one(tab: Page, tmp_path: Path):
    run = write_run(tmp_path / "run", [Entry("a", 0.8, fate=unfinished)])
    path = write_page(tmp_path, run, watched=1)
    tab.open(path)
    write_run(run, [Entry("a", 0.8)])
    write_page(tmp_path, run)
    wait_for(lambda: "finished: 18 of 18" in tab.run("document.querySelector('.pill')?.innerText ?? ''"))


@needs_browser
def test_every_table_of_the_papers_is_on_the_page(tab: Page, report: Path):
    tab.open(report)
    for key in PAPERS:
        assert tab.run(f"document.querySelectorAll('#table-{key} td.published').length") > 0


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page in parts, as those of many trials are."""
    monkeypatch.setattr(html, "ONE_FILE", 1000)
    monkeypatch.setattr(parts, "ROWS", 20)
    frame = load([write_run(tmp_path / "few", showcase(), images=6)])
    write(tmp_path / "out", FORMATS["html"](with_page(build(frame), frame)))
    return tmp_path / "out/report.html"


def test_a_large_page_has_the_same_content_in_parts_of_this_build_alone(large: Path):
    names = [path.stem for path in (large.parent / "report-data").iterdir()]
    page = large.read_text()
    assert {name.partition("-")[0] for name in names} == {"images", "table", "trials"}
    assert all(f'"{name}"' in page for name in names)
    assert "CUDA out of memory: tried to allocate 3.50 GiB" not in page.partition('id="data"')[2]
    write(large.parent, {"report.html": page})
    assert not (large.parent / "report-data").exists()


def test_pages_that_nothing_leads_to_any_more_are_removed(tmp_path: Path):
    old = {"report.html": "", "methods/gone.html": "", "methods/stays.html": "", "categories/gone.html": ""}
    write(tmp_path, {**old, "methods/notes.txt": "somebody's", "csv/old.csv": ""})
    write(tmp_path, {"report.md": ""})
    assert (tmp_path / "methods/gone.html").exists()  # no page was made that could lead elsewhere
    write(tmp_path, {"report.html": "", "methods/stays.html": ""})
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {"report.html", "report.md", "methods/stays.html", "methods/notes.txt", "csv/old.csv"}


@needs_browser
def test_parts_of_a_large_page_are_read_when_they_are_asked_for(tab: Page, large: Path):
    tab.requests.clear()
    tab.open(large)
    read = "[...document.querySelectorAll('head script')].map((s) => s.src.split('/').at(-1).split('-')[0])"
    assert tab.run(read) == ["images"]
    tab.choose("#trial-status", "oom")
    tab.click("#trial-table tbody button")
    tab.until("document.querySelector('.card pre')")
    assert "CUDA out of memory: tried to allocate" in tab.text(".card")
    tab.choose("#trial-search", "node1 3.50")
    tab.until("document.querySelector('#trial-count').textContent.startsWith('1 of')")
    assert tab.run(read).count("trials") == 4  # of 75 trials, twenty each
    fold = "document.querySelector('#further details')"
    tab.run(f"{fold}.open = true")
    tab.until(f"{fold}.querySelector('th .sort')")
    tab.choose("#filter", "patchcore")
    names = tab.run(
        f"[...{fold}.querySelectorAll('tbody tr:not(.group):not([hidden])')].map((r) => r.innerText)"
    )
    assert names
    assert all(name.lower().startswith("patchcore") for name in names)


@needs_browser
def test_a_part_that_is_gone_is_named(tab: Page, large: Path):
    for path in (large.parent / "report-data").glob("table-*.js"):
        path.unlink()
    tab.open(large)
    tab.run("document.querySelector('#further details').open = true")
    tab.until("document.querySelector('#reading').textContent.includes('cannot be read')")
    tab.complaints.clear()  # the browser's own, on the file

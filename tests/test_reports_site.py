"""A site over runs: what is on it, what is read again, what has changed, what a broken run does to it."""

import json
import re
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from browser import CHROMIUM, Page, browser
from reports_synthetic import FIVE, Entry, measured, metric_row, showcase, unfinished, write_run

from harness.results import read_run, write_sweep
from reports import watching
from reports.command import main
from reports.frame.load import load
from reports.leaderboard import boards
from reports.site import gathering
from reports.site.command import Built, build
from reports.site.gathering import gather
from reports.site.shelf import Shelf
from reports.watching import goes_on, watch

ONE = Entry("one", 0.8, shots=(4,), seeds=(0, 1))


def text(page: Path) -> str:
    """What can be read on a page."""
    bare = re.sub(
        r"<style>.*?</style>|<script>.*?</script>|<wbr>", "", page.read_text(encoding="utf-8"), flags=re.S
    )
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", bare)).split())


def page_of(site: Path, folder: str, name: str) -> Path:
    (found,) = (site / folder).glob(f"{name}-*.html")
    return found


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    first = write_run(tmp_path / "first", [ONE, Entry("two", 0.7, shots=(4,), seeds=(0, 1))])
    second = write_run(tmp_path / "second", [replace(ONE, seeds=(0, 1, 2)), Entry("three", 0.9, shots=(4,))])
    return [first, second]


def test_boards_of_a_site_are_those_of_one_report_over_all_runs(tmp_path: Path):
    levels = {"strong": 0.3, "alike": 0.28, "weak": 0.02}
    entries = [Entry(name, 0.8, shots=(4,), seeds=(0, 1)) for name in levels]
    paths = [write_run(tmp_path / f"run{i}", [entry], FIVE[:3]) for i, entry in enumerate(entries)]
    for path in paths:
        measured(path, levels)
    shelf = Shelf(tmp_path / "site")
    (found,) = gather([shelf.digest(path) for path in paths], shelf)
    expected = {b.key[2:]: b for b in boards(load(paths))}
    assert {b.key[2:]: b.standings for b in found.boards} == {k: b.standings for k, b in expected.items()}
    assert any(board.tested for board in found.boards)
    assert found.boards[0].key[2:] == next(iter(expected))


def test_a_trial_of_several_runs_counts_once(tmp_path: Path, runs: list[Path]):
    built = build(runs, tmp_path / "site")
    ids = set().union(*(set(read_run(run).plan["trial_id"]) for run in runs))
    assert built.site.trials == len(ids) < sum(run.planned for run in built.site.runs)
    (gathered,) = built.site.gathered
    assert gathered.trials == len(ids)
    one = next(s for s in gathered.boards[0].standings if s.variant == "one")
    assert (one.planned, one.seeds) == (9, 3)
    assert gathered.runs["one"] == [0, 1]


def test_the_same_command_again_reads_and_writes_nothing(tmp_path: Path, runs: list[Path]):
    site = tmp_path / "site"
    assert len(build([*runs, *runs, site], site).read) == 2
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*.html")}
    again = build([*runs, site], site)
    assert (again.read, again.written, again.damaged) == ((), 0, False)
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*.html")} == before


def test_only_a_run_that_has_changed_is_read(
    tmp_path: Path, runs: list[Path], monkeypatch: pytest.MonkeyPatch
):
    site = tmp_path / "site"
    build(runs, site)
    write_run(runs[1], [replace(ONE, seeds=(0, 1, 2)), Entry("three", 0.5, shots=(4,))])
    monkeypatch.setattr("reports.stats.evidence.read_score_columns", lambda *_: pytest.fail("read"))
    monkeypatch.setattr(gathering, "SCORES", -1)
    assert build(runs, site).read == (str(runs[1]),)


def test_what_the_shelf_has_gives_the_same_site(tmp_path: Path, runs: list[Path]):
    built = build(runs, tmp_path / "a")
    again = build(runs, tmp_path / "a")
    shutil.rmtree(tmp_path / "a/.ladder")
    anew = build(runs, tmp_path / "a")
    assert built.site.gathered == again.site.gathered == anew.site.gathered
    assert anew.written == 0


@pytest.mark.parametrize("damage", [b"{", b'{"version": 0, "stamp": ""}'])
def test_a_shelf_that_cannot_be_read_counts_as_none(tmp_path: Path, runs: list[Path], damage: bytes):
    built = build(runs, tmp_path / "site")
    for path in (tmp_path / "site/.ladder").rglob("*.json"):
        path.write_bytes(damage)
    again = build(runs, tmp_path / "site")
    assert again.site.gathered == built.site.gathered
    assert len(again.read) == 2


def test_changes_are_ranks_numbers_and_runs(tmp_path: Path, runs: list[Path]):
    site = tmp_path / "site"
    assert not build(runs[:1], site).site.changes
    third = write_run(tmp_path / "third", [Entry("best", 0.99, shots=(4,), seeds=(0, 1), fate=unfinished)])
    build([*runs, third], site)
    said = text(site / "changes.html")
    assert f"New run {runs[1]}: 18 of 18 trials." in said
    assert "three is new on rank 1 with" in said
    assert re.search(r"two rank 2 → 3\.", said)
    assert not re.search(r"two rank 2 → 3, ", said)  # its number is what it was
    write_run(third, [Entry("best", 0.99, shots=(4,), seeds=(0, 1))])
    build([runs[0], third], site)
    said = text(site / "changes.html")
    assert f"Run {runs[1]} is gone." in said
    assert "no longer ranked" in said
    assert said.index("is gone") < said.index("is new on rank 1")  # newest first
    assert "is gone" in text(site / "index.html")


def test_without_changes_those_of_before_stay(tmp_path: Path, runs: list[Path]):
    build(runs[:1], tmp_path / "site")
    build(runs, tmp_path / "site")
    assert build(runs, tmp_path / "site").site.changes
    assert "New run" in text(tmp_path / "site/index.html")


def test_protocols_have_leaderboards_of_their_own(tmp_path: Path):
    paths = [write_run(tmp_path / name, [Entry(name, 0.8, shots=(4,))]) for name in ("a", "b", "c")]
    for path, more in zip(
        paths, ({"protocol": "clip_lad"}, {}, {"support": {"rule": "random"}}), strict=True
    ):
        write_sweep(path, {**read_run(path).config, **more})
    built = build(paths, tmp_path / "site")
    assert [g.protocol for g in built.site.gathered] == [
        "clip_lad",
        "no named protocol (supports: nested)",
        "no named protocol (supports: random)",
    ]
    assert [list(g.runs) for g in built.site.gathered] == [["a"], ["b"], ["c"]]
    assert "clip_lad" in text(tmp_path / "site/index.html")


def test_runs_of_one_name_are_told_apart_on_leaderboards(tmp_path: Path):
    paths = [
        write_run(tmp_path / name, [Entry("a", 0.8, shots=(4,), seeds=(i,))]) for i, name in enumerate("xy")
    ]
    for path in paths:
        write_sweep(path, {**read_run(path).config, "name": "same"})
    build(paths, tmp_path / "site")
    shown = [text(page) for page in (tmp_path / "site/boards").glob("*.html")]
    assert shown and all("same (x), same (y)" in board for board in shown)


def test_marks_stand_wherever_a_marked_number_does(tmp_path: Path):
    marked = [Entry("a", 0.8, shots=(4,), marks=("demo weights",)), Entry("b", 0.5, shots=(4,))]
    build([write_run(tmp_path / "run", marked)], tmp_path / "site")
    for page in (tmp_path / "site").glob("*/*.html"):
        if page.parent.name == "boards" or page.name.startswith("a-"):
            assert "demo weights" in text(page), page
    leads = text(tmp_path / "site/index.html").partition("Changes since")[0]
    assert "demo weights" in leads


def test_a_trial_of_two_protocols_is_on_the_leaderboards_of_both(tmp_path: Path):
    path = write_run(tmp_path / "run", [Entry("m", 0.8, shots=(4,))])
    plan = pd.read_parquet(path / "plan.parquet")
    plan["protocols"] = [["clip_lad", "objectcore"] if shots else [] for shots in plan["shots"]]
    plan.to_parquet(path / "plan.parquet")
    built = build([path], tmp_path / "site")
    assert [(g.protocol, g.trials) for g in built.site.gathered] == [("clip_lad", 9), ("objectcore", 9)]
    assert built.site.trials == 9


def test_other_versions_of_a_metric_never_share_a_table(tmp_path: Path):
    def version(number: int):
        return lambda row, value: [metric_row("all", "auroc", value) | {"metric_version": number}]

    a = write_run(tmp_path / "a", [Entry("m", 0.8, shots=(4,))], metrics=version(1))
    b = write_run(tmp_path / "b", [Entry("n", 0.9, shots=(4,))], metrics=version(2))
    site = tmp_path / "site"
    (gathered,) = build([a, b], site).site.gathered
    assert {board.measure: [s.variant for s in board.ranked] for board in gathered.boards} == {
        "auroc v1": ["m"],
        "auroc v2": ["n"],
    }
    pages = [text(path) for path in (site / "boards").iterdir()]
    assert all("computed by different definitions (v1; v2)" in page for page in pages)


def test_a_run_that_cannot_be_read_is_named_and_the_rest_is_built(
    tmp_path: Path, runs: list[Path], capsys: pytest.CaptureFixture[str]
):
    site = tmp_path / "site"
    (runs[1] / "plan.parquet").write_bytes(b"no plan")
    (tmp_path / "folder").mkdir()
    assert main(["site", *map(str, runs), str(tmp_path / "folder"), "--out", str(site)]) == 2
    told = capsys.readouterr().err
    assert "plan.parquet" in told
    assert "not a run directory" in told
    index = text(site / "index.html")
    assert f"{runs[1]} is not part of this" in index
    assert "Leaderboards over 1 run" in index
    assert len(list((site / "runs").iterdir())) == 1
    shutil.rmtree(runs[1])
    write_run(runs[1], [ONE])
    assert main(["site", *map(str, runs), "--out", str(site)]) == 0
    assert "is not part of this" not in text(site / "index.html")


def test_a_run_with_a_damaged_part_is_on_the_site_with_what_can_be_read(tmp_path: Path, runs: list[Path]):
    part = runs[0] / "metrics/part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-30])
    built = build(runs, tmp_path / "site")
    assert built.damaged
    assert "counts as missing" in text(page_of(tmp_path / "site", "runs", "first"))
    assert "damaged: half-finished 12" in text(tmp_path / "site/index.html")


def test_the_report_of_a_run_is_part_of_the_site(tmp_path: Path, runs: list[Path]):
    site = tmp_path / "site"
    assert main([str(runs[0]), "--format", "html", "--no-figures"]) == 0
    build(runs, site)
    page = page_of(site, "runs", "first")
    (link,) = re.findall(r'<a href="([^"]+)">Report of this run', page.read_text())
    assert (page.parent / link).read_bytes() == (runs[0] / "report/report.html").read_bytes()
    leads = re.findall(r'href="([^"#]+\.html)(?:#[^"]*)?"', (runs[0] / "report/report.html").read_text())
    assert leads
    assert all(((page.parent / link).parent / lead).is_file() for lead in leads)
    assert "None has been made" in text(page_of(site, "runs", "second"))
    shutil.rmtree(runs[0] / "report")
    build(runs, site)
    assert not (page.parent / link).exists()


def test_every_link_of_a_site_leads_to_a_page_of_it(tmp_path: Path, runs: list[Path]):
    site = tmp_path / "site"
    build(runs, site)
    for page in site.rglob("*.html"):
        links = re.findall(r'href="([^"#]+)"', page.read_text())
        assert links
        assert all((page.parent / link).resolve().is_relative_to(site) for link in links)
        assert all((page.parent / link).is_file() for link in links)


def test_nothing_to_rank_is_a_site_too(tmp_path: Path):
    empty = write_run(tmp_path / "empty", [])
    begun = write_run(tmp_path / "begun", [Entry("m", 0.8, fate=lambda *_: None)])
    assert not build([empty, begun], tmp_path / "site").damaged
    said = text(tmp_path / "site/index.html")
    assert "nothing to rank" in said
    assert re.search(r"\bempty\b", said)


def test_names_of_a_run_cannot_leave_the_site(tmp_path: Path):
    names = ["../../etc/passwd", "a" * 300, "<b>&\"'", "…/ü", ""]
    path = write_run(tmp_path / "run", [Entry(name or " ", 0.8, shots=(4,)) for name in names])
    site = tmp_path / "site"
    build([path], site)
    assert len(list((site / "methods").iterdir())) == 5
    assert {p.name for p in tmp_path.iterdir()} == {"run", "site"}


def test_watching_ends_with_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watching, "SHARE", 0)
    run = write_run(tmp_path / "run", [Entry("m", 0.8, fate=unfinished)])
    assert goes_on(run)
    said = []

    def make(going: bool) -> Built:
        said.append(going)
        built = build([run], tmp_path / "site", 1 if going else 0)
        write_run(run, [Entry("m", 0.8)])
        return built

    built = watch([run], make, 0)
    assert said == [True, False]
    assert built.site.missing == 0
    assert "data-watched" not in (tmp_path / "site/index.html").read_text()


def test_refreshing_takes_its_share_of_the_time_until_the_sweep_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = write_run(tmp_path / "run", [Entry("m", 0.8, fate=unfinished)])
    clock, made = [0.0], []

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        (run / "journal").mkdir(exist_ok=True)
        (run / f"journal/{len(made)}.jsonl").write_text(" " * int(clock[0]))  # something always changes
        if clock[0] > 300:
            died(run)

    def make(going: bool) -> bool:
        made.append(clock[0])
        clock[0] += 7
        return going

    monkeypatch.setattr("reports.watching.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("reports.watching.time.sleep", sleep)
    assert not watch([run], make, 2)
    waits = [b - a - 7 for a, b in pairwise(made)]
    assert all(70 <= wait <= 72 for wait in waits[:-1])
    assert waits[-1] < 70  # it has died meanwhile
    assert len(waits) == 4


def died(run: Path) -> None:
    """Leave the note of a driver that is gone."""
    note = {"host": socket.gethostname(), "pid": 2**22 + 1}
    (run / "driver.json").write_text(json.dumps(note))


def test_a_sweep_that_has_died_is_not_waited_for(tmp_path: Path):
    run = write_run(tmp_path / "run", [Entry("m", 0.8, fate=unfinished)])
    died(run)
    assert not goes_on(run)
    assert main(["site", str(run), "--out", str(tmp_path / "site"), "--watch", "1"]) == 0


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page
        assert page.complaints == []


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_from_the_overview_to_a_board_a_method_and_a_run(tab: Page, tmp_path: Path):
    run = write_run(tmp_path / "few", showcase(), images=6)
    build([run], tmp_path / "site")
    tab.open(tmp_path / "site/index.html")
    tab.follow("main tbody th a", until="document.querySelector('#shown')?.textContent")
    assert tab.text("#shown") == "AUROC, pooled, 4-shot: 5 methods"
    assert len(tab.texts("section.board")) == 1
    tab.choose("#subset", "logical")
    tab.choose("#shots", "1-shot")
    tab.run("document.querySelector('#shots').dispatchEvent(new Event('change', { bubbles: true }))")
    assert tab.texts("section.board h2") == ["AUROC, logical, 1-shot"]
    assert "AUROC, logical, 1-shot" in tab.text("#shown")
    assert "shots=1-shot" in tab.run("location.hash")
    tab.run("document.querySelector('section.board:not([hidden]) th:nth-child(3) button').click()")
    tab.follow("section.board:not([hidden]) tbody th a", until="location.pathname.includes('/methods/')")
    tab.follow("main section:last-of-type tbody th a", until="location.pathname.includes('/runs/')")
    assert tab.run("Boolean(document.querySelector('#provenance'))")
    assert "git 0123456789ab" in tab.text("main")

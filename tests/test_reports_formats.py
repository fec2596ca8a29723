import csv
import io
import os
import re
import shutil
import subprocess
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
from reports_synthetic import TRACE, Entry, showcase, unfinished, write_run
from well_formed import read

from reports.command import FORMATS
from reports.frame.load import load
from reports.render.escapes import escaped
from reports.render.markdown import table as markdown
from reports.report import Report, build, with_page
from reports.tables.ranking import MIXED, with_ranks
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, number, statistic, text

GOLDEN = Path(__file__).parent / "golden"
NASTY = "ключ 'x_y' in {a}: \"naïve\" ≠ 日本 \x1b[31m & 50 % <b>|^~\\ $1 #2"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `runs/showcase` lies."""
    folder = tmp_path_factory.mktemp("place")
    write_run(folder / "runs/showcase", showcase())
    return folder


@pytest.fixture(scope="module")
def report(place: Path) -> Report:
    """The showcase, under a path that is the same on every machine."""
    with chdir(place):
        frame = load([Path("runs/showcase")])
        return with_page(build(frame), frame)


@pytest.fixture
def half(tmp_path: Path) -> Report:
    return build(load([write_run(tmp_path / "half", [Entry("a", 0.8, fate=unfinished), Entry("b", 0.7)])]))


def column(*cells: Cell) -> Table:
    rows = tuple(Row(f"m{i}", (cell,)) for i, cell in enumerate(cells))
    return with_ranks(
        Table("t", "T", "C.", "Method", (Column("c", "c", Kind.STATISTIC),), (Group("", rows),))
    )


def ranks(table: Table) -> list[int]:
    return [row.cells[0].rank for row in table.groups[0].rows]


def percent(value: float, n: int = 3, planned: int = 3, marks: tuple[str, ...] = ()) -> Cell:
    return statistic(value / 100, 0.01, n, planned, marks)


def without_script(page: str) -> str:
    """A page without what it is drawn by; other texts as they are."""
    bare = re.sub(r"(<style>|<script>).*?(</style>|</script>)", r"\1\2", page, flags=re.S)
    return re.sub(r"'sha256-[^']+'", "'sha256-'", bare)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([percent(80), percent(90), percent(85)], [0, 1, 2]),
        ([percent(90.04), percent(89.96), percent(85)], [1, 1, 0]),  # equal as printed: no second
        ([percent(80), percent(70), percent(70)], [1, 2, 2]),
        ([percent(80), percent(95, n=2), percent(75)], [1, 0, 2]),  # an incomplete one does not compete
        ([percent(80), Cell(), text(None)], [0, 0, 0]),  # nobody wins alone
        ([percent(80), percent(95, marks=("demo",)), percent(75)], [1, 0, 2]),
        ([percent(80), percent(95, marks=("demo",))], [0, 0]),
        ([percent(80, marks=("demo",)), percent(95, marks=("demo",))], [2, 1]),
        ([percent(80, marks=("demo",)), percent(95, marks=("other",))], [0, 0]),
    ],
)
def test_best_and_second(cells: list[Cell], expected: list[int]):
    assert ranks(column(*cells)) == expected


def test_mixed_marks_are_explained():
    assert MIXED in column(percent(80), percent(95, marks=("demo",))).notes
    assert MIXED not in column(percent(80), percent(95)).notes


def test_markdown_cells_show_rank_seeds_marks_and_gaps():
    shown = markdown(
        column(
            percent(90),
            percent(80),
            percent(70, n=2),
            percent(60, marks=("demo",)),
            statistic(None, None, 3, 3),
        )
    )
    lines = [
        [c.strip() for c in line.split("|")[1:-1]] for line in shown.splitlines() if line.startswith("| m")
    ]
    assert [line[1] for line in lines] == [
        "**90.0** ± 1.0",
        "_80.0_ ± 1.0",
        "70.0 ± 1.0 (2/3)",
        "60.0 ± 1.0ᵃ",
        "–",
    ]
    assert "- ᵃ demo" in shown


@pytest.mark.parametrize(
    ("value", "printed"),
    [(0.0, "0"), (0.01234, "0.0123"), (12.34, "12.3"), (98765.4, "98,765"), (1234, "1,234")],
)
def test_numbers_are_printed_without_exponents(value: float, printed: str):
    assert number(value).text == printed


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("md", "report.md"),
        ("html", "report.html"),
        ("tex", "tex/report.tex"),
        ("tex", "tex/auroc_loco_4_shot.tex"),
        ("tex", "tex/failures.tex"),
        ("csv", "csv/auroc_loco_4_shot.csv"),
        ("csv", "csv/cost.csv"),
    ],
)
def test_golden_files(report: Report, format: str, name: str):
    """`LADDER_UPDATE_GOLDEN=1 pytest tests/test_reports_formats.py` writes them anew; look at the diff."""
    made = without_script(FORMATS[format](report)[name])
    kept = GOLDEN / Path(name).name
    if os.environ.get("LADDER_UPDATE_GOLDEN"):
        kept.write_text(made, encoding="utf-8")
    assert made == kept.read_text(encoding="utf-8")


def test_every_format_has_every_table_mark_and_blank(report: Report):
    page, markdown_ = (FORMATS[f](report)[f"report.{f}"] for f in ("html", "md"))
    for table in report.tables:
        assert f'id="table-{table.key}"' in page
        assert table.title in markdown_
        assert f"tex/{table.key}.tex" in FORMATS["tex"](report)
    main = next(t for t in report.tables if t.key == "auroc_loco_4_shot")
    assert list(main.footnotes.values()) == ["a"]
    assert "<sup>a</sup> demo weights" in page
    assert "- ᵃ demo weights" in markdown_
    assert r"\textsuperscript{a}\,demo weights" in FORMATS["tex"](report)["tex/auroc_loco_4_shot.tex"]
    rows = csv_rows(report, "auroc_loco_4_shot")
    assert {row["breakfast_box_marks"] for row in rows if row["method"].startswith("winclip")} == {
        "demo weights"
    }


def csv_rows(report: Report, key: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(FORMATS["csv"](report)[f"csv/{key}.csv"])))


def test_csv_has_full_precision_std_and_n(report: Report, place: Path):
    frame = load([place / "runs/showcase"])
    some = frame.metrics[
        (frame.metrics["variant"] == "mean_image")
        & (frame.metrics["category"] == "breakfast_box")
        & (frame.metrics["shots"] == 4)
        & (frame.metrics["measure"] == "auroc")
        & (frame.metrics["subset"] == "logical")
    ]["value"]
    rows = csv_rows(report, "auroc_loco_4_shot")
    row = next(r for r in rows if (r["group"], r["method"]) == ("Logical anomalies", "mean_image"))
    means = [float(r["average"]) for r in rows if r["group"] == row["group"] and r["average"]]
    assert len(means) > 2 and means == sorted(means, reverse=True)
    assert float(row["breakfast_box"]) == pytest.approx(some.mean(), abs=1e-15)
    assert float(row["breakfast_box_std"]) == pytest.approx(some.std(ddof=1), abs=1e-15)
    assert row["breakfast_box_n"] == row["breakfast_box_planned"] == "3"


def test_zero_shot_methods_stand_in_the_table_of_every_number_of_shots(report: Report):
    for shots in (1, 4):
        rows = csv_rows(report, f"auroc_loco_{shots}_shot")
        found = [row for row in rows if row["method"] == "winclip (zero-shot)"]
        assert {row["seeds"] for row in found} == {"1"}
        assert found[0]["average"]
        assert not found[0]["average_std"]


def test_incomplete_averages_are_blank_and_named(report: Report):
    rows = csv_rows(report, "auroc_loco_1_shot")
    psad = next(row for row in rows if row["method"] == "psad")
    assert (psad["breakfast_box_n"], psad["breakfast_box_planned"], psad["average"]) == ("2", "3", "")
    shown = FORMATS["md"](report)["report.md"]
    assert "Average blank for psad: 2/3 seeds in breakfast box, skipped in juice bottle/orange." in shown
    assert "winclip: undefined (structural, mean) in juice bottle/orange." in shown


def test_undefined_values_print_as_a_dash(report: Report):
    shown = FORMATS["md"](report)["report.md"].split("**Structural anomalies**")[1]
    row = next(line for line in shown.splitlines() if "mean_image" in line)
    assert [c.strip() for c in row.split("|")[4:6]] == ["–", ""]  # the category, and its average


def test_a_half_finished_run_says_so_in_every_format(half: Report):
    line = "half-finished: 26 of 36 trials"
    assert half.state.headline == line
    assert f'<span class="pill">{line}</span>' in FORMATS["html"](half)["report.html"]
    assert f"> {line} ·" in FORMATS["md"](half)["report.md"]
    assert line in FORMATS["tex"](half)["tex/report.tex"]
    assert "pending" in FORMATS["md"](half)["report.md"]


@pytest.mark.parametrize(
    ("entries", "headline"),
    [
        ([], "empty: no trial is planned"),
        ([Entry("a", 0.8, fate=lambda *_: None)], "half-finished: 0 of 18 trials"),
        (
            [Entry("a", 0.8, fate=lambda *_: {"status": "failed", "error_type": "E", "reason": NASTY})],
            "finished: 18 of 18 trials, 18 not ok",
        ),
    ],
)
def test_runs_without_a_number_give_a_report(tmp_path: Path, entries: list[Entry], headline: str):
    report = build(load([write_run(tmp_path / "run", entries)]))
    assert report.state.headline == headline
    assert report.sections[0].tables == ()
    for render in FORMATS.values():
        assert all(isinstance(made, str) for made in render(report).values())
    assert "No trial is ok yet" in FORMATS["md"](report)["report.md"]


def test_failures_are_grouped_by_message_with_the_traceback_folded(report: Report):
    rows = csv_rows(report, "failures")
    assert [(r["method"], r["status"], r["trials"]) for r in rows] == [
        ("psad", "skipped", "6"),
        ("psad", "oom", "2"),
    ]
    page = FORMATS["html"](report)["report.html"]
    folded = re.search(
        r"<details><summary>Traceback</summary><pre tabindex=\"0\">(.*?)</pre></details>", page, re.S
    )
    assert folded is not None
    assert "x &lt; y &amp; &#34;z&#34;" in folded[1]
    assert TRACE.splitlines()[0] in folded[1]


def test_the_page_is_well_formed_and_loads_nothing(report: Report):
    page = FORMATS["html"](report)["report.html"]
    parser = read(page)
    assert parser.stack == []
    assert len(parser.ids) == len(set(parser.ids))
    beside = {link for link in parser.links if not link.startswith("#")}
    assert {link[1:] for link in parser.links if link not in beside} <= set(parser.ids)
    assert beside <= set(FORMATS["html"](report))
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script src|<link|fetch\(|XMLHttp|import\(", page)


def test_words_from_outside_are_never_markup(tmp_path: Path):
    fate = {"status": "failed", "error_type": "<i>&", "reason": NASTY}
    run = write_run(tmp_path / "run", [replace(e, fate=lambda *_: fate) for e in showcase()[:1]])
    page = FORMATS["html"](build(load([run])))["report.html"]
    assert "<b>" not in page
    assert "<i>" not in page


def test_latex_escapes_everything():
    assert escaped("a_b & 50% {#$}") == r"a\_b \& 50\% \{\#\$\}"
    assert escaped("~^\\") == r"\textasciitilde{}\textasciicircum{}\textbackslash{}"
    assert escaped("<|>") == r"\textless{}\textbar{}\textgreater{}"
    assert escaped("é 日 \x1b 87.3 ± 1.2 – x") == r"\'{e} (U+65E5) (U+001B) 87.3 $\pm$ 1.2 -- x"


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_latex_compiles(tmp_path: Path):
    fate = {"status": "failed", "error_type": "Über_Error", "reason": NASTY + "/long_path" * 40}
    entries = [*showcase(), Entry("bad_one", 0.5, fate=lambda *_: fate)]
    entries += [Entry("many", 0.5, {"margin": m / 10}, shots=(1,)) for m in range(20)]
    report = build(load([write_run(tmp_path / "run_50%", entries)]))
    for name, made in FORMATS["tex"](report).items():
        (tmp_path / Path(name).name).write_text(made, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "too large" not in done.stdout
    assert (tmp_path / "report.pdf").stat().st_size > 10_000

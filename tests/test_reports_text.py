"""A report for people who write papers: numbers by key, references, and LaTeX that compiles."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from latex_strict import NotLatex, check, macros
from reports_synthetic import FIVE, Entry, metric_row, showcase, write_run

from harness.datasets import DATASETS
from harness.results import read_run
from methods import METHODS
from reports.command import main
from reports.frame.cards import MethodCard
from reports.frame.load import Frame, load
from reports.numbers import numbers
from reports.references import TITLE, Reference, cited, references
from reports.render.bibtex import bibliography, listed
from reports.render.escapes import escaped
from reports.tables import make_tables
from reports.tables.table import Table

ROOT = Path(__file__).parents[1]
CARDS = {
    "patchcore": MethodCard(
        "patchcore",
        "PatchCore",
        paper="Roth, Schölkopf: Towards 50 % & more_recall. CVPR 2022",
        url="https://a.b/c_d",
    ),
    "psad": MethodCard("psad", "PSAD", paper="Zhang et al.: Part #1. Journal of Parts 12, 3-45, 2024"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("text") / "run_50%", showcase(), FIVE, dataset="mvtec_loco")


@pytest.fixture(scope="module")
def frame(run: Path) -> Frame:
    return load([run])


@pytest.fixture(scope="module")
def written(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the document, made by the command."""
    out = tmp_path_factory.mktemp("written")
    assert main([str(run), "--format", "tex", "--tables", "papers", "--out", str(out), "--no-figures"]) == 0
    return out / "tex"


def titled(frame: Frame) -> Frame:
    """The same run by a version that knows titles and papers."""
    titles = frame.trials["method"].map(lambda m: CARDS[m].title if m in CARDS else m)
    variants = [
        v.replace(m, t, 1)
        for v, m, t in zip(frame.trials["variant"], frame.trials["method"], titles, strict=True)
    ]
    return replace(frame, cards=CARDS, trials=frame.trials.assign(title=titles, variant=variants))


def of_two(frame: Frame) -> Frame:
    """The same under two protocols: one asks for everything, one for four shots."""
    told = tuple({"label": name, "protocol": name, "title": name, "step": ""} for name in ("first", "second"))
    listed = [["first", "second"] if shots == 4 else ["first"] for shots in frame.trials["shots"]]
    source = replace(frame.sources[0], protocols=told)
    return replace(frame, sources=(source,), trials=frame.trials.assign(protocols=listed))


def overview(frame: Frame) -> Table:
    return next(t for t in make_tables(frame)[0] if t.key.startswith("overview"))


# --- numbers by key


def test_keys_give_what_the_tables_print(frame: Frame):
    found, checked = numbers(frame), 0
    table = overview(frame)
    for row in table.groups[0].rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            shots, _, subset = column.key.partition("-shot_")
            method = row.label.removesuffix(" (zero-shot)")
            key = f"{method}/{0 if method == 'winclip' else shots}/mean/auroc/{subset}"
            if subset and cell.complete:
                assert (found[key].text, found[key].spread, found[key].n) == (cell.text, cell.spread, cell.n)
                assert found[key].marks == cell.marks
                checked += 1
    assert checked == 4 * 8


def test_every_single_cell_is_there_and_the_pooled_one_needs_no_subset(frame: Frame, run: Path):
    found = numbers(frame)
    mine = read_run(run).metrics.merge(read_run(run).trials[["trial_id", "method", "category", "shots"]])
    wanted = mine.query(
        "method == 'mean_image' and category == 'pushpins' and shots == 4 and metric == 'auroc'"
    )
    for subset, values in wanted[wanted["subset"] != "missing_fruit"].groupby("subset")["value"]:
        assert float(found[f"mean_image/4/pushpins/auroc/{subset}"].value) == pytest.approx(values.mean())
    assert found["mean_image/4/pushpins/auroc"] is found["mean_image/4/pushpins/auroc/all"]
    assert found["mean_image/4/pushpins/auspro@0.05"].complete


def test_what_is_incomplete_has_no_value_and_says_why(frame: Frame):
    found = numbers(frame)
    assert found["psad/4/breakfast_box/auroc"].share == "2/3"
    assert not found["psad/4/mean/auroc"].complete
    assert found["psad/4/mean/auroc"].text == "breakfast box 2/3 seeds"
    assert found["psad/4/pushpins/auroc"].complete


def test_a_key_of_several_numbers_has_none(tmp_path: Path):
    """Two folders whose names differ in signs that no engine reads, and one that is called as the average."""
    categories = ("a&b", "a%b", "漢", "字", "mean", "a")
    found = numbers(load([write_run(tmp_path / "run", [Entry("psad", 0.8)], categories)]))
    for name in ("a-b", "", "mean"):
        assert not found[f"psad/4/{name}/auroc"].complete
        assert "several" in found[f"psad/4/{name}/auroc"].text
    assert found["psad/4/a/auroc"].complete


def test_undefined_is_a_word_and_no_number(tmp_path: Path):
    def rows(row, value):  # a metric that is null wherever nothing is anomalous
        return [metric_row("all", "auroc", None), metric_row("logical", "auroc", value)]

    frame = load([write_run(tmp_path / "run", [Entry("psad", 0.8)], ("a",), metrics=rows)])
    found = numbers(frame)
    assert found["psad/4/a/auroc"].text == "undefined" and not found["psad/4/a/auroc"].complete
    assert found["psad/4/a/auroc/logical"].complete


def test_keys_are_those_of_sweep_files_whatever_tables_call_a_method(frame: Frame):
    assert set(numbers(titled(frame))) == set(numbers(frame))
    assert "patchcore[coreset_ratio=0.01]/4/mean/auroc" in numbers(titled(frame))


def test_several_data_sets_come_first_in_a_key_and_odd_names_are_plain(tmp_path: Path):
    first = write_run(tmp_path / "a", [Entry("psad", 0.8, {"words": "50 % é|{x}"})], ("a#1",), dataset="one")
    second = write_run(tmp_path / "b", [Entry("psad", 0.8, {"words": "other"})], ("a#1",), dataset="two")
    found = numbers(load([first, second]))
    assert "one/psad[words=50 - e--x-]/4/a-1/auroc" in found
    assert (
        "two/psad[words=other]/full/a-1/auroc" not in found and "two/psad[words=other]/1/mean/auroc" in found
    )


def test_numbers_of_two_protocols_never_share_a_key(frame: Frame):
    found = numbers(of_two(frame))
    assert {key.partition("/")[0] for key in found} == {"mvtec_loco, first", "mvtec_loco, second"}
    assert found["mvtec_loco, first/mean_image/1/mean/auroc"].complete
    assert "mvtec_loco, second/mean_image/1/mean/auroc" not in found  # which has four shots alone
    assert (
        found["mvtec_loco, second/mean_image/4/mean/auroc"].text
        == numbers(frame)["mean_image/4/mean/auroc"].text
    )


# --- LaTeX


def test_the_files_of_a_report_are_strict_latex(written: Path):
    names = {path.name for path in written.iterdir()}
    assert {"report.tex", "cells.tex", "results.bib", "psad1.tex", "coverage.tex"} <= names
    for path in written.glob("*.tex"):
        if path.name != "cells.tex":
            check(path.read_text("utf-8"), written)


def test_macros_hold_the_numbers_of_the_report(written: Path, frame: Frame):
    text = (written / "cells.tex").read_text("ascii")
    known, lacks = macros(text)
    every = numbers(frame)
    assert set(known) | set(lacks) == set(every) and not set(known) & set(lacks)
    for key, (mean, spread, n, marks) in known.items():
        cell = every[key]
        assert (mean, spread, n, marks) == (cell.text, cell.spread, str(cell.n), "; ".join(cell.marks))
    assert lacks["psad/4/mean/auroc"] == "breakfast box 2/3 seeds"
    assert text.count("{") == text.count("}")
    assert r"\def\ladderrun{run\_50\%}" in text


def test_the_document_uses_one_of_its_own_numbers(written: Path):
    text = (written / "report.tex").read_text("ascii")
    (key,) = re.findall(r"is \\ladderpm\{(.*?)\}", text)
    assert key in macros((written / "cells.tex").read_text("ascii"))[0]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (r"\textbf{a", "is never closed"),
        (r"a}", "closed where it is not open"),
        (r"\begin{table}\end{tabular}", "closed where it is not open"),
        (r"\begin{itemize}\end{itemize}", "unknown environment"),
        (r"\newcommand", "unknown command"),
        ("a_b", "bare _"),
        ("50% of", "bare %"),
        ("a & b", "bare &"),
        (r"$\pm", "odd number"),
        ("é", "ASCII"),
        ("\\begin{tabular}{@{}lr@{}}\na & b & c \\\\\n\\end{tabular}", "3 cells for 2 columns"),
        (r"\input{nowhere}", "no file"),
    ],
)
def test_the_reader_refuses_what_latex_would(text: str, wrong: str, tmp_path: Path):
    with pytest.raises(NotLatex, match=wrong):
        check(text, tmp_path)


def test_accents_stay():
    assert escaped("Schölkopf, Skočaj, DRÆM, Fučka") == r"Sch\"{o}lkopf, Sko\v{c}aj, DR\AE{}M, Fu\v{c}ka"


PAPER = r"""\documentclass{article}
\begin{document}
A\input{cells}B \section{At \ladder{mean_image/4/mean/auroc}}
\typeout{MEAN=\laddervalue{mean_image/4/mean/auroc} NONE=\laddervalue{no_such/key}}
\ladderpm{mean_image/4/mean/auroc}, \ladderstd{mean_image/4/mean/auroc}, \laddern{mean_image/4/mean/auroc},
\ladder{winclip/0/mean/auroc}\footnote{\ladder{psad/4/mean/auroc}}, \ladder{no_such/key}.
\nocite{*}\bibliographystyle{plain}\bibliography{results}
\end{document}
"""


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_latex_compiles_a_paper_with_numbers(written: Path, frame: Frame, tmp_path: Path):
    shutil.copytree(written, tmp_path / "tex")
    (tmp_path / "tex" / "paper.tex").write_text(PAPER, encoding="ascii")
    for name in ("paper", "report"):
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
        done = subprocess.run(
            command, cwd=tmp_path / "tex", capture_output=True, text=True, errors="replace", timeout=120
        )
        assert done.returncode == 0, done.stdout[-2000:]
    log = " ".join((tmp_path / "tex" / "paper.log").read_text(errors="replace").split())
    assert f"MEAN={numbers(frame)['mean_image/4/mean/auroc'].text} NONE=??" in log
    assert "ladder: `psad/4/mean/auroc' is breakfast box 2/3 seeds" in log
    assert "ladder: `no_such/key' is unknown" in log
    assert "Overfull" not in log


# --- references


def test_every_card_and_data_set_can_be_cited():
    for name in METHODS.own:
        paper = METHODS.load(name).card.paper
        if paper is not None:
            one = cited(str(paper), paper.url)
            assert one is not None and (one.title, one.venue, one.url) == (
                paper.title,
                paper.venue,
                paper.url,
            )
            assert one.year == re.findall(r"\d{4}", paper.venue)[-1]
            assert ", ".join(one.authors) + (" et al." if one.others else "") == paper.authors
    for name in DATASETS.own:
        citation = DATASETS.load(name).citation
        assert not citation or ":" not in citation or cited(citation) is not None, name


def test_a_run_cites_its_methods_its_data_and_ladder_once(frame: Frame):
    found = references(titled(frame))
    assert [one.key for one in found] == ["roth2022towards", "zhang2024part", "bergmann2022beyond", "ladder"]
    assert [one.of for one in found] == ["PatchCore", "PSAD", "MVTec LOCO AD", ""]
    both = replace(CARDS["psad"], title="PSAD again")
    again = replace(titled(frame), cards={**CARDS, "winclip": both})
    assert [one.of for one in references(again)][1] == "PSAD, PSAD again"


def test_what_is_no_citation_is_none():
    assert cited("") is None and cited("this project") is None


def test_ladder_is_cited_as_it_says():
    assert f'title: "{TITLE}"' in (ROOT / "CITATION.cff").read_text("utf-8")


def entries(text: str) -> dict[str, dict[str, str]]:
    """Key -> fields of a BibTeX file: one field a line, as it is written here."""
    found = {}
    for kind, key, body in re.findall(r"@(\w+)\{(\w+),\n(.*?)\n\}", text, re.DOTALL):
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.MULTILINE))
        assert len(fields) == len(body.splitlines())
        found[key] = {"kind": kind, **fields}
    return found


def test_results_bib_has_every_reference_in_plain_ascii(frame: Frame):
    text = bibliography(references(titled(frame)))
    assert text.isascii() and text.count("{") == text.count("}")
    found = entries(text)
    assert found["roth2022towards"] == {
        "kind": "inproceedings",
        "author": r"{Roth} and {Sch\"{o}lkopf}",
        "title": r"{Towards 50 \% \& more\_recall}",
        "booktitle": "CVPR",
        "year": "2022",
        "url": "https://a.b/c_d",
        "note": "Of: PatchCore",
    }
    article = found["zhang2024part"]
    assert article["author"] == "{Zhang} and others" and article["title"] == r"{Part \#1}"
    assert (article["journal"], article["volume"], article["pages"]) == ("Journal of Parts", "12", "3--45")
    assert found["ladder"]["author"] == "{The Ladder contributors}" and "year" not in found["ladder"]


@pytest.mark.parametrize(
    ("venue", "expected"),
    [
        ("arXiv:2407.17909, 2024", {"kind": "misc", "eprint": "2407.17909", "year": "2024"}),
        ("OpenReview bESxQeXTlo, 2024", {"kind": "misc", "howpublished": "OpenReview bESxQeXTlo, 2024"}),
        ("ICPR 2020 Workshops", {"kind": "inproceedings", "booktitle": "ICPR Workshops"}),
        ("2023", {"kind": "misc", "year": "2023"}),
    ],
)
def test_where_a_work_appeared(venue: str, expected: dict[str, str]):
    found = entries(bibliography([Reference("k", ("A",), "T", venue)]))["k"]
    assert expected.items() <= found.items()


def test_works_with_one_key_are_told_apart(frame: Frame):
    twin = replace(CARDS["psad"], paper="Zhang: Part two. CVPR 2024")
    found = references(replace(titled(frame), cards={**CARDS, "winclip": twin}))
    assert [one.key for one in found][1:3] == ["zhang2024part", "zhang2024partb"]


def test_the_list_of_references_is_strict_latex(frame: Frame):
    text = "\n".join(listed(references(titled(frame))))
    check(text)
    assert text.count(r"\bibitem{") == 4 and r"\emph{Towards 50 \% \& more\_recall}" in text

"""Tables of papers with numbers of ours: right averages, honest verdicts, nothing mixed."""

import csv
import io
import os
import shutil
import subprocess
from contextlib import chdir
from dataclasses import fields, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from reports_synthetic import FIVE, NINE, Entry, metric_row, metric_rows, of_papers, write_run

from harness.errors import ConfigError
from methods import METHODS
from reports.command import main
from reports.frame.load import FULL, Frame, load
from reports.papers import PAPERS, chosen, paper_table
from reports.papers.ledger import Key, Published
from reports.papers.ours import Ours
from reports.papers.series import Protocol, Series
from reports.papers.spec import Contestant
from reports.papers.verdict import Word, verdict
from reports.render import csv as render_csv
from reports.render import latex as render_latex
from reports.render import markdown as render_markdown
from reports.report import build
from reports.tables.table import Kind, Table

GOLDEN = Path(__file__).parent / "golden" / "papers"
REAL = {"dataset": "mvtec_loco", "images": 1}
DFSC = {"quantile": 0.999, "in_relu": True, "sigmoid": True, "ema": "eval_copy"}
PSAD = {"banks": "hcp", "as_scale": "max", "train_fraction": 1.0, "losses": "sup+H+hist"}


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    """Runs for every table; no trial of some methods, missing trials of others."""
    folder = tmp_path_factory.mktemp("papers")
    with chdir(folder):
        return load([p.relative_to(folder) for p in of_papers(folder)])


def rows(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render_csv.render(table))))


def row(table: Table, label: str, group: str = "") -> dict[str, str]:
    found = [r for r in rows(table) if label in r.values() and group in ("", r.get("group"))]
    assert len(found) == 1
    return found[0]


def headings(table: Table) -> list[str]:
    return [c.heading for c in table.columns if c.kind is Kind.STATISTIC]


def made(tmp_path: Path, key: str, *entries: Entry, categories=FIVE, **options: Any) -> Table:
    run = write_run(tmp_path / "run", entries, categories, **(REAL | options))
    return paper_table(load([run]), PAPERS[key])


def values(frame: Frame, method: str, subset: str, shots: int, seed: str, categories=NINE) -> list[float]:
    """By plain selection; the slow twin of the engine."""
    found = []
    for category in categories:
        m = frame.metrics
        some = m[(m["variant"].str.partition("[")[0] == method) & (m["measure"] == "auroc")]
        some = some[(some["subset"] == subset) & (some["shots"] == shots) & (some["seed"] == seed)]
        found += some.loc[some["category"] == category, "value"].tolist()
    return found


def test_an_average_over_categories_is_taken_per_seed(frame: Frame):
    found = row(paper_table(frame, PAPERS["clip_lad1"]), "Average", "2-shot")
    means = [fmean(values(frame, "patchcore", "all", 2, f"{s}/{s}")) for s in range(5)]
    assert float(found["patchcore_ours"]) == pytest.approx(fmean(means), abs=1e-12)
    assert float(found["patchcore_ours_std"]) == pytest.approx(stdev(means), abs=1e-12)
    assert found["patchcore_ours_n"] == found["patchcore_ours_planned"] == "5"
    assert (found["patchcore_published"], found["patchcore_published_std"]) == ("0.741", "0.011")
    assert float(found["patchcore_ours_difference"]) == pytest.approx(fmean(means) - 0.741)


def test_an_average_over_shots_is_taken_per_seed_too(tmp_path: Path):
    def everywhere(row, value):
        return [metric_row("structural", "auroc", value)]

    run = write_run(
        tmp_path / "run", [Entry("clip_lad", 0.7, shots=(1, 2, 4))], NINE, metrics=everywhere, **REAL
    )
    frame = load([run])
    found = row(paper_table(frame, PAPERS["clip_lad2"]), "CLIP-LAD")
    per_seed = [
        fmean(v for k in (1, 2, 4) for v in values(frame, "clip_lad", "structural", k, f"{s}/{s}"))
        for s in range(3)
    ]
    assert float(found["structural_ours"]) == pytest.approx(fmean(per_seed), abs=1e-12)
    assert float(found["structural_ours_std"]) == pytest.approx(stdev(per_seed), abs=1e-12)
    assert found["logical_ours"] == ""  # not measured


def test_logical_structural_and_their_mean_stand_in_their_rows(frame: Frame):
    table = paper_table(frame, PAPERS["psad1"])
    for label, subset in (("Average (LA)", "logical"), ("Average", "mean")):
        some = frame.metrics[
            (frame.metrics["variant"].str.contains("hcp")) & (frame.metrics["shots"] == FULL)
        ]
        some = some[(some["measure"] == "auroc") & (some["subset"] == subset)]
        best = some[some["variant"].str.contains("as_scale=max.*losses=sup\\+H\\+hist")]
        by_seed = best.groupby("seed")["value"].agg(["mean", "size"])
        assert set(by_seed["size"]) == {5}
        assert float(row(table, label)["psad_ours"]) == pytest.approx(by_seed["mean"].mean(), abs=1e-12)


def test_trials_of_other_tables_stay_out(frame: Frame):
    """Eleven settings of PSAD were run: one is of Table 1, the others have their places in 2 to 4."""
    assert [h for h in headings(paper_table(frame, PAPERS["psad1"])) if "PSAD" in h] == ["PSAD / ours"]
    for key, filled in (("psad2", 3), ("psad3", 5)):
        found = [r for r in rows(paper_table(frame, PAPERS[key])) if r["la_ours"]]
        assert len(found) == filled
        assert len({r["la_ours"] for r in found}) == filled
    fractions = rows(paper_table(frame, PAPERS["psad4"]))[0]
    assert all(fractions[f"{f}_ours"] for f in ("100", "50", "25", "125"))


def test_every_margin_has_its_column_and_the_oracle_is_named(frame: Frame):
    table = paper_table(frame, PAPERS["dfsc1"])
    ours = [h for h in headings(table) if h.startswith("Ours")]
    assert ours == [f"Ours / ours margin={m}" for m in (0.0, 0.2, 0.4, 1.0, 2.0, "oracle")]
    mark = "oracle: margin chosen per category by AUROC on the test images"
    for found in rows(table):
        assert mark in found["ours_ours_margin_oracle_marks"]
        assert mark in found["ours_ours_margin_oracle_difference_reasons"]
        assert found["ours_ours_margin_oracle_difference_verdict"] == "n.c."
        assert mark not in found["ours_ours_margin_04_marks"]


def test_the_oracle_takes_the_best_margin_of_each_category(frame: Frame):
    table = paper_table(frame, PAPERS["dfsc1"])
    means = {r["category"]: r for r in rows(paper_table(frame, PAPERS["dfsc3"]))}
    for category in ("Pushpins", "Screw Bag"):
        by_margin = {m: float(means[category][f"m_{m}_ours"]) for m in ("00", "02", "04", "10", "20")}
        best = max(by_margin, key=lambda m: by_margin[m])
        found = row(table, category, "Logical")
        assert found["ours_ours_margin_oracle"] == found[f"ours_ours_margin_{best}"]


def test_one_margin_alone_is_no_oracle(tmp_path: Path):
    table = made(tmp_path, "dfsc1", Entry("efficientad_dfsc", 0.9, {**DFSC, "margin": 0.4}, shots=(None,)))
    assert headings(table) == ["Ours / ours"]


def test_two_resolutions_are_two_columns(tmp_path: Path):
    both = [Entry("patchcore", 0.8, {"image_size": size}, shots=(None,)) for size in (224, 256)]
    table = made(tmp_path, "psad1", *both)
    assert headings(table) == ["PatchCore / ours image_size=224", "PatchCore / ours image_size=256"]


def test_two_ways_to_draw_supports_are_two_columns(tmp_path: Path):
    entry = Entry("patchcore", 0.8, shots=(1,), seeds=(0, 1))
    a = write_run(tmp_path / "a", [entry], NINE, **REAL)
    b = write_run(tmp_path / "b", [replace(entry, seeds=(2, 3))], NINE, support="vand2025", **REAL)
    table = paper_table(load([a, b]), PAPERS["clip_lad1"])
    assert headings(table) == ["PatchCore / ours support=nested", "PatchCore / ours support=vand2025"]
    assert {r["patchcore_ours_support_nested_planned"] for r in rows(table)} <= {"2", ""}


def test_two_definitions_of_a_metric_are_two_columns_even_where_methods_are_rows(tmp_path: Path):
    def versions(row, value):
        version = 1 if row["method"] == "clip" else 2
        return [r | {"metric_version": version} for r in metric_rows(row, value)]

    both = [Entry(method, 0.8, shots=(1,)) for method in ("clip", "clip_lad")]
    table = made(
        tmp_path, "clip_lad3", *both, categories=(FIVE[1], FIVE[4]), metrics=versions, support="per_subtype"
    )
    average = [h for h in headings(table) if h.startswith("Average")]
    assert average == ["Average / ours metric=AUROC [v1]", "Average / ours metric=AUROC [v2]"]
    filled = {r["method"]: [k for k, v in r.items() if v and k.endswith("_n")] for r in rows(table)}
    assert all("v1" in k for k in filled["CLIP"])
    assert all("v2" in k for k in filled["CLIP-LAD"])


def test_another_limit_is_not_taken_for_the_one_of_the_table(tmp_path: Path):
    def limits(row, value):
        return [metric_row("mean", "auspro", value, limit) for limit in (0.05, 0.3)]

    entry = Entry("patchcore", 0.6, shots=(None,), seeds=(0,))
    table = made(tmp_path, "dfsc2", entry, metrics=limits)
    assert headings(table) == ["PatchCore / ours"]

    def only_30(row, value):
        return [metric_row("mean", "auspro", value, 0.3)]

    table = made(tmp_path / "b", "dfsc2", entry, metrics=only_30)
    assert {r["patchcore_ours"] for r in rows(table)} == {""}
    assert "no number: not measured" in table.footnotes


def test_a_mean_over_missing_trials_is_not_printed(frame: Frame):
    found = row(paper_table(frame, PAPERS["clip_lad1"]), "Average", "1-shot")
    assert found["sinbad_ours"] == ""
    assert found["sinbad_ours_marks"] == "no number: 4/5 seeds in pushpins"
    single = row(paper_table(frame, PAPERS["clip_lad1"]), "Pushpins", "1-shot")
    assert (single["sinbad_ours_n"], single["sinbad_ours_planned"]) == ("4", "5")
    assert single["sinbad_ours_difference_reasons"] == "seeds are missing"


def test_one_image_of_each_sub_type_is_not_one_image(frame: Frame):
    """The same number of shots, drawn by another rule, belongs to Table 3 and nowhere else."""
    assert row(paper_table(frame, PAPERS["clip_lad3"]), "CLIP-LAD")["average_ours"]
    assert not row(paper_table(frame, PAPERS["clip_lad1"]), "Pushpins", "1-shot").get("clip_ours")


def test_parameters_named_by_the_tables_are_parameters_of_the_methods():
    for spec in PAPERS.values():
        for contestant in spec.contestants:
            if contestant.ours in METHODS:
                known = {f.name for f in fields(METHODS.load(contestant.ours))}
                named = {*contestant.settings, *contestant.paper, contestant.oracle} - {""}
                axes = spec.axes if contestant.published == spec.own else set()
                assert named | axes <= known


def test_zero_shot_methods_stand_at_every_number_of_shots(frame: Frame):
    found = [row(paper_table(frame, PAPERS["clip_lad1"]), "Pushpins", f"{k}-shot") for k in (1, 2, 4)]
    assert len({r["winclip_ours"] for r in found}) == 1
    assert found[0]["winclip_ours_std"] == ""


def test_unreadable_cells_stay_a_dash(frame: Frame):
    table = paper_table(frame, PAPERS["clip_lad3"])
    found = row(table, "PatchCore")
    assert found["juice_bottle_published"] == ""
    assert "unreadable in the paper: one of 71.0 and 73.3" in found["juice_bottle_published_marks"]
    assert "| PatchCore" in render_markdown.table(table)
    line = next(t for t in render_markdown.table(table).splitlines() if t.startswith("| PatchCore"))
    assert "_–_" in line


def published(text: str, std: float | None = None) -> Published:
    return Published(
        Key("psad", "table1", "PSAD", "mean", "mean", "full", "-", "auroc"), text, float(text), std
    )


def series(dataset: str = "mvtec_loco", **rest: Any) -> Series:
    return Series(Contestant("PSAD", "psad", paper={"size": 512}), Protocol(dataset, "{}", "auroc"), rest, ())


@pytest.mark.parametrize(
    ("text", "std", "mean", "ours_std", "word"),
    [
        ("94.9", None, 0.9494, None, Word.WITHIN),  # equal as printed
        ("94.9", None, 0.9496, None, Word.OFF),
        ("94.9", None, 0.940, 0.01, Word.WITHIN),
        ("94.9", None, 0.930, 0.01, Word.OFF),
        ("74.0", 1.0, 0.749, 0.001, Word.WITHIN),
        ("74.0", 1.0, 0.751, 0.001, Word.OFF),
        ("100", None, 0.9960, None, Word.WITHIN),
    ],
)
def test_verdicts(text: str, std: float | None, mean: float, ours_std: float | None, word: Word):
    found = verdict(published(text, std), Ours(mean, ours_std, 3, 3), series())
    assert found is not None
    assert (found.word, found.reasons) == (word, ())
    assert found.difference == pytest.approx(100 * mean - float(text))


@pytest.mark.parametrize(
    ("ours", "of", "reason"),
    [
        (Ours(0.9, None, 1, 1, marks=("unofficial split",)), series(), "unofficial split"),
        (Ours(0.9, None, 1, 1), series("mvtec_ad"), "data set mvtec_ad"),
        (Ours(0.9, None, 1, 1), series(size=256), "size 256, in the paper 512"),
        (Ours(0.9, None, 2, 3), series(), "seeds are missing"),
        (Ours(0.9, None, 1, 1, scope="over 1/4 shots"), series(), "over 1/4 shots"),
    ],
)
def test_reasons_against_a_comparison(ours: Ours, of: Series, reason: str):
    found = verdict(published("90.0"), ours, of)
    assert found is not None
    assert (found.word, found.reasons) == (Word.NOT_COMPARABLE, (reason,))


def test_weights_of_the_architecture_of_the_paper_are_its_own():
    contestant = Contestant("PatchCore", "patchcore", paper={"backbone": "wide_resnet50_2"})
    for backbone, reasons in (
        ("wide_resnet50_2.tv_in1k", ()),
        ("wide_resnet50_2", ()),
        ("wide_resnet101_2.tv_in1k", ("backbone wide_resnet101_2.tv_in1k, in the paper wide_resnet50_2",)),
    ):
        one = replace(series(backbone=backbone), contestant=contestant)
        found = verdict(published("90.0"), Ours(0.9, None, 1, 1), one)
        assert found is not None
        assert found.reasons == reasons


def test_without_a_number_there_is_no_verdict():
    assert verdict(published("90.0"), Ours(None, None, 0, 3, "pending"), series()) is None
    nothing = replace(published("90.0"), text="", value=None)
    assert verdict(nothing, Ours(0.9, None, 1, 1), series()) is None


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    marks = ("demo data", "demo weights")
    entries = [
        Entry("clip_lad", 0.7, shots=(1, 4), marks=marks),
        Entry("psad", 0.7, PSAD, shots=(None,), marks=marks),
    ]
    run = write_run(tmp_path_factory.mktemp("demo") / "run", entries, FIVE, images=1, dataset="demo")
    return load([run])


def test_demo_data_fill_the_tables_and_are_never_comparable(demo: Frame):
    for key in ("psad1", "clip_lad1", "clip_lad2"):
        table = paper_table(demo, PAPERS[key])
        found = [(r[k], r[k + "_reasons"]) for r in rows(table) for k in r if k + "_reasons" in r and r[k]]
        assert found
        assert all("demo data; demo weights" in reasons for _, reasons in found)
        words = {c.verdict for g in table.groups for r in g.rows for c in r.cells if c.verdict}
        assert words == {"n.c."}


def test_demo_averages_are_over_what_there_is_and_say_so(demo: Frame):
    found = row(paper_table(demo, PAPERS["clip_lad2"]), "CLIP-LAD")
    assert found["logical_ours"]
    assert "average over 5 categories, not 9, over 1/4 shots" in found["logical_ours_difference_reasons"]
    one = paper_table(demo, PAPERS["clip_lad1"])
    assert row(one, "Juice bottle (not in the paper)", "1-shot")["clip_lad_ours"]


def test_real_averages_are_never_over_what_there_is(tmp_path: Path):
    table = made(tmp_path, "psad1", Entry("psad", 0.9, PSAD, shots=(None,)), categories=FIVE[:4])
    found = row(table, "Average (LA)")
    assert found["psad_ours"] == ""
    assert found["psad_ours_marks"] == "no number: not planned in splicing connectors"


def test_without_structural_anomalies_their_cells_are_undefined(tmp_path: Path):
    def only_logical(row, value):
        undefined = [metric_row(subset, "auroc", None) for subset in ("structural", "mean")]
        return [metric_row("logical", "auroc", value), *undefined]

    table = made(tmp_path, "psad1", Entry("psad", 0.9, PSAD, shots=(None,)), metrics=only_logical)
    assert row(table, "Average (LA)")["psad_ours"]
    for label in ("Average (SA)", "Average"):
        assert row(table, label)["psad_ours"] == ""
        assert row(table, label)["psad_ours_marks"] == "no number: undefined"


def test_the_sweep_files_that_are_named_are_there():
    root = Path(__file__).parent.parent
    assert [spec.config for spec in PAPERS.values() if not (root / spec.config).is_file()] == []


def test_what_is_not_there_is_said(frame: Frame):
    notes = " ".join(paper_table(frame, PAPERS["psad1"]).notes)
    assert "no trial of ours for this table): RD4AD, DRAEM, ST, AST, GCAD, SINBAD, ComAD, SLSG." in notes
    nothing = paper_table(frame, replace(PAPERS["psad1"], contestants=(Contestant("PSAD", "nobody"),)))
    assert "configs/psad_table1.yaml makes ours of PSAD." in nothing.notes


def test_tables_are_chosen_by_the_methods_that_were_run(frame: Frame, tmp_path: Path):
    assert chosen(frame, "auto") == list(PAPERS)
    baselines = load([write_run(tmp_path / "run", [Entry("patchcore", 0.8, shots=(None,))], FIVE, **REAL)])
    assert chosen(baselines, "auto") == []
    assert chosen(baselines, "psad1, dfsc3") == ["psad1", "dfsc3"]
    assert chosen(baselines, "papers") == list(PAPERS)
    assert chosen(baselines, "none") == []
    with pytest.raises(
        ConfigError, match=r"--tables: unknown 'psad11' \(did you mean 'psad1'\?\); known: auto"
    ):
        chosen(baselines, "psad11")


def test_the_command_writes_them_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = write_run(tmp_path / "run", [Entry("patchcore", 0.8, shots=(None,))], FIVE, **REAL)
    assert main([str(run), "--tables", "psad1,dfsc2", "--no-figures"]) == 0
    out = run / "report"
    assert (out / "csv" / "psad1.csv").is_file()
    assert r"\input{dfsc2}" in (out / "tex" / "report.tex").read_text()
    assert "PSAD, Table 1: AUROC on MVTec LOCO AD" in (out / "report.md").read_text()
    assert main([str(run), "--tables", "psad9"]) == 2
    assert "--tables: unknown 'psad9'" in capsys.readouterr().err


def test_published_numbers_look_like_no_number_of_ours(frame: Frame):
    table = paper_table(frame, PAPERS["psad1"])
    kinds = {c.kind for c in table.columns}
    assert kinds == {Kind.PUBLISHED, Kind.STATISTIC, Kind.VERDICT}
    line = next(t for t in render_markdown.table(table).splitlines() if t.startswith("| Average (LA)"))
    assert "_98.1_" in line
    assert r"\textit{98.1}" in render_latex.render(table)


def test_marks_reach_every_format(frame: Frame):
    table = paper_table(frame, PAPERS["psad2"])
    assert "stand-in labels" in render_markdown.table(table)
    assert r"\,stand-in labels" in render_latex.render(table)
    assert {r["la_ours_marks"] for r in rows(table) if r["la_ours"]} == {"stand-in labels"}


def test_a_source_of_parts_has_its_row_and_a_tools_maps_theirs(tmp_path: Path):
    ours = {**PSAD, "labels": "ours", "labels_dir": "l", "segments_dir": None}
    theirs = {**ours, "segmentation": "folder", "labels": "scops", "labels_dir": None, "segments_dir": "s"}
    entries = [
        Entry("psad", level, params, shots=(None,))
        for level, params in (
            (0.9, {**ours, "segmentation": "own"}),
            (0.8, {**ours, "segmentation": "repri"}),
            (0.7, theirs),
            (0.6, {**theirs, "segmentation": "kmeans", "labels": "none", "segments_dir": None}),
        )
    ]
    table = made(tmp_path, "psad2", *entries)
    filled = {
        who: [r["model"] for r in rows(table) if r[f"la_ours_labels_{who}"]] for who in ("ours", "scops")
    }
    assert filled == {"ours": ["RePRI", "Ours (L_sup + L_H + L_hist)"], "scops": ["SCOPS"]}
    assert [r["model"] for r in rows(table) if r["la_ours_labels_none"]] == ["K-means co-parts"]


@pytest.mark.parametrize("key", list(PAPERS))
def test_golden_files(frame: Frame, key: str):
    """`LADDER_UPDATE_GOLDEN=1 pytest tests/test_reports_papers.py` writes them anew; look at the diff."""
    made = render_markdown.table(paper_table(frame, PAPERS[key])) + "\n"
    kept = GOLDEN / f"{key}.md"
    if os.environ.get("LADDER_UPDATE_GOLDEN"):
        kept.write_text(made, encoding="utf-8")
    assert made == kept.read_text(encoding="utf-8")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_latex_of_the_papers_compiles(frame: Frame, tmp_path: Path):
    report = build(frame, papers=list(PAPERS))
    (tmp_path / "tex").mkdir()
    for path, text in render_latex.files(report).items():
        (tmp_path / path).write_text(text, encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(
        words, cwd=tmp_path / "tex", capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull \\vbox" not in done.stdout

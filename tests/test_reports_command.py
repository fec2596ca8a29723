import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import LIMIT, wait_for
from reports_synthetic import Entry, showcase, unfinished, write_run

from harness.results import RunWriter
from reports.command import main
from reports.watching import stamp

IMPORTS = (
    "import sys, reports.command, reports.tables.accuracy, reports.tables.provenance; print(*sys.modules)"
)


def python(*words: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in the root of the project."""
    command, root = [sys.executable, *words], Path(__file__).parent.parent
    return subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)


def test_it_writes_every_format_and_prints_the_main_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = write_run(tmp_path / "few", showcase())
    assert main([str(run)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "few: finished: 75 of 75 trials, 2 not ok, 6 skipped\n\nAUROC, average over the 3 categories · loco"
    )
    assert "| patchcore[coreset_ratio=0.01] |" in out
    for name in ("report.md", "report.html", "csv/cost.csv", "tex/report.tex", "sweep-few.yaml"):
        assert (run / "report" / name).is_file()
    figures = {p.stem for p in (run / "report/figures").glob("*.pdf")}
    assert figures
    page = (run / "report/report.html").read_text()
    assert (
        set(re.findall(r'<img src="data:image/svg\+xml;base64,[^"]+" alt="figure ([^"]+)">', page)) == figures
    )
    assert str(run / "report" / "report.html") in out


def test_formats_and_folder_can_be_chosen(tmp_path: Path):
    run = write_run(tmp_path / "few", [Entry("m", 0.8)])
    assert main([str(run), "--format", "csv,md", "--out", str(tmp_path / "out")]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"report.md", "csv", "sweep-few.yaml"}
    assert not (run / "report").exists()


def test_several_runs_are_one_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "a", [Entry("m", 0.8)])
    write_run(tmp_path / "b", [Entry("n", 0.7)])
    assert main(["a", "b", "--format", "md"]) == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert text.startswith("# a, b\n\n> finished: 36 of 36 trials")
    assert "| m " in text
    assert "| n " in text
    assert {p.name for p in (tmp_path / "report").iterdir()} == {"report.md", "sweep-a.yaml", "sweep-b.yaml"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fewshoot"], "fewshoot: not a run directory (no sweep.json) (did you mean 'fewshot'?)"),
        (
            ["fewshot", "--format", "htm"],
            "--format: unknown 'htm' (did you mean 'html'?); known: md, tex, csv, html",
        ),
        (["fewshot", "--out", "fewshot/sweep.json"], "cannot be written"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "fewshot", [Entry("m", 0.8)])
    assert main(words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_importing_reports_imports_neither_torch_nor_ray():
    done = python("-c", IMPORTS)
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert "pandas" in roots
    assert not roots & {"torch", "ray", "timm", "matplotlib", "methods", "sweeps"}


@pytest.mark.slow  # `benchmarks.reports_scale` measures ten times as many
def test_a_thousand_trials_of_a_hundred_images_take_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    entries = [Entry("m", 0.8, {"margin": i}, shots=(1, 4), seeds=range(5)) for i in range(10)]
    run = write_run(tmp_path / "big", entries, [f"category_{i}" for i in range(10)], images=100)
    began = time.process_time()
    assert main([str(run), "--no-figures"]) == 0
    assert time.process_time() - began < 30
    assert "finished: 1000 of 1000 trials" in capsys.readouterr().out


def test_a_watched_report_is_made_again_until_nothing_is_missing(tmp_path: Path):
    run = write_run(tmp_path / "run", [Entry("m", 0.8, fate=unfinished)])
    words = ["--watch", "1", "--no-figures", "--format", "html", "--tables", "none"]
    command = [sys.executable, "-m", "reports", str(run), *words]
    page = run / "report/report.html"
    watching = subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: page.is_file() and 'data-watched="1"' in page.read_text())
        write_run(run, [Entry("m", 0.8)])
        assert watching.wait(LIMIT) == 0
    finally:
        watching.kill()
    assert "finished: 18 of 18 trials" in page.read_text()
    assert "data-watched" not in page.read_text()


def test_a_new_result_changes_the_stamp_of_a_run(tmp_path: Path):
    run = write_run(tmp_path / "run", [Entry("m", 0.8, fate=unfinished)])
    before = stamp([run])
    assert stamp([run]) == before
    writer = RunWriter(run)
    writer.started("x")
    assert stamp([run]) != before
    writer.close()

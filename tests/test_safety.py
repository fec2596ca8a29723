"""Runs of strangers: what their files say writes nothing elsewhere, starts nothing, and is quoted."""

import csv
import io
import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from browser import CHROMIUM, browser
from conftest import write_tree
from reports_synthetic import Entry, write_run

from harness import maps as maps_command
from harness.confined import below, component, spelt
from harness.console import _outlet, code_of
from harness.curate import command as data
from harness.errors import DataError
from harness.results import read_driver, read_run, write_sweep
from harness.results.driver import Driver
from harness.results.kept import kept_path, write_kept
from harness.results.maps import pack
from harness.sweep import main as sweep
from methods import METHODS
from reports.command import main as reports
from reports.frame.load import load
from reports.render.csv import render
from reports.render.formats import write
from reports.render.html import render as render_html
from reports.report import build, with_page
from reports.tables.provenance import facts, sweep_file
from reports.tables.table import Cell, Column, Group, Kind, Row, Table, text
from sweeps.token import PLACE, close_token

EVIL = "a/../../../x; echo 'no' $(id)"


def renamed(run: Path, name: str) -> Path:
    write_sweep(run, read_run(run).config | {"name": name})
    return run


# --- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/etc/x", "a/b", "a\\b", "\0", "\n", ".x", "x" * 300, "\udcff"]
)
def test_any_text_becomes_one_component(tmp_path: Path, name: str):
    made = component(name)
    path = tmp_path / f"{made}.txt"
    path.write_text("")
    assert path.resolve().parent == tmp_path
    assert component(made) == made


def test_components_of_different_texts_differ():
    names = ["a/b", "a_b", "a\\b", "a:b", "a?b", "a", " a", "x" * 200, "x" * 201]
    assert len({component(name) for name in names}) == len(names)
    assert component("fewshot-2 (large)") == "fewshot-2 (large)"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "a/\0"])
def test_what_does_not_lie_below_is_refused(tmp_path: Path, name: str):
    with pytest.raises(DataError, match="does not lie below"):
        below(tmp_path, name)
    with pytest.raises(DataError, match="does not lie below"):
        write(tmp_path, {name: "x"})


def tree(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_the_name_of_a_sweep_writes_nothing_outside(tmp_path: Path):
    run = renamed(write_run(tmp_path / "deep" / "er" / "run", [Entry("m", 0.8)]), EVIL)
    before = tree(tmp_path)
    assert reports([str(run), "--out", str(tmp_path / "out"), "--format", "md"]) == 0
    assert {path.parent for path in tree(tmp_path) - before} == {tmp_path / "out"}


def test_ids_of_kept_maps_write_nothing_outside(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = write_run(tmp_path / "deep" / "run", [Entry("m", 0.8)])
    write_sweep(run, read_run(run).config | {"dataset": {"name": "loco", "root": str(tmp_path)}})
    trial = read_run(run).trials["trial_id"].iloc[0]
    write_kept(run, "maps", trial, pack(["../../escaped.png"], np.ones((1, 2, 2))))
    before = tree(tmp_path)
    assert maps_command.main([str(run), trial, "--out", str(tmp_path / "out")]) == 2
    assert "'../../escaped.png' does not lie below" in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_a_trial_id_is_no_path(tmp_path: Path):
    assert kept_path(tmp_path, "maps", "../../x").parent == tmp_path / "maps"


def test_a_demo_data_set_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("harness.datasets.demo.files.write", full)
    few = [f"--{name}=1" for name in ("train", "validation", "good", "logical", "structural", "workers")]
    out = tmp_path / "demo"
    assert data.main(METHODS, ["demo", str(out), "--categories", "pushpins", *few]) == 2
    assert f"error: {out}: cannot be written (No space left on device)\n" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["maps", "reports"])
def test_what_cannot_be_written_is_one_line(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]):
    run = write_run(tmp_path / "run", [Entry("m", 0.8)])
    trial = read_run(run).trials["trial_id"].iloc[0]
    (tmp_path / "file").write_text("no folder")
    out = ["--out", str(tmp_path / "file")]
    if command == "maps":
        from PIL import Image

        (tmp_path / "breakfast_box").mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / "breakfast_box" / "a.png")
        write_sweep(run, read_run(run).config | {"dataset": {"name": "loco", "root": str(tmp_path)}})
        write_kept(run, "maps", trial, pack(["a.png"], np.ones((1, 2, 2))))
        assert maps_command.main([str(run), trial, *out]) == 2
    else:
        assert code_of(lambda: reports([str(run), *out, "--format", "md", "--no-figures"])) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert f"{tmp_path}/file" in said


# --- cells --------------------------------------------------------------------------------------------------


def test_no_cell_of_a_csv_is_a_formula():
    names = ["=HYPERLINK()", "+1+1", "-x", "@SUM(A1)", "\tx", "\r=1", "plain", "-0.25", "+3", "-", "−0.3"]
    rows = tuple(Row(name, (text(name), Cell("x", -0.5))) for name in names)
    columns = (Column("=key", "=label", Kind.TEXT), Column("number", "number"))
    table = Table("t", "t", "", "=Stub", columns, (Group("=g", rows),))
    found = list(csv.reader(io.StringIO(render(table))))
    assert found[0] == ["group", "'=stub", "'=key", "number"]
    inert = [
        "'=HYPERLINK()",
        "'+1+1",
        "'-x",
        "'@SUM(A1)",
        "'\tx",
        "' =1",
        "plain",
        "-0.25",
        "+3",
        "'-",
        "−0.3",
    ]
    assert [row[1:3] for row in found[1:]] == [[name, name] for name in inert]
    assert {row[3] for row in found[1:]} == {"-0.5"}


# --- commands -----------------------------------------------------------------------------------------------


def test_the_command_in_the_provenance_is_quoted(tmp_path: Path):
    run = renamed(write_run(tmp_path / "it's $HOME" / "run", [Entry("m", 0.8)]), EVIL)
    frame = load([run])
    again = dict(facts(frame.sources[0], frame.trials))["go on, or again"].text
    assert shlex.split(again)[2:] == ["harness.sweep", sweep_file(frame.sources[0]), f"out={run}"]


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_the_commands_on_the_page_are_quoted(tmp_path: Path):
    run = renamed(write_run(tmp_path / "it's $HOME" / "run", [Entry("m", 0.8)]), EVIL)
    frame = load([run])
    page = tmp_path / "report.html"
    page.write_text(render_html(with_page(build(frame), frame, pictures=False)), encoding="utf-8")
    trial = frame.trials["trial_id"].iloc[0]
    with browser(tmp_path / "profile") as tab:
        tab.open(page, f"#trials?trial={trial}")
        said = tab.run("[...document.querySelectorAll('dd')].map((d) => d.innerText)")
    commands = [shlex.split(line) for line in said if line.startswith("python -m")]
    assert [words[2:4] for words in commands] == [
        ["harness.show", str(run)],
        ["harness.sweep", sweep_file(frame.sources[0])],
    ]
    assert commands[0][4] == trial


@pytest.mark.parametrize(
    ("command", "again"),
    [
        ("python -m harness.sweep a.yaml 'out=b c'", "python -m harness.sweep a.yaml 'out=b c'"),
        ("python -X dev /usr/bin/ladder a.yaml", "python -m harness.sweep a.yaml"),
        ("rm -rf ~; python -m harness.sweep a.yaml; id", "python -m harness.sweep 'a.yaml;' id"),
        ("python -m harness.sweep $(id) `id`", "python -m harness.sweep '$(id)' '`id`'"),
        ("python -m harness.sweep a.yaml \x1b[2J", ""),
        ("python -m harness.sweep 'a", ""),
        ("python -m pytest", ""),
        ("", ""),
    ],
)
def test_the_command_of_a_driver_is_read_and_quoted_anew(command: str, again: str):
    assert Driver("h", 1, command).again == again


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"host": 1, "pid": 2}', '{"host": "h", "pid": true}', "\udcff"]
)
def test_a_note_that_is_none_is_nobody(tmp_path: Path, content: str):
    (tmp_path / "driver.json").write_text(content, errors="surrogateescape")
    assert read_driver(tmp_path) is None


# --- Ray ----------------------------------------------------------------------------------------------------


def test_the_token_of_a_local_cluster_is_for_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(PLACE, raising=False)
    close_token(tmp_path)  # none there: nothing to do
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    monkeypatch.setenv(PLACE, str(token))
    close_token(tmp_path)
    assert token.stat().st_mode & 0o777 == 0o644  # somebody has settled where it lies, and who reads it
    monkeypatch.delenv(PLACE)
    close_token(tmp_path)
    assert token.stat().st_mode & 0o777 == 0o600


def test_a_run_folder_with_an_odd_name_is_reported(tmp_path: Path):
    name = os.fsdecode(b"run \xff")
    run = write_run(tmp_path / name, [Entry("m", 0.8)])
    assert reports([str(run), "--out", str(tmp_path / "out"), "--format", "md,csv,html", "--no-figures"]) == 0
    assert "run " in (tmp_path / "out" / "report.md").read_text()
    assert json.loads((run / "sweep.json").read_text())["config"]["name"] == name


# --- file names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "category"), [(b"\xff\xfe.png", False), (b"b\xe4", True)])
def test_names_that_are_not_utf8_are_refused_before_the_start(
    tmp_path: Path, name: bytes, category: bool, monkeypatch: pytest.MonkeyPatch
):
    root = write_tree(tmp_path / "data", ("bolt",))
    if category:
        shutil.copytree(root / "bolt", root / os.fsdecode(name))
    else:
        good = root / "bolt" / "test" / "good"
        shutil.copy(good / "000.png", good / os.fsdecode(name))
    content = {"name": "t", "dataset": {"name": "mvtec_ad", "root": str(root)}, "shots": [1], "seeds": 1}
    content |= {"methods": [{"name": "mean_image"}], "out": str(tmp_path / "run")}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    said = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", _outlet(io.TextIOWrapper(said, write_through=True)))
    assert sweep([str(tmp_path / "sweep.yaml"), "--dry-run"]) == 2
    assert spelt(os.fsdecode(name)) in said.getvalue().decode()
    assert b": the name is not UTF-8; rename it" in said.getvalue()
    assert not (tmp_path / "run").exists()

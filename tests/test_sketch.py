"""Tiny drawn copies of the layouts of all data sets."""

import json
from pathlib import Path

import pytest

from harness.curate.check import check, guess
from harness.curate.command import main as command
from harness.datasets import DATASETS
from harness.datasets.easel import Easel, plate
from methods import METHODS

DRAWN = [name for name in DATASETS.own if DATASETS.load(name).sketcher is not None]
FEW = ("--train", "2", "--test", "1")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LADDER_CACHE", str(tmp_path / "cache"))


def _main(*words: str) -> int:
    return command(METHODS, words)


def test_every_data_set_but_the_demo_has_a_sketcher():
    assert [name for name in DATASETS.own if name not in DRAWN] == ["demo"]


@pytest.mark.parametrize("name", DRAWN)
def test_a_sketch_is_known_again_whole_and_marked(name: str, tmp_path: Path):
    """Nothing is wrong with it; `check` says what it is; whatever is made with it is marked."""
    root, two = tmp_path / "out", list(DATASETS.load(name).counts)[:2]
    assert _main("sketch", name, str(root), *FEW, *(["--categories", *two] if two else [])) == 0
    dataset = guess(root)
    report = check(root, dataset)
    assert (dataset.name, list(report.problems)) == (name, [])
    assert set(report.found) >= set(two)
    said = "drawn by Ladder: its counts are no archive's, its numbers are demo data"
    assert report.notes[0] == f"{root}: a sketch of {name}, {said}"
    layout = [line.partition(":")[0].removeprefix("ROOT/") for line in dataset.layout]
    assert len(layout) > 3 and [line for line in layout if not (root / line).is_file()] == []
    for inspection in report.found.values():
        split = inspection.split
        assert split.marks[0] == "demo data"
        assert len(split.train) >= 2 and {s.label == "good" for s in split.test} == {True, False}


def test_the_same_again_changes_nothing_and_another_is_refused(tmp_path: Path, capsys):
    root, words = tmp_path / "out", ("sketch", "mvtec_ad", str(tmp_path / "out"), "--categories", "bottle")
    assert _main(*words, *FEW) == 0
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert len(before) == 1 + 2 + 1 + 2 * 2  # the marker; train; good; two defects with their masks
    assert _main(*words, *FEW) == 0
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before
    assert _main(*words) == 2
    assert "holds another sketch (train 2, not 6; test 1, not 3)" in capsys.readouterr().err


def test_an_unfinished_sketch_is_no_data_set(tmp_path: Path):
    root = tmp_path / "out"
    assert _main("sketch", "folder", str(root), *FEW) == 0
    marker = root / "sketch.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"complete": False}))
    assert f"{root}: drawing the sketch was interrupted; run it again" in check(root, guess(root)).problems
    assert _main("sketch", "folder", str(root), *FEW) == 0
    assert not check(root, guess(root)).problems


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("demo",), "demo: no sketch of this data set; `python -m harness.data demo OUT` draws all of it"),
        (("mvtec_a",), "unknown dataset 'mvtec_a' (did you mean 'mvtec_ad'?)"),
        (
            ("mvtec_ad", "--categories", "botle"),
            "no category 'botle' (did you mean 'bottle'?); known: b",
        ),
        (("mvtec_ad", "--train", "0"), "--train 0 --test 3: at least 1 each"),
    ],
)
def test_what_cannot_be_drawn_is_said(words: tuple[str, ...], said: str, tmp_path: Path, capsys):
    assert _main("sketch", words[0], str(tmp_path / "out"), *words[1:]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path: Path, capsys):
    (tmp_path / "thesis.tex").write_text("x")
    assert _main("sketch", "mvtec_ad", str(tmp_path)) == 2
    assert f"{tmp_path}: not empty, and no sketch (thesis.tex)" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_pictures_show_what_their_masks_say(tmp_path: Path):
    easel = Easel(tmp_path)
    assert not easel.picture("a/0.png", "a").any()
    for kind in ("logical", "scratch"):
        pixels, marked = plate("a", "0.png", kind)
        assert pixels.shape == (64, 80, 3) and 10 < marked.sum() < 0.2 * marked.size
    for suffix in ("JPG", "bmp"):
        easel.picture(f"a/0.{suffix}", "a", size=(20, 30))

import json
import os
from pathlib import Path

import numpy as np
import pytest
from data_trees import SIZE, image, loco, mask, mvtec
from PIL import Image

from harness.curate.check import check, guess
from harness.curate.command import main as command
from harness.errors import DataError
from methods import METHODS


def _main(arguments: list[str]) -> int:
    return command(METHODS, arguments)


REAL = Path(os.environ.get("LADDER_DATA", ""))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LADDER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "data"


def test_the_data_set_is_guessed(root, tmp_path):
    loco(root)
    assert guess(root).name == "mvtec_loco"
    (root / "demo.json").write_text('{"complete": true}')
    assert guess(root).name == "demo"
    mvtec(tmp_path / "ad")
    assert guess(tmp_path / "ad").name == "mvtec_ad"
    mvtec(tmp_path / "own", "my_part")
    assert guess(tmp_path / "own").name == "folder"
    with pytest.raises(DataError, match="no such folder"):
        guess(tmp_path / "gone")


def test_check_prints_counts_and_what_differs_from_the_archive(root, capsys):
    loco(root)
    assert _main(["check", str(root)]) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "6/360" in line)
    assert row.split() == [
        "screw_bag", "6/360", "2/60", "2/122", "2/137", "1/82", "4", "ok",
    ]  # fmt: skip
    assert "note: screw_bag: other counts than the official archive: train 6 (archive: 360)" in out
    assert "not here: breakfast_box, juice_bottle, pushpins, splicing_connectors" in out
    assert out.endswith("read as mvtec_loco: nothing wrong\n")


def test_check_names_every_problem_and_exits_with_2(root, capsys):
    folder = loco(root)
    loco(root, "pushpins")
    mask(folder / "ground_truth/logical_anomalies/000/000.png", 9)
    for i in range(30):
        image(folder / f"test/structural_anomalies/{i + 50}.png")
    (root / "pushpins/train/good/001.png").write_bytes(b"x")
    assert _main(["check", str(root)]) == 2
    out = capsys.readouterr().out
    assert out.count("problem: ") == 32
    assert f"{folder}/ground_truth/logical_anomalies/000/000.png: pixel value 9 is no defect type" in out
    assert f"{root}/pushpins/train/good/001.png: not readable" in out
    assert "31 wrong" in out and "1 wrong" in out


def test_deep_decodes_every_image(root, capsys):
    folder = loco(root)
    path = folder / "test/good/001.png"
    path.write_bytes(path.read_bytes()[:-150])
    assert _main(["check", str(root)]) == 0
    assert _main(["check", str(root), "--deep"]) == 2
    assert f"problem: {path}: not a readable image" in capsys.readouterr().out


def test_deep_reports_progress(root):
    loco(root)
    seen = []
    report = check(root, guess(root), deep=True, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 13) for n in range(1, 14)]
    assert report.problems == ()


def test_deep_shows_the_range_of_values_and_names_images_that_show_nothing(root, capsys):
    folder = mvtec(root) / "train/good"
    dark = np.arange(192, dtype=np.uint16).reshape(SIZE) * 20  # 12 bits in 16
    bright = np.full((*SIZE, 3), 255, np.uint8)
    bright[:5] = 128
    clear = np.dstack([bright // 2, np.zeros(SIZE, np.uint8)])
    for name, pixels in {"dark": dark, "bright": bright, "clear": clear, "blank": bright[9:]}.items():
        Image.fromarray(pixels).save(folder / f"9_{name}.png")
    tag = Image.Exif()
    tag[274] = 3
    Image.fromarray(bright).save(root / "bottle/test/dent/000.png", exif=tag)
    assert _main(["check", str(root)]) == 0
    plain = capsys.readouterr().out
    assert "1 image is turned, as their EXIF orientation says (test/dent/000.png); masks" in plain
    assert "values" not in plain and "nearly black" not in plain
    assert _main(["check", str(root), "--deep"]) == 0
    told = capsys.readouterr().out
    assert "0–3820 (mixed)" in told
    for note in (
        "1 image is of one colour all over (train/good/9_blank.png)",
        "1 image is nearly black, no value above 16 of 255 (train/good/9_dark.png); of 12 bits in",
        "2 images are clipped, more than half of the values are 0 or 255 (train/good/9_bright.png, test/dent",
        "1 image is partly transparent, which is ignored (train/good/9_clear.png)",
    ):
        assert f"note: bottle: {note}" in told
    assert _main(["check", str(root), "--deep", "--option", "pixels={bits: 12}"]) == 0
    assert "nearly black" not in capsys.readouterr().out


def test_check_as_another_data_set_and_with_options(root, capsys):
    mvtec(root)
    options = ["--option", "labels={crack: structural, dent: logical}", "--option", "masks=null"]
    assert _main(["check", str(root), "--dataset", "folder", *options]) == 0
    out = capsys.readouterr().out
    assert "good logical structural" in " ".join(out.split())
    assert _main(["check", str(root), "--option", "masks=null", "--option", "marks=x"]) == 2
    error = capsys.readouterr().err
    assert "--option masks: Unexpected keyword" in error and "options of mvtec_ad: marks" in error
    assert _main(["check", str(root), "--dataset", "mvtec_ed"]) == 2
    assert "did you mean 'mvtec_ad'?" in capsys.readouterr().err


def test_check_compares_the_archive(root, capsys):
    loco(root)
    archive = root / "loco.tar.xz"
    archive.write_bytes(b"cut short")
    assert _main(["check", str(root), "--archive", str(archive)]) == 2
    assert "sha256 " in (out := capsys.readouterr().out) and "9e7c84dba550fd2e" in out
    assert _main(["check", str(root), "--dataset", "folder", "--archive", str(archive)]) == 2
    assert "no official archive of folder" in capsys.readouterr().out


def test_check_of_nothing(tmp_path, capsys):
    assert _main(["check", str(tmp_path / "gone")]) == 2
    assert _main(["check", str(tmp_path)]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_usage_errors_exit_with_2():
    for arguments in ([], ["draw"], ["subtypes", "x"], ["subtypes", "x", "--region", "1,2", "--out", "y"]):
        with pytest.raises(SystemExit) as caught:
            _main(arguments)
        assert caught.value.code == 2


def test_problems_and_counts_of_a_record(root):
    from harness.datasets import DATASETS

    folder = loco(root)
    dataset = DATASETS.load("mvtec_loco")
    assert dataset.problems(root) == []
    for content in ({}, []):
        (folder / "defects_config.json").write_text(json.dumps(content))
        assert dataset.problems(root) == [f"{folder}/defects_config.json: must be a list of defect types"]
    assert "no such folder" in dataset.problems(root / "gone")[0]


def test_demo_command_draws_a_readable_data_set(tmp_path, capsys):
    pytest.importorskip("harness.datasets.demo")
    root, sheet = tmp_path / "demo", tmp_path / "sheet.png"
    arguments = "--size 64 --train 2 --validation 1 --good 1 --logical 2 --structural 1 --workers 1"
    categories = ["--categories", "screw_bag", "juice_bottle", "--preview", str(sheet)]
    assert _main(["demo", str(root), *arguments.split(), *categories]) == 0
    assert f"demo data set in {root}" in capsys.readouterr().out
    with Image.open(sheet) as picture:
        assert np.asarray(picture).std() > 0
    assert _main(["check", str(root), "--deep"]) == 0
    out = capsys.readouterr().out
    assert "Demo data" in out and "screw_bag 2 1 1 2 1" in " ".join(out.split())
    assert _main(["demo", str(root), "--size", "65"]) == 2
    assert "other settings" in capsys.readouterr().err


@pytest.mark.skipif(not (REAL / "mvtec_loco_part").is_dir(), reason="LADDER_DATA does not hold real images")
@pytest.mark.parametrize("name", ["mvtec_loco_part", "mvtec_ad_part"])
def test_real_images(name, capsys):
    assert _main(["check", str(REAL / name)]) == 0
    assert "other counts than the official archive" in capsys.readouterr().out

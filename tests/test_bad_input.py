"""Broken data, full disks, wrong words: one clear message or one failed row, and nothing lost."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import sweep, sweep_here, write_tree

from harness.results import read_run

Write = Callable[..., Path]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A data set of one's own to break."""
    return write_tree(tmp_path / "data", ("bolt", "nut"))


def run(write: Write, root: Path, *words: str, **keys):
    path = write(dataset={"name": "mvtec_ad", "root": str(root)}, **keys)
    return sweep_here(path, "--backend", "serial", *words)


def test_a_truncated_image_fails_the_trials_that_meet_it(sweep_file: Write, broken: Path, tmp_path: Path):
    image = broken / "nut" / "test" / "good" / "001.png"
    image.write_bytes(image.read_bytes()[:-200])
    done = run(sweep_file, broken)
    assert done.returncode == 1
    trials = read_run(tmp_path / "run").trials.set_index("category")
    assert trials["status"].to_dict() == {"bolt": "ok", "nut": "failed"}
    assert str(image) in trials.loc["nut", "reason"]


def test_what_is_wrong_with_a_data_set_is_said_at_once_and_before_any_work(
    sweep_file: Write, broken: Path, tmp_path: Path
):
    (broken / "bolt/train/good/002.png").write_bytes(b"no image")
    (broken / "bolt/ground_truth/square/001_mask.png").unlink()
    shutil.rmtree(broken / "nut/train/good")
    done = run(sweep_file, broken)
    assert done.returncode == 2
    for place in ("bolt/train/good/002.png", "test/square/001.png", "nut"):
        assert place in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_empty_split_is_refused(sweep_file: Write, broken: Path):
    for image in (broken / "nut/test/good").iterdir():
        image.unlink()
    for image in (broken / "nut/train/good").iterdir():
        image.unlink()
    done = run(sweep_file, broken)
    assert done.returncode == 2
    assert "train" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_in_place_of_a_folder_is_named(sweep_file: Write, tmp_path: Path):
    place = tmp_path / "file"
    place.write_text("not a folder")
    done = run(sweep_file, place)
    assert done.returncode == 2
    assert str(place) in done.stderr
    blocked = run(sweep_file, write_tree(tmp_path / "data", ("bolt",)), f"out={place}/run")
    assert blocked.returncode == 2
    assert f"out: {place} is a file, where a folder is wanted" in blocked.stderr
    assert "Traceback" not in blocked.stderr


def test_data_that_changed_since_planning_are_other_trials(sweep_file: Write, broken: Path, tmp_path: Path):
    assert run(sweep_file, broken).returncode == 0
    shutil.copy(broken / "nut/train/good/001.png", broken / "nut/train/good/000.png")
    again = sweep(sweep_file(dataset={"name": "mvtec_ad", "root": str(broken)}), "--backend", "serial")
    assert "1 already there, 0 to skip, 1 to run" in again.stdout


def test_unknown_words_are_refused_all_at_once(sweep_file: Write):
    path = sweep_file(
        methods=[
            {"name": "mean_imge"},
            {
                "name": "mean_image",
                "params": {"pooling": "maxx", "smooting": 1},
                "grid": {"image_size": [64, -1]},
            },
        ],
        metrics=["aurok"],
        shots=[0],
        seed=3,
        categories=["bolt", "nutt"],
    )
    done = sweep_here(path)
    assert done.returncode == 2
    expected = [
        ("methods.0.name", "'mean_imge'", "did you mean 'mean_image'"),
        ("methods.1.params.pooling", "'maxx'", "did you mean 'max'", "allowed: 'max' or 'mean'"),
        ("methods.1.params.smooting", "did you mean 'smoothing'", "allowed: image_size, pooling, smoothing"),
        ("methods.1.grid.image_size", "greater than 0", "got -1"),
        ("metrics.0", "'aurok'", "did you mean 'auroc'"),
        ("shots.0", "0"),
        ("seed", "did you mean 'seeds'"),
        ("categories.1", "'nutt'", "did you mean 'nut'"),
    ]
    for key, *words in expected:
        line = next((x for x in done.stderr.splitlines() if f"{path}: {key}" in x), None)
        assert line is not None, f"{key} not in\n{done.stderr}"
        assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "methd=x"], "did you mean 'method'"),
        (["--retry", "fialed"], "did you mean 'failed'"),
        (["seeds"], "not key=value"),
        (["seeds=[1,"], "not valid YAML"),
        (["nonsense.deep=1"], "nonsense"),
    ],
)
def test_wrong_command_lines_are_refused(sweep_file: Write, words: list[str], said: str):
    done = sweep_here(sweep_file(), *words)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 320 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_one_clear_error_and_loses_nothing(
    sweep_file: Write, small_disk: Path, tmp_path: Path
):
    path = sweep_file(out=str(small_disk / "run"), seeds=60)
    stopped = sweep(path, "--backend", "serial")
    assert stopped.returncode == 1, stopped.stdout + stopped.stderr
    assert "No space left on device" in stopped.stderr
    assert str(small_disk) in stopped.stderr
    assert "Traceback" not in stopped.stderr
    kept = len(read_run(small_disk / "run").trials)
    assert 0 < kept < 180
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    again = sweep_here(path, "--backend", "serial")
    assert again.returncode == 0, again.stderr
    assert f"{kept} already there" in again.stdout
    assert len(read_run(small_disk / "run").trials) == 180

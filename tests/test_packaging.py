"""The wheel: what is in it, that it runs elsewhere, and that no other package is taken for one of ours."""

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, Shared
from hatchling.builders.wheel import WheelBuilder

import harness
from harness.ownership import OURS, PACKAGES

DATA_FILES = (
    "harness/data/psad_train_types.json",
    "methods/demo_weights/manifest.json",
    "methods/patchcore/README.md",
    "reports/render/templates/page.html.j2",
    *(f"{package}/py.typed" for package in PACKAGES),
)


@pytest.fixture(scope="module")
def wheel(shared: Shared) -> Path:
    folder = shared(
        "wheel", lambda f: list(WheelBuilder(str(ROOT)).build(directory=str(f), versions=["standard"]))
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, shared: Shared) -> Path:
    """The wheel unpacked, as pip would."""
    return shared("site", lambda folder: zipfile.ZipFile(wheel).extractall(folder))


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_has_exactly_four_packages(wheel: Path):
    tops = {name.partition("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert wheel.name.startswith(f"ladder_bench-{harness.__version__}-")


@pytest.mark.parametrize("file", DATA_FILES)
def test_data_files_are_inside(wheel: Path, file: str):
    assert file in names(wheel)


def test_every_file_of_the_four_packages_is_inside(wheel: Path):
    """Prompts, templates, published numbers, demo weights: whatever git tracks or would track."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "--", *PACKAGES]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    wanted = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    assert len(wanted) > 100
    assert sorted(wanted - set(names(wheel))) == []


def test_tests_configs_and_benchmarks_are_not_inside(wheel: Path):
    assert [
        n
        for n in names(wheel)
        if n.split("/")[0] in ("tests", "configs", "benchmarks", "training", "deploy", "data", "runs")
    ] == []
    assert [n for n in names(wheel) if n.endswith((".pyc", ".npy", ".png"))] == []


def test_pypi_would_refuse_it_and_licences_are_inside(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        info = next(n for n in archive.namelist() if n.endswith("METADATA"))
        metadata = archive.read(info).decode()
        points = archive.read(info.replace("METADATA", "entry_points.txt")).decode()
    assert "Classifier: Private :: Do Not Upload" in metadata
    assert "ladder = harness.sweep:command" in points
    assert {n.rpartition("/")[2] for n in names(wheel) if "/licenses/" in n} == {"LICENSE", "NOTICES.md"}


def run(site: Path, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command with the unpacked wheel in front of everything, in another folder."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


@pytest.mark.parametrize(
    "module", ["harness.sweep", "harness.status", "harness.show", "harness.list", "reports"]
)
def test_commands_run_from_the_wheel_beside_a_stray_folder(site: Path, tmp_path: Path, module: str):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/mine.txt").write_text("my own reports")
    done = run(site, tmp_path, "-m", module, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m {module}")


def test_the_wheel_is_what_runs(site: Path, tmp_path: Path):
    done = run(site, tmp_path, "-c", "import harness, reports; print(harness.__file__, reports.__file__)")
    assert done.stdout.split() == [str(site / "harness/__init__.py"), str(site / "reports/__init__.py")]


# --- the guard ----------------------------------------------------------------------------------------------


def dry_run(site: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    return run(site, folder, "-m", "harness.sweep", "nothing.yaml", "--dry-run")


def test_where_all_is_ours_the_guard_is_silent(site: Path, tmp_path: Path):
    (tmp_path / "reports").mkdir()
    done = dry_run(site, tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: nothing.yaml: No such file or directory\n")


def test_a_package_of_the_same_name_in_the_working_folder_is_named(site: Path, tmp_path: Path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/__init__.py").write_text("raise SystemExit('somebody else')")
    done = dry_run(site, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"error: the package 'sweeps' comes from {tmp_path / 'sweeps'}, not from Ladder in {site}; start from"
    )


def test_an_installed_package_of_the_same_name_is_named_with_its_distribution(
    site: Path, tmp_path: Path, wheel: Path
):
    """PyPI's `sweeps`, installed after our wheel, replaces our file without a word."""
    mixed = tmp_path / "mixed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(mixed)
    assert dry_run(mixed, tmp_path).stderr.startswith("error: nothing.yaml")
    install(mixed, "sweeps", "0.2.0", {"sweeps/__init__.py": "import jsonref\n"})
    done = dry_run(mixed, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"error: the package 'sweeps' of Ladder in {mixed} was overwritten by the installed distribution "
        "sweeps; install Ladder into an environment of its own"
    )


def test_a_package_that_an_uninstall_took_away_is_named(wheel: Path, tmp_path: Path):
    rest = tmp_path / "rest"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(rest)
    (rest / "reports/__init__.py").unlink()
    done = run(rest, tmp_path, "-c", "from harness.ownership import check_ownership as c; c()")
    assert "the package 'reports'" in done.stderr


def install(site: Path, name: str, version: str, files: dict[str, str]) -> None:
    """Write files and the metadata that pip would write."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    rows = []
    for path, content in files.items():
        (site / path).write_text(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(content)}")
    (info / "RECORD").write_text("\n".join(rows) + "\n")


def test_our_distribution_is_called_as_the_guard_believes():
    assert f'name = "{OURS}"' in (ROOT / "pyproject.toml").read_text()

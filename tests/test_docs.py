"""What README and its neighbours promise: every command parses, every example runs, every name exists."""

import argparse
import importlib
import importlib.util
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import asks
import numpy as np
import pytest
import yaml
from conftest import ROOT, write_tree
from PIL import Image
from safetensors.numpy import save_file

import harness
from harness import list as listing
from harness import show, status, sweep, verify
from harness.config import load
from harness.curate import arguments
from harness.metrics.table import METRICS
from harness.results import SCHEMAS
from harness.trial import Status
from methods import METHODS
from methods.shared.backbones import names
from reports import command as reports_command
from reports import listing as reports_listing
from reports.export import command as export_command
from reports.site import command as site_command
from sweeps.expand import expand
from sweeps.problems import CHECKS

FILES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "NOTICES.md", "deploy/README.md")
TEXTS = {name: (ROOT / name).read_text() for name in FILES}
PARSERS: dict[str, argparse.ArgumentParser] = {
    "harness.sweep": sweep._parser(),
    "harness.status": status.parser(),
    "harness.show": show.parser(),
    "harness.list": listing.parser(),
    "harness.verify": verify.parser(),
    "harness.data": arguments.parser(),
    "reports": reports_command._parser(),
    "reports export": export_command._parser(),
    "reports ledger": reports_listing._parser(),
    "reports site": site_command._parser(),
}


def blocks(language: str) -> list[str]:
    found = [re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) for text in TEXTS.values()]
    return [block for per_file in found for block in per_file]


def commands() -> list[str]:
    """Every line of a bash block, and every `python -m …` inside a sentence."""
    lines = [line.partition(" #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    inline = [m for text in TEXTS.values() for m in re.findall(r"`(python -m [^`]+)`", text)]
    return sorted({*lines, *(line for line in inline if "|" not in line)})


OURS = [line for line in commands() if re.search(r"python -m (harness|reports)", line)]


def test_there_are_commands_to_check():
    assert len(OURS) > 15


@pytest.mark.parametrize("line", OURS)
def test_every_command_parses(line: str):
    words = shlex.split(line[line.index("python -m") :].replace("$", "").partition(" > ")[0])[2:]
    many = 2 if " ".join(words[:2]) in PARSERS else 1
    module, given = " ".join(words[:many]), words[many:]
    if not given:
        return  # the bare name in a sentence
    if module not in PARSERS:
        assert [w for w in given if w.startswith("--") and w not in _said_by(module)] == []
    elif module == "harness.sweep":
        PARSERS[module].parse_intermixed_args(given)
    else:
        PARSERS[module].parse_args(given)


@pytest.mark.parametrize("line", [line for line in commands() if line not in OURS])
def test_commands_of_others_are_few_and_known(line: str):
    assert line.split()[0] in {
        "make",
        "python",
        "git",
        "export",
        "ray",
        "sbatch",
        "docker",
        "apptainer",
        "kubectl",
        "nvidia-cuda-mps-control",
    } or line.startswith((".venv/bin/", "HEAD=$(sbatch "))


def test_every_option_that_is_mentioned_exists():
    known = "".join(_help(parser) for parser in PARSERS.values())
    known += "".join(map(_said_by, ("harness.rescore", "harness.latency", "harness.submission")))
    known += _said_by("methods.efficientad.distill")
    mentioned = {o for text in TEXTS.values() for o in re.findall(r"`(--[a-z-]+)", text)}
    assert mentioned >= {"--dry-run", "--retry", "--dashboard"}
    foreign = {"--exclusive", "--shm-size", "--working-dir"}  # of sbatch, docker, ray
    assert sorted(o for o in mentioned - foreign if not re.search(rf"{o}\b", known)) == []


def _said_by(module: str) -> str:
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), pytest.raises(SystemExit, match="0"):
        patch.setattr(sys, "argv", [module, "--help"])
        importlib.import_module(module).main()
    return said.getvalue()


def _help(parser: argparse.ArgumentParser) -> str:
    nested = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return parser.format_help() + "".join(_help(p) for action in nested for p in action.choices.values())


def test_every_module_and_file_that_is_mentioned_exists():
    text = re.sub(r"\bmethods\.\w+\.params\.\w+=", "", "".join(TEXTS.values()))  # overrides of a sweep file
    modules = set(re.findall(r"\b((?:harness|methods|sweeps|reports)(?:\.[a-z_]+)+)\b", text))
    files = {m for m in modules if (ROOT / m).exists()}  # reports/tables.py is a path, not a module
    for name in sorted(modules - files):
        assert _exists(name), name
    paths = set(re.findall(r"\b((?:harness|methods|sweeps|reports|configs|tests)/[\w/.-]+\.\w+)", text))
    assert len(paths) > 5
    assert sorted(p for p in paths if not (ROOT / p).exists()) == []


def _exists(name: str) -> bool:
    """Whether a module of that name can be found, or an attribute of one."""
    try:
        if importlib.util.find_spec(name):
            return True
    except ModuleNotFoundError:
        pass
    parent, _, attribute = name.rpartition(".")
    return hasattr(importlib.import_module(parent), attribute)


@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_example_compiles(code: str):
    compile(code, "README.md", "exec")


def test_the_example_on_a_folder_of_images_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = next(block for block in blocks("python") if "of_folder" in block)
    assert len([line for line in code.splitlines() if line]) == 5
    rng = np.random.default_rng(0)
    for folder in ("good", "new"):
        (tmp_path / folder).mkdir()
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(
                tmp_path / folder / f"{i}.png"
            )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own README
    assert names["scores"].image.shape == (3,)
    assert names["scores"].maps.shape[0] == 3


def test_the_example_in_pandas_runs(
    tmp_path: Path,
    sweep_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    code = next(block for block in blocks("python") if "read_parquet" in block)
    path = sweep_file(out=str(tmp_path / "runs/fewshot"), categories=["cap"], shots=[1, "full"])
    assert sweep.main([str(path), "--backend", "serial"]) == 0
    monkeypatch.chdir(tmp_path)
    exec(code.replace("logical", "all"), {})  # noqa: S102 - our own README
    assert "mean_image cap" in " ".join(capsys.readouterr().out.split())


def test_the_columns_named_in_readme_exist():
    for table, schema in SCHEMAS.items():
        row = next(line for line in TEXTS["README.md"].splitlines() if line.startswith(f"| `{table}/` |"))
        columns = re.sub(r"\([^)]*\)", "", row.split("|")[3])
        named = [word.strip() for word in columns.split(",") if word.strip()]
        known = [*schema.names, "seconds", "memory"]
        assert [name for name in named if name not in known] == []


def test_readme_names_every_status_and_exit_code():
    for word in Status:
        assert word in TEXTS["README.md"]
    for code in ("0", "1", "2", "130, 143"):
        assert f"| {code} |" in TEXTS["README.md"]


def test_the_exported_schema_is_where_readme_says():
    assert (ROOT / "configs/schema/sweep.schema.json").exists()


def test_texts_stay_short_enough_to_be_read():
    kept = {name: re.sub(r"<!-- begin .*?<!-- end \w+ -->", "", t, flags=re.S) for name, t in TEXTS.items()}
    lines = {name: len(text.splitlines()) for name, text in kept.items()}
    assert lines["README.md"] <= 230
    assert lines["CONTRIBUTING.md"] <= 90
    assert lines["deploy/README.md"] <= 90


# --- notices, changelog, citation ---------------------------------------------------------------------------


def test_the_changelog_has_a_heading_numbers_in_every_release():
    releases = re.split(r"^## ", TEXTS["CHANGELOG.md"], flags=re.MULTILINE)[1:]
    assert releases
    assert all("### Numbers" in release for release in releases)


def test_the_citation_has_the_version_that_runs():
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]) == harness.__version__


# --- methods and configs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS.own)
def test_nothing_is_lacking_of_a_method(name: str):
    assert list(asks.of_method(name, METHODS)) == []


def test_every_card_says_what_one_shot_means():
    cards = [path for path in sorted((ROOT / "methods").glob("*/README.md")) if path.parent.name != "shared"]
    texts = {path.parent.name: path.read_text() for path in [*cards, ROOT / "methods" / "mean_image.py"]}
    assert len(texts) > 10
    assert [name for name, text in texts.items() if "k = 1" not in text] == []


def test_what_is_written_from_cards_and_records_is_up_to_date():
    assert asks.of_texts(METHODS) == []


FOR_ALL = [name for name in METHODS.own if not METHODS.load(name).card.extra]  # nothing but Ladder is needed


def test_the_few_shot_sweep_is_that_of_the_paper():
    content = yaml.safe_load((ROOT / "configs/fewshot.yaml").read_text())
    assert sorted({entry["name"] for entry in content["methods"]}) == FOR_ALL
    assert len(content["categories"]) == 9
    assert (content["shots"], content["seeds"]) == ([1, 2, 4], 5)


def test_the_demo_sweep_has_every_method():
    content = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
    assert content["weights"] == "demo"
    assert [entry["name"] for entry in content["methods"]] == FOR_ALL


@pytest.fixture
def loco(tmp_path: Path) -> Path:
    """LOCO's five categories, tiny, with a sub-type manifest."""
    root = tmp_path / "mvtec_loco_anomaly_detection"
    whole = ("breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors")
    write_tree(root, whole, train=15, test=3, side=8)
    kinds = {"juice_bottle": ("banana", "cherry", "orange"), "splicing_connectors": ("blue", "red", "yellow")}
    listed: dict[str, dict[str, str]] = {}
    for category in whole:
        folder = root / category
        (folder / "test/square").rename(folder / "test/logical_anomalies")
        for old in sorted((folder / "ground_truth/square").iterdir()):
            new = folder / "ground_truth/logical_anomalies" / old.stem.removesuffix("_mask") / "000.png"
            new.parent.mkdir(parents=True)
            old.rename(new)
        (folder / "ground_truth/square").rmdir()
        entry = {"pixel_value": 255, "saturation_threshold": 1, "relative_saturation": False}
        (folder / "defects_config.json").write_text(json.dumps([entry | {"defect_name": "square"}]))
        if category in kinds:
            images = sorted(p.relative_to(folder).as_posix() for p in folder.glob("t*/*/*.png"))
            listed[category] = {image: kinds[category][i % 3] for i, image in enumerate(images)}
    (root / "subtypes.json").write_text(json.dumps(listed))
    return tmp_path


def test_the_few_shot_sweep_expands(loco: Path, monkeypatch: pytest.MonkeyPatch):
    """9 categories × 3 shots × 5 seeds × methods, on data in LOCO's layout."""
    monkeypatch.setenv("LADDER_DATA", str(loco))
    save_file({"conv1.weight": np.zeros(1, np.float32)}, loco / "w.safetensors")
    # one file in place of the weights of all: nobody is to ask whose keys it has
    monkeypatch.setattr(names, "facts", lambda backbone: None)
    trials = expand(load(ROOT / "configs/fewshot.yaml", [f"weights={loco / 'w.safetensors'}"], CHECKS))
    assert len(trials) == 9 * 3 * 5 * len(FOR_ALL)
    assert {t.category for t, _ in trials} >= {"juice_bottle/cherry", "splicing_connectors/blue", "pushpins"}


def test_without_a_manifest_the_few_shot_sweep_says_how_to_make_one(
    loco: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LADDER_DATA", str(loco))
    (loco / "mvtec_loco_anomaly_detection/subtypes.json").unlink()
    assert sweep.main([str(ROOT / "configs/fewshot.yaml"), "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert said.count("make a manifest with python -m harness.data subtypes") == 6


@pytest.mark.parametrize("name", ["dfsc_margin", "efficientad", "psad_table1", "psad_banks"])
def test_sweeps_over_five_objects_are_that_whatever_manifest_the_root_holds(
    name: str, loco: Path, monkeypatch: pytest.MonkeyPatch
):
    for variable in ("LADDER_DATA", "LADDER_TEACHERS", "LADDER_LABELS"):
        monkeypatch.setenv(variable, str(loco))
    assert (loco / "mvtec_loco_anomaly_detection/subtypes.json").is_file()
    found = expand(load(ROOT / f"configs/{name}.yaml", ["methods=[{name: mean_image}]"], CHECKS))
    objects = {"breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors"}
    assert {t.category for t, _ in found} == objects


@pytest.mark.parametrize("name", ["smoke", "demo"])
def test_configs_over_demo_data_expand(name: str, loco: Path):
    root = loco / "mvtec_loco_anomaly_detection"
    overrides = [f"dataset.root={root}", "methods=[{name: mean_image}]"]
    trials = expand(load(ROOT / f"configs/{name}.yaml", overrides, CHECKS))
    shots = yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text())["shots"]
    assert {t.category for t, _ in trials} == {path.name for path in root.iterdir() if path.is_dir()}
    assert {t.shots for t, _ in trials} == {None if s == "full" else s for s in shots}
    assert all("demo data" in t.marks for t, _ in trials)


@pytest.mark.parametrize(("name", "number"), [("juice_part", 10 + 24), ("transistor_part", 10 + 12)])
def test_configs_over_real_data_expand(name: str, number: int):
    if not {"LADDER_DATA", "LADDER_WEIGHTS"} <= set(os.environ):
        pytest.skip("needs LADDER_DATA and LADDER_WEIGHTS")
    trials = expand(load(ROOT / f"configs/{name}.yaml", (), CHECKS))
    assert len(trials) == number
    assert all("unofficial split" in t.marks for t, _ in trials)


def test_every_metric_of_a_config_exists():
    for path in (ROOT / "configs").glob("*.yaml"):
        assert set(yaml.safe_load(path.read_text())["metrics"]) <= set(METRICS)

"""The script for a card runs on a CPU with tiny sizes: nothing but the card is new when one is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


def run(folder: Path, *words: str) -> dict:
    out = folder / "results.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--tiny", "--out", str(out), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    found = json.loads(out.read_text())
    assert found["tiny"] and out.with_suffix(".md").read_text().startswith("# CPU")
    return found | {"code": done.returncode, "said": done.stdout + done.stderr}


def test_a_part_and_its_figures(tmp_path: Path):
    found = run(tmp_path, "--only", "search")
    assert found["code"] == 0, found["said"]
    figures = {row["what"]: row["value"] for row in found["parts"]["search"]["rows"]}
    assert figures["torch against faiss: relative difference"] < 1e-4


def test_a_part_that_takes_too_long_is_ended_and_said(tmp_path: Path):
    found = run(tmp_path, "--only", "encoders", "--minutes", "0.01")
    assert found["code"] == 1 and found["parts"]["encoders"]["ended"].startswith("out of time")


@pytest.mark.slow
def test_every_part(tmp_path: Path):
    found = run(tmp_path, "--minutes", "9")
    assert found["code"] == 0, found["said"]
    assert len(found["parts"]) == 7 and all(part["rows"] for part in found["parts"].values())

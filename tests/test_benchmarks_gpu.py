"""The script for a card runs on a CPU with tiny sizes: nothing but the card is new when one is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from benchmarks.gpu.results import updated


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
    assert figures["distances against those of faiss on the CPU: relative difference"] < 1e-4


def test_a_part_that_takes_too_long_is_ended_and_said(tmp_path: Path):
    found = run(tmp_path, "--only", "encoders", "--minutes", "0.01")
    assert found["code"] == 1 and found["parts"]["encoders"]["ended"].startswith("out of time")


def test_results_keep_a_section_per_device():
    rows = [{"what": "a step", "value": 1.5, "unit": "ms", "aim": "< 2 ms"}]
    parts = {"training": {"rows": rows, "ended": "ok", "seconds": 3.0}}
    found = {"device": "CPU, x", "tiny": True, "torch": "2.14", "cores": 2, "parts": parts}
    text = updated("", found)
    assert "No card has been measured yet" in text and "| training | 1 | 3 | ok |" in text
    card = updated(text, found | {"device": "NVIDIA H200", "tiny": False})
    assert "No card" not in card and "| a step | 1.5 ms | < 2 ms |" in card
    assert card.count("\n## ") == 2 and updated(card, found) == card


@pytest.mark.slow
def test_every_part(tmp_path: Path):
    found = run(tmp_path, "--minutes", "9")
    assert found["code"] == 0, found["said"]
    assert len(found["parts"]) == 8 and all(part["rows"] for part in found["parts"].values())

"""The file for sbatch: what is in it, that bash reads it, and what it does with Slurm's signals."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import LIMIT, sweep_here, wait_for

from harness.batch import joined, without
from harness.errors import ConfigError
from harness.results import read_run
from sweeps.slurm import Array, array_of, ranges, write_script

Write = Callable[..., Path]
SERIAL = ("--backend", "serial")


def script(path: Path, *words: str) -> str:
    done = sweep_here(path, *SERIAL, "--slurm-array", *words)
    assert done.returncode == 0, done.stderr
    submit = re.search(r"submit it with: sbatch (\S+)", done.stdout)
    return Path(submit[1]).read_text() if submit else done.stdout


def test_the_file_says_what_was_asked_for(sweep_file: Write, tmp_path: Path):
    path = sweep_file(seeds=2)
    text = script(path, "3%2", "--sbatch", "--gres=gpu:1", "--sbatch", "module load cuda", "shots=[1,2]")
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.M))
    assert options == {
        "job-name": "t",
        "array": "0-2%2",
        "output": f'"{tmp_path}/run.shards/slurm-%A_%a.log"',
        "open-mode": "append",
        "requeue": "",
        "signal": "B:USR1@120",
        "gres": "gpu:1",
    }
    body = text[text.index("set -u") :]
    assert "#SBATCH" not in body  # sbatch stops looking at the first command
    command = next(line for line in body.splitlines() if "harness.sweep" in line and line.endswith("&"))
    assert shlex.split(command)[3:] == [
        *(str(path), *SERIAL, "shots=[1,2]", "--shard", "$SLURM_ARRAY_TASK_ID/3", "&")
    ]
    assert body.index("module load cuda") < body.index("harness.sweep")
    assert "RAY_USAGE_STATS_ENABLED=0" in body
    assert read_run(tmp_path / "run").remaining.shape[0] == 12  # `harness.status` knows it from now on


def test_bash_reads_it_whatever_the_names(tmp_path: Path):
    run, words = tmp_path / "a b'c%d", ["x y.yaml", "out=a'b", "dataset.root=$(rm -rf /)"]
    path = write_script(run, "t", Array(2), {0: 1, 1: 1}, words)
    assert subprocess.run(["bash", "-n", path], capture_output=True, text=True).stderr == ""
    assert shlex.join(words) in path.read_text()
    assert 'c%%d.shards/slurm-%A_%a.log"' in path.read_text()


def test_again_it_has_the_incomplete_shards_only(sweep_file: Write):
    path = sweep_file(seeds=3)
    for number, array in ((1, "0,2"), (0, "2")):
        assert sweep_here(path, *SERIAL, "--shard", f"{number}/3").returncode == 0
        assert f"#SBATCH --array={array}\n" in script(path, "3")
    assert sweep_here(path, *SERIAL, "--shard", "2/3").returncode == 0
    assert "nothing is left to run" in script(path, "3")
    assert "#SBATCH --array=0-2\n" in script(path, "3", "--retry", "ok")
    assert "#SBATCH --array=" in script(path, "3", "seeds=6")  # a changed file: the difference


@pytest.mark.parametrize(
    ("numbers", "text"), [([0], "0"), ([0, 1, 2], "0-2"), ([0, 2, 3, 7], "0,2-3,7"), ([5, 6], "5-6")]
)
def test_numbers_are_written_as_slurm_reads_them(numbers: list[int], text: str):
    assert ranges(numbers) == text


def test_words_about_the_array_are_not_for_its_tasks():
    words = ["a.yaml", "--slurm-array", "4", "seeds=2", "--sbatch", "--mem=4G", "--retry", "failed"]
    ours = ("--slurm-array", "--sbatch")
    assert joined(words)[4] == "--sbatch=--mem=4G"
    assert without(joined(words), *ours) == ["a.yaml", "seeds=2", "--retry", "failed"]
    assert without(["--slurm-array=4", "--sbatch=x", "a.yaml"], *ours) == ["a.yaml"]


def test_lines_for_sbatch_are_taken_one_by_one():
    assert array_of("8", ["--mem=4G\nmodule load x\n\n", "#SBATCH -p a"]).lines == (
        *("--mem=4G", "module load x", "#SBATCH -p a"),
    )
    with pytest.raises(ConfigError, match="--slurm-array"):
        array_of("many", [])


# --- what bash does with it ---------------------------------------------------------------------------------

SWEEP = """#!/bin/bash
trap 'echo ended >> "$LOG"; exit 143' TERM
echo "started $*" >> "$LOG"
[ -z "$CODE" ] || exit "$CODE"
while :; do sleep 0.05; done
"""


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts a script as Slurm would, python and scontrol replaced by what writes down how it is called."""
    log = tmp_path / "log"
    for name, text in (("sweep", SWEEP), ("scontrol", '#!/bin/bash\necho "scontrol $*" >> "$LOG"\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    array = Array(4, lines=(f"python=({shlex.quote(str(tmp_path / 'sweep'))})",))
    words = ["a.yaml", "--retry", "failed,lost", "seeds=2"]
    path = write_script(tmp_path / "run", "t", array, {2: 1}, words)

    def start(**given: str) -> "subprocess.Popen[str]":
        own = {"LOG": str(log), "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "2", "CODE": ""}
        own |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | given
        process = subprocess.Popen(["bash", path], env=os.environ | own, text=True, start_new_session=True)
        wait_for(lambda: log.exists() and "started" in log.read_text())
        return process

    return start


def said(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text().splitlines()


STARTED = "started -m harness.sweep a.yaml seeds=2 --retry failed,lost --shard 2/4"


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_task_ends_as_its_sweep(task: Callable[..., "subprocess.Popen[str]"], tmp_path: Path, code: int):
    assert task(CODE=str(code)).wait(LIMIT) == code
    assert said(tmp_path) == [STARTED]


@pytest.mark.parametrize(
    ("sent", "restarts", "then"),
    [
        (signal.SIGUSR1, "0", ["scontrol requeue 17_2"]),
        (signal.SIGUSR1, "100", []),  # a time limit in which nothing can end is not met for ever
        (signal.SIGTERM, "0", []),
    ],
)
def test_before_the_time_limit_a_task_goes_back_into_the_queue(
    task: Callable[..., "subprocess.Popen[str]"], tmp_path: Path, sent: int, restarts: str, then: list[str]
):
    process = task(SLURM_RESTART_COUNT=restarts)
    while process.poll() is None and "ended" not in said(tmp_path):
        process.send_signal(sent)  # again: the script may not have set its traps when the sweep spoke
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            continue
    process.wait(LIMIT)
    # what a task that comes back has run again is not run once more
    started = STARTED if restarts == "0" else STARTED.replace(" --retry failed,lost", "")
    assert [line for line in said(tmp_path) if line != "ended"] == [started, *then]

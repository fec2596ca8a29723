"""A sweep as a Slurm array: one file for sbatch, whose tasks run disjoint shards and know nothing of each other."""

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from harness.errors import ConfigError, DataError
from harness.whole import whole
from sweeps.shards import MOST, home

FILE = "array.sbatch"
NOTICE_SECONDS = 120  # before the time limit; a trial's checkpoint and Ray's end take some seconds
MOST_RESTARTS = 100  # a time limit in which no trial can end would otherwise be met for ever


@final
@dataclass(frozen=True)
class Array:
    """What was asked for.

    Attributes:
        of: number of shards.
        at_once: at most so many tasks run at a time; None leaves that to Slurm.
        lines: further `#SBATCH` options and lines of shell, as they were given.
    """

    of: int
    at_once: int | None = None
    lines: tuple[str, ...] = ()


def array_of(text: str, lines: Sequence[str]) -> Array:
    """The array that `--slurm-array K` or `K%M` and some `--sbatch` texts ask for.

    Raises:
        ConfigError: one of them cannot be meant.
    """
    of, sign, most = text.partition("%")
    numbers = [of, most] if sign else [of]
    if not all(n.isascii() and n.isdigit() and len(n) < 6 and 0 < int(n) <= MOST for n in numbers):
        raise ConfigError(
            f"--slurm-array {text[:80]!r}: is K, a number of tasks up to {MOST:,}, or K%M for M of them at a time"
        )
    split = tuple(line.strip() for text in lines for line in text.splitlines() if line.strip())
    return Array(int(of), int(most) if sign else None, split)


def joined(words: Sequence[str]) -> list[str]:
    """The words of a command line, with the text of `--sbatch` as part of the same word.

    argparse takes a text that begins with a dash for an option of ours.
    """
    found: list[str] = []
    for word in words:
        if found and found[-1] == "--sbatch":
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def task_words(words: Sequence[str]) -> list[str]:
    """The command line of a task, without what made it one of an array."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--slurm-array")
    parser.add_argument("--sbatch", action="append")
    return parser.parse_known_args(joined(words))[1]


def write_script(
    run: Path, name: str, array: Array, left: Mapping[int, int], words: Sequence[str]
) -> Path:
    """Write the file for sbatch beside the run directory; its path.

    Args:
        run: run directory of the whole sweep.
        name: of the job.
        array: what was asked for.
        left: number of a shard -> its trials that are to run; shards with none are left out.
        words: the command line of a task, without `--shard`.

    Raises:
        DataError: it cannot be written.
    """
    path = home(run) / FILE
    text = "\n".join(_script(home(run), name, array, sorted(left), words)) + "\n"
    try:
        with whole(path) as hidden:
            hidden.write_text(text)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _script(folder: Path, name: str, array: Array, numbers: Sequence[int], words: Sequence[str]) -> Iterator[str]:
    yield "#!/bin/bash"
    yield f"# Written by harness.sweep --slurm-array {array.of}; the same command again: what is incomplete then."
    yield from (f"#SBATCH {option}" for option in _options(folder, name, array, numbers))
    yield from (f"#SBATCH {line.removeprefix('#SBATCH').strip()}" for line in array.lines if _option(line))
    yield "set -u"
    yield f"cd {shlex.quote(str(Path.cwd()))} || exit 2"
    yield f"python=({shlex.quote(sys.executable)})"
    yield "export RAY_USAGE_STATS_ENABLED=0"
    yield from (line for line in array.lines if not _option(line))
    yield _BODY.format(
        command=shlex.join(words), of=array.of, restarts=MOST_RESTARTS, seconds=NOTICE_SECONDS
    ).rstrip()


def _options(folder: Path, name: str, array: Array, numbers: Sequence[int]) -> Iterator[str]:
    throttle = f"%{array.at_once}" if array.at_once else ""
    log = str(folder / "slurm-").replace("%", "%%")
    yield f"--job-name={name}"
    yield f"--array={ranges(numbers)}{throttle}"
    yield f'--output="{log}%A_%a.log"'
    yield "--open-mode=append"  # a task that is started again goes on in its log
    yield "--requeue"
    yield f"--signal=B:USR1@{NOTICE_SECONDS}"


def _option(line: str) -> bool:
    return line.startswith(("-", "#SBATCH"))


def ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers as Slurm writes them: 0-2,5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


# The sweep is a child, for bash runs no trap while a command in the foreground lasts. An array task has its own
# job id, but is put back into the queue under this name.
_BODY = """
# {seconds} s before the time limit Slurm sends USR1 to this script: the sweep ends, and the task goes back into
# the queue, where the same command goes on. TERM (scancel, preemption) ends it without; Slurm requeues by itself.
again=0
trap 'again=1; kill -TERM "$sweep"' USR1
trap 'kill -TERM "$sweep"' TERM
"${{python[@]}}" -m harness.sweep {command} --shard "$SLURM_ARRAY_TASK_ID/{of}" &
sweep=$!
ended() {{ wait "$sweep"; code=$?; [ "$code" -le 128 ] || ! kill -0 "$sweep" 2>/dev/null; }}
until ended; do :; done
if [ "$again" = 1 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; then
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
"""

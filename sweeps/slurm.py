"""A sweep as a Slurm array: one file for sbatch, whose tasks run disjoint shards."""

import shlex
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from harness.batch import without
from harness.config import SweepConfig
from harness.errors import ConfigError, DataError
from harness.results import gather
from harness.trial import Status
from harness.whole import whole
from sweeps.plan import Planned
from sweeps.shards import MOST, dealt, folders, home

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
        allowed = f"is K, a number of tasks up to {MOST:,}, or K%M for M of them at a time"
        raise ConfigError(f"--slurm-array {text[:80]!r}: {allowed}")
    split = tuple(line.strip() for text in lines for line in text.splitlines() if line.strip())
    return Array(int(of), int(most) if sign else None, split)


def remaining(
    run: Path, planned: Sequence[Planned], of: int, retry: Collection[str], unit_trials: int | None
) -> dict[int, int]:
    """Number of a shard -> its trials that have no row in the run or in any shard of it, or are to run again.

    Args:
        run: run directory of the whole sweep.
        planned: its trials, those that are wanted.
        of: how many shards there are.
        retry: statuses whose trials run again.
        unit_trials: as in the sweep file.
    """
    found = gather(run, folders(run), [trial.id for trial, _ in planned]).statuses
    numbers = dealt(planned, of, unit_trials)
    again = {"missing", *(Status if "all" in retry else retry)}
    return dict(Counter(numbers[i] for i in numbers if found.get(i, "missing") in again))


def write_array(
    config: SweepConfig,
    planned: Sequence[Planned],
    retry: Collection[str],
    array: Array,
    words: Sequence[str],
) -> list[str]:
    """Write the file for sbatch, if anything is left; what to say of it.

    Args:
        config: of the whole sweep.
        planned: its trials, those that are wanted.
        retry: statuses whose trials run again.
        array: what was asked for.
        words: the command line, with what made it one of an array.

    Raises:
        HarnessError: the run cannot be read, or the file cannot be written.
    """
    run = config.run_directory
    left = remaining(run, planned, array.of, retry, config.unit_trials)
    if not left:
        return [f"{run}: nothing is left to run"]
    path = write_script(run, config.name, array, left, without(words, "--slurm-array", "--sbatch"))
    counts = ", ".join(str(left[number]) for number in sorted(left))
    return [
        f"{sum(left.values())} trials to run in {len(left)} of {array.of} shards ({counts}) → {home(run)}",
        f"submit it with: {shlex.join(['sbatch', str(path)])}",
        "each task hands in its rows as it ends; this command again does so for all and writes what is left",
    ]


def write_script(run: Path, name: str, array: Array, left: Mapping[int, int], words: Sequence[str]) -> Path:
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


def _script(
    folder: Path, name: str, array: Array, numbers: Sequence[int], words: Sequence[str]
) -> Iterator[str]:
    yield "#!/bin/bash"
    yield f"# Written by harness.sweep --slurm-array {array.of}; again, it writes what is incomplete then."
    yield from (f"#SBATCH {option}" for option in _options(folder, name, array, numbers))
    yield from (f"#SBATCH {line.removeprefix('#SBATCH').strip()}" for line in array.lines if _option(line))
    yield "set -u"
    yield f"cd {shlex.quote(str(Path.cwd()))} || exit 2"
    yield f"python=({shlex.quote(sys.executable)})"
    yield "export RAY_USAGE_STATS_ENABLED=0"
    yield from (line for line in array.lines if not _option(line))
    once, always = _apart(words)
    if once:  # a task that comes back has run some of them again already
        yield f'retry=({shlex.join(once)}); [ "${{SLURM_RESTART_COUNT:-0}}" = 0 ] || retry=()'
    yield _BODY.format(command=always, of=array.of, restarts=MOST_RESTARTS, seconds=NOTICE_SECONDS).rstrip()


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


# The sweep is a child, for bash runs no trap while a command in the foreground lasts.
def _apart(words: Sequence[str]) -> tuple[list[str], str]:
    """`--retry` of a command line, and the line in words of the shell with a place for it."""
    rest = without(words, "--retry")
    left = list(rest)
    once = [word for word in words if not (left and word == left[0] and left.pop(0))]
    return once, shlex.join(rest) + (' "${retry[@]}"' if once else "")


_BODY = """
# {seconds} s before the time limit Slurm sends USR1 to this script: the sweep ends, and the task goes back
# into the queue, where the same command goes on. TERM (scancel, preemption) ends it, no more.
again=0
"${{python[@]}}" -m harness.sweep {command} --shard "$SLURM_ARRAY_TASK_ID/{of}" &
sweep=$!
trap 'again=1; kill -TERM "$sweep"' USR1
trap 'kill -TERM "$sweep"' TERM
ended() {{ wait "$sweep"; code=$?; [ "$code" -le 128 ] || ! kill -0 "$sweep" 2>/dev/null; }}
until ended; do :; done
if [ "$again" = 1 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; then
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
"""

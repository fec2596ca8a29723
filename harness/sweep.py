"""The front door: `python -m harness.sweep CONFIG`, also installed as `ladder`.

Runs what is missing of a sweep. The same command again goes on where the last one stopped; a changed
file runs the difference. Exit codes: 0 every trial ok (or skipped with a reason), 1 some are not,
2 bad configuration or data and nothing was started, 130 interrupted (the same command goes on), 143
terminated likewise, by SIGTERM or by the SIGUSR1 that Slurm sends ahead of its time limit.

This is the only module of `harness` besides `harness.list` that looks upwards, and nobody imports it.
"""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Never

from rich.console import Console

from harness import batch
from harness.addresses import local
from harness.config import SweepConfig, json_schema, load
from harness.console import leave
from harness.errors import ConfigError, HarnessError, HeadLost, ResultsError, nearest
from harness.on_end import tell
from harness.ownership import check_ownership
from harness.signals import TERMINATED, code_kept, ending
from harness.trial import Status

if TYPE_CHECKING:
    from sweeps import drive

RETRY = (*map(str, Status), "all")
MOST_LINES = 50  # problems that are printed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    words = batch.joined(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_intermixed_args(words)
    if options.schema:
        print(json_schema(), end="")
        return 0
    if options.config is None:
        parser.error("a sweep file is needed, e.g. configs/demo.yaml")
    with ending():
        starts = not (options.dry_run or options.slurm_array or options.merge_shards)
        return _told(options, words) if options.on_end and starts else _ended(options, words)


def _told(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Run a sweep, and then what is to run at its end, whichever that is."""
    code = 1  # of what nobody has foreseen
    try:
        code = _ended(options, words)
    finally:
        tell(options.on_end, options.run, code)
    return code


def _ended(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Run a sweep; the exit code, and a line where it did not come to its end."""
    try:
        check_ownership()
        return _run(options, words)
    except HeadLost as error:
        print(f"error: {error}", file=sys.stderr)
        return _stopped(options, words, 1)
    except HarnessError as error:
        print(_refusal(error), file=sys.stderr)
        return 1 if isinstance(error, ResultsError) else 2
    except KeyboardInterrupt:
        return _stopped(options, words, 130)
    except SystemExit as error:
        # Ray's handler, which ours replaces once it is connected, gives the bare number
        if error.code not in (TERMINATED, signal.SIGTERM):
            raise
        return _stopped(options, words, TERMINATED)


def _run(options: argparse.Namespace, words: Sequence[str]) -> int:
    only = _only(options.only)
    retry = _retry(options.retry)
    batch.check(options)
    from sweeps import drive, problems, shards

    config: SweepConfig = load(options.config, options.overrides, problems.CHECKS, problems.kinds)
    chosen = drive.Options(
        only=only,
        limit=options.limit,
        retry=retry,
        backend="serial" if options.pdb else options.backend,
        address=options.address,
        dashboard=options.dashboard,
        debug=options.pdb,
        file=options.config,
        shard=shards.shard_of(options.shard, config.run_directory) if options.shard else None,
    )
    options.run, options.spent = drive.run_directory(config, chosen), chosen.spent
    console = Console(stderr=False)
    if options.slurm_array or options.merge_shards:
        return _about_shards(options, words, config, chosen, console)
    if options.dry_run:
        drive.describe(drive.plan_sweep(config, chosen), drive.run_directory(config, chosen), console)
        return 0
    return 0 if drive.run_sweep(config, chosen, console) else 1


def _about_shards(
    options: argparse.Namespace,
    words: Sequence[str],
    config: SweepConfig,
    chosen: "drive.Options",
    console: Console,
) -> int:
    """`--slurm-array` and `--merge-shards`: no trial is started."""
    from sweeps import gathering, plan, shards, slurm
    from sweeps.expand import expanded

    planned = expanded(config, options.config).trials
    array = slurm.array_of(options.slurm_array, options.sbatch) if options.slurm_array else None
    wanted = plan.chosen(planned, chosen.only)
    # also before an array is written: `harness.status` knows the run from then on
    trials, there = [trial for trial, _ in planned], shards.folders(config.run_directory)
    fine = gathering.merge(config, trials, there, console)
    if array is None:
        return 0 if fine else 1
    for line in slurm.write_array(config, wanted, chosen.retry, array, words):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.sweep", description=(__doc__ or "").split("\n\n")[1]
    )
    add = parser.add_argument
    add("config", type=local, nargs="?", help="sweep file (YAML)")
    add("overrides", nargs="*", metavar="key=value", help="replace a value of the file; keys are dotted")
    add("--dry-run", action="store_true", help="say what would run, and start nothing")
    add(
        "--only",
        default="",
        metavar="AXIS=A|B,…",
        help="only such trials: method=a|b,shots=1; also category, seed, id",
    )
    add("--limit", type=_positive, metavar="N", help="at most N trials")
    add("--retry", default="", metavar="STATUS,…", help=f"run such trials again: {', '.join(RETRY)}")
    add("--backend", choices=("ray", "serial"), default="ray", help="default: %(default)s")
    add(
        "--address",
        default="local",
        help="a running Ray cluster (`auto`, `host:port`); default: one of our own",
    )
    add("--dashboard", action="store_true", help="show Ray's dashboard on this machine's loopback")
    add("--pdb", action="store_true", help="serially, stopping in the debugger where a trial fails")
    add("--on-end", metavar="CMD", help="shell command that runs at the end, with LADDER_STATE and counts")
    batch.add_options(parser)
    add("--schema", action="store_true", help="print the JSON Schema of the sweep file and stop")
    parser.set_defaults(run=None, spent=[])  # the run directory, once the sweep file has said it
    return parser


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text[:80]!r}")
    return int(text)


def _only(text: str) -> dict[str, list[str]]:
    from sweeps.plan import AXES

    found: dict[str, list[str]] = {}
    for word in filter(None, text.split(",")):
        axis, sign, values = word.partition("=")
        axis = {"k": "shots", "seed": "split_seed", "trial": "id"}.get(axis, axis)
        if not sign or axis not in AXES:
            allowed = ", ".join(AXES)
            raise ConfigError(
                f"--only {word!r}: unknown axis {axis!r}{nearest(axis, AXES)}; known: {allowed}"
            )
        found[axis] = [*found.get(axis, []), *values.split("|")]  # given twice: either
    return found


def _retry(text: str) -> list[str]:
    words = [word for word in text.split(",") if word]
    for word in words:
        if word not in RETRY:
            allowed = ", ".join(RETRY)
            raise ConfigError(f"--retry {word!r} is no status{nearest(word, RETRY)}; known: {allowed}")
    return words


def _refusal(error: HarnessError) -> str:
    lines = getattr(error, "problems", [str(error)])
    if len(lines) == 1:
        return f"error: {lines[0]}"
    more = [f"and {len(lines) - MOST_LINES:,} more"] if len(lines) > MOST_LINES else []
    shown = [f"  {line}" for line in (*lines[:MOST_LINES], *more)]
    return "\n".join([f"error: {len(lines):,} problems, nothing was started:", *shown])


def _stopped(options: argparse.Namespace, words: Sequence[str], code: int) -> int:
    """Say how to go on: the whole command, for another address or choice of trials would be another run.

    Without `--retry` once its rows are gone: they are missing, and what has run again would run once more.
    """
    left = batch.without(words, "--retry") if options.spent else words
    command = shlex.join(["python", "-m", "harness.sweep", *left])
    print(f"stopped; everything finished is kept. Go on with: {command}", file=sys.stderr)
    return code


def command() -> Never:
    """The console script `ladder`."""
    leave(lambda: code_kept(main), works=True)


if __name__ == "__main__":
    command()

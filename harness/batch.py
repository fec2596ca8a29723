"""The options of `harness.sweep` for batch systems: a sweep in parts that run as jobs of their own."""

import argparse
from collections.abc import Sequence

from harness.errors import ConfigError

MODES = ("slurm_array", "shard", "merge_shards")
STARTED = ("limit", "pdb", "dashboard", "dry_run", "address")  # of what the other two modes do not start


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a parser, under a heading of their own."""
    add = parser.add_argument_group(
        "on a batch system",
        "a sweep as K disjoint shards, each with a run directory OUT.shards/IofK (OUT: of the sweep file)",
    ).add_argument
    add(
        "--slurm-array",
        metavar="K",
        help="write a file for sbatch with K tasks, each a shard; K%%M: M at a time; start nothing",
    )
    add(
        "--sbatch",
        action="append",
        default=[],
        metavar="TEXT",
        help="for that file: options ('--gres=gpu:1 --time=1-0') or a line of shell ('module load cuda')",
    )
    add("--shard", metavar="I/K", help="run the shard I of 0 … K-1; at its end its rows go to OUT as well")
    add("--merge-shards", action="store_true", help="put what shards have finished into OUT; start nothing")


def check(options: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        ConfigError: they do not.
    """
    mode, *more = [name for name in MODES if getattr(options, name)] or [""]
    if mode in ("slurm_array", "merge_shards"):
        more += [name for name in STARTED if getattr(options, name) not in (None, False, "local")]
    if options.sbatch and mode != "slurm_array":
        raise ConfigError("--sbatch says what goes into the file of --slurm-array K, which is not given")
    if more:
        named = ["--" + name.replace("_", "-") for name in (mode, *more)]
        raise ConfigError(f"{named[0]} does not go together with {', '.join(named[1:])}")


def without(words: Sequence[str], *names: str) -> list[str]:
    """What is left of a command line.

    Args:
        words: of it.
        names: of options, which go with their values (`--sbatch=TEXT` is one word).
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in names:
        parser.add_argument(name, action="append")
    return parser.parse_known_args(words)[1]


def joined(words: Sequence[str]) -> list[str]:
    """The words of a command line, with the text of `--sbatch` in one word with it.

    argparse would take a text that begins with a dash for an option of ours.
    """
    found: list[str] = []
    for word in words:
        if found and found[-1] == "--sbatch":
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found

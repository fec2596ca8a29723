"""`python -m harness.latency RUN TRIAL`, or `--config CONFIG`: how long methods take for one image.

One image at a time, as MVTec measures it for AD 2: 1,000 images of warm-up, 1,000 on the clock, at 256x256,
512x512 and 1024x1224 (height x width), from pixels in memory to score and map in memory. A method brings
images to its own size (column "looks at"; `image_size=512` as an override of --config is another setting).
The method is fitted anew and nothing is kept: no number goes into the trials of a run. This looks upwards, to
the methods; nobody imports it. Exit codes: 0, 1 something could not be measured, 2 wrong input.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness import provenance
from harness.addresses import local
from harness.console import leave, show
from harness.data.rule import PLAIN
from harness.errors import ConfigError
from harness.inspection.latency import SIZES
from harness.inspection.record import record_of
from harness.results import read_run

WARMUP = TIMED = 1000
QUICK = (5, 30)
COLUMNS = ("mean_ms", "std_ms", "min_ms", "max_ms", "peak_rss_mib", "peak_gpu_mib")
HEADINGS = ("method", "image", "looks at", "mean ms", "std ms", "min ms", "max ms", "RSS MiB", "GPU MiB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Raises:
        ConfigError, DataError, NeedNotMet: what is asked for cannot be measured.
    """
    options = _parser().parse_args(arguments)
    measured = list(_measured(options))
    content = {"machine": _machine(options), "measured": measured}
    print(json.dumps(content, indent=2)) if options.json else show(_parts(content))
    return 1 if any(row["error"] for row in measured) else 0


def _measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from sweeps.latency import Asked, of_config, of_trial, seen, timings

    usual = QUICK if options.quick else (WARMUP, TIMED)
    warmup, timed = (usual[i] if n is None else n for i, n in enumerate((options.warmup, options.timed)))
    sizes = tuple(map(_size, options.sizes.split(","))) if options.sizes else SIZES
    asked = Asked(options.device, options.cpus, sizes, warmup, timed, options.images == "data")
    for candidate in _candidates(options, of_trial, of_config):
        for timing in timings(candidate, asked):
            size = timing.height, timing.width
            print(f"{candidate.method} at {size[0]}x{size[1]}: done", file=sys.stderr)
            setting = {"method": candidate.method, "params": dict(candidate.params)}
            yield setting | {"looks_at": seen(candidate, size)} | asdict(timing)


def _candidates(options: argparse.Namespace, of_trial: Any, of_config: Any) -> list[Any]:
    words, more = list(options.words), options.config is not None
    if more:
        return of_config(options.config, words)
    if len(words) != 2:
        raise ConfigError("either RUN TRIAL, or --config CONFIG with key=value words")
    run = local(words[0])
    return [of_trial(read_run(run, scores=False).config, _ended(record_of(run, words[1]).trial))]


def _ended(trial: Mapping[str, Any]) -> Mapping[str, Any]:
    if trial["status"] != "ok":
        raise ConfigError(f"trial {trial['trial_id']} is {trial['status']}; one that is ok can be measured")
    return trial


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ConfigError(f"--sizes: {text!r} is not HEIGHTxWIDTH")
    height, width = map(int, sides)
    if height * width > PLAIN.max_megapixels * 1e6:
        raise ConfigError(f"--sizes: {text!r} is more than {PLAIN.max_megapixels:g} megapixels")
    return height, width


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    versions = json.loads(provenance.software()["versions"])
    card = provenance.gpu_name() if options.device == "cuda" else None
    return {
        "device": card or f"CPU ({platform.processor() or platform.machine()}, {os.cpu_count()} cores)",
        "threads": provenance.thread_count(options.cpus),
        "images": options.images,
        **{name: versions.get(name) for name in ("torch", "numpy", "ladder")},
    }


def _parts(content: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield Text(", ".join(f"{k} {v}" for k, v in content["machine"].items() if v is not None))
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for i, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if i < 3 else "right", no_wrap=i < 3)
    for row in content["measured"]:
        numbers = ["–" if row[name] is None else f"{row[name]:,.1f}" for name in COLUMNS]
        table.add_row(row["method"], f"{row['height']}x{row['width']}", row["looks_at"] or "–", *numbers)
    yield table
    first = next((row for row in content["measured"] if not row["error"]), None)
    if first:
        yield Text(f"batch 1, {first['warmup']:,} images of warm-up, {first['timed']:,} timed")
    for row in (row for row in content["measured"] if row["error"]):
        yield Text(f"{row['method']} at {row['height']}x{row['width']}: {row['error']}")


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    about = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m harness.latency", description=about)
    add = parser.add_argument
    add("words", nargs="*", metavar="RUN TRIAL", help="a run and an ok trial of it; key=value with --config")
    add("--config", type=local, metavar="CONFIG", help="a sweep file: each method on its first category")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    add("--cpus", type=_positive, default=1, metavar="N", help="threads; default: %(default)s")
    add("--warmup", type=_number, metavar="N", help=f"default: {WARMUP}")
    add("--timed", type=_positive, metavar="N", help=f"default: {TIMED}")
    add("--quick", action="store_true", help=f"{QUICK[0]} images of warm-up, {QUICK[1]} timed by default")
    add("--sizes", metavar="HxW,…", help="default: " + ",".join(f"{h}x{w}" for h, w in SIZES))
    add("--images", choices=("drawn", "data"), default="drawn", help="noise, or test images, resized")
    add("--json", action="store_true", help="print JSON, with all parameters")
    return parser


if __name__ == "__main__":
    leave(main)

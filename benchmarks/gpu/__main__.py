"""Everything that only a card can tell, most important first, each part with a limit of its own.

    python -m benchmarks.gpu                          cuda:0, 10 minutes, into gpu_results.json and .md
    python -m benchmarks.gpu --write                  and into benchmarks/RESULTS.md
    python -m benchmarks.gpu --device cpu --tiny      every part with tiny sizes: does the code run?
    python -m benchmarks.gpu --only search --minutes 2

Every part is a process of its own, and every figure is on disk as soon as it is there: a part that hangs or
dies costs what it had not said yet.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.gpu.results import tables, updated
from benchmarks.gpu.row import Row, Scale
from harness.whole import whole

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
# part -> its share of the time; in this order
SHARES: Mapping[str, float] = {
    "training": 0.25,
    "room": 0.1,
    "encoders": 0.15,
    "search": 0.15,
    "spro": 0.05,
    "demo": 0.15,
    "sharing": 0.1,
    "peer": 0.05,
}


def parts() -> Mapping[str, Callable[[Scale], Iterator[Row]]]:
    """Name -> what measures; imported in the process that does."""
    from benchmarks.gpu.encoders import encoders
    from benchmarks.gpu.room import room
    from benchmarks.gpu.search import search, spro
    from benchmarks.gpu.training import training
    from benchmarks.gpu.trials import demo, peer, sharing

    return dict(zip(SHARES, (training, room, encoders, search, spro, demo, sharing, peer), strict=True))


def main() -> int:
    """Run the parts; 0, or 1 where one of them failed or ran out of time."""
    options = _options()
    if options.serve:
        _serve(options.serve, Scale(options.device, options.tiny))
        return 0
    found: dict[str, Any] = {
        "device": _device(options.device),
        "tiny": options.tiny,
        "torch": version("torch"),
        "cores": os.cpu_count(),
        "parts": {},
    }
    chosen = [name for name in SHARES if not options.only or name in options.only]
    whole_share = sum(SHARES[name] for name in chosen)
    for name in chosen:
        _measure(name, 60 * options.minutes * SHARES[name] / whole_share, options, found)
    if options.write:
        before = RESULTS.read_text() if RESULTS.exists() else ""
        with whole(RESULTS) as partial:
            partial.write_text(updated(before, found))
    return 1 if any(part["ended"] != "ok" for part in found["parts"].values()) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--tiny", action="store_true", help="sizes that a CPU does in seconds")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all parts together")
    parser.add_argument("--only", nargs="+", choices=tuple(SHARES), metavar="PART", help=", ".join(SHARES))
    parser.add_argument("--out", type=Path, default=Path("gpu_results.json"), help="and .md beside it")
    parser.add_argument("--write", action="store_true", help="and into benchmarks/RESULTS.md")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args()


def _serve(name: str, scale: Scale) -> None:
    for one in parts()[name](scale):
        print(json.dumps(one), flush=True)


def _device(name: str) -> str:
    if not name.startswith("cuda"):
        return f"CPU, {platform.processor() or platform.machine()}"
    import torch

    return torch.cuda.get_device_name(name) if torch.cuda.is_available() else f"{name} (not there)"


def _measure(name: str, limit: float, options: argparse.Namespace, found: dict[str, Any]) -> None:
    """One part; its figures are written as they come."""
    part: dict[str, Any] = {"rows": [], "ended": "ok", "seconds": 0.0}
    found["parts"][name] = part
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.gpu",
        "--serve",
        name,
        "--device",
        options.device,
    ]
    command += ["--tiny"] if options.tiny else []
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    late = threading.Timer(limit, process.kill)
    late.start()
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            part["rows"].append(json.loads(line))
            _write(options.out, found)
            print(f"{name}: {_sentence(part['rows'][-1])}", flush=True)
    code = process.wait()
    late.cancel()
    part["seconds"] = round(time.perf_counter() - began, 1)
    part["ended"] = (
        "ok" if code == 0 else f"out of time ({limit:.0f} s)" if code == -9 else f"ended with {code}"
    )
    print(f"{name}: {part['ended']}, {part['seconds']:.0f} s", flush=True)
    _write(options.out, found)


def _sentence(one: Row) -> str:
    aim = f" (aim: {one['aim']})" if one["aim"] else ""
    return f"{one['what']}: {one['value']:.4g} {one['unit']}{aim}".rstrip()


def _write(path: Path, found: Mapping[str, Any]) -> None:
    with whole(path) as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n")
    with whole(path.with_suffix(".md")) as partial:
        partial.write_text(_table(found))


def _table(found: Mapping[str, Any]) -> str:
    heading = f"# {found['device']}{', tiny sizes: no figures' if found['tiny'] else ''}"
    return "\n".join([heading, *tables(found), ""])


if __name__ == "__main__":
    sys.exit(main())

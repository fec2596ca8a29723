"""NVIDIA GPUs as the driver sees them, without touching one: torch is not imported, no context is made."""

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from sweeps.doctor.finding import Finding, amber, green, red

ASKED = (
    "index,name,driver_version,memory.total,memory.used,compute_cap,mig.mode.current,compute_mode,"
    "ecc.errors.uncorrected.volatile.total"
)
SECONDS = 20  # nvidia-smi on a card that has fallen off the bus may hang
OLDEST_CAPABILITY = 7.5  # torch's wheels for CUDA 13 begin at Turing
OLDEST_DRIVER = 580  # likewise
BUSY = 0.1  # of a card's memory


def cards() -> Iterator[Finding]:
    """Every card; one amber finding where there is none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    smi = shutil.which("nvidia-smi")
    if smi is None:
        yield _no_driver()
        return
    done = subprocess.run(
        [smi, f"--query-gpu={ASKED}", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:200]
        yield red("gpu", "driver", f"nvidia-smi failed: {said}", "install or restart the NVIDIA driver")
        return
    if visible is not None:
        yield amber(
            "gpu", "visible", f"CUDA_VISIBLE_DEVICES={visible!r}", "only these are used", visible=visible
        )
    for row in csv.reader(io.StringIO(done.stdout), skipinitialspace=True):
        yield from _card(dict(zip(ASKED.split(","), row, strict=True)))


def _no_driver() -> Finding:
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return red(
            "gpu", "driver", "there are cards in /dev, but no nvidia-smi", "install the driver's tools"
        )
    said = "no GPU here: every trial runs on the CPU"
    return amber(
        "gpu", "none", said, "nothing, if that is meant; the image methods are 20 to 100 times slower"
    )


def _card(card: Mapping[str, str]) -> Iterator[Finding]:
    name = f"card {card['index']}"
    total, used = _number(card["memory.total"]), _number(card["memory.used"])
    said = (
        f"{card['name']}, {total / 1024:.0f} GiB, driver {card['driver_version']}, sm {card['compute_cap']}"
    )
    facts = {"model": card["name"], "driver": card["driver_version"], "gib": round(total / 1024)}
    problems = list(_problems(card))
    for what, mend in problems:
        yield red("gpu", name, f"{said}: {what}", mend, **facts)
    if card["compute_mode"] not in ("Default", "[N/A]"):
        mend = "nvidia-smi -c DEFAULT, or gpus: 1 for every method: a second process is refused"
        yield amber("gpu", name, f"{said}: compute mode {card['compute_mode']}", mend, **facts)
    elif card["mig.mode.current"] == "Enabled":
        mend = "name slices in CUDA_VISIBLE_DEVICES (nvidia-smi -L lists them)"
        yield amber("gpu", name, f"{said}: divided into MIG slices", mend, **facts)
    elif used > BUSY * total:
        mend = "nvidia-smi shows whose; shares of a card are reckoned from all of its memory"
        yield amber("gpu", name, f"{said}: {used / 1024:.1f} GiB are in use already", mend, **facts)
    elif not problems:
        yield green("gpu", name, said, **facts)


def _problems(card: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if _number(card["compute_cap"]) < OLDEST_CAPABILITY:
        yield "too old for the torch wheels of CUDA 13", "install a torch wheel of CUDA 12 (pytorch.org)"
    if _number(card["driver_version"].partition(".")[0]) < OLDEST_DRIVER:
        yield (
            f"the driver is older than {OLDEST_DRIVER}, which CUDA 13 wants",
            "update the driver, or install a torch wheel of CUDA 12 (pytorch.org)",
        )
    if _number(card["ecc.errors.uncorrected.volatile.total"]) > 0:
        yield (
            "uncorrected memory errors since the last reset",
            "take it out of service (nvidia-smi -q -d ECC)",
        )


def _number(text: str) -> float:
    """A number of nvidia-smi; 0 for [N/A] and the like."""
    try:
        return float(text)
    except ValueError:
        return 0.0

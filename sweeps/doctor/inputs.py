"""What goes in: data sets and weights that are found here, and how fast pictures are decoded."""

import io
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from harness.data.digest import file_digest
from harness.errors import HarnessError
from methods.shared.weight_files import shapes_of
from methods.shared.weights import DEMO_FOLDER, SUFFIXES
from sweeps.doctor.finding import Finding, amber, green, red

SIZE = (1600, 1280)  # of an image of MVTec LOCO AD
REPEATS = 3
SLOW_DECODING = 5.0  # images per second and core; a usual core takes 20 to 40
# As torchvision, timm and torch.hub end a name; eight digits alone may be a date
HASH_IN_NAME = re.compile(r"-(?=\d*[a-f])([0-9a-f]{8})\.[a-z]+$")
MOST = 40  # files or folders that are looked at


def decoding() -> Iterator[Finding]:
    """Images per second that one core decodes, of a picture as large as LOCO's."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 255, (SIZE[1] // 8, SIZE[0] // 8, 3), dtype=np.uint8)
    packed = io.BytesIO()
    Image.fromarray(smooth).resize(SIZE, Image.Resampling.BICUBIC).save(packed, "PNG", compress_level=3)
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        Image.open(io.BytesIO(packed.getvalue())).convert("RGB")
        seconds.append(time.perf_counter() - began)
    rate = 1 / min(seconds)
    said = f"{rate:.0f} images of {SIZE[0]} × {SIZE[1]} per second and core"
    if rate < SLOW_DECODING:
        yield amber("data", "decoding", said, "cards will wait for pictures: give trials more cpus")
    else:
        yield green("data", "decoding", said)


def data_sets() -> Iterator[Finding]:
    """Every data set below $LADDER_DATA, and whether it is whole."""
    given = os.environ.get("LADDER_DATA")
    if not given:
        said = "LADDER_DATA is not set: sweep files that name it cannot be read"
        yield amber("data", "LADDER_DATA", said, "export LADDER_DATA=FOLDER (of data sets)")
        return
    root = Path(given).expanduser()
    if not root.is_dir():
        yield red("data", "LADDER_DATA", f"{root}: no such folder", "mount it, or correct LADDER_DATA")
        return
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))[:MOST]
    if not folders:
        mend = "unpack a data set in there, or correct LADDER_DATA"
        yield amber("data", "LADDER_DATA", f"{root}: no folder in there", mend)
    yield from map(_data_set, folders)


def _data_set(folder: Path) -> Finding:
    from harness.curate.check import check, guess

    try:
        dataset = guess(folder)
        report = check(folder, dataset)
    except HarnessError as error:
        return amber(
            "data", folder.name, f"{folder}: {str(error).splitlines()[0][:200]}", "nothing, if it is none"
        )
    splits = [found.split for found in report.found.values()]
    images = sum(len(s.train) + len(s.validation) + len(s.test) for s in splits)
    said = f"{folder}: {dataset.name}, {len(report.found)} categories, {images} images"
    facts = {"images": images, "dataset": dataset.name}
    if report.problems:
        mend = f"python -m harness.data check {folder}"
        return red(
            "data",
            folder.name,
            f"{said}; {len(report.problems)} problems, {report.problems[0]}",
            mend,
            **facts,
        )
    return green("data", folder.name, said, **facts)


def weights() -> Iterator[Finding]:
    """Weights that ship, and every file below $LADDER_WEIGHTS, with what its header says."""
    folders = [DEMO_FOLDER]
    if given := os.environ.get("LADDER_WEIGHTS"):
        folders.append(Path(given).expanduser())
    for folder in folders:
        if not folder.is_dir():
            mend = "mount it, or correct LADDER_WEIGHTS"
            yield red("weights", "LADDER_WEIGHTS", f"{folder}: no such folder", mend)
            continue
        paths = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file())[:MOST]
        if not paths:
            yield amber("weights", folder.name, f"{folder}: no weights in there", "correct LADDER_WEIGHTS")
        for path in paths:
            yield _file(path)


def _file(path: Path) -> Finding:
    try:
        shapes, sha = shapes_of(path), file_digest(path)
    except HarnessError as error:
        return red("weights", path.name, str(error), "get the file again")
    if (named := HASH_IN_NAME.search(path.name)) and not sha.startswith(named[1]):
        said = f"{path}: its name says that its sha256 begins with {named[1]}, but it is {sha[:12]}…"
        return red("weights", path.name, said, "get the file again: another one, or damaged", sha256=sha)
    tensors = "" if shapes is None else f"{len(shapes)} tensors, "
    said = f"{path.name}: {tensors}{path.stat().st_size >> 20} MiB, sha256 {sha[:12]}…"
    return green("weights", path.name, said, sha256=sha)

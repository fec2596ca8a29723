"""`python -m harness.maps RUN TRIAL --out DIR`: kept anomaly maps as TIFF files for MVTec's own evaluator.

Writes `<out>/<category>/test/<folder>/<name>.tiff`, float32, at the native size of the image, upsampled by
the rule that our metrics use; `evaluate_experiment.py` of MVTec LOCO AD reads that layout.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.addresses import local
from harness.confined import below
from harness.console import leave
from harness.data import image_size
from harness.errors import DataError, HarnessError
from harness.metrics import upsample
from harness.results import Run, read_run
from harness.results.maps import read_maps


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.maps", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("run", type=local, help="a run directory of a sweep with `keep_maps: true`")
    parser.add_argument("trial", help="trial id")
    parser.add_argument("--out", type=local, required=True, help="folder for the category's maps")
    options = parser.parse_args(arguments)
    try:
        print(f"{export(options.run, options.trial, options.out)} maps written below {options.out}")
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def export(path: Path, trial_id: str, out: Path) -> int:
    """Write the maps of a trial as TIFF files; how many.

    Raises:
        DataError: no such run or trial, its maps were not kept, an image or an id would lie elsewhere, or
            something cannot be written.
    """
    run = read_run(path, scores=False)
    found = run.trials[run.trials["trial_id"] == trial_id]
    kept = read_maps(path, trial_id)
    if found.empty or kept is None:
        what = _why_not(run, trial_id) if found.empty else "its maps were not kept (keep_maps: true)"
        raise DataError(f"{path}: trial {trial_id!r}: {what}")
    folder, _, subtype = str(found.iloc[0]["category"]).partition("/")
    root = below(_root(run), folder)
    for name, anomaly_map in zip(kept.ids, kept.maps, strict=True):
        size = image_size(below(root, name))
        _save(upsample(anomaly_map, size), below(out, f"{folder}/{subtype}/{name}").with_suffix(".tiff"))
    return len(kept.ids)


def _why_not(run: Run, trial_id: str) -> str:
    if trial_id in run.lacking:
        return f"it has lost its {run.lacking[trial_id]}"
    return "; ".join(["no such trial", *map(str, run.damage)])


def _root(run: Run) -> Path:
    try:
        return Path(run.config["dataset"]["root"])
    except (KeyError, TypeError):
        raise DataError(f"{run.path}: sweep.json does not say where the images are (dataset.root)") from None


def _save(values: NDArray[np.float32], target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror or error})") from error


if __name__ == "__main__":
    leave(main)

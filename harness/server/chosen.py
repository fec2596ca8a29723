"""Which trials of a run make up a submission: one setting of one method, on every object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import pandas as pd

from harness.data import Split
from harness.datasets.mvtec_ad2 import COUNTS
from harness.errors import ConfigError, DataError, nearest
from harness.metrics import METRICS, Moments
from harness.results import Run, read_run
from harness.results.maps import maps_path
from harness.source import recorded_source

DATASET, METRIC = "mvtec_ad2", "seg_f1"
SHOWN = 8
_SETTING = ("method", "params", "shots", "split_seed", "run_seed")
Row = Mapping[str, Any]


@final
@dataclass(frozen=True)
class Part:
    """What one object contributes.

    Attributes:
        row: of its trial, in `trials/`.
        split: the images that it has scored.
        threshold: above which a pixel is flagged; None where no mask is to be written.
    """

    row: Row
    split: Split
    threshold: float | None


def parts(path: Path, trial: str = "", masks: bool = True) -> dict[str, Part]:
    """Object -> its part, of a run of MVTec AD 2 with `test: server`.

    Args:
        path: a run directory.
        trial: an id, or its first characters, of one of the trials that are meant; the others are those of
            the same setting. Without, there has to be one setting only.
        masks: whether thresholds are wanted.

    Raises:
        ConfigError: the sweep file has to say more, or several settings are possible.
        DataError: no such run or trial, objects lack, or the images have changed.
    """
    run = read_run(path, scores=False)
    _of_server(run)
    rows = _setting(run, trial)
    _whole(path, rows, masks)
    source = recorded_source(run.config)
    found = {}
    for name, row in rows.items():
        split = source.split(name)
        if split.fingerprint != row["fingerprint"]:
            raise DataError(f"{name}: the images below {source.root} are not those that the run saw")
        found[name] = Part(row, split, _threshold(row) if masks else None)
    return found


def _of_server(run: Run) -> None:
    given = run.config.get("dataset")
    dataset = given if isinstance(given, dict) else {}
    if dataset.get("name") != DATASET:
        raise ConfigError(f"{run.path}: is a run of {dataset.get('name')}; the server is that of {DATASET}")
    if (test := dataset.get("test", "public")) != "server":
        raise ConfigError(
            f"{run.path}: has scored `test: {test}`; the server wants both private splits: say "
            "`test: server` under `dataset:` (and another `out:`), and run the sweep"
        )


def _setting(run: Run, trial: str) -> dict[str, Row]:
    """Object -> trial of the one setting that is meant."""
    settings: dict[tuple[Any, ...], dict[str, Row]] = {}
    # as in reports: what the sweep file does not ask for any more is left out
    planned = run.trials["trial_id"].isin(run.known_plan["trial_id"])
    for row in run.trials[planned & (run.trials["status"] == "ok")].to_dict("records"):
        key = tuple(str(row[name]) for name in _SETTING)
        settings.setdefault(key, {})[str(row["category"])] = {str(name): v for name, v in row.items()}
    if trial:
        return _meant(run, list(settings.values()), trial)
    if not settings:
        raise DataError(f"{run.path}: no trial is ok")
    if len(settings) > 1:
        firsts = [next(iter(rows.values())) for rows in settings.values()]
        listed = [f"  --trial {row['trial_id']}: {_words(row)}" for row in firsts]
        more = [f"  and {len(listed) - SHOWN} more"] if len(listed) > SHOWN else []
        raise ConfigError([f"{run.path}: {len(listed)} settings; name one:", *listed[:SHOWN], *more])
    return next(iter(settings.values()))


def _meant(run: Run, settings: Sequence[Mapping[str, Row]], trial: str) -> dict[str, Row]:
    ids = [str(row["trial_id"]) for rows in settings for row in rows.values()]
    found = [rows for rows in settings if any(str(r["trial_id"]).startswith(trial) for r in rows.values())]
    if not found:
        raise DataError(f"{run.path}: no trial {trial!r} that is ok{nearest(trial, ids)}")
    if len(found) > 1:
        raise DataError(f"{run.path}: trials of {len(found)} settings begin with {trial!r}")
    return dict(found[0])


def _words(row: Row) -> str:
    shots = "all images" if pd.isna(row["shots"]) else f"{row['shots']:.0f}-shot"
    seeds = ["-" if pd.isna(row[name]) else f"{row[name]:.0f}" for name in ("split_seed", "run_seed")]
    return f"{row['method']}, {shots}, seeds {'/'.join(seeds)}, {row['params']}"


def _whole(path: Path, rows: Mapping[str, Row], masks: bool) -> None:
    """Refuse a setting of which something lacks; all of it at once."""
    problems = [f"{path}: {name}: no trial of this setting is ok" for name in COUNTS if name not in rows]
    bare = [n for n, row in rows.items() if not maps_path(path, str(row["trial_id"])).is_file()]
    if bare:
        problems.append(
            f"{path}: {', '.join(bare)}: no anomaly maps were kept: say `keep_maps: true` in the sweep file "
            "and run it with `--retry ok`; a method without maps cannot be handed in"
        )
    free = [name for name, row in rows.items() if masks and Moments.recorded(row) is None]
    if free:
        problems.append(
            f"{path}: {', '.join(free)}: no threshold was fixed on validation images: name {METRIC} under "
            "`metrics:` in the sweep file and run it with `--retry ok`, or leave masks out: --maps-only"
        )
    if problems:
        raise ConfigError(problems)


def _threshold(row: Row) -> float | None:
    cut, found = METRICS.load(METRIC).cut, Moments.recorded(row)
    return cut.of(found) if cut and found else None

"""What every tool is told of a run: one record per trial that has ended, and one for the sweep above them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, final

import pandas as pd

from reports.frame.cells import averages, cells
from reports.frame.load import MISSING, Frame, LoadedRun
from reports.frame.naming import FULL, shots_title
from reports.frame.protocols import apart

COSTS = ("fit_seconds", "score_seconds", "total_seconds", "ms_per_image", "peak_rss_mib", "peak_gpu_mib")
_FACTS = ("status", "reason", "error_type", "device", "gpu_name", "host", "fingerprint", "git_commit")


@final
@dataclass(frozen=True)
class Record:
    """A trial, or a sweep.

    Attributes:
        id: the same in every export of it: the trial's id; of a sweep its name with a digest of its folder,
            so that two sweeps of one name can be told to one place.
        name: for people.
        params: what it was run with; every value a text.
        metrics: name ("auroc/logical", "auspro_fpr0.05/mean") -> value; undefined ones are not in it.
        tags: everything else that is known, in words.
        status: ok, failed, skipped, …; of a sweep "ok" if none is missing or wrong.
        started, finished: UTC, None where nobody knows.
    """

    id: str
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    status: str = "ok"
    started: datetime | None = None
    finished: datetime | None = None

    @cached_property
    def digest(self) -> str:
        """Of all that it says: what has not changed need not be written again."""
        said = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def metric_name(measure: str, subset: str) -> str:
    """A measure as tools name it, with its limit and its subset; two definitions are two metrics.

    >>> metric_name("auspro@0.05", "logical"), metric_name("auroc v2", "all")
    ('auspro_fpr0.05/logical', 'auroc v2/all')
    """
    return f"{measure.replace('@', '_fpr')}/{subset}"


def trial_records(frame: Frame) -> Iterator[Record]:
    """The trials of a frame that have ended, in the order of the plan."""
    measured = {key: _metrics(some) for key, some in frame.metrics.groupby("trial_id", sort=False)}
    ended = frame.trials[frame.trials["status"] != MISSING]
    for row in ended.to_dict("records"):
        yield _record({str(k): v for k, v in row.items()}, measured.get(row["trial_id"], {}))


def _metrics(rows: pd.DataFrame) -> dict[str, float]:
    columns = zip(rows["measure"], rows["subset"], rows["value"], strict=True)
    return {metric_name(m, s): float(v) for m, s, v in columns if not pd.isna(v)}


def _record(row: Mapping[str, Any], metrics: Mapping[str, float]) -> Record:
    costs = {name: float(row[name]) for name in COSTS if _known(row.get(name))}
    started, finished = (_time(row.get(name)) for name in ("started_at", "finished_at"))
    shots, seed = shots_title(row["shots"]), row["seed"]
    name = f"{row['variant']}, {row['category']}, {shots}, seed {seed}"
    where = {"method": row["method"], "dataset": row["images"], "category": row["category"]}
    drawn = {"shots": "full" if row["shots"] == FULL else str(row["shots"]), "seed": seed}
    return Record(
        row["trial_id"],
        name,
        {**where, **drawn, "variant": row["variant"], **_params(row["params"])},
        {**metrics, **costs},
        {**where, **drawn, **_tags(row)},
        row["status"],
        started,
        finished,
    )


def _params(params: Any) -> dict[str, str]:
    """The method's hyper-parameters, apart from what else is told."""
    return {f"params.{name}": _text(value) for name, value in json.loads(params or "{}").items()}


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    facts = {name: _text(row[name]) for name in _FACTS if _known(row.get(name))}
    facts |= {"method_version": f"{row['method_version']:g}"} if _known(row.get("method_version")) else {}
    listed = {"marks": row["marks"], "protocols": row.get("protocols"), "support": row.get("support")}
    return facts | {name: "; ".join(map(str, some)) for name, some in listed.items() if _listed(some)}


def _listed(some: Any) -> bool:
    return some is not None and not isinstance(some, float) and len(some) > 0


def _known(value: Any) -> bool:
    return value is not None and value == value and not pd.isna(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _time(value: Any) -> datetime | None:
    return pd.Timestamp(value).to_pydatetime() if _known(value) else None


def sweep_record(frame: Frame, source: LoadedRun) -> Record:
    """The sweep above the trials: how far it is, and the averages that are complete."""
    counts = frame.trials["status"].value_counts()
    done = frame.trials[frame.trials["status"] != MISSING]
    marks = sorted({mark for some in frame.trials["marks"] for mark in some})
    config = {name: _text(source.config[name]) for name in ("dataset", "support") if name in source.config}
    folder = hashlib.sha256(str(source.path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return Record(
        f"{source.name}-{folder}",
        source.name,
        config | {axis: _axis(frame, axis) for axis in ("method", "category", "shots", "seed")},
        {f"trials_{status}": float(n) for status, n in counts.items()} | _averages(frame),
        {"marks": "; ".join(marks), "path": str(source.path)},
        "ok" if set(counts.index) <= {"ok", "skipped"} else "incomplete",
        _time(done["started_at"].min()),
        _time(done["finished_at"].max()),
    )


def _axis(frame: Frame, name: str) -> str:
    found = frame.trials[name].drop_duplicates()
    return ", ".join("full" if value == FULL else str(value) for value in found)


def _averages(frame: Frame) -> dict[str, float]:
    """Averages over categories and seeds, by a name like "patchcore/4-shot/auroc/all"."""
    frames = apart(frame)
    several = len(frames) > 1 or frame.trials["dataset"].nunique() > 1
    rows = (row for one in frames for row in averages(one, cells(one)).to_dict("records"))
    return {_place(row, several): float(row["mean"]) for row in rows if not pd.isna(row["mean"])}


def _place(row: Mapping[Any, Any], several: bool) -> str:
    """What an average is of; the data set is named where there are several, or several protocols."""
    parts = [row["variant"], shots_title(row["shots"]), metric_name(row["measure"], row["subset"])]
    return "/".join([row["dataset"], *parts] if several else parts)

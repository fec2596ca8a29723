"""`python -m harness.show RUN TRIAL`: everything that a run knows of one trial.

TRIAL is an id, or enough of its first characters. With `--image ID` it draws how the method saw that test
image: from the views that the sweep kept (`keep_maps: true`), else by fitting again, for which this module
may look upwards; nobody imports it. Exit codes: 0 the trial is ok or skipped, 1 it is not or has not run,
2 no such run, trial or image.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.console import leave, show
from harness.data import GOOD, Sample, Split, decode
from harness.errors import DataError, nearest
from harness.inspection.state import FINE, MISSING
from harness.metrics.scale import PERCENT, Scale
from harness.metrics.table import scale_of
from harness.results import Run, read_run, read_scores
from harness.results.maps import read_maps
from harness.results.plain import duration, plain, title
from harness.results.views import read_views
from harness.source import recorded_split
from harness.views import Heat, View

SHOWN = 5  # images of each kind, candidates of an ambiguous id

DATA = ["dataset", "category", "fingerprint", "marks", "n_train", "n_validation", "n_test"]
COST = [
    "fit_seconds",
    "score_seconds",
    "metric_seconds",
    "total_seconds",
    "ms_per_image",
    "peak_rss_mib",
    "peak_gpu_mib",
    "device",
    "gpu_name",
    "gpu_share",
    "artifact_hits",
    "artifact_computes",
    "artifacts",
]
ORIGIN = [
    "sweep",
    "method_version",
    "weights",
    "versions",
    "git_commit",
    "git_dirty",
    "host",
    "attempt",
    "unit",
    "started_at",
    "finished_at",
]


@final
@dataclass(frozen=True)
class Record:
    """One trial.

    Attributes:
        trial: its row of `trials/`; of a trial that has not run, its row of the plan and status "missing".
        metrics: its rows of `metrics/`, without the id.
        scales: metric -> how its values are printed.
        images: its rows of `scores/`, without the id, the highest score first.
    """

    trial: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    images: Sequence[Mapping[str, Any]]
    scales: Mapping[str, Scale]

    @property
    def alarming(self) -> list[Mapping[str, Any]]:
        """Good images with the highest scores."""
        return [row for row in self.images if row["label"] == GOOD][:SHOWN]

    @property
    def overlooked(self) -> list[Mapping[str, Any]]:
        """Anomalous images with the lowest scores."""
        return [row for row in reversed(self.images) if row["label"] != GOOD][:SHOWN]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Raises:
        DataError: no such run, no such trial, or several that begin like that.
    """
    options = parser().parse_args(arguments)
    record = record_of(options.run, options.trial)
    if options.image:
        print(f"written: {_picture(options.run, record, options.image, options.out)}")
    elif options.json:
        print(json.dumps(asdict(record), indent=2))
    else:
        show(_parts(record))
    return 0 if record.trial["status"] in FINE else 1


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.show", description="Everything that a run knows of one trial."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, e.g. runs/fewshot")
    parser.add_argument("trial", metavar="TRIAL", help="id of a trial, or its first characters")
    parser.add_argument("--json", action="store_true", help="print JSON, with the scores of all images")
    parser.add_argument(
        "--image", metavar="ID", help="draw how the method saw this test image, or the end of its name"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="of the drawing (.png, .pdf, .svg); default: TRIAL_IMAGE.png here",
    )
    return parser


def _picture(run: Path, record: Record, wanted: str, out: Path | None) -> Path:
    """Draw a test image with everything that the method has to show of it; the file."""
    from harness.inspection.drawing import draw

    trial = record.trial
    config = read_run(run, scores=False).config
    split = recorded_split(config, trial["category"], trial["fingerprint"])
    sample = _sample(split, wanted)
    views = _kept(run, trial["trial_id"], sample) or _explained(config, trial, split, sample)
    out = out or Path(f"{trial['trial_id']}_{sample.id.replace('/', '_')}").with_suffix(".png")
    files = {s.id: s.path for s in (*split.train, *split.validation, *split.test)}
    caption = f"{title(trial)} · {sample.id}"
    draw(decode(sample.path), caption, views, lambda image: decode(files[image]), out)
    return out


def _kept(run: Path, trial_id: str, sample: Sample) -> tuple[View, ...]:
    views, maps = read_views(run, trial_id) or {}, read_maps(run, trial_id)
    if sample.id in views or maps is None:
        return views.get(sample.id, ())
    return (Heat("anomaly map", maps.maps[maps.ids.index(sample.id)]),)


def _explained(
    config: Mapping[str, Any], trial: Mapping[str, Any], split: Split, sample: Sample
) -> tuple[View, ...]:
    from sweeps.explain import explain

    return explain(config, trial, split, sample)


def _sample(split: Split, wanted: str) -> Sample:
    found = [s for s in split.test if s.id == wanted or s.id.endswith(f"/{wanted}")]
    if len(found) != 1:
        known = [s.id for s in split.test]
        what = f"{len(found)} test images end in" if found else "no test image"
        raise DataError(
            f"{split.category}: {what} {wanted!r}{nearest(wanted, known)}; there are {len(known)}"
        )
    return found[0]


def record_of(run: Path, trial: str) -> Record:
    """Look a trial up.

    Raises:
        DataError: no such run, no such trial, or several that begin like that.
    """
    found = read_run(run, scores=False)
    trial_id = _full_id(found, trial)
    rows = found.trials[found.trials["trial_id"] == trial_id]
    if rows.empty:
        planned = found.plan[found.plan["trial_id"] == trial_id].iloc[0]
        return Record(plain(dict(planned)) | {"status": MISSING}, (), (), {})
    images = [_with_parts(row) for row in _rows(read_scores(run, trial_id), trial_id)]
    images.sort(key=_from_above)
    metrics = _rows(found.metrics, trial_id)
    scales = {row["metric"]: scale_of(row["metric"], found.scales) for row in metrics}
    return Record(plain(dict(rows.iloc[0])), metrics, images, scales)


def _rows(frame: pd.DataFrame, trial_id: str) -> list[dict[str, Any]]:
    rows = (row for row in frame.to_dict("records") if row.pop("trial_id") == trial_id)
    return [plain(row) for row in rows]


def _with_parts(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"parts": dict(row["parts"] or [])}


def _from_above(row: Mapping[str, Any]) -> tuple[float, str]:
    return -row["score"], row["image"]


def _full_id(run: Run, given: str) -> str:
    known = list(dict.fromkeys([*run.trials["trial_id"], *run.plan["trial_id"]]))
    found = [i for i in known if i.startswith(given)] if given else known
    if given in known:
        return given
    if not found:
        raise DataError(f"{run.path}: no trial {given!r}{nearest(given, known)}; there are {len(known)}")
    if len(found) > 1:
        listed = ", ".join(found[:SHOWN]) + (", …" if len(found) > SHOWN else "")
        raise DataError(f"{run.path}: {len(found)} trials begin with {given!r}: {listed}")
    return found[0]


def _parts(record: Record) -> Iterator[RenderableType]:
    trial = record.trial
    yield Text(f"{title(trial)}  {trial['trial_id']}  {trial['status']}")
    if trial.get("reason"):
        kind = f"{trial['error_type']}: " if trial.get("error_type") else ""
        yield Text(f"reason: {kind}{trial['reason']}")
    yield from _section("parameters", {k: "none" if v is None else v for k, v in trial["params"].items()})
    yield from _section("data", {name: trial.get(name) for name in DATA})
    if trial.get("support"):
        yield Text(f"\nsupport ({len(trial['support'])} images): {' '.join(trial['support'])}")
    if record.metrics:
        percent = all(scale.unit == PERCENT for scale in record.scales.values())
        yield Text("\nmetrics (percent)" if percent else "\nmetrics (percent where no other unit is named)")
        yield _metric_table(record)
    yield from _image_lines("good images with the highest scores", record.alarming)
    yield from _image_lines("anomalous images with the lowest scores", record.overlooked)
    yield from _section("cost", {name: trial.get(name) for name in COST})
    yield from _section("provenance", {name: trial.get(name) for name in ORIGIN})
    if trial.get("traceback"):
        yield Text(f"\ntraceback\n{trial['traceback'].rstrip()}")


def _section(name: str, values: Mapping[str, Any]) -> Iterator[RenderableType]:
    known = {k: v for k, v in values.items() if v not in (None, [], {})}
    if known:
        yield Text(f"\n{name}")
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2), show_edge=False)
        for key, value in known.items():
            table.add_row(key, Text(_word(key, value)))
        yield table


def _word(key: str, value: Any) -> str:
    if key.endswith("_seconds"):
        return duration(value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if key == "weights" and not isinstance(value, str):
        return ", ".join(f"{w['name']} sha256:{w['sha256']}" for w in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _metric_table(record: Record) -> Table:
    """One line per subset, one column per metric and limit."""
    rows, scales = record.metrics, record.scales
    table = Table(box=None, padding=(0, 2, 0, 2), show_edge=False)
    columns = list(dict.fromkeys((row["metric"], row["fpr_limit"]) for row in rows))
    table.add_column("subset")
    table.add_column("good + anomalous", justify="right")
    for metric, limit in columns:
        name = metric if limit is None else f"{metric}@{limit:g}"
        table.add_column(name + _unit(scales[metric]), justify="right")
    for subset in dict.fromkeys(row["subset"] for row in rows):
        mine = {(r["metric"], r["fpr_limit"]): r for r in rows if r["subset"] == subset}
        first = next(iter(mine.values()))
        sizes = f"{first['n_normal']} + {first['n_anomalous']}"
        table.add_row(subset, sizes, *(_value(mine.get(c), scales[c[0]]) for c in columns))
    return table


def _unit(scale: Scale) -> str:
    return "" if scale.unit == PERCENT else f" ({scale.unit or 'plain'})"


def _value(row: Mapping[str, Any] | None, scale: Scale) -> str:
    return "–" if row is None or row["value"] is None else scale.text(row["value"])


def _image_lines(name: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    if rows:
        yield Text(f"\n{name}")
        for row in rows:
            kind = f"  ({row['defect']})" if row["defect"] and row["defect"] != row["label"] else ""
            parts = "".join(f"  {part} {value:.4g}" for part, value in row["parts"].items())
            yield Text(f"  {row['score']:.6g}  {row['image']}{kind}{parts}")


if __name__ == "__main__":
    leave(main)

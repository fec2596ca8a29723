"""Everything about one trial in words: what `harness.show` prints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.inspection.record import Record
from harness.metrics.scale import PERCENT, Scale
from harness.results.plain import duration, title

DATA = ["dataset", "category", "fingerprint", "marks", "n_train", "n_validation", "n_test", "validation_maps"]
COST = [
    "fit_seconds",
    "score_seconds",
    "validation_seconds",
    "metric_seconds",
    "total_seconds",
    "ms_per_image",
    "peak_rss_mib",
    "peak_gpu_mib",
    "device",
    "gpu_name",
    "precision_used",
    "gpu_share",
    "artifact_hits",
    "artifact_computes",
    "artifacts",
]
ORIGIN = [
    "sweep",
    "protocols",
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


def parts(record: Record) -> Iterator[RenderableType]:
    """Lines and tables, from what it was to what it cost."""
    trial = record.trial
    yield Text(f"{title(trial)}  {trial['trial_id']}  {trial['status']}")
    if trial.get("reason"):
        kind = f"{trial['error_type']}: " if trial.get("error_type") else ""
        yield Text(f"reason: {kind}{trial['reason']}")
    for text in trial.get("notes") or ():
        yield Text(f"note: {text}")
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
    yield from _image_lines("images without labels with the highest scores", record.striking)
    yield from _section("cost", {name: trial.get(name) for name in COST})
    yield from _section("provenance", {name: trial.get(name) for name in ORIGIN})
    if trial.get("traceback"):
        yield Text(f"\ntraceback\n{trial['traceback'].rstrip()}")
    yield from (Text(f"note: {note}") for note in record.notes)


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

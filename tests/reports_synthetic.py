"""Synthetic runs for the tests of reports: written through the real writer, with numbers from a hash."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa

from harness.metrics.image import auroc
from harness.results import RunWriter, write_plan, write_sweep
from harness.results.parquet import write_parquet
from harness.results.schema import METRICS, SCORES
from harness.results.tables import parts
from harness.trial import TrialResult

CATEGORIES = ("breakfast_box", "juice_bottle/cherry", "juice_bottle/orange")
FIVE = ("breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors")
_JUICES = [f"juice_bottle/{name}" for name in ("banana", "cherry", "orange")]
_CABLES = [f"splicing_connectors/{name}" for name in ("blue", "red", "yellow")]
NINE = (FIVE[0], *_JUICES, FIVE[2], FIVE[3], *_CABLES)
LOCO = ("good",) * 12 + ("logical",) * 9 + ("structural",) * 7  # labels of the images of a category
ERROR = "CUDA out of memory: tried to allocate {gib:.2f} GiB on node{seed}"
TRACE = 'Traceback (most recent call last):\n  File "psad.py", line 12, in fit\n    x < y & "z"\nRuntimeError'


@dataclass(frozen=True)
class Entry:
    """One method of a synthetic sweep.

    Attributes:
        name, params, version, marks, weights: of its trials.
        level: its mean AUROC.
        shots, seeds: what its plan has; shots 0 = zero-shot; a seed None = deterministic.
        fate: (category, shots, seed) -> columns that differ, `status` first of all; None drops the row.
    """

    name: str
    level: float
    params: Mapping[str, Any] = field(default_factory=dict)
    shots: Sequence[int | None] = (1, 4)
    seeds: Sequence[int | None] = (0, 1, 2)
    marks: tuple[str, ...] = ()
    weights: tuple[tuple[str, str], ...] = ()
    version: int = 1
    fate: Callable[[str, int | None, int | None], Mapping[str, Any] | None] = lambda *_: {}


def write_run(
    path: Path,
    entries: Sequence[Entry],
    categories: Sequence[str] = CATEGORIES,
    metrics: Callable[[Mapping[str, Any], float], list[dict[str, Any]]] | None = None,
    images: int = 2,
    dataset: str = "loco",
    support: str = "nested",
    protocols: Sequence[str] = (),
) -> Path:
    """Write a run of these methods over these categories, of protocols in turn; returns its folder."""
    path.mkdir(parents=True, exist_ok=True)
    config = {"name": path.name, "dataset": {"name": dataset}, "seeds": 3, "support": {"rule": support}}
    said = [{"label": name, "protocol": name, "title": name} for name in protocols]
    write_sweep(path, config | {"out": None}, protocols=said)
    planned = [p for entry in entries for p in _trials(entry, categories, dataset)]
    asked = {c: {"protocols": [p]} for c, p in zip(categories, cycle(protocols), strict=False)}
    write_plan(
        path, [{k: row[k] for k in _PLANNED} | asked.get(row["category"], {}) for row, _, _ in planned]
    )
    writer = RunWriter(path)
    for row, entry, fate in planned:
        if fate is not None:
            writer.finished(_result(row | dict(fate), entry, metrics or metric_rows, images))
    writer.close()
    return path


_PLANNED = ("trial_id", "method", "params", "dataset", "category", "shots", "split_seed", "run_seed", "marks")


def _trials(entry: Entry, categories: Sequence[str], dataset: str):
    for category in categories:
        for shots in entry.shots:
            for seed in entry.seeds:
                row = _row(entry, category, shots, seed, dataset)
                yield row, entry, entry.fate(category, shots, seed)


def _row(
    entry: Entry, category: str, shots: int | None, seed: int | None, dataset: str = "loco"
) -> dict[str, Any]:
    params = json.dumps(dict(entry.params), sort_keys=True)
    identity = [entry.name, params, category, shots, seed, entry.version, entry.weights]
    identity += [] if dataset == "loco" else [dataset]
    return {
        "trial_id": _digest(identity)[:16],
        "sweep": "synthetic",
        "method": entry.name,
        "method_version": entry.version,
        "params": params,
        "dataset": dataset,
        "category": category,
        "fingerprint": _digest(category),
        "shots": shots,
        "split_seed": seed,
        "run_seed": seed,
        "marks": list(entry.marks),
    }


def _result(row: dict[str, Any], entry: Entry, metrics: Callable[..., Any], images: int) -> TrialResult:
    value = entry.level + 0.1 * (_unit([row["trial_id"]]) - 0.5)
    ran = {
        "status": "ok",
        "fit_seconds": 2 + 10 * value,
        "score_seconds": 1.5,
        "metric_seconds": 0.1,
        "total_seconds": 60.0,
        "ms_per_image": 12.5 * value,
        "peak_rss_mib": 2000 + 100 * value,
        "peak_gpu_mib": None,
        "device": "cpu",
        "gpu_share": 0.0,
        "host": "node1",
        "weights": [{"name": n, "sha256": s} for n, s in entry.weights],
        "artifact_hits": 30,
        "artifact_computes": 10,
        "versions": json.dumps({"ladder": "0.1", "torch": "2.15"}),
        "git_commit": "0123456789abcdef0123",
        "git_dirty": True,
        "started_at": "2026-01-02T03:04:05+00:00",
        "finished_at": "2026-01-02T03:05:05+00:00",
    }
    done = ran | row
    if done["status"] != "ok":
        return TrialResult(done)
    score = {"label": "good", "score": value, "parts": {}}
    scores = tuple({"image": f"test/good/{i:03d}.png", **score} for i in range(images))
    return TrialResult(done, tuple(metrics(done, value)), scores)


def metric_rows(row: Mapping[str, Any], value: float) -> list[dict[str, Any]]:
    """AUROC on every subset, AU-sPRO at two limits; no structural defects among the oranges."""
    structural = None if row["category"].endswith("orange") else value - 0.05
    mean = None if structural is None else (value + structural) / 2
    subsets = {"all": value - 0.02, "logical": value, "structural": structural, "mean": mean}
    rows = [metric_row(s, "auroc", v) for s, v in subsets.items()]
    rows += [metric_row("all", "auspro", value * limit, limit) for limit in (0.05, 0.3)]
    return [*rows, metric_row("missing_fruit", "auroc", value)]


def metric_row(subset: str, metric: str, value: float | None, limit: float | None = None) -> dict[str, Any]:
    """One row of the metrics table."""
    rule = "bilinear" if limit else None
    known = {"subset": subset, "metric": metric, "fpr_limit": limit, "value": value, "map_rule": rule}
    return known | {"n_normal": 10, "n_anomalous": 20, "metric_version": 1}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _unit(value: Any) -> float:
    return int(_digest(value)[:8], 16) / 16**8


def _psad_fate(category: str, shots: int | None, seed: int | None) -> Mapping[str, Any]:
    if category == "breakfast_box" and seed == 1:
        reason = ERROR.format(gib=2.5 + (shots or 0), seed=seed)
        return {"status": "oom", "error_type": "OutOfMemoryError", "reason": reason, "traceback": TRACE}
    if category.endswith("orange"):
        return {"status": "skipped", "reason": "no part masks <here> & 50 % of {sub_types} | none"}
    return {}


def showcase() -> list[Entry]:
    """A bit of everything: two settings of a method, failures, zero-shot, deterministic, demo weights."""
    demo, real = ("demo weights",), (("wide_resnet50_2", "ab" * 32),)
    return [
        Entry("mean_image", 0.62, shots=(1, 4)),
        Entry("patchcore", 0.86, {"coreset_ratio": 0.01, "k": 9}, weights=real),
        Entry("patchcore", 0.84, {"coreset_ratio": 0.1, "k": 9}, weights=real),
        Entry("psad", 0.93, fate=_psad_fate),
        Entry("winclip", 0.71, shots=(0,), seeds=(None,), marks=demo, weights=(("vit_demo", "cd" * 32),)),
    ]


def of_papers(folder: Path) -> list[Path]:
    """Runs with something for every table of the three papers: one on all images, one few-shot."""
    full = dict[str, Any](shots=(None,))
    dfsc = {"quantile": 0.999, "in_relu": True, "sigmoid": True, "ema": "eval_copy"}
    settings = [(False, False, "off"), (True, False, "off"), (True, True, "off")]
    ablation = [
        {**dfsc, "in_relu": r, "sigmoid": s, "ema": e, "margin": m}
        for m, (r, s, e) in [(0.0, settings[0]), (0.0, settings[1]), (0.0, settings[2]), (0.4, settings[2])]
    ]
    margins = [{**dfsc, "margin": m} for m in (0.0, 0.2, 0.4, 1.0, 2.0)]
    psad = {"banks": "hcp", "as_scale": "max", "train_fraction": 1.0, "losses": "sup+H+hist"}
    changes = [{}, *({"losses": losses} for losses in ("sup", "sup+H")), {"as_scale": "none"}]
    changes += [{"banks": b} for b in "hcp"]
    changes += [{"banks": "hc", "train_fraction": f} for f in (1.0, 0.5, 0.25, 0.125)]
    own = ("stand-in labels",)
    entries = [Entry("patchcore", 0.82, {"image_size": 256}, **full)]
    entries += [Entry("efficientad", 0.88, {"size": size}, **full) for size in "SM"]
    entries += [Entry("efficientad_dfsc", 0.89, p, **full) for p in (*margins, *ablation)]
    entries += [Entry("psad", 0.93, {**psad, **c}, marks=own, **full) for c in changes]
    five = write_run(folder / "five", entries, FIVE, images=1, dataset="mvtec_loco")
    few = dict[str, Any](shots=(1, 2, 4), seeds=range(5))
    entries = [Entry("clip_lad", 0.77, **few), Entry("patchcore", 0.72, {"image_size": 256}, **few)]
    entries += [Entry("winclip", 0.6, shots=(0,), seeds=(None,))]
    entries += [Entry("sinbad", 0.7, fate=lambda c, k, s: None if c == "pushpins" and s == 3 else {}, **few)]
    nine = write_run(folder / "nine", entries, NINE, images=1, dataset="mvtec_loco")
    three = [Entry(name, 0.75, shots=(1,), seeds=range(5)) for name in ("clip_lad", "clip")]
    multi = write_run(
        folder / "multi", three, (FIVE[1], FIVE[4]), images=1, dataset="mvtec_loco", support="per_subtype"
    )
    return [five, nine, multi]


def unfinished(category: str, shots: int | None, seed: int | None) -> Mapping[str, Any] | None:
    """A fate: only seeds before the last have run, and nothing of the last category."""
    return None if seed == 2 or category.endswith("orange") else {}


def with_scores(run: Path, levels: Mapping[str, float], labels: Sequence[str] = LOCO) -> Path:
    """Put scores of these labels into a synthetic run: common to the images, plus level and noise."""
    for part in parts(run):
        table = part.read()["trials"]
        columns = zip(*(table[c].to_pylist() for c in ("trial_id", "method", "category")), strict=True)
        found = [row for t, m, c in columns for row in _scores(t, levels.get(m, 0.0), c, labels)]
        write_parquet(part.path("scores"), pa.Table.from_pylist(found, schema=SCORES))
    return run


def _scores(trial: str, level: float, category: str, labels: Sequence[str]):
    common = np.random.default_rng(crc32(category.encode())).integers(0, 40, len(labels))
    noise = np.random.default_rng(crc32(trial.encode())).integers(0, 20, len(labels))
    for i, label in enumerate(labels):
        lift = 0 if label == "good" else int(100 * level)
        image = f"test/{label}/{i:03d}.png"
        yield {"trial_id": trial, "image": image, "label": label, "score": float(common[i] + noise[i] + lift)}


def measured(run: Path, levels: Mapping[str, float], labels: Sequence[str] = LOCO) -> Path:
    """The same, with AUROCs that are those of the scores."""
    with_scores(run, levels, labels)
    for part in parts(run):
        tables = part.read()
        areas = {t: _areas(rows) for t, rows in tables["scores"].to_pandas().groupby("trial_id")}
        rows = [
            row | {"value": areas[row["trial_id"]].get(row["subset"], row["value"])}
            if row["metric"] == "auroc"
            else row
            for row in tables["metrics"].to_pylist()
        ]
        write_parquet(part.path("metrics"), pa.Table.from_pylist(rows, schema=METRICS))
    return run


def _areas(rows: Any) -> dict[str, float | None]:
    """AUROC by subset."""
    found = {}
    for subset in ("logical", "structural"):
        some = rows[rows["label"].isin(["good", subset])]
        found[subset] = auroc(some["score"].to_numpy(), (some["label"] != "good").to_numpy())
    both = [v for v in found.values() if v is not None]
    mean = sum(both) / 2 if len(both) == 2 else None
    pooled = auroc(rows["score"].to_numpy(), (rows["label"] != "good").to_numpy())
    return {**found, "mean": mean, "all": pooled}

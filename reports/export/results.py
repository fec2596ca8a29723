"""To one JSON file in the shape of leaderboards that collect results by protocol (`results.schema.json`).

A record is an average over all categories of one data set, for one method in one setting, number of shots and
protocol: the name of the benchmark says how it was measured, that of the model what was run.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import harness
from harness.datasets import DATASETS
from harness.metrics.scale import PERCENT
from harness.whole import whole
from reports.frame.cards import MethodCard
from reports.frame.cells import SUBSETS, averages, cells
from reports.frame.load import Frame, LoadedRun
from reports.frame.naming import FULL, ZERO, metric_of, shots_title
from reports.frame.protocols import apart
from reports.papers.origin import protocol_titles

FORMAT = "ladder-results/1"
FILE = "results.json"
_NETWORKS = ("backbone", "model", "pretrained", "weights")  # parameters that name one, in order
_LOCAL = ("/", "\\", "~", ".")  # what a path begins with: not a name that means anything elsewhere


def write(frame: Frame, source: LoadedRun, out: Path, code: str = "") -> Path:
    """Write the complete averages of a run.

    Args:
        frame: of the one run.
        source: that run.
        out: a folder.
        code: address at which the code can be read; "" for none.
    """
    records = [_record(one, source, place, code) for one in apart(frame) for place in _places(one)]
    said = {"format": FORMAT, "made_by": f"Ladder {harness.__version__}", "results": records}
    path = out / FILE
    with whole(path) as hidden:
        hidden.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _places(frame: Frame) -> Iterator[pd.DataFrame]:
    """Rows of the averages that make one record."""
    means = averages(frame, cells(frame))
    complete = means[means["mean"].notna()]
    yield from (some for _, some in complete.groupby(["dataset", "variant", "shots"], sort=False))


def _record(frame: Frame, source: LoadedRun, rows: pd.DataFrame, code: str) -> dict[str, Any]:
    dataset, shots = _dataset(rows["dataset"].iloc[0]), int(rows["shots"].iloc[0])
    trials = frame.trials.merge(rows[["dataset", "variant", "shots"]].drop_duplicates())
    label = (
        rows["dataset"].iloc[0].partition(", ")[2]
    )  # of several protocols, as `apart` names their data set
    protocols = [label] if label else _protocols(trials)
    card, params = frame.cards[trials["method"].iloc[0]], json.loads(trials["params"].iloc[0] or "{}")
    return {
        "benchmark": benchmark(dataset["title"], shots, protocols),
        "task": "Anomaly detection"
        if shots == FULL
        else f"{shots_title(shots).capitalize()} anomaly detection",
        "dataset": dataset,
        "protocol": _protocol(source, trials, shots, protocols),
        "model": model(card.title, params),
        "method": _method(card, params),
        "metrics": [_metric(frame, row) for row in rows.to_dict("records")],
        "marks": sorted({mark for some in rows["marks"] for mark in some}),
        "openness": {"code_licence": card.licence or None, "weights_licence": card.weights_licence or None},
        "code": {"url": code or None, **_software(trials)},
        "source": {"run": source.name, "finished_at": _last(trials), "trials": len(trials)},
    }


def benchmark(dataset: str, shots: int, protocols: list[str]) -> str:
    """What a benchmark is called: data set, shots and protocol.

    >>> benchmark("MVTec LOCO AD", 4, ["clip_lad"])
    'MVTec LOCO AD (4-shot, CLIP-LAD protocol)'
    """
    said = ["all training images" if shots == FULL else shots_title(shots)]
    for label in protocols:
        name, comma, changed = label.partition(",")
        said.append(f"{protocol_titles().get(name, name)} protocol{comma}{changed}")
    return f"{dataset} ({', '.join(said)})"


def model(title: str, params: Mapping[str, Any]) -> str:
    """A method with its network and resolution, as far as its parameters say them.

    >>> model("PatchCore", {"backbone": "wide_resnet50_2.tv_in1k", "image_size": 224})
    'PatchCore (wide_resnet50_2.tv_in1k, 224 px)'
    """
    named = [params[name] for name in _NETWORKS if isinstance(params.get(name), str)]
    said = [name for name in dict.fromkeys(named) if name and not name.startswith(_LOCAL)]
    said += [f"{_side(params['image_size'])} px"] if params.get("image_size") else []
    return f"{title} ({', '.join(said)})" if said else title


def _side(size: Any) -> str:
    return " × ".join(map(str, size)) if isinstance(size, list) else str(size)


def _dataset(label: str) -> dict[str, Any]:
    """A data set as it calls itself; what nobody has registered here has a name and no more."""
    name = re.split("[ ,]", label)[0]  # without the run, and the protocol, that tell two apart
    known = DATASETS.load(name) if name in DATASETS else None
    said = {key: getattr(known, key, "") or None for key in ("licence", "url", "citation")}
    return {"name": name, "title": known.title if known else name, **said}


def _protocols(trials: pd.DataFrame) -> list[str]:
    """Protocols under which all of the trials were asked for."""
    listed = [some for some in trials.get("protocols", pd.Series(dtype=object)) if some is not None]
    every = [list(some) for some in listed if not isinstance(some, float)]
    return [p for p in every[0] if all(p in some for some in every)] if len(every) == len(trials) else []


def _protocol(source: LoadedRun, trials: pd.DataFrame, shots: int, protocols: list[str]) -> dict[str, Any]:
    rule = source.config.get("support")
    return {
        "names": protocols,
        "shots": None if shots == FULL else shots,
        "categories": trials["category"].drop_duplicates().tolist(),
        "seeds": trials["seed"].drop_duplicates().tolist(),
        "support": None if shots in (FULL, ZERO) or not isinstance(rule, dict) else rule.get("rule"),
        "average": "over the categories per seed, then over seeds",
    }


def _method(card: MethodCard, params: Mapping[str, Any]) -> dict[str, Any]:
    said = {"training": card.training, "paper": card.paper, "paper_url": card.url}
    filled = {name: text or None for name, text in said.items()}
    return {"name": card.name, "title": card.title, **filled, "uses": list(card.uses), "params": dict(params)}


def _metric(frame: Frame, row: Mapping[Any, Any]) -> dict[str, Any]:
    """A number as it is printed, in full precision: percent where its metric is a fraction."""
    scale = frame.scale(row["measure"])
    limit = str(row["measure"]).partition(" ")[0].partition("@")[2]
    std = None if pd.isna(row["std"]) else float(row["std"]) * scale.factor
    return {
        "name": f"{frame.title(row['measure'])}, {SUBSETS[row['subset']].lower()}",
        "metric": metric_of(row["measure"]),
        "subset": row["subset"],
        "fpr_limit": float(limit) if limit else None,
        "score": float(row["mean"]) * scale.factor,
        "std": std,
        "seeds": int(row["n"]),
        "unit": scale.unit if scale.unit != PERCENT else "percent",
        "higher_is_better": scale.higher_is_better,
    }


def _software(trials: pd.DataFrame) -> dict[str, Any]:
    commits = trials["git_commit"].dropna().drop_duplicates().tolist()
    dirty = bool((trials["git_dirty"] == True).any())  # noqa: E712 - the column holds null as well
    return {"commits": commits, "uncommitted_changes": dirty}


def _last(trials: pd.DataFrame) -> str | None:
    ended = trials["finished_at"].dropna()
    return None if ended.empty else ended.max().isoformat()

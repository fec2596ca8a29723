"""What tables call methods, data sets, metrics, categories and numbers of shots.

Nothing that must not be averaged gets the same name.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.metrics.scale import PERCENT, Scale

FULL = 10**9  # stands for "all training images", so that shots are numbers and full sorts last
ZERO = 0  # the method ignores the support set
ALWAYS = ("labels",)  # parameters that belong to the name: whose labels a method learnt from


def variant_labels(trials: pd.DataFrame, runs: Sequence[str]) -> pd.Series:
    """The method of each trial, with the parameters in which its settings differ: `PatchCore[k=3]`.

    Where several runs have the same method and parameters but not the same method version or weights, or
    another draw of the same seed, the run is part of the name: such numbers never share a cell.
    """
    apart = _incompatible(trials)
    names = zip(setting_labels(trials), trials["method"], trials["params"], trials["run"], strict=True)
    found = [label + (f" ({runs[r]})" if (m, p) in apart else "") for label, m, p, r in names]
    return pd.Series(found, trials.index, dtype=object)


def setting_labels(trials: pd.DataFrame) -> list[str]:
    """The method of each trial, with the parameters in which its settings differ, whatever the run."""
    pairs = trials[["method", "params"]].drop_duplicates()
    titles = _titles(trials)
    labels = {}
    for method, settings in pairs.groupby("method", sort=False)["params"]:
        parsed = [json.loads(p or "{}") for p in settings]
        keys = _differing(parsed)
        for raw, params in zip(settings, parsed, strict=True):
            labels[method, raw] = f"{titles.get(method, method)}{_bracket(params, keys)}"
    return [labels[pair] for pair in zip(trials["method"], trials["params"], strict=True)]


def _titles(trials: pd.DataFrame) -> dict[Hashable, str]:
    """What methods are called; runs that know only the key of one do not say."""
    if "title" not in trials:
        return {}
    pairs = trials[["method", "title"]].drop_duplicates()
    said = pairs[pairs["title"] != pairs["method"]].drop_duplicates("method")
    return dict(zip(said["method"], said["title"], strict=True))


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(k for params in settings for k in params)
    values = {k: {json.dumps(p.get(k), sort_keys=True) for p in settings} for k in keys}
    return [k for k in keys if k in ALWAYS or len(values[k]) > 1]


def _bracket(params: Mapping[str, Any], keys: Sequence[str]) -> str:
    named = ", ".join(f"{k}={_short(params[k])}" for k in keys if k in params)
    return f"[{named}]" if named else ""


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _incompatible(trials: pd.DataFrame) -> set[tuple[Hashable, ...]]:
    """(method, params) whose trials differ, between runs, in what is not a parameter."""
    pair = ["method", "params"]
    if trials["run"].nunique() < 2:
        return set()
    ended = trials[trials["method_version"].notna()]
    made = ended.assign(weights=ended["weights"].map(hashes))
    kinds = made.groupby([*pair, "dataset", "category"])[["method_version", "weights"]].nunique(dropna=False)
    place = [*pair, "dataset", "category", "shots", "split_seed", "run_seed"]
    if "protocols" in trials:  # each has a draw of its own
        place, trials = [*place, "protocols"], trials.explode("protocols")
    doubled = trials.groupby(place, dropna=False)["trial_id"].nunique()
    return _pairs(kinds[(kinds > 1).any(axis=1)]) | _pairs(doubled[doubled > 1])


def _pairs(frame: pd.DataFrame | pd.Series) -> set[tuple[Hashable, ...]]:
    return {key[:2] for key in frame.index}


def hashes(weights: Any) -> Hashable:
    """What weights were loaded, as a value that can be compared; a text already is one."""
    if isinstance(weights, str):
        return weights
    listed = [] if weights is None or isinstance(weights, float) else weights
    return tuple(sorted((w["name"], w["sha256"]) for w in listed))


def dataset_labels(trials: pd.DataFrame, runs: Sequence[str]) -> pd.Series:
    """The data set of each trial, with the run where runs mean different images by the same name."""
    prints = trials.groupby(["dataset", "category"])["fingerprint"].nunique()
    apart = {dataset for dataset, _ in prints[prints > 1].index}
    names = zip(trials["dataset"], trials["run"], strict=True)
    return pd.Series([f"{d} ({runs[r]})" if d in apart else d for d, r in names], trials.index, dtype=object)


def measure_labels(metrics: pd.DataFrame) -> pd.Series:
    """Metric and limit of each row as one word: `auspro@0.05`.

    Values of different definitions (metric version, rule for the maps) get different words.
    """
    definition = ["metric", "fpr_limit", "metric_version", "map_rule"]
    kinds = metrics[definition].drop_duplicates()  # a few, of millions of rows
    names = [_measure(m, limit) for m, limit in zip(kinds["metric"], kinds["fpr_limit"], strict=True)]
    defined = kinds[["metric_version", "map_rule"]].assign(measure=names).drop_duplicates()["measure"]
    many = set(defined[defined.duplicated()])
    rows = zip(names, kinds["metric_version"], kinds["map_rule"], strict=True)
    found = [f"{n} {_definition(v, rule)}" if n in many else n for n, v, rule in rows]
    numbers = metrics.groupby(definition, dropna=False, sort=False).ngroup()  # in order of appearance, too
    return pd.Series(np.array(found, object)[numbers.to_numpy(np.intp)], metrics.index, dtype=object)


def _measure(metric: str, limit: float) -> str:
    return metric if pd.isna(limit) else f"{metric}@{limit:g}"


def _definition(version: float, rule: Any) -> str:
    return f"v{version:g}" + (f", {rule}" if isinstance(rule, str) else "")


def metric_of(measure: str) -> str:
    """The metric of a measure: `auspro` of `auspro@0.05 v2`."""
    return measure.partition(" ")[0].partition("@")[0]


def measure_title(measure: str, scale: Scale) -> str:
    """A measure as printed: `AU-sPRO (FPR ≤ 0.05)`, `Delay (s)`."""
    word, _, definition = measure.partition(" ")
    limit = word.partition("@")[2]
    in_brackets = [f"FPR ≤ {limit}"] if limit else []
    in_brackets += [scale.unit] if scale.unit not in (PERCENT, "") else []
    printed = scale.title + (f" ({', '.join(in_brackets)})" if in_brackets else "")
    return f"{printed} [{definition}]" if definition else printed


def shots_title(shots: int) -> str:
    """A number of shots as printed."""
    return {FULL: "full", ZERO: "zero-shot"}.get(shots, f"{shots}-shot")


def words(name: str) -> str:
    """A folder name as printed: `breakfast_box` is "breakfast box"."""
    return name.replace("_", " ")


def protocol_labels(trials: pd.DataFrame, ends: Sequence[str]) -> pd.Series:
    """Data sets with the protocols that ask for a trial, where a frame has several.

    Args:
        trials: with `dataset`, as tables name it, and `protocols`.
        ends: protocols of the frame as trials call them; other names are of steps between two.
    """
    if len(ends) < 2:
        return trials["dataset"]
    between: dict[tuple[str, ...], int] = {}

    def under(listed: Sequence[str] | None) -> str:
        names = () if listed is None else tuple(listed)
        mine = [name for name in ends if name in names]
        if mine or not names:
            return f" ({' + '.join(mine)})" if mine else ""
        return f" (step {between.setdefault(names, len(between) + 1)})"

    return trials["dataset"] + pd.Series(
        [under(listed) for listed in trials["protocols"]], trials.index, object
    )

"""What a frame has for a table of a paper: trials and values by setting, category and number of shots."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, final

import pandas as pd

from reports.frame.load import MISSING, Frame
from reports.frame.naming import FULL, ZERO
from reports.papers.ledger import MEAN
from reports.papers.spec import PaperTable

PER_SUBTYPE = "per_subtype"  # the rule that draws k images of every sub-type
_SUBSETS = ["all", "logical", "structural", MEAN]
_COLUMNS = ["variant", "dataset", "run", "category", "shots", "seed"]


class Setting(NamedTuple):
    """What trials share that may stand in one column: `support` is the rule of the draws, as JSON."""

    variant: str
    dataset: str
    support: str


@final
@dataclass
class Place:
    """One setting on one category with one number of shots.

    Attributes:
        seeds: those planned.
        statuses: what became of them.
        marks: of any of them.
        values: (measure, subset) -> seed -> value, None where undefined.
    """

    seeds: list[str] = field(default_factory=list)
    statuses: set[str] = field(default_factory=set)
    marks: set[str] = field(default_factory=set)
    values: dict[tuple[str, str], dict[str, float | None]] = field(default_factory=dict)


Places = Mapping[Setting, Mapping[tuple[str, int], Place]]


def places(frame: Frame, spec: PaperTable) -> Places:
    """By setting, then by category and shots: trials of the contestants with the shots of the table."""
    trials, metrics = frame.trials, frame.metrics
    methods = [c.ours for c in spec.contestants]
    shots = [ZERO, *(k for some in spec.shots.values() for k in some)]
    draws = _draws(frame, spec)
    found: dict[Setting, dict[tuple[str, int], Place]] = {}
    mine = trials["method"].isin(methods) & trials["shots"].isin(shots) & trials["run"].isin(draws)
    for setting, where, seed, status, marks in _rows(trials[mine], draws, ["status", "marks"]):
        place = found.setdefault(setting, {}).setdefault(where, Place())
        place.seeds.append(seed)
        place.statuses.add("pending" if status == MISSING else status)
        place.marks |= set(marks)
    wanted = (metrics["metric"] == spec.metric) & metrics["subset"].isin(_SUBSETS)
    wanted &= metrics["shots"].isin(shots) & metrics["run"].isin(draws)
    if spec.limit is not None:
        wanted &= metrics["fpr_limit"] == spec.limit
    measured = ["measure", "subset", "value"]
    for setting, where, seed, measure, subset, value in _rows(metrics[wanted], draws, measured):
        if setting in found:
            values = found[setting][where].values.setdefault((measure, subset), {})
            values[seed] = None if pd.isna(value) else float(value)
    return found


def measures(some: Mapping[tuple[str, int], Place]) -> list[str]:
    """The definitions of the metric by which a setting was measured; an empty one where it was not."""
    found = dict.fromkeys(measure for place in some.values() for measure, _ in place.values)
    return list(found) or [""]


def _draws(frame: Frame, spec: PaperTable) -> dict[int, str]:
    """Runs whose supports are drawn as the table needs it, with the rule; all images need none."""
    if all(shots == (FULL,) for shots in spec.shots.values()):
        return dict.fromkeys(range(len(frame.sources)), "{}")
    supports = [source.config.get("support") or {} for source in frame.sources]
    return {
        run: json.dumps(support, sort_keys=True)
        for run, support in enumerate(supports)
        if (support.get("rule") == PER_SUBTYPE) == (spec.draw == PER_SUBTYPE)
    }


def _rows(some: pd.DataFrame, draws: Mapping[int, str], columns: list[str]) -> Iterator[tuple]:
    """Setting, (category, shots), seed, and further columns of each row."""
    rows = some[[*_COLUMNS, *columns]].itertuples(index=False, name=None)
    for variant, dataset, run, category, shots, seed, *rest in rows:
        yield Setting(variant, dataset, draws[run]), (category, int(shots)), seed, *rest

"""One or several runs as one validated frame, finished or not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

import pandas as pd

from harness.errors import DamagedFile
from harness.metrics.scale import Scale
from harness.metrics.table import scale_of
from harness.results import Run, read_run
from reports.frame.cards import MethodCard, method_cards
from reports.frame.duplicates import unique_trials
from reports.frame.naming import (
    FULL,
    dataset_labels,
    measure_labels,
    measure_title,
    metric_of,
    protocol_labels,
    variant_labels,
)

AUROC = "auroc"
MISSING = "missing"  # status of a planned trial without a row


@final
@dataclass(frozen=True)
class LoadedRun:
    """A run that a frame was made from.

    Attributes:
        path: its folder.
        name: name of the sweep.
        label: the name, numbered where two runs have the same.
        config: its resolved sweep file.
        stale: rows of earlier plans, left out.
        protocols: what it is measured under (`harness.protocols.parts.records`).
    """

    path: Path
    name: str
    label: str
    config: dict[str, Any]
    stale: int
    protocols: tuple[Mapping[str, Any], ...] = ()


@final
@dataclass(frozen=True, eq=False)  # two frames are the same only if they are one
class Frame:
    """Everything that a report is made from.

    Attributes:
        sources: the runs.
        trials: one row per planned trial, in the order of the plans: the columns of the trials table, and
            `run` (index in sources), `variant` (the method as tables name it), `shots` (`FULL` for all
            training images), `seed` ("split/run"), `marks` (tuple), `title` (of the method), `images` (the
            data set without the protocols that `dataset` names where there are several). `status` is
            `MISSING` without a row.
        metrics: the metrics table of trials that are ok, with `variant`, `dataset`, `category`, `shots`,
            `seed` and `measure` (metric with its limit, as one word).
        notes: what a reader has to know about how runs were put together, and what is wrong with them.
        scales: metric -> how its values are printed and compared.
        damage: files of the runs that cannot be read; what they hold counts as missing.
        cards: method -> what it declared of itself.
        tested: whether scores are read to test differences; not of more images than one can wait for.
    """

    sources: tuple[LoadedRun, ...]
    trials: pd.DataFrame
    metrics: pd.DataFrame
    notes: tuple[str, ...]
    scales: Mapping[str, Scale]
    damage: tuple[DamagedFile, ...] = ()
    cards: Mapping[str, MethodCard] = field(default_factory=dict)
    tested: bool = True

    @cached_property  # asked for every row of a table
    def main(self) -> str:
        """The metric that tables and figures begin with: AUROC, or else the first that was measured."""
        measured = list(self.metrics["metric"].unique())
        return AUROC if AUROC in measured or not measured else str(measured[0])

    def scale(self, measure: str) -> Scale:
        """How values of a measure are printed and compared."""
        metric = metric_of(measure)
        return self.scales.get(metric) or scale_of(metric, {})

    def title(self, measure: str) -> str:
        """A measure as printed."""
        return measure_title(measure, self.scale(measure))


def load(paths: Sequence[Path]) -> Frame:
    """Read runs and put them together.

    Args:
        paths: run directories.

    Raises:
        DataError: one of them is not a run, or its plan cannot be read.
    """
    runs = [read_run(path, scores=False) for path in paths]
    sources = _sources(runs)
    trials = pd.concat([planned(run).assign(run=i) for i, run in enumerate(runs)], ignore_index=True)
    metrics = pd.concat([run.metrics.assign(run=i) for i, run in enumerate(runs)], ignore_index=True)
    scales, unlike = agreed(
        {name: scale_of(name, run.scales) for name in run.metrics["metric"].unique()} for run in runs
    )
    trials, metrics, notes = unique_trials(trials, metrics, [str(s.path) for s in sources], scales)
    cards = method_cards([run.cards for run in runs], trials["method"].unique().tolist())
    trials = labelled(trials, [s.label for s in sources], cards)
    trials = trials.assign(dataset=protocol_labels(trials, protocols_of(sources)))
    wrong = [note for run in runs for note in run.notes]
    notes = [*wrong, *(_stale(s) for s in sources if s.stale), *unlike, *notes]
    damage = tuple(error for run in runs for error in run.damage)
    return Frame(sources, trials, joined(metrics, trials), tuple(notes), scales, damage, cards)


def agreed(scales: Iterable[Mapping[str, Scale]]) -> tuple[dict[str, Scale], list[str]]:
    """What several runs say of their metrics: what they have in common, and sentences on what not."""
    said: dict[str, set[Scale]] = {}
    for name, scale in (pair for some in scales for pair in some.items()):
        said.setdefault(name, set()).add(scale)
    known = {n: {s for s in some if s.higher_is_better is not None} or some for n, some in said.items()}
    apart = [name for name, some in known.items() if len(some) > 1]
    one = {n: scale_of(n, {}) if n in apart else next(iter(some)) for n, some in known.items()}
    return one, [f"The runs do not agree on what values of {n} are, nor on which is better." for n in apart]


def _sources(runs: Sequence[Run]) -> tuple[LoadedRun, ...]:
    names = [str(run.config.get("name") or run.path.name) for run in runs]
    return tuple(
        LoadedRun(run.path, name, label, run.config, stale_rows(run), run.protocols)
        for run, name, label in zip(runs, names, distinct(names), strict=True)
    )


def protocols_of(sources: Sequence[LoadedRun]) -> list[str]:
    """The protocols of runs as trials call them, steps between two left out."""
    found = (r["label"] for source in sources for r in source.protocols if r["protocol"])
    return list(dict.fromkeys(found))


def stale_rows(run: Run) -> int:
    """Rows of trials that are not in the plan any more."""
    return int((~run.trials["trial_id"].isin(run.plan["trial_id"])).sum())


def _stale(source: LoadedRun) -> str:
    rows = "1 trial" if source.stale == 1 else f"{source.stale} trials"
    return f"{source.path}: {rows} of earlier plans left out (no longer in the sweep file)."


def planned(run: Run) -> pd.DataFrame:
    """Planned trials with what came of them."""
    plan = run.known_plan.drop_duplicates("trial_id")
    rows = run.trials.drop(columns=[c for c in plan.columns if c not in ("trial_id", "marks")])
    both = plan.merge(rows, on="trial_id", how="left", suffixes=("_planned", ""))
    seen = both["status"].notna()
    marks = both["marks"].where(seen, both["marks_planned"])
    both["marks"] = [_marks(m) for m in marks]
    both["status"] = both["status"].where(seen, MISSING)
    return both.drop(columns="marks_planned")


def _marks(listed: Any) -> tuple[str, ...]:
    return () if listed is None or isinstance(listed, float) else tuple(sorted(map(str, listed)))


def labelled(
    trials: pd.DataFrame, run_labels: Sequence[str], cards: Mapping[str, MethodCard]
) -> pd.DataFrame:
    """Trials with the columns that tables are built on."""
    trials = trials.assign(title=[cards[m].title for m in trials["method"]])
    seeds = [trials[c].astype("Int64").astype("string").fillna("-") for c in ("split_seed", "run_seed")]
    return trials.assign(
        shots=trials["shots"].fillna(FULL).astype("int64"),
        seed=seeds[0] + "/" + seeds[1],
        dataset=(images := dataset_labels(trials, run_labels)),
        images=images,
        variant=variant_labels(trials, run_labels),
    )


def distinct(names: Sequence[str]) -> list[str]:
    """Names of runs, numbered where two are called the same."""
    return [n if names.count(n) == 1 else f"{n}-{names[: i + 1].count(n)}" for i, n in enumerate(names)]


def joined(metrics: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    good = trials.loc[
        trials["status"] == "ok",
        ["trial_id", "run", "variant", "dataset", "category", "shots", "seed"],
    ]
    # in the order of the plan: rows lie as trials ended, and sums would differ in a last bit
    joined = good.merge(metrics, on=["trial_id", "run"])
    joined = joined[[*metrics.columns, *good.columns.difference(metrics.columns, sort=False)]]
    return joined.assign(measure=measure_labels(joined))

"""From the digests of runs to leaderboards: per protocol, each trial once, whatever number of runs has it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, final

import pandas as pd
import pyarrow as pa

from harness.errors import DataError
from harness.metrics.table import scale_of
from reports.frame.cards import MethodCard, method_cards
from reports.frame.duplicates import unique_trials
from reports.frame.load import Frame, LoadedRun, agreed, distinct, joined, labelled
from reports.frame.naming import ZERO, metric_of
from reports.leaderboard import Board, Standing, boards
from reports.site.digest import BETWEEN
from reports.site.shelf import Kept, Shelf

SCORES = 5_000_000  # of images; a board over more is not tested, which would take minutes


@final
@dataclass(frozen=True)
class Protocol:
    """Runs, or parts of them, that were made under the same rules.

    Attributes:
        label: the name of the protocol; "" for none.
        rule: where there is no name, how supports were drawn; "" where that is not said.
        runs: those with trials of it.
    """

    label: str
    rule: str
    runs: tuple[Kept, ...]

    @property
    def title(self) -> str:
        """As printed."""
        rule = f" (supports: {self.rule})" if self.rule else ""
        return self.label or f"no named protocol{rule}"


@final
@dataclass(frozen=True)
class Gathered:
    """The leaderboards of one protocol on one data set.

    Attributes:
        protocol: as printed.
        dataset: as tables name it.
        boards: the one to look at first in front.
        scales: metric -> how its values are printed.
        runs: method (as tables name it) -> indices of the runs, among all, that its trials are from.
        trials: different trials in it.
        notes: what a reader has to know.
    """

    protocol: str
    dataset: str
    boards: tuple[Board, ...]
    scales: Mapping[str, Any]
    runs: Mapping[str, list[int]]
    trials: int
    notes: tuple[str, ...]


def protocols(runs: Sequence[Kept]) -> list[Protocol]:
    """What the runs were made under, named ones first, in order of their names."""
    found: dict[tuple[str, str], list[Kept]] = {}
    for run in runs:
        for label, rule in dict.fromkeys(key for listed in run.labels for key in _keys(run, listed)):
            found.setdefault((label, rule), []).append(run)
    ordered = sorted(found, key=lambda key: (not key[0], key))
    return [Protocol(*key, tuple(found[key])) for key in ordered]


def _keys(run: Kept, listed: str) -> list[tuple[str, str]]:
    """(label, rule) of trials with that value of `protocols`."""
    config = run.digest.config
    named, support = config.get("protocol"), config.get("support")
    named = named.get("name") if isinstance(named, dict) else named
    labels = [label for label in listed.split(BETWEEN) if label] or ([str(named)] if named else [])
    rule = support.get("rule") if isinstance(support, dict) else support
    return [(label, "") for label in labels] or [("", str(rule or ""))]


def gather(every: Sequence[Kept], shelf: Shelf) -> Iterator[Gathered]:
    """All leaderboards; those of a protocol whose runs are as they were come from the shelf."""
    for protocol in protocols(every):
        key = json.dumps([(run.digest.path, run.stamp) for run in protocol.runs])
        made = shelf.made(f"{protocol.label}\0{protocol.rule}", key, lambda: _plain(protocol))  # noqa: B023
        place = [every.index(run) for run in protocol.runs]
        for entry in made:
            runs = {name: [place[i] for i in some] for name, some in entry["runs"].items()}
            shown = tuple(_board(board) for board in entry["boards"])
            notes = tuple(entry["notes"])
            yield Gathered(**{**entry, "boards": shown, "runs": runs, "notes": notes})


def _plain(protocol: Protocol) -> list[dict[str, Any]]:
    """As plain data."""
    trials, sources, notes = _trials(protocol)
    recorded = [run.digest.cards for run in protocol.runs]
    cards = method_cards(recorded, trials["method"].unique().tolist())
    trials = labelled(trials, [source.label for source in sources], cards)
    return [
        _dataset(protocol, some, sources, cards, notes) for _, some in trials.groupby("dataset", sort=False)
    ]


def _dataset(
    protocol: Protocol,
    trials: pd.DataFrame,
    sources: tuple[LoadedRun, ...],
    cards: Mapping[str, MethodCard],
    notes: Sequence[str],
) -> dict[str, Any]:
    found: list[Board] = []
    scales: dict[str, Any] = {}
    said = dict.fromkeys(notes)
    for shots in sorted(set(trials["shots"]) - {ZERO}) or [ZERO]:
        some = trials[trials["shots"].isin([shots, ZERO])].reset_index(drop=True)
        frame = _frame(protocol, some, sources, cards)
        made, why = _boards(frame)
        found += made
        said |= dict.fromkeys((*frame.notes, *why))
        scales |= {metric: scale.record() for metric, scale in frame.scales.items()}
    return {
        "protocol": protocol.title,
        "dataset": str(trials["dataset"].iloc[0]),
        "boards": [asdict(replace(board, protocol=protocol.title)) for board in _in_order(found)],
        "scales": scales,
        "runs": {str(v): sorted(set(map(int, runs))) for v, runs in trials.groupby("variant")["run"]},
        "trials": len(trials),
        "notes": [*said, *_versions(found)],
    }


def _boards(frame: Frame) -> tuple[list[Board], list[str]]:
    """With a reason where differences were not tested."""
    if not frame.tested:
        return boards(frame), [f"Ranks are the order of the numbers: more than {SCORES:,} scores of images."]
    try:
        return boards(frame), []
    except DataError as error:
        return boards(replace(frame, tested=False)), [f"Ranks are the order of the numbers: {error}."]


def _in_order(found: list[Board]) -> list[Board]:
    """As `boards` has them of each number of shots: by measure and subset, then who ranks most methods."""
    measures = list(dict.fromkeys(board.measure for board in found))
    subsets = list(dict.fromkeys(board.subset for board in found))
    most = {(b.measure, b.subset, b.shots): (-len(b.ranked), -b.shots) for b in found}
    return sorted(
        found,
        key=lambda b: (
            measures.index(b.measure),
            subsets.index(b.subset),
            most[b.measure, b.subset, b.shots],
        ),
    )


def _versions(found: Sequence[Board]) -> list[str]:
    """Measures of which there are several definitions, which never share a table."""
    names: dict[str, dict[str, None]] = {}
    for board in found:
        word, _, definition = board.measure.partition(" ")
        if definition:
            names.setdefault(word, {})[definition] = None
    return [
        f"{name}: computed by different definitions ({'; '.join(some)}), each on a leaderboard of its own."
        for name, some in names.items()
    ]


def _trials(protocol: Protocol) -> tuple[pd.DataFrame, tuple[LoadedRun, ...], list[str]]:
    """Trials of the protocol, each once, as `reports.frame.load.planned` has them."""
    parts = []
    for i, run in enumerate(protocol.runs):
        trials = run.trials()
        mine = [(protocol.label, protocol.rule) in _keys(run, listed) for listed in trials["protocols"]]
        parts.append(trials[mine].assign(run=i))
    trials = pd.concat(parts, ignore_index=True)
    known = {text: tuple(sorted(filter(None, text.split(BETWEEN)))) for text in trials["marks"].unique()}
    trials["marks"] = trials["marks"].map(known).astype(object)
    doubled = trials.loc[trials["trial_id"].duplicated(keep=False), "trial_id"]
    names = distinct([run.digest.name for run in protocol.runs])
    sources = tuple(replace(r.digest.source, label=n) for r, n in zip(protocol.runs, names, strict=True))
    metrics = _metrics(protocol, doubled, None)
    scales = _scales(protocol, metrics)[0]
    unique, _, notes = unique_trials(trials, metrics, [str(source.path) for source in sources], scales)
    return unique, sources, notes


def _metrics(protocol: Protocol, trial_ids: pd.Series, trials: pd.DataFrame | None) -> pd.DataFrame:
    """Metrics of some trials: of each the run that is given, or all runs that have it."""
    found = []
    for i, run in enumerate(protocol.runs):
        wanted = trial_ids if trials is None else trial_ids[trials["run"] == i]
        ids = pa.array(wanted.unique().tolist(), pa.string())
        found.append(run.metrics(ids).to_pandas().assign(run=i))
    return pd.concat(found, ignore_index=True)


def _scales(protocol: Protocol, metrics: pd.DataFrame) -> tuple[dict[str, Any], list[str]]:
    names = [str(name) for name in metrics["metric"].unique()]
    return agreed({name: scale_of(name, run.digest.scales) for name in names} for run in protocol.runs)


def _frame(
    protocol: Protocol, trials: pd.DataFrame, sources: tuple[LoadedRun, ...], cards: Mapping[str, MethodCard]
) -> Frame:
    metrics = _metrics(protocol, trials["trial_id"], trials)
    scales, unlike = _scales(protocol, metrics)
    scored = trials.loc[trials["status"] == "ok", "n_test"].fillna(0).sum()
    labels = [[protocol.label] if protocol.label else []] * len(trials)
    trials = trials.assign(protocols=pd.Series(labels, trials.index, dtype=object), protocol=protocol.label)
    return Frame(
        sources, trials, joined(metrics, trials), tuple(unlike), scales, (), cards, bool(scored <= SCORES)
    )


def _board(entry: Mapping[str, Any]) -> Board:
    standings = tuple(
        Standing(**{**one, "marks": tuple(one["marks"]), "badges": tuple(one["badges"])})
        for one in entry["standings"]
    )
    return Board(**{**entry, "units": tuple(entry["units"]), "standings": standings})


def scale(gathered: Gathered, board: Board) -> Any:
    """How values of a board are printed."""
    metric = metric_of(board.measure)
    return scale_of(metric, gathered.scales)

"""A frame of several protocols, one at a time: their numbers never share a cell."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from reports.frame.load import Frame

COLUMN = "protocols"


def told(frame: Frame) -> list[Mapping[str, Any]]:
    """What the runs record of the protocols that they were measured under, steps between two left out."""
    found = {
        record["label"]: record
        for source in frame.sources
        for record in source.protocols
        if record["protocol"]
    }
    return list(found.values())


def notes(frame: Frame) -> Iterator[str]:
    """One sentence for every protocol."""
    yield from (f"Protocol: {record['label']} ({record['title']})." for record in told(frame))


def asked(trials: pd.DataFrame, label: str) -> pd.Series:
    """Which trials a protocol asks for."""
    if COLUMN not in trials:
        return pd.Series(False, trials.index)
    return pd.Series(
        [listed is not None and label in listed for listed in trials[COLUMN]], trials.index, bool
    )


def unasked(trials: pd.DataFrame) -> pd.Series:
    """Trials of sweeps that name no protocol."""
    if COLUMN not in trials:
        return pd.Series(True, trials.index)
    return pd.Series([listed is None or not len(listed) for listed in trials[COLUMN]], trials.index, bool)


def apart(frame: Frame) -> list[Frame]:
    """The frame itself, or where its trials are of several protocols one frame for each.

    Their data sets are named with the protocol, so that tables of two have different titles and keys. Trials
    that no protocol asks for are in one more. The frame itself names data sets with all protocols of a trial:
    who does not take it apart gets cells of a part of the trials, and never of two protocols' draws.
    """
    labels = [record["label"] for record in told(frame)]
    if len(labels) < 2:
        return [frame]
    found = [under(frame, label, f", {label}") for label in labels]
    rest = _only(frame, unasked(frame.trials), "")
    return [one for one in (*found, rest) if len(one.trials)]


def one_of(frame: Frame, name: str = "") -> Frame:
    """A single protocol, for what cannot show several: that of a name if it is there, else the first."""
    records = told(frame)
    if len(records) < 2:
        return frame
    chosen = next((record for record in records if record["protocol"] == name), records[0])
    return under(frame, chosen["label"])


def each(frame: Frame) -> list[Frame]:
    """As `apart`, of trials of a protocol alone and with data sets named as they are."""
    labels = [record["label"] for record in told(frame)]
    return [frame] if len(labels) < 2 else [under(frame, label) for label in labels]


def under(frame: Frame, label: str, suffix: str = "") -> Frame:
    """The trials that a protocol asks for, as if it were the only one; data sets are named with a suffix."""
    found = _only(frame, asked(frame.trials, label), suffix)
    only = pd.Series([[label]] * len(found.trials), found.trials.index, object)
    return replace(found, trials=found.trials.assign(protocols=only))


def _only(frame: Frame, chosen: pd.Series, suffix: str) -> Frame:
    trials = frame.trials[chosen]
    pairs = pd.MultiIndex.from_frame(trials[["trial_id", "run"]])
    kept = pd.MultiIndex.from_frame(frame.metrics[["trial_id", "run"]]).isin(pairs)
    names = dict(zip(trials["dataset"], trials["images"] + suffix, strict=True))
    trials, metrics = (
        rows.assign(dataset=rows["dataset"].map(names)) for rows in (trials, frame.metrics[kept])
    )
    return replace(frame, trials=trials, metrics=metrics)

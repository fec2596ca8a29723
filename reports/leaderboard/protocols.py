"""Under which rules numbers came about; those of different rules are on different boards."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from reports.frame.load import Frame

COLUMN = "protocol"  # of the trials table, where a run has it


def under_each(frame: Frame) -> Iterator[tuple[str, Frame]]:
    """Protocols with what was run under them: the frame itself where there is one.

    A protocol is what trials call it; else what their sweep does; else its rule for drawing supports.
    """
    rules = _rules(frame)
    names = rules.unique().tolist()
    if len(names) == 1:
        yield names[0], frame
        return
    for name in names:
        trials = frame.trials[rules == name]
        metrics = frame.metrics[frame.metrics["trial_id"].isin(trials["trial_id"])]
        yield name, replace(frame, trials=trials, metrics=metrics)


def _rules(frame: Frame) -> pd.Series:
    by_run = {run: _rule(source.config) for run, source in enumerate(frame.sources)}
    of_sweeps = frame.trials["run"].map(by_run)
    if COLUMN not in frame.trials:
        return of_sweeps
    named = frame.trials[COLUMN]
    return named.where(named.notna() & (named != ""), of_sweeps)


def _rule(config: Mapping[str, Any]) -> str:
    named, support = config.get("protocol"), config.get("support")
    named = named.get("name") if isinstance(named, dict) else named
    rule = support.get("rule") if isinstance(support, dict) else support
    return str(named or rule or "")

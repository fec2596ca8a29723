"""Under which rules numbers came about; those of different rules are on different boards."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from reports.frame.load import Frame
from reports.frame.protocols import asked, told


def under_each(frame: Frame) -> Iterator[tuple[str, Frame]]:
    """Protocols with what was run under them: the frame itself where there is one.

    A protocol is what the run calls it, and a trial may be of several; else the rule for drawing supports.
    """
    named = [(record["label"], asked(frame.trials, record["label"])) for record in told(frame)]
    of_none = ~pd.concat([mine for _, mine in named], axis=1).any(axis=1) if named else None
    rules = frame.trials["run"].map({run: _rule(source.config) for run, source in enumerate(frame.sources)})
    bare = rules if of_none is None else rules[of_none]
    every = [*named, *((name, rules.eq(name) & rules.index.isin(bare.index)) for name in bare.unique())]
    for name, mine in every:
        if mine.all():
            yield name, frame
        elif mine.any():
            trials = frame.trials[mine]
            metrics = frame.metrics[frame.metrics["trial_id"].isin(trials["trial_id"])]
            yield name, replace(frame, trials=trials, metrics=metrics)


def _rule(config: Mapping[str, Any]) -> str:
    support = config.get("support")
    rule = support.get("rule") if isinstance(support, dict) else support
    return str(rule or "")
